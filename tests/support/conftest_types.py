"""Types of fixtures that several folders share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

Attempt = Callable[..., Awaitable[Any]]

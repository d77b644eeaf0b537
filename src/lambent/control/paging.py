"""Markers: a page says where the next one begins, by a key and not by a position, so that nothing is listed twice."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from lambent.model.errors import invalid_parameter

T = TypeVar("T")

PAGE_MAX = 50  # ListFunctions, MaxItems: a page never holds more, whatever is asked for


def page(
    items: Sequence[T], key: Callable[[T], Any], request: dict[str, Any], largest: int = PAGE_MAX
) -> tuple[list[T], dict[str, str]]:
    """The items after the request's `Marker`, and the member `NextMarker` where more follow.

    `items` are in the order of `key`, whose values are all strings or all integers. Raises AwsError
    InvalidParameterValueException for a marker that was not given out.
    """
    if marker := request.get("Marker"):
        after = _decode(marker)
        items = [item for item in items if _comparable(key(item)) > after]
    size = min(request.get("MaxItems") or largest, largest)
    shown = list(items[:size])
    if len(items) <= size:
        return shown, {}
    return shown, {"NextMarker": _encode(_comparable(key(shown[-1])))}


def _comparable(key: Any) -> str:
    return f"{key:020d}" if isinstance(key, int) else str(key)


def _encode(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode()


def _decode(marker: str) -> str:
    try:
        return base64.b64decode(marker.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError):
        raise invalid_parameter("Invalid value for Marker") from None

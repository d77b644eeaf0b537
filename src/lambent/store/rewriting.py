"""What has happened outside is written down, however long the disk does not take it."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

T = TypeVar("T")

REWRITE_S: Final = 1.0

log = logging.getLogger(__name__)


async def until_written(what: str, write: Callable[[], Awaitable[T]]) -> T:
    """What `write` returns, once the disk takes it: a message that was sent or a function that ran must not be forgotten, or
    it would be sent and run again, every time. Raises StoreError when the server is stopping."""
    while True:
        try:
            return await write()
        except sqlite3.Error as error:
            log.error("%s cannot be written (%s); make room on the disk: trying again", what, error)
            await asyncio.sleep(REWRITE_S)  # real time: the disk knows no other

"""Taking away what has become old, now and then, for as long as a store is open."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Awaitable, Callable

from lambent.ports import Clock
from lambent.store.database import StoreError


async def sweep_regularly(
    sweep: Callable[[], Awaitable[None]], clock: Clock, every_s: float, log: logging.Logger, failure: str
) -> None:
    """Until it is cancelled. `failure` says what cannot be done when the disk does not take it; it is tried again."""
    while True:
        await clock.sleep(every_s)
        try:
            await sweep()
        except (sqlite3.Error, StoreError) as error:
            log.error("%s (%s); make room on the disk", failure, error)

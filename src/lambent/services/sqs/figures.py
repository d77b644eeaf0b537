"""How full queues are, told once a minute of those that somebody used within six hours, as AWS does."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from typing import Final

from lambent.model.metrics import Series
from lambent.ports import Clock
from lambent.store.database import StoreError
from lambent.store.queues import Counts, Queue, QueueStore, series_of

log = logging.getLogger(__name__)

EVERY_S: Final = 60.0
NO_MESSAGES: Final = Counts(visible=0, in_flight=0, delayed=0)
ACTIVE_S: Final = 6 * 3_600.0  # the metrics' page: a queue is active for so long after its last use

Gauge = Callable[[Series, float | None], None]
"""Takes a figure as it is now; None for one that nobody can tell of any more."""


class QueueLevels:
    def __init__(self, store: QueueStore, clock: Clock, gauge: Gauge) -> None:
        self._store = store
        self._clock = clock
        self._gauge = gauge
        self._told: set[Series] = set()

    async def run(self) -> None:
        """Until it is cancelled. By the machine's time: it says how things are now."""
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                await self.look()
            except sqlite3.Error as error:
                log.error("queues cannot be counted (%s); looking again in a minute", error)
            except StoreError:
                return  # the server is stopping

    async def look(self) -> None:
        """Raises sqlite3.Error, StoreError."""
        told: set[Series] = set()
        async for queue, oldest_ms in self._store.oldest_ms():
            if oldest_ms is None and not self._was_used(queue):
                continue
            counts = await self._store.counts(queue) if oldest_ms is not None else NO_MESSAGES
            age_s = 0.0 if oldest_ms is None else max(0.0, self._clock.now() - oldest_ms / 1000)
            for series, value in (
                (series_of(queue, "ApproximateNumberOfMessagesVisible"), counts.visible),
                (series_of(queue, "ApproximateNumberOfMessagesNotVisible"), counts.in_flight),
                (series_of(queue, "ApproximateNumberOfMessagesDelayed"), counts.delayed),
                (series_of(queue, "ApproximateAgeOfOldestMessage", "Seconds"), age_s),
            ):
                self._gauge(series, value)
                told.add(series)
        for series in self._told - told:
            self._gauge(series, None)
        self._told = told

    def _was_used(self, queue: Queue) -> bool:
        used_s = max(queue.modified_ms / 1000, self._store.figures.touched_s.get(queue.id, 0.0))
        return self._clock.now() - used_s < ACTIVE_S

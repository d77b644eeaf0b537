"""Lambent's own figures, put into the metric store every few seconds: one transaction for all that happened meanwhile.

What was not put yet is lost with a server that is killed: figures are not events.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from lambent.model.metrics import Series, Summary
from lambent.ports import Clock
from lambent.store.database import StoreError
from lambent.store.metrics import MetricStore, Point

log = logging.getLogger(__name__)

EVERY_S: Final = 5.0
PERIOD_S: Final = 60
WAITING_MAX: Final = 50_000  # points that a disk which refuses may make wait; older ones are given up then


class Figures(Protocol):
    def take(self) -> Mapping[Series, Summary]:
        """What happened since the last time."""


class Publisher:
    def __init__(
        self, figures: Figures, store: MetricStore, clock: Clock, look: Callable[[], None] = lambda: None
    ) -> None:
        """`look` is called before figures are taken, and may tell more."""
        self._figures = figures
        self._store = store
        self._clock = clock
        self._look = look
        self._waiting: list[Point] = []
        self._flushing = asyncio.Lock()

    async def run(self) -> None:
        """Until it is cancelled. Ends each minute with it, so that what is told belongs to the minute that it is put into."""
        while True:
            now_s = self._clock.now()
            await self._clock.sleep(min(EVERY_S, PERIOD_S - now_s % PERIOD_S))
            await self._put(now_s)

    async def flush(self) -> None:
        """Returns when everything that was told before is in the store, or the log says why not."""
        await self._put(self._clock.now())

    async def _put(self, at_s: float) -> None:
        at = int(at_s) - int(at_s) % PERIOD_S
        self._look()
        self._waiting += [Point(series, at, PERIOD_S, summary) for series, summary in self._figures.take().items()]
        async with self._flushing:
            waiting, self._waiting = self._waiting, []
            if not waiting:
                return
            try:
                await self._store.put(waiting)
            except sqlite3.Error as error:
                log.error("figures cannot be written (%s); make room on the disk: trying again", error)
                self._waiting = _bounded([*waiting, *self._waiting])
            except StoreError:
                return  # the server is stopping


def _bounded(points: Sequence[Point]) -> list[Point]:
    return list(points[-WAITING_MAX:])

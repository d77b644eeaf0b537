"""Lambent's own figures, put into the metric store every few seconds: one transaction for all that happened meanwhile.

What was not put yet is lost with a server that is killed: figures are not events.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from lambent.model.metrics import Series, Summary
from lambent.ports import Clock
from lambent.store.database import StoreError
from lambent.store.metrics import MetricStore, Point

log = logging.getLogger(__name__)

EVERY_S: Final = 5.0
PERIOD_S: Final = 60
WAITING_MAX: Final = 50_000  # points that a disk which refuses may make wait; more are given up

_Place = tuple[Series, int, int]  # when the point begins, and its length in seconds


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
        self._waiting: dict[_Place, Summary] = {}
        self._flushing = asyncio.Lock()

    def add(self, series: Series, at_s: int, value: float, period_s: int = PERIOD_S) -> None:
        """One value that belongs to a time of its own."""
        place = (series, at_s - at_s % period_s, period_s)
        summary = self._waiting.get(place)
        if summary is None:
            summary = self._waiting[place] = Summary()
        summary.add(value)

    async def run(self) -> None:
        """Until it is cancelled. Ends each minute with it, so that what is told belongs to the minute that it is put into."""
        while True:
            now_s = self._clock.now()
            await self._clock.sleep(min(EVERY_S, PERIOD_S - now_s % PERIOD_S))
            await self._put(now_s)

    async def flush(self) -> None:
        """Returns when everything that was told before is in the store, or the log says why not."""
        await self._put(self._clock.now())

    async def _put(self, now_s: float) -> None:
        at_s = int(now_s) - int(now_s) % PERIOD_S
        self._look()
        for series, summary in self._figures.take().items():
            self._waiting.setdefault((series, at_s, PERIOD_S), Summary()).merge(summary)
        async with self._flushing:
            waiting, self._waiting = self._waiting, {}
            try:
                await self._store.put([Point(*place, summary) for place, summary in waiting.items()])
            except sqlite3.Error as error:
                log.error("figures cannot be written (%s); make room on the disk: trying again", error)
                self._keep(waiting)
            except StoreError:
                return  # the server is stopping
            except Exception:  # the outermost edge: one figure that cannot be written must not hold all others up
                log.exception("figures cannot be written and are given up; report it with this traceback")

    def _keep(self, points: dict[_Place, Summary]) -> None:
        for place, summary in points.items():
            if place in self._waiting:
                self._waiting[place].merge(summary)
            elif len(self._waiting) < WAITING_MAX:
                self._waiting[place] = summary

"""Who goes next: each function with waiting events, and each target of deliveries, has a lane of its own.

Lanes do not wait for each other, so neither a long backlog nor a target that is down delays anybody else. A lane takes
few events at a time from the store and lets them go before it takes more; it ends when the store has none for it.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from lambent.ports import Clock
from lambent.store.events import Claimed, FunctionKey
from lambent.telemetry.waiting import Alarm

log = logging.getLogger(__name__)

WINDOW_FIRST: Final = 4  # attempts of one function at the same time, to begin with
WINDOW_MOST: Final = 100
WINDOWS_TOGETHER: Final = 256  # of all functions: bounds what payloads take of the memory (1 MB each)
GROW_EVERY_S: Final = 0.25
GROW_FROM_MS: Final = 10.0  # functions that are quicker than this need no more environments
RECLAIM_S: Final = 1.0


class Window:
    """How many attempts of one function run at the same time: grows while events wait for slow ones, halves when throttled."""

    def __init__(self) -> None:
        self.size = WINDOW_FIRST
        self._full_since_s: float | None = None
        self._mean_ms: float | None = None  # None: nothing has ended yet

    def ended(self, duration_ms: float, throttled: bool) -> None:
        if throttled:
            self.size = max(1, self.size // 2)
            self._full_since_s = None
        else:
            self._mean_ms = duration_ms if self._mean_ms is None else 0.8 * self._mean_ms + 0.2 * duration_ms

    def look(self, is_full: bool, now_s: float) -> None:
        """`is_full`: all of it is used, and more is due. `now_s` is monotonic."""
        if not is_full:
            self._full_since_s = None
        elif self._full_since_s is None:
            self._full_since_s = now_s
        elif now_s - self._full_since_s >= GROW_EVERY_S and (self._mean_ms is None or self._mean_ms >= GROW_FROM_MS):
            self.size = min(self.size * 2, WINDOW_MOST)
            self._full_since_s = now_s


Claim = Callable[[FunctionKey, int], Awaitable[tuple[Sequence[Claimed], int | None]]]
Attempt = Callable[[Claimed], Awaitable[bool]]
"""Attempts an event and settles it in the store; True when it was throttled. Does not raise."""


class FunctionLane:
    """One function's waiting events."""

    def __init__(
        self, key: FunctionKey, claim: Claim, attempt: Attempt, bound: Callable[[], int], clock: Clock
    ) -> None:
        """`bound` is the most attempts at the same time that the function may have now."""
        self._key = key
        self._claim = claim
        self._attempt = attempt
        self._bound = bound
        self._clock = clock
        self._window = Window()
        self._running: set[asyncio.Task[None]] = set()
        self._alarm = Alarm(clock)
        self._is_full = False  # then more events change nothing, until an attempt ends
        self._has_news = False

    def notify(self) -> None:
        """There may be more to do."""
        self._has_news = True
        if not self._is_full:
            self._alarm.ring()

    async def run(self) -> None:
        """Returns when there is nothing more to do. Raises StoreError when the server is stopping."""
        try:
            while True:
                self._alarm.reset()
                self._has_news = False
                free = min(self._window.size, self._bound()) - len(self._running)
                claimed, due_ms = await self._take(free) if free > 0 else ([], None)
                for event in claimed:
                    self._begin(event)
                self._is_full = free <= 0 or len(claimed) == free
                self._window.look(free <= 0, self._clock.monotonic())
                if self._is_full:
                    await self._alarm.wait(GROW_EVERY_S)
                elif self._has_news:
                    continue
                elif due_ms is not None:
                    await self._alarm.wait(due_ms / 1000 - self._clock.now())
                elif self._running:
                    await self._alarm.wait(None)
                else:
                    return
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    async def _take(self, limit: int) -> tuple[Sequence[Claimed], int | None]:
        """What runs already must not suffer from a disk that does not take the next claim."""
        while True:
            try:
                return await self._claim(self._key, limit)
            except sqlite3.Error as error:
                log.error(
                    "events of %s cannot be claimed (%s); make room on the disk: trying again", self._key[2], error
                )
                await asyncio.sleep(RECLAIM_S)  # real time: the disk knows no other

    def _begin(self, event: Claimed) -> None:
        task = asyncio.get_running_loop().create_task(self._run_one(event))
        self._running.add(task)
        task.add_done_callback(self._ended)

    async def _run_one(self, event: Claimed) -> None:
        began_s = self._clock.monotonic()
        throttled = await self._attempt(event)
        self._window.ended((self._clock.monotonic() - began_s) * 1000, throttled)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._alarm.ring()

"""A clock that can be turned, for users' tests of retries, windows and schedules. Implements `ports.Clock`.

It runs on with the machine's time, and jumps when it is told to. Whoever sleeps until a time that was jumped over wakes
at once; what they then begin and wait for begins at the new time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any


class VirtualClock:
    """Used on one event loop."""

    def __init__(self) -> None:
        self._wall_ahead_s = 0.0
        self._monotonic_ahead_s = 0.0
        self._sleepers: dict[asyncio.Future[None], float] = {}  # until which monotonic second

    def now(self) -> float:
        return time.time() + self._wall_ahead_s

    def monotonic(self) -> float:
        return time.monotonic() + self._monotonic_ahead_s

    def sleep(self, seconds: float) -> Coroutine[Any, Any, None]:
        """Counted from this call: a task that sleeps begins later, and the clock may have been turned by then."""
        return self._sleep_until(self.monotonic() + seconds)

    async def _sleep_until(self, until_s: float) -> None:
        if until_s <= self.monotonic():
            await asyncio.sleep(0)
            return
        loop = asyncio.get_running_loop()
        while (left_s := until_s - self.monotonic()) > 0:
            jumped: asyncio.Future[None] = loop.create_future()
            self._sleepers[jumped] = until_s
            timer = loop.call_later(left_s, _wake, jumped)
            try:
                await jumped
            finally:
                timer.cancel()
                del self._sleepers[jumped]

    def advance(self, seconds: float) -> None:
        """Jumps ahead, and wakes those who have slept long enough then, in the order of their times.

        Raises ValueError for less than nothing.
        """
        if not seconds >= 0:
            raise ValueError("time is advanced by a number of seconds that is not negative")
        self._wall_ahead_s += seconds
        self._monotonic_ahead_s += seconds
        now_s = self.monotonic()
        for jumped, _ in sorted(self._sleepers.items(), key=lambda sleeper: sleeper[1]):
            if self._sleepers[jumped] <= now_s:
                _wake(jumped)

    def turn_to(self, now_s: float) -> None:
        """Sets the time of day. Ahead, that is `advance`; back, the calendar alone changes and nobody wakes."""
        ahead_s = now_s - self.now()
        if ahead_s >= 0:
            self.advance(ahead_s)
        else:
            self._wall_ahead_s += ahead_s


def _wake(jumped: asyncio.Future[None]) -> None:
    if not jumped.done():
        jumped.set_result(None)

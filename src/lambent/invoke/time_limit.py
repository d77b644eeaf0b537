"""How long an invocation may take."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class TimeLimit:
    """One timer serves many short invocations: when it fires early, it is set again."""

    def __init__(self, passed: Callable[[], None]) -> None:
        self._passed = passed
        self._loop = asyncio.get_running_loop()
        self._ends_at: float | None = None  # loop time at which the invocation under way has had its time
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, left_s: float) -> None:
        self._ends_at = self._loop.time() + left_s
        if self._timer is None:
            self._timer = self._loop.call_at(self._ends_at, self._look)
        elif self._timer.when() > self._ends_at:
            self._timer.cancel()
            self._timer = self._loop.call_at(self._ends_at, self._look)

    def end(self) -> None:
        """The invocation is over, in time or not."""
        self._ends_at = None

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = None
        if self._ends_at is None:
            return
        if self._loop.time() < self._ends_at:
            self._timer = self._loop.call_at(self._ends_at, self._look)
        else:
            self._passed()

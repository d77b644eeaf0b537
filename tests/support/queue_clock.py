"""A clock that stands until it is moved, for tests of queues: who sleeps wakes when it was moved far enough."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

BEGIN_S = 1_795_246_123.0


class HandClock:
    def __init__(self, now_s: float = BEGIN_S) -> None:
        self.now_s = now_s
        self.behind_s = 0.0  # the time of day alone, as when somebody sets the machine's clock back
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> float:
        return self.now_s - self.behind_s

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> Coroutine[Any, Any, None]:
        """Counted from this call, like the clock that users turn."""
        until: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if seconds <= 0:  # it was moved before whoever sleeps came to it
            until.set_result(None)
        self._sleepers.append((self.now_s + seconds, until))
        return self._until(until)

    async def _until(self, moment: asyncio.Future[None]) -> None:
        await moment

    def advance(self, seconds: float) -> None:
        self.now_s += seconds
        for until_s, sleeper in self._sleepers:
            if until_s <= self.now_s and not sleeper.done():
                sleeper.set_result(None)
        self._sleepers = [(at, sleeper) for at, sleeper in self._sleepers if not sleeper.done()]

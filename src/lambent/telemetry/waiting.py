"""Waiting for the first of several things, on a clock that may be turned."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

from lambent.ports import Clock

LONGEST_SLEEP_S: Final = 60.0  # then whoever waits looks at the calendar again: clocks jump


async def first_of(*waits: Coroutine[Any, Any, Any]) -> None:
    """Returns when one of them does; the others are cancelled. Raises what that one raised."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()


class Alarm:
    """Waits for a call, or for a time to pass."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rung = asyncio.Event()

    def ring(self) -> None:
        self._rung.set()

    @property
    def has_rung(self) -> bool:
        return self._rung.is_set()

    def reset(self) -> None:
        self._rung.clear()

    async def wait(self, seconds: float | None) -> None:
        """Returns at once when it was rung since `reset`; None: waits for the call alone. At most LONGEST_SLEEP_S else."""
        if self._rung.is_set():
            return
        if seconds is None:
            await self._rung.wait()
        else:
            await first_of(self._rung.wait(), self._clock.sleep(min(max(seconds, 0.0), LONGEST_SLEEP_S)))

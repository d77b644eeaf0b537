"""What is owed to one target is sent, some at a time, oldest first; lanes of different targets do not wait for each other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Generic, TypeVar

from lambent.ports import Clock
from lambent.telemetry.waiting import Alarm

T = TypeVar("T")


class SendingLane(Generic[T]):
    """`due()` gives what is to be sent now, and when (ms since the epoch) more is, or None. `send` settles what it sends.

    Ring its `alarm` when there may be more.
    """

    def __init__(
        self,
        due: Callable[[], Awaitable[tuple[Sequence[T], int | None]]],
        send: Callable[[T], Coroutine[Any, Any, None]],
        clock: Clock,
    ) -> None:
        self._what_is_due = due
        self._send_it = send
        self._time = clock
        self.alarm = Alarm(clock)

    async def run(self) -> None:
        """Returns when there is nothing more to send. Raises what `due` and `send` raise."""
        while True:
            self.alarm.reset()
            due, following_ms = await self._what_is_due()
            if due:
                # Not a task group: one that cannot be settled must not have the others sent twice, and its error is told as it is.
                for outcome in await asyncio.gather(*map(self._send_it, due), return_exceptions=True):
                    if outcome is not None:
                        raise outcome
            elif following_ms is not None:
                await self.alarm.wait(following_ms / 1000 - self._time.now())
            elif not self.alarm.has_rung:
                return

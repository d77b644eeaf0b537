"""When a queue may have something to give, and who waits for it. Memory only, on the event loop; the disk is not asked.

`earliest_ms` is never later than the first moment at which something can be received, so that nobody waits in vain; it
may be too early, and then one look at the queue corrects it.
"""

from __future__ import annotations

import asyncio
from collections import deque

from lambent.ports import Clock
from lambent.store.queues.values import IN_FLIGHT_MAX


class Arrivals:
    """Of one queue."""

    def __init__(self, clock: Clock) -> None:
        self.earliest_ms: float = 0.0  # nothing is known yet
        self.in_flight_most = IN_FLIGHT_MAX  # there are no more than that; exact only right after they were counted
        self._clock = clock
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._alarm: asyncio.Task[None] | None = None
        self._alarm_ms: float = 0.0

    def now_ms(self) -> int:
        return int(self._clock.now() * 1000)

    @property
    def may_have(self) -> bool:
        return self.now_ms() >= self.earliest_ms

    def expect(self, visible_ms: float, count: int = 1) -> None:
        """`count` messages can be received from then on."""
        self.earliest_ms = min(self.earliest_ms, visible_ms)
        if visible_ms <= self.now_ms():
            self.wake(count)
        else:
            self._set_alarm()

    def looked(self, earliest_ms: float | None) -> None:
        """Somebody looked: there is nothing before `earliest_ms`, or (None) there may be more."""
        if earliest_ms is None:
            self.wake(1)
        else:
            self.earliest_ms = earliest_ms
            self._set_alarm()

    def wake(self, count: int) -> None:
        while count and self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                count -= 1

    def wake_all(self) -> None:
        self.wake(len(self._waiting))

    async def wait(self, most_s: float) -> None:
        """Returns when it is worth looking again, or after `most_s` seconds."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._set_alarm()
        timer = asyncio.ensure_future(self._clock.sleep(most_s))
        try:
            await asyncio.wait({turn, timer}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            if turn.done():
                self.wake(1)  # it is somebody else's turn now
            raise
        finally:
            timer.cancel()
            if not turn.done():
                turn.cancel()
                self._waiting.remove(turn)

    def close(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self.wake_all()

    def _set_alarm(self) -> None:
        if not self._waiting or self.earliest_ms == float("inf"):
            return
        if self._alarm is not None:
            if self._alarm_ms <= self.earliest_ms:
                return
            self._alarm.cancel()
        self._alarm_ms = self.earliest_ms
        # Counted from now: the clock may be turned before the task begins.
        self._alarm = asyncio.ensure_future(self._clock.sleep(max(0.0, (self.earliest_ms - self.now_ms()) / 1000)))
        self._alarm.add_done_callback(self._ring)

    def _ring(self, alarm: asyncio.Task[None]) -> None:
        if alarm is self._alarm:  # else another one was set, or none is wanted any more
            self._alarm = None
            self.wake(1)

"""Who waits for records of a shard is woken on the event loop; the disk is not asked."""

from __future__ import annotations

import asyncio

from lambent.ports import Clock


class Waiting:
    """Where each shard ends, and who waits for more."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ends: dict[int, int] = {}  # by the shard's id: its last position
        self._waiters: dict[int, set[asyncio.Future[None]]] = {}

    def end(self, shard_id: int) -> int:
        """The last position that was acknowledged, 0 when there never was one."""
        return self._ends.get(shard_id, 0)

    def reached(self, shard_id: int, position: int) -> None:
        if position > self._ends.get(shard_id, 0):
            self._ends[shard_id] = position
        self.wake(shard_id)

    def wake(self, shard_id: int) -> None:
        """Something is different: a record, the shard's end, or its stream's."""
        for waiter in self._waiters.pop(shard_id, ()):
            if not waiter.done():
                waiter.set_result(None)

    def forget(self, shard_id: int) -> None:
        self._ends.pop(shard_id, None)
        self.wake(shard_id)

    def close(self) -> None:
        for shard_id in list(self._waiters):
            self.wake(shard_id)

    async def wait(self, shard_id: int, most_s: float) -> None:
        """Returns when it is worth looking again, or after `most_s` seconds."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(shard_id, set()).add(waiter)
        timer = asyncio.ensure_future(self._clock.sleep(most_s))
        try:
            await asyncio.wait({waiter, timer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            waiter.cancel()
            left = self._waiters.get(shard_id)
            if left is not None:
                left.discard(waiter)
                if not left:
                    del self._waiters[shard_id]

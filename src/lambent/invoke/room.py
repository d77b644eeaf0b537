"""Memory for environments that are about to start: a machine that is full ends idle ones, then lets wait, then throttles.

An environment takes what its function needs and no more, so what is free is asked of the machine and not added up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

from lambent.model.concurrency import FunctionKey, throttled
from lambent.model.fair_queue import FairQueue
from lambent.ports import Memory

log = logging.getLogger(__name__)

# What a start counts for until it is done: by then the machine's own figure shows what it took. Most runtimes take less.
STARTING_MIB: Final = 64
LOOK_EVERY_S: Final = 0.02

Reap = Callable[[], Awaitable[bool]]
"""Ends the environment that has been idle for longest, and returns once it is gone; False when none is idle."""


class _Place(AbstractAsyncContextManager[bool]):
    """A class, because every cold start takes one: a generator costs several times as much."""

    def __init__(self, room: Room, function: FunctionKey, reap: Reap) -> None:
        self._room = room
        self._function = function
        self._reap = reap

    async def __aenter__(self) -> bool:
        return await self._room.take(self._function, self._reap)

    async def __aexit__(self, *_: object) -> None:
        self._room.give_back()


class Room:
    """`reserve_mib` stay free; a start waits `wait_s` for memory, and functions take turns."""

    def __init__(self, memory: Memory, *, reserve_mib: int, wait_s: float) -> None:
        self._memory = memory
        self._reserve_mib = reserve_mib
        self._wait_s = wait_s
        self._starting = 0
        self._queue: FairQueue[FunctionKey, asyncio.Future[None]] = FairQueue()
        self._keeper: asyncio.Task[None] | None = None

    @property
    def is_short(self) -> bool:
        """Less is free than always should be."""
        return self._memory.available_mib() < self._reserve_mib

    def for_one(self, function: FunctionKey, reap: Reap) -> AbstractAsyncContextManager[bool]:
        """Held while an environment starts; says whether it had to wait. Raises AwsError TooManyRequestsException."""
        return _Place(self, function, reap)

    async def take(self, function: FunctionKey, reap: Reap) -> bool:
        """Whether it had to wait for it. Given back by `give_back`."""
        waited = bool(self._queue) or not self._fits()
        if waited:
            await self._turn_of(function, reap)  # counts it, so that nobody else gets the same memory
        else:
            self._starting += 1
        return waited

    def give_back(self) -> None:
        self._starting -= 1

    def _fits(self) -> bool:
        return self._memory.available_mib() >= self._reserve_mib + (self._starting + 1) * STARTING_MIB

    async def _turn_of(self, function: FunctionKey, reap: Reap) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.put(function, turn)
        if self._keeper is None or self._keeper.done():
            self._keeper = asyncio.get_running_loop().create_task(self._keep(reap))
        try:
            async with asyncio.timeout(self._wait_s):
                await turn
        except TimeoutError:
            if turn.done() and not turn.cancelled():
                return  # it came in the last moment
            log.warning(
                "no memory for another environment of %s within %s s; add some, or lower memory_reserve_mib (%s MiB)",
                function[2], self._wait_s, self._reserve_mib,
            )  # fmt: skip
            raise throttled("ConcurrentInvocationLimitExceeded") from None
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._starting -= 1
            raise
        finally:
            self._queue.discard(function, turn)

    async def close(self) -> None:
        """Once nobody waits any more."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)

    async def _keep(self, reap: Reap) -> None:
        """While anybody waits."""
        while self._queue:
            if self._fits():
                turn = self._queue.take()
                if turn is not None and not turn.done():
                    self._starting += 1
                    turn.set_result(None)
            elif not await reap():
                await asyncio.sleep(LOOK_EVERY_S)

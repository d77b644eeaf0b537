"""Whose environment is built next, when more are wanted than the machine can build at once.

The launcher serves who asks first, and the kernel gives every process its part: so a function that is wanted five hundred
times at once would keep all others waiting until it has them all. Here functions take turns instead, and no more
environments begin at once than the machine can really work on.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Final

from lambent.model.errors import SandboxError
from lambent.model.fair_queue import FairQueue
from lambent.model.names import FunctionAddress

AT_ONCE: Final = max(8, 4 * (os.cpu_count() or 1))  # with fewer, processors wait for the launcher and it for them
INIT_S: Final = 0.25  # a function's own init counts for so long: most are done by then, and others only wait
WAIT_S: Final = 60.0  # SDKs give an invocation up after as long

LetOn = Callable[[], None]
"""What is left to do is the function's own work, which may last: the next one may begin after INIT_S."""


class _Turn:
    """A class, because every cold start takes one: a generator costs several times as much."""

    def __init__(self, starts: Starts, function: FunctionAddress, init_s: float) -> None:
        self._starts = starts
        self._function = function
        self._init_s = init_s
        self._is_held = False
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> LetOn:
        await self._starts.wait(self._function)
        self._is_held = True
        return self._let_on

    async def __aexit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._give_back()

    def _let_on(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._init_s, self._give_back)

    def _give_back(self) -> None:
        if self._is_held:
            self._is_held = False
            self._starts.give_back()


class Starts:
    """The turns of all functions. One for the whole program, on one event loop."""

    def __init__(self, at_once: int = AT_ONCE, init_s: float = INIT_S, wait_s: float = WAIT_S) -> None:
        self._free = at_once
        self._init_s = init_s
        self._wait_s = wait_s
        self._queue: FairQueue[FunctionAddress, asyncio.Future[None]] = FairQueue()

    def turn(self, function: FunctionAddress) -> _Turn:
        """Held, by `async with`, while an environment is being built. Raises SandboxError when its turn does not come in time."""
        return _Turn(self, function, self._init_s)

    async def wait(self, function: FunctionAddress) -> None:
        if self._free > 0:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.put(function, turn)
        try:
            async with asyncio.timeout(self._wait_s):
                await turn
        except (TimeoutError, asyncio.CancelledError) as error:
            if turn.done() and not turn.cancelled():  # it came in the last moment
                self.give_back()
            if isinstance(error, TimeoutError):
                raise SandboxError(
                    f"its turn did not come within {self._wait_s:.0f} s: the machine is busy building environments"
                ) from error
            raise
        finally:
            self._queue.discard(function, turn)

    def give_back(self) -> None:
        while (turn := self._queue.take()) is not None:
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

"""Carries what an environment's processes print from their pipes to the function's log.

A function can print faster than anybody can read, and every line costs the loop on which all other functions are served.
So each pump reads in small bites, and rests when it has taken its share; meanwhile the pipe fills, and the function waits.
What an invocation has written before its end comes before END all the same: END waits for it then (`then`).
"""

from __future__ import annotations

import array
import asyncio
import collections
import fcntl
import math
import os
import select
import termios
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Literal

from lambent.runtimeapi.logframes import FrameDecoder, LineDecoder, LogRecord

READ_BYTES: Final = 4_096  # lines may be of one byte each, and a bite of them should take about a millisecond
BITE_S: Final = 0.001  # of work, before the others have their turn
REST: Final = 7.0  # for as many times as long as it worked a pump that is over its share rests
PAUSE_EVERY_BYTES: Final = 1024 * 1024  # between two looks at whether the log is behind

Origin = Literal["function", "extension"]
Emit = Callable[[Origin, Sequence[LogRecord]], None]


class LogShare:
    """The part of the loop's time that the pumps of all functions may take together while they have more to read.

    It is 1 / (1 + REST). Who prints now and then is not held up by those who print without end: see `LogPump`.
    """

    def __init__(self) -> None:
        self._free_at_s = 0.0

    def rest_s(self, worked_s: float, now_s: float) -> float:
        """How long a pump that has worked for so long has to rest. `now_s` is the loop's time."""
        self._free_at_s = max(self._free_at_s, now_s) + worked_s * REST
        return self._free_at_s - now_s


class _Mark:
    """A place in what the processes print: how many bytes are left before it, and what is said there."""

    __slots__ = ("owed", "sayings")

    def __init__(self, owed: dict[int, int]) -> None:
        self.owed = owed  # bytes, by descriptor
        self.sayings: list[Callable[[], None]] = []


class LogPump:
    """Reads non-blocking descriptors, lines or frames, and emits log events in order of arrival.

    The descriptors stay the cage's: it closes them.
    """

    def __init__(
        self,
        sources: Mapping[int, tuple[Origin, LineDecoder | FrameDecoder]],
        emit: Emit,
        caught_up: Callable[[], Awaitable[None]],
        share: LogShare,
    ) -> None:
        self._sources = dict(sources)
        self._emit = emit
        self._caught_up = caught_up
        self._share = share
        self._marks: collections.deque[_Mark] = collections.deque()  # while there are any it rests
        self._unchecked_bytes = 0
        self._is_read = False  # something, since the decoders were flushed last
        self._worked_s = 0.0  # and not rested for yet
        self._looked_s = 0.0
        self._paused: asyncio.Task[None] | None = None
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._written = select.poll()
        for fd in self._sources:
            self._loop.add_reader(fd, self._read, fd)
            self._written.register(fd, select.POLLIN)

    def drain(self) -> None:
        """What has been written comes before all that is said from now on: at once, if it is little and the pump does not rest."""
        if self._closed:
            return
        if self._written.poll(0):
            self._mark()
            if self._paused is None:
                self._catch_up(BITE_S)
            if self._marks and self._paused is None:
                self._pause()
        if self._is_read and not self._marks:
            self._flush()

    @property
    def is_behind(self) -> bool:
        """There is something that comes before what is to be said now: see `then`."""
        return bool(self._marks)

    def then(self, say: Callable[[], None]) -> None:
        """Calls `say` when all that was there at the last `drain` has been emitted."""
        if self._marks:
            self._marks[-1].sayings.append(say)
        else:
            say()

    def catch_up(self) -> None:
        """Emits at once what was there at the last `drain`, however much that is; for those who cannot wait for it."""
        self._catch_up(math.inf)

    def _mark(self) -> None:
        owed: dict[int, int] = {}
        for fd in self._sources:
            count = _waiting_bytes(fd) - sum(mark.owed.get(fd, 0) for mark in self._marks)
            if count > 0:
                owed[fd] = count
        if owed:
            self._marks.append(_Mark(owed))

    def _catch_up(self, limit_s: float) -> None:
        began_s = time.thread_time()
        while self._marks and self._take_owed(self._marks[0].owed, began_s + limit_s):
            self._flush()
            for say in self._marks.popleft().sayings:
                say()
        self._worked_s += time.thread_time() - began_s

    def _take_owed(self, owed: dict[int, int], until_s: float) -> bool:
        """Whether there was time (of this thread) for all of it."""
        for fd in list(owed):
            while owed[fd] > 0:
                taken = self._take(fd, min(READ_BYTES, owed[fd]))
                owed[fd] = owed[fd] - taken if taken else 0
                if time.thread_time() >= until_s:
                    return not any(owed.values())
        return True

    def _flush(self) -> None:
        self._is_read = False
        for origin, decoder in self._sources.values():
            if rest := decoder.flush():
                self._emit(origin, rest)

    def close(self) -> None:
        """Emits what there still is first."""
        if self._closed:
            return
        self._closed = True
        if self._paused is not None:
            self._paused.cancel()
        self._mark()
        self.catch_up()
        self._flush()
        for fd in self._sources:
            self._loop.remove_reader(fd)
        self._sources.clear()

    def _read(self, fd: int) -> None:
        """One bite. A pump that has worked for longer than its share of the time since is over it, and rests."""
        now_s, began_s = self._loop.time(), time.thread_time()
        self._worked_s = max(0.0, self._worked_s - (now_s - self._looked_s) / (1 + REST))
        self._looked_s = now_s
        self._take(fd, READ_BYTES)
        self._worked_s += time.thread_time() - began_s
        if self._paused is None and (self._worked_s >= BITE_S or self._unchecked_bytes >= PAUSE_EVERY_BYTES):
            self._pause()

    def _take(self, fd: int, most_bytes: int) -> int:
        """One bite; how many bytes it had."""
        origin, decoder = self._sources[fd]
        try:
            data = os.read(fd, most_bytes)
        except BlockingIOError:
            return 0
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(fd)
            return 0
        self._is_read = True
        if records := decoder.feed(data):
            self._emit(origin, records)
        self._unchecked_bytes += len(data)
        return len(data)

    def _pause(self) -> None:
        """Stops reading for its rest, and until the log has caught up: a full pipe then slows the function itself down."""
        is_checked = self._unchecked_bytes >= PAUSE_EVERY_BYTES
        rest_s = self._share.rest_s(self._worked_s, self._loop.time()) if self._worked_s >= BITE_S else 0.0
        self._worked_s = 0.0
        for fd in self._sources:
            self._loop.remove_reader(fd)
        self._paused = self._loop.create_task(self._resume(rest_s, is_checked))

    async def _resume(self, rest_s: float, is_checked: bool) -> None:
        if rest_s:
            await asyncio.sleep(rest_s)
        if is_checked:
            self._unchecked_bytes = 0
            await self._caught_up()
        self._paused = None
        self._catch_up(BITE_S)
        if self._marks:
            self._pause()
        elif not self._closed:
            for fd in self._sources:
                self._loop.add_reader(fd, self._read, fd)


def _waiting_bytes(fd: int) -> int:
    """How much can be read at once."""
    count = array.array("i", [0])
    try:
        fcntl.ioctl(fd, termios.FIONREAD, count)
    except OSError:  # it has no other end any more, or is closed
        return 0
    return count[0]

"""Carries what an environment's processes print from their pipes to the function's log.

A function can print faster than anybody can read, and every line costs the loop on which all other functions are served.
So each pump reads in small bites, and rests when it has taken its share; meanwhile the pipe fills, and the function waits.
"""

from __future__ import annotations

import asyncio
import os
import select
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Literal

from lambent.runtimeapi.logframes import FrameDecoder, LineDecoder, LogRecord

READ_BYTES: Final = 4_096  # lines may be of one byte each, and a bite of them should take about a millisecond
DRAIN_BYTES: Final = 256 * 1024  # what can have been written before an answer; a pipe holds 64 KiB unless it is widened
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
        """Emits what has already been written; called before END, which must come after it."""
        if self._closed:
            return
        if self._written.poll(0):
            began_s = time.thread_time()
            for fd in list(self._sources):
                self._take(fd, DRAIN_BYTES)
            self._worked_s += time.thread_time() - began_s
        if self._is_read:
            self._is_read = False
            for origin, decoder in self._sources.values():
                if rest := decoder.flush():
                    self._emit(origin, rest)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._paused is not None:
            self._paused.cancel()
        for fd, (origin, decoder) in list(self._sources.items()):
            self._loop.remove_reader(fd)
            if rest := decoder.flush():
                self._emit(origin, rest)
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

    def _take(self, fd: int, most_bytes: int) -> None:
        origin, decoder = self._sources[fd]
        while most_bytes > 0:
            try:
                data = os.read(fd, READ_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._loop.remove_reader(fd)
                return
            self._is_read = True
            if records := decoder.feed(data):
                self._emit(origin, records)
            self._unchecked_bytes += len(data)
            most_bytes -= READ_BYTES
            if len(data) < READ_BYTES:
                return

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
        if not self._closed:
            for fd in self._sources:
                self._loop.add_reader(fd, self._read, fd)

"""Carries what an environment's processes print from their pipes to the function's log."""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Literal

from lambent.runtimeapi.logframes import FrameDecoder, LineDecoder, LogRecord

READ_BYTES: Final = 65_536
READS_A_TURN: Final = 4  # so that one environment that prints without end leaves the loop to the others
PAUSE_EVERY_BYTES: Final = 1024 * 1024  # between two looks at whether the log is behind

Origin = Literal["function", "extension"]
Emit = Callable[[Origin, Sequence[LogRecord]], None]


class LogPump:
    """Reads non-blocking descriptors, lines or frames, and emits log events in order of arrival.

    The descriptors stay the cage's: it closes them.
    """

    def __init__(
        self,
        sources: Mapping[int, tuple[Origin, LineDecoder | FrameDecoder]],
        emit: Emit,
        caught_up: Callable[[], Awaitable[None]],
    ) -> None:
        self._sources = dict(sources)
        self._emit = emit
        self._caught_up = caught_up
        self._unchecked_bytes = 0
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
            for fd in list(self._sources):
                self._read(fd)
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
        origin, decoder = self._sources[fd]
        for _ in range(READS_A_TURN):
            try:
                data = os.read(fd, READ_BYTES)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                self._loop.remove_reader(fd)
                break
            if records := decoder.feed(data):
                self._emit(origin, records)
            self._unchecked_bytes += len(data)
            if len(data) < READ_BYTES:
                break
        if self._unchecked_bytes >= PAUSE_EVERY_BYTES and self._paused is None:
            self._pause()

    def _pause(self) -> None:
        """Stops reading until the log has caught up: a full pipe then slows the function itself down."""
        self._unchecked_bytes = 0
        for fd in self._sources:
            self._loop.remove_reader(fd)
        self._paused = self._loop.create_task(self._resume())

    async def _resume(self) -> None:
        await self._caught_up()
        self._paused = None
        if not self._closed:
            for fd in self._sources:
                self._loop.add_reader(fd, self._read, fd)

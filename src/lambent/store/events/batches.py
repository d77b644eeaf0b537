"""What many callers ask for at the same time is done in one go.

The database commits groups by itself; but each statement of each caller gives the interpreter's lock away and waits to
have it back from a busy event loop, and so a thousand small writes take longer than the disk. Here they become a few
statements, and whoever comes until the very moment when they are carried out is among them.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from lambent.store.database import Database

T = TypeVar("T")

BATCH_MAX: Final = 256
BATCH_BYTES: Final = 4 * 1024 * 1024  # of payloads; bounds how long the first of a batch waits


class Batches(Generic[T]):
    """Items of one kind, on their way into one database."""

    def __init__(
        self,
        database: Database,
        write: Callable[[sqlite3.Connection, Sequence[T]], None],
        size: Callable[[T], int],
    ) -> None:
        """`write` is carried out on the writer's thread; `size` is an item's weight in bytes."""
        self._database = database
        self._write = write
        self._size = size
        self._waiting: deque[tuple[T, asyncio.Future[None]]] = deque()
        self._is_queued = False  # a write that has taken nothing yet is on its way; set and cleared by two threads
        self._writers: set[asyncio.Task[None]] = set()

    async def add(self, item: T) -> None:
        """Returns when the item is durable. Raises what writing its batch raised."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if not self._is_queued:
            self._queue()
        await future

    async def drained(self) -> None:
        """Returns when nothing is being written."""
        while self._writers:
            await asyncio.wait(self._writers)

    def _queue(self) -> None:
        self._is_queued = True
        task = asyncio.get_running_loop().create_task(self._run())
        self._writers.add(task)
        task.add_done_callback(self._writers.discard)

    async def _run(self) -> None:
        taken: list[tuple[T, asyncio.Future[None]]] = []

        def work(connection: sqlite3.Connection) -> None:
            self._is_queued = False  # before taking: whoever comes from now on queues another write, needed or not
            self._take(taken)
            if taken:
                self._write(connection, [item for item, _ in taken])

        try:
            await self._database.write(work)
        except Exception as error:  # whatever it was, each of those who wait is told
            if not taken:  # it was not even begun
                self._is_queued = False
                self._take(taken)
            for _, future in taken:
                if not future.done():
                    future.set_exception(error)
        else:
            for _, future in taken:
                if not future.done():  # its caller may have gone; what it asked for is done
                    future.set_result(None)
        if self._waiting and not self._is_queued:
            self._queue()

    def _take(self, taken: list[tuple[T, asyncio.Future[None]]]) -> None:
        held = 0
        while self._waiting and len(taken) < BATCH_MAX and held < BATCH_BYTES:
            taken.append(self._waiting.popleft())
            held += self._size(taken[-1][0])

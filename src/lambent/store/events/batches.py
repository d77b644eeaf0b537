"""What many callers ask for at the same time is done in one go.

The database commits groups by itself; but each statement of each caller gives the interpreter's lock away and waits to
have it back from a busy event loop, and so a thousand small writes take longer than the disk. Here they become a few
statements, and whoever comes until the very moment when they are carried out is among them.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from lambent.store.database import Database, StoreError

log = logging.getLogger(__name__)

T = TypeVar("T")
Done = Callable[[BaseException | None], None]

BATCH_MAX: Final = 256
GATHER_S: Final = 0.001  # how long one that may be small waits for company
BATCH_BYTES: Final = 4 * 1024 * 1024  # of payloads; bounds how long the first of a batch waits


class Batches(Generic[T]):
    """Items of one kind, on their way into one database."""

    def __init__(
        self,
        database: Database,
        write: Callable[[sqlite3.Connection, Sequence[T]], None],
        size: Callable[[T], int],
        *,
        atomic: bool = False,
    ) -> None:
        """`write` is carried out on the writer's thread; `size` is an item's weight in bytes; `atomic` as for `submit`."""
        self._database = database
        self._write = write
        self._size = size
        self._atomic = atomic
        self._waiting: deque[tuple[T, Done]] = deque()
        self._is_queued = False  # a write that has taken nothing yet is on its way; set and cleared by two threads
        self._gathering: asyncio.Handle | None = None  # before a write is queued
        self._is_patient = False
        self._last_count = 0  # of those that were written together
        self._unanswered = 0  # writes
        self._answered = asyncio.Event()

    async def add(self, item: T) -> None:
        """Returns when the item is durable. Raises what writing its batch raised."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(error: BaseException | None) -> None:
            if future.done():  # its caller may have gone; what it asked for is done
                return
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

        self.put(item, done)
        await future

    def put(self, item: T, done: Done) -> None:
        """The same for callers who need no future: `done` is called once it is durable, or with what writing it raised.

        On the event loop, perhaps before this returns; it must not raise.
        """
        self._waiting.append((item, done))
        if self._gathering is None:
            if not self._is_queued:
                self._gather(seen=0)
        elif self._is_patient and 2 * len(self._waiting) >= self._last_count:
            self._gathering.cancel()
            self._gather(seen=0)

    def _gather(self, seen: int) -> None:
        """Whoever comes in this turn of the event loop, and in those that follow as long as each brings more."""
        self._is_patient = False
        self._gathering = asyncio.get_running_loop().call_soon(self._gathered, seen)

    def _gathered(self, seen: int) -> None:
        count = len(self._waiting)
        if seen < count < BATCH_MAX:
            self._gather(count)
        elif 2 * count < self._last_count and not self._is_patient:
            # Many have just been answered and ask again in a moment: a commit costs as much as ten of them.
            self._is_patient = True
            self._gathering = asyncio.get_running_loop().call_later(GATHER_S, self._gathered, BATCH_MAX)
        else:
            self._gathering = None
            if not self._is_queued:
                self._queue()

    async def drained(self) -> None:
        """Returns when nothing is being written."""
        while self._unanswered or self._gathering is not None:
            self._answered.clear()
            await self._answered.wait()

    def _queue(self) -> None:
        taken: list[tuple[T, Done]] = []

        def work(connection: sqlite3.Connection) -> None:
            self._is_queued = False  # before taking: whoever comes from now on queues another write, needed or not
            self._take(taken)
            if taken:
                self._write(connection, [item for item, _ in taken])

        self._is_queued = True
        self._unanswered += 1
        try:
            self._database.submit(work, lambda _, error: self._written(taken, error), atomic=self._atomic)
        except StoreError as error:
            self._written(taken, error)

    def _written(self, taken: list[tuple[T, Done]], error: BaseException | None) -> None:
        if error is not None and not taken:  # it was not even begun
            self._is_queued = False
            self._take(taken)
        self._unanswered -= 1
        self._last_count = len(taken)
        for _, done in taken:
            try:
                done(error)
            except Exception:  # a mistake in one caller's function, which must not keep the others waiting
                log.exception("what was written could not be told: report it with this traceback")
        if self._waiting and not self._is_queued and self._gathering is None:
            self._queue()
        if not self._unanswered:
            self._answered.set()

    def _take(self, taken: list[tuple[T, Done]]) -> None:
        held = 0
        while self._waiting and len(taken) < BATCH_MAX and held < BATCH_BYTES:
            taken.append(self._waiting.popleft())
            held += self._size(taken[-1][0])

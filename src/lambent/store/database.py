"""A SQLite file with one writer that commits for many callers at once.

`write` hands a function to the writer thread. What waits there when a transaction begins is committed by one
`COMMIT`, so many concurrent callers share one wait for the disk; each has a savepoint of its own, and one that raises
takes nothing of the others along. A caller is answered after the commit is durable (WAL, `synchronous=FULL`), so what
was acknowledged survives `kill -9` and a loss of power.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from lambent.model.errors import LambentError

T = TypeVar("T")

BATCH_MAX: Final = 512  # callers that share one commit; bounds how long the first of them waits
READERS: Final = 2  # threads, each with a connection of its own
BUSY_TIMEOUT_S: Final = 30.0  # for another program (a backup, sqlite3 by hand) that holds the file


class StoreError(LambentError):
    """The database cannot be used: says why and what to do."""


class _Write(Generic[T]):
    """One caller's function, and where its result goes."""

    __slots__ = ("committed", "error", "future", "loop", "result", "work")

    def __init__(
        self,
        work: Callable[[sqlite3.Connection], T],
        committed: Callable[[T], None] | None,
        loop: asyncio.AbstractEventLoop,
        future: asyncio.Future[T],
    ) -> None:
        self.work = work
        self.committed = committed
        self.loop = loop
        self.future = future
        self.result: T | None = None
        self.error: BaseException | None = None

    def deliver(self) -> None:
        """On the event loop, in the order of the commits."""
        if self.error is not None:
            if not self.future.done():
                self.future.set_exception(self.error)
            return
        result: Any = self.result
        try:
            if self.committed is not None:
                self.committed(result)
        except BaseException as error:
            # Written, but the memory beside it is not up to date: the caller must not take that for success.
            if not self.future.done():
                self.future.set_exception(error)
            raise
        if not self.future.done():  # its caller may have gone away; what it wrote stays written
            self.future.set_result(result)


class Database:
    """One SQLite file. Open it with `Database.open`, which applies the migrations that are missing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._queue: queue.SimpleQueue[_Write[Any] | None] = queue.SimpleQueue()
        self._readers = concurrent.futures.ThreadPoolExecutor(READERS, thread_name_prefix="lambent-db-read")
        self._reader_local = threading.local()
        self._reader_connections: list[sqlite3.Connection] = []
        self._writer = threading.Thread(target=self._run_writer, name="lambent-db-write", daemon=True)
        self._writer_connection = connect(path)
        self._closed = False

    @classmethod
    def open(cls, path: Path, migrations: Traversable | None = None) -> Database:
        """Opens or creates the file, and brings its schema up to date. Blocks; short.

        `migrations` is a folder of `NNNN_name.sql`, by default the catalog's. Raises StoreError.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        database = cls(path)
        try:
            migrate(database._writer_connection, migrations or resources.files("lambent.store") / "migrations")
            _sync_directory(path.parent)
        except BaseException:
            database._writer_connection.close()
            database._readers.shutdown()
            raise
        database._writer.start()
        return database

    async def write(self, work: Callable[[sqlite3.Connection], T], committed: Callable[[T], None] | None = None) -> T:
        """Runs `work` in a transaction on the writer's thread, and returns its result once that is durable.

        `committed(result)` is called on this event loop before, in the order of the commits, even when the caller has
        been cancelled by then. Raises what `work` raises (nothing of it is kept then), sqlite3.Error, and StoreError
        after `close`.
        """
        if self._closed:
            raise StoreError(f"{self.path} is closed: the server is stopping")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._queue.put(_Write(work, committed, loop, future))
        return await future

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Runs `work` with a read-only connection on a reader's thread; it sees everything that was acknowledged."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._run_read, work)

    def read_now(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """The same in this thread, blocking; for loading at start."""
        with contextlib.closing(connect(self.path, read_only=True)) as connection:
            return work(connection)

    async def close(self) -> None:
        """Commits what was asked for, and closes every connection. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        self._queue.put(None)
        await asyncio.get_running_loop().run_in_executor(None, self._writer.join)
        self._readers.shutdown(wait=True)
        for connection in self._reader_connections:
            connection.close()

    def _run_read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        connection: sqlite3.Connection | None = getattr(self._reader_local, "connection", None)
        if connection is None:
            connection = connect(self.path, read_only=True)
            self._reader_local.connection = connection
            self._reader_connections.append(connection)
        return work(connection)

    def _run_writer(self) -> None:
        connection = self._writer_connection
        try:
            while (first := self._queue.get()) is not None:
                batch, ended = self._gather(first)
                run_batch(connection, batch)
                _deliver(batch)
                if ended:
                    return
        finally:
            connection.close()

    def _gather(self, first: _Write[Any]) -> tuple[list[_Write[Any]], bool]:
        batch = [first]
        while len(batch) < BATCH_MAX:
            try:
                following = self._queue.get_nowait()
            except queue.Empty:
                return batch, False
            if following is None:
                return batch, True
            batch.append(following)
        return batch, False


def connect(path: Path, read_only: bool = False) -> sqlite3.Connection:
    """A connection in WAL mode whose transactions are begun by hand."""
    try:
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise StoreError(f"{path} cannot be opened ({error}); check that its folder can be written to") from error
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        if read_only:
            connection.execute("PRAGMA query_only = ON")
    except sqlite3.Error as error:
        connection.close()
        raise StoreError(f"{path} cannot be used as a database ({error}); restore it from a backup") from error
    return connection


def migrate(connection: sqlite3.Connection, folder: Traversable) -> None:
    """Applies the scripts whose number is above the file's `user_version`, each in a transaction of its own."""
    scripts = sorted((s for s in folder.iterdir() if s.name.endswith(".sql")), key=lambda s: s.name)
    present: int = connection.execute("PRAGMA user_version").fetchone()[0]
    known = int(scripts[-1].name[:4]) if scripts else 0
    if present > known:
        raise StoreError(
            f"the data was written by a newer version (schema {present}, this one knows {known}); upgrade to read it"
        )
    for script in scripts:
        number = int(script.name[:4])
        if number <= present:
            continue
        try:
            connection.executescript(
                f"BEGIN IMMEDIATE;\n{script.read_text(encoding='utf-8')}\nPRAGMA user_version = {number};\nCOMMIT;"
            )
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise StoreError(f"migration {script.name} failed: {error}") from error


def run_batch(connection: sqlite3.Connection, batch: list[_Write[Any]]) -> None:
    """One transaction for all; afterwards each has its result, durable, or its error."""
    if len(batch) == 1:
        _run_alone(connection, batch[0])
        return
    begun: list[_Write[Any]] = []  # those whose work is in the transaction that is open now
    try:
        for write in batch:
            if not connection.in_transaction:
                connection.execute("BEGIN IMMEDIATE")
            begun.append(write)
            if not _run_one(connection, write):
                # A full disk or an I/O error makes SQLite roll the whole transaction back by itself.
                _fail(begun, write.error)
                begun = []
        if connection.in_transaction:
            connection.execute("COMMIT")
    except sqlite3.Error as error:
        if connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        _fail(batch, error)


def _run_alone(connection: sqlite3.Connection, write: _Write[Any]) -> None:
    """Without a savepoint, as there is nobody to be saved: each statement gives the interpreter's lock away and waits for it."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        write.result = write.work(connection)
        connection.execute("COMMIT")
    except BaseException as error:  # as in `_run_one`
        write.error = error
        if connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")


def _run_one(connection: sqlite3.Connection, write: _Write[Any]) -> bool:
    """False when the transaction is gone with it."""
    connection.execute("SAVEPOINT one")
    try:
        write.result = write.work(connection)
    except BaseException as error:  # whatever a caller's function raises is that caller's, and ends nobody else
        write.error = error
        if not connection.in_transaction:
            return False
        connection.execute("ROLLBACK TO one")
    connection.execute("RELEASE one")
    return True


def _fail(writes: list[_Write[Any]], error: BaseException | None) -> None:
    for write in writes:
        if write.error is None:
            write.error = error


def _deliver(batch: list[_Write[Any]]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[_Write[Any]]] = {}
    for write in batch:
        by_loop.setdefault(write.loop, []).append(write)
    for loop, writes in by_loop.items():
        with contextlib.suppress(RuntimeError):  # that loop has been closed: nobody is left to be told
            loop.call_soon_threadsafe(_deliver_all, loop, writes)


def _deliver_all(loop: asyncio.AbstractEventLoop, writes: list[_Write[Any]]) -> None:
    for write in writes:
        loop.call_soon(write.deliver)


def _sync_directory(path: Path) -> None:
    """Makes the directory's entries durable: a new file is not, until its directory is."""
    with _opened(path) as fd:
        os.fsync(fd)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)

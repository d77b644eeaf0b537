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
from typing import Any, Final, TypeVar

from lambent.model.errors import LambentError

T = TypeVar("T")

BATCH_MAX: Final = 512  # callers that share one commit; bounds how long the first of them waits
READERS: Final = 2  # threads, each with a connection of its own
BUSY_TIMEOUT_S: Final = 30.0  # for another program (a backup, sqlite3 by hand) that holds the file


class StoreError(LambentError):
    """The database cannot be used: says why and what to do."""


Told = Callable[[Any, BaseException | None], None]
"""What a write returned, or what it raised."""


class _Write:
    """One caller's function, and who is told of its result."""

    __slots__ = ("atomic", "error", "loop", "result", "told", "work")

    def __init__(
        self, work: Callable[[sqlite3.Connection], Any], told: Told, atomic: bool, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.work = work
        self.told = told
        self.atomic = atomic
        self.loop = loop
        self.result: Any = None
        self.error: BaseException | None = None


class Database:
    """One SQLite file. Open it with `Database.open`, which applies the migrations that are missing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
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

    async def write(
        self,
        work: Callable[[sqlite3.Connection], T],
        committed: Callable[[T], None] | None = None,
        *,
        atomic: bool = False,
    ) -> T:
        """Runs `work` in a transaction on the writer's thread, and returns its result once that is durable.

        `committed(result)` is called on this event loop before, in the order of the commits, even when the caller has
        been cancelled by then. Raises what `work` raises (nothing of it is kept then), sqlite3.Error, and StoreError
        after `close`. `atomic` as for `submit`.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def told(result: Any, error: BaseException | None) -> None:
            try:
                if error is None and committed is not None:
                    committed(result)
            except BaseException as failure:
                # Written, but the memory beside it is not up to date: the caller must not take that for success.
                error = failure
                raise
            finally:
                if not future.done():  # its caller may have gone away; what it wrote stays written
                    if error is None:
                        future.set_result(result)
                    else:
                        future.set_exception(error)

        self.submit(work, told, atomic=atomic)
        return await future

    def submit(self, work: Callable[[sqlite3.Connection], Any], told: Told, *, atomic: bool = False) -> None:
        """The same for callers who need no future: `told(result, error)` is called on this event loop, once it is durable.

        `atomic`: `work` writes by one statement, and raises nothing after it. It needs no transaction and no savepoint then: each
        statement gives the interpreter's lock away and waits for it. Raises StoreError after `close`.
        """
        if self._closed:
            raise StoreError(f"{self.path} is closed: the server is stopping")
        self._queue.put(_Write(work, told, atomic, asyncio.get_running_loop()))

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
            while self._write_next(connection):
                pass
        finally:
            connection.close()

    def _write_next(self, connection: sqlite3.Connection) -> bool:
        """Waits for writes with nothing in its hands: the last ones may be megabytes. False when there are to be no more."""
        first = self._queue.get()
        if first is None:
            return False
        batch, ended = self._gather(first)
        run_batch(connection, batch)
        _deliver(batch)
        return not ended

    def _gather(self, first: _Write) -> tuple[list[_Write], bool]:
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


def run_batch(connection: sqlite3.Connection, batch: list[_Write]) -> None:
    """One transaction for all; afterwards each has its result, durable, or its error."""
    begun: list[_Write] = []  # those whose work is in the transaction that is open now
    is_single = len(batch) == 1 and batch[0].atomic
    try:
        for write in batch:
            if not connection.in_transaction and not is_single:
                connection.execute("BEGIN IMMEDIATE")
            begun.append(write)
            if write.atomic:
                _run_atomic(connection, write)
            elif len(begun) == 1:
                _run_first(connection, write)
            else:
                _run_one(connection, write)
            if not connection.in_transaction:
                # Taken back whole. A full disk or an I/O error makes SQLite do that by itself.
                _fail(begun, write.error)
                begun = []
        if connection.in_transaction:
            connection.execute("COMMIT")
    except sqlite3.Error as error:
        if connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        _fail(batch, error)


def _run_atomic(connection: sqlite3.Connection, write: _Write) -> None:
    try:
        write.result = write.work(connection)
    except BaseException as error:  # whatever a caller's function raises is that caller's, and ends nobody else
        write.error = error


def _run_first(connection: sqlite3.Connection, write: _Write) -> None:
    """Without a savepoint: what is to be taken back when it raises is the whole transaction."""
    _run_atomic(connection, write)
    if write.error is not None and connection.in_transaction:
        connection.execute("ROLLBACK")


def _run_one(connection: sqlite3.Connection, write: _Write) -> None:
    connection.execute("SAVEPOINT one")
    _run_atomic(connection, write)
    if not connection.in_transaction:
        return
    if write.error is not None:
        connection.execute("ROLLBACK TO one")
    connection.execute("RELEASE one")


def _fail(writes: list[_Write], error: BaseException | None) -> None:
    for write in writes:
        if write.error is None:
            write.error = error


def _deliver(batch: list[_Write]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[_Write]] = {}
    for write in batch:
        by_loop.setdefault(write.loop, []).append(write)
    for loop, writes in by_loop.items():
        with contextlib.suppress(RuntimeError):  # that loop has been closed: nobody is left to be told
            loop.call_soon_threadsafe(_deliver_all, loop, writes)


def _deliver_all(loop: asyncio.AbstractEventLoop, writes: list[_Write]) -> None:
    """In the order of the commits."""
    for write in writes:
        try:
            write.told(write.result, write.error)
        except Exception as error:  # a mistake in one caller's function, which must not keep the others waiting
            loop.call_exception_handler({"message": "a write was not taken note of", "exception": error})


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

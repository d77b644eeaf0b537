"""The one writer: what it acknowledged is on the disk, and one caller's mistake is not another's."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import lambent
from lambent.store.database import Database, StoreError
from lambent.store.events import batches
from lambent.store.events.batches import Batches

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(lambent.__file__).parents[1])}
SCHEMA = "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);"


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    folder = tmp_path / "migrations"
    folder.mkdir()
    (folder / "0001_notes.sql").write_text(SCHEMA)
    return folder


@pytest.fixture
async def database(tmp_path: Path, migrations: Path) -> AsyncIterator[Database]:
    database = Database.open(tmp_path / "data" / "notes.db", migrations)
    yield database
    await database.close()


def insert(connection: sqlite3.Connection, text: str) -> str:
    connection.execute("INSERT INTO notes (text) VALUES (?)", (text,))
    return text


def texts(connection: sqlite3.Connection) -> set[str]:
    return {text for (text,) in connection.execute("SELECT text FROM notes")}


async def test_what_was_written_can_be_read_at_once(database: Database) -> None:
    assert await database.write(lambda c: insert(c, "one")) == "one"
    assert await database.read(texts) == {"one"}
    assert database.read_now(texts) == {"one"}


async def test_concurrent_callers_share_commits_and_a_failing_one_takes_nobody_along(database: Database) -> None:
    await database.write(lambda c: insert(c, "taken"))

    def partly(connection: sqlite3.Connection) -> None:
        insert(connection, "half")
        insert(connection, "taken")

    work = [database.write(partial(insert, text=f"note {n}")) for n in range(200)]
    results = await asyncio.gather(*work[:100], database.write(partly), *work[100:], return_exceptions=True)
    failed = [r for r in results if isinstance(r, BaseException)]
    assert len(failed) == 1
    assert isinstance(failed[0], sqlite3.IntegrityError)
    assert await database.read(texts) == {"taken"} | {f"note {n}" for n in range(200)}


@pytest.mark.parametrize("first", ["atomic", "of two statements"])
async def test_whoever_is_first_and_fails_takes_nobody_along(database: Database, first: str) -> None:
    await database.write(lambda c: insert(c, "taken"))
    busy = database.write(lambda c: time.sleep(0.05))  # those who come meanwhile share a commit

    def failing(connection: sqlite3.Connection) -> None:
        if first != "atomic":
            insert(connection, "half")
        insert(connection, "taken")

    asked: list[Awaitable[object]] = [database.write(failing, atomic=first == "atomic")]
    asked += [database.write(partial(insert, text=f"note {n}"), atomic=n % 2 == 0) for n in range(6)]
    results: list[object] = await asyncio.gather(busy, *asked, return_exceptions=True)
    assert isinstance(results[1], sqlite3.IntegrityError)
    assert results[2:] == [f"note {n}" for n in range(6)]
    assert await database.read(texts) == {"taken"} | {f"note {n}" for n in range(6)}


async def test_an_atomic_write_alone_is_kept_or_fails_by_itself(database: Database) -> None:
    assert await database.write(lambda c: insert(c, "one"), atomic=True) == "one"
    with pytest.raises(sqlite3.IntegrityError):
        await database.write(lambda c: insert(c, "one"), atomic=True)
    assert await database.write(lambda c: insert(c, "two"), atomic=True) == "two"
    assert await database.read(texts) == {"one", "two"}


async def test_a_mistake_in_taking_note_of_a_write_keeps_nobody_else_waiting(database: Database) -> None:
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    told: asyncio.Future[object] = asyncio.get_running_loop().create_future()

    def mistaken(result: object, error: BaseException | None) -> None:
        raise RuntimeError("no")

    busy = asyncio.ensure_future(database.write(lambda c: time.sleep(0.05)))
    await asyncio.sleep(0)
    database.submit(partial(insert, text="one"), mistaken)
    database.submit(partial(insert, text="two"), lambda result, error: told.set_result(result))
    await busy
    assert await told == "two"
    assert [str(context["exception"]) for context in reported] == ["no"]


class Written:
    """What `Batches` wrote, batch by batch."""

    def __init__(self, database: Database) -> None:
        self.batches: list[list[str]] = []
        self.into = Batches[str](database, self._write, len)

    def _write(self, connection: sqlite3.Connection, items: Sequence[str]) -> None:
        connection.executemany("INSERT INTO notes (text) VALUES (?)", [(item,) for item in items])
        self.batches.append(list(items))

    async def add(self, *items: str) -> None:
        await asyncio.gather(*(self.into.add(item) for item in items))


async def test_of_a_batch_each_is_told_whatever_the_others_do(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    def mistaken(error: BaseException | None) -> None:
        raise RuntimeError("no")

    written = Written(database)
    written.into.put("one", mistaken)
    await written.add("two")
    await written.into.drained()
    assert await database.read(texts) == {"one", "two"}
    assert "could not be told" in caplog.text


async def test_who_comes_first_after_a_large_batch_waits_for_half_as_many(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "GATHER_S", 60.0)
    written = Written(database)
    await written.add(*"abcdefgh")
    first = asyncio.ensure_future(written.add("1"))
    for _ in range(5):
        await asyncio.sleep(0)
    await written.add("2", "3", "4")
    await first
    assert written.batches == [list("abcdefgh"), list("1234")]


async def test_nobody_waits_for_company_that_does_not_come(database: Database) -> None:
    written = Written(database)
    await written.add(*"abcdefgh")
    await written.add("1")
    await written.into.drained()
    assert written.batches == [list("abcdefgh"), ["1"]]


async def test_memory_follows_in_the_order_of_the_commits_even_when_the_caller_has_gone(database: Database) -> None:
    order: list[str] = []
    tasks = [
        asyncio.ensure_future(database.write(partial(insert, text=str(n)), committed=order.append)) for n in range(50)
    ]
    await asyncio.sleep(0)
    tasks[7].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await database.write(lambda c: None)
    assert order == [str(n) for n in range(50)]


async def test_what_was_written_is_let_go_before_there_is_more_to_write(database: Database) -> None:
    class Payload:
        pass

    def written(payload: Payload) -> weakref.ref[Payload]:
        database.submit(lambda connection: payload, lambda result, error: done.set())
        return weakref.ref(payload)

    done = asyncio.Event()
    payload = written(Payload())
    await done.wait()
    async with asyncio.timeout(10):
        while payload() is not None:  # by the writer's thread, once it has told that it is done
            await asyncio.sleep(0.001)


async def test_readers_cannot_write(database: Database) -> None:
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await database.read(lambda c: insert(c, "no"))


async def test_a_full_disk_fails_those_it_hit_and_the_database_goes_on(database: Database) -> None:
    pages: int = await database.read(lambda c: c.execute("PRAGMA page_count").fetchone()[0])
    await database.write(lambda c: c.execute(f"PRAGMA max_page_count = {pages + 8}").fetchone())
    results = await asyncio.gather(
        *(database.write(partial(insert, text=f"{n}" + "x" * 20_000)) for n in range(8)), return_exceptions=True
    )
    assert any(isinstance(r, sqlite3.OperationalError) for r in results)
    await database.write(lambda c: c.execute("PRAGMA max_page_count = 100000").fetchone())
    assert await database.write(lambda c: insert(c, "after")) == "after"
    kept = await database.read(texts)
    assert {r for r in results if isinstance(r, str)} == kept - {"after"}


async def test_after_close_a_write_says_that_the_server_is_stopping(tmp_path: Path, migrations: Path) -> None:
    database = Database.open(tmp_path / "notes.db", migrations)
    asked = asyncio.ensure_future(database.write(lambda c: insert(c, "last")))
    await asyncio.sleep(0)
    await database.close()
    assert await asked == "last"
    with pytest.raises(StoreError, match="stopping"):
        await database.write(lambda c: insert(c, "late"))
    await database.close()


async def test_migrations_run_once_each_and_newer_data_is_refused(tmp_path: Path, migrations: Path) -> None:
    path = tmp_path / "notes.db"
    await Database.open(path, migrations).close()
    (migrations / "0002_more.sql").write_text("ALTER TABLE notes ADD COLUMN colour TEXT;")
    await Database.open(path, migrations).close()
    await Database.open(path, migrations).close()
    (migrations / "0002_more.sql").unlink()
    with pytest.raises(StoreError, match="newer version"):
        Database.open(path, migrations)


async def test_a_migration_that_fails_leaves_the_schema_as_it_was(tmp_path: Path, migrations: Path) -> None:
    path = tmp_path / "notes.db"
    await Database.open(path, migrations).close()
    (migrations / "0002_bad.sql").write_text("CREATE TABLE extra (id);\nALTER TABLE absent ADD COLUMN x;")
    with pytest.raises(StoreError, match=r"0002_bad\.sql"):
        Database.open(path, migrations)
    (migrations / "0002_bad.sql").unlink()
    database = Database.open(path, migrations)
    assert database.read_now(lambda c: c.execute("SELECT count(*) FROM sqlite_master WHERE name = 'extra'").fetchone())[
        0
    ] == 0  # fmt: skip
    await database.close()


def test_a_file_that_is_no_database_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_bytes(b"not a database, " * 512)
    with pytest.raises(StoreError, match="backup"):
        Database.open(tmp_path / "notes.db")


def test_a_place_that_cannot_be_written_is_refused_with_what_to_check(tmp_path: Path) -> None:
    (tmp_path / "notes.db").mkdir()
    with pytest.raises(StoreError, match="can be written to"):
        Database.open(tmp_path / "notes.db")


WRITER = """
import asyncio, sys
from pathlib import Path
from lambent.store.database import Database

async def main():
    database = Database.open(Path(sys.argv[1]), Path(sys.argv[2]))
    async def one(n):
        await database.write(lambda c: c.execute("INSERT INTO notes (text) VALUES (?)", (str(n),)))
        print(n, flush=True)
    async def some(first):
        for n in range(first, 10**9, 8):
            await one(n)
    await asyncio.gather(*(some(n) for n in range(8)))

asyncio.run(main())
"""


@pytest.mark.parametrize("acknowledged", [1, 50, 400])
def test_everything_acknowledged_is_there_after_kill_9(tmp_path: Path, migrations: Path, acknowledged: int) -> None:
    path = tmp_path / "notes.db"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(migrations)], stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
    ) as process:
        assert process.stdout is not None
        seen = {process.stdout.readline().strip() for _ in range(acknowledged)}
        process.send_signal(signal.SIGKILL)
        seen |= {line.strip() for line in process.stdout if line.endswith("\n")}
    connection = sqlite3.connect(path)
    try:
        assert len(seen) >= acknowledged
        assert seen <= texts(connection)
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    finally:
        connection.close()

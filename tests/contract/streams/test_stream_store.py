"""What the stream store promises: order, nothing lost by closing or by a failing disk, shards that are never reused."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import pytest

from lambent.services.kinesis.resharding import Resharding, new_stream
from lambent.store.streams import NewRecord, Settings, Stream, StreamExists, StreamMissing, StreamStore
from queue_clock import HandClock

KEY = ("111122223333", "eu-west-1", "s")
MANY_BYTES = 1 << 30


@attrs.define
class Disk:
    """A store that can be closed and opened again."""

    path: Path
    clock: HandClock
    store: StreamStore

    async def reopened(self) -> StreamStore:
        await self.store.close()
        self.store = await StreamStore.open(self.path, self.clock)
        return self.store

    async def stream(self, shards: int = 1) -> Stream:
        return await self.store.create(new_stream(KEY, Settings(), shards, self.store.now_ms()))

    async def put(self, *texts: str, at: int = 0) -> list[int]:
        """Positions."""
        placed = await self.store.put(self.store.stream(KEY), [NewRecord(at, "k", text.encode()) for text in texts])
        return [place.position for place in placed]

    async def read(self, shard: int = 0) -> list[str]:
        stream = self.store.stream(KEY)
        found = stream.shard(shard)
        assert found is not None
        page = await self.store.read(stream, found, 0, 10_000, MANY_BYTES)
        return [record.data.decode() for record in page.records]


@pytest.fixture
async def disk(tmp_path: Path) -> AsyncIterator[Disk]:
    clock = HandClock()
    opened = Disk(tmp_path / "streams.db", clock, await StreamStore.open(tmp_path / "streams.db", clock))
    yield opened
    await opened.store.close()


async def test_everything_is_there_after_opening_again(disk: Disk) -> None:
    await disk.stream(shards=2)
    await disk.put("a", "b")
    await disk.put("c", at=2**127)
    before = disk.store.stream(KEY)

    store = await disk.reopened()

    assert store.stream(KEY) == before
    assert (await disk.read(0), await disk.read(1)) == (["a", "b"], ["c"])
    assert await disk.put("d") == [3]
    assert store.end(store.stream(KEY).shards[0]) == 3


async def test_positions_go_on_after_everything_has_expired(disk: Disk) -> None:
    await disk.stream()
    await disk.put("a", "b")
    disk.clock.advance(24 * 3600 + 1)
    await disk.store.sweep()

    await disk.reopened()

    assert await disk.put("c") == [3]
    assert await disk.read() == ["c"]


async def test_a_stream_made_anew_does_not_see_the_old_ones_records(disk: Disk) -> None:
    old = await disk.stream()
    await disk.put("old")
    await disk.store.delete(KEY, lambda stream: None)
    new = await disk.stream()

    assert old.shards[0].id != new.shards[0].id
    assert await disk.read() == []
    with pytest.raises(StreamMissing):
        await disk.store.put(old, [NewRecord(0, "k", b"x")])
    with pytest.raises(StreamExists):
        await disk.stream()


async def test_records_of_a_deleted_stream_are_taken_from_the_disk_also_after_a_restart(disk: Disk) -> None:
    await disk.stream()
    await disk.put(*(str(n) for n in range(1200)))
    await disk.store.delete(KEY, lambda stream: None)
    await disk.reopened()

    def left() -> tuple[int, int]:
        connection = sqlite3.connect(disk.path)
        try:
            found: tuple[int, int] = connection.execute(
                "SELECT (SELECT count(*) FROM records), (SELECT count(*) FROM rubbish)"
            ).fetchone()
            return found
        finally:
            connection.close()

    while left() != (0, 0):
        await asyncio.sleep(0.01)


async def test_records_that_arrive_while_shards_change_are_where_their_shard_says(disk: Disk) -> None:
    stream = await disk.stream()

    def split(current: Stream) -> Stream:
        change = Resharding(current, disk.store.now_ms())
        change.split(current.shards[0], 2**127)
        return change.stream

    puts = [disk.put(f"{n}", at=2**128 - 1) for n in range(20)]
    changing = disk.store.change(KEY, split)
    more = [disk.put(f"{n}", at=2**128 - 1) for n in range(20, 40)]
    await asyncio.gather(*puts, changing, *more)

    assert await disk.read(0) == [f"{n}" for n in range(20)]
    assert await disk.read(2) == [f"{n}" for n in range(20, 40)]
    assert stream.shards[0].is_open  # values do not change under those who hold them


async def test_a_change_that_is_refused_changes_nothing(disk: Disk) -> None:
    before = await disk.stream()

    def refuse(current: Stream) -> Stream:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await disk.store.change(KEY, refuse)
    assert disk.store.stream(KEY) == before
    assert (await disk.reopened()).stream(KEY) == before


async def test_a_disk_that_refuses_loses_no_old_record_and_skips_no_order(disk: Disk) -> None:
    await disk.stream()
    await disk.put("a")
    connection = disk.store._database._writer_connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages + 2}")

    with pytest.raises(sqlite3.OperationalError):
        await disk.put("x" * 100_000)
    connection.execute("PRAGMA max_page_count = 1000000")
    await disk.put("b")

    assert await disk.read() == ["a", "b"]
    assert await (await disk.reopened()).position_at(disk.store.stream(KEY).shards[0], 0) == 0
    assert await disk.read() == ["a", "b"]


async def test_arrival_never_falls_within_a_shard_when_the_clock_goes_back(disk: Disk) -> None:
    stream = await disk.stream()
    await disk.put("a")
    at_ms = disk.store.now_ms()
    disk.clock.now_s -= 3600
    await disk.put("b")

    page = await disk.store.read(stream, stream.shards[0], 0, 10, MANY_BYTES)

    assert [record.arrived_ms for record in page.records] == [at_ms, at_ms]
    assert await disk.store.position_at(stream.shards[0], at_ms) <= 1
    assert await disk.store.position_at(stream.shards[0], at_ms + 1) == 3

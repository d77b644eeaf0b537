"""What every log store promises: order, pages, durability, bounded memory, fairness."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lambent import ports
from lambent.store.logs import (
    Group,
    LogGroupExists,
    LogGroupMissing,
    LogStore,
    LogStreamExists,
    LogStreamMissing,
    Query,
    StoredEvent,
    rows,
    tails,
)
from lambent.store.logs import store as store_module

ACCOUNT, REGION, GROUP = "000000000000", "us-east-1", "/aws/lambda/hello"
KEY = (ACCOUNT, REGION, GROUP)
DAY_S = 86_400


class Clock:
    def __init__(self, now_s: float = 1_795_246_123.456) -> None:
        self.now_s = now_s

    def now(self) -> float:
        return self.now_s

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def append(store: LogStore, events: Sequence[tuple[int, str]], stream: str = "s", group: str = GROUP) -> None:
    store.append(ACCOUNT, REGION, group, stream, events)


async def read_all(store: LogStore, group: Group, **query: object) -> list[StoredEvent]:
    """Every page, one after another, as clients read."""
    events: list[StoredEvent] = []
    position = None
    for _ in range(100_000):
        page = await store.page(Query(group_id=group.id, position=position, **query))  # type: ignore[arg-type]
        events += page.events
        if page.position is None:
            return events
        assert page.position != position
        position = page.position
    raise AssertionError("the pages do not end")


def plain(events: Sequence[StoredEvent]) -> list[tuple[int, str]]:
    return [(event.timestamp_ms, event.message) for event in events]


async def test_it_is_what_the_road_writes_to_and_the_command_line_follows(store: LogStore) -> None:
    sink: ports.LogSink = store
    reader: ports.LogReader = store
    assert callable(sink.append)
    assert callable(reader.tail)


async def test_the_first_line_makes_group_and_stream(store: LogStore) -> None:
    with pytest.raises(LogGroupMissing):
        await store.group(KEY)
    append(store, [(5, "hello")], "2026/11/21/[$LATEST]abc")
    group = await store.group(KEY)
    assert group.retention_days is None
    assert group.stored_bytes == len("hello") + 26
    stream = await store.stream((*KEY, "2026/11/21/[$LATEST]abc"))
    assert (stream.first_event_ms, stream.last_event_ms) == (5, 5)
    assert stream.last_ingestion_ms == 1_795_246_123_456


async def test_a_reader_sees_what_was_appended_just_before(store: LogStore) -> None:
    for number in range(5):
        append(store, [(number, f"line {number}")])
        group = await store.group(KEY)
        assert len(await read_all(store, group)) == number + 1


async def test_events_of_one_time_keep_the_order_of_their_arrival(store: LogStore) -> None:
    for number in range(50):
        append(store, [(7, f"line {number}")], stream=f"s{number % 3}")
        if number % 7 == 0:
            await store.flush()
    group = await store.group(KEY)
    assert [event.message for event in await read_all(store, group)] == [f"line {number}" for number in range(50)]


EVENTS = st.lists(
    st.tuples(st.sampled_from(["a", "b", "ab"]), st.integers(0, 40), st.text(max_size=12)), min_size=1, max_size=60
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    events=EVENTS,
    flush_every=st.integers(1, 20),
    limit=st.integers(1, 9),
    limit_bytes=st.integers(30, 200),
    start_ms=st.integers(0, 45),
    end_ms=st.integers(0, 45),
    prefix=st.sampled_from(["", "a", "ab", "x"]),
)
async def test_pages_together_are_the_whole_in_both_directions(
    events: list[tuple[str, int, str]],
    flush_every: int,
    limit: int,
    limit_bytes: int,
    start_ms: int,
    end_ms: int,
    prefix: str,
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = await LogStore.open(Path(folder) / "logs.db", Clock())
        try:
            for number, (stream, timestamp_ms, message) in enumerate(events):
                append(store, [(timestamp_ms, message)], stream)
                if number % flush_every == 0:
                    await store.flush()
            await store.flush()
            group = await store.group(KEY)
            asked = {"limit": limit, "limit_bytes": limit_bytes, "start_ms": start_ms, "end_ms": end_ms}
            forward = await read_all(store, group, stream_prefix=prefix, **asked)
            backward = await read_all(store, group, stream_prefix=prefix, backward=True, **asked)
        finally:
            await store.close()
    numbered = [(timestamp_ms, n, stream, message) for n, (stream, timestamp_ms, message) in enumerate(events)]
    expected = [
        (stream, timestamp_ms, message.encode("utf-8", "replace").decode())
        for timestamp_ms, _, stream, message in sorted(numbered)
        if start_ms <= timestamp_ms < end_ms and stream.startswith(prefix)
    ]
    assert [(event.stream, event.timestamp_ms, event.message) for event in forward] == expected
    assert backward == forward[::-1]


async def test_a_page_never_holds_more_than_it_may_but_always_something(store: LogStore) -> None:
    append(store, [(n, "x" * 1000) for n in range(20)])
    group = await store.group(KEY)
    page = await store.page(Query(group_id=group.id, limit_bytes=2 * 1026))
    assert len(page.events) == 2
    page = await store.page(Query(group_id=group.id, limit_bytes=10))
    assert len(page.events) == 1


async def test_a_pattern_that_matches_nothing_ends(store: LogStore) -> None:
    append(store, [(n, "x" * 1000) for n in range(3000)])
    group = await store.group(KEY)
    assert await read_all(store, group, match=lambda message: "y" in message) == []


async def test_small_chunks_are_merged_and_nothing_is_lost(store: LogStore, tmp_path: Path) -> None:
    for number in range(200):
        append(store, [(number % 17, f"line {number}")])
        await store.flush()
    group = await store.group(KEY)
    deadline = time.monotonic() + 20
    with sqlite3.connect(tmp_path / "logs.db") as connection:
        while (chunks := connection.execute("SELECT count(*) FROM chunks").fetchone()[0]) > 40:
            assert time.monotonic() < deadline, f"still {chunks} chunks"
            await asyncio.sleep(0.01)
    connection.close()
    events = await read_all(store, group)
    assert plain(events) == [(t, f"line {n}") for t, n in sorted((n % 17, n) for n in range(200))]
    assert (await store.group(KEY)).stored_bytes == sum(len(f"line {n}") + 26 for n in range(200))


async def test_a_line_longer_than_an_event_may_be_is_split(store: LogStore) -> None:
    append(store, [(1, "é" * 400_000)])
    events = await read_all(store, await store.group(KEY))
    assert "".join(event.message for event in events) == "é" * 400_000
    assert max(len(event.message.encode()) for event in events) <= 262_144


async def test_what_is_no_text_becomes_question_marks_and_not_an_error(store: LogStore) -> None:
    append(store, [(1, "half \ud800 a pair"), (2, "NUL \0 and \u2028")])
    events = await read_all(store, await store.group(KEY))
    assert [event.message for event in events] == ["half ? a pair", "NUL \0 and \u2028"]


async def test_groups_and_streams_are_made_listed_and_deleted(store: LogStore) -> None:
    await store.create_group(KEY, {"kmsKeyId": "k"}, {"team": "a"})
    with pytest.raises(LogGroupExists):
        await store.create_group(KEY)
    await store.create_stream((*KEY, "one"))
    with pytest.raises(LogStreamExists):
        await store.create_stream((*KEY, "one"))
    with pytest.raises(LogStreamMissing):
        await store.put((*KEY, "two"), [(1, "x")])
    with pytest.raises(LogGroupMissing):
        await store.put((ACCOUNT, REGION, "nowhere", "two"), [(1, "x")])
    await store.put((*KEY, "one"), [(1, "x"), (2, "y")])
    group = await store.group(KEY)
    assert (group.attributes, group.tags) == ({"kmsKeyId": "k"}, {"team": "a"})
    assert plain(await read_all(store, group)) == [(1, "x"), (2, "y")]
    await store.delete_stream((*KEY, "one"))
    assert await read_all(store, group) == []
    assert (await store.group(KEY)).stored_bytes == 0
    await store.delete_group(KEY)
    with pytest.raises(LogGroupMissing):
        await store.group(KEY)
    with pytest.raises(LogGroupMissing):
        await store.delete_group(KEY)


async def test_a_group_that_comes_again_has_none_of_the_old_lines(store: LogStore, tmp_path: Path) -> None:
    for number in range(500):
        append(store, [(1, f"old {number}")], stream=f"s{number}")
    await store.delete_group(KEY)
    append(store, [(2, "new")], stream="s1")
    assert plain(await read_all(store, await store.group(KEY))) == [(2, "new")]
    deadline = time.monotonic() + 20
    connection = sqlite3.connect(tmp_path / "logs.db")
    while connection.execute("SELECT count(*) FROM chunks").fetchone()[0] != 1:
        assert time.monotonic() < deadline, "the old chunks are still there"
        await asyncio.sleep(0.01)
    connection.close()


async def test_streams_are_listed_by_name_and_by_last_event_in_pages(store: LogStore) -> None:
    for number in range(7):
        append(store, [(100 - number // 2, "x")], stream=f"s{number}")
    await store.create_stream((*KEY, "s9"))
    group = await store.group(KEY)
    for descending in (False, True):
        by_name = [stream.name for stream in await store.streams(group.id, descending=descending)]
        assert by_name == sorted(by_name, reverse=descending)
        assert len(by_name) == 8
        whole = await store.streams_by_last_event(group.id, descending=descending)
        keys = [(stream.last_event_ms, stream.name) for stream in whole]
        assert keys == sorted(keys, reverse=descending)
        paged: list[tuple[int, str]] = []
        while page := await store.streams_by_last_event(
            group.id, after=paged[-1] if paged else None, descending=descending, limit=3
        ):
            paged += [(stream.last_event_ms, stream.name) for stream in page]
        assert paged == keys
    assert [stream.name for stream in await store.streams(group.id, prefix="s", after="s4", limit=2)] == ["s5", "s6"]


async def test_old_lines_are_deleted_when_the_group_keeps_them_for_days(tmp_path: Path) -> None:
    clock = Clock()
    store = await LogStore.open(tmp_path / "logs.db", clock)
    now_ms = int(clock.now_s * 1000)
    append(store, [(now_ms - 3 * DAY_S * 1000, "old")], "a")
    append(store, [(now_ms, "new")], "b")
    append(store, [(now_ms - 3 * DAY_S * 1000, "kept for ever")], "a", group="other")
    await store.set_retention(KEY, 1)
    deadline = time.monotonic() + 20
    while (group := await store.group(KEY)).stored_bytes != len("new") + 26:
        assert time.monotonic() < deadline, "the old line is still there"
        await asyncio.sleep(0.01)
    assert plain(await read_all(store, group)) == [(now_ms, "new")]
    assert len(await read_all(store, await store.group((ACCOUNT, REGION, "other")))) == 1
    await store.close()


async def test_ids_go_on_after_a_restart_even_when_the_clock_went_back(tmp_path: Path) -> None:
    clock = Clock()
    store = await LogStore.open(tmp_path / "logs.db", clock)
    append(store, [(1, "first")])
    await store.close()
    clock.now_s -= 3600
    store = await LogStore.open(tmp_path / "logs.db", clock)
    append(store, [(1, "second")])
    assert plain(await read_all(store, await store.group(KEY))) == [(1, "first"), (1, "second")]
    await store.close()


async def test_a_follower_gets_new_lines_of_its_group_only_and_ends_with_the_store(tmp_path: Path) -> None:
    store = await LogStore.open(tmp_path / "logs.db", Clock())
    append(store, [(1, "before")])
    seen: list[tuple[str, int, str]] = []

    async def follow() -> None:
        async for event in store.tail(ACCOUNT, REGION, GROUP):
            seen.append(event)  # noqa: PERF401

    following = asyncio.create_task(follow())
    await asyncio.sleep(0)
    append(store, [(2, "one"), (3, "two")], "x")
    append(store, [(2, "of others")], group="other")
    await store.create_stream((*KEY, "y"))
    await store.put((*KEY, "y"), [(4, "three")])
    await store.close()
    await asyncio.wait_for(following, 10)
    assert seen == [("x", 2, "one"), ("x", 3, "two"), ("y", 4, "three")]


async def test_a_follower_that_sleeps_is_told_what_it_missed(store: LogStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tails, "TAIL_EVENTS", 10)
    tail = store.tail(ACCOUNT, REGION, GROUP)
    first = asyncio.ensure_future(anext(tail))
    await asyncio.sleep(0)
    append(store, [(n, f"line {n}") for n in range(25)])
    stream, _, message = await asyncio.wait_for(first, 10)
    assert (stream, message) == ("", "15 events were left out: they came faster than they were read")
    assert (await anext(tail))[2] == "line 15"
    monkeypatch.setattr(tails, "TAIL_BYTES", 1000)
    append(store, [(n, "x" * 400) for n in range(5)])
    while not (message := (await anext(tail))[2]).endswith("read"):
        assert message.startswith("line")
    assert message.startswith("3 events")
    await tail.aclose()  # type: ignore[attr-defined]


async def test_two_hundred_thousand_lines_are_taken_quickly_and_all_read_back(store: LogStore) -> None:
    began_s = time.monotonic()
    for number in range(2000):
        append(store, [(number, f"line {number}.{part} of what a function prints") for part in range(100)])
        await store.drained(ACCOUNT, REGION, GROUP)
    await store.flush()
    taken_s = time.monotonic() - began_s
    assert taken_s < 20, "a hundred times what it takes on an idle machine"
    events = await read_all(store, await store.group(KEY))
    assert len(events) == 200_000
    assert events[-1].message == "line 1999.99 of what a function prints"


async def test_a_function_that_prints_without_end_neither_fills_memory_nor_stops_others(store: LogStore) -> None:
    block = [(1, "x" * 900)] * 250
    tracemalloc.start()
    try:
        for _ in range(400):  # 90 MB
            append(store, block, group="flood")
            await asyncio.wait_for(store.drained(ACCOUNT, REGION, "quiet"), 0.5)
            await store.drained(ACCOUNT, REGION, "flood")
        append(store, [(1, "hello")])
        group = await asyncio.wait_for(store.group(KEY), 5)
        assert len(await read_all(store, group)) == 1
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 40 * 1024 * 1024
    assert (await store.group((ACCOUNT, REGION, "flood"))).stored_bytes == 400 * 250 * 926


async def test_a_full_disk_loses_no_line_that_fits_into_memory(
    store: LogStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(store_module, "RETRY_S", 0.01)
    failures = iter([sqlite3.OperationalError("database or disk is full")] * 3)
    works = rows.store_batch

    def failing(connection: sqlite3.Connection, batch: rows.Batch, now_ms: int) -> list[int]:
        for failure in failures:
            raise failure
        return works(connection, batch, now_ms)

    monkeypatch.setattr(rows, "store_batch", failing)
    append(store, [(1, "patient")])
    assert plain(await read_all(store, await store.group(KEY))) == [(1, "patient")]
    assert "make room on the disk" in caplog.text


async def test_lines_do_not_overtake_those_that_a_full_disk_refused(
    store: LogStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "RETRY_S", 0.05)
    await store.create_group(KEY)
    await store.put_filter(KEY, "subscription", "all", {}, 2)
    failures = iter([sqlite3.OperationalError("database or disk is full")])
    works = rows.store_batch

    def failing(connection: sqlite3.Connection, batch: rows.Batch, now_ms: int) -> list[int]:
        for failure in failures:
            raise failure
        return works(connection, batch, now_ms)

    monkeypatch.setattr(rows, "store_batch", failing)
    append(store, [(1, "first")])
    store._begin_write()
    append(store, [(2, "second")])
    await store.flush()
    (lane,) = await store.lanes()
    assert [message for owed in await store.owed(lane) for _, _, message in owed.events] == ["first", "second"]


WRITER = """
import asyncio, sys, time
from pathlib import Path
from lambent.store.logs import LogStore

class Clock:
    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)
    sleep = staticmethod(asyncio.sleep)

async def main():
    store = await LogStore.open(Path(sys.argv[1]), Clock())
    await store.create_group(("0", "r", "g"))
    await store.create_stream(("0", "r", "g", "put"))
    number = 0
    while True:
        store.append("0", "r", "g", f"s{number % 5}", [(number, f"line {number}")])
        if number % 50 == 0:
            await store.put(("0", "r", "g", "put"), [(number, f"put {number}")])
            await store.flush()
            print(number, flush=True)
        number += 1

asyncio.run(main())
"""


def write_until_killed(path: Path) -> int:
    """The last number that the writer said was on disk."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    with process, process.stdout as output:
        flushed = [int(output.readline()) for _ in range(40)][-1]
        process.send_signal(signal.SIGKILL)
        return max([flushed, *(int(line) for line in output if line.endswith("\n"))])


async def test_kill_9_keeps_every_line_that_was_flushed(tmp_path: Path) -> None:
    path = tmp_path / "logs.db"
    flushed = await asyncio.to_thread(write_until_killed, path)
    store = await LogStore.open(path, Clock())
    group = await store.group(("0", "r", "g"))
    messages = {event.message for event in await read_all(store, group)}
    assert {f"line {number}" for number in range(flushed + 1)} <= messages
    assert {f"put {number}" for number in range(0, flushed + 1, 50)} <= messages
    await store.close()

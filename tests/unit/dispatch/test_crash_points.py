"""A server that ends between any two commits, and a disk that is full: nothing that was accepted is lost."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from crash_images import Image, images_of
from dispatch_harness import QUEUE, World, failed, key, steps, succeeded, until
from full_disk import FullDisk
from lambent.model.errors import AwsError
from lambent.store.events import EventStore, EventView


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path / "first")
    (tmp_path / "first").mkdir()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Image[None]]:
    return images_of(tmp_path / "first", tmp_path, monkeypatch, lambda: None)


async def events_of(world: World, name: str) -> list[EventView]:
    return await world.store.events(key(name), 100)


async def test_whenever_the_server_ends_each_event_comes_to_its_dead_letters(
    images: list[Image[None]], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.functions.add("f", dead_letters=QUEUE)
    world.invocations.scripts["f"] = failed
    sent = [await world.send("f", n) for n in range(2)]
    for request_id in sent:
        await world.turn_until_step("f", request_id, "sent", 121)
    monkeypatch.undo()
    assert len(images) >= 8, "one for each change of one event at least"
    found_waiting = 0
    for image in images:
        later = World(image.folder, clock=world.clock)
        later.functions.add("f", dead_letters=QUEUE)
        later.invocations.scripts["f"] = failed
        await later.start()
        stored = await events_of(later, "f")
        before = {event.request_id: event for event in stored}
        for request_id, event in before.items():
            if "sent" not in steps(event):
                found_waiting += 1
                event = await later.turn_until_step("f", request_id, "sent", 121)
            failures, interruptions = steps(event).count("failed"), steps(event).count("interrupted")
            assert failures == 3
            assert event.attempts == 3 + interruptions
            assert event.undelivered == 0
        bodies = {json.loads(letter["MessageBody"]) for letter in later.services.sent("SendMessage")}
        already = {
            n for n, request_id in enumerate(sent) if request_id in before and "sent" in steps(before[request_id])
        }
        assert bodies | already >= {n for n, request_id in enumerate(sent) if request_id in before}
        await later.stop()
    assert found_waiting >= 6


async def test_a_full_disk_refuses_new_events_and_loses_none(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lambent.store.rewriting.REWRITE_S", 0.01)
    monkeypatch.setattr("lambent.dispatch.lanes.RECLAIM_S", 0.01)
    world.functions.add("f")
    running, release = asyncio.Event(), asyncio.Event()

    async def waits(invocation: Any) -> Any:
        running.set()
        await release.wait()
        return failed(invocation)

    world.invocations.scripts["f"] = waits
    first = await world.send("f", "first")
    await running.wait()
    connection = world.store._database._writer_connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(AwsError, match="ServiceException: The event could not be stored: database or disk is full"):
        await world.send("f", "x" * 100_000)
    world.dispatcher._functions[key("f")].notify()  # it tries to claim more, and cannot
    await asyncio.sleep(0.05)
    release.set()
    await asyncio.sleep(0.05)
    connection.execute("PRAGMA max_page_count = 1000000")
    await world.until_step("f", first, "failed")
    assert len(world.invocations.of("f")) == 1, "it ran once: only what came of it had to wait for the disk"
    third = await world.send("f", "third")
    await world.until_step("f", third, "failed")

    async def both() -> bool:
        return len(await events_of(world, "f")) == 2

    assert await until(both)


async def test_a_claim_that_the_disk_refuses_ends_nothing_that_runs(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lambent.dispatch.lanes.RECLAIM_S", 0.01)
    world.functions.add("f")
    running, release = asyncio.Event(), asyncio.Event()

    async def waits(invocation: Any) -> Any:
        running.set()
        await release.wait()
        return succeeded(invocation)

    world.invocations.scripts["f"] = waits
    first = await world.send("f", 1)
    await running.wait()
    claim, refused = EventStore.claim, 0

    async def refuses(store: EventStore, function: Any, limit: int) -> Any:
        nonlocal refused
        if refused < 3:
            refused += 1
            raise sqlite3.OperationalError("database or disk is full")
        return await claim(store, function, limit)

    world.dispatcher._functions[key("f")]._claim = lambda function, limit: refuses(world.store, function, limit)
    second = await world.send("f", 2)

    async def tried() -> bool:
        return refused == 3

    await until(tried)
    release.set()
    for request_id in (first, second):
        await world.until_step("f", request_id, "succeeded")
    assert len(world.invocations.of("f")) == 2


async def test_a_dead_letter_is_sent_once_and_its_lane_goes_on_when_the_disk_was_full(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.functions.add("f", dead_letters=QUEUE)
    world.invocations.scripts["f"] = failed
    disk = FullDisk(monkeypatch, EventStore, "end_delivery")
    for n in range(2):
        request_id = await world.send("f", n)
        await world.turn_until_step("f", request_id, "sent", 121)
    assert disk.refused == 3
    assert [letter["MessageBody"] for letter in world.services.sent("SendMessage")] == ["0", "1"]


@pytest.mark.parametrize("method", ["claim", "due_deliveries"])
async def test_a_lane_that_broke_goes_on(world: World, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    monkeypatch.setattr("lambent.dispatch.dispatcher.RESTART_LANE_S", 0.01)
    world.functions.add("f", dead_letters=QUEUE)
    world.invocations.scripts["f"] = failed
    works, broke = getattr(EventStore, method), False

    async def breaks(store: EventStore, *arguments: Any) -> Any:
        nonlocal broke
        if not broke:
            broke = True
            raise RuntimeError("a mistake of our own")
        return await works(store, *arguments)

    monkeypatch.setattr(EventStore, method, breaks)
    request_id = await world.send("f")
    await world.turn_until_step("f", request_id, "sent", 121)
    assert broke

"""The server ends after any commit between accepting, receiving, calling and deleting, or its disk is full: nothing is lost."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from crash_images import Image, images_of, room
from dispatch_harness import ACCOUNT, REGION, failed, succeeded
from lambent.model.errors import AwsError
from lambent.model.invocation import Invocation, Outcome
from lambent.store.checkpoints import CheckpointStore
from lambent.store.database import Database
from sources_harness import Queues, Streams, bodies

ROOM = 10_000
RECEIVES_MOST = 3


@pytest.fixture
def first(tmp_path: Path) -> Path:
    folder = tmp_path / "first"
    folder.mkdir()
    return folder


@pytest.fixture
async def queues(first: Path) -> AsyncIterator[Queues]:
    world = await Queues.open(first)
    yield world
    await world.close()


@pytest.fixture
async def streams(first: Path) -> AsyncIterator[Streams]:
    world = await Streams.open(first)
    yield world
    await world.close()


def moody(invocation: Invocation) -> Outcome:
    return failed(invocation) if any("poison" in text for text in bodies(invocation)) else succeeded(invocation)


def done_by(world: Queues) -> list[str]:
    return [text for batch in world.seen for text in batch if not any("poison" in other for other in batch)]


@pytest.mark.parametrize("suffix", ["", ".fifo"], ids=["standard", "fifo"])
async def test_whenever_the_server_ends_each_message_is_done_or_a_dead_letter(
    first: Path, tmp_path: Path, queues: Queues, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    accepted: list[str] = []
    dead = await queues.queue(f"dead{suffix}")
    policy = {"deadLetterTargetArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:dead{suffix}", "maxReceiveCount": RECEIVES_MOST}
    url = await queues.queue(f"q{suffix}", RedrivePolicy=json.dumps(policy), VisibilityTimeout="30")
    queues.invocations.scripts["f"] = moody
    images = images_of(first, tmp_path, monkeypatch, lambda: ([*accepted], done_by(queues)))
    queues.poll(url, BatchSize=1)
    for text in ("a-1", "b-poison", "a-2", "c-1"):
        await queues.send(url, text)
        accepted.append(text)
    await queues.until_empty(url, turn_s=5)
    monkeypatch.undo()
    assert await queues.counts(dead) == (1, 0)
    assert len(images) >= 2 * len(accepted) + RECEIVES_MOST, "for each message one at least: sent, received, deleted"
    for image in images:
        await goes_on(image, suffix)


async def goes_on(image: Image[tuple[list[str], list[str]]], suffix: str) -> None:
    accepted, done = image.known
    world = await Queues.open(image.folder)
    world.invocations.scripts["f"] = moody
    base = f"http://here:4566/{ACCOUNT}"
    try:
        world.poll(f"{base}/q{suffix}", BatchSize=1)
        await world.until_empty(f"{base}/q{suffix}", turn_s=5)
        dead = await world.counts(f"{base}/dead{suffix}")
        assert set(accepted) - {"b-poison"} <= {*done, *done_by(world)}
        if "b-poison" in accepted:
            assert sum(dead) == 1
        assert sum("poison" in text for batch in world.seen for text in batch) <= RECEIVES_MOST
        again = [text for text in done_by(world) if text in done]
        assert len(again) <= 1, "what was called and not deleted yet"
        if suffix:
            of_a = [text for text in dict.fromkeys([*done, *done_by(world)]) if text.startswith("a")]
            assert of_a == sorted(of_a)
    finally:
        await world.close()


async def test_whenever_the_server_ends_a_stream_goes_on_behind_its_checkpoint(
    first: Path, tmp_path: Path, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted: dict[str, str] = {}  # sequence number → data
    await streams.stream()
    images = images_of(first, tmp_path, monkeypatch, lambda: ([*accepted.values()], [*streams.seen]))
    streams.poll(BatchSize=1)
    sequence = ""
    for text in ("a-1", "a-2", "a-3"):
        (sequence,) = await streams.put(text)
        accepted[sequence] = text
    await streams.until_checkpoint(sequence)
    monkeypatch.undo()
    assert len(images) >= len(accepted) + 2
    for image in images:
        known, seen = image.known
        later = await Streams.open(image.folder)
        later.mapping_id = streams.mapping_id
        try:
            positions = await later.checkpoints.positions(later.mapping_id)
            behind = max((accepted[p["after"]] for p in positions.values() if "after" in p), default="")
            later.poll(BatchSize=1)
            (end,) = await later.put("a-9")
            await later.until_checkpoint(end)
            texts = [text for batch in later.seen for text in batch]
            assert texts == sorted(set(texts))
            assert texts[0] > behind
            assert set(known) <= {text for batch in seen for text in batch} | set(texts)
        finally:
            await later.close()


async def test_a_full_disk_refuses_new_messages_and_loses_no_old_one(
    queues: Queues, caplog: pytest.LogCaptureFixture
) -> None:
    url = await queues.queue("q.fifo", VisibilityTimeout="30")
    await queues.send(url, "a-old")
    room(queues.store._database, 2)
    with caplog.at_level(logging.ERROR), pytest.raises(AwsError) as caught:
        await queues.send(url, "a-" + "x" * 200_000)
    assert (caught.value.code, caught.value.status) == ("InternalFailure", 500)
    assert "make room on the disk" in caplog.text
    room(queues.store._database, ROOM)
    await queues.send(url, "a-" + "x" * 200_000)  # it is no duplicate of the one that was refused
    queues.poll(url)
    await queues.until_empty(url)
    assert [text[:5] for batch in queues.seen for text in batch] == ["a-old", "a-xxx"]


async def test_what_was_done_when_the_disk_was_full_is_done_again_and_never_lost(
    queues: Queues, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = await queues.queue(VisibilityTimeout="30")
    running, go_on = asyncio.Event(), asyncio.Event()

    async def waits(invocation: Invocation) -> Outcome:
        running.set()
        await go_on.wait()
        return succeeded(invocation)

    queues.invocations.scripts["f"] = waits
    queues.poll(url)
    await queues.send(url, "one")
    await running.wait()
    refused = refuses_writes(queues, monkeypatch)
    go_on.set()
    await queues.until(lambda: refused)
    monkeypatch.undo()
    await queues.until_empty(url, turn_s=5)
    assert queues.seen == [["one"], ["one"]]


def refuses_writes(queues: Queues, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """As a disk does that is full to the last byte; grows with each write."""
    tried: list[str] = []

    async def write(self: Database, work: object, committed: object = None) -> None:
        tried.append("write")
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(Database, "write", write)
    return tried


async def test_a_checkpoint_waits_for_room_on_the_disk_and_nothing_runs_twice(
    streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lambent.store.rewriting.REWRITE_S", 0.005)
    await streams.stream()
    poller = streams.poll(BatchSize=1)
    (sequence,) = await streams.put("a-1")
    await streams.until_checkpoint(sequence)
    refused: list[str] = []
    save = CheckpointStore.save

    async def refuses(self: CheckpointStore, *arguments: object) -> None:
        refused.append("save")
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(CheckpointStore, "save", refuses)
    (sequence,) = await streams.put("a-2")
    await streams.until(lambda: len(refused) > 2)
    monkeypatch.setattr(CheckpointStore, "save", save)
    await streams.until_checkpoint(sequence)
    await poller.stop_reading()
    await poller.finished()
    streams.poll(BatchSize=1)
    (sequence,) = await streams.put("a-3")
    await streams.until_checkpoint(sequence)
    assert streams.seen == [["a-1"], ["a-2"], ["a-3"]]

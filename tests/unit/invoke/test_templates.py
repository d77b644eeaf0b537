"""Images of versions: made once, in their budget, and dropped; with originals that only pretend. And what is no image."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hand_clock import HandClock
from hand_memory import HandMemory
from lambent.invoke import image
from lambent.invoke.failures import timed_out
from lambent.invoke.image import MAGIC, TRAILER, Template, Unfit, new_image, seal
from lambent.invoke.original import Original, OriginalFailed
from lambent.invoke.room import STARTING_MIB, Room
from lambent.invoke.templates import IDLE_S, RETRY_S, Templates
from lambent.model.errors import SandboxError
from lambent.model.function import FunctionSettings, FunctionVersion
from lambent.model.limits import MIB
from lambent.model.names import FunctionAddress
from lambent.ports import CatalogTransaction
from lambent.store.catalog import SqliteCatalog

ADDRESS = FunctionAddress("123456789012", "eu-west-1", "f")


class World:
    """`outcome` is the size in MiB of the next image, or what is raised instead."""

    def __init__(self, catalog: SqliteCatalog, budget_mib: int = 10) -> None:
        self.catalog = catalog
        self.clock = HandClock()
        self.outcome: int | Exception = 1
        self.takes = self.under_way = self.most_at_once = 0
        self.memory = HandMemory()
        self.room = Room(self.memory, reserve_mib=0, wait_s=0.05)
        self.templates = Templates(catalog, self._make, self._room_for, self.clock, budget_mib)

    def _room_for(self, version: FunctionVersion) -> AbstractAsyncContextManager[bool]:
        async def reap() -> bool:
            return False

        return self.room.for_one((version.account_id, version.region, version.name), reap)

    def _make(self, version: FunctionVersion) -> Original:
        return cast(Original, self)

    async def take(self) -> Template:
        self.takes += 1
        self.under_way += 1
        self.most_at_once = max(self.most_at_once, self.under_way)
        await asyncio.sleep(0)
        self.under_way -= 1
        if isinstance(self.outcome, Exception):
            raise self.outcome
        descriptor = os.memfd_create("image")
        os.pwrite(descriptor, b"x" * (self.outcome * MIB), 0)
        return Template(descriptor, self.clock.monotonic())

    async def until_made(self) -> None:
        while self.templates._making:
            await asyncio.sleep(0)


def version_of(number: str, snap_start: str = "PublishedVersions") -> FunctionVersion:
    return FunctionVersion(
        account_id=ADDRESS.account_id, region=ADDRESS.region, name=ADDRESS.name, version=number, role="r",
        runtime="python3.13", handler="h", revision_id=number, extra={"SnapStart": snap_start},
    )  # fmt: skip


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    catalog = SqliteCatalog.open(tmp_path / "catalog.db")

    def work(tx: CatalogTransaction) -> None:
        tx.create_function(version_of("$LATEST"), FunctionSettings())
        for number in ("1", "2", "3"):
            tx.put_version(version_of(number))

    await catalog.transact(work)
    made = World(catalog)
    yield made
    await made.templates.close()
    await made.room.close()
    await catalog.close()


ONE, TWO, THREE = map(version_of, ("1", "2", "3"))


async def test_a_published_version_has_an_image_and_gives_it_to_its_environments(world: World) -> None:
    await world.templates.prepare(ONE)
    assert world.templates.has(ONE)
    assert world.templates.find(ONE) is not None
    await world.templates.prepare(ONE)
    assert world.takes == 1


async def test_latest_and_versions_without_snapstart_have_none(world: World) -> None:
    assert world.templates.find(version_of("$LATEST")) is None
    assert world.templates.find(version_of("1", "None")) is None
    await world.until_made()
    assert world.takes == 0


async def test_a_missing_image_is_made_once_when_an_environment_starts(world: World) -> None:
    assert world.templates.find(ONE) is None
    assert world.templates.find(ONE) is None
    await world.until_made()
    assert world.takes == 1
    assert world.templates.find(ONE) is not None


async def test_a_version_that_can_have_none_is_not_tried_again(world: World) -> None:
    world.outcome = Unfit("it left a thread")
    await world.templates.prepare(ONE)
    world.clock.at += 10 * RETRY_S
    assert world.templates.find(ONE) is None
    await world.until_made()
    assert (world.takes, world.templates.has(ONE)) == (1, False)


async def test_a_machine_without_memory_takes_no_image_and_tries_again_later(world: World) -> None:
    world.memory.free_mib = STARTING_MIB - 1
    await world.templates.prepare(ONE)
    assert (world.takes, world.templates.has(ONE)) == (0, False)
    world.memory.free_mib = STARTING_MIB
    assert world.templates.find(ONE) is None
    await world.until_made()
    assert world.takes == 0, "not at once"
    world.clock.at += RETRY_S + 1
    assert world.templates.find(ONE) is None
    await world.until_made()
    assert (world.takes, world.templates.has(ONE)) == (1, True)


async def test_what_images_are_taken_of_counts_as_starting(world: World) -> None:
    world.memory.free_mib = STARTING_MIB
    world.room = Room(world.memory, reserve_mib=0, wait_s=60.0)
    await asyncio.gather(world.templates.prepare(ONE), world.templates.prepare(TWO))
    assert (world.takes, world.most_at_once) == (2, 1)


@pytest.mark.parametrize("fault", [SandboxError("no memory is left"), OSError("no file")])
async def test_a_fault_of_the_machine_is_tried_again_later(world: World, fault: Exception) -> None:
    world.outcome = fault
    await world.templates.prepare(ONE)
    assert world.templates.find(ONE) is None
    await world.until_made()
    assert world.takes == 1
    world.clock.at += RETRY_S + 1
    world.outcome = 1
    assert world.templates.find(ONE) is None
    await world.until_made()
    assert world.templates.has(ONE)


async def test_a_failed_init_is_told_to_who_publishes_and_harms_nobody_else(world: World) -> None:
    world.outcome = OriginalFailed(timed_out(130.0))
    with pytest.raises(OriginalFailed) as raised:
        await world.templates.prepare(ONE)
    assert raised.value.reason_code == "FunctionError.InitTimeout"
    assert world.templates.find(TWO) is None
    await world.until_made()
    assert not world.templates.has(TWO)


async def test_those_used_longest_ago_make_room(world: World) -> None:
    world.outcome = 4
    for version in (ONE, TWO):
        await world.templates.prepare(version)
        world.clock.at += 1
    assert world.templates.find(ONE) is not None
    world.clock.at += 1
    await world.templates.prepare(THREE)
    assert [world.templates.has(version) for version in (ONE, TWO, THREE)] == [True, False, True]


async def test_one_that_is_larger_than_all_may_be_is_not_kept(world: World) -> None:
    await world.templates.prepare(ONE)
    world.outcome = 11
    await world.templates.prepare(TWO)
    assert [world.templates.has(version) for version in (ONE, TWO)] == [True, False]


async def test_without_a_budget_nothing_is_ever_made(world: World) -> None:
    templates = Templates(world.catalog, world._make, world._room_for, world.clock, 0)
    await templates.prepare(ONE)
    assert templates.find(ONE) is None
    assert world.takes == 0


async def test_an_image_that_cannot_be_restored_is_made_again_but_not_at_once(world: World) -> None:
    await world.templates.prepare(ONE)
    world.templates.drop(ONE)
    assert world.templates.find(ONE) is None
    await world.until_made()
    assert world.takes == 1
    world.clock.at += RETRY_S + 1
    assert world.templates.find(ONE) is None
    await world.until_made()
    assert world.takes == 2


async def test_what_nothing_is_restored_from_for_hours_is_dropped(world: World) -> None:
    await world.templates.prepare(ONE)
    world.clock.at += IDLE_S - 1
    await world.templates.prepare(TWO)
    world.clock.at += 2
    sweeping = asyncio.create_task(world.templates.run())
    while world.templates.has(ONE):
        await asyncio.sleep(0)
    sweeping.cancel()
    assert world.templates.has(TWO)


async def test_the_image_of_a_version_that_is_gone_goes_too(world: World) -> None:
    await world.templates.prepare(ONE)
    await world.templates.prepare(TWO)
    descriptor = world.templates._found[next(key for key in world.templates._found if key[3] == "1")].descriptor
    await world.catalog.transact(lambda tx: tx.delete_version(ADDRESS, 1))
    assert [world.templates.has(version) for version in (ONE, TWO)] == [False, True]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


async def test_a_version_that_goes_while_its_image_is_taken_leaves_none(world: World) -> None:
    assert world.templates.find(ONE) is None
    await world.catalog.transact(lambda tx: tx.delete_version(ADDRESS, 1))
    await world.until_made()
    assert not world.templates.has(ONE)


# files


def written(description: bytes, start: int = TRAILER.size, length: int | None = None, magic: bytes = MAGIC) -> int:
    descriptor = new_image(MIB)
    os.pwrite(descriptor, TRAILER.pack(magic, start, len(description) if length is None else length), 0)
    os.pwrite(descriptor, description, TRAILER.size)
    return descriptor


def test_a_whole_image_is_sealed_at_its_end() -> None:
    text = json.dumps({"zygote": "x", "files": [], "more": {"of": [1, 2]}}).encode()
    descriptor = written(text)
    try:
        seal(descriptor)
        assert os.fstat(descriptor).st_size == TRAILER.size + len(text)
        for change in (lambda: os.pwrite(descriptor, b"x", 0), lambda: os.ftruncate(descriptor, 0)):
            with pytest.raises(PermissionError):
                change()
        seals = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
        assert seals == fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        reader = Template(descriptor, 0.0).open()
        assert os.pread(reader, len(text), TRAILER.size) == text
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.pwrite(reader, b"x", 0)
        os.close(reader)
    finally:
        os.close(descriptor)


def test_an_image_that_was_dropped_cannot_be_opened_though_its_number_is_another_ones() -> None:
    template = Template(new_image(4096), 0.0)
    number = template.descriptor
    template.close()
    other = new_image(4096)
    assert other == number, "the lowest number that is free is taken next"
    with pytest.raises(OSError, match="the image was dropped"):
        template.open()
    template.close()
    assert os.fstat(other).st_size == 4096
    os.close(other)


def test_an_image_cannot_become_longer_than_was_allowed() -> None:
    descriptor = new_image(4096)
    with pytest.raises(PermissionError):
        os.pwrite(descriptor, b"x", 4096)
    os.close(descriptor)


@pytest.mark.parametrize(
    ("descriptor_of", "why"),
    [
        (lambda: new_image(MIB), "without an image"),
        (lambda: written(b"{}", magic=b"another image 1\n"), "without an image"),
        (lambda: written(b"{}", start=MIB - 1), "without an image"),
        (lambda: written(b"{}", start=0), "without an image"),
        (lambda: written(b"{}", length=image.DESCRIPTION_MAX_BYTES + 1), "without an image"),
        (lambda: written(b"{}", length=0), "no image that could be read"),
        (lambda: written(b"[1]"), "no image that could be read"),
        (lambda: written(b'{"unfit": 3}'), "no image that could be read"),
        (lambda: written(b'{"unfit": "\xff"}'), "no image that could be read"),
        (lambda: written(b'{"files": ' + b"[" * 500_000), "no image that could be read"),
        (lambda: written(b'{"unfit": "a \\u001b[2J thread"}'), r"^a \?\[2J thread$"),
    ],
)
def test_what_is_no_image_is_known_for_one(descriptor_of: Any, why: str) -> None:
    descriptor = descriptor_of()
    with pytest.raises(Unfit, match=why):
        seal(descriptor)
    os.close(descriptor)


@given(st.binary(max_size=200), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_no_bytes_make_it_fail_otherwise(text: bytes, start: int, length: int) -> None:
    descriptor = written(text, start, length)
    try:
        seal(descriptor)
    except Unfit:
        pass
    finally:
        os.close(descriptor)

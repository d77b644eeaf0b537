"""Packages go once no function and no layer names them, and no live environment shows what is in them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import pytest

from control_harness import Control, zipped
from lambent.store.blobs import FileBlobs
from lambent.store.collector import EVERY_S, FIRST_AFTER_S, collect_now_and_then


@attrs.define
class Turns:
    """A clock whose waits end when the test says so."""

    waits: asyncio.Queue[float] = attrs.field(factory=asyncio.Queue)
    turn: asyncio.Semaphore = attrs.field(factory=lambda: asyncio.Semaphore(0))

    def now(self) -> float:
        return 0.0

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        self.waits.put_nowait(seconds)
        await self.turn.acquire()


@pytest.fixture
async def control(tmp_path: Path) -> AsyncIterator[Control]:
    control = Control(tmp_path)
    control.start_reconciling()
    yield control
    await control.close()


def age(blobs_directory: Path) -> None:
    """As if every package had been uploaded long ago."""
    for package in blobs_directory.glob("*/*.zip"):
        os.utime(package, (0, 0))


def packages(data: Path) -> set[str]:
    return {package.stem for package in (data / "blobs").glob("*/*.zip")}


async def test_packages_of_deleted_functions_are_removed_an_hour_later_at_the_latest(control: Control) -> None:
    clock = Turns()
    task = asyncio.create_task(collect_now_and_then(control.catalog, control.blobs, set, clock))
    await control.create("kept", Code={"ZipFile": zipped(app="kept")})
    await control.create("gone", Code={"ZipFile": zipped(app="gone")})
    both = packages(control.data)
    age(control.data / "blobs")
    assert await clock.waits.get() == FIRST_AFTER_S
    clock.turn.release()
    assert await clock.waits.get() == EVERY_S
    assert packages(control.data) == both
    await control("DeleteFunction", FunctionName="gone")
    clock.turn.release()
    assert await clock.waits.get() == EVERY_S
    assert len(packages(control.data)) == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()


async def test_a_disk_that_fails_once_does_not_end_the_collecting(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Turns()
    asked: list[set[Path]] = []

    async def failing(self: FileBlobs, referenced: set[str], in_use: set[Path]) -> list[str]:
        asked.append(in_use)
        raise OSError("no such disk")

    monkeypatch.setattr(FileBlobs, "collect", failing)
    shown = {control.data / "code" / "x"}
    task = asyncio.create_task(collect_now_and_then(control.catalog, control.blobs, lambda: shown, clock))
    for _ in range(3):
        clock.turn.release()
        await clock.waits.get()
    assert asked[0] == shown
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()

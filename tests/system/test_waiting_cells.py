"""The stock of sealed cells: grows with what was asked for at once, within its memory, and is given back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cage_census import CAGE_IDS, descendants
from cagebench import Bench, open_to_all
from lambent.sandbox.caged import LauncherSandbox
from lambent.sandbox.launcher import start_launcher

HELLO = "#!/bin/sh\necho hello\n"
BURST = 12


class Stock:
    def __init__(self, bench: Bench, launcher: int) -> None:
        self.bench = bench
        self._launcher = launcher

    def waiting(self) -> int:
        """Cells that have been made: each has a first process, whose user is none of the host's."""
        found = 0
        for pid in descendants(self._launcher):
            try:
                found += Path(f"/proc/{pid}").stat().st_uid in CAGE_IDS
            except FileNotFoundError:
                continue
        return found

    async def until(self, condition: Callable[[int], bool]) -> int:
        async with asyncio.timeout(20):
            while not condition(count := self.waiting()):
                await asyncio.sleep(0.02)
        return count

    async def burst(self, size: int) -> None:
        running = await asyncio.gather(*(self.bench.run(HELLO) for _ in range(size)))
        for one in running:
            await one.exited()
            await one.cage.destroy()


@pytest.fixture
async def stock_of(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Stock]]]:
    """A launcher with so many MiB for cells that wait."""
    async with _stocks(tmp_path) as make:
        yield make


@asynccontextmanager
async def _stocks(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Stock]]]:
    made: list[tuple[Bench, LauncherSandbox]] = []

    async def make(ready_memory_mib: int, memory_reserve_mib: int = 0) -> Stock:
        directory = open_to_all(tmp_path)
        handle = start_launcher(
            directory / "launcher", [], ready_memory_mib=ready_memory_mib, memory_reserve_mib=memory_reserve_mib
        )
        sandbox = LauncherSandbox(handle)
        bench = Bench(sandbox, directory)
        made.append((bench, sandbox))
        return Stock(bench, handle.process.pid)

    yield make
    for bench, sandbox in made:
        bench.running.clear()  # every burst has ended its own
        await sandbox.close()


async def test_after_a_burst_as_many_wait_as_were_missing(stock_of: Callable[..., Awaitable[Stock]]) -> None:
    stock = await stock_of(500)
    await stock.burst(1)
    least = await stock.until(lambda count: count >= 4)
    await stock.burst(BURST)
    assert await stock.until(lambda count: count >= BURST - 1) >= least


async def test_the_stock_keeps_to_its_memory(stock_of: Callable[..., Awaitable[Stock]]) -> None:
    stock = await stock_of(8)
    await stock.burst(BURST)
    await stock.until(lambda count: 1 <= count < 8)
    await asyncio.sleep(0.3)  # time enough to make several
    assert stock.waiting() < 8


async def test_without_memory_for_it_nothing_is_made_ahead(stock_of: Callable[..., Awaitable[Stock]]) -> None:
    stock = await stock_of(1)
    await stock.burst(2)
    await stock.until(lambda count: count == 0)


async def test_a_machine_without_memory_to_spare_gives_up_what_waits(stock_of: Callable[..., Awaitable[Stock]]) -> None:
    stock = await stock_of(500, memory_reserve_mib=1 << 30)
    await stock.bench.sandbox.prepare(stock.bench.spec(HELLO))
    await stock.burst(3)
    await stock.until(lambda count: count == 0)

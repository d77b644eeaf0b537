"""A log store in a directory of its own, and a clock that stands where it is put."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lambent.store.logs import LogStore


class SettableClock:
    def __init__(self, now_s: float) -> None:
        self.now_s = now_s

    def now(self) -> float:
        return self.now_s

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock(1_795_246_123.456)


@pytest.fixture
async def store(tmp_path: Path, clock: SettableClock) -> AsyncIterator[LogStore]:
    opened = await LogStore.open(tmp_path / "logs.db", clock)
    yield opened
    await opened.close()

"""A metric store in a directory of its own, and a clock that stands until it is moved."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lambent.store.metrics import MetricStore
from queue_clock import HandClock


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def store(tmp_path: Path, clock: HandClock) -> AsyncIterator[MetricStore]:
    opened = await MetricStore.open(tmp_path / "metrics.db", clock)
    yield opened
    await opened.close()

"""A queue store in a directory of its own, and a clock that stands until it is moved."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lambent.store.queues import QueueStore
from queue_clock import HandClock


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def store(tmp_path: Path, clock: HandClock) -> AsyncIterator[QueueStore]:
    opened = await QueueStore.open(tmp_path / "queues.db", clock)
    yield opened
    await opened.close()

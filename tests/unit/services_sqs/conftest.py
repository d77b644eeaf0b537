"""The service over a store in a directory of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lambent.services.sqs import SqsService
from lambent.store.queues import QueueStore
from queue_clock import HandClock
from sqs_harness import Sqs


@pytest.fixture
async def sqs(tmp_path: Path) -> AsyncIterator[Sqs]:
    clock = HandClock()
    store = await QueueStore.open(tmp_path / "queues.db", clock)
    yield Sqs(SqsService(store), clock, store)
    await store.close()

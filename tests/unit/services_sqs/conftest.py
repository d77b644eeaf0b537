"""The service over a store in a directory of its own."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lambent.services.sqs import SqsService
from lambent.store.queues import QueueStore
from queue_clock import HandClock
from sqs_harness import Sqs

MEMORY = "/dev/shm"  # nothing here is about disks, and waiting for one takes longer than the tests


@pytest.fixture
async def sqs() -> AsyncIterator[Sqs]:
    clock = HandClock()
    with tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as folder:
        store = await QueueStore.open(Path(folder) / "queues.db", clock)
        yield Sqs(SqsService(store), clock, store)
        await store.close()

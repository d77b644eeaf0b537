"""The service over a store in a directory of its own."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kinesis_harness import Kinesis
from lambent.services.kinesis import KinesisService
from lambent.store.streams import StreamStore
from queue_clock import HandClock

MEMORY = "/dev/shm"  # nothing here is about disks, and waiting for one takes longer than the tests


@pytest.fixture
async def kinesis() -> AsyncIterator[Kinesis]:
    clock = HandClock()
    with tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as folder:
        store = await StreamStore.open(Path(folder) / "streams.db", clock)
        yield Kinesis(KinesisService(store, clock), clock, store)
        await store.close()

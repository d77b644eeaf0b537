"""CloudWatch's operations over a store in a directory of its own, at a time that stands."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cloudwatch_harness import CloudWatch
from lambent.services.cloudwatch import CloudWatchMetrics
from lambent.store.metrics import MetricStore
from queue_clock import HandClock

MEMORY = "/dev/shm"  # nothing here is about disks, and waiting for one takes longer than the tests


async def nothing() -> None:
    pass


@pytest.fixture
async def cloudwatch() -> AsyncIterator[CloudWatch]:
    clock = HandClock()
    with tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as folder:
        store = await MetricStore.open(Path(folder) / "metrics.db", clock)
        yield CloudWatch(CloudWatchMetrics(store, clock, nothing), clock, store)
        await store.close()

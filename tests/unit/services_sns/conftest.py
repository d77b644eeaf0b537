"""The services over stores in a directory of their own."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from queue_clock import HandClock
from sns_harness import World

MEMORY = "/dev/shm"  # nothing here is about disks, and waiting for one takes longer than the tests


@pytest.fixture
async def world() -> AsyncIterator[World]:
    with tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as folder:
        world = World(Path(folder), HandClock())
        await world.begin()
        yield world
        await world.end()

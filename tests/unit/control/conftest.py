"""Fixtures for the tests of control operations."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from control_harness import Control


@pytest.fixture
async def idle_control(tmp_path: Path) -> AsyncIterator[Control]:
    """Nothing is made ready: functions stay as they are written."""
    control = Control(tmp_path)
    yield control
    await control.close()


@pytest.fixture
async def control(idle_control: Control) -> Control:
    idle_control.start_reconciling()
    return idle_control

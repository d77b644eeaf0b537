"""A bench of every level that this machine can make."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cagebench import Bench, make_sandbox, open_to_all
from lambent.model.cage import IsolationLevel


@pytest.fixture
def open_tmp_path(tmp_path: Path) -> Path:
    return open_to_all(tmp_path)


LEVELS = [IsolationLevel.PROCESS, IsolationLevel.ROOT if os.geteuid() == 0 else IsolationLevel.ROOTLESS]


@pytest.fixture(params=LEVELS)
async def bench(request: pytest.FixtureRequest, open_tmp_path: Path) -> AsyncIterator[Bench]:
    sandbox = make_sandbox(request.param, open_tmp_path)
    bench = Bench(sandbox, open_tmp_path)
    yield bench
    await bench.close()
    await sandbox.close()

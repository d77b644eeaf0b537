from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bridge_harness import Bridge, bridge_in


@pytest.fixture
async def bridge(tmp_path: Path) -> AsyncIterator[Bridge]:
    async with bridge_in(tmp_path) as found:
        yield found

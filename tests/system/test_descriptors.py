"""A server that was started with a low limit of open files serves many environments all the same."""

from __future__ import annotations

import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lambent.sandbox.descriptors import FEW
from live_server import running

LOW = 128
ENVIRONMENTS = 40
CODE = "import time\ndef handler(event, context):\n    time.sleep(0.5)\n    return event\n"


def test_a_low_limit_is_raised_as_far_as_possible(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < FEW:
        pytest.skip(f"this machine allows {hard} open files, and no more")
    resource.setrlimit(resource.RLIMIT_NOFILE, (LOW, hard))
    try:
        with running(tmp_path / "data") as server:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            name = server.create(CODE, Timeout=20)
            with ThreadPoolExecutor(ENVIRONMENTS) as pool:
                answers = list(pool.map(lambda n: server.invoke(name, n).value, range(ENVIRONMENTS)))
            assert answers == list(range(ENVIRONMENTS))
            assert "open" not in server.output.read_text()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

"""Whose memory it was: a child that the kernel ends is not the runtime."""

from __future__ import annotations

import pytest

from live_server import LiveServer

CHILD_EATS = """
    import os, signal, sys
    def handler(event, context):
        pid = os.fork()
        if pid == 0:
            eaten = b"x" * (1 << 30)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        if event:
            os.kill(os.getpid(), signal.SIGSEGV)
        return os.WTERMSIG(status)
"""


@pytest.fixture
def name(live: LiveServer) -> str:
    if live.level != "root":
        pytest.skip(f"level {live.level} ends whole environments for memory")
    return live.create(CHILD_EATS, Timeout=30)


def test_a_function_outlives_a_child_that_took_too_much_memory(live: LiveServer, name: str) -> None:
    answer = live.invoke(name)
    assert answer.value == 9
    assert answer.max_memory_used_mb == 128


def test_a_crash_after_that_is_no_lack_of_memory(live: LiveServer, name: str) -> None:
    error = live.invoke(name, 1).error
    assert error["errorType"] == "Runtime.ExitError"
    assert error["errorMessage"].endswith("Error: Runtime exited with error: signal: segmentation fault")

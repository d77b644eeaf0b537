"""The processes that functions are forked from die, or are killed, while many environments are wanted.

What runs in their children dies with them, for the functions of that interpreter alike; so this stands apart from the
tests in which another function must not notice.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cage_census import command_lines, descendants, is_frozen
from live_server import LiveServer, until
from neighbour_pace import call, calls

BURST = 60
KILLED = 3
RETRIED = 10
SLEEPS = "import time\ndef handler(event, context):\n    time.sleep(event)\n    return event"


@pytest.fixture(autouse=True)
def needs_interpreters(live: LiveServer) -> None:
    if live.level == "process":
        pytest.skip("no interpreters wait at this level")


def forks(live: LiveServer) -> tuple[set[int], set[int]]:
    """The zygotes, which are forked from, and what was forked."""
    lines = command_lines()
    found = {pid for pid in descendants(live.process.pid) if "privileged.zygote" in lines.get(pid, "")}
    zygotes = {pid for pid in found if _parent(pid) not in found}
    return zygotes, found - zygotes


def _parent(pid: int) -> int:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return -1


def kill(pids: Iterable[int]) -> None:
    """Returns when they are dead, which takes a moment on a busy machine."""
    killed = set(pids)
    for pid in killed:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    until(lambda: not any(_is_fork(pid) and not _is_frozen(pid) for pid in killed))


def _is_fork(pid: int) -> bool:
    """Whether it is still there; the dead have no command line, even before they are reaped."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return b"privileged.zygote" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def _is_frozen(pid: int) -> bool:
    """Those that have served and are idle are frozen; they die when they are thawed."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return is_frozen(pid)
    return False


def test_interpreters_killed_during_a_burst_cost_what_a_retry_cures(live: LiveServer) -> None:
    name = live.create(SLEEPS, Timeout=60)
    call(live, name, 0)
    with ThreadPoolExecutor(BURST) as pool:
        burst = [pool.submit(call, live, name, 0.3) for _ in range(BURST)]
        for _ in range(KILLED):
            until(lambda: forks(live)[0] or all(one.done() for one in burst))
            kill(forks(live)[0])
        for status, answer, _ in (one.result() for one in burst):
            if status == 500:
                assert answer["Type"] == "Service", answer
            else:  # an answer, or the end of the environment that died with its interpreter
                assert status == 200
                assert answer == 0.3 or answer["errorType"] == "Runtime.ExitError", answer
    until(lambda: [answer[:2] for answer in calls(live, name, [0.1] * RETRIED)] == [(200, 0.1)] * RETRIED)
    assert live.process.poll() is None


def test_environments_that_die_while_they_wait_are_given_to_nobody(live: LiveServer) -> None:
    names = [live.create(SLEEPS, Timeout=60) for _ in range(5)]
    call(live, names[0], 0)
    for name in names[1:]:
        kill(forks(live)[1])
        status, answer, _ = call(live, name, 0)
        if status == 500:  # one was given away in the moment of its death, and nothing of the function had begun
            assert answer["Type"] == "Service", answer
            status, answer, _ = call(live, name, 0)
        assert (status, answer) == (200, 0)


def test_idle_environments_end_with_their_interpreter_and_fail_nobody(live: LiveServer) -> None:
    name = live.create(SLEEPS, Timeout=60)
    calls(live, name, [0.2] * RETRIED)
    until(lambda: any(map(_is_frozen, forks(live)[1])) or live.level != "root")
    zygotes, forked = forks(live)
    kill(zygotes)
    until(lambda: not any(map(_is_fork, forked)))
    assert live.process.poll() is None
    until(lambda: calls(live, name, [0.1])[0][:2] == (200, 0.1))

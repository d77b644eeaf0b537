"""Many cold starts at once, of one function beside another, beside functions that take all they can, and while interpreters die."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cage_census import command_lines, descendants
from live_server import LiveServer, until
from neighbour_pace import TWOFOLD, call, calls, pace_of

BURST = 60
CROWD = 500
SLEEPS = "import time\ndef handler(event, context):\n    time.sleep(event)\n    return event"
BOMB = """
    import os, time
    def handler(event, context):
        until = time.monotonic() + event
        while time.monotonic() < until:
            try:
                if os.fork() == 0:
                    time.sleep(60)
            except OSError:
                pass
        os._exit(1)
"""
HOG = """
    import time
    def handler(event, context):
        hoard, until = [], time.monotonic() + event
        while time.monotonic() < until:
            hoard.append(bytearray(b"x" * (1 << 20)))
"""


def interpreters(live: LiveServer) -> list[int]:
    """The zygotes: root's, in whose children functions run."""
    lines = command_lines()
    found = {pid for pid in descendants(live.process.pid) if "privileged.zygote" in lines.get(pid, "")}
    return [pid for pid in found if _status(pid, "Uid") == 0 and _status(pid, "PPid") not in found]


def _status(pid: int, name: str) -> int:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1])
    return -1


@contextlib.contextmanager
def again_and_again(live: LiveServer, names: list[str], event: object) -> Iterator[None]:
    """Invokes functions that do not end well, each in a thread of its own."""
    ended = threading.Event()

    def run(name: str) -> None:
        while not ended.is_set():
            status, answer, _ = call(live, name, event)
            assert status == 200, answer
            assert answer["errorType"] in ("Runtime.ExitError", "Runtime.OutOfMemory", "Sandbox.Timedout"), answer

    with ThreadPoolExecutor(len(names)) as pool:
        running = [pool.submit(run, name) for name in names]
        try:
            yield
        finally:
            ended.set()
        for one in running:
            one.result()


def test_one_call_does_not_wait_for_another_functions_crowd(live: LiveServer) -> None:
    """Each of the crowd runs until the single one has been answered, so those who end are no reason for room."""
    single = live.create("def handler(event, context):\n    return event")
    code = "import time\ndef handler(event, context):\n    time.sleep(3)\n    return time.time()"
    many = live.create(code, Timeout=60)
    call(live, many, 0)
    with ThreadPoolExecutor(BURST * 2) as pool:
        waiting = [pool.submit(call, live, many, 1) for _ in range(BURST * 2)]
        status, answer, _ = call(live, single, "single")
        answered_at = time.time()
        assert (status, answer) == (200, "single")
        crowd_ended_at = [one.result()[1] for one in waiting]
    assert answered_at < sorted(crowd_ended_at)[len(crowd_ended_at) // 2]


def test_a_burst_beside_fork_bombs_and_memory_hogs_is_answered_whole(live: LiveServer) -> None:
    bad = [live.create(code, MemorySize=128, Timeout=3) for code in (BOMB, BOMB, HOG, HOG)]
    name = live.create("import time\ndef handler(event, context):\n    time.sleep(0.2)\n    return event", Timeout=60)
    with again_and_again(live, bad, 1.0):
        answers = calls(live, name, list(range(BURST // 2)))
    assert [answer[:2] for answer in answers] == [(200, number) for number in range(BURST // 2)]


def test_interpreters_that_are_killed_during_a_burst_cost_what_a_retry_cures(live: LiveServer) -> None:
    if live.level == "process":
        pytest.skip("no interpreters wait at this level")
    name = live.create(SLEEPS, Timeout=60)
    call(live, name, 0)
    with ThreadPoolExecutor(BURST) as pool:
        burst = [pool.submit(call, live, name, 0.3) for _ in range(BURST)]
        for _ in range(3):
            victims = until(lambda: interpreters(live))
            for pid in victims:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            until(lambda gone=victims: not set(gone) & set(interpreters(live)))  # type: ignore[misc]
        for status, answer, _ in (one.result() for one in burst):
            if status == 500:
                assert answer["Type"] == "Service", answer
            else:  # an answer, or the end of the environment that died with its interpreter
                assert status == 200
                assert answer == 0.3 or answer["errorType"] == "Runtime.ExitError", answer
    assert [answer[:2] for answer in calls(live, name, [0.1] * 10)] == [(200, 0.1)] * 10
    assert live.process.poll() is None


@pytest.mark.long
@pytest.mark.timeout(600)
def test_five_hundred_that_wait_do_not_starve_one(live: LiveServer) -> None:
    singles = [live.create("def handler(event, context):\n    return event") for _ in range(5)]
    many = live.create(SLEEPS, Timeout=60)
    call(live, many, 0)
    with ThreadPoolExecutor(CROWD) as pool:
        began = time.monotonic()
        waiting = [pool.submit(call, live, many, 5) for _ in range(CROWD)]
        took_s = [call(live, name, name)[2] for name in singles]
        assert all(one.result()[:2] == (200, 5) for one in waiting)
        crowd_s = time.monotonic() - began
    assert max(took_s) < crowd_s / 4, (took_s, crowd_s)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_bombs_and_hogs_leave_others_twofold_at_most(live: LiveServer, harmless: str) -> None:
    bad = [live.create(code, MemorySize=128, Timeout=3) for code in (BOMB, HOG)]
    with pace_of(live, harmless) as pace, again_and_again(live, bad, 1.0):
        until(lambda: len(pace.during_ms) > 3000, 60)
    assert pace.ratio < TWOFOLD, pace.ratio

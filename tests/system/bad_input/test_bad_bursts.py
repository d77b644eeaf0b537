"""Many cold starts at once: beside those of another function, and beside functions that take all they can."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from live_server import LiveServer
from neighbour_pace import TWOFOLD, Pace, answer_of, ask, call, calls, least_ratio

BURST = 60
WAITING = 100
CROWD = 500
SLEEPS = "import time\ndef handler(event, context):\n    time.sleep(event)\n    return event"
BAD_ENDS = ("Runtime.ExitError", "Runtime.OutOfMemory", "Sandbox.Timedout")
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
            hoard.append(bytearray(b"x" * (8 << 20)))
"""


@contextlib.contextmanager
def again_and_again(live: LiveServer, names: list[str], event: object) -> Iterator[None]:
    """Invokes functions that do not end well, each in a thread of its own."""
    ended = threading.Event()

    def run(name: str) -> None:
        while not ended.is_set():
            status, answer, _ = call(live, name, event)
            assert status == 200, answer
            assert answer is None or answer["errorType"] in BAD_ENDS, answer

    with ThreadPoolExecutor(len(names)) as pool:
        running = [pool.submit(run, name) for name in names]
        try:
            yield
        finally:
            ended.set()
        for one in running:
            one.result()


def test_one_call_does_not_wait_for_another_functions_crowd(live: LiveServer) -> None:
    single = live.create("def handler(event, context):\n    return event")
    code = "import time\ndef handler(event, context):\n    began = time.time()\n    time.sleep(event)\n    return began"
    many = live.create(code, Timeout=60)
    call(live, many, 0)
    waiting = [ask(live, many, 2) for _ in range(WAITING)]
    assert call(live, single, "single")[:2] == (200, "single")
    answered_at = time.time()
    began_at = sorted(answer_of(connection) for connection in waiting)
    assert answered_at < began_at[WAITING * 2 // 3], [at - answered_at for at in began_at]


def test_a_burst_beside_fork_bombs_and_memory_hogs_is_answered_whole(live: LiveServer) -> None:
    bad = [live.create(code, MemorySize=128, Timeout=3) for code in (BOMB, BOMB, HOG, HOG)]
    name = live.create("import time\ndef handler(event, context):\n    time.sleep(0.2)\n    return event", Timeout=60)
    with again_and_again(live, bad, 1.0):
        answers = calls(live, name, list(range(BURST // 2)))
    assert [answer[:2] for answer in answers] == [(200, number) for number in range(BURST // 2)]


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

    def misbehave(pace: Pace) -> None:
        with again_and_again(live, bad, 1.0):
            pace.until_more(1000)

    assert least_ratio(live, harmless, misbehave) < TWOFOLD

"""How quickly another function is answered, before and while something bad goes on. Ratios within one run only."""

from __future__ import annotations

import http.client
import json
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import attrs

from live_server import LiveServer

TWOFOLD: Final = 2.0
SAMPLES: Final = 600  # before
ENDED_S: Final = 30.0
PATIENCE_S: Final = 100.0
ROUNDS: Final = 3


def call(live: LiveServer, name: str, event: object) -> tuple[int, Any, float]:
    """One Invoke on a connection of its own: (status, decoded answer, seconds). Lighter than a client of an SDK."""
    began = time.perf_counter()
    connection = ask(live, name, event)
    try:
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read()), time.perf_counter() - began
    finally:
        connection.close()


def calls(live: LiveServer, name: str, events: list[object]) -> list[tuple[int, Any, float]]:
    """All at once."""
    with ThreadPoolExecutor(len(events)) as pool:
        return list(pool.map(lambda event: call(live, name, event), events))


def ask(live: LiveServer, name: str, event: object) -> http.client.HTTPConnection:
    """Sends an Invoke and does not wait for its answer."""
    url = urlsplit(live.url)
    assert url.hostname is not None
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=PATIENCE_S)
    connection.request("POST", f"/2015-03-31/functions/{name}/invocations", json.dumps(event))
    return connection


def answer_of(connection: http.client.HTTPConnection) -> Any:
    """Decoded."""
    try:
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


@attrs.define
class Pace:
    """Milliseconds of each answer, of one function that is invoked again and again."""

    before_ms: list[float] = attrs.field(factory=list)
    during_ms: list[float] = attrs.field(factory=list)

    @property
    def ratio(self) -> float:
        """Of the medians."""
        return statistics.median(self.during_ms) / statistics.median(self.before_ms)


@contextmanager
def pace_of(live: LiveServer, name: str, samples: int = SAMPLES) -> Iterator[Pace]:
    """Measures it before, and while the body runs. `name` gives back its event. Fails when any answer is missing."""
    pace, ended, problems = Pace(), threading.Event(), []
    url = urlsplit(live.url)
    assert url.hostname is not None
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=ENDED_S)

    def measure(into: list[float], goes_on: Callable[[], bool]) -> None:
        while goes_on():
            began = time.perf_counter()
            connection.request("POST", f"/2015-03-31/functions/{name}/invocations", f"{len(into)}")
            assert connection.getresponse().read() == b"%d" % len(into)
            into.append((time.perf_counter() - began) * 1000)

    def run() -> None:
        try:
            measure(pace.during_ms, lambda: not ended.is_set())
        except Exception as problem:  # whatever it is, the test must tell of it
            problems.append(problem)

    measure(pace.before_ms, lambda: len(pace.before_ms) < samples)
    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield pace
    finally:
        ended.set()
        thread.join(ENDED_S)
        connection.close()
    assert not problems, problems
    assert pace.during_ms


def least_ratio(live: LiveServer, name: str, misbehave: Callable[[Pace], None]) -> float:
    """The best of several rounds, since all else that a busy machine does spoils some of them. Each round asks for all answers."""
    least = float("inf")
    for _ in range(ROUNDS):
        with pace_of(live, name) as pace:
            misbehave(pace)
        least = min(least, pace.ratio)
        if least < TWOFOLD:
            break
    return least

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


def call(live: LiveServer, name: str, event: object, timeout_s: float = 100.0) -> tuple[int, Any, float]:
    """One Invoke on a connection of its own: (status, decoded answer, seconds). Lighter than a client of an SDK."""
    url = urlsplit(live.url)
    assert url.hostname is not None
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=timeout_s)
    began = time.perf_counter()
    try:
        connection.request("POST", f"/2015-03-31/functions/{name}/invocations", json.dumps(event))
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read()), time.perf_counter() - began
    finally:
        connection.close()


def calls(live: LiveServer, name: str, events: list[object]) -> list[tuple[int, Any, float]]:
    """All at once."""
    with ThreadPoolExecutor(len(events)) as pool:
        return list(pool.map(lambda event: call(live, name, event), events))


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

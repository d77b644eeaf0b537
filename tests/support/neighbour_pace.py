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

from live_server import LiveServer, until

TWOFOLD: Final = 2.0
SAMPLES: Final = 600
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
    """Milliseconds of each answer of one function that is invoked again and again."""

    answers_ms: list[float] = attrs.field(factory=list)

    @property
    def median_ms(self) -> float:
        return statistics.median(self.answers_ms)

    def until_more(self, count: int) -> None:
        """Returns when it has been answered so many times more."""
        wanted = len(self.answers_ms) + count
        until(lambda: len(self.answers_ms) >= wanted, ENDED_S)


@contextmanager
def pace_of(live: LiveServer, name: str) -> Iterator[Pace]:
    """Measures it while the body runs. `name` gives back its event. Fails when any answer is missing or wrong."""
    pace, ended, problems = Pace(), threading.Event(), []
    url = urlsplit(live.url)
    assert url.hostname is not None
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=ENDED_S)

    def run() -> None:
        try:
            while not ended.is_set():
                event, began = b"%d" % len(pace.answers_ms), time.perf_counter()
                connection.request("POST", f"/2015-03-31/functions/{name}/invocations", event)
                assert connection.getresponse().read() == event
                pace.answers_ms.append((time.perf_counter() - began) * 1000)
        except Exception as problem:  # whatever it is, the test must tell of it
            problems.append(problem)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield pace
    finally:
        ended.set()
        thread.join(ENDED_S)
        connection.close()
    assert not problems, problems
    assert pace.answers_ms


def idle(pace: Pace) -> None:
    """Nothing else happens."""
    pace.until_more(SAMPLES)


def least_ratio(
    live: LiveServer, name: str, misbehave: Callable[[Pace], None], otherwise: Callable[[Pace], None] = idle
) -> float:
    """Of the medians, beside what is bad and beside what is not: the best of several rounds.

    Whatever else a busy machine does spoils some of them. Each round asks for every answer.
    """
    least = float("inf")
    for _ in range(ROUNDS):
        with pace_of(live, name) as before:
            otherwise(before)
        with pace_of(live, name) as during:
            misbehave(during)
        least = min(least, during.median_ms / before.median_ms)
        if least < TWOFOLD:
            break
    return least

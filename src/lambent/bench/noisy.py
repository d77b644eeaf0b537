"""What one function's figures do while another prints a million lines: the echo alone, then beside it."""

from __future__ import annotations

import threading
import time
from typing import Any, Final

from lambent.bench import load
from lambent.bench.connection import Caller, path_of
from lambent.bench.errors import NotMeasured
from lambent.bench.functions import ECHO_PYTHON, create, python
from lambent.bench.server import RUNNING_PYTHON, Run, Server
from lambent.bench.warm import event

CONNECTIONS: Final = 4
LINES: Final = 1_000_000
PRINTS: Final = "def handler(event, context):\n    for number in range(event['lines']):\n        print(number)\n"
BEGUN_S: Final = 0.5  # until the lines come


def measure(run: Run) -> dict[str, Any]:
    lines, seconds = run.pick(LINES, 50_000), run.pick(6, 1)
    with run.server() as server:
        create(server.client(), ["echo"], python(RUNNING_PYTHON, ECHO_PYTHON), MemorySize=1769)
        create(server.client(), ["prints"], python(RUNNING_PYTHON, PRINTS), MemorySize=1769, Timeout=300)
        with Caller(server.port) as caller:
            caller.invoke("prints", b'{"lines": 1}')
        load.own_once(server.port, path_of("echo"), event(1_000), CONNECTIONS)  # the environments start
        alone = _load(server, seconds)
        beside, ended = _beside(server, lines, seconds)
    return {
        "lines": lines,
        "printing_ended_within_the_time": ended,
        "alone_per_s": round(alone.per_s, 1),
        "beside_per_s": round(beside.per_s, 1),
        "alone_p50_ms": alone.p50_ms,
        "beside_p50_ms": beside.p50_ms,
        "alone_p99_ms": alone.p99_ms,
        "beside_p99_ms": beside.p99_ms,
        "p50_ratio": round(beside.p50_ms / alone.p50_ms, 2),
        "p99_ratio": round(beside.p99_ms / alone.p99_ms, 2),
    }


def _load(server: Server, seconds: int) -> load.Load:
    return load.load(server.port, path_of("echo"), event(1_000), CONNECTIONS, seconds)


def _beside(server: Server, lines: int, seconds: int) -> tuple[load.Load, bool]:
    problems: list[NotMeasured] = []

    def prints() -> None:
        try:
            with Caller(server.port) as caller:
                caller.invoke("prints", b'{"lines": %d}' % lines)
        except NotMeasured as problem:
            problems.append(problem)

    thread = threading.Thread(target=prints)
    thread.start()
    time.sleep(BEGUN_S)
    made = _load(server, seconds)
    ended = not thread.is_alive()
    thread.join()
    if problems:
        raise problems[0]
    return made, ended

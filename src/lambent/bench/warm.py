"""Warm invocations of a Python echo: requests a second and latency by connections and payload, and the processor time of each.

Beside nginx with one worker that answers 200 to the same load generator, taking turns; and payloads of 6 MB beside copying one twice
through a socket.
"""

from __future__ import annotations

import json
import statistics
from typing import Any, Final

from lambent.bench import load, processes
from lambent.bench.connection import Caller, path_of
from lambent.bench.errors import NotMeasured
from lambent.bench.figures import ratio, spread, timed_ms
from lambent.bench.functions import ECHO_PYTHON, create, python
from lambent.bench.server import RUNNING_PYTHON, Run, Server
from lambent.bench.yardsticks import nginx, there_and_back_ms

NAME: Final = "echo"
CONNECTIONS: Final = (1, 8, 64)
PAYLOADS: Final = {"1 KB": 1_000, "1 MB": 1_000_000, "6 MB": 6_000_000}
USUAL: Final = 8  # connections, with the smallest payload
LARGE_RUNS, QUICK_LARGE_RUNS = 15, 3


def event(size_bytes: int) -> bytes:
    """JSON of about this size."""
    return json.dumps({"text": "x" * (size_bytes - len('{"text": ""}'))}).encode()


def measure(run: Run) -> dict[str, Any]:
    with run.server() as server:
        create(server.client(), [NAME], python(RUNNING_PYTHON, ECHO_PYTHON), MemorySize=1769)
        figures: dict[str, Any] = {"load_generator": load.generator()}
        figures |= _beside_nginx(run, server)
        figures |= _processor_time(server, run.pick(5, 1))
        figures |= _large(server, run.pick(LARGE_RUNS, QUICK_LARGE_RUNS))
        figures["loads"] = _matrix(run, server)
    return figures


def _beside_nginx(run: Run, server: Server) -> dict[str, Any]:
    rounds, seconds = run.pick(5, 1), run.pick(4, 1)
    body, ours, theirs = event(PAYLOADS["1 KB"]), [], []
    load.own_once(server.port, path_of(NAME), body, USUAL)  # the environments start
    load.load(server.port, path_of(NAME), body, USUAL, run.pick(2, 1))
    left_out: dict[str, Any] = {}
    try:
        with run.fresh() as directory, nginx(directory) as port:
            for _ in range(rounds):
                ours.append(load.load(server.port, path_of(NAME), body, USUAL, seconds))
                theirs.append(load.load(port, "/", body, USUAL, seconds).per_s)
    except NotMeasured as problem:
        left_out = {"nginx_per_s": f"not measured: {problem}"}
        ours = ours or [load.load(server.port, path_of(NAME), body, USUAL, seconds) for _ in range(rounds)]
    figures = {
        "invokes_per_s": spread([made.per_s for made in ours]),
        "p50_ms": spread([made.p50_ms for made in ours]),
        "p99_ms": spread([made.p99_ms for made in ours]),
    }
    return figures | (
        left_out or {"nginx_per_s": spread(theirs), "ratio": ratio([made.per_s for made in ours], theirs)}
    )


def _processor_time(server: Server, seconds: int) -> dict[str, Any]:
    """Of the server and of the environments, each request; the load generator's is not in it."""
    before = processes.processor_s(server.tree())
    made = load.load(server.port, path_of(NAME), event(PAYLOADS["1 KB"]), USUAL, seconds)
    after, environments = processes.processor_s(server.tree()), server.environments()
    in_environments_s = processes.spent_s(before, after, environments)
    in_server_s = processes.spent_s(before, after, set(after) - environments)
    return {
        "server_us_a_request": round(in_server_s / made.requests * 1e6, 1),
        "environment_us_a_request": round(in_environments_s / made.requests * 1e6, 1),
        "processor_us_a_request": round((in_server_s + in_environments_s) / made.requests * 1e6, 1),
    }


def _large(server: Server, runs: int) -> dict[str, Any]:
    """6 MB there and back on one connection, taking turns with a bare socket."""
    payload = event(PAYLOADS["6 MB"])
    ours, bare = [], []
    with Caller(server.port) as caller:
        for _ in range(2):
            caller.invoke(NAME, payload)
        for _ in range(runs):
            ours.append(timed_ms(lambda: caller.invoke(NAME, payload)))
            bare.append(statistics.median(there_and_back_ms(payload, 3)))
    return {"six_mb_ms": spread(ours), "six_mb_socket_ms": spread(bare), "six_mb_ratio": ratio(ours, bare)}


def _matrix(run: Run, server: Server) -> list[dict[str, Any]]:
    """One row for each number of connections and size of payload."""
    rows = []
    for size, size_bytes in PAYLOADS.items():
        for connections in CONNECTIONS:
            run.say(f"warm: {size}, {connections} connections")
            row: dict[str, Any] = {"payload": size, "connections": connections}
            try:
                load.own_once(server.port, path_of(NAME), event(size_bytes), connections)  # the environments start
                made = load.load(server.port, path_of(NAME), event(size_bytes), connections, run.pick(3, 1))
            except NotMeasured as problem:
                rows.append(row | {"not measured": str(problem)})
                continue
            row |= {"per_s": round(made.per_s, 1), "p50_ms": made.p50_ms, "p99_ms": made.p99_ms, "failed": made.failed}
            rows.append(row)
    return rows

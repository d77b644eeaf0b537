"""Load on a server from one thread: connections that each send a request again as soon as it is answered.

wrk generates it where it is installed; else a small client of our own does, which is a little slower.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, cast

import attrs
import httptools
import uvloop

from lambent.bench.connection import Answers, request
from lambent.bench.errors import NotMeasured

PATIENCE_S: Final = 60.0  # for the last answers
CONNECT_AT_ONCE: Final = 100  # the backlog of a listener is finite
UNITS_MS: Final = {"us": 0.001, "ms": 1.0, "s": 1_000.0, "m": 60_000.0}


@attrs.frozen(kw_only=True)
class Load:
    """What came of it."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    failed: int = 0  # answered by something else than 2xx, or not at all

    @property
    def per_s(self) -> float:
        return self.requests / self.seconds


def generator() -> str:
    """Which one `load` uses."""
    return "wrk, one thread" if shutil.which("wrk") else "lambent's own client, one thread"


def load(port: int, path: str, body: bytes, connections: int, seconds: float, *headers: str) -> Load:
    """`headers` are sent besides those that every request has. Raises NotMeasured when no request succeeded."""
    by = _by_wrk if shutil.which("wrk") else own
    made = by(port, path, body, connections, seconds, *headers)
    if made.requests <= made.failed:
        raise NotMeasured(f"{path}: none of {made.requests} requests succeeded with {connections} connections")
    return made


def own(port: int, path: str, body: bytes, connections: int, seconds: float, *headers: str) -> Load:
    """By the client of our own, whole seconds or not."""
    return uvloop.run(_closed_loop(port, request(path, body, *headers), connections, seconds))


def own_once(port: int, path: str, body: bytes, connections: int) -> tuple[float, list[bytes]]:
    """One request on each of so many connections at once: the seconds until all are answered, and the answers.

    Raises NotMeasured when one of them fails.
    """
    return uvloop.run(_at_once(port, request(path, body), connections))


class _Connection(asyncio.Protocol):
    """Sends the request again after each answer until the time is over."""

    def __init__(self, request: bytes, until: float | None) -> None:
        self._request = request
        self._until = until  # of time.perf_counter(); None: once
        self._answers = Answers()
        self._sent = 0.0
        self.latencies_ms: list[float] = []
        self.bodies: list[bytes] = []
        self.failed = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one without inheriting from it

    def send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        try:
            self._answers.feed(data)
        except httptools.HttpParserError:
            self._transport.abort()
            return
        for status, body in self._answers.complete:
            now = time.perf_counter()
            self.latencies_ms.append((now - self._sent) * 1000)
            self.failed += not 200 <= status < 300
            if self._until is None:
                self.bodies.append(bytes(body))
            if self._until is not None and now < self._until:
                self.send()
            else:
                self._end()
        self._answers.complete.clear()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.failed += 1
            self._end()

    def _end(self) -> None:
        if not self.done.done():
            self.done.set_result(None)

    def close(self) -> None:
        self._transport.close()


async def _connected(port: int, request: bytes, count: int, seconds: float | None) -> list[_Connection]:
    loop = asyncio.get_running_loop()
    until = None if seconds is None else time.perf_counter() + seconds
    made: list[_Connection] = []
    while len(made) < count:
        group = min(CONNECT_AT_ONCE, count - len(made))
        pairs = await asyncio.gather(
            *(loop.create_connection(lambda: _Connection(request, until), "127.0.0.1", port) for _ in range(group))
        )
        made += [protocol for _, protocol in pairs]
    return made


async def _closed_loop(port: int, request: bytes, count: int, seconds: float) -> Load:
    connections = await _connected(port, request, count, seconds)
    took_s = await _run(connections)
    latencies = sorted(latency for connection in connections for latency in connection.latencies_ms)
    return Load(
        requests=len(latencies),
        seconds=took_s,
        p50_ms=statistics.median(latencies) if latencies else 0.0,
        p99_ms=latencies[int(len(latencies) * 0.99)] if latencies else 0.0,
        failed=sum(connection.failed for connection in connections),
    )


async def _at_once(port: int, request: bytes, count: int) -> tuple[float, list[bytes]]:
    connections = await _connected(port, request, count, None)
    took_s = await _run(connections)
    failed = sum(connection.failed for connection in connections)
    if failed:
        told = next((connection.bodies for connection in connections if connection.failed), [])
        raise NotMeasured(f"{failed} of {count} requests at once failed: {told}")
    return took_s, [connection.bodies[0] for connection in connections]


async def _run(connections: Sequence[_Connection]) -> float:
    begun = time.perf_counter()
    for connection in connections:
        connection.send()
    try:
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*(asyncio.shield(connection.done) for connection in connections))
    except TimeoutError:
        for connection in connections:
            connection.failed += not connection.done.done()
    took_s = time.perf_counter() - begun
    for connection in connections:
        connection.close()
    return took_s


WRK_SCRIPT: Final = """
local file = io.open("{body}", "rb")
wrk.method = "POST"
wrk.body = file:read("*a")
wrk.path = "{path}"
{headers}
"""


def _by_wrk(port: int, path: str, body: bytes, connections: int, seconds: float, *headers: str) -> Load:
    with tempfile.TemporaryDirectory(prefix="lambent-bench-") as directory:
        payload, script = Path(directory, "body"), Path(directory, "script.lua")
        payload.write_bytes(body)
        script.write_text(WRK_SCRIPT.format(body=payload, path=path, headers=_lua_headers(headers)))
        whole_s = max(1, round(seconds))
        command = [
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{whole_s}s",
            "--timeout",
            "30s",
            "--latency",
            "-s",
            str(script),
        ]
        done = subprocess.run([*command, f"http://127.0.0.1:{port}"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotMeasured(f"wrk: {done.stderr or done.stdout}")
    return parse_wrk(done.stdout)


def _lua_headers(headers: Sequence[str] = ()) -> str:
    """Those that our own client sends, too."""
    head = request("/", b"", *headers).decode().split("\r\n")[1:]
    pairs = [line.split(": ", 1) for line in head if line and not line.startswith(("Host", "Content-Length"))]
    return "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in pairs)


def parse_wrk(text: str) -> Load:
    """What `wrk --latency` prints. Raises NotMeasured when it is something else."""
    total = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m)", text)
    percentiles = dict(re.findall(r"^ +(50|99)% +([\d.]+(?:us|ms|s|m))", text, re.MULTILINE))
    if total is None or len(percentiles) < 2:
        raise NotMeasured(f"wrk said {text!r}")
    other = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    return Load(
        requests=int(total[1]),
        seconds=float(total[2]) * UNITS_MS[total[3]] / 1000,
        p50_ms=_ms(percentiles["50"]),
        p99_ms=_ms(percentiles["99"]),
        failed=int(other[1] if other else 0) + sum(int(count) for count in (errors.groups() if errors else ())),
    )


def _ms(told: str) -> float:
    digits = told.rstrip("ums")
    return round(float(digits) * UNITS_MS[told[len(digits) :]], 3)

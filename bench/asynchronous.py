"""Asynchronous events accepted a second, each answered once it is on disk, beside what the bare store does in groups.

    python bench/asynchronous.py [--quick]

16 connections send small events to a function that runs them one at a time meanwhile; then 16 tasks give the same events to the store without a server. docs/promises.md holds the goals.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import uvloop

from bench.control_plane import Asker
from bench.road import Server
from lambent.model.invocation import Invocation
from lambent.store.events import EventStore
from lambent.telemetry.system_clock import SystemClock

SENDERS: Final = 16
NAME: Final = "busy"
EVENT: Final = b'{"order": 1234567}'
REQUEST: Final = (
    f"POST /2015-03-31/functions/{NAME}/invocations HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Amz-Invocation-Type: Event\r\n"
    f"Content-Length: {len(EVENT)}\r\n\r\n"
).encode() + EVENT


async def together(one: Callable[[], Awaitable[None]], seconds: float) -> float:
    """How often a second SENDERS tasks get through `one`."""
    count, end = 0, time.perf_counter() + seconds

    async def again_and_again() -> None:
        nonlocal count
        while time.perf_counter() < end:
            await one()
            count += 1

    await asyncio.gather(*(again_and_again() for _ in range(SENDERS)))
    return count / seconds


async def over_http(port: int, seconds: float) -> float:
    idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(SENDERS)]

    async def one() -> None:
        reader, writer = connection = idle.pop()
        writer.write(REQUEST)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 202"):
            raise SystemExit(f"an event was not accepted: {head!r}")
        idle.append(connection)

    rate = await together(one, seconds)
    for _, writer in idle:
        writer.close()
    return rate


async def into_the_store(path: Path, seconds: float) -> float:
    store = await EventStore.open(path, SystemClock())
    event = Invocation(
        request_id="c2a6f2ae-7dbb-4d22-8782-d0485c9877e2", account_id="000000000000", region="us-east-1",
        function_name=NAME, payload=EVENT,
        trace_header="Root=1-6920a0c0-000000000000000000000000;Parent=0000000000000000;Sampled=0",
    )  # fmt: skip
    rate = await together(lambda: store.accept(event), seconds)
    await store.close()
    return rate


def measure(quick: bool) -> dict[str, Any]:
    """Some ten seconds; less when `quick`."""
    seconds = 2.0 if quick else 5.0
    directory = Path(tempfile.mkdtemp(prefix="lambent-bench-"))
    directory.chmod(0o755)
    try:
        server = Server(directory / "data")
        try:
            asker = Asker(server)
            asker.create(NAME, 0)
            asker.until_active(NAME)
            asker.ask("PUT", f"/2017-10-31/functions/{NAME}/concurrency", {"ReservedConcurrentExecutions": 1})
            accepted = uvloop.run(over_http(server.port, seconds))
        finally:
            server.stop()
        bare = uvloop.run(into_the_store(directory / "bare.db", seconds))
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return {"accepted_per_s": round(accepted), "bare_per_s": round(bare), "ratio": round(accepted / bare, 2)}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="a shorter time; figures are rougher")
    print(json.dumps(measure(options.parse_args().quick), indent=2))


if __name__ == "__main__":
    main()

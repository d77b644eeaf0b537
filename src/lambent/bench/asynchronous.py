"""Asynchronous events accepted a second, each answered once it is on disk, beside what the bare store does in groups.

16 connections send small events to a function that runs them one at a time meanwhile; then 16 tasks give the same events to the store
without a server.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import uvloop

from lambent.bench.connection import path_of
from lambent.bench.control_plane import Asker
from lambent.bench.errors import NotMeasured
from lambent.bench.load import load
from lambent.bench.server import Run
from lambent.model.invocation import Invocation
from lambent.store.events import EventStore
from lambent.telemetry.system_clock import SystemClock

SENDERS: Final = 16
NAME: Final = "busy"
EVENT: Final = b'{"order": 1234567}'


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


def over_http(port: int, seconds: float) -> float:
    """Raises NotMeasured when events are not accepted."""
    made = load(port, path_of(NAME), EVENT, SENDERS, seconds, "X-Amz-Invocation-Type: Event")
    if made.failed:
        raise NotMeasured(f"{made.failed} of {made.requests} events were not accepted")
    return made.per_s


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


def measure(run: Run) -> dict[str, Any]:
    """Some ten seconds; less when quick."""
    seconds = float(run.pick(5, 1))
    with run.server() as server:
        asker = Asker(server)
        asker.create(NAME, 0)
        asker.until_active(NAME)
        asker.ask("PUT", f"/2017-10-31/functions/{NAME}/concurrency", {"ReservedConcurrentExecutions": 1})
        accepted = over_http(server.port, seconds)
    with run.fresh() as directory:
        bare = uvloop.run(into_the_store(directory / "bare.db", seconds))
    return {"accepted_per_s": round(accepted), "bare_per_s": round(bare), "ratio": round(accepted / bare, 2)}

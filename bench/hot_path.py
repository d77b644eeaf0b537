"""What one warm invocation costs the server in Python alone: the whole road, with sockets replaced by function calls.

    python bench/hot_path.py [--profile]

Bytes of a client's request go in at the front door, the runtime's answer comes back at once, and bytes of the response come
out. The least of many batches is printed, which other load on the machine hardly changes: for finding where time goes.
"""

from __future__ import annotations

import asyncio
import cProfile
import os
import pstats
import socket
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import attrs
import uvloop

from lambent.front.gateway import Gateway
from lambent.http1.connection import Connection
from lambent.http1.server import Server
from lambent.invoke.admission import Admission
from lambent.invoke.environment import Environment
from lambent.invoke.invoker import Invoker
from lambent.invoke.pool import Pools
from lambent.invoke.room import Room
from lambent.invoke.surroundings import Surroundings
from lambent.model.cage import EnvironmentSpec, IsolationLevel, ProcessExit, RuntimeInstallation, StartMethod
from lambent.model.concurrency import Shares
from lambent.model.function import FunctionVersion
from lambent.sandbox.memory import MachineMemory
from lambent.telemetry.system_clock import SystemClock

BATCHES = 1000  # short ones: some of them have a processor to themselves
BATCH = 20
VERSION = FunctionVersion(
    account_id="000000000000", region="us-east-1", name="echo", version="$LATEST", role="r", runtime="python3.13",
    handler="h", code_digest="d", revision_id="1",
)  # fmt: skip
BODY = b'{"text": "%b"}' % (b"x" * 1000)
REQUEST = (
    b"POST /2015-03-31/functions/echo/invocations HTTP/1.1\r\nHost: 127.0.0.1:4566\r\n"
    b"Authorization: AWS4-HMAC-SHA256 Credential=test/20261121/us-east-1/lambda/aws4_request, "
    b"SignedHeaders=host;x-amz-date, Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7\r\n"
    b"X-Amz-Date: 20261121T080000Z\r\nContent-Length: %d\r\n\r\n" % len(BODY)
) + BODY


class Wire:
    """A transport whose bytes go to a function."""

    def __init__(self, sent: Callable[[bytes], None]) -> None:
        self._sent = sent

    def set_write_buffer_limits(self, high: int) -> None: ...

    def write(self, data: bytes) -> None:
        self._sent(data)

    def writelines(self, pieces: list[bytes]) -> None:
        self._sent(b"".join(pieces))

    def close(self) -> None: ...

    abort = close


class FakeCage:
    """A cage whose runtime answers every event with `BODY`, in the bytes that Lambent's own client sends."""

    level = IsolationLevel.ROOT
    runtime_api_address = "127.0.0.1:9001"
    endpoint = None

    def __init__(self) -> None:
        self.runtime_api, self._pair = socket.socketpair()
        self.output_fd, self._output = os.pipe2(os.O_NONBLOCK)
        self.log_fd, self._log = os.pipe2(os.O_NONBLOCK)
        self.connection: Connection | None = None

    async def start_runtime(self) -> None:
        assert self.connection is not None
        self.connection.connection_made(Wire(self._event))  # type: ignore[arg-type]
        self.connection.data_received(NEXT)

    def _event(self, data: bytes) -> None:
        at = data.find(b"Request-Id: ")
        if at >= 0:
            asyncio.get_running_loop().call_soon(self._answer, data[at + 12 : at + 48])

    def _answer(self, request_id: bytes) -> None:
        assert self.connection is not None
        self.connection.data_received(
            b"POST /2018-06-01/runtime/invocation/%b/response HTTP/1.1\r\nHost: 127.0.0.1:9001\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (request_id, len(BODY)) + BODY + NEXT
        )

    async def start_extension(self, path: str) -> None: ...

    def on_exit(self, callback: Callable[[str, ProcessExit], None]) -> None: ...

    def freeze(self) -> None: ...

    thaw = end_boost = runtime_has_spoken = freeze

    def peak_memory_bytes(self) -> int:
        return 1

    def processor_time_s(self) -> float:
        return 0.0

    async def connect(self, port: int) -> Any:
        raise OSError

    async def terminate_runtime(self) -> None: ...

    async def destroy(self) -> None: ...


NEXT = b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: 127.0.0.1:9001\r\n\r\n"


class FakeSandbox:
    level = IsolationLevel.ROOT

    async def launch(self, spec: EnvironmentSpec, *, at_once: bool = False) -> Any:
        return FakeCage()

    async def prepare(self, spec: EnvironmentSpec) -> None: ...

    async def close(self) -> None: ...


RESERVE = Shares()


class Nothing:
    """Every other port."""

    def append(
        self, account_id: str, region: str, group: str, stream: str, events: Iterable[tuple[int, str]]
    ) -> None: ...

    async def drained(self, account_id: str = "", region: str = "", group: str = "") -> None: ...

    def resolve(self, account_id: str, region: str, name: str, qualifier: str | None, draw: float) -> FunctionVersion:
        return VERSION

    def subscribe(self, changed: Any) -> None: ...

    def of(self, account_id: str, region: str) -> Shares:
        return RESERVE

    async def unpacked(self, digest: str) -> Path:
        return Path("/")

    async def merged_layers(self, digests: Any) -> None:
        return None


async def installation(version: FunctionVersion) -> RuntimeInstallation:
    return RuntimeInstallation(
        runtime="python3.13", family="python", version="3.13.0", start=StartMethod.FORK, executable=None, argv=("x",),
        host_mounts=(), runtime_dir=None,
    )  # fmt: skip


async def serve_from_memory(self: Any, listener: socket.socket) -> None:
    """Instead of listening: gives the connection to the cage that made the listener."""
    cages[listener.fileno()] = Connection(self._server)


cages: dict[int, Connection] = {}


async def measure(profile: bool) -> None:
    from lambent.runtimeapi.api import EnvironmentApi

    EnvironmentApi.serve = serve_from_memory  # type: ignore[method-assign]
    start = FakeCage.start_runtime

    async def start_runtime(self: FakeCage) -> None:
        self.connection = cages[self.runtime_api.fileno()]
        await start(self)

    FakeCage.start_runtime = start_runtime  # type: ignore[method-assign]
    nothing: Any = Nothing()
    clock = SystemClock()
    around = Surroundings(
        sandbox=FakeSandbox(), blobs=nothing, logs=nothing, clock=clock, installation_for=installation,
        credentials_for=lambda version: {},
    )  # fmt: skip
    room = Room(MachineMemory(), reserve_mib=0, wait_s=1.0)
    pools = Pools(lambda version: Environment(version, around), clock, room, freeze_after_s=1e9, idle_environment_s=1e9)
    invoker = Invoker(nothing, Admission(nothing, 1_000_000), pools)
    front = Connection(Server(Gateway([], invoker)))
    answered: asyncio.Event = asyncio.Event()

    def client(data: bytes) -> None:
        assert data.startswith(b"HTTP/1.1 200"), data
        answered.set()

    front.connection_made(Wire(client))  # type: ignore[arg-type]

    async def one() -> None:
        answered.clear()
        front.data_received(REQUEST)
        await answered.wait()

    await one()
    profiler = cProfile.Profile()
    if profile:
        profiler.enable()
    batches = []
    for _ in range(BATCHES):
        begun = time.perf_counter()
        for _ in range(BATCH):
            await one()
        batches.append((time.perf_counter() - begun) / BATCH * 1e6)
    if profile:
        profiler.disable()
        pstats.Stats(profiler).sort_stats("tottime").print_stats(35)
    print(f"{min(batches):.1f} µs an invocation (median of batches {sorted(batches)[BATCHES // 2]:.1f})")
    await pools.close()


if __name__ == "__main__":
    attrs.resolve_types(FunctionVersion)
    uvloop.run(measure("--profile" in sys.argv))

"""The road with real processes: a sandbox, functions as folders, and the log as a list."""

from __future__ import annotations

import asyncio
import contextlib
import math
import sys
import textwrap
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest_asyncio
from msgspec.structs import replace

from hand_memory import HandMemory
from lambent.invoke.admission import Admission
from lambent.invoke.environment import Environment
from lambent.invoke.invoker import Invoker
from lambent.invoke.pool import Pools
from lambent.invoke.room import Room
from lambent.invoke.surroundings import Surroundings
from lambent.model.cage import RuntimeInstallation, StartMethod
from lambent.model.concurrency import Shares
from lambent.model.errors import not_found
from lambent.model.function import FunctionVersion
from lambent.model.invocation import Invocation, Outcome
from lambent.model.limits import INIT_PHASE_S
from lambent.model.names import FunctionAddress
from lambent.ports import Telemetry
from lambent.sandbox.process import ProcessSandbox

RESERVE_MIB = 100
MEMORY_WAIT_S = 1.0

# A custom runtime in a few lines: `handle(event, request_id)` comes from the test.
BOOTSTRAP = """\
#!{python} -IS
import http.client, json, os, sys, time
host = os.environ["AWS_LAMBDA_RUNTIME_API"]
connection = http.client.HTTPConnection(host)
def ask(method, path, body=None, headers={{}}):
    connection.request(method, "/2018-06-01/runtime/" + path, body, headers)
    response = connection.getresponse()
    return response, response.read()
{code}
while True:
    response, body = ask("GET", "invocation/next")
    request_id = response.headers["Lambda-Runtime-Aws-Request-Id"]
    try:
        answer = handle(json.loads(body), request_id)
    except Exception as error:
        fault = {{"errorType": type(error).__name__, "errorMessage": str(error)}}
        ask("POST", f"invocation/{{request_id}}/error", json.dumps(fault))
    else:
        ask("POST", f"invocation/{{request_id}}/response", json.dumps(answer))
"""


class SystemClock:
    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Counted(Telemetry):
    """Each metric of a function that was told, with its function's name."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def of_function(self, function: FunctionAddress, name: str, value: float = 1.0, *, unit: str = "Count") -> None:
        self.told.append((function.name, name))


class ListLog:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def append(self, account_id: str, region: str, group: str, stream: str, events: Iterable[tuple[int, str]]) -> None:
        self.lines += [message.removesuffix("\n") for _, message in events]

    async def drained(self, account_id: str = "", region: str = "", group: str = "") -> None: ...


class Folders:
    """`ports.Blobs` whose digests are paths."""

    async def put(self, data: bytes) -> str:
        raise KeyError("folders hold no archives")

    async def get(self, digest: str) -> bytes:
        raise KeyError(digest)

    async def unpacked(self, digest: str) -> Path:
        return Path(digest)

    async def unpacked_bytes(self, digest: str) -> int:
        return 0

    async def merged_layers(self, digests: Sequence[str]) -> Path | None:
        return Path(digests[0]) if digests else None


class Functions:
    def __init__(self) -> None:
        self.by_name: dict[str, FunctionVersion] = {}
        self.listeners: list[Callable[[str, str, str], None]] = []

    def resolve(self, account_id: str, region: str, name: str, qualifier: str | None, draw: float) -> FunctionVersion:
        if name not in self.by_name:
            raise not_found(f"Function not found: {name}")
        return self.by_name[name]

    def subscribe(self, changed: Callable[[str, str, str], None]) -> None:
        self.listeners.append(changed)

    def put(self, version: FunctionVersion) -> None:
        self.by_name[version.name] = version
        for listener in self.listeners:
            listener(version.account_id, version.region, version.name)


PROVIDED = RuntimeInstallation(
    runtime="provided.al2023",
    family="provided",
    version="al2023",
    start=StartMethod.EXEC,
    executable=None,
    argv=(),
    host_mounts=(),
    runtime_dir=None,
)


class Unreserved:
    def of(self, account_id: str, region: str) -> Shares:
        return Shares()


async def provided(version: FunctionVersion) -> RuntimeInstallation:
    return PROVIDED


@attrs.define
class Road:
    directory: Path
    functions: Functions
    log: ListLog
    pools: Pools
    invoker: Invoker
    around: Surroundings
    memory: HandMemory
    counted: Counted

    def define(self, name: str, code: str, **changes: Any) -> FunctionVersion:
        """A function whose bootstrap runs `code`, which defines handle(event, request_id)."""
        folder = self.directory / f"{name}-{uuid.uuid4().hex[:6]}"
        folder.mkdir(parents=True)
        program = folder / "bootstrap"
        program.write_text(BOOTSTRAP.format(python=sys.executable, code=textwrap.dedent(code)))
        program.chmod(0o755)
        version = FunctionVersion(
            account_id="000000000000",
            region="us-east-1",
            name=name,
            version="$LATEST",
            role="arn:aws:iam::000000000000:role/r",
            runtime="provided.al2023",
            handler="h",
            code_digest=str(folder),
            revision_id=str(uuid.uuid4()),
            last_modified=str(uuid.uuid4()),
        )
        version = attrs.evolve(version, **changes)
        self.functions.put(version)
        return version

    async def invoke(self, name: str, payload: bytes = b"{}", **fields: Any) -> Outcome:
        invocation = Invocation(
            request_id=str(uuid.uuid4()),
            account_id="000000000000",
            region="us-east-1",
            function_name=name,
            payload=payload,
        )
        return await self.invoker.invoke(replace(invocation, **fields))

    def environments(self, name: str) -> list[Environment]:
        return [e for e in self.pools.environments if e.version.name == name]


@contextlib.asynccontextmanager
async def open_road(
    directory: Path, init_phase_s: float = INIT_PHASE_S, environment_lifetime_s: float = math.inf
) -> AsyncIterator[Road]:
    sandbox = ProcessSandbox()
    functions, log, clock = Functions(), ListLog(), SystemClock()
    around = Surroundings(
        sandbox=sandbox,
        blobs=Folders(),
        logs=log,
        clock=clock,
        installation_for=provided,
        credentials_for=lambda version: {},
        init_phase_s=init_phase_s,
        snapshot_init_s=init_phase_s,
        restore_s=init_phase_s,
        environment_lifetime_s=environment_lifetime_s,
    )
    memory = HandMemory()
    room = Room(memory, reserve_mib=RESERVE_MIB, wait_s=MEMORY_WAIT_S)
    pools = Pools(lambda v: Environment(v, around), clock, room, freeze_after_s=0.05, idle_environment_s=60.0)
    counted = Counted()
    invoker = Invoker(functions, Admission(Unreserved(), 1000, telemetry=counted), pools)
    sweep = asyncio.create_task(pools.run())
    yield Road(directory, functions, log, pools, invoker, around, memory, counted)
    sweep.cancel()
    await pools.close()
    await sandbox.close()
    await asyncio.sleep(0)  # closed transports end in the loop's next turn


@pytest_asyncio.fixture
async def road(tmp_path: Path) -> AsyncIterator[Road]:
    async with open_road(tmp_path) as road:
        yield road


@pytest_asyncio.fixture
async def impatient_road(tmp_path: Path) -> AsyncIterator[Road]:
    """Its init phase lasts half a second."""
    async with open_road(tmp_path, init_phase_s=0.5) as road:
        yield road


@pytest_asyncio.fixture
async def ageing_road(tmp_path: Path) -> AsyncIterator[Road]:
    """Its environments are too old after a tenth of a second."""
    async with open_road(tmp_path, environment_lifetime_s=0.1) as road:
        yield road

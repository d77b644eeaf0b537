"""Pollers of real brokers, scripted functions and secrets, and a line to a broker that can be cut."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, cast

import attrs

from dispatch_harness import ACCOUNT, REGION, Functions, Invocations
from lambent.model.errors import AwsError
from lambent.model.invocation import Invocation, Outcome
from lambent.model.metrics import Series
from lambent.model.request import RequestContext
from lambent.ports import Catalog, Invoke, Telemetry
from lambent.sources.function import MappedFunction
from lambent.sources.poller import Poller
from lambent.telemetry.virtual_clock import VirtualClock
from sources_harness import until_true

MAPPING_ID = "01234567-0123-0123-0123-0123456789ab"
MAPPING_ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:event-source-mapping:{MAPPING_ID}"
FUNCTION_ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"


class Secrets:
    """What of other services brokers ask. Implements `ports.Clients`."""

    def __init__(self) -> None:
        self.by_id: dict[str, object] = {}
        self.described: dict[str, dict[str, Any]] = {}  # Amazon MQ's brokers by id

    async def call(
        self, context: RequestContext, service: str, operation: str, request: Mapping[str, Any]
    ) -> dict[str, Any]:
        assert (context.account_id, context.region) == (ACCOUNT, REGION)
        if (service, operation) == ("mq", "DescribeBroker") and request["BrokerId"] in self.described:
            return self.described[request["BrokerId"]]
        if (service, operation) == ("secretsmanager", "GetSecretValue") and request["SecretId"] in self.by_id:
            return {"SecretString": json.dumps(self.by_id[request["SecretId"]])}
        raise AwsError("ResourceNotFoundException", "There is none.", 400)


class Counted(Telemetry):
    """Sums of what it was told, by metric."""

    def __init__(self) -> None:
        self.by_name: dict[str, float] = defaultdict(float)

    def observe(self, series: Series, value: float = 1.0, times: float = 1.0) -> None:
        self.by_name[series.name] += value * times


@attrs.define
class Polled:
    """What pollers of brokers have in common. The function is `f`."""

    clock: VirtualClock = attrs.field(factory=VirtualClock)
    functions: Functions = attrs.field(factory=Functions)
    secrets: Secrets = attrs.field(factory=Secrets)
    results: list[str] = attrs.field(factory=list)
    invocations: Invocations = attrs.field(init=False)
    _pollers: list[Poller] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.functions.add("f")
        self.invocations = Invocations(self.clock)

    async def close(self) -> None:
        for poller in self._pollers:
            await poller.abandon()

    def script(self, function: Callable[[Invocation], Awaitable[Outcome] | Outcome]) -> None:
        self.invocations.scripts["f"] = function

    def texts_of(self, invocation: Invocation) -> list[str]:
        """What its event carries."""
        raise NotImplementedError

    @property
    def seen(self) -> list[list[str]]:
        """What each invocation carried, in order."""
        return [self.texts_of(invocation) for invocation in self.invocations.of("f")]

    async def until_seen(self, *texts: str, turn_s: float = 0.0) -> None:
        await self.until(lambda: [text for batch in self.seen for text in batch] == list(texts), turn_s)

    def function(self, mapping: Mapping[str, Any]) -> MappedFunction:
        return MappedFunction.of(
            ACCOUNT, REGION, mapping, cast(Invoke, self.invocations), cast(Catalog, self.functions)
        )

    def started(self, poller: Poller) -> Poller:
        poller.start()
        self._pollers.append(poller)
        return poller

    async def until(self, condition: Callable[[], Any | Awaitable[Any]], turn_s: float = 0.0) -> Any:
        return await until_true(self.clock, condition, turn_s)

    async def until_result(self, part: str, turn_s: float = 0.0) -> str:
        """The first LastProcessingResult that says so."""
        found: str = await self.until(lambda: next((each for each in self.results if part in each), None), turn_s)
        return found


class Line:
    """Forwards connections to a port of the loopback until it is cut, and again when it is mended."""

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.is_cut = False
        self.port = 0

    @classmethod
    @contextlib.asynccontextmanager
    async def to(cls, port: int) -> AsyncIterator[Line]:
        line = cls(port)
        server = await asyncio.start_server(line._connected, "127.0.0.1", 0)
        line.port = server.sockets[0].getsockname()[1]
        try:
            yield line
        finally:
            line.cut()
            server.close()
            await asyncio.gather(*line._tasks, return_exceptions=True)

    def cut(self) -> None:
        self.is_cut = True
        for writer in self._open:
            writer.transport.abort()

    def mend(self) -> None:
        self.is_cut = False

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_cut:
            writer.transport.abort()
            return
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._to_port)
        self._open |= {writer, there_writer}
        for source, target in ((reader, there_writer), (there_reader, writer)):
            task = asyncio.create_task(_forward(source, target))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


async def _forward(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(1 << 16):
            target.write(data)
            await target.drain()
    target.close()

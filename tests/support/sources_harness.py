"""Pollers on real queues and a clock that is turned; functions are scripted."""

from __future__ import annotations

import asyncio
import base64
import json
import uuid
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, cast

import attrs

from dispatch_harness import ACCOUNT, REGION, Functions, Invocations, Services
from lambent.model.event_format import StreamFormat
from lambent.model.invocation import Invocation, Outcome
from lambent.model.request import RequestContext
from lambent.ports import Catalog, Invoke
from lambent.services.kinesis import KinesisService
from lambent.services.sqs import SqsService
from lambent.sources.destination import FailureDestination
from lambent.sources.function import MappedFunction
from lambent.sources.own_stream import OwnStream
from lambent.sources.queue_poller import QueuePoller
from lambent.sources.shard_runner import Task
from lambent.sources.stream_poller import StreamPoller
from lambent.sources.timeline import Timeline
from lambent.store.checkpoints import CheckpointStore
from lambent.store.events import EventStore
from lambent.store.queues import QueueStore
from lambent.store.streams import StreamStore
from lambent.telemetry.virtual_clock import VirtualClock

STREAM = f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/s"


def event_of(invocation: Invocation) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(invocation.payload)
    return found


def bodies(invocation: Invocation) -> list[str]:
    return [record["body"] for record in event_of(invocation)["Records"]]


def answered(invocation: Invocation, value: object) -> Outcome:
    return Outcome(payload=json.dumps(value).encode(), executed_version="$LATEST", request_id=invocation.request_id)


async def until_true(clock: VirtualClock, condition: Callable[[], Any | Awaitable[Any]], turn_s: float) -> Any:
    """The condition's first true value; the clock is turned by `turn_s` before every further look."""
    async with asyncio.timeout(30):
        while True:
            value = condition()
            value = await value if isinstance(value, Awaitable) else value
            if value:
                return value
            if turn_s:
                clock.advance(turn_s)
            await asyncio.sleep(0.003)


@attrs.define
class Queues:
    """Queues of this server, and pollers of them. The function is `f`."""

    store: QueueStore
    clock: VirtualClock
    functions: Functions
    invocations: Invocations
    events: EventStore
    pollers: list[QueuePoller] = attrs.field(factory=list)

    @classmethod
    async def open(cls, path: Path) -> Queues:
        clock = VirtualClock()
        functions = Functions()
        functions.add("f")
        queues = await QueueStore.open(path / "queues.db", clock)
        events = await EventStore.open(path / "events.db", clock)
        return cls(queues, clock, functions, Invocations(clock), events)

    async def close(self) -> None:
        for poller in self.pollers:
            await poller.abandon()
        await self.store.close()
        await self.events.close()

    @property
    def context(self) -> RequestContext:
        return RequestContext(account_id=ACCOUNT, region=REGION, request_id="r", base_url="http://here:4566")

    @property
    def service(self) -> SqsService:
        return SqsService(self.store)

    async def call(self, operation: str, **members: Any) -> dict[str, Any]:
        return await self.service.operations[operation](self.context, members)

    async def queue(self, name: str = "q", **attributes: str) -> str:
        if name.endswith(".fifo"):
            attributes = {"FifoQueue": "true", "ContentBasedDeduplication": "true", **attributes}
        url: str = (await self.call("CreateQueue", QueueName=name, Attributes=attributes))["QueueUrl"]
        return url

    async def send(self, url: str, *texts: str, **members: Any) -> None:
        for text in texts:
            group = {"MessageGroupId": text.split("-")[0]} if url.endswith(".fifo") else {}
            await self.call("SendMessage", QueueUrl=url, MessageBody=text, **group, **members)

    async def counts(self, url: str) -> tuple[int, int]:
        """Messages that are visible, and that are in flight."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = (await self.call("GetQueueAttributes", QueueUrl=url, AttributeNames=names))["Attributes"]
        return int(found[names[0]]), int(found[names[1]])

    def mapping(self, url: str, **members: Any) -> dict[str, Any]:
        return {
            "UUID": str(uuid.uuid4()),
            "EventSourceArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{url.rsplit('/', 1)[1]}",
            "FunctionArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f",
            "BatchSize": 10,
            **members,
        }

    def poll(self, url: str, **members: Any) -> QueuePoller:
        mapping = self.mapping(url, **members)
        poller = QueuePoller(mapping, SqsService(self.store).direct(mapping["EventSourceArn"], ACCOUNT),
                             self.function(mapping), self.clock, Timeline(self.events, self.clock))  # fmt: skip
        poller.start()
        self.pollers.append(poller)
        return poller

    def function(self, mapping: Mapping[str, Any]) -> MappedFunction:
        return MappedFunction.of(
            ACCOUNT, REGION, mapping, cast(Invoke, self.invocations), cast(Catalog, self.functions)
        )

    @property
    def seen(self) -> list[list[str]]:
        """Bodies of each invocation, in order."""
        return [bodies(invocation) for invocation in self.invocations.of("f")]

    async def until(self, condition: Callable[[], Any | Awaitable[Any]], turn_s: float = 0.0) -> Any:
        return await until_true(self.clock, condition, turn_s)

    async def until_empty(self, url: str, turn_s: float = 0.0) -> None:
        await self.until_counts(url, (0, 0), turn_s)

    async def until_counts(self, url: str, wanted: tuple[int, int], turn_s: float = 0.0) -> None:
        async def reached() -> bool:
            return await self.counts(url) == wanted

        await self.until(reached, turn_s)


@attrs.define
class Streams:
    """A Kinesis stream `s` of this server, and pollers of it. The function is `f`."""

    path: Path
    clock: VirtualClock
    functions: Functions
    invocations: Invocations
    services: Services
    store: StreamStore
    checkpoints: CheckpointStore
    results: list[str] = attrs.field(factory=list)
    mapping_id: str = "01234567-0123-0123-0123-0123456789ab"
    _pollers: list[StreamPoller] = attrs.field(factory=list)

    @classmethod
    async def open(cls, path: Path) -> Streams:
        clock = VirtualClock()
        functions = Functions()
        functions.add("f")
        return cls(
            path, clock, functions, Invocations(clock), Services(),
            await StreamStore.open(path / "streams.db", clock), await CheckpointStore.open(path / "checkpoints.db"),
        )  # fmt: skip

    async def close(self) -> None:
        for poller in self._pollers:
            await poller.abandon()
        await self.store.close()
        await self.checkpoints.close()

    async def call(self, operation: str, **members: Any) -> dict[str, Any]:
        context = RequestContext(account_id=ACCOUNT, region=REGION, request_id="r", base_url="http://here:4566")
        return await KinesisService(self.store, self.clock).operations[operation](context, members)

    async def stream(self, shard_count: int = 1) -> None:
        await self.call("CreateStream", StreamName="s", ShardCount=shard_count)

        async def active() -> bool:
            found = await self.call("DescribeStreamSummary", StreamName="s")
            return bool(found["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE")

        async with asyncio.timeout(10):
            while not await active():
                self.clock.advance(0.1)
                await asyncio.sleep(0)

    async def put(self, *texts: str) -> list[str]:
        """Each text's partition key is what is before its first dash. Returns the sequence numbers."""
        put = [
            await self.call("PutRecord", StreamName="s", Data=t.encode(), PartitionKey=t.split("-")[0]) for t in texts
        ]
        return [answer["SequenceNumber"] for answer in put]

    def poll(self, **members: Any) -> StreamPoller:
        mapping = {
            "UUID": self.mapping_id,
            "EventSourceArn": STREAM,
            "FunctionArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f",
            "BatchSize": 100,
            "StartingPosition": "TRIM_HORIZON",
            **members,
        }
        function = MappedFunction.of(
            ACCOUNT, REGION, mapping, cast(Invoke, self.invocations), cast(Catalog, self.functions)
        )
        target = ((mapping.get("DestinationConfig") or {}).get("OnFailure") or {}).get("Destination")
        destination = target and FailureDestination(
            self.services, self.clock, target,
            mapping_id=self.mapping_id, function_arn=mapping["FunctionArn"], form=StreamFormat(source=STREAM),
        )  # fmt: skip
        task = Task(mapping=mapping, form=StreamFormat(source=STREAM), function=function, clock=self.clock, destination=destination,
                    report=self.results.append)  # fmt: skip
        stream = OwnStream(KinesisService(self.store, self.clock).direct(STREAM), STREAM, function.role_arn)
        poller = StreamPoller(task, stream, self.checkpoints, self.clock)
        poller.start()
        self._pollers.append(poller)
        return poller

    @property
    def seen(self) -> list[list[str]]:
        """Data of each invocation, in order."""
        return [data_of(invocation) for invocation in self.invocations.of("f")]

    async def until(self, condition: Callable[[], Any | Awaitable[Any]], turn_s: float = 0.0) -> Any:
        return await until_true(self.clock, condition, turn_s)

    async def until_checkpoint(self, sequence: str, turn_s: float = 0.0) -> None:
        """Returns when everything up to this record of some shard is done, on disk."""

        async def reached() -> bool:
            positions = await self.checkpoints.positions(self.mapping_id)
            return any(position.get("after") == sequence for position in positions.values())

        await self.until(reached, turn_s)


def data_of(invocation: Invocation) -> list[str]:
    return [base64.b64decode(record["kinesis"]["data"]).decode() for record in event_of(invocation)["Records"]]

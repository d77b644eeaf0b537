"""EventBridge and Scheduler without a network: a real catalog and a real delivery store, targets that are scripted, and a
clock that stands until it is moved."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from lambent.model.errors import AwsError, not_found
from lambent.model.invocation import Invocation
from lambent.model.request import RequestContext
from lambent.services.delivery import Deliverer, Targets
from lambent.services.delivery.timekeeper import Timekeeper
from lambent.services.events import EventsService
from lambent.services.scheduler import SchedulerService
from lambent.store.catalog import SqliteCatalog
from lambent.store.deliveries import DeliveryStore
from queue_clock import HandClock

ACCOUNT, REGION = "111122223333", "eu-west-1"
QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"
FUNCTION = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/r"
PATTERN = json.dumps({"source": ["shop"]})

Answer = Callable[[str, str, Mapping[str, Any]], Awaitable[dict[str, Any]] | dict[str, Any]]


@attrs.define
class Call:
    service: str
    operation: str
    request: Mapping[str, Any]
    context: RequestContext


@attrs.define
class Outside:
    """Every other service: remembers what it is asked, and does what it is told to."""

    calls: list[Call] = attrs.field(factory=list)
    invocations: list[Invocation] = attrs.field(factory=list)
    failures: list[Exception] = attrs.field(factory=list)  # of the next sendings
    broken: dict[str, AwsError] = attrs.field(factory=dict)  # by service, for ever

    async def call(
        self, context: RequestContext, service: str, operation: str, request: Mapping[str, Any]
    ) -> dict[str, Any]:
        if (service, operation) == ("sqs", "GetQueueUrl"):
            return {"QueueUrl": f"http://here/{context.account_id}/{request['QueueName']}"}
        if service in self.broken:
            raise self.broken[service]
        if self.failures:
            raise self.failures.pop(0)
        self.calls.append(Call(service, operation, request, context))
        return {}

    async def enqueue(self, invocation: Invocation) -> None:
        self.invocations.append(invocation)

    @property
    def messages(self) -> list[str]:
        """Bodies that were sent to queues."""
        return [str(call.request["MessageBody"]) for call in self.calls if call.operation == "SendMessage"]


class Functions:
    """Of the road's catalog: every function is there but `gone`."""

    def resolve(self, account_id: str, region: str, name: str, qualifier: str | None, draw: float) -> Any:
        if name == "gone":
            raise not_found("Function not found: gone")

    def subscribe(self, changed: Callable[[str, str, str], None]) -> None: ...


@attrs.define
class Bridge:
    folder: Path
    clock: HandClock
    outside: Outside
    catalog: SqliteCatalog
    store: DeliveryStore
    events: EventsService
    scheduler: SchedulerService
    timekeeper: Timekeeper

    async def call(self, operation: str, account_id: str = ACCOUNT, **members: Any) -> dict[str, Any]:
        """One operation of EventBridge."""
        context = RequestContext(account_id=account_id, region=REGION, request_id="r", base_url="http://here:4566")
        return await self.events.operations[operation](context, members)

    async def schedule(self, operation: str, **members: Any) -> dict[str, Any]:
        """One operation of Scheduler."""
        context = RequestContext(account_id=ACCOUNT, region=REGION, request_id="r", base_url="http://here:4566")
        return await self.scheduler.operations[operation](context, members)

    async def refused(self, operation: str, account_id: str = ACCOUNT, **members: Any) -> tuple[str, str]:
        with pytest.raises(AwsError) as caught:
            await self.call(operation, account_id, **members)
        return caught.value.code, caught.value.message

    async def schedule_refused(self, operation: str, **members: Any) -> tuple[str, str]:
        with pytest.raises(AwsError) as caught:
            await self.schedule(operation, **members)
        return caught.value.code, caught.value.message

    async def rule(self, name: str = "r", arn: str = QUEUE, pattern: str = PATTERN, **target: Any) -> None:
        await self.call("PutRule", Name=name, EventPattern=pattern)
        await self.call("PutTargets", Rule=name, Targets=[{"Id": "1", "Arn": arn, **target}])

    async def put(self, detail: Any = None, source: str = "shop", **members: Any) -> dict[str, Any]:
        """The answer for one entry."""
        entry = {"Source": source, "DetailType": "order", "Detail": json.dumps(detail or {}), **members}
        found: dict[str, Any] = (await self.call("PutEvents", Entries=[entry]))["Entries"][0]
        return found

    async def until(self, condition: Callable[[], Any]) -> Any:
        """The condition's first true value."""
        async with asyncio.timeout(10):
            while not (found := condition()):
                await asyncio.sleep(0.002)
        return found

    async def settled(self) -> None:
        """Returns when nothing is owed."""
        async with asyncio.timeout(10):
            while await self.store.lanes():
                await asyncio.sleep(0.002)

    async def advance(self, seconds: float) -> None:
        """Turns the clock once whoever waits has begun to."""
        for _ in range(20):
            await asyncio.sleep(0.001)
        self.clock.advance(seconds)
        for _ in range(20):
            await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def bridge_in(
    folder: Path, clock: HandClock | None = None, outside: Outside | None = None
) -> AsyncIterator[Bridge]:
    """Closing it is what the server's end is; another one in the same folder is the next server."""
    clock, outside = clock or HandClock(), outside or Outside()
    catalog = SqliteCatalog.open(folder / "catalog.db")
    store = await DeliveryStore.open(folder / "deliveries.db", clock)
    targets = Targets(outside, outside.enqueue, Functions())
    deliverer = Deliverer(store, targets, clock)
    timekeeper = Timekeeper(store, clock)
    events = EventsService(catalog, clock, store, deliverer, targets, timekeeper)
    scheduler = SchedulerService(catalog, clock, deliverer, targets, timekeeper)
    await deliverer.start()
    events.start()
    scheduler.start()
    running = asyncio.create_task(timekeeper.run())
    try:
        yield Bridge(folder, clock, outside, catalog, store, events, scheduler, timekeeper)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await events.close()
        await deliverer.close()
        await store.close()
        await catalog.close()

"""Asynchronous events on a real store and a clock that is turned; functions and other services are scripted."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, cast

import attrs

from lambent.dispatch.dispatcher import Dispatcher
from lambent.model.errors import AwsError, not_found, too_many_requests
from lambent.model.function import FunctionSettings, FunctionVersion
from lambent.model.invocation import Invocation, Outcome
from lambent.model.names import FunctionAddress
from lambent.model.request import RequestContext
from lambent.ports import Catalog
from lambent.store.events import EventStore, EventView
from lambent.telemetry.metrics import Metrics
from lambent.telemetry.virtual_clock import VirtualClock

ACCOUNT = "000000000000"
REGION = "us-east-1"
QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:letters"
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:news"
BUS = f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/main"
BUCKET = "arn:aws:s3:::records"

Function = Callable[[Invocation], Awaitable[Outcome] | Outcome]


def key(name: str) -> tuple[str, str, str]:
    return (ACCOUNT, REGION, name)


def succeeded(invocation: Invocation) -> Outcome:
    return Outcome(payload=b'"done"', executed_version="$LATEST", request_id=invocation.request_id)


def failed(invocation: Invocation) -> Outcome:
    return Outcome(
        payload=b'{"errorMessage":"no","errorType":"E"}',
        executed_version="$LATEST",
        request_id=invocation.request_id,
        function_error="Unhandled",
    )


def throttled(invocation: Invocation) -> Outcome:
    raise too_many_requests("Rate Exceeded.", "ConcurrentInvocationLimitExceeded", 1)


class Functions:
    """What of a catalog dispatching looks at."""

    def __init__(self) -> None:
        self.settings_of: dict[str, FunctionSettings] = {}
        self.versions: dict[str, FunctionVersion] = {}

    def add(self, name: str, *, dead_letters: str | None = None, reserved: int | None = None, **extra: Any) -> None:
        """`extra`: documents of operation families, with _ for -."""
        self.settings_of[name] = FunctionSettings(
            reserved_concurrency=reserved, extra={family.replace("_", "-"): doc for family, doc in extra.items()}
        )
        self.versions[name] = FunctionVersion(
            account_id=ACCOUNT, region=REGION, name=name, version="$LATEST", role="r", runtime="python3.11",
            handler="app.handler", extra={"DeadLetterConfig": {"TargetArn": dead_letters}} if dead_letters else {},
        )  # fmt: skip

    def remove(self, name: str) -> None:
        del self.settings_of[name], self.versions[name]

    def settings(self, function: FunctionAddress) -> FunctionSettings | None:
        return self.settings_of.get(function.name)

    def resolve(self, account_id: str, region: str, name: str, qualifier: str | None, draw: float) -> FunctionVersion:
        if name not in self.versions:
            raise not_found(f"Function not found: {name}")
        return self.versions[name]


class Services:
    """Other services: they remember what they were asked, and refuse what `refuse` says."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, Mapping[str, Any]]] = []
        self.refuse: dict[str, AwsError] = {}  # by service
        self.tried: dict[str, int] = defaultdict(int)

    async def call(
        self, context: RequestContext, service: str, operation: str, request: Mapping[str, Any]
    ) -> dict[str, Any]:
        if operation == "GetQueueUrl":
            return {"QueueUrl": f"http://sqs/{request['QueueName']}"}
        self.tried[service] += 1
        if service in self.refuse:
            raise self.refuse[service]
        self.calls.append((service, operation, request))
        return {}

    def sent(self, operation: str) -> list[Mapping[str, Any]]:
        return [request for _, called, request in self.calls if called == operation]


class Invocations:
    """Runs scripted functions, and remembers every attempt."""

    def __init__(self, clock: VirtualClock) -> None:
        self.scripts: dict[str, Function] = {}
        self.attempts: list[tuple[float, Invocation]] = []
        self._clock = clock

    async def invoke(self, invocation: Invocation) -> Outcome:
        self.attempts.append((self._clock.now(), invocation))
        result = self.scripts.get(invocation.function_name, succeeded)(invocation)
        return result if isinstance(result, Outcome) else await result

    def of(self, name: str) -> list[Invocation]:
        return [invocation for _, invocation in self.attempts if invocation.function_name == name]


@attrs.define
class World:
    """One data directory; `restart` is what `kill -9` and a new server are to the file."""

    path: Path
    clock: VirtualClock = attrs.field(factory=VirtualClock)
    functions: Functions = attrs.field(factory=Functions)
    services: Services = attrs.field(factory=Services)
    metrics: Metrics = attrs.field(factory=Metrics)
    invocations: Invocations = attrs.field(init=False)
    store: EventStore = attrs.field(init=False)
    dispatcher: Dispatcher = attrs.field(init=False)
    _sent: int = 0

    def __attrs_post_init__(self) -> None:
        self.invocations = Invocations(self.clock)

    def counted(self, function: str, metric: str) -> float:
        """The sum of one of the function's metrics."""
        totals = self.metrics.totals().items()
        return sum(
            total
            for series, (_, total) in totals
            if series.name == metric and series.dimensions == (("FunctionName", function),)
        )

    async def start(self) -> None:
        self.store = await EventStore.open(self.path / "events.db", self.clock)
        self.dispatcher = Dispatcher(
            self.store, self.invocations.invoke, cast(Catalog, self.functions), self.clock, self.services, self.metrics
        )
        await self.dispatcher.start()

    async def stop(self) -> None:
        await self.dispatcher.close()
        await self.store.close()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def send(self, name: str, payload: object = None, **members: Any) -> str:
        """Returns the request id."""
        self._sent += 1
        request_id = f"request-{self._sent}"
        await self.dispatcher.accept(
            Invocation(
                request_id=request_id, account_id=ACCOUNT, region=REGION, function_name=name,
                payload=json.dumps(payload).encode(), **members,
            )
        )  # fmt: skip
        return request_id

    async def event(self, name: str, request_id: str) -> EventView:
        found = await self.store.event(key(name), request_id)
        assert found is not None
        return found

    async def until_step(self, name: str, request_id: str, what: str, times: int = 1) -> EventView:
        """The event once this has happened to it so often."""

        async def seen() -> EventView | None:
            found = await self.store.event(key(name), request_id)
            return found if found is not None and steps(found).count(what) >= times else None

        return cast(EventView, await until(seen))

    async def turn_until_step(self, name: str, request_id: str, what: str, by_s: float, times: int = 1) -> EventView:
        """Turns the clock by `by_s` whenever the event waits, until this has happened."""
        while True:
            found = await self.event(name, request_id)
            if [step.what for step in found.steps].count(what) >= times:
                return found
            if found.state != "attempted":
                self.clock.advance(by_s)
            await asyncio.sleep(0.002)


async def until(condition: Callable[[], Awaitable[Any]]) -> Any:
    """The condition's first true value."""
    async with asyncio.timeout(45):
        while not (value := await condition()):
            await asyncio.sleep(0.002)
    return value


def steps(event: EventView) -> list[str]:
    return [step.what for step in event.steps]

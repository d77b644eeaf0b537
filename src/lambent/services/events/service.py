"""EventBridge: the service, made of its families of operations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from lambent.model.errors import AwsError
from lambent.model.request import RequestContext
from lambent.ports import Catalog, Clock, Operation
from lambent.services.delivery import Deliverer, Targets
from lambent.services.delivery.timekeeper import Plan, Timekeeper
from lambent.services.events.api_destinations import ApiDestinations
from lambent.services.events.archives import Archives
from lambent.services.events.buses import Buses
from lambent.services.events.connections import Connections
from lambent.services.events.errors import not_offered
from lambent.services.events.names import bus_of_arn
from lambent.services.events.putting import Putting
from lambent.services.events.replays import Replays
from lambent.services.events.router import Router
from lambent.services.events.rules import Rules
from lambent.services.events.schedules import ScheduledRules
from lambent.services.events.tags import Tags
from lambent.store.deliveries import Delivery, DeliveryStore

EXPIRE_EVERY_S: Final = 3600.0  # ours: how often archives are looked at for what is too old
EMPTY_LISTS: Final = {
    "ListEventSources": "EventSources", "ListPartnerEventSources": "PartnerEventSources",
    "ListPartnerEventSourceAccounts": "PartnerEventSourceAccounts", "ListEndpoints": "Endpoints",
}  # fmt: skip
NOT_OFFERED: Final = (
    "ActivateEventSource", "CreateEndpoint", "CreatePartnerEventSource", "DeactivateEventSource", "DeleteEndpoint",
    "DeletePartnerEventSource", "DescribeEndpoint", "DescribeEventSource", "DescribePartnerEventSource",
    "PutPartnerEvents", "UpdateEndpoint",
)  # fmt: skip
"""Of partners and of several regions, which one server is not."""


class EventsService:
    """`ports.Service` for `events`."""

    name = "events"

    def __init__(
        self,
        catalog: Catalog,
        clock: Clock,
        store: DeliveryStore,
        deliverer: Deliverer,
        targets: Targets,
        timekeeper: Timekeeper,
    ) -> None:
        targets.add("events", self._send)
        router = Router(catalog)
        self._timekeeper = timekeeper
        self._clock = clock
        self._putting = Putting(catalog, clock, router, deliverer)
        self._schedules = ScheduledRules(catalog, deliverer, timekeeper)
        self._archives = Archives(catalog, clock, store)
        self._replays = Replays(catalog, clock, store, router, deliverer)
        self._api_destinations = ApiDestinations(catalog, clock)
        self.operations: Mapping[str, Operation] = {
            **{name: _refusing(name) for name in NOT_OFFERED},
            **{name: _empty(member) for name, member in EMPTY_LISTS.items()},
            **Buses(catalog, clock).operations,
            **Rules(catalog, clock, targets.services).operations,
            **self._putting.operations,
            **self._archives.operations,
            **self._replays.operations,
            **Connections(catalog, clock).operations,
            **Tags(catalog).operations,
        }

    def start(self) -> None:
        """Sets the timekeeper for the rules that are there, and goes on with replays."""
        self._schedules.start()
        self._replays.start()
        plan = Plan(
            next_after=lambda after_s: (math.floor(after_s / EXPIRE_EVERY_S) + 1) * EXPIRE_EVERY_S,
            since_s=self._clock.now(),
            fire=self._expire,
        )
        self._timekeeper.put("archives", plan)

    async def close(self) -> None:
        await self._replays.close()

    async def _expire(self, at_s: float, marks: Mapping[str, int], is_last: bool) -> None:
        await self._archives.expire()

    async def _send(self, delivery: Delivery, context: RequestContext) -> None:
        if ":api-destination/" in delivery.lane:
            await self._api_destinations.send(delivery)
            return
        bus = bus_of_arn(delivery.lane)
        if bus is None:
            raise AwsError("ValidationException", f"{delivery.lane} is not an event bus", 400)
        if delivery.about["kind"] == "schedule":
            await self._putting.from_schedule(delivery, context)
            return
        await self._putting.to_bus(delivery, bus)


def _refusing(name: str) -> Operation:
    async def refuse(context: RequestContext, members: dict[str, Any]) -> dict[str, Any]:
        raise not_offered(name)

    return refuse


def _empty(member: str) -> Operation:
    async def nothing(context: RequestContext, members: dict[str, Any]) -> dict[str, Any]:
        return {member: []}

    return nothing

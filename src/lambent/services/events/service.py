"""EventBridge: the service, made of its families of operations."""

from __future__ import annotations

from collections.abc import Mapping

from lambent.model.errors import AwsError
from lambent.model.request import RequestContext
from lambent.ports import Catalog, Clock, Operation
from lambent.services.delivery import Deliverer, Targets
from lambent.services.delivery.timekeeper import Timekeeper
from lambent.services.events.buses import Buses
from lambent.services.events.names import bus_of_arn
from lambent.services.events.putting import Putting
from lambent.services.events.router import Router
from lambent.services.events.rules import Rules
from lambent.services.events.schedules import ScheduledRules
from lambent.services.events.tags import Tags
from lambent.store.deliveries import Delivery


class EventsService:
    """`ports.Service` for `events`."""

    name = "events"

    def __init__(
        self, catalog: Catalog, clock: Clock, deliverer: Deliverer, targets: Targets, timekeeper: Timekeeper
    ) -> None:
        targets.add("events", self._send)
        self._putting = Putting(catalog, clock, Router(catalog), deliverer)
        self._schedules = ScheduledRules(catalog, deliverer, timekeeper)
        self.operations: Mapping[str, Operation] = {
            **Buses(catalog, clock).operations,
            **Rules(catalog, clock, targets.services).operations,
            **self._putting.operations,
            **Tags(catalog).operations,
        }

    def start(self) -> None:
        """Sets the timekeeper for the rules that are there."""
        self._schedules.start()

    async def _send(self, delivery: Delivery, context: RequestContext) -> None:
        bus = bus_of_arn(delivery.lane)
        if bus is None:
            raise AwsError("ValidationException", f"{delivery.lane} is not an event bus", 400)
        if delivery.about["kind"] == "schedule":
            await self._putting.from_schedule(delivery, context)
            return
        await self._putting.to_bus(delivery, bus)

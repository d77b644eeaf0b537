"""Scheduler: the service, made of its families of operations."""

from __future__ import annotations

from collections.abc import Mapping

from lambent.ports import Catalog, Clock, Operation
from lambent.services.delivery import Deliverer, Targets
from lambent.services.delivery.timekeeper import Timekeeper
from lambent.services.scheduler.firing import Firing
from lambent.services.scheduler.groups import Groups
from lambent.services.scheduler.schedules import Schedules


class SchedulerService:
    """`ports.Service` for `scheduler`."""

    name = "scheduler"

    def __init__(
        self, catalog: Catalog, clock: Clock, deliverer: Deliverer, targets: Targets, timekeeper: Timekeeper
    ) -> None:
        self._firing = Firing(catalog, clock, deliverer, targets, timekeeper)
        self.operations: Mapping[str, Operation] = {
            **Groups(catalog, clock).operations,
            **Schedules(catalog, clock).operations,
        }

    def start(self) -> None:
        """Sets the timekeeper for the schedules that are there."""
        self._firing.start()

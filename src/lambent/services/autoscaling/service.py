"""Application Auto Scaling for Lambda's provisioned concurrency; other namespaces are somebody else's."""

from __future__ import annotations

from collections.abc import Mapping

from lambent.model.request import RequestContext
from lambent.ports import Catalog, Clients, Clock, Operation, Provisioning
from lambent.services.autoscaling.actions import Actions
from lambent.services.autoscaling.activities import Activities
from lambent.services.autoscaling.capacity import Capacities
from lambent.services.autoscaling.metrics import Metrics
from lambent.services.autoscaling.names import NAMESPACE, SERVICE, Members
from lambent.services.autoscaling.policies import Policies
from lambent.services.autoscaling.scaler import Scaler
from lambent.services.autoscaling.tags import Tags
from lambent.services.autoscaling.targets import Targets
from lambent.services.autoscaling.timetable import Keep, Timetable
from lambent.services.delivery.timekeeper import Timekeeper


class AutoScalingService:
    """`ports.Service` for `application-autoscaling`. `start` it, then `run` beside the server; `close` ends it."""

    name = SERVICE

    def __init__(
        self,
        catalog: Catalog,
        clock: Clock,
        clients: Clients,
        elsewhere: Clients,
        provisioning: Provisioning,
        timekeeper: Timekeeper,
        keep: Keep,
    ) -> None:
        """`elsewhere` answers for other namespaces than Lambda's."""
        self._elsewhere = elsewhere
        activities = Activities(catalog, clock)
        self._capacities = Capacities(catalog, clock, clients, activities)
        self._timetable = Timetable(catalog, timekeeper, keep, self._capacities, activities)
        self._scaler = Scaler(catalog, clock, self._capacities, activities, Metrics(clients, provisioning))
        self._tags = Tags(catalog)
        families = (Targets(catalog, clock, self._capacities), Policies(catalog, clock), Actions(catalog, clock))
        own = {name: work for family in (*families, activities) for name, work in family.operations.items()}
        self.operations: Mapping[str, Operation] = {
            **{name: self._by_namespace(name, work) for name, work in own.items()},
            **{name: self._by_arn(name, work) for name, work in self._tags.operations.items()},
        }

    def start(self) -> None:
        """Takes up what is scheduled and what an earlier server had begun."""
        self._timetable.start()
        self._capacities.start()

    async def run(self) -> None:
        """Scales by metrics until it is cancelled."""
        await self._scaler.run()

    async def close(self) -> None:
        await self._capacities.close()

    def _by_namespace(self, name: str, work: Operation) -> Operation:
        async def call(context: RequestContext, members: Members) -> Members:
            if members["ServiceNamespace"] == NAMESPACE:
                return await work(context, members)
            return await self._elsewhere.call(context, SERVICE, name, members)

        return call

    def _by_arn(self, name: str, work: Operation) -> Operation:
        async def call(context: RequestContext, members: Members) -> Members:
            if self._tags.knows(context, members["ResourceARN"]):
                return await work(context, members)
            return await self._elsewhere.call(context, SERVICE, name, members)

        return call

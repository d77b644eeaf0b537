"""Target tracking at work: measures each minute, decides, and changes capacities."""

from __future__ import annotations

import asyncio
import logging
import math

from lambent.model.errors import AwsError
from lambent.model.scaling import PERIOD_S, Points, Scale, Situation, Stay, Tracking, decide
from lambent.ports import Catalog, Clock
from lambent.services.autoscaling.activities import Activities
from lambent.services.autoscaling.capacity import Capacities, bounds_of
from lambent.services.autoscaling.metrics import Metrics
from lambent.services.autoscaling.names import POLICIES, TARGETS, Members, Target, belonging
from lambent.services.autoscaling.policies import alarm_of, tracking_of

log = logging.getLogger(__name__)


class Scaler:
    """One task for the server's life. Start it with `run`; it ends when it is cancelled."""

    def __init__(
        self, catalog: Catalog, clock: Clock, capacities: Capacities, activities: Activities, metrics: Metrics
    ) -> None:
        self._catalog = catalog
        self._clock = clock
        self._capacities = capacities
        self._activities = activities
        self._metrics = metrics
        self._measured = asyncio.Event()
        catalog.subscribe_documents(POLICIES, self._changed)

    def _changed(self, account_id: str, region: str, key: str) -> None:
        if self._catalog.document(POLICIES, account_id, region, key) is not None:
            self._metrics.begin(_target_in(account_id, region, key))

    async def run(self) -> None:
        """Measures as soon as a period ends, whatever may still be decided about the one before."""
        deciding = asyncio.create_task(self._decide(), name="scaling decisions")
        try:
            last = self._period()
            while True:
                await self._clock.sleep(max((last + 1) * PERIOD_S - self._clock.now(), 0.0))
                current = self._period()
                if current > last:
                    self._metrics.measure(self._tracked(), current - last)
                    self._measured.set()
                last = current  # the calendar may have been turned back, too
        finally:
            deciding.cancel()
            await asyncio.gather(deciding, return_exceptions=True)

    def _period(self) -> int:
        return math.floor(self._clock.now() / PERIOD_S)

    async def _decide(self) -> None:
        while True:
            await self._measured.wait()
            self._measured.clear()
            for target in self._tracked():
                try:
                    await self._scale(target)
                except AwsError as error:  # its function is gone, mostly; users see that in what they ask for
                    log.info("%s is not scaled: %s", target.resource_id, error)
                except Exception:  # the outermost edge: other targets must not suffer for this one
                    log.exception("%s is not scaled; report it with this traceback", target.resource_id)

    def _tracked(self) -> set[Target]:
        return {
            _target_in(account_id, region, key)
            for account_id, region in self._catalog.document_places(POLICIES)
            for key in self._catalog.documents(POLICIES, account_id, region)
        }

    async def _scale(self, target: Target) -> None:
        document = self._catalog.document(TARGETS, *target.place, target.resource_id)
        if document is None or self._activities.unfinished(target):
            return  # until the last change is there, the metric is not about it
        now_s = self._clock.now()
        policies = belonging(self._catalog, POLICIES, target)
        watched: dict[Tracking, Points] = {
            tracking_of(name, policy): await self._metrics.points(target, policy["Configuration"], now_s)
            for name, policy in policies.items()
        }
        situation = Situation(
            capacity=await self._capacities.current(target),
            bounds=bounds_of(document),
            now_s=now_s,
            last_out=self._activities.last(target, "High"),
            last_in=self._activities.last(target, "Low"),
            out_suspended=document["SuspendedState"]["DynamicScalingOutSuspended"],
            in_suspended=document["SuspendedState"]["DynamicScalingInSuspended"],
        )
        decision = decide(watched, situation)
        if decision is None:
            return
        alarm = alarm_of(policies[decision.policy], decision.alarm)
        cause = f"monitor alarm {alarm} in state ALARM triggered policy {decision.policy}"
        if isinstance(decision, Scale):
            await self._capacities.scale(target, situation.capacity, decision.capacity, cause, decision.alarm)
        else:
            await self._activities.not_scaled(target, cause, _reason(decision, situation))


def _target_in(account_id: str, region: str, key: str) -> Target:
    """Whose policy a document is."""
    return Target(account_id, region, key.partition("/")[0])


def _reason(decision: Stay, situation: Situation) -> Members:
    """NotScaledReason."""
    members: dict[str, Members] = {
        "AlreadyAtMaxCapacity": {"MaxCapacity": situation.bounds.most},
        "AlreadyAtMinCapacity": {"MinCapacity": situation.bounds.least},
        "AlreadyAtDesiredCapacity": {"CurrentCapacity": situation.capacity},
    }
    return {"Code": decision.reason, **members[decision.reason]}

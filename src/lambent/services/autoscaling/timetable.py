"""Scheduled actions at work: their plans, and what they do to their targets."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping

from lambent.model.errors import AwsError
from lambent.model.schedule_expression import ScheduleError, parse_schedule, times_of, zone_named
from lambent.ports import Catalog, CatalogTransaction
from lambent.services.autoscaling.activities import Activities
from lambent.services.autoscaling.capacity import Capacities
from lambent.services.autoscaling.names import ACTIONS, TARGETS, Members, Target
from lambent.services.delivery.timekeeper import Plan, Timekeeper

log = logging.getLogger(__name__)

Keep = Callable[[Mapping[str, int]], Awaitable[None]]
"""Makes the timekeeper's marks durable. Raises AwsError."""


class Timetable:
    """Keeps the timekeeper's plans as the scheduled actions are.

    An action is done before its mark is kept, so that a crash between the two does it twice and never loses it: it sets
    bounds, and setting them again changes nothing.
    """

    def __init__(
        self, catalog: Catalog, timekeeper: Timekeeper, keep: Keep, capacities: Capacities, activities: Activities
    ) -> None:
        self._catalog = catalog
        self._timekeeper = timekeeper
        self._keep = keep
        self._capacities = capacities
        self._activities = activities
        self._arns: dict[tuple[str, str, str], str] = {}  # of the actions that have plans
        catalog.subscribe_documents(ACTIONS, self._changed)

    def start(self) -> None:
        for account_id, region in self._catalog.document_places(ACTIONS):
            for key in self._catalog.documents(ACTIONS, account_id, region):
                self._changed(account_id, region, key)

    def _changed(self, account_id: str, region: str, key: str) -> None:
        resource_id, _, name = key.partition("/")
        target = Target(account_id, region, resource_id)
        document = self._catalog.document(ACTIONS, account_id, region, key)
        arn = target.arn_of_action(document["Id"], name) if document is not None else None
        planned = self._arns.pop((account_id, region, key), None)
        if planned is not None and planned != arn:
            self._timekeeper.remove(planned)
        if document is None or arn is None:
            return
        self._arns[account_id, region, key] = arn

        async def fire(at_s: float, marks: Mapping[str, int], is_last: bool) -> None:
            await self._do(target, name, document)
            await self._keep(marks)

        try:
            zone = zone_named(document.get("Timezone") or "UTC")
        except ScheduleError as error:  # this machine's database of zones is another one than it was
            log.error("%s is not done any more: %s", arn, error)
            return
        following = times_of(
            parse_schedule(document["Schedule"]), zone, begin_s=document["Modified"],
            start_s=document.get("StartTime"), end_s=document.get("EndTime"),
        )  # fmt: skip
        # Without a start a rate comes for the first time when its period is over.
        self._timekeeper.put(arn, Plan(next_after=following, since_s=document["Modified"], fire=fire))

    async def _do(self, target: Target, name: str, action: Members) -> None:
        """What cannot be done is told by the target's activities. Raises AwsError for a fault that may pass."""
        document = self._catalog.document(TARGETS, *target.place, target.resource_id)
        if document is None or document["SuspendedState"]["ScheduledScalingSuspended"]:
            return
        bounds: Members = action["ScalableTargetAction"]
        what = " and ".join(
            f"{words} capacity to {bounds[member]}"
            for member, words in (("MinCapacity", "min"), ("MaxCapacity", "max"))
            if member in bounds
        )
        cause = f"scheduled action name {name} was triggered"
        activity_id = await self._activities.begin(target, f"Setting {what}", cause)
        if not await self._catalog.transact(lambda tx: _set_bounds(tx, target, bounds)):
            reason = "Maximum capacity cannot be less than minimum capacity."
            await self._activities.end(target, activity_id, "Failed", f"Failed to set {what}. Reason: {reason}")
            return
        await self._activities.end(target, activity_id, "Successful", f"Successfully set {what}")
        try:
            await self._capacities.hold(target)
        except AwsError as error:
            if error.is_server_fault:
                raise
            log.warning("%s of %s does not change the capacity: %s", name, target.resource_id, error)


def _set_bounds(tx: CatalogTransaction, target: Target, bounds: Members) -> bool:
    """Whether they fit together."""
    document = tx.document(TARGETS, *target.place, target.resource_id)
    if document is None:
        return True
    changed = {**document, **bounds}
    if changed["MinCapacity"] > changed["MaxCapacity"]:
        return False
    tx.put_document(TARGETS, *target.place, target.resource_id, changed)
    return True

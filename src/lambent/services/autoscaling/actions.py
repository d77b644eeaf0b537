"""Scheduled actions: other bounds for a target, at certain times."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Final

from lambent.model.request import RequestContext
from lambent.model.schedule_expression import ScheduleError, parse_schedule, zone_named
from lambent.ports import Catalog, CatalogTransaction, Clock, Operation
from lambent.services.autoscaling.errors import no_action, too_many, validation
from lambent.services.autoscaling.listing import chosen, paged
from lambent.services.autoscaling.names import (
    ACTIONS,
    DIMENSION,
    NAMESPACE,
    Members,
    Target,
    belonging,
    delete_belonging,
    target_of,
)
from lambent.services.autoscaling.targets import check_dimension, need_target
from lambent.services.events.names import moment, present

ACTIONS_MAX: Final = 200  # of one target; application-auto-scaling-quotas.html
_TIMES: Final = ("StartTime", "EndTime", "CreationTime")


class Actions:
    def __init__(self, catalog: Catalog, clock: Clock) -> None:
        self._catalog = catalog
        self._clock = clock
        self.operations: Mapping[str, Operation] = {
            "PutScheduledAction": self.put,
            "DeleteScheduledAction": self.delete,
            "DescribeScheduledActions": self.describe,
        }

    async def put(self, context: RequestContext, members: Members) -> Members:
        """A new action, or another setting of one: what is left out stays, but for start and end, which go."""
        check_dimension(members)
        target, name, now_s = target_of(context, members), members["ScheduledActionName"], self._clock.now()

        def work(tx: CatalogTransaction) -> None:
            need_target(tx, target)
            others = belonging(tx, ACTIONS, target)
            before = others.pop(name, None)
            if before is None and len(others) >= ACTIONS_MAX:
                raise too_many("scheduled actions of a scalable target", ACTIONS_MAX)
            made = before or {"Id": str(uuid.uuid4()), "CreationTime": now_s}
            document = _changed(made, members, now_s)
            tx.put_document(ACTIONS, *target.place, target.key(name), document)

        await self._catalog.transact(work)
        return {}

    async def delete(self, context: RequestContext, members: Members) -> Members:
        check_dimension(members)
        target, name = target_of(context, members), members["ScheduledActionName"]
        await delete_belonging(self._catalog, ACTIONS, target, name, no_action(target.resource_id, name))
        return {}

    async def describe(self, context: RequestContext, members: Members) -> Members:
        found = [_shown(*each) for each in chosen(self._catalog, ACTIONS, context, members, "ScheduledActionNames")]
        return paged(
            found, lambda each: f"{each['ResourceId']}/{each['ScheduledActionName']}", members, "ScheduledActions"
        )


def _changed(before: Members, members: Members, now_s: float) -> Members:
    """Raises AwsError ValidationException."""
    schedule = members.get("Schedule") or before.get("Schedule")
    zone = members.get("Timezone") or before.get("Timezone")
    if schedule is None:
        raise validation("Schedule must be specified for a new scheduled action.")
    try:
        parse_schedule(schedule)
    except ScheduleError as error:
        raise validation(f"Invalid schedule expression: {schedule}") from error
    try:
        zone_named(zone or "UTC")
    except ScheduleError as error:
        raise validation(f"Invalid time zone: {zone}") from error
    times = {name: members[name].timestamp() for name in ("StartTime", "EndTime") if members.get(name) is not None}
    if "StartTime" in times and "EndTime" in times and times["EndTime"] <= times["StartTime"]:
        raise validation("The end time must be after the start time.")
    if "EndTime" in times and times["EndTime"] <= now_s:
        raise validation("The end time must be in the future.")
    return present(
        {
            "Id": before["Id"],
            "CreationTime": before["CreationTime"],
            "Modified": now_s,
            "Schedule": schedule,
            "Timezone": zone,
            **times,
            "ScalableTargetAction": _action(members.get("ScalableTargetAction"), before),
        }
    )


def _action(given: Members | None, before: Members) -> Members:
    if given is None and before.get("ScalableTargetAction") is not None:
        kept: Members = before["ScalableTargetAction"]
        return kept
    bounds = present(given or {})
    if not bounds:
        raise validation("At least one of minimum capacity and maximum capacity should be provided")
    least, most = bounds.get("MinCapacity"), bounds.get("MaxCapacity")
    if any(bound < 0 for bound in bounds.values()):
        raise validation("Minimum capacity and maximum capacity must be greater than or equal to 0.")
    if least is not None and most is not None and least > most:
        raise validation("Maximum capacity cannot be less than minimum capacity.")
    return bounds


def _shown(target: Target, name: str, document: Members) -> Members:
    return present(
        {
            "ScheduledActionName": name,
            "ScheduledActionARN": target.arn_of_action(document["Id"], name),
            "ServiceNamespace": NAMESPACE,
            "ResourceId": target.resource_id,
            "ScalableDimension": DIMENSION,
            "Schedule": document["Schedule"],
            "Timezone": document.get("Timezone"),
            "ScalableTargetAction": document["ScalableTargetAction"],
            **{time: moment(document[time]) for time in _TIMES if time in document},
        }
    )

"""Scaling activities: what was done about a target's capacity, why, and what came of it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from lambent.model.request import RequestContext
from lambent.model.scaling import Alarm, Change
from lambent.ports import Catalog, CatalogTransaction, Clock, Operation
from lambent.services.autoscaling.listing import check_choice, is_chosen, paged
from lambent.services.autoscaling.names import ACTIVITIES, DIMENSION, NAMESPACE, Members, Target
from lambent.services.events.names import moment

# https://docs.aws.amazon.com/autoscaling/application/APIReference/API_DescribeScalingActivities.html: six weeks
KEPT_S: Final = 42 * 86_400
KEPT_MOST: Final = 200  # of one target; ours
_ITS_OWN: Final = ("Alarm", "Before", "Wanted")  # members that are for this service alone
_TIMES: Final = ("StartTime", "EndTime")


class Activities:
    """Kept in one document for each target, the newest first."""

    def __init__(self, catalog: Catalog, clock: Clock) -> None:
        self._catalog = catalog
        self._clock = clock
        self.operations: Mapping[str, Operation] = {"DescribeScalingActivities": self.describe}

    async def describe(self, context: RequestContext, members: Members) -> Members:
        check_choice(members)
        since_s = self._clock.now() - KEPT_S
        place = (context.account_id, context.region)
        found = [
            {"ResourceId": resource_id, **activity}
            for resource_id, document in self._catalog.documents(ACTIVITIES, *place).items()
            if is_chosen(members, resource_id)
            for activity in document["Activities"]
            if activity["StartTime"] > since_s
            and (members.get("IncludeNotScaledActivities") or "NotScaledReasons" not in activity)
        ]
        found.sort(key=_newest_first)
        answer = paged(found, _newest_first, members, "ScalingActivities")
        return {**answer, "ScalingActivities": [_shown(activity) for activity in answer["ScalingActivities"]]}

    async def begin(self, target: Target, description: str, cause: str, **its_own: Any) -> str:
        """Returns the new activity's id. `its_own`: Alarm and Before, the alarm and the capacity until then."""
        activity = self._new(description, cause, "InProgress") | its_own
        await self._change(target, lambda activities: [activity, *activities])
        return str(activity["ActivityId"])

    async def end(self, target: Target, activity_id: str, status: str, message: str) -> None:
        ended = {"StatusCode": status, "StatusMessage": message, "EndTime": self._clock.now()}
        await self._change(
            target, lambda activities: [a | ended if a["ActivityId"] == activity_id else a for a in activities]
        )

    async def not_scaled(self, target: Target, cause: str, reason: Mapping[str, Any]) -> None:
        """Said once, as long as nothing else happens."""
        latest = next(iter(self.of(target)), None)
        if latest is not None and (latest["Cause"], latest.get("NotScaledReasons")) == (cause, [reason]):
            return
        activity = self._new("Attempting to scale due to alarm triggered", cause, "Failed")
        activity |= {"NotScaledReasons": [reason], "EndTime": activity["StartTime"]}
        await self._change(target, lambda activities: [activity, *activities])

    def of(self, target: Target) -> Sequence[Members]:
        """The newest first."""
        document = self._catalog.document(ACTIVITIES, *target.place, target.resource_id)
        return document["Activities"] if document is not None else ()

    def unfinished(self, target: Target) -> list[Members]:
        return [activity for activity in self.of(target) if activity["StatusCode"] == "InProgress"]

    def last(self, target: Target, alarm: Alarm) -> Change | None:
        """The last successful change because of such an alarm; one in only if none out came after it."""
        for activity in self.of(target):
            if activity.get("Alarm") is None or activity["StatusCode"] != "Successful":
                continue
            if activity["Alarm"] == alarm:
                return Change(ended_s=activity["EndTime"], before=activity["Before"])
            if alarm == "Low":
                return None
        return None

    def _new(self, description: str, cause: str, status: str) -> Members:
        return {
            "ActivityId": str(uuid.uuid4()), "Description": description, "Cause": cause, "StatusCode": status,
            "StartTime": self._clock.now(),
        }  # fmt: skip

    async def _change(self, target: Target, change: Callable[[list[Members]], list[Members]]) -> None:
        oldest_s = self._clock.now() - KEPT_S

        def work(tx: CatalogTransaction) -> None:
            document = tx.document(ACTIVITIES, *target.place, target.resource_id) or {"Activities": []}
            kept = [each for each in change(document["Activities"]) if each["StartTime"] > oldest_s]
            tx.put_document(ACTIVITIES, *target.place, target.resource_id, {"Activities": kept[:KEPT_MOST]})

        await self._catalog.transact(work)


def _newest_first(activity: Members) -> str:
    return f"{10**15 - int(activity['StartTime'] * 1000):016d}/{activity['ActivityId']}"


def _shown(activity: Members) -> Members:
    shown = {name: value for name, value in activity.items() if name not in _ITS_OWN}
    times: Members = {name: moment(activity[name]) for name in _TIMES if name in activity}
    return {"ServiceNamespace": NAMESPACE, "ScalableDimension": DIMENSION, **shown, **times}

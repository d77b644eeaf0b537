"""Operations on schedules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lambent.model.request import RequestContext
from lambent.model.schedule_expression import ScheduleError, parse_schedule, zone_named
from lambent.ports import Catalog, CatalogTransaction, CatalogView, Clock, Operation
from lambent.services.delivery.retrying import AGE_MOST_S, RETRIES_MOST
from lambent.services.events.names import moment, page, present
from lambent.services.scheduler.errors import conflict, missing, validation
from lambent.services.scheduler.groups import DEFAULT_GROUP, SCHEDULES, need_group
from lambent.services.scheduler.targets import check_target

Members = dict[str, Any]

START_MAY_BE_PAST_S: Final = 300  # "The StartDate you specify cannot be earlier than 5 minutes ago."
_TIMES: Final = ("StartDate", "EndDate", "CreationDate", "LastModificationDate")
_SHOWN: Final = (
    "GroupName", "Name", "ScheduleExpression", "ScheduleExpressionTimezone", "State", "Description", "KmsKeyArn", "Target",
    "FlexibleTimeWindow", "ActionAfterCompletion", *_TIMES,
)  # fmt: skip


def schedule_arn(account_id: str, region: str, key: str) -> str:
    """`key` is `GROUP/NAME`."""
    return f"arn:aws:scheduler:{region}:{account_id}:schedule/{key}"


class Schedules:
    def __init__(self, catalog: Catalog, clock: Clock) -> None:
        self._catalog = catalog
        self._clock = clock
        self.operations: Mapping[str, Operation] = {
            "CreateSchedule": self.create_schedule,
            "UpdateSchedule": self.update_schedule,
            "GetSchedule": self.get_schedule,
            "DeleteSchedule": self.delete_schedule,
            "ListSchedules": self.list_schedules,
        }

    async def create_schedule(self, context: RequestContext, members: Members) -> Members:
        now_s = self._clock.now()
        document = _checked(members, now_s)
        key = _key(members)
        token = members.get("ClientToken")

        def work(tx: CatalogTransaction) -> None:
            need_group(tx, context, document["GroupName"])
            before = tx.document(SCHEDULES, context.account_id, context.region, key)
            if before is not None:
                if token and before.get("ClientToken") == token:
                    return
                raise conflict("Schedule", members["Name"])
            created = document | {"CreationDate": now_s, "ClientToken": token}
            tx.put_document(SCHEDULES, context.account_id, context.region, key, created)

        await self._catalog.transact(work)
        return {"ScheduleArn": schedule_arn(context.account_id, context.region, key)}

    async def update_schedule(self, context: RequestContext, members: Members) -> Members:
        """All of it: what is left out has its default again."""
        document = _checked(members, self._clock.now())
        key = _key(members)

        def work(tx: CatalogTransaction) -> None:
            before = _need(tx, context, members)
            changed = document | {"CreationDate": before["CreationDate"], "ClientToken": members.get("ClientToken")}
            tx.put_document(SCHEDULES, context.account_id, context.region, key, changed)

        await self._catalog.transact(work)
        return {"ScheduleArn": schedule_arn(context.account_id, context.region, key)}

    async def get_schedule(self, context: RequestContext, members: Members) -> Members:
        document = _need(self._catalog, context, members)
        shown = present({each: document.get(each) for each in _SHOWN})
        shown |= {each: moment(shown[each]) for each in _TIMES if each in shown}
        return {**shown, "Arn": schedule_arn(context.account_id, context.region, _key(members))}

    async def delete_schedule(self, context: RequestContext, members: Members) -> Members:
        def work(tx: CatalogTransaction) -> None:
            _need(tx, context, members)
            tx.delete_document(SCHEDULES, context.account_id, context.region, _key(members))

        await self._catalog.transact(work)
        return {}

    async def list_schedules(self, context: RequestContext, members: Members) -> Members:
        group, state = members.get("GroupName"), members.get("State")
        if group is not None:
            need_group(self._catalog, context, group)
        prefix = members.get("NamePrefix") or ""
        documents = self._catalog.documents(SCHEDULES, context.account_id, context.region)
        keys = [
            key
            for key, each in sorted(documents.items())
            if group in (None, each["GroupName"]) and state in (None, each["State"]) and each["Name"].startswith(prefix)
        ]
        chosen, more = page(keys, lambda key: key, members)
        return {"Schedules": [_listed(context, key, documents[key]) for key in chosen], **more}


def _key(members: Mapping[str, Any]) -> str:
    return f"{members.get('GroupName') or DEFAULT_GROUP}/{members['Name']}"


def _need(view: CatalogView, context: RequestContext, members: Members) -> Members:
    need_group(view, context, members.get("GroupName") or DEFAULT_GROUP)
    found = view.document(SCHEDULES, context.account_id, context.region, _key(members))
    if found is None:
        raise missing("Schedule", members["Name"])
    return found


def _listed(context: RequestContext, key: str, document: Mapping[str, Any]) -> Members:
    return {
        "Arn": schedule_arn(context.account_id, context.region, key),
        "Name": document["Name"],
        "GroupName": document["GroupName"],
        "State": document["State"],
        "CreationDate": moment(document["CreationDate"]),
        "LastModificationDate": moment(document["LastModificationDate"]),
        "Target": {"Arn": document["Target"]["Arn"]},
    }


def _checked(members: Members, now_s: float) -> Members:
    """The document that the request asks for. Raises AwsError ValidationException."""
    expression = members["ScheduleExpression"]
    zone = members.get("ScheduleExpressionTimezone") or "UTC"
    try:
        parse_schedule(expression)
    except ScheduleError as error:
        raise validation(f"Invalid Schedule Expression {expression}.") from error
    try:
        zone_named(zone)
    except ScheduleError as error:
        raise validation(f"{zone} is an invalid time zone.") from error
    start, end = members.get("StartDate"), members.get("EndDate")
    start_s = start.timestamp() if start is not None else None
    end_s = end.timestamp() if end is not None else None
    if start_s is not None and start_s < now_s - START_MAY_BE_PAST_S:
        raise validation("The StartDate you specify cannot be earlier than 5 minutes ago.")
    if end_s is not None and end_s <= (now_s if start_s is None else max(now_s, start_s)):
        raise validation("The EndDate you specify must come after the StartDate and after now.")
    _check_window(members["FlexibleTimeWindow"])
    check_target(members["Target"])
    retry = {"MaximumEventAgeInSeconds": AGE_MOST_S, "MaximumRetryAttempts": RETRIES_MOST}
    target = present(members["Target"])
    target["RetryPolicy"] = {**retry, **present(target.get("RetryPolicy") or {})}
    return present(
        {
            "Name": members["Name"],
            "GroupName": members.get("GroupName") or DEFAULT_GROUP,
            "ScheduleExpression": expression,
            "ScheduleExpressionTimezone": zone,
            "State": members.get("State") or "ENABLED",
            "Description": members.get("Description"),
            "KmsKeyArn": members.get("KmsKeyArn"),
            "StartDate": start_s,
            "EndDate": end_s,
            "FlexibleTimeWindow": present(members["FlexibleTimeWindow"]),
            "ActionAfterCompletion": members.get("ActionAfterCompletion") or "NONE",
            "Target": target,
            "LastModificationDate": now_s,
        }
    )


def _check_window(window: Mapping[str, Any]) -> None:
    has_length = window.get("MaximumWindowInMinutes") is not None
    if window["Mode"] == "FLEXIBLE" and not has_length:
        raise validation("A FLEXIBLE time window needs MaximumWindowInMinutes.")
    if window["Mode"] == "OFF" and has_length:
        raise validation("MaximumWindowInMinutes is for a FLEXIBLE time window only.")

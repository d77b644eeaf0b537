"""Schedules at work: their plans, what their targets get, and universal targets."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs
import msgspec

from lambent.model.errors import AwsError
from lambent.model.request import RequestContext
from lambent.model.schedule_expression import parse_schedule, times_of, zone_named
from lambent.ports import Catalog, CatalogTransaction, Clock
from lambent.services.delivery import Deliverer, Targets, owed
from lambent.services.delivery.timekeeper import Plan, Timekeeper
from lambent.services.events.names import in_zulu
from lambent.services.scheduler.groups import SCHEDULES
from lambent.services.scheduler.schedules import schedule_arn
from lambent.services.scheduler.targets import universal
from lambent.store.deliveries import Delivery

CALLER_URL: Final = "http://localhost"  # for addresses in answers, which nobody reads

Draw = Callable[[], float]


class Firing:
    """Keeps the timekeeper's plans as the schedules are."""

    def __init__(
        self,
        catalog: Catalog,
        clock: Clock,
        deliverer: Deliverer,
        targets: Targets,
        timekeeper: Timekeeper,
        draw: Draw = random.random,
    ) -> None:
        """`draw` in [0, 1) chooses within flexible windows."""
        self._catalog = catalog
        self._clock = clock
        self._deliverer = deliverer
        self._targets = targets
        self._timekeeper = timekeeper
        self._draw = draw
        targets.add("scheduler", self._call)
        catalog.subscribe_documents(SCHEDULES, self._changed)

    def start(self) -> None:
        for account_id, region in self._catalog.document_places(SCHEDULES):
            for key in self._catalog.documents(SCHEDULES, account_id, region):
                self._changed(account_id, region, key)

    def _changed(self, account_id: str, region: str, key: str) -> None:
        owner = schedule_arn(account_id, region, key)
        document = self._catalog.document(SCHEDULES, account_id, region, key)
        if document is None or document["State"] == "DISABLED":
            self._timekeeper.remove(owner)
            return
        modified_s: float = document["LastModificationDate"]

        async def fire(at_s: float, marks: Mapping[str, int], is_last: bool) -> None:
            await self._fire((account_id, region, key), document, at_s, marks)
            if is_last and document["ActionAfterCompletion"] == "DELETE":
                where = (account_id, region, key)
                await self._catalog.transact(lambda tx: _delete(tx, where, document["LastModificationDate"]))

        # A rate begins with its first time: StartDate, or at once.
        plan = Plan(next_after=_times(document), since_s=modified_s - 0.001, fire=fire)
        self._timekeeper.put(owner, plan)

    async def _fire(
        self, where: tuple[str, str, str], document: Mapping[str, Any], at_s: float, marks: Mapping[str, int]
    ) -> None:
        account_id, region, _ = where
        arn, target = schedule_arn(*where), document["Target"]
        execution_id = str(uuid.uuid4())
        scheduled = in_zulu(at_s)
        body = _body(where, target, scheduled, execution_id)
        window = document["FlexibleTimeWindow"]
        length_s = window["MaximumWindowInMinutes"] * 60 if window["Mode"] == "FLEXIBLE" else 0
        due_ms = int((at_s + self._draw() * length_s) * 1000)
        delivery = owed(
            kind="schedule", owner=arn, account_id=account_id, region=region, target=target, body=body,
            more={"scheduled_time": scheduled, "execution_id": execution_id},
            due_ms=max(due_ms, int(self._clock.now() * 1000)),
        )  # fmt: skip
        await self._deliverer.accept([delivery], marks=marks)

    async def _call(self, delivery: Delivery, context: RequestContext) -> None:
        """A universal target. Raises AwsError."""
        called = universal(delivery.lane)
        if called is None:
            raise AwsError("ValidationException", f"{delivery.lane} is not an operation", 400)
        try:
            request = msgspec.json.decode(delivery.body)
        except msgspec.DecodeError as error:
            raise AwsError("ValidationException", f"The input is not JSON any more: {error}", 400) from error
        if (called.service, called.operation) == ("lambda", "Invoke"):
            await self._targets.invoke(request, delivery, context)
            return
        # Not as this server's own word: a schedule is a client like any other.
        outside = attrs.evolve(context, base_url=CALLER_URL)
        try:
            await self._targets.call(outside, called.service, called.operation, request)
        except (KeyError, TypeError, ValueError, AttributeError) as error:  # what the gateway would have refused
            what = f"{called.service}:{called.operation} does not understand the input ({error!r})"
            raise AwsError("ValidationException", what, 400) from error


def _times(document: Mapping[str, Any]) -> Callable[[float], float | None]:
    return times_of(
        parse_schedule(document["ScheduleExpression"]), zone_named(document["ScheduleExpressionTimezone"]),
        begin_s=document["LastModificationDate"], start_s=document.get("StartDate"), end_s=document.get("EndDate"),
    )  # fmt: skip


def _body(where: tuple[str, str, str], target: Mapping[str, Any], scheduled: str, execution_id: str) -> bytes:
    """The Input with its context attributes filled in, or Scheduler's own event. The attempt's number comes later."""
    arn, text = schedule_arn(*where), target.get("Input")
    if text is None:
        event = {
            "version": "0", "id": execution_id, "detail-type": "Scheduled Event", "source": "aws.scheduler",
            "account": where[0], "time": scheduled, "region": where[1], "resources": [arn], "detail": "{}",
        }  # fmt: skip
        return msgspec.json.encode(event)
    filled: str = text
    for name, value in (("schedule-arn", arn), ("scheduled-time", scheduled), ("execution-id", execution_id)):
        filled = filled.replace(f"<aws.scheduler.{name}>", value)
    return filled.encode()


def _delete(tx: CatalogTransaction, where: tuple[str, str, str], modified_s: float) -> None:
    """Unless somebody has changed it meanwhile."""
    current = tx.document(SCHEDULES, *where)
    if current is not None and current["LastModificationDate"] == modified_s:
        tx.delete_document(SCHEDULES, *where)

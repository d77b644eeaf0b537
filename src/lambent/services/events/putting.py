"""PutEvents and TestEventPattern: events come in, are matched, and are owed to targets before the answer is given."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Final

import attrs
import msgspec

from lambent.model.errors import AwsError
from lambent.model.event_pattern import NUMBER_MAX, PatternError, compile_pattern
from lambent.model.request import RequestContext
from lambent.ports import Catalog, Clock, Operation
from lambent.services.delivery import Deliverer
from lambent.services.events.buses import BUSES, lets
from lambent.services.events.errors import bad_pattern, invalid, validation
from lambent.services.events.names import DEFAULT_BUS, Bus, bus_named, in_zulu
from lambent.services.events.router import HOPS_MOST, Came, Router
from lambent.store.deliveries import Delivery, NewArchived, NewDelivery

Members = dict[str, Any]

# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevents.html: 1 MB since January 2026
ENTRIES_MAX_BYTES: Final = 1_048_576  # of all entries of a request
TIME_BYTES: Final = 14  # what a Time counts for
_REQUIRED: Final = ("Source", "DetailType", "Detail")
_EVENT_REQUIRED: Final = ("id", "detail-type", "source", "account", "time", "region")  # of TestEventPattern's event


class _Refused(Exception):
    """One entry that is not taken; the others are."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Putting:
    def __init__(self, catalog: Catalog, clock: Clock, router: Router, deliverer: Deliverer) -> None:
        self._catalog = catalog
        self._clock = clock
        self._router = router
        self._deliverer = deliverer
        self.operations: Mapping[str, Operation] = {
            "PutEvents": self.put_events,
            "TestEventPattern": self.test_event_pattern,
        }

    async def put_events(self, context: RequestContext, members: Members) -> Members:
        entries = members["Entries"]
        if members.get("EndpointId"):
            raise invalid("EndpointId", "Global endpoints are not offered by this server.")
        if sum(map(_bytes, entries)) > ENTRIES_MAX_BYTES:
            raise validation("Total size of the entries in the request is over the limit.")
        answers: list[Members] = []
        deliveries: list[NewDelivery] = []
        archived: list[NewArchived] = []
        now_s = self._clock.now()
        for entry in entries:
            try:
                bus, event = self._event(context, entry, now_s)
            except _Refused as refused:
                answers.append({"ErrorCode": refused.code, "ErrorMessage": refused.message})
                continue
            came = Came(ingested_s=now_s, trace_header=entry.get("TraceHeader") or context.trace_header)
            owed, kept = self._router.route(bus, event, came)
            deliveries += owed
            archived += kept
            answers.append({"EventId": event["id"]})
        await self._deliverer.accept(deliveries, archived)
        return {"FailedEntryCount": sum("ErrorCode" in answer for answer in answers), "Entries": answers}

    def _event(self, context: RequestContext, entry: Members, now_s: float) -> tuple[Bus, Members]:
        """Raises _Refused."""
        for name in _REQUIRED:
            if not entry.get(name):
                raise _Refused(
                    "InvalidArgument", f"Parameter {name} is not valid. Reason: {name} is a required argument."
                )
        bus = bus_named(context, entry.get("EventBusName"))
        is_ours = not context.base_url  # another part of this server speaks for the service that it is
        if entry["Source"].startswith("aws.") and not is_ours:
            raise _Refused("NotAuthorizedForSourceException", "Not authorized for the source.")
        document = self._catalog.document(BUSES, bus.account_id, bus.region, bus.name)
        if bus.account_id != context.account_id and not lets(document or {}, bus, context.account_id):
            raise _Refused(
                "AccessDeniedException",
                f"User: arn:aws:iam::{context.account_id}:root is not authorized to perform: events:PutEvents on "
                f"resource: {bus.arn} because no resource-based policy allows the events:PutEvents action",
            )
        try:
            detail = msgspec.json.decode(entry["Detail"])
        except (msgspec.DecodeError, RecursionError):
            detail = None
        if not isinstance(detail, dict):
            raise _Refused("MalformedDetail", "Detail is malformed.")
        at = entry.get("Time")
        event = {
            "version": "0", "id": str(uuid.uuid4()), "detail-type": entry["DetailType"], "source": entry["Source"],
            "account": context.account_id, "time": in_zulu(at.timestamp() if at is not None else now_s),
            "region": context.region, "resources": list(entry.get("Resources") or ()), "detail": detail,
        }  # fmt: skip
        return bus, event

    async def to_bus(self, delivery: Delivery, bus: Bus) -> None:
        """An event that a rule sends on to another bus. Raises AwsError."""
        document = self._catalog.document(BUSES, bus.account_id, bus.region, bus.name)
        if document is None and bus.name != DEFAULT_BUS:
            raise AwsError("ResourceNotFoundException", f"Event bus {bus.name} does not exist.", 404)
        account_id = delivery.about["account"]
        if bus.account_id != account_id and not lets(document or {}, bus, account_id):
            raise AwsError("AccessDeniedException", f"No policy of {bus.arn} lets the account {account_id}", 403)
        hops = delivery.about.get("hops", 0) + 1
        if hops > HOPS_MOST:
            raise validation(f"The event has passed {HOPS_MOST} buses: do they send to each other?")
        came = Came(ingested_s=self._clock.now(), trace_header=delivery.about.get("trace_header"), hops=hops)
        await self._deliverer.accept(*self._router.route(bus, msgspec.json.decode(delivery.body), came))

    async def from_schedule(self, delivery: Delivery, context: RequestContext) -> None:
        """An event that a schedule puts. Raises AwsError."""
        about = delivery.about
        parameters = about["target"]["EventBridgeParameters"]
        entry = {
            "EventBusName": delivery.lane, "Source": parameters["Source"], "DetailType": parameters["DetailType"],
            "Detail": delivery.body.decode(), "Resources": [about["owner"]],
        }  # fmt: skip
        by = attrs.evolve(context, account_id=about["account"], region=about["region"])
        (answer,) = (await self.put_events(by, {"Entries": [entry]}))["Entries"]
        if "ErrorCode" in answer:
            raise AwsError(answer["ErrorCode"], answer["ErrorMessage"], 400)

    async def test_event_pattern(self, context: RequestContext, members: Members) -> Members:
        try:
            pattern = compile_pattern(members["EventPattern"], NUMBER_MAX)
        except PatternError as error:
            raise bad_pattern(str(error)) from error
        try:
            event = msgspec.json.decode(members["Event"])
        except (msgspec.DecodeError, RecursionError) as error:
            raise validation("Parameter Event is not valid.") from error
        if not isinstance(event, dict) or any(event.get(name) is None for name in _EVENT_REQUIRED):
            raise validation("Parameter Event is not valid.")
        return {"Result": pattern.matches(event)}


def _bytes(entry: Mapping[str, Any]) -> int:
    """As AWS counts them: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevents.html"""
    texts = [*(entry.get(name) or "" for name in _REQUIRED), *(entry.get("Resources") or ())]
    return sum(len(text.encode("utf-8", "surrogatepass")) for text in texts) + (TIME_BYTES if entry.get("Time") else 0)

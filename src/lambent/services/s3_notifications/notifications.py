"""S3's notification configurations, and sending what they ask for before whoever changed an object is answered.

A server that is killed therefore loses no notification of a change that it acknowledged.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from lambent.model.errors import AwsError
from lambent.model.object_event import BUCKET_REMOVED, ObjectEvent
from lambent.model.request import RequestContext
from lambent.ports import Catalog, Clients, Clock, Operation
from lambent.services.s3_notifications import configuration, records
from lambent.services.s3_notifications.configuration import Members, Rule
from lambent.services.s3_notifications.destinations import Destinations

log = logging.getLogger(__name__)

CONFIGURATIONS: Final = "s3-notifications"  # kind of the catalog's documents; buckets' names are everybody's
AGAIN_S: Final = (0.1, 0.5)  # waits before a destination that had a fault is asked again; who changed the object waits
_EVERYWHERE: Final = ("", "")


class S3Notifications:
    """`ports.Service` for the operations of `s3` that are about notifications. `happened` is told of all changes."""

    name = "s3"

    def __init__(self, catalog: Catalog, clients: Clients, destinations: Destinations, clock: Clock) -> None:
        self._catalog = catalog
        self._clients = clients
        self._destinations = destinations
        self._clock = clock
        self.operations: Mapping[str, Operation] = {
            "PutBucketNotificationConfiguration": self.put_configuration,
            "GetBucketNotificationConfiguration": self.get_configuration,
        }

    async def put_configuration(self, context: RequestContext, members: Members) -> Members:
        bucket = members["Bucket"]
        region = await self._region_of(context, members)
        kept = configuration.completed(members.get("NotificationConfiguration") or {}, region)
        rules = list(configuration.rules_of(kept))
        source = _source(bucket, context.account_id)
        if not members.get("SkipDestinationValidation"):
            await self._validate(rules, source)
        document = {**kept, "Owner": context.account_id}

        def put(tx: Any) -> None:
            if kept:
                tx.put_document(CONFIGURATIONS, *_EVERYWHERE, bucket, document)
            else:
                tx.delete_document(CONFIGURATIONS, *_EVERYWHERE, bucket)

        await self._catalog.transact(put)
        body = msgspec.json.encode(records.test_event(context, bucket, self._clock.now()))
        for arn in dict.fromkeys(rule.arn for rule in rules if rule.kind != "lambda"):
            rule = next(rule for rule in rules if rule.arn == arn)
            await self._hand(rule, body, None, source, is_test=True)
        return {}

    async def get_configuration(self, context: RequestContext, members: Members) -> Members:
        await self._region_of(context, members)
        kept = self._catalog.document(CONFIGURATIONS, *_EVERYWHERE, members["Bucket"]) or {}
        return {name: value for name, value in kept.items() if name != "Owner"}

    async def happened(self, context: RequestContext, events: Sequence[ObjectEvent]) -> None:
        """Returns when every destination has what it asked for; what cannot be handed over is logged. Never raises."""
        for event in events:
            try:
                await self._tell(context, event)
            except Exception:  # the outermost edge: the change itself has been made and is to be answered
                log.exception("%s of %s is not told; report it with this traceback", event.name, event.bucket)

    async def _tell(self, context: RequestContext, event: ObjectEvent) -> None:
        kept = self._catalog.document(CONFIGURATIONS, *_EVERYWHERE, event.bucket)
        if kept is None:
            return
        if event.name == BUCKET_REMOVED:
            await self._catalog.transact(lambda tx: tx.delete_document(CONFIGURATIONS, *_EVERYWHERE, event.bucket))
            return
        now_s, source = self._clock.now(), _source(event.bucket, kept["Owner"])
        sending = []
        for rule in configuration.rules_of(kept):
            if rule.matches(event.name, event.key):
                body = msgspec.json.encode({"Records": [records.record(context, event, rule.id, now_s)]})
                sending.append(self._hand(rule, body, context.trace_header, source))
        if "EventBridgeConfiguration" in kept:
            sending.append(self._bridge(context, event))
        await asyncio.gather(*sending)

    async def _hand(
        self, rule: Rule, body: bytes, trace_header: str | None, source: Mapping[str, str], *, is_test: bool = False
    ) -> None:
        for wait_s in (*AGAIN_S, None):
            try:
                await self._destinations.send(rule, body, trace_header, source, is_test=is_test)
            except AwsError as error:
                if wait_s is None or not error.is_server_fault:
                    log.error("a notification of %s does not reach %s: %s", source["aws:SourceArn"], rule.arn, error)
                    return
                await asyncio.sleep(wait_s)
            else:
                return

    async def _bridge(self, context: RequestContext, event: ObjectEvent) -> None:
        detail_type, detail = records.bridged(context, event)
        entry: Members = {
            "Source": "aws.s3", "DetailType": detail_type, "Detail": msgspec.json.encode(detail).decode(),
            "Resources": [records.bucket_arn(event.bucket)],
        }  # fmt: skip
        if context.trace_header:
            entry["TraceHeader"] = context.trace_header
        # Without an address of its own: S3 itself speaks, which may say that the source is aws.s3.
        place = RequestContext(
            account_id=event.account_id, region=event.region, request_id=context.request_id, base_url=""
        )
        try:
            answer = await self._clients.call(place, "events", "PutEvents", {"Entries": [entry]})
            if answer.get("FailedEntryCount"):
                log.error("an event of %s is refused by EventBridge: %s", event.bucket, answer["Entries"])
        except AwsError as error:
            log.error("an event of %s does not reach EventBridge: %s", event.bucket, error)

    async def _region_of(self, context: RequestContext, members: Members) -> str:
        """Raises AwsError NoSuchBucket."""
        asked = {name: members[name] for name in ("Bucket", "ExpectedBucketOwner") if members.get(name)}
        found = await self._clients.call(context, "s3", "GetBucketLocation", asked)
        location = found.get("LocationConstraint") or "us-east-1"
        return "eu-west-1" if location == "EU" else str(location)

    async def _validate(self, rules: Sequence[Rule], source: Mapping[str, str]) -> None:
        """Raises AwsError InvalidArgument, which names every destination that cannot be used."""
        found = [await self._destinations.problem(rule, source) for rule in rules]
        fields: dict[str, str] = {}
        for number, (name, why) in enumerate((problem for problem in found if problem is not None), 1):
            fields |= {f"ArgumentName{number}": name, f"ArgumentValue{number}": why}
        if fields:
            raise configuration.invalid("Unable to validate the following destination configurations", **fields)


def _source(bucket: str, owner: str) -> dict[str, str]:
    """What policies' conditions may ask of S3's requests."""
    return {"aws:SourceArn": records.bucket_arn(bucket), "aws:SourceAccount": owner}

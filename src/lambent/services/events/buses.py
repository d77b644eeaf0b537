"""Operations on event buses and their policies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from lambent.model import policy
from lambent.model.errors import AwsError
from lambent.model.policy import DocumentKind
from lambent.model.request import RequestContext
from lambent.ports import Catalog, CatalogTransaction, CatalogView, Clock, Operation
from lambent.services.events.errors import exists, invalid, missing, no_bus, not_offered, too_many, validation
from lambent.services.events.names import DEFAULT_BUS, Bus, bus_of_arn, moment, own_bus, page, present
from lambent.services.events.router import ARCHIVES, RULES

Members = dict[str, Any]

BUSES: Final = "event-bus"  # kind of documents
BUSES_MAX: Final = 100  # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html, of a region
POLICY_MAX_BYTES: Final = 10_240  # PutPermission: "Event bus policies can be up to 10 KB in size"
_KEPT: Final = ("Description", "KmsKeyIdentifier", "DeadLetterConfig", "LogConfig")


class Buses:
    def __init__(self, catalog: Catalog, clock: Clock) -> None:
        self._catalog = catalog
        self._clock = clock
        self.operations: Mapping[str, Operation] = {
            "CreateEventBus": self.create_event_bus,
            "UpdateEventBus": self.update_event_bus,
            "DescribeEventBus": self.describe_event_bus,
            "DeleteEventBus": self.delete_event_bus,
            "ListEventBuses": self.list_event_buses,
            "PutPermission": self.put_permission,
            "RemovePermission": self.remove_permission,
        }

    async def create_event_bus(self, context: RequestContext, members: Members) -> Members:
        name = members["Name"]
        if members.get("EventSourceName"):
            raise not_offered("CreateEventBus with a partner event source")
        if "/" in name:
            raise invalid("Name", "Only partner event buses have a / in their names.")
        now_s = self._clock.now()
        document = {
            "Name": name,
            **{each: members[each] for each in _KEPT if members.get(each) is not None},
            "Tags": {tag["Key"]: tag["Value"] for tag in members.get("Tags") or ()},
            "CreationTime": now_s,
            "LastModifiedTime": now_s,
        }

        def work(tx: CatalogTransaction) -> None:
            present_buses = tx.documents(BUSES, context.account_id, context.region)
            if name == DEFAULT_BUS or name in present_buses:
                raise exists(f"Event bus {name} already exists.")
            if len(present_buses) >= BUSES_MAX:
                raise too_many()
            tx.put_document(BUSES, context.account_id, context.region, name, document)

        await self._catalog.transact(work)
        bus = Bus(context.account_id, context.region, name)
        return {"EventBusArn": bus.arn, **{each: document[each] for each in _KEPT if each in document}}

    async def update_event_bus(self, context: RequestContext, members: Members) -> Members:
        bus = own_bus(context, members.get("Name"))

        def change(document: Members) -> Members:
            return {**document, **{each: members[each] for each in _KEPT if members.get(each) is not None}}

        document = await self._change(bus, change)
        return {
            "Arn": bus.arn, "Name": bus.name, **{each: document[each] for each in _KEPT if each in document}
        }  # fmt: skip

    async def describe_event_bus(self, context: RequestContext, members: Members) -> Members:
        bus = own_bus(context, members.get("Name"))
        return described(bus, need_bus(self._catalog, bus), whole=True)

    async def delete_event_bus(self, context: RequestContext, members: Members) -> Members:
        bus = own_bus(context, members["Name"])
        if bus.name == DEFAULT_BUS:
            raise validation("Cannot delete event bus default.")

        def work(tx: CatalogTransaction) -> None:
            place = (bus.account_id, bus.region)
            if any(rule["EventBusName"] == bus.name for rule in tx.documents(RULES, *place).values()):
                raise validation(f"Cannot delete event bus {bus.name} because it has rules.")
            for name, archive in tx.documents(ARCHIVES, *place).items():
                if archive["EventSourceArn"] == bus.arn:
                    tx.put_document(ARCHIVES, *place, name, archive | {"State": "DISABLED"})
            tx.delete_document(BUSES, *place, bus.name)

        await self._catalog.transact(work)
        return {}

    async def list_event_buses(self, context: RequestContext, members: Members) -> Members:
        prefix = members.get("NamePrefix") or ""
        names = sorted({DEFAULT_BUS, *self._catalog.documents(BUSES, context.account_id, context.region)})
        chosen, more = page([n for n in names if n.startswith(prefix)], lambda name: name, members)
        buses = [Bus(context.account_id, context.region, name) for name in chosen]
        return {"EventBuses": [described(bus, need_bus(self._catalog, bus)) for bus in buses], **more}

    # --- policies

    async def put_permission(self, context: RequestContext, members: Members) -> Members:
        bus = own_bus(context, members.get("EventBusName"))
        if (text := members.get("Policy")) is not None:
            given = _checked_policy(text)
            await self._change(bus, lambda document: document | {"Policy": given})
            return {}
        statement = _statement(bus, members)

        def change(document: Members) -> Members:
            before = (document.get("Policy") or {}).get("Statement") or []
            kept = [each for each in before if each.get("Sid") != statement["Sid"]]
            whole = {"Version": "2012-10-17", "Statement": [*kept, statement]}
            if len(msgspec.json.encode(whole)) > POLICY_MAX_BYTES:
                raise AwsError("PolicyLengthExceededException", "The policy is larger than 10 KB.", 400)
            return document | {"Policy": whole}

        await self._change(bus, change)
        return {}

    async def remove_permission(self, context: RequestContext, members: Members) -> Members:
        bus = own_bus(context, members.get("EventBusName"))

        def change(document: Members) -> Members:
            if members.get("RemoveAllPermissions"):
                return document | {"Policy": None}
            if not document.get("Policy"):
                raise missing("EventBus does not have a policy.")
            before = document["Policy"]["Statement"]
            kept = [each for each in before if each.get("Sid") != members.get("StatementId")]
            if len(kept) == len(before):
                raise missing("Statement with the provided id does not exist.")
            return document | {"Policy": {**document["Policy"], "Statement": kept} if kept else None}

        await self._change(bus, change)
        return {}

    async def _change(self, bus: Bus, change: Any) -> Members:
        """Raises AwsError ResourceNotFoundException, and what `change` raises."""
        now_s = self._clock.now()

        def work(tx: CatalogTransaction) -> Members:
            document: Members = change(need_bus(tx, bus)) | {"LastModifiedTime": now_s}
            tx.put_document(BUSES, bus.account_id, bus.region, bus.name, document)
            return document

        return await self._catalog.transact(work)


def need_bus(view: CatalogView, bus: Bus) -> Members:
    """The bus's document; the default one is always there. Raises AwsError ResourceNotFoundException."""
    found = view.document(BUSES, bus.account_id, bus.region, bus.name)
    if found is None:
        if bus.name != DEFAULT_BUS:
            raise no_bus(bus.name)
        found = {"Name": DEFAULT_BUS, "Tags": {}}
    return found


def described(bus: Bus, document: Mapping[str, Any], whole: bool = False) -> Members:
    shown = ("Description", *(("KmsKeyIdentifier", "DeadLetterConfig", "LogConfig") if whole else ()))
    stored = document.get("Policy")
    times = ("CreationTime", "LastModifiedTime")
    return present(
        {
            "Name": bus.name,
            "Arn": bus.arn,
            **{each: document.get(each) for each in shown},
            **{each: moment(document[each]) if document.get(each) else None for each in times},
            "Policy": msgspec.json.encode(stored).decode() if stored else None,
        }
    )


def policy_of_bus(view: CatalogView, arn: str) -> str | None:
    """As a document's text; None without one."""
    bus = bus_of_arn(arn)
    document = view.document(BUSES, bus.account_id, bus.region, bus.name) if bus is not None else None
    stored = document.get("Policy") if document is not None else None
    return msgspec.json.encode(stored).decode() if stored else None


def lets(document: Mapping[str, Any], bus: Bus, account_id: str) -> bool:
    """Whether a bus's policy lets another account put events on it."""
    stored = document.get("Policy")
    if not stored:
        return False
    compiled = policy.parse_policy(msgspec.json.encode(stored).decode(), DocumentKind.RESOURCE)
    principal = policy.root(account_id)
    values = {"aws:PrincipalArn": principal.arn, "aws:PrincipalAccount": account_id}
    request = policy.Request(
        principal=principal, action="events:PutEvents", resource=bus.arn, resource_account_id=bus.account_id,
        context=policy.context_of(values),
    )  # fmt: skip
    return policy.evaluate(request, policy.Policies(resource=compiled)).is_allowed


def _statement(bus: Bus, members: Members) -> Members:
    for name in ("StatementId", "Principal", "Action"):
        if not members.get(name):
            raise validation(f"Parameter {name} must be specified.")
    if members["Action"] != "events:PutEvents":
        raise validation("Provided value in parameter 'action' is not supported.")
    principal = members["Principal"]
    statement: Members = {
        "Sid": members["StatementId"],
        "Effect": "Allow",
        "Principal": "*" if principal == "*" else {"AWS": f"arn:aws:iam::{principal}:root"},
        "Action": "events:PutEvents",
        "Resource": bus.arn,
    }
    if (condition := members.get("Condition")) is not None:
        statement["Condition"] = {condition["Type"]: {condition["Key"]: condition["Value"]}}
    return statement


def _checked_policy(text: str) -> Members:
    try:
        document: Members = msgspec.json.decode(text)
        policy.parse_policy(text, DocumentKind.RESOURCE)
    except (msgspec.DecodeError, policy.MalformedPolicy) as error:
        raise validation(f"Parameter Policy is not valid. Reason: {error}") from error
    if len(text.encode()) > POLICY_MAX_BYTES:
        raise AwsError("PolicyLengthExceededException", "The policy is larger than 10 KB.", 400)
    statements = document["Statement"]
    return document | {"Statement": [statements] if isinstance(statements, dict) else statements}

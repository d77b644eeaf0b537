"""Event source mappings: what of which source goes to which function, as users configure it.

Stored as documents of the kind `event-source-mapping` by UUID: AWS's members, timestamps in seconds since the epoch, and
`Tags` beside them. Their states are moved on by `sources.supervisor`.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from lambent.control.checks import check_tags, refuse_tenants
from lambent.control.mapping_sources import SourceChecks
from lambent.control.paging import page
from lambent.control.role_rights import RoleRights
from lambent.control.tools import need_qualified
from lambent.model.errors import AwsError, conflict, invalid_parameter, not_found
from lambent.model.event_source import (
    KAFKAS,
    QUEUES,
    SourceKind,
    check_members,
    defaults,
    kind_of,
    transition_reason,
)
from lambent.model.event_source_rules import check_settings, with_poller_defaults
from lambent.model.function import FunctionVersion
from lambent.model.names import FunctionAddress, locate_function
from lambent.model.request import RequestContext
from lambent.ports import Catalog, CatalogTransaction, CatalogView, Clients, Clock, Operation

KIND: Final = "event-source-mapping"
PAGE_MAX: Final = 100  # ListEventSourceMappings, MaxItems
SETTLED_STATES: Final = frozenset({"Enabled", "Disabled"})
_ON_THE_WAY: Final[Mapping[str, str]] = {"Enabled": "Enabling", "Disabled": "Disabling"}

_NOT_STORED: Final = frozenset({"FunctionName", "Enabled", "Tags", "UUID"})
_TIMESTAMPS: Final = ("LastModified", "StartingPositionTimestamp")
# Given empty, these are removed.
_REMOVABLE: Final[Mapping[str, str]] = {
    "FilterCriteria": "Filters",
    "ScalingConfig": "MaximumConcurrency",
    "MetricsConfig": "Metrics",
    "LoggingConfig": "SystemLogLevel",
}
_UPDATE_KEEPS: Final = ("AmazonManagedKafkaEventSourceConfig", "SelfManagedKafkaEventSourceConfig")


class EventSourceMappingOperations:
    """`clients` asks the sources themselves; without it they are taken to exist. `rights` asks policies of roles."""

    def __init__(
        self, catalog: Catalog, clock: Clock, clients: Clients | None = None, rights: RoleRights | None = None
    ) -> None:
        self._catalog = catalog
        self._clock = clock
        self._sources = SourceChecks(clients, rights)
        self.operations: Mapping[str, Operation] = {
            "CreateEventSourceMapping": self.create,
            "GetEventSourceMapping": self.get,
            "UpdateEventSourceMapping": self.update,
            "DeleteEventSourceMapping": self.delete,
            "ListEventSourceMappings": self.list,
        }

    async def create(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        kind = kind_of(request)
        check_members(kind, request)
        mapping_id = str(uuid.uuid4())
        mapping = self._created(context, kind, mapping_id, request)
        check_settings(kind, mapping, self._clock.now())
        address = _located(context, request["FunctionName"], "CreateEventSourceMapping")
        mapping["FunctionArn"] = address.qualified_arn
        function = _need_function(self._catalog, address)
        refuse_tenants(function, "Event source mappings")
        await self._sources.check(context, kind, mapping, function)

        def work(tx: CatalogTransaction) -> None:
            _need_function(tx, address)
            _refuse_duplicate(tx, context, kind, mapping, address)
            tx.put_document(KIND, context.account_id, context.region, mapping_id, mapping)

        await self._catalog.transact(work)
        return shown(mapping)

    async def get(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        return shown(_need(self._catalog, context, request["UUID"]))

    async def update(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        before = _need(self._catalog, context, request["UUID"])
        _refuse_busy(before, "update")
        kind = kind_of(before)
        check_members(kind, request)
        address = None
        if request.get("FunctionName") is not None:
            address = _located(context, request["FunctionName"], "UpdateEventSourceMapping")
        wanted = self._updated(kind, before, request)
        check_settings(kind, wanted, self._clock.now())
        if address is not None or request.get("SourceAccessConfigurations"):
            current_address = _located(context, before["FunctionArn"], "UpdateEventSourceMapping")
            function = _need_function(self._catalog, address or current_address)
            refuse_tenants(function, "Event source mappings")
            await self._sources.check(context, kind, wanted, function)

        def work(tx: CatalogTransaction) -> dict[str, Any]:
            current = _need(tx, context, request["UUID"])
            _refuse_busy(current, "update")
            changed = self._updated(kind, current, request)
            check_settings(kind, changed, self._clock.now())
            if address is not None:
                _need_function(tx, address)
                changed["FunctionArn"] = address.qualified_arn
                _refuse_duplicate(tx, context, kind, changed, address)
            tx.put_document(KIND, context.account_id, context.region, request["UUID"], changed)
            return changed

        return shown(await self._catalog.transact(work))

    async def delete(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        def work(tx: CatalogTransaction) -> dict[str, Any]:
            current = _need(tx, context, request["UUID"])
            _refuse_busy(current, "delete")
            deleting = current | {"State": "Deleting", "LastModified": self._now_s()}
            tx.put_document(KIND, context.account_id, context.region, request["UUID"], deleting)
            return deleting

        return shown(await self._catalog.transact(work))

    async def list(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        found = self._catalog.documents(KIND, context.account_id, context.region)
        mappings = list(found.values())
        if arn := request.get("EventSourceArn"):
            mappings = [mapping for mapping in mappings if mapping.get("EventSourceArn") == arn]
        if name := request.get("FunctionName"):
            function_arn = _located(context, name, "ListEventSourceMappings").qualified_arn
            mappings = [mapping for mapping in mappings if mapping["FunctionArn"] == function_arn]
        mappings.sort(key=lambda mapping: str(mapping["UUID"]))
        listed, more = page(mappings, lambda mapping: mapping["UUID"], request, PAGE_MAX)
        return {"EventSourceMappings": [shown(mapping) for mapping in listed], **more}

    # --- what is stored ----------------------------------------------------------------------------------------------

    def _now_s(self) -> float:
        return round(self._clock.now(), 3)

    def _created(
        self, context: RequestContext, kind: SourceKind, mapping_id: str, request: Mapping[str, Any]
    ) -> dict[str, Any]:
        tags = request.get("Tags") or {}
        check_tags(tags)
        mapping = defaults(kind, mapping_id) | {
            "UUID": mapping_id,
            "EventSourceMappingArn": mapping_arn(context.account_id, context.region, mapping_id),
            "State": "Creating",
            "StateTransitionReason": transition_reason(kind),
            "LastModified": self._now_s(),
            "Wanted": "Enabled" if request.get("Enabled") is not False else "Disabled",
        }
        if tags:
            mapping["Tags"] = dict(tags)
        _take(kind, mapping, request)
        for member in _UPDATE_KEEPS:
            if member in mapping:
                mapping[member] = {"ConsumerGroupId": mapping_id} | mapping[member]
        return mapping

    def _updated(self, kind: SourceKind, before: Mapping[str, Any], request: Mapping[str, Any]) -> dict[str, Any]:
        mapping = dict(before)
        _refuse_fixed(before, request)
        wanted = before["Wanted"]
        if request.get("Enabled") is not None:
            wanted = "Enabled" if request["Enabled"] else "Disabled"
        state = "Updating" if wanted == before["Wanted"] else _ON_THE_WAY[wanted]
        mapping |= {"Wanted": wanted, "State": state, "LastModified": self._now_s()}
        mapping["StateTransitionReason"] = transition_reason(kind)
        _take(kind, mapping, request)
        for member in _UPDATE_KEEPS:
            if request.get(member) is not None:
                mapping[member] = before.get(member, {}) | request[member]
        return mapping


def _take(kind: SourceKind, mapping: dict[str, Any], request: Mapping[str, Any]) -> None:
    """Puts a request's members into a mapping, in the form in which they are kept."""
    for member, value in request.items():
        if value is None or member in _NOT_STORED:
            continue
        if member in _TIMESTAMPS:
            mapping[member] = value.timestamp()
        elif member == "DestinationConfig":
            mapping[member] = _destinations(value)
        elif member == "ProvisionedPollerConfig" and not value and "UUID" in request:
            mapping.pop(member, None)  # an update with an empty one ends provisioned mode
        elif member == "ProvisionedPollerConfig":
            mapping[member] = with_poller_defaults(kind, mapping.get(member, {}) | value)
        elif _is_removed(member, value):
            mapping.pop(member, None)
        else:
            mapping[member] = value


def _is_removed(member: str, value: Any) -> bool:
    essential = _REMOVABLE.get(member)
    return not value.get(essential) if essential is not None else member == "KMSKeyArn" and not value


def _destinations(given: Mapping[str, Any]) -> dict[str, Any]:
    """An empty destination is none, and the failure's side is always there."""
    kept: dict[str, Any] = {"OnFailure": {}}
    for side, value in given.items():
        if value is not None:
            kept[side] = {"Destination": value["Destination"]} if value.get("Destination") else {}
    return kept


def _refuse_fixed(before: Mapping[str, Any], request: Mapping[str, Any]) -> None:
    """What cannot be changed once a mapping exists."""
    for member in _UPDATE_KEEPS:
        given = request.get(member) or {}
        for name in ("ConsumerGroupId", "ConsumptionMode"):
            if given.get(name) is not None and given[name] != before.get(member, {}).get(name):
                raise invalid_parameter(f"{name} cannot be changed after the event source mapping was created.")
    if any(item.get("Type") == "VIRTUAL_HOST" for item in request.get("SourceAccessConfigurations") or []):
        raise invalid_parameter("VIRTUAL_HOST cannot be specified when an event source mapping is updated.")


def shown(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """EventSourceMappingConfiguration."""
    out = {name: value for name, value in mapping.items() if name not in ("Tags", "Wanted")}
    for name in _TIMESTAMPS:
        if name in out:
            out[name] = datetime.fromtimestamp(out[name], UTC)
    return out


def mapping_arn(account_id: str, region: str, mapping_id: str) -> str:
    return f"arn:aws:lambda:{region}:{account_id}:event-source-mapping:{mapping_id}"


# --- look-ups ------------------------------------------------------------------------------------------------------------


def _need(view: CatalogView, context: RequestContext, mapping_id: str) -> dict[str, Any]:
    mapping = view.document(KIND, context.account_id, context.region, mapping_id)
    if mapping is None:
        raise not_found("The resource you requested does not exist.")
    return mapping


def _located(context: RequestContext, name: str, operation: str) -> FunctionAddress:
    return locate_function(name, None, context.account_id, context.region, f"lambda:{operation}")


def _need_function(view: CatalogView, address: FunctionAddress) -> FunctionVersion:
    """Here AWS calls a missing function an invalid parameter."""
    try:
        return need_qualified(view, address)[0]
    except AwsError as error:
        if error.code != "ResourceNotFoundException":
            raise
        raise invalid_parameter("Function does not exist") from None


def _in_use(verb: str) -> AwsError:
    return AwsError(
        "ResourceInUseException", f"Cannot {verb} the event source mapping because it is in use.", 400, {"Type": "User"}
    )


def _refuse_busy(mapping: Mapping[str, Any], verb: str) -> None:
    if mapping["State"] not in SETTLED_STATES:
        raise _in_use(verb)


def _sources_of(mapping: Mapping[str, Any]) -> frozenset[str]:
    """What a mapping reads: two of the same function that share any of it are one too many."""
    if (arn := mapping.get("EventSourceArn")) is not None:
        names = mapping.get("Topics") or mapping.get("Queues") or [""]
        return frozenset(f"{arn} {name}" for name in names)
    servers = mapping["SelfManagedEventSource"]["Endpoints"].get("KAFKA_BOOTSTRAP_SERVERS") or []
    return frozenset(f"{server} {topic}" for server in servers for topic in mapping["Topics"])


def _refuse_duplicate(
    tx: CatalogView, context: RequestContext, kind: SourceKind, mapping: Mapping[str, Any], address: FunctionAddress
) -> None:
    for mapping_id, other in tx.documents(KIND, context.account_id, context.region).items():
        if (
            mapping_id != mapping["UUID"]
            and other["FunctionArn"] == mapping["FunctionArn"]
            and _sources_of(other) & _sources_of(mapping)
        ):
            raise _already_exists(kind, mapping, address, mapping_id)


def _already_exists(
    kind: SourceKind, mapping: Mapping[str, Any], address: FunctionAddress, mapping_id: str
) -> AwsError:
    arn = mapping.get("EventSourceArn")
    end = f"already exists. Please update or delete the existing mapping with UUID {mapping_id}"
    if kind in QUEUES:
        return conflict(f'An event source mapping with SQS arn (" {arn} ") and function (" {address.name} ") {end}')
    if kind in KAFKAS:
        servers = arn or ",".join(mapping["SelfManagedEventSource"]["Endpoints"]["KAFKA_BOOTSTRAP_SERVERS"])
        return conflict(
            f'An event source mapping with event source ("{servers}"), function ("{address.qualified_arn}"), '
            f'topics ("{",".join(mapping["Topics"])}") {end}'
        )
    return conflict(f'The event source arn (" {arn} ") and function (" {address.name} ") provided mapping {end}')

"""Which targets get an event: the rules of its bus that match, with their patterns compiled until somebody changes them."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

import attrs
import msgspec

from lambent.model.event_pattern import EventPattern, PatternError, compile_pattern
from lambent.model.json_path import MISSING, PathError, find
from lambent.ports import Catalog
from lambent.services.delivery import owed
from lambent.services.events.names import Bus, in_zulu
from lambent.services.events.transforming import Matched, rendered
from lambent.store.deliveries import NewArchived, NewDelivery

log = logging.getLogger(__name__)

RULES: Final = "event-rule"  # kinds of documents
ARCHIVES: Final = "event-archive"
HOPS_MOST: Final = 16  # ours: buses that send to each other would do so for ever


@attrs.frozen(kw_only=True)
class Rule:
    document: Mapping[str, Any]
    arn: str
    pattern: EventPattern


@attrs.frozen(kw_only=True)
class Archive:
    key: str  # of the delivery store
    pattern: EventPattern | None


@attrs.frozen(kw_only=True)
class Came:
    """How an event came to a bus."""

    ingested_s: float
    trace_header: str | None = None
    hops: int = 0  # buses that it has passed
    only_rules: Collection[str] | None = None  # ARNs; None: all. Of a replay


class Rules:
    """One bus's rules, those that an event's source rules out set aside."""

    def __init__(self) -> None:
        self._by_source: dict[str, list[Rule]] = {}
        self._others: list[Rule] = []

    def add(self, rule: Rule) -> None:
        sources = rule.pattern.only("source")
        if sources is None:
            self._others.append(rule)
        else:
            for source in sources:
                self._by_source.setdefault(source, []).append(rule)

    def for_event(self, event: Mapping[str, Any]) -> Iterator[Rule]:
        """Those that may match."""
        yield from self._by_source.get(str(event.get("source")), ())
        yield from self._others


class Router:
    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._rules: dict[tuple[str, str], dict[str, Rules]] = {}  # by account and region, then bus
        self._archives: dict[tuple[str, str], dict[str, list[Archive]]] = {}
        catalog.subscribe_documents(RULES, self._forget_rules)
        catalog.subscribe_documents(ARCHIVES, self._forget_archives)

    def _forget_rules(self, account_id: str, region: str, key: str) -> None:
        self._rules.pop((account_id, region), None)

    def _forget_archives(self, account_id: str, region: str, name: str) -> None:
        self._archives.pop((account_id, region), None)

    def route(self, bus: Bus, event: Mapping[str, Any], came: Came) -> tuple[list[NewDelivery], list[NewArchived]]:
        """What is owed because of the event, and where it is archived."""
        encoded = msgspec.json.encode(event)
        deliveries: list[NewDelivery] = []
        for rule in self._rules_of(bus).for_event(event):
            if came.only_rules is not None and rule.arn not in came.only_rules:
                continue
            if rule.pattern.matches(event):
                matched = Matched(
                    event=event, encoded=encoded, rule_arn=rule.arn, rule_name=rule.document["Name"],
                    ingested=in_zulu(came.ingested_s),
                )  # fmt: skip
                deliveries += to_targets(bus, rule.document, matched, came)
        archived = []
        if "replay-name" not in event:
            at_ms = int(came.ingested_s * 1000)
            archived = [
                NewArchived(archive=archive.key, at_ms=at_ms, event=encoded)
                for archive in self._archives_of(bus)
                if archive.pattern is None or archive.pattern.matches(event)
            ]
        return deliveries, archived

    def _rules_of(self, bus: Bus) -> Rules:
        place = (bus.account_id, bus.region)
        by_bus = self._rules.get(place)
        if by_bus is None:
            by_bus = self._rules[place] = {}
            for document in self._catalog.documents(RULES, *place).values():
                rule = _rule(Bus(*place, document["EventBusName"]), document)
                if rule is not None:
                    by_bus.setdefault(document["EventBusName"], Rules()).add(rule)
        return by_bus.get(bus.name) or Rules()

    def _archives_of(self, bus: Bus) -> Sequence[Archive]:
        place = (bus.account_id, bus.region)
        by_bus = self._archives.get(place)
        if by_bus is None:
            by_bus = self._archives[place] = {}
            for document in self._catalog.documents(ARCHIVES, *place).values():
                source = document.get("EventPattern")
                archive = Archive(key=document["Key"], pattern=compile_pattern(source) if source else None)
                by_bus.setdefault(document["EventSourceArn"], []).append(archive)
        return by_bus.get(bus.arn, ())


def _rule(bus: Bus, document: Mapping[str, Any]) -> Rule | None:
    """None for what no event can match: disabled, without a pattern or without targets."""
    source = document.get("EventPattern")
    if not source or document["State"] == "DISABLED" or not document.get("Targets"):
        return None
    try:
        pattern = compile_pattern(source)
    except PatternError as error:  # accepted by an older version
        log.error("the pattern of %s is not understood and matches nothing; put it anew: %s", document["Name"], error)
        return None
    return Rule(document=document, arn=bus.rule_arn(document["Name"]), pattern=pattern)


def to_targets(bus: Bus, rule: Mapping[str, Any], matched: Matched, came: Came) -> list[NewDelivery]:
    """What a rule owes to each of its targets because of an event."""
    found = []
    for target in rule.get("Targets", {}).values():
        more: dict[str, Any] = {"event_id": matched.event["id"], "hops": came.hops}
        if came.trace_header:
            more["trace_header"] = came.trace_header
        if (parameters := target.get("KinesisParameters")) is not None:
            more["partition_key"] = _partition_key(parameters["PartitionKeyPath"], matched.event)
        if (http := target.get("HttpParameters")) is not None:
            target = {**target, "HttpParameters": http_parameters(http, matched.event)}
        is_bus = ":event-bus/" in target["Arn"]
        found.append(
            owed(
                kind="rule", owner=matched.rule_arn, account_id=bus.account_id, region=bus.region, target=target,
                body=matched.encoded if is_bus else rendered(target, matched), more=more,
            )
        )  # fmt: skip
    return found


def _partition_key(path: str, event: Mapping[str, Any]) -> str | None:
    try:
        value = find(path, event)
    except PathError:
        return None
    if value is MISSING:
        return None
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def http_parameters(parameters: Mapping[str, Any], event: Mapping[str, Any]) -> dict[str, Any]:
    """The same with paths (`$.detail.id`) replaced by what is there."""

    def filled(value: str) -> str:
        if not value.startswith("$."):
            return value
        return _partition_key(value, event) or ""

    return {
        "PathParameterValues": [filled(value) for value in parameters.get("PathParameterValues") or ()],
        "HeaderParameters": {k: filled(v) for k, v in (parameters.get("HeaderParameters") or {}).items()},
        "QueryStringParameters": {k: filled(v) for k, v in (parameters.get("QueryStringParameters") or {}).items()},
    }

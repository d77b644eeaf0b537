"""A bucket's notification configuration: its members checked and completed, and which rules an event matches. Pure.

EVENTS = https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-how-to-event-types-and-destinations.html
FILTERS = https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-how-to-filtering.html
"""

from __future__ import annotations

import base64
import itertools
import urllib.parse
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

import attrs

from lambent.model.errors import AwsError

Members = dict[str, Any]
Kind = Literal["lambda", "sqs", "sns"]

EVENT_TYPES: Final = frozenset(
    f"s3:{name}"
    for name in (
        "ObjectCreated:*", "ObjectCreated:Put", "ObjectCreated:Post", "ObjectCreated:Copy",
        "ObjectCreated:CompleteMultipartUpload", "ObjectRemoved:*", "ObjectRemoved:Delete",
        "ObjectRemoved:DeleteMarkerCreated", "ObjectRestore:*", "ObjectRestore:Post", "ObjectRestore:Completed",
        "ObjectRestore:Delete", "ObjectTagging:*", "ObjectTagging:Put", "ObjectTagging:Delete", "ObjectAcl:Put",
        "ReducedRedundancyLostObject", "Replication:*", "Replication:OperationFailedReplication",
        "Replication:OperationMissedThreshold", "Replication:OperationReplicatedAfterThreshold",
        "Replication:OperationNotTracked", "LifecycleExpiration:*", "LifecycleExpiration:Delete",
        "LifecycleExpiration:DeleteMarkerCreated", "LifecycleTransition", "IntelligentTiering",
    )
)  # fmt: skip
FILTER_VALUE_BYTES: Final = 1024  # FILTERS
ID_CHARACTERS: Final = 255  # ours to check; AWS's console says it

# In AWS's order of looking: list, its member with the ARN, the ARN's service, the name in errors.
LISTS: Final[tuple[tuple[str, str, Kind, str], ...]] = (
    ("LambdaFunctionConfigurations", "LambdaFunctionArn", "lambda", "CloudFunction"),
    ("QueueConfigurations", "QueueArn", "sqs", "Queue"),
    ("TopicConfigurations", "TopicArn", "sns", "Topic"),
)


@attrs.frozen(kw_only=True)
class Rule:
    """Which events of which keys go where."""

    id: str
    kind: Kind
    arn: str
    events: tuple[str, ...]  # "s3:ObjectCreated:*"
    prefix: str = ""
    suffix: str = ""

    def matches(self, event_name: str, key: str) -> bool:
        """`event_name` without "s3:", as records have it."""
        if not key.startswith(self.prefix) or not key.endswith(self.suffix):
            return False
        return any(_covers(wanted, f"s3:{event_name}") for wanted in self.events)


def completed(members: Members, region: str) -> Members:
    """The configuration as it is kept and given back. Raises AwsError InvalidArgument."""
    kept: Members = {}
    for name, arn_name, kind, said in LISTS:
        entries = [_entry(entry, arn_name, kind, said, region) for entry in members.get(name) or ()]
        if entries:
            kept[name] = entries
    if members.get("EventBridgeConfiguration") is not None:
        kept["EventBridgeConfiguration"] = {}
    rules = list(rules_of(kept))
    if len({rule.id for rule in rules}) < len(rules):
        raise invalid("Same ID used for multiple configurations. IDs must be unique")
    for one, other in itertools.combinations(rules, 2):
        _check_overlap(one, other)
    return kept


def rules_of(kept: Mapping[str, Any]) -> Iterator[Rule]:
    """Of a configuration that `completed` made."""
    for name, arn_name, kind, _ in LISTS:
        for entry in kept.get(name) or ():
            filters = ((entry.get("Filter") or {}).get("Key") or {}).get("FilterRules") or ()
            # FILTERS: a space is written `+`, other special characters are percent-encoded.
            values = {rule["Name"].lower(): urllib.parse.unquote_plus(rule.get("Value", "")) for rule in filters}
            yield Rule(id=entry["Id"], kind=kind, arn=entry[arn_name], events=tuple(entry["Events"]), **values)


def invalid(message: str, **fields: Any) -> AwsError:
    return AwsError("InvalidArgument", message, 400, fields)


def _entry(entry: Members, arn_name: str, kind: Kind, said: str, region: str) -> Members:
    arn = entry[arn_name]
    parts = arn.split(":")
    if len(parts) < 6 or parts[0] != "arn" or parts[2] != kind:
        raise invalid("The ARN could not be parsed", ArgumentName=said, ArgumentValue=arn)
    if parts[3] != region:
        raise invalid("The notification destination service region is not valid for the bucket location constraint")
    if kind in ("sqs", "sns") and arn.endswith(".fifo"):
        raise invalid(f"FIFO {'queues' if kind == 'sqs' else 'topics'} are not supported as destinations: {arn}")
    for event in entry["Events"]:
        if event not in EVENT_TYPES:
            message = "A specified event is not supported for notifications."
            raise invalid(message, ArgumentName="Event", ArgumentValue=event)
    given_id = entry.get("Id") or base64.b64encode(uuid.uuid4().hex.encode()).decode()
    if len(given_id) > ID_CHARACTERS:
        raise invalid(f"The ID of a notification configuration cannot be longer than {ID_CHARACTERS} characters.")
    kept: Members = {"Id": given_id, arn_name: arn, "Events": list(entry["Events"])}
    if filters := ((entry.get("Filter") or {}).get("Key") or {}).get("FilterRules"):
        kept["Filter"] = {"Key": {"FilterRules": [_filter(rule) for rule in filters]}}
        names = [rule["Name"] for rule in kept["Filter"]["Key"]["FilterRules"]]
        for name in ("Prefix", "Suffix"):
            if names.count(name) > 1:
                raise invalid(f"Cannot specify more than one {name.lower()} rule in a filter.")
    return kept


def _filter(rule: Members) -> Members:
    name, value = rule.get("Name") or "", rule.get("Value") or ""
    if name.lower() not in ("prefix", "suffix"):
        message = "filter rule name must be either prefix or suffix"
        raise invalid(message, ArgumentName="FilterRule.Name", ArgumentValue=name)
    if len(value.encode()) > FILTER_VALUE_BYTES:
        raise invalid(f"Size of filter rule value cannot exceed {FILTER_VALUE_BYTES} bytes in UTF-8 representation")
    return {"Name": name.capitalize(), "Value": value}


def _check_overlap(one: Rule, other: Rule) -> None:
    """An event of a key goes to one rule at most. Raises AwsError."""
    if not any(_covers(a, b) or _covers(b, a) for a in one.events for b in other.events):
        return
    if not (one.prefix.startswith(other.prefix) or other.prefix.startswith(one.prefix)):
        return
    if not (one.suffix.endswith(other.suffix) or other.suffix.endswith(one.suffix)):
        return
    if one.prefix or one.suffix or other.prefix or other.suffix:
        raise invalid(
            "Configuration is ambiguously defined. Cannot have overlapping suffixes in two rules if the prefixes are "
            "overlapping for the same event type."
        )
    raise invalid("Configurations overlap. Configurations on the same bucket cannot share a common event type.")


def _covers(wanted: str, event: str) -> bool:
    return wanted == event or (wanted.endswith(":*") and event.startswith(wanted[:-1]))

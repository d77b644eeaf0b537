"""Buses, rules and their ARNs; pages of lists."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import attrs

from lambent.model.request import RequestContext
from lambent.services.events.errors import no_bus, validation

T = TypeVar("T")

DEFAULT_BUS: Final = "default"
PAGE_MAX: Final = 100  # Limit of every list
_BUS_ARN: Final = re.compile(r"arn:aws[\w-]*:events:([a-z0-9-]+):([0-9]{12}):event-bus/(.+)")


@attrs.frozen
class Bus:
    account_id: str
    region: str
    name: str

    @property
    def arn(self) -> str:
        return f"arn:aws:events:{self.region}:{self.account_id}:event-bus/{self.name}"

    def rule_arn(self, rule: str) -> str:
        inside = rule if self.name == DEFAULT_BUS else f"{self.name}/{rule}"
        return f"arn:aws:events:{self.region}:{self.account_id}:rule/{inside}"

    def key(self, rule: str) -> str:
        """The name of a rule's document."""
        return f"{self.name}/{rule}"


def bus_named(context: RequestContext, name: str | None) -> Bus:
    """By name or ARN; None is the default one of the caller."""
    found = bus_of_arn(name) if name and name.startswith("arn:") else None
    return found or Bus(context.account_id, context.region, name or DEFAULT_BUS)


def own_bus(context: RequestContext, name: str | None) -> Bus:
    """The same for what only the owner may do. Raises AwsError ResourceNotFoundException for another account's."""
    bus = bus_named(context, name)
    if bus.account_id != context.account_id:
        raise no_bus(bus.name)
    return bus


def bus_of_arn(arn: str) -> Bus | None:
    found = _BUS_ARN.fullmatch(arn)
    return Bus(found[2], found[1], found[3]) if found is not None else None


def rule_of_arn(arn: str) -> tuple[Bus, str] | None:
    """The bus and the rule's name that a rule's ARN names."""
    parts = arn.split(":", 5)
    if len(parts) != 6 or parts[2] != "events" or not parts[5].startswith("rule/"):
        return None
    bus, _, rule = parts[5].removeprefix("rule/").rpartition("/")
    return Bus(parts[4], parts[3], bus or DEFAULT_BUS), rule


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def in_zulu(seconds: float) -> str:
    """2026-11-21T08:00:00Z: how events tell their time."""
    return moment(int(seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def present(members: Mapping[str, Any]) -> dict[str, Any]:
    """Without those that are None."""
    return {name: value for name, value in members.items() if value is not None}


def page(
    items: Sequence[T], key: Callable[[T], str], members: Mapping[str, Any], largest: int = PAGE_MAX
) -> tuple[list[T], dict[str, str]]:
    """The items behind the request's `NextToken`, and the member `NextToken` where more follow.

    `items` are in the order of `key`. Raises AwsError ValidationException.
    """
    token = members.get("NextToken")
    if token:
        try:
            after = base64.b64decode(token, altchars=b"-_", validate=True).decode()
        except (binascii.Error, ValueError) as error:
            raise validation("Parameter NextToken is not valid.") from error
        items = [item for item in items if key(item) > after]
    limit = members.get("Limit") or members.get("MaxResults") or largest
    chosen = list(items[:limit])
    if len(items) <= limit:
        return chosen, {}
    return chosen, {"NextToken": base64.urlsafe_b64encode(key(chosen[-1]).encode()).decode()}

"""Filter policies: which messages a subscription wants.

They are event patterns. Their limits: https://docs.aws.amazon.com/sns/latest/dg/subscription-filter-policy-constraints.html
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final

from lambent.model.event_pattern import EventPattern, PatternError, compile_pattern
from lambent.services.sns.errors import Wrong

BODY: Final = "MessageBody"
ATTRIBUTES: Final = "MessageAttributes"
KEYS_MAX: Final = 5
COMBINATIONS_MAX: Final = 150
NUMBER_MAX: Final = 1e9
SIZE_MAX_BYTES: Final = 262_144
_SOURCE: Final = re.compile(r"\[Source: \(String\).*; line: (\d+), column: (\d+)\]", re.DOTALL)


def check_scope(value: str) -> None:
    """Raises Wrong."""
    if value not in (BODY, ATTRIBUTES):
        raise Wrong(f"FilterPolicyScope: Invalid value [{value}]. Please use either MessageBody or MessageAttributes")


def check(text: str, scope: str) -> None:
    """Raises Wrong, in AWS's words."""
    if len(text.encode("utf-8", "surrogatepass")) > SIZE_MAX_BYTES:
        raise Wrong("FilterPolicy: Filter policy is too large")
    policy = _parsed(text)
    if policy == {}:
        return
    if scope == ATTRIBUTES and _is_nested(policy):
        raise Wrong("Filter policy scope MessageAttributes does not support nested filter policy")
    try:
        pattern = compile_pattern(text, NUMBER_MAX)
    except PatternError as error:
        raise Wrong(f"FilterPolicy: {error}") from None
    except RecursionError:
        raise Wrong("FilterPolicy: Filter policy is too complex") from None
    if len({path for branch in pattern.branches for path in branch}) > KEYS_MAX:
        raise Wrong(f"FilterPolicy: Filter policy can not have more than {KEYS_MAX} keys")
    if _combinations(pattern, scope) > COMBINATIONS_MAX:
        raise Wrong("FilterPolicy: Filter policy is too complex")


def wants(text: str | None, scope: str, message: str, attributes: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a message passes a policy that was checked; everything passes none."""
    if not text:
        return True
    pattern = _compiled(text)
    if pattern is None:
        return True
    if scope == ATTRIBUTES:
        return pattern.matches(_event_of(attributes))
    try:
        body = json.loads(message)
    except (ValueError, RecursionError):
        return False
    return isinstance(body, dict) and pattern.matches(body)


@functools.lru_cache(maxsize=4096)
def _compiled(text: str) -> EventPattern | None:
    """None for the empty policy, which wants everything."""
    return None if json.loads(text) == {} else compile_pattern(text)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        compile_pattern(text)
    except PatternError as error:
        words = _SOURCE.sub(
            r"[Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: \1, column: \2]",
            str(error),
        )
        raise Wrong(f"FilterPolicy: failed to parse JSON. {words}") from None
    except RecursionError:
        pass
    raise Wrong("FilterPolicy: failed to parse JSON.")


def _is_nested(policy: Any) -> bool:
    if not isinstance(policy, dict):
        return False
    for name, value in policy.items():
        if name == "$or" and isinstance(value, list):
            if any(_is_nested(each) for each in value):
                return True
        elif isinstance(value, dict):
            return True
    return False


def _combinations(pattern: EventPattern, scope: str) -> int:
    """The product of how many values each key has, for a body's times how deep it lies; of `$or` the sum of its ways."""
    total = 0
    for branch in pattern.branches:
        total += math.prod(
            (len(field.tests) + field.may_be_absent + field.may_be_anything)
            * (path.count(".") + 1 if scope == BODY else 1)
            for path, field in branch.items()
        )
    return total


def _event_of(attributes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Message attributes as patterns see them: binary ones not at all."""
    event: dict[str, Any] = {}
    for name, attribute in attributes.items():
        data_type, text = attribute["DataType"], attribute.get("StringValue")
        if text is None:
            continue
        if data_type == "String.Array":
            event[name] = _array(text)
        elif data_type.partition(".")[0] == "Number":
            event[name] = _number(text)
        else:
            event[name] = text
    return event


def _array(text: str) -> Any:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return values if isinstance(values, list) else text


def _number(text: str) -> Any:
    try:
        return int(text)
    except ValueError:
        return float(text)

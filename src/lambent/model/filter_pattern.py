"""Whether an event filter is one: the JSON patterns of event source mappings' filter criteria.

    {"body": {"status": ["paid", {"prefix": "re"}], "total": [{"numeric": [">", 10, "<=", 20]}]}}

Source of the rules: https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html, "Filter rule syntax"
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from lambent.model.errors import AwsError, invalid_parameter

FILTERS_MAX: Final = (
    5  # of a mapping; https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html, "basics"
)
DEPTH_MAX: Final = 100  # ours: deeper than any event is filtered
_COMPARISONS: Final = frozenset({"<", "<=", ">", ">=", "="})


def check_pattern(text: str) -> None:
    """Raises AwsError InvalidParameterValueException for what is no pattern."""
    try:
        pattern = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        raise _invalid() from None
    if not isinstance(pattern, dict) or not _is_pattern(pattern, 0):
        raise _invalid()


def _invalid() -> AwsError:
    return invalid_parameter("Invalid filter pattern definition.")


def _is_pattern(pattern: Mapping[str, Any], depth: int) -> bool:
    if not pattern or depth > DEPTH_MAX:
        return False
    for key, value in pattern.items():
        if key == "$or" and isinstance(value, list) and any(isinstance(item, dict) for item in value):
            if len(value) < 2 or not all(isinstance(item, dict) and _is_pattern(item, depth + 1) for item in value):
                return False
        elif isinstance(value, dict):
            if not _is_pattern(value, depth + 1):
                return False
        elif not isinstance(value, list) or not value or not all(_is_match(item) for item in value):
            return False
    return True


def _is_match(item: Any) -> bool:
    """One of the alternatives for a field: a literal, or an object of one operator."""
    if isinstance(item, dict):
        if len(item) != 1:
            return False
        ((operator, operand),) = item.items()
        check = _OPERATORS.get(operator)
        return check is not None and check(operand)
    return not isinstance(item, list)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_text_or_ignoring_case(value: Any) -> bool:
    return _is_text(value) or (
        isinstance(value, dict) and list(value) == ["equals-ignore-case"] and _is_text(value["equals-ignore-case"])
    )


def _is_texts(value: Any) -> bool:
    return _is_text(value) or (isinstance(value, list) and bool(value) and all(map(_is_text, value)))


def _is_excluded(value: Any) -> bool:
    """What `anything-but` takes: literals of one kind, or one of a few operators."""
    if isinstance(value, dict):
        ((operator, operand),) = value.items() if len(value) == 1 else (("", None),)
        return operator in ("prefix", "suffix", "equals-ignore-case", "wildcard") and _is_texts(operand)
    return (
        _is_number(value)
        or _is_texts(value)
        or (isinstance(value, list) and bool(value) and all(map(_is_number, value)))
    )


def _is_range(value: Any) -> bool:
    """`["=", 1]` or `[">", 0, "<=", 5]`: lower bound first."""
    if not isinstance(value, list) or len(value) not in (2, 4) or not all(map(_is_number, value[1::2])):
        return False
    signs = value[0::2]
    if not all(isinstance(sign, str) and sign in _COMPARISONS for sign in signs):
        return False
    return len(signs) == 1 or (signs[0] in (">", ">=") and signs[1] in ("<", "<=") and value[1] < value[3])


_OPERATORS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "prefix": _is_text_or_ignoring_case,
    "suffix": _is_text_or_ignoring_case,
    "equals-ignore-case": _is_text,
    "wildcard": _is_text,
    "cidr": _is_text,
    "exists": lambda value: isinstance(value, bool),
    "numeric": _is_range,
    "anything-but": _is_excluded,
}

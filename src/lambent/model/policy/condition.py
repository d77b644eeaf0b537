"""The Condition element: every operator, `...IfExists`, `ForAllValues:` and `ForAnyValue:`.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html
"""

from __future__ import annotations

import base64
import binascii
import datetime
import enum
import ipaddress
import operator
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import attrs

from lambent.model.policy.pattern import Context, Pattern, Reach, compile_pattern

_YEAR: Final = re.compile(r"(\d{4})(?:-(\d{2}))?")
_EPOCH: Final = re.compile(r"-?\d{5,15}(?:\.\d+)?")


class Quantifier(enum.Enum):
    """How a key with several values is compared."""

    ALL = "ForAllValues"
    ANY = "ForAnyValue"


Match = Callable[[str, Context], bool | None]
"""Compares one value of the request with one of the policy; None when the policy's has a variable without a value."""


@attrs.frozen
class Condition:
    """One key of one operator. All of a statement's conditions must hold."""

    key: str  # lower case
    matches: tuple[Match, ...]  # one for each value of the policy: any of them will do
    is_negated: bool
    if_exists: bool
    quantifier: Quantifier | None
    variables: frozenset[str]  # keys that the policy's values read
    wants_absent: frozenset[bool] | None = None  # of `Null` alone

    def holds(self, context: Context, *, unknown: bool) -> bool:
        """`unknown` is the answer where a negated comparison meets a variable that has no value."""
        values = context.get(self.key, ())
        if self.wants_absent is not None:
            return (not values) in self.wants_absent
        if not values:
            return self._holds_without_value()
        if self.quantifier is Quantifier.ALL:
            return all(self._compare(value, context, unknown) for value in values)
        if self.quantifier is Quantifier.ANY or not self.is_negated:
            return any(self._compare(value, context, unknown) for value in values)
        return all(self._compare(value, context, unknown) for value in values)

    def _holds_without_value(self) -> bool:
        if self.if_exists or self.quantifier is Quantifier.ALL:
            return True
        return self.is_negated and self.quantifier is None

    def _compare(self, value: str, context: Context, unknown: bool) -> bool:
        is_unknown = False
        for match in self.matches:
            outcome = match(value, context)
            if outcome:
                return not self.is_negated
            is_unknown = is_unknown or outcome is None
        return self.is_negated and (unknown or not is_unknown)


def compile_condition(name: str, key: str, values: list[str], *, variables: bool) -> Condition:
    """Raises ValueError for an operator that does not exist, and for a value that it cannot compare with."""
    prefix, colon, rest = name.rpartition(":")
    quantifier = Quantifier(prefix) if colon else None
    if_exists = rest.endswith("IfExists")
    base = rest.removesuffix("IfExists")
    if base == "Null":
        if quantifier is not None or if_exists:
            raise ValueError(f"{name} is no condition operator")
        return Condition(key.lower(), (), False, False, None, frozenset(), frozenset(map(_truth, values)))
    if base not in _OPERATORS:
        raise ValueError(f"{name} is no condition operator")
    compile_value, is_negated = _OPERATORS[base]
    compiled = [compile_value(value, variables) for value in values]
    used = frozenset(key for one in compiled if isinstance(one, _PatternMatch) for key in one.pattern.keys)
    return Condition(key.lower(), tuple(compiled), is_negated, if_exists, quantifier, used)


@attrs.frozen
class _PatternMatch:
    pattern: Pattern

    def __call__(self, value: str, context: Context) -> bool | None:
        return self.pattern.matches(value, context)


def _text(*, wildcards: bool = False, folds_case: bool = False) -> Callable[[str, bool], Match]:
    def compile_value(text: str, variables: bool) -> Match:
        return _PatternMatch(compile_pattern(text, wildcards=wildcards, variables=variables, folds_case=folds_case))

    return compile_value


def _arn(text: str, variables: bool) -> Match:
    return _PatternMatch(compile_pattern(text, Reach.ARN, variables=variables))


def _ordered(read: Callable[[str], Any], compare: Callable[[Any, Any], bool]) -> Callable[[str, bool], Match]:
    """Numbers and dates: what the request has is compared with what the policy says."""

    def compile_value(text: str, variables: bool) -> Match:
        wanted = read(text)

        def match(value: str, context: Context) -> bool:
            try:
                return compare(read(value), wanted)
            except ValueError:
                return False

        return match

    return compile_value


def _number(text: str) -> Decimal:
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        raise ValueError(f"{text} is no number") from None
    if not number.is_finite():
        raise ValueError(f"{text} is no number")
    return number


def moment_of(text: str) -> float:
    """Seconds since the epoch, of a W3C date (`2026-11-21T09:00:00Z`, `2026-11`) or of such seconds. Raises ValueError."""
    if _EPOCH.fullmatch(text):
        return float(text)
    short = _YEAR.fullmatch(text)
    if short is not None:
        return datetime.datetime(int(short[1]), int(short[2] or 1), 1, tzinfo=datetime.UTC).timestamp()
    moment = datetime.datetime.fromisoformat(text)
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=datetime.UTC)).timestamp()


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(f"{text} is neither true nor false")
    return text.lower() == "true"


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"{text} is not Base64") from error


def _address(text: str, variables: bool) -> Match:
    network = ipaddress.ip_network(text, strict=False)

    def match(value: str, context: Context) -> bool:
        try:
            return ipaddress.ip_address(value) in network
        except ValueError:
            return False

    return match


_OPERATORS: Final[dict[str, tuple[Callable[[str, bool], Match], bool]]] = {
    "StringEquals": (_text(), False),
    "StringNotEquals": (_text(), True),
    "StringEqualsIgnoreCase": (_text(folds_case=True), False),
    "StringNotEqualsIgnoreCase": (_text(folds_case=True), True),
    "StringLike": (_text(wildcards=True), False),
    "StringNotLike": (_text(wildcards=True), True),
    "NumericEquals": (_ordered(_number, operator.eq), False),
    "NumericNotEquals": (_ordered(_number, operator.eq), True),
    "NumericLessThan": (_ordered(_number, operator.lt), False),
    "NumericLessThanEquals": (_ordered(_number, operator.le), False),
    "NumericGreaterThan": (_ordered(_number, operator.gt), False),
    "NumericGreaterThanEquals": (_ordered(_number, operator.ge), False),
    "DateEquals": (_ordered(moment_of, operator.eq), False),
    "DateNotEquals": (_ordered(moment_of, operator.eq), True),
    "DateLessThan": (_ordered(moment_of, operator.lt), False),
    "DateLessThanEquals": (_ordered(moment_of, operator.le), False),
    "DateGreaterThan": (_ordered(moment_of, operator.gt), False),
    "DateGreaterThanEquals": (_ordered(moment_of, operator.ge), False),
    "Bool": (_ordered(_truth, operator.eq), False),
    "BinaryEquals": (_ordered(_bytes, operator.eq), False),
    "IpAddress": (_address, False),
    "NotIpAddress": (_address, True),
    "ArnEquals": (_arn, False),
    "ArnLike": (_arn, False),
    "ArnNotEquals": (_arn, True),
    "ArnNotLike": (_arn, True),
}

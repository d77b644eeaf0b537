"""What one alternative of a field's pattern says about one value of an event.

Values are leaves of JSON: strings, numbers, booleans, None. Rules:
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any, Final

import attrs

Test = Callable[[Any], bool]

REPEATED_AFTER_WILDCARD_MAX: Final = 4  # ours: AWS does not say where too complex begins


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def equals(literal: Any) -> Test:
    if is_number(literal):
        return lambda value: is_number(value) and value == literal
    if isinstance(literal, str):
        return lambda value: isinstance(value, str) and value == literal
    return lambda value: value is literal  # true, false, null


def starts_with(prefix: str, ignore_case: bool = False) -> Test:
    if ignore_case:
        folded = prefix.lower()
        return lambda value: isinstance(value, str) and value.lower().startswith(folded)
    return lambda value: isinstance(value, str) and value.startswith(prefix)


def ends_with(suffix: str, ignore_case: bool = False) -> Test:
    if ignore_case:
        folded = suffix.lower()
        return lambda value: isinstance(value, str) and value.lower().endswith(folded)
    return lambda value: isinstance(value, str) and value.endswith(suffix)


def equals_ignoring_case(text: str) -> Test:
    folded = text.lower()
    return lambda value: isinstance(value, str) and value.lower() == folded


def anything_but(excluded: list[Test]) -> Test:
    """True for every value that is there and that none of the tests knows."""
    if len(excluded) == 1:
        (one,) = excluded
        return lambda value: not one(value)
    return lambda value: not any(test(value) for test in excluded)


@attrs.frozen
class Bound:
    """One end of a numeric range."""

    number: float
    is_open: bool  # the number itself is not in the range


def in_range(bottom: Bound | None, top: Bound | None) -> Test:
    def test(value: Any) -> bool:
        if not is_number(value):
            return False
        if bottom is not None and (value < bottom.number or (bottom.is_open and value == bottom.number)):
            return False
        return top is None or not (value > top.number or (top.is_open and value == top.number))

    return test


def in_block(cidr: str) -> Test:
    """From the address that is written to the last of its block. Raises ValueError with AWS's words."""
    parts = cidr.split("/")
    if len(parts) != 2:
        raise ValueError("Malformed CIDR, one '/' required")
    try:
        bits = int(parts[1])
    except ValueError:
        raise ValueError("Malformed CIDR, mask bits must be an integer") from None
    if bits < 0:
        raise ValueError("Malformed CIDR, mask bits must not be negative")
    first = _address(parts[0])
    if first is None:
        raise ValueError(f"Nonstandard IP address: {parts[0]}")
    if bits >= first.max_prefixlen:
        raise ValueError(f"IPv{first.version} mask bits must be < {first.max_prefixlen}")
    last = int(first) | ((1 << (first.max_prefixlen - bits)) - 1)

    def test(value: Any) -> bool:
        address = _address(value) if isinstance(value, str) else None
        return address is not None and address.version == first.version and int(first) <= int(address) <= last

    return test


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def wildcard(pattern: str) -> Test:
    """`*` is any number of characters, `\\*` and `\\\\` are themselves. Raises ValueError with AWS's words."""
    pieces = _pieces(pattern)
    if len(pieces) == 1:
        return equals(pieces[0])
    starts = [piece[0] for piece in pieces[1:] if piece]
    if any(starts.count(character) > REPEATED_AFTER_WILDCARD_MAX for character in set(starts)):
        raise TooComplex(
            "Rule is too complex - try using fewer wildcard characters or fewer repeating character sequences after a "
            "wildcard character"
        )
    first, *middle, last = pieces
    least = sum(map(len, pieces))

    def test(value: Any) -> bool:
        if not isinstance(value, str) or len(value) < least:
            return False
        if not value.startswith(first) or not value.endswith(last):
            return False
        at, end = len(first), len(value) - len(last)
        for piece in middle:
            at = value.find(piece, at, end)
            if at < 0:
                return False
            at += len(piece)
        return True

    return test


class TooComplex(ValueError):
    """AWS says this without a place."""


def _pieces(pattern: str) -> list[str]:
    """The literal texts between the asterisks. Positions in errors count UTF-8's bytes, with the opening quote."""
    pieces: list[str] = []
    current: list[str] = []
    index = 0
    while index < len(pattern):
        character = pattern[index]
        following = pattern[index + 1] if index + 1 < len(pattern) else ""
        if character == "*":
            if following == "*":
                raise ValueError(f"Consecutive wildcard characters at pos {_position(pattern, index)}")
            pieces.append("".join(current))
            current = []
        elif character == "\\":
            if following not in ("*", "\\"):
                raise ValueError(f"Invalid escape character at pos {_position(pattern, index)}")
            current.append(following)
            index += 1
        else:
            current.append(character)
        index += 1
    return [*pieces, "".join(current)]


def _position(pattern: str, index: int) -> int:
    return 1 + len(pattern[:index].encode("utf-8", "surrogatepass"))

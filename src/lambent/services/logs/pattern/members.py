"""Patterns for JSON: `{ $.a.b = "x*" && ($.c[0] > 3 || $.d IS NULL) }`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from lambent.services.logs.pattern.scanning import Match, Scanner, invalid, invalid_characters, take_any

Condition = Callable[[object], bool]
Step = str | int | None  # a member, an index, every element

_MEMBER: Final = re.compile(r"\.?\['((?:[^'\\]|\\.)*)'\]|\.([\w\-@/]+)")
_INDEX: Final = re.compile(r"\[(?:(\d{1,9})|(\*))\]")
_BARE: Final = re.compile(r"[\w\-.*@/:+#]+")
_IS: Final = re.compile(r"IS\s+(NOT\s+)?(NULL|TRUE|FALSE)\b")
_EXISTS: Final = re.compile(r"(NOT\s+)?EXISTS\b")
_NOTHING: Final = object()  # the member is not there

_decode = msgspec.json.Decoder().decode
_CONSTANTS: Final = {"NULL": None, "TRUE": True, "FALSE": False}


def compile_members(text: str) -> Match:
    """Raises AwsError InvalidParameterException."""
    scanner = Scanner(text)
    condition = take_any(scanner, lambda: _take_condition(scanner))
    scanner.skip_space()
    if not scanner.at_end:
        raise invalid()

    def matches(message: str) -> bool:
        if "{" not in message and "[" not in message:
            return False
        try:
            return condition(_decode(message.strip()))
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return False

    return matches


def _take_condition(scanner: Scanner) -> Condition:
    steps = _take_selector(scanner)
    scanner.skip_space()
    constant = scanner.take(_IS)
    if constant is not None:
        expected, wanted = _CONSTANTS[constant[2]], not constant[1]
        return lambda subject: _is_constant(_select(subject, steps), expected, wanted)
    exists = scanner.take(_EXISTS)
    if exists is not None:
        expected_there = not exists[1]
        return lambda subject: any(value is not _NOTHING for value in _select(subject, steps)) == expected_there
    compare = scanner.take_comparison(_BARE)
    return lambda subject: any(
        compare(value) for value in _select(subject, steps) if isinstance(value, str | int | float)
    )


def _is_constant(values: Sequence[Any], expected: bool | None, wanted: bool) -> bool:
    return any((value is expected) == wanted for value in values if value is not _NOTHING)


def _take_selector(scanner: Scanner) -> tuple[Step, ...]:
    scanner.skip_space()
    start = scanner.position
    if not scanner.take_text("$"):
        raise invalid()
    steps: list[Step] = []
    while True:
        member = scanner.take(_MEMBER)
        if member is not None:
            steps.append(member[1] if member[1] is not None else member[2])
            continue
        index = scanner.take(_INDEX)
        if index is None:
            break
        steps.append(int(index[1]) if index[1] else None)
    if not steps:
        rest = scanner.text[start : start + 3]
        raise invalid_characters(rest) if rest.startswith('$."') else invalid()
    return tuple(steps)


def selected(subject: object, scanner: Scanner) -> list[Any]:
    """Every value that the selector in the scanner reaches. Raises AwsError InvalidParameterException."""
    return [value for value in _select(subject, _take_selector(scanner)) if value is not _NOTHING]


def _select(subject: object, steps: Sequence[Step]) -> list[Any]:
    """Every value that the selector reaches; `_NOTHING` alone when it reaches none."""
    found: list[Any] = [subject]
    for step in steps:
        found = [inner for value in found for inner in _inside(value, step)]
    return found or [_NOTHING]


def _inside(value: object, step: Step) -> list[Any]:
    if isinstance(step, str):
        return [value[step]] if isinstance(value, dict) and step in value else []
    if not isinstance(value, list):
        return []
    if step is None:
        return value
    return [value[step]] if step < len(value) else []

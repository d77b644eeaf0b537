"""Patterns for text in columns: `[ip, user, ..., status = 4*, bytes > 1000]`.

Fields need no names: `[ip,,]` has two without, and `[]` as many as a line has.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from lambent.services.logs.pattern.scanning import Match, Scanner, invalid, take_any

Condition = Callable[[object], bool]

_NAME: Final = re.compile(r"\w+")
_BARE: Final = re.compile(r'(?:(?!&&|\|\|)[^\s,()"%=<>])+')
# A field of a line: "…" and […] hold spaces.
_COLUMN: Final = re.compile(r'"((?:[^"\\]|\\.)*)"|\[([^\]]*)\]|(\S+)')


def compile_fields(text: str) -> Match:
    """Raises AwsError InvalidParameterException."""
    scanner = Scanner(text)
    fields: list[Condition | None] = []  # None: the ellipsis
    while True:
        scanner.skip_space()
        fields.append(None if scanner.take_text("...") or not text.strip() else _take_field(scanner))
        scanner.skip_space()
        if scanner.at_end:
            break
        if not scanner.take_text(","):
            raise invalid()
    if fields.count(None) > 1:
        raise invalid()
    return _matching(fields)


def _take_field(scanner: Scanner) -> Condition:
    """A name, conditions on one name, or nothing."""
    names: set[str] = set()

    def take_condition() -> Condition:
        scanner.skip_space()
        name = scanner.take(_NAME)
        if name is None:
            raise invalid()
        names.add(name[0])
        compare = scanner.take_comparison(_BARE)
        return lambda value: isinstance(value, str) and compare(value)

    start = scanner.position
    scanner.take(_NAME)
    scanner.skip_space()
    if scanner.at_end or scanner.text.startswith(",", scanner.position):
        return lambda value: True
    scanner.position = start
    condition = take_any(scanner, take_condition)
    if len(names) != 1:  # conditions on two fields belong to two places
        raise invalid()
    return condition


def _matching(fields: Sequence[Condition | None]) -> Match:
    if None not in fields:
        conditions = [field for field in fields if field is not None]
        return lambda message: _match_all(conditions, message)
    gap = fields.index(None)
    head = [field for field in fields[:gap] if field is not None]
    tail = [field for field in fields[gap + 1 :] if field is not None]
    return lambda message: _match_ends(head, tail, message)


def _match_all(conditions: Sequence[Condition], message: str) -> bool:
    """The last field takes what is left of the line."""
    position = 0
    for index, condition in enumerate(conditions):
        column = _next_column(message, position)
        if column is None:
            return False
        value, end = column
        if index == len(conditions) - 1 and message[end:].strip():
            value = message[position:].strip()
        if not condition(value):
            return False
        position = end
    return True


def _match_ends(head: Sequence[Condition], tail: Sequence[Condition], message: str) -> bool:
    columns = [_value(found) for found in _COLUMN.finditer(message)]
    if len(columns) < len(head) + len(tail):
        return False
    ends = columns[: len(head)] + (columns[-len(tail) :] if tail else [])
    return all(condition(value) for condition, value in zip([*head, *tail], ends, strict=True))


def columns(message: str, most: int | None = None) -> list[str]:
    """The fields of a line; of `most` the last one is all that is left."""
    found: list[str] = []
    position = 0
    while (column := _next_column(message, position)) is not None:
        value, end = column
        if most is not None and len(found) == most - 1 and message[end:].strip():
            return [*found, message[position:].strip()]
        found.append(value)
        position = end
    return found


def _next_column(message: str, position: int) -> tuple[str, int] | None:
    found = _COLUMN.search(message, position)
    return None if found is None else (_value(found), found.end())


def _value(found: re.Match[str]) -> str:
    return next(group for group in found.groups() if group is not None)

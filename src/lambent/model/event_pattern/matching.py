"""Whether an event matches: its leaves by path, and a choice of one leaf for each field of the pattern.

Names are joined with dots, so `{"a.b": …}` and `{"a": {"b": …}}` are one. The leaves that are chosen must agree: two of
them that come out of one array come out of the same element of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from lambent.model.event_pattern.compiling import Branch, Field, compile_branches

ARRAYS_DEEP_MAX: Final = 100  # ours: arrays that are nested deeper have no leaves

Membership = tuple[tuple[int, int], ...]  # the arrays that a leaf is in, outermost first, and which element of each
Leaves = dict[str, list[tuple[Any, Membership]]]


@attrs.frozen(eq=False)
class EventPattern:
    """Compiled once, asked often."""

    source: str
    branches: Sequence[Branch]
    _steps: frozenset[str]  # the names of the first step of any path, dots or not

    def only(self, path: str) -> frozenset[str] | None:
        """The few texts of which one must be at the path of an event that matches; None where it may be another."""
        found: set[str] = set()
        for branch in self.branches:
            field = branch.get(path)
            if field is None or field.only is None:
                return None
            found |= field.only
        return frozenset(found)

    def matches(self, event: Mapping[str, Any]) -> bool:
        """`event` is decoded JSON."""
        leaves = _Leaves(self._steps)
        leaves.object("", event, ())
        return any(_matches(branch, leaves.found) for branch in self.branches)


def compile_pattern(source: str, number_max: float | None = None) -> EventPattern:
    """Raises PatternError, in AWS's words; for numbers to compare with that are larger only where a pattern is new."""
    branches = compile_branches(source, number_max)
    steps = frozenset(prefix for branch in branches for path in branch for prefix in _prefixes(path))
    return EventPattern(source, branches, steps)


def _prefixes(path: str) -> Iterator[str]:
    """Of `a.b.c`: `a`, `a.b`, `a.b.c`, for whatever lies outside of them need not be looked at."""
    parts = path.split(".")
    for count in range(1, len(parts) + 1):
        yield ".".join(parts[:count])


class _Leaves:
    """The leaves of an event that some field may ask for."""

    def __init__(self, steps: frozenset[str]) -> None:
        self.found: Leaves = {}
        self._steps = steps
        self._arrays = 0

    def object(self, prefix: str, members: Mapping[str, Any], membership: Membership) -> None:
        for name, value in members.items():
            path = prefix + name
            if path not in self._steps:
                continue
            if isinstance(value, dict):
                self.object(f"{path}.", value, membership)
            elif isinstance(value, list):
                self._array(path, value, membership)
            else:
                self.found.setdefault(path, []).append((value, membership))

    def _array(self, path: str, items: list[Any], membership: Membership) -> None:
        if len(membership) > ARRAYS_DEEP_MAX:
            return
        number = self._arrays
        self._arrays += 1
        for index, item in enumerate(items):
            if isinstance(item, dict):
                self.object(f"{path}.", item, (*membership, (number, index)))
            elif isinstance(item, list):
                self._array(path, item, (*membership, (number, index)))
            else:
                self.found.setdefault(path, []).append((item, membership))


def _matches(branch: Branch, leaves: Leaves) -> bool:
    choices: list[list[Membership]] = []
    for path, field in branch.items():
        found = leaves.get(path)
        if found is None:
            if not field.may_be_absent:
                return False
            continue
        fitting = [membership for value, membership in found if _knows(field, value)]
        if not fitting:
            return False
        if all(fitting):  # none of them is outside of every array
            choices.append(fitting)
    return len(choices) < 2 or _agree(choices)


def _knows(field: Field, value: Any) -> bool:
    return field.may_be_anything or any(test(value) for test in field.tests)


def _agree(choices: list[list[Membership]]) -> bool:
    """Whether one membership of each can be chosen so that no array is meant with two elements."""
    groups: dict[int, list[list[Membership]]] = {}
    for index, choice in enumerate(choices):
        arrays = {membership[0][0] for membership in choice}
        if len(arrays) > 1:  # one path by several ways, because names may have dots in them
            return any(
                _agree([*choices[:index], [m for m in choice if m[0][0] == array], *choices[index + 1 :]])
                for array in arrays
            )
        groups.setdefault(arrays.pop(), []).append(choice)
    return all(_agree_in_one_element(group) for group in groups.values())


def _agree_in_one_element(choices: list[list[Membership]]) -> bool:
    """The same for leaves that are all in one array."""
    if len(choices) == 1:
        return True
    by_element: list[dict[int, list[Membership]]] = []
    for choice in choices:
        rest: dict[int, list[Membership]] = {}
        for (_, element), *inner in choice:
            rest.setdefault(element, []).append(tuple(inner))
        by_element.append(rest)
    common = set(by_element[0]).intersection(*by_element[1:])
    return any(_agree([rest[element] for rest in by_element if all(rest[element])]) for element in common)

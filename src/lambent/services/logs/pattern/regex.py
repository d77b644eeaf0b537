"""The regular expressions of CloudWatch Logs: no groups, so they can be matched in time that grows with the text only.

`%regex%` comes from whoever may call FilterLogEvents and runs over every line that a function printed. A backtracking
matcher can be made to run for hours by both together, so it is used only where the worst case is small; elsewhere a
set of states is carried along the text.

SYNTAX = https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html, supported regular expressions
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

import attrs

BACKTRACKING_STEPS: Final = 1_000_000  # the worst case that is left to `re`
ITEMS_MAX: Final = 2_000  # after {m,n} is written out
STATES_CACHED: Final = 4_096

_ATOM: Final = re.compile(
    r"\[\^?(?:\\.|[A-Za-z0-9_#=@/;,:\-^$?{}|*+. ])+\]|\\[^A-Za-z0-9]|\\[dDwWsS]|\.|[A-Za-z0-9_#=@/;,:\- ]", re.ASCII
)
_QUANTIFIER: Final = re.compile(r"[*+?]|\{(\d{1,3})(?:(,)(\d{1,3})?)?\}")


class RegexError(ValueError):
    """Not a regular expression that CloudWatch Logs knows."""


@attrs.frozen
class _Item:
    """One character class, once."""

    atom: str
    optional: bool = False
    repeated: bool = False  # any number of times, none included


@attrs.frozen
class _Branch:
    items: tuple[_Item, ...]
    at_start: bool
    at_end: bool


def compile_regex(text: str) -> Callable[[str], bool]:
    """A function that says whether the expression is found anywhere in a text. Raises RegexError."""
    branches, source = _parse(text)
    try:
        backtracking = re.compile(source, re.ASCII)
        walkers = [_Walker(branch) for branch in branches]
    except re.error as error:
        raise RegexError(text) from error
    stars = max(sum(item.repeated for item in branch.items) for branch in branches)

    def found(message: str) -> bool:
        if len(message) ** (stars + 1) <= BACKTRACKING_STEPS:
            return backtracking.search(message) is not None
        return any(walker.found(message) for walker in walkers)

    return found


def _parse(text: str) -> tuple[list[_Branch], str]:
    branches: list[_Branch] = []
    sources: list[str] = []
    position = 0
    while True:
        branch, source, position = _parse_branch(text, position)
        branches.append(branch)
        sources.append(source)
        if position == len(text):
            return branches, "|".join(sources)
        position += 1  # the "|"


def _parse_branch(text: str, position: int) -> tuple[_Branch, str, int]:
    items: list[_Item] = []
    source = ""
    at_end = False
    at_start = text.startswith("^", position)
    position += at_start
    while position < len(text) and text[position] != "|":
        if text[position] == "$":
            at_end = True
            position += 1
            if position < len(text) and text[position] != "|":
                raise RegexError(text)
            break
        atom = _ATOM.match(text, position)
        if atom is None:
            raise RegexError(text)
        quantifier = _QUANTIFIER.match(text, atom.end())
        items += _times(atom[0], quantifier)
        if len(items) > ITEMS_MAX:
            raise RegexError(text)
        source += atom[0] + (quantifier[0] if quantifier else "")
        position = (quantifier or atom).end()
    return _Branch(tuple(items), at_start, at_end), rf"{'^' * at_start}{source}{'$' * at_end}", position


def _times(atom: str, quantifier: re.Match[str] | None) -> list[_Item]:
    once, maybe, often = _Item(atom), _Item(atom, optional=True), _Item(atom, optional=True, repeated=True)
    if quantifier is None:
        return [once]
    simple = {"?": [maybe], "*": [often], "+": [once, often]}.get(quantifier[0])
    if simple is not None:
        return simple
    least = int(quantifier[1])
    if not quantifier[2]:
        return [once] * least
    if quantifier[3] is None:
        return [once] * least + [often]
    if int(quantifier[3]) < least:
        raise RegexError(quantifier[0])
    return [once] * least + [maybe] * (int(quantifier[3]) - least)


class _Walker:
    """Carries the set of all places in a branch that the text so far can have reached; a set is the bits of an int."""

    def __init__(self, branch: _Branch) -> None:
        self._branch = branch
        self._classes = {item.atom: re.compile(item.atom, re.ASCII) for item in branch.items}
        self._last = 1 << len(branch.items)
        self._closures = _closures(branch.items)
        self._first = self._closures[0]
        self._moves: dict[tuple[int, str], int] = {}

    def found(self, text: str) -> bool:
        if self._branch.at_end and text.endswith("\n") and self._walk(text[:-1]):  # `$` looks past one final newline
            return True
        return self._walk(text)

    def _walk(self, text: str) -> bool:
        branch, last, moves = self._branch, self._last, self._moves
        again = 0 if branch.at_start else self._first
        places = self._first
        for character in text:
            if places & last and not branch.at_end:
                return True
            reached = moves.get((places, character))
            if reached is None:
                reached = self._move(places, character)
            places = reached | again
            if not places:
                return False
        return bool(places & last)

    def _move(self, places: int, character: str) -> int:
        reached = 0
        for index, item in enumerate(self._branch.items):
            if places >> index & 1 and self._classes[item.atom].match(character):
                reached |= self._closures[index if item.repeated else index + 1]
        if len(self._moves) >= STATES_CACHED:
            self._moves.clear()
        self._moves[places, character] = reached
        return reached


def _closures(items: Sequence[_Item]) -> list[int]:
    """For each place, it and the places that can be reached from it for nothing."""
    closures = [0] * (len(items) + 1)
    closures[-1] = 1 << len(items)
    for index in range(len(items) - 1, -1, -1):
        closures[index] = 1 << index | (closures[index + 1] if items[index].optional else 0)
    return closures

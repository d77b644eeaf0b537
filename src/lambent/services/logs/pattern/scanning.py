"""What the kinds of filter pattern share: reading the text piece by piece, and comparing one value with another."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Final

import attrs

from lambent.model.errors import AwsError
from lambent.services.logs.pattern.regex import RegexError, compile_regex

Match = Callable[[str], bool]
Compare = Callable[[str | float], bool]

REGEX_MAX: Final = 2  # SYNTAX: in one pattern of fields or members
DEPTH_MAX: Final = 50  # of parentheses: far beyond use, far below Python's stack

_SPACE: Final = re.compile(r"\s*")
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_REGEX: Final = re.compile(r"%((?:[^%\\]|\\.)*)%", re.DOTALL)
_ESCAPED: Final = re.compile(r'\\(["\\])')
_NUMBER: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_OPERATOR: Final = re.compile(r"!=|>=|<=|=|>|<")
_ORDER: Final[Mapping[str, Callable[[float, float], bool]]] = {
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
}


def invalid(message: str = "Invalid filter pattern") -> AwsError:
    return AwsError("InvalidParameterException", message)


def invalid_characters(characters: str) -> AwsError:
    return invalid(f"Invalid character(s) in term '{characters}'")


@attrs.define
class Scanner:
    """A pattern's text and how far it has been read."""

    text: str
    position: int = 0
    regexes: int = 0
    depth: int = 0

    def skip_space(self) -> None:
        found = _SPACE.match(self.text, self.position)
        self.position = found.end() if found else self.position

    @property
    def at_end(self) -> bool:
        return self.position >= len(self.text)

    def take(self, expression: re.Pattern[str]) -> re.Match[str] | None:
        found = expression.match(self.text, self.position)
        if found is not None:
            self.position = found.end()
        return found

    def take_text(self, text: str) -> bool:
        if not self.text.startswith(text, self.position):
            return False
        self.position += len(text)
        return True

    def take_quoted(self) -> str | None:
        """What stands between double quotes; None when there is no quote here. Raises for one that does not end."""
        if not self.text.startswith('"', self.position):
            return None
        found = self.take(_QUOTED)
        if found is None:
            raise invalid()
        return _ESCAPED.sub(r"\1", found[1])

    def take_regex(self) -> Match | None:
        if not self.text.startswith("%", self.position):
            return None
        found = self.take(_REGEX)
        if found is None or not found[1]:
            raise invalid()
        self.regexes += 1
        try:
            return compile_regex(found[1])
        except RegexError as error:
            raise invalid() from error

    def take_comparison(self, bare: re.Pattern[str]) -> Compare:
        """An operator and its right side; `bare` is what that may be without quotes."""
        self.skip_space()
        sign = self.take(_OPERATOR)
        if sign is None:
            raise invalid()
        self.skip_space()
        compare = self._take_right_side(sign[0], bare)
        if self.regexes > REGEX_MAX:
            raise invalid()
        return compare

    def _take_right_side(self, sign: str, bare: re.Pattern[str]) -> Compare:
        found = self.take_regex()
        if found is not None:
            return _comparing_text(sign, found)
        quoted = self.take_quoted()
        if quoted is not None:
            return _comparing_text(sign, glob(quoted))
        word = self.take(bare)
        if word is None or not word[0]:
            raise invalid()
        number = parse_number(word[0])
        if sign in _ORDER:
            if number is None:
                raise invalid()
            return _ordering(_ORDER[sign], number)
        if number is not None:
            return _comparing_number(sign, number, word[0])
        return _comparing_text(sign, glob(word[0]))


def take_any(scanner: Scanner, take_one: Callable[[], Callable[[object], bool]]) -> Callable[[object], bool]:
    """`a && b || (c && d)`: conditions joined, `&&` before `||`."""
    choices = [_take_all(scanner, take_one)]
    while _take_joint(scanner, "||"):
        choices.append(_take_all(scanner, take_one))
    return choices[0] if len(choices) == 1 else lambda subject: any(choice(subject) for choice in choices)


def _take_all(scanner: Scanner, take_one: Callable[[], Callable[[object], bool]]) -> Callable[[object], bool]:
    conditions = [_take_condition(scanner, take_one)]
    while _take_joint(scanner, "&&"):
        conditions.append(_take_condition(scanner, take_one))
    return conditions[0] if len(conditions) == 1 else lambda subject: all(holds(subject) for holds in conditions)


def _take_condition(scanner: Scanner, take_one: Callable[[], Callable[[object], bool]]) -> Callable[[object], bool]:
    scanner.skip_space()
    if not scanner.take_text("("):
        return take_one()
    scanner.depth += 1
    if scanner.depth > DEPTH_MAX:
        raise invalid()
    inner = take_any(scanner, take_one)
    scanner.skip_space()
    if not scanner.take_text(")"):
        raise invalid()
    scanner.depth -= 1
    return inner


def _take_joint(scanner: Scanner, joint: str) -> bool:
    scanner.skip_space()
    return scanner.take_text(joint)


def parse_number(text: str) -> float | None:
    return float(text) if _NUMBER.fullmatch(text) else None


def glob(text: str) -> Match:
    """`*` stands for anything. Takes time in proportion to the message only."""
    if "*" not in text:
        return lambda message: message == text
    first, *middle, last = text.split("*")
    return lambda message: _glob(message, first, middle, last)


def _glob(message: str, first: str, middle: list[str], last: str) -> bool:
    end = len(message) - len(last)
    if not message.startswith(first) or not message.endswith(last) or end < len(first):
        return False
    position = len(first)
    for part in middle:
        position = message.find(part, position, end)
        if position < 0:
            return False
        position += len(part)
    return True


def as_text(value: str | float) -> str:
    """How a JSON value reads in a comparison of text: `true`, `12`, `1.5`."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _as_number(value: str | float) -> float | None:
    if isinstance(value, bool):
        return None
    return parse_number(value) if isinstance(value, str) else float(value)


def _comparing_text(sign: str, found: Match) -> Compare:
    if sign not in ("=", "!="):
        raise invalid()
    wanted = sign == "="
    return lambda value: found(as_text(value)) == wanted


def _comparing_number(sign: str, number: float, text: str) -> Compare:
    wanted = sign == "="
    return lambda value: (as_text(value) == text or _as_number(value) == number) == wanted


def _ordering(order: Callable[[float, float], bool], number: float) -> Compare:
    def compare(value: str | float) -> bool:
        left = _as_number(value)
        return left is not None and order(left, number)

    return compare

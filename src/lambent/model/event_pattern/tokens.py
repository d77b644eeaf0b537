"""JSON as a row of tokens that know where they are, because AWS's sentences about a pattern end with the place.

Places are those of the parser that AWS uses (Jackson): behind the last character that was looked at. A string is looked
at when its text is asked for; behind a field's name the beginning of its value has been looked at already.
"""

from __future__ import annotations

import enum
import json
import re
from typing import Final

from lambent.model.errors import LambentError

SOURCE_SHOWN_MAX_CHARACTERS: Final = 500  # Jackson's own bound for the source in a message
DEPTH_MAX: Final = 100  # ours: deeper than any event is filtered
_EXPECTED: Final = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')"
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_WORD: Final = re.compile(r"[\w$]+")
_STRING_REST: Final = re.compile(r'(?:[^"\\\x00-\x1f]|\\.)*"', re.DOTALL)
_SPACE: Final = re.compile(r"[ \t\r\n]*")
_LITERALS: Final = frozenset({"true", "false", "null"})


class Kind(enum.Enum):
    OBJECT = "{"
    OBJECT_END = "}"
    ARRAY = "["
    ARRAY_END = "]"
    NAME = "name"
    STRING = "string"
    NUMBER = "number"
    TRUE = "true"
    FALSE = "false"
    NULL = "null"


_OPENING: Final = {"{": Kind.OBJECT, "[": Kind.ARRAY}
_CLOSING: Final = {"}": Kind.OBJECT_END, "]": Kind.ARRAY_END}


class PatternError(LambentError):
    """What is wrong with a pattern, in the words that AWS puts behind `Reason: `."""


class Tokens:
    """Reads forward only. Raises PatternError for what is no JSON."""

    def __init__(self, source: str, number_max: float | None = None) -> None:
        self._source = source
        self._number_max = number_max
        self._at = 0  # the first character that has not been looked at
        self._open: list[tuple[str, int]] = []  # brackets, and where they are
        self._is_first = True  # in the innermost bracket
        self._value: Kind | None = None  # of the field whose name was read last
        self._begun: int | None = None  # where the content of a string begins that has not been read
        self.name = ""
        self._text = ""

    def next(self) -> Kind | None:
        """None at the end of the source."""
        if self._value is not None:
            kind, self._value = self._value, None
            self._enter(kind)
            return kind
        if self._begun is not None:
            self._finish_string()
        self._skip_space()
        if self._at >= len(self._source):
            if not self._open:
                return None
            raise self._unexpected_end()
        if self._source[self._at] in "]}":
            return self._close()
        if self._open and not self._is_first:
            self._pass_comma()
        self._is_first = False
        if self._open and self._open[-1][0] == "{":
            return self._field()
        kind = self._begin_value()
        self._enter(kind)
        return kind

    @property
    def text(self) -> str:
        """Of the string, number or literal that was read last."""
        if self._begun is not None:
            self._finish_string()
        return self._text

    @property
    def number(self) -> int | float:
        """Of the number that was read last."""
        plain = self._text.lstrip("-").isdecimal()
        return int(self._text) if plain else float(self._text)

    def check_number(self, number: float) -> None:
        """Raises PatternError for one that cannot be compared with."""
        most = self._number_max
        if most is not None and abs(number) > most:
            shown = f"{most / 1e9:.1f}E9"
            raise self.error(f"Value must be between -{shown} and {shown}, inclusive")

    def error(self, reason: str) -> PatternError:
        """`reason`, with the place where reading is."""
        return PatternError(f"{reason}\n at {self._place(self._at)}")

    # --- pieces

    def _field(self) -> Kind:
        if self._source[self._at] != '"':
            raise self._unexpected("was expecting double-quote to start field name")
        self._at += 1
        self._begun = self._at
        self._finish_string()
        self.name = self._text
        self._skip_space()
        if self._at >= len(self._source):
            raise self._unexpected_end()
        if self._source[self._at] != ":":
            raise self._unexpected("was expecting a colon to separate field name and value")
        self._at += 1
        self._skip_space()
        if self._at >= len(self._source):
            raise self._unexpected_end()
        self._value = self._begin_value()
        return Kind.NAME

    def _begin_value(self) -> Kind:
        character = self._source[self._at]
        if character == '"':
            self._at += 1
            self._begun = self._at
            return Kind.STRING
        if character in _OPENING:
            self._at += 1
            return _OPENING[character]
        if (found := _NUMBER.match(self._source, self._at)) is not None:
            self._text = found[0]
            self._at = found.end()
            return Kind.NUMBER
        word = _WORD.match(self._source, self._at)
        if word is None:
            raise self._unexpected(f"expected a valid value {_EXPECTED}")
        self._at = word.end()
        self._text = word[0]
        if word[0] not in _LITERALS:
            raise self.error(f"Unrecognized token '{word[0]}': was expecting {_EXPECTED}")
        return Kind(word[0])

    def _enter(self, kind: Kind) -> None:
        if kind in (Kind.OBJECT, Kind.ARRAY):
            self._open.append((kind.value, self._at - 1))
            self._is_first = True
            if len(self._open) > DEPTH_MAX:
                raise self.error(
                    f"Document nesting depth ({len(self._open)}) exceeds the maximum allowed ({DEPTH_MAX})"
                )

    def _close(self) -> Kind:
        character = self._source[self._at]
        if not self._open:
            raise self._unexpected(f"expected a valid value {_EXPECTED}")
        bracket, began = self._open[-1]
        kind = _CLOSING[character]
        if (bracket == "{") != (kind is Kind.OBJECT_END):
            wanted, what = ("}", "Object") if bracket == "{" else ("]", "Array")
            self._at += 1
            raise self.error(
                f"Unexpected close marker '{character}': expected '{wanted}' (for {what} starting at {self._place(began)})"
            )
        self._open.pop()
        self._is_first = False
        self._at += 1
        return kind

    def _pass_comma(self) -> None:
        if self._source[self._at] != ",":
            what = "Object" if self._open[-1][0] == "{" else "Array"
            raise self._unexpected(f"was expecting comma to separate {what} entries")
        self._at += 1
        self._skip_space()
        if self._at >= len(self._source):
            raise self._unexpected_end()

    def _finish_string(self) -> None:
        assert self._begun is not None
        found = _STRING_REST.match(self._source, self._begun)
        if found is None:
            raise self._broken_string(self._begun)
        try:
            self._text = json.loads(f'"{found[0]}')
        except ValueError:
            self._at = found.end()
            raise self.error("Unrecognized character escape in a string value") from None
        self._at = found.end()
        self._begun = None

    def _broken_string(self, begun: int) -> PatternError:
        for index in range(begun, len(self._source)):
            if self._source[index] < " ":
                self._at = index + 1
                return self.error(
                    f"Illegal unquoted character ((CTRL-CHAR, code {ord(self._source[index])})): has to be escaped using "
                    "backslash to be included in string value"
                )
        self._at = len(self._source)
        return self.error("Unexpected end-of-input: was expecting closing quote for a string value")

    def _skip_space(self) -> None:
        found = _SPACE.match(self._source, self._at)
        self._at = found.end() if found is not None else self._at

    def _unexpected(self, expected: str) -> PatternError:
        character = self._source[self._at]
        return self.error(f"Unexpected character ('{character}' (code {ord(character)})): {expected}")

    def _unexpected_end(self) -> PatternError:
        self._at = len(self._source)
        bracket, began = self._open[-1]
        what = "Object" if bracket == "{" else "Array"
        return self.error(
            f"Unexpected end-of-input: expected close marker for {what} (start marker at {self._place(began)})"
        )

    def _place(self, at: int) -> str:
        before = self._source[:at]
        line = before.count("\n") + 1
        column = at - (before.rfind("\n") + 1) + 1
        shown = self._source[:SOURCE_SHOWN_MAX_CHARACTERS]
        left_out = len(self._source) - len(shown)
        truncated = f"[truncated {left_out} chars]" if left_out > 0 else ""
        return f'[Source: (String)"{shown}"{truncated}; line: {line}, column: {column}]'

"""From a pattern's text to what decides: fields by their joined path, each with its alternatives, and `$or` branches.

The sentences of errors are those of AWS's own compiler, as its answers have them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from lambent.model.event_pattern import matchers
from lambent.model.event_pattern.matchers import Bound, Test
from lambent.model.event_pattern.tokens import Kind, PatternError, Tokens

NUMBER_MAX: Final = 5e9  # docs: comparing is limited to -5.0e9 to +5.0e9
BRANCHES_MAX: Final = 1_000  # docs: a pattern may have so many combinations of `$or`
RESERVED_IN_OR: Final = frozenset(
    {"exactly", "prefix", "suffix", "anything-but", "numeric", "exists", "cidr", "equals-ignore-case", "wildcard"}
)
_NUMERIC: Final = Kind.NUMBER


@attrs.frozen
class Field:
    """The alternatives for one path: one test must know one of its values, or it may (or must) not be there."""

    tests: tuple[Test, ...]
    may_be_absent: bool = False
    may_be_anything: bool = False  # {"exists": true}
    only: frozenset[str] | None = None  # all that it can be, where that is a few texts


Branch = dict[str, Field]
"""Fields by path: all of them must match."""


def compile_branches(source: str, number_max: float | None = None) -> list[Branch]:
    """One of the branches must match. Raises PatternError, also for larger numbers to compare with than `number_max`.

    `$or` was once a name like any other, and where it can only be that it still is.
    """
    try:
        return _compile(source, number_max, or_is_a_name=False)
    except PatternError as error:
        if '"$or"' in source:
            with contextlib.suppress(PatternError):
                return _compile(source, number_max, or_is_a_name=True)
        raise error


def _compile(source: str, number_max: float | None, or_is_a_name: bool) -> list[Branch]:
    tokens = Tokens(source, number_max)
    if tokens.next() is not Kind.OBJECT:
        raise tokens.error("Filter is not an object")
    branches: list[Branch] = []
    _object(tokens, branches, "", inside_or=None if or_is_a_name else False)
    return branches


def _object(tokens: Tokens, branches: list[Branch], prefix: str, inside_or: bool | None) -> None:
    """`inside_or` is None where `$or` is a name."""
    is_empty = True
    while tokens.next() is not Kind.OBJECT_END:
        is_empty = False
        name = tokens.name
        if name == "$or" and inside_or is not None:
            _either(tokens, branches, prefix)
            continue
        if inside_or and name in RESERVED_IN_OR:
            raise tokens.error(f"{name} is Ruler reserved fieldName which cannot be used inside $or.")
        kind = tokens.next()
        if kind is Kind.OBJECT:
            _object(tokens, branches, f"{prefix}{name}.", inside_or)
        elif kind is Kind.ARRAY:
            field = _alternatives(tokens)
            if not branches:
                branches.append({})
            for branch in branches:
                branch[prefix + name] = field
        else:
            raise tokens.error(f'"{name}" must be an object or an array')
    if is_empty:
        raise tokens.error("Empty objects are not allowed")


def _either(tokens: Tokens, branches: list[Branch], prefix: str) -> None:
    before = [dict(branch) for branch in branches]
    branches.clear()
    if tokens.next() is not Kind.ARRAY:
        raise tokens.error("It must be an Array followed with $or.")
    count = 0
    while (kind := tokens.next()) is not Kind.ARRAY_END:
        count += 1
        if kind is not Kind.OBJECT:
            raise tokens.error("Only JSON object is allowed in array of $or relationship.")
        forked = [dict(branch) for branch in before] or [{}]
        _object(tokens, forked, prefix, inside_or=True)
        branches.extend(forked)
        if len(branches) > BRANCHES_MAX:
            raise PatternError(f"The pattern has more than {BRANCHES_MAX} combinations of $or")
    if count < 2:
        raise tokens.error("There must have at least 2 Objects in $or relationship.")


def _alternatives(tokens: Tokens) -> Field:
    tests: list[Test] = []
    may_be_absent = may_be_anything = False
    texts: list[str] = []
    count = 0
    while (kind := tokens.next()) is not Kind.ARRAY_END:
        count += 1
        if kind is Kind.OBJECT:
            found = _expression(tokens)
            if found is True:
                may_be_anything = True
            elif found is False:
                may_be_absent = True
            else:
                tests.append(found)
        elif kind in (Kind.ARRAY, None):
            raise tokens.error("Match value must be String, number, true, false, or null")
        else:
            literal = _literal(tokens, kind)
            tests.append(matchers.equals(literal))
            if isinstance(literal, str):
                texts.append(literal)
    if count == 0:
        raise tokens.error("Empty arrays are not allowed")
    return Field(tuple(tests), may_be_absent, may_be_anything, frozenset(texts) if len(texts) == count else None)


def _literal(tokens: Tokens, kind: Kind | None) -> Any:
    if kind is Kind.STRING:
        return tokens.text
    if kind is Kind.NUMBER:
        return tokens.number
    return {Kind.TRUE: True, Kind.FALSE: False}.get(kind) if kind is not None else None


def _expression(tokens: Tokens) -> Test | bool:
    """Of `{"prefix": "x"}` its test; of `{"exists": …}` what it says."""
    if tokens.next() is not Kind.NAME:
        raise tokens.error("Match expression name not found")
    name = tokens.name
    if name == "exists":
        return _exists(tokens)
    if name == "numeric":
        return _numeric(tokens)
    if name == "anything-but":
        return _anything_but(tokens)
    kind = tokens.next()
    if name in ("prefix", "suffix") and kind is Kind.OBJECT:
        test = _ignoring_case(tokens, name)
    elif name in _TEXT_OPERATORS:
        test = _by_text(tokens, name, kind, f"{_CALLED.get(name, name)} match pattern must be a string")
    else:
        raise tokens.error(f"Unrecognized match type {name}")
    _end_of_expression(tokens)
    return test


_TEXT_OPERATORS: Final[Mapping[str, Callable[[str], Test]]] = {
    "exactly": matchers.equals,
    "prefix": matchers.starts_with,
    "suffix": matchers.ends_with,
    "equals-ignore-case": matchers.equals_ignoring_case,
    "wildcard": matchers.wildcard,
    "cidr": matchers.in_block,
}
_CALLED: Final = {"exactly": "exact", "cidr": "prefix"}  # AWS says prefix where it means a CIDR


def _by_text(tokens: Tokens, name: str, kind: Kind | None, not_text: str) -> Test:
    if kind is not Kind.STRING:
        raise tokens.error(not_text)
    text = tokens.text
    try:
        return _TEXT_OPERATORS[name](text)
    except matchers.TooComplex as error:
        raise PatternError(str(error)) from None
    except ValueError as error:
        if name == "cidr":
            raise PatternError(str(error)) from None
        raise tokens.error(str(error)) from None


def _ignoring_case(tokens: Tokens, name: str) -> Test:
    """`{"prefix": {"equals-ignore-case": "x"}}`"""
    if tokens.next() is not Kind.NAME or tokens.name != "equals-ignore-case":
        raise tokens.error(f"Unsupported {name} pattern: {tokens.name}")
    if tokens.next() is not Kind.STRING:
        raise tokens.error("equals-ignore-case match pattern must be a string")
    text = tokens.text
    _end_of_expression(tokens)
    return matchers.starts_with(text, True) if name == "prefix" else matchers.ends_with(text, True)


def _end_of_expression(tokens: Tokens) -> None:
    if tokens.next() is not Kind.OBJECT_END:
        raise tokens.error("Only one key allowed in match expression")


def _exists(tokens: Tokens) -> bool:
    kind = tokens.next()
    if kind not in (Kind.TRUE, Kind.FALSE):
        raise tokens.error("exists match pattern must be either true or false.")
    _end_of_expression(tokens)
    return kind is Kind.TRUE


# --- anything-but


def _anything_but(tokens: Tokens) -> Test:
    kind = tokens.next()
    if kind is Kind.OBJECT:
        excluded = _excluded_by_operator(tokens)
    elif kind is Kind.ARRAY:
        excluded = _excluded_literals(tokens)
    elif kind in (Kind.STRING, Kind.NUMBER):
        excluded = [matchers.equals(_excluded_literal(tokens, kind))]
    else:
        raise tokens.error("Value of anything-but must be an array or single string/number value.")
    if tokens.next() is not Kind.OBJECT_END:
        raise tokens.error("Too many elements in numeric expression")
    return matchers.anything_but(excluded)


def _excluded_literals(tokens: Tokens) -> list[Test]:
    kinds: set[Kind | None] = set()
    excluded: list[Test] = []
    while (kind := tokens.next()) is not Kind.ARRAY_END:
        if kind not in (Kind.STRING, Kind.NUMBER):
            raise _twice(tokens, "Inside anything but list, start|null|boolean is not supported.")
        kinds.add(kind)
        excluded.append(matchers.equals(_excluded_literal(tokens, kind)))
    if len(kinds) != 1:
        raise tokens.error(
            "Inside anything but list, either all values are number or string, mixed type is not supported"
        )
    return excluded


def _excluded_literal(tokens: Tokens, kind: Kind | None) -> Any:
    literal = _literal(tokens, kind)
    if kind is Kind.NUMBER:
        tokens.check_number(literal)
    return literal


def _excluded_by_operator(tokens: Tokens) -> list[Test]:
    if tokens.next() is not Kind.NAME:
        raise tokens.error("Anything-But expression name not found")
    name = tokens.name
    if name not in _NOT_TEXT:
        raise tokens.error(f"Unsupported anything-but pattern: {name}")
    kind = tokens.next()
    if kind is Kind.ARRAY:
        excluded = []
        while (kind := tokens.next()) is not Kind.ARRAY_END:
            try:
                excluded.append(_excluded_text(tokens, name, kind))
            except PatternError as error:
                raise _again(tokens, error) from None
    elif kind in (Kind.STRING, Kind.NUMBER):
        excluded = [_excluded_text(tokens, name, kind)]
    else:
        raise tokens.error("Value of anything-but must be an array or single string/number value.")
    _end_of_expression(tokens)
    return excluded


_NOT_TEXT: Final = {
    "prefix": "prefix/suffix match pattern must be a string",
    "suffix": "prefix/suffix match pattern must be a string",
    "equals-ignore-case": ("Inside anything-but/equals-ignore-case list, number|start|null|boolean is not supported."),
    "wildcard": "wildcard match pattern must be a string",
}


def _excluded_text(tokens: Tokens, name: str, kind: Kind | None) -> Test:
    if kind is Kind.STRING and name in ("prefix", "suffix") and not tokens.text:
        raise tokens.error("Null prefix/suffix not allowed")
    return _by_text(tokens, name, kind, _NOT_TEXT[name])


def _twice(tokens: Tokens, reason: str) -> PatternError:
    """Inside lists AWS catches its own error and adds the place again."""
    return _again(tokens, tokens.error(reason))


def _again(tokens: Tokens, error: PatternError) -> PatternError:
    return tokens.error(str(error))


# --- numeric


def _numeric(tokens: Tokens) -> Test:
    if tokens.next() is not Kind.ARRAY:
        raise tokens.error("Value of numeric must be an array.")
    kind = tokens.next()
    if kind is not Kind.STRING:
        shown = tokens.text if kind in (Kind.NUMBER, Kind.TRUE, Kind.FALSE, Kind.NULL) else kind.value if kind else ""
        raise tokens.error(f"Invalid member in numeric match: {shown}")
    test = _comparison(tokens, tokens.text)
    if tokens.next() is not Kind.OBJECT_END:
        raise tokens.error("Too many elements in numeric expression")
    return test


def _comparison(tokens: Tokens, operator: str) -> Test:
    kind = tokens.next()
    if operator not in ("=", "<", "<=", ">", ">="):
        raise tokens.error(f"Unrecognized numeric range operator: {operator}")
    if kind is not _NUMERIC:
        raise tokens.error(f"Value of {'equals' if operator == '=' else operator} must be numeric")
    number = tokens.number
    kind = tokens.next()
    if operator in (">", ">=") and kind is not Kind.ARRAY_END:
        bottom = Bound(number, operator == ">")
        return matchers.in_range(bottom, _top(tokens, kind, number))
    if kind is not Kind.ARRAY_END:
        raise tokens.error("Too many elements in numeric expression")
    tokens.check_number(number)
    if operator == "=":
        return matchers.equals(number)
    bound = Bound(number, operator in ("<", ">"))
    if abs(number) > NUMBER_MAX:  # of a pattern that was taken before this was checked
        return matchers.in_range(bound, None) if operator[0] == ">" else matchers.in_range(None, bound)
    if operator[0] == ">":
        return matchers.in_range(bound, Bound(NUMBER_MAX, is_open=False))
    return matchers.in_range(Bound(-NUMBER_MAX, is_open=False), bound)


def _top(tokens: Tokens, kind: Kind | None, bottom: float) -> Bound:
    if kind is not Kind.STRING:
        shown = tokens.text if kind is Kind.NUMBER else kind.value if kind is not None else ""
        raise tokens.error(f"Bad value in numeric range: {shown}")
    operator = tokens.text
    if operator not in ("<", "<="):
        raise tokens.error(f"Bad numeric range operator: {operator}")
    if tokens.next() is not _NUMERIC:
        raise tokens.error(f"Value of {operator} must be numeric")
    top = tokens.number
    if tokens.next() is not Kind.ARRAY_END:
        raise tokens.error("Too many terms in numeric range expression")
    tokens.check_number(bottom)
    tokens.check_number(top)
    if not bottom < top:
        raise tokens.error("Bottom must be less than top")
    return Bound(top, operator == "<")

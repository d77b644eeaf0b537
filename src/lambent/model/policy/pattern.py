"""Texts of a policy with wildcards and variables, taken apart once and then compared quickly.

`*` stands for any characters and `?` for one. How far they reach depends on where the text stands:
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html (segments of an ARN),
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html (the six parts
that ArnLike compares), https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html.
"""

from __future__ import annotations

import enum
import functools
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import attrs

Context = Mapping[str, tuple[str, ...]]
"""What is known of a request, by condition key in lower case. Keys with one value are those that variables can use."""

_ARN_COLONS: Final = 5  # in front of an ARN's last part, in which colons are ordinary characters
_SPECIAL: Final = re.compile(r"\$\{([^}]*)\}|[*?]")
_VARIABLE: Final = re.compile(r"\s*([^,']+?)\s*(?:,\s*'([^']*)'\s*)?")


class Wild(enum.Enum):
    STAR = "*"
    ANY = "?"


@attrs.frozen
class Variable:
    key: str  # lower case
    default: str | None  # what stands there when the request has no such key


class Reach(enum.Enum):
    """How far wildcards go."""

    TEXT = "anywhere"
    RESOURCE = "within a segment between colons, and beyond it where `*` is the segment's last character"
    ARN = "within each of an ARN's six parts"


Token = str | Wild | Variable
Resolved = tuple[str | Wild, ...]


@attrs.frozen
class Pattern:
    """One text of a policy. Made by `compile_pattern`."""

    text: str
    tokens: tuple[Token, ...]
    reach: Reach
    folds_case: bool
    fixed: Callable[[str], bool] | None  # the comparison, where no variable stands in it

    def matches(self, value: str, context: Context) -> bool | None:
        """Whether the value is one that this text means; None when a variable of it has no value in this request."""
        if self.folds_case:
            value = value.lower()
        if self.fixed is not None:
            return self.fixed(value)
        resolved: list[str | Wild] = []
        for token in self.tokens:
            if isinstance(token, Variable):
                text = _value_of(token, context)
                if text is None:
                    return None
                resolved.append(text.lower() if self.folds_case else text)
            else:
                resolved.append(token)
        return _comparison(tuple(resolved), self.reach)(value)

    @property
    def keys(self) -> Iterable[str]:
        """The condition keys that its variables read."""
        return (token.key for token in self.tokens if isinstance(token, Variable))


def compile_pattern(
    text: str,
    reach: Reach = Reach.TEXT,
    *,
    wildcards: bool = True,
    variables: bool = True,
    folds_case: bool = False,
) -> Pattern:
    """Raises ValueError for a variable that is none: `${}`."""
    tokens = tuple(
        token.lower() if folds_case and isinstance(token, str) else token
        for token in _tokens(text, wildcards, variables)
    )
    plain = tuple(token for token in tokens if not isinstance(token, Variable))
    fixed = _comparison(plain, reach) if len(plain) == len(tokens) else None
    return Pattern(text, tokens, reach, folds_case, fixed)


def _tokens(text: str, wildcards: bool, variables: bool) -> Iterable[Token]:
    at = 0
    for found in _SPECIAL.finditer(text):
        is_variable = found[1] is not None
        if not (variables if is_variable else wildcards):
            if is_variable and wildcards:  # in 2008's language `${` means nothing, but `*` inside does
                yield text[at : found.start()]
                yield from _tokens_of_braces(found[0])
                at = found.end()
            continue
        if found.start() > at:
            yield text[at : found.start()]
        yield _variable(found[1]) if is_variable else Wild(found[0])
        at = found.end()
    if at < len(text):
        yield text[at:]


def _tokens_of_braces(text: str) -> Iterable[Token]:
    return (Wild(part) if part in "*?" else part for part in re.split(r"([*?])", text) if part)


def _variable(body: str) -> Token:
    if body in ("*", "?", "$"):
        return body
    found = _VARIABLE.fullmatch(body)
    if found is None:
        raise ValueError(f"${{{body}}} is no policy variable")
    return Variable(found[1].lower(), found[2])


def _value_of(variable: Variable, context: Context) -> str | None:
    values = context.get(variable.key, ())
    return values[0] if len(values) == 1 else variable.default


@functools.lru_cache(maxsize=4096)
def _comparison(tokens: Resolved, reach: Reach) -> Callable[[str], bool]:
    merged = _merged(tokens)
    if all(isinstance(token, str) for token in merged):
        return "".join(str(token) for token in merged).__eq__
    if merged == (Wild.STAR,):
        return _anything
    first = merged[0]
    is_prefix = len(merged) == 2 and merged[1] is Wild.STAR
    if is_prefix and isinstance(first, str) and (reach is not Reach.ARN or first.count(":") >= _ARN_COLONS):
        return lambda value: value.startswith(first)
    expression = re.compile(_expression(merged, reach), re.DOTALL)
    return lambda value: expression.fullmatch(value) is not None


def _anything(value: str) -> bool:
    return True


def _merged(tokens: Resolved) -> Resolved:
    """With neighbouring texts joined, and `**` as what it means."""
    merged: list[str | Wild] = []
    for token in tokens:
        last = merged[-1] if merged else None
        if isinstance(token, str) and isinstance(last, str):
            merged[-1] = last + token
        elif not (token is Wild.STAR and last is Wild.STAR):
            merged.append(token)
    return tuple(merged)


def _expression(tokens: Resolved, reach: Reach) -> str:
    """A regular expression whose time does not explode: each piece is taken where it first fits, and kept there.

    Pieces are cut at the stars that cross colons; within one, at those that do not.
    """
    chunks: list[list[str]] = [[""]]
    colons = 0
    for index, token in enumerate(tokens):
        following = tokens[index + 1] if index + 1 < len(tokens) else None
        is_free = reach is Reach.TEXT or (reach is Reach.ARN and colons >= _ARN_COLONS)
        if isinstance(token, str):
            chunks[-1][-1] += re.escape(token)
            colons += token.count(":")
        elif token is Wild.ANY:
            chunks[-1][-1] += "." if is_free else "[^:]"
        elif is_free or (reach is Reach.RESOURCE and _ends_segment(following)):
            chunks.append([""])
        else:
            chunks[-1].append("")
    if len(chunks) == 1:
        return _last_chunk(chunks[0])
    middle = "".join(f"(?>.*?{_chunk(chunk)})" for chunk in chunks[1:-1])
    return f"{_chunk(chunks[0])}{middle}.*?{_last_chunk(chunks[-1])}"


def _ends_segment(following: str | Wild | None) -> bool:
    return following is None or (isinstance(following, str) and following.startswith(":"))


def _chunk(pieces: list[str]) -> str:
    return pieces[0] + "".join(f"(?>[^:]*?{piece})" for piece in pieces[1:])


def _last_chunk(pieces: list[str]) -> str:
    if len(pieces) == 1:
        return pieces[0]
    return f"{_chunk(pieces[:-1])}[^:]*?{pieces[-1]}"

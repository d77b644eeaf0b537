"""Patterns for plain text: terms that must be there, may be there, or must not."""

from __future__ import annotations

import re
from typing import Final

from lambent.services.logs.pattern.scanning import Match, Scanner, invalid, invalid_characters

_WORD: Final = re.compile(r"\S+")
_NOT_IN_WORD: Final = re.compile(r"[^\w\-./@#+]+")


def compile_terms(text: str) -> Match:
    """`?a ?b` alone is any of them; beside terms that are required or excluded, `?` terms change nothing (SYNTAX)."""
    scanner = Scanner(text)
    required: list[Match] = []
    excluded: list[Match] = []
    optional: list[Match] = []
    scanner.skip_space()
    while not scanner.at_end:
        kind = required
        if scanner.take_text("?"):
            kind = optional
        elif scanner.take_text("-"):
            kind = excluded
        kind.append(_take_term(scanner))
        scanner.skip_space()
    return _joined(required, excluded, optional)


def _joined(required: list[Match], excluded: list[Match], optional: list[Match]) -> Match:
    if optional and not required and not excluded:
        return lambda message: any(found(message) for found in optional)
    if len(required) == 1 and not excluded:
        return required[0]
    return lambda message: all(found(message) for found in required) and not any(found(message) for found in excluded)


def _take_term(scanner: Scanner) -> Match:
    found = scanner.take_regex()
    if found is not None:
        return found
    phrase = scanner.take_quoted()
    if phrase is not None:
        return lambda message: phrase in message
    word = scanner.take(_WORD)
    if word is None:
        raise invalid()
    wrong = _NOT_IN_WORD.search(word[0])
    if wrong is not None:
        raise invalid_characters(wrong[0])
    term = word[0]
    return lambda message: term in message

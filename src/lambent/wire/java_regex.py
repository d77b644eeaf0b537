"""The patterns of service models, which are Java's, as Python's `re` understands them.

Java's `\\d`, `\\w` and `\\s` mean ASCII, and its `\\p{L}` means a category of Unicode, which Python has no word for.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable
from typing import Final

_CATEGORY: Final = re.compile(r"\\p\{(?:Is)?(\w+)\}")
# java.util.regex.Pattern, "POSIX character classes (US-ASCII only)"
_POSIX: Final = {
    "ASCII": r"\x00-\x7f", "Alpha": "a-zA-Z", "Digit": "0-9", "Alnum": "a-zA-Z0-9", "Upper": "A-Z", "Lower": "a-z",
    "Graph": "!-~", "Print": " -~",
}  # fmt: skip
_ALL_PAIRS: Final = r"\uD800\uDC00-\uDBFF\uDFFF"  # how Java writes everything beyond the first plane
_CLASS: Final = re.compile(r"\[(?:\\.|[^\]\\])*\]")
# Where Unicode has letters, marks, numbers, signs and spaces: planes 0 to 3, and a few marks far above them.
# https://www.unicode.org/Public/UNIDATA/Blocks.txt
_ASSIGNED: Final = (range(0x32400), range(0xE0100, 0xE01F0))
_AMBIGUOUS_HYPHEN: Final = re.compile(r"(\\[wds])-(?!\])")


def matches(pattern: str, value: str) -> bool:
    """Whether the whole value satisfies the pattern; a pattern that cannot be read is satisfied by everything."""
    compiled = compiled_pattern(pattern)
    return compiled is None or compiled.fullmatch(value) is not None


@functools.lru_cache(maxsize=4096)
def compiled_pattern(pattern: str) -> re.Pattern[str] | None:
    """None for one that uses what has no likeness here: that is left to the service."""
    try:
        return re.compile(_translated(pattern), re.ASCII)
    except re.error:
        return None


def _translated(pattern: str) -> str:
    """Categories are spelled out, and a hyphen after a class of characters is itself, as it is in Java."""
    pattern = pattern.replace(_ALL_PAIRS, r"\U00010000-\U0010FFFF")
    text = _CLASS.sub(lambda found: _AMBIGUOUS_HYPHEN.sub(r"\1\\-", _spelled(found[0])), pattern)
    return _CATEGORY.sub(lambda found: f"[{_ranges(found[1])}]", text)


def _spelled(character_class: str) -> str:
    return _CATEGORY.sub(lambda found: _ranges(found[1]), character_class)


@functools.lru_cache(maxsize=32)
def _ranges(category: str) -> str:
    """The inside of a character class with all of a category: `L`, `Nd`, `Print`."""
    if category in _POSIX:
        return _POSIX[category]
    wanted = (code for block in _ASSIGNED for code in block if unicodedata.category(chr(code)).startswith(category))
    return "".join(
        re.escape(chr(first)) + (f"-{re.escape(chr(last))}" if last > first else "") for first, last in _runs(wanted)
    )


def _runs(codes: Iterable[int]) -> Iterable[tuple[int, int]]:
    first = last = -2
    for code in codes:
        if code != last + 1:
            if first >= 0:
                yield first, last
            first = code
        last = code
    if first >= 0:
        yield first, last

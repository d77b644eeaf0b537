"""What a filter pattern speaks of, taken out of a message: TestMetricFilter's `extractedValues`. Pure.

TEST = https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_TestMetricFilter.html
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from lambent.services.logs.pattern import fields, members
from lambent.services.logs.pattern.scanning import Scanner

_STRINGS: Final = re.compile(r'"(?:[^"\\]|\\.)*"|%(?:[^%\\]|\\.)*%', re.DOTALL)
_SELECTOR: Final = re.compile(r"\$(?:\.?\['(?:[^'\\]|\\.)*'\]|\.[\w\-@/]+|\[(?:\d{1,9}|\*)\])+")
_NAME: Final = re.compile(r"\w+")
_ELLIPSIS: Final = "..."


def extract(pattern: str, message: str) -> dict[str, str]:
    """Of a pattern that was compiled and a message that it matches: `{"$.a": "1"}`, `{"$ip": "127.0.0.1", "$2": "-"}`."""
    stripped = pattern.strip()
    if stripped.startswith("{"):
        return _of_members(stripped, message)
    if stripped.startswith("["):
        return _of_fields(stripped[1:-1], message)
    return {}


def select(message: str, selector: str) -> str | None:
    """The first value that a selector (`$.a.b`) reaches in a line of JSON; None where it reaches none.

    Raises AwsError for what is no selector, msgspec.DecodeError for what is no JSON.
    """
    for value in members.selected(msgspec.json.decode(message.strip()), Scanner(selector)):
        return value if isinstance(value, str) else _json(value)
    return None


def _of_members(pattern: str, message: str) -> dict[str, str]:
    document = msgspec.json.decode(message.strip())
    found: dict[str, str] = {}
    for selector in _SELECTOR.findall(_STRINGS.sub('""', pattern)):
        for value in members.selected(document, Scanner(selector)):
            found[selector] = value if isinstance(value, str) else _json(value)
            break
    return found


def _of_fields(pattern: str, message: str) -> dict[str, str]:
    names = [_name(part) for part in _STRINGS.sub('""', pattern.strip() or _ELLIPSIS).split(",")]
    limit = None if _ELLIPSIS in names else len(names)
    columns = fields.columns(message, limit)
    if _ELLIPSIS in names:
        gap = names.index(_ELLIPSIS)
        names[gap : gap + 1] = [""] * (len(columns) - len(names) + 1)
    return {f"${name or number}": value for number, (name, value) in enumerate(zip(names, columns, strict=False), 1)}


def _name(condition: str) -> str:
    """Of a field; empty where it has none."""
    if condition.strip() == _ELLIPSIS:
        return _ELLIPSIS
    found = _NAME.search(condition)
    return found[0] if found is not None else ""


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()

"""What a target gets of an event: all of it, a part, a constant, or a text with parts of it in.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import attrs
import msgspec

from lambent.model.json_path import MISSING, PathError, find, parse_path

_PLACEHOLDER: Final = re.compile(r"<([A-Za-z0-9_.-]+)>")
_RESERVED: Final = "aws."


@attrs.frozen(kw_only=True)
class Matched:
    """An event, and the rule that it matched."""

    event: Mapping[str, Any]
    encoded: bytes  # the event as JSON
    rule_arn: str
    rule_name: str
    ingested: str  # 2026-11-21T08:00:00Z


def is_json(text: str) -> bool:
    """What a constant must be."""
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def rendered(target: Mapping[str, Any], matched: Matched) -> bytes:
    if (constant := target.get("Input")) is not None:
        return str(constant).encode()
    if (path := target.get("InputPath")) is not None:
        found = find(path, matched.event)
        return msgspec.json.encode(None if found is MISSING else found)
    if (transformer := target.get("InputTransformer")) is not None:
        return _transformed(transformer, matched).encode()
    return matched.encoded


def problem_of(transformer: Mapping[str, Any]) -> str | None:
    """What is wrong with an input transformer; None for nothing."""
    paths = transformer.get("InputPathsMap") or {}
    for name, path in paths.items():
        if name.lower().startswith(_RESERVED):
            return f"InputPathsMap's key {name} begins with AWS"
        try:
            parse_path(path)
        except PathError as error:
            return f"InputPathsMap: {error}"
    template = transformer["InputTemplate"]
    known = {*paths, *_PREDEFINED}
    unknown = [name for name in _PLACEHOLDER.findall(template) if name not in known]
    if unknown:
        return f"InputTemplate uses {unknown[0]}, which is not in InputPathsMap"
    if template.lstrip()[:1] in ("{", "["):
        filled = _filled(template, dict.fromkeys(known, 0))
        try:
            msgspec.json.decode(filled)
        except msgspec.DecodeError as error:
            return f"InputTemplate is not JSON: {error}"
    return None


def _transformed(transformer: Mapping[str, Any], matched: Matched) -> str:
    values = {name: find(path, matched.event) for name, path in (transformer.get("InputPathsMap") or {}).items()}
    values |= {
        "aws.events.rule-arn": matched.rule_arn,
        "aws.events.rule-name": matched.rule_name,
        "aws.events.event.ingestion-time": matched.ingested,
        "aws.events.event": {name: value for name, value in matched.event.items() if name != "detail"},
        "aws.events.event.json": matched.event,
    }
    return _filled(transformer["InputTemplate"], values)


_PREDEFINED: Final = frozenset(
    {
        "aws.events.rule-arn", "aws.events.rule-name", "aws.events.event.ingestion-time", "aws.events.event",
        "aws.events.event.json",
    }
)  # fmt: skip


def _filled(template: str, values: Mapping[str, Any]) -> str:
    """Strings are quoted where JSON expects a value, and bare inside of quotes or of a text that is no JSON."""
    is_text = template.lstrip()[:1] not in ("{", "[", '"', "<")
    parts: list[str] = []
    at, in_string = 0, False
    for found in _PLACEHOLDER.finditer(template):
        before = template[at : found.start()]
        in_string = _in_string(before, in_string)
        at = found.end()
        value = values.get(found[1], MISSING)
        parts += [before, _shown(value, bare=in_string or is_text, escaped=in_string)]
    return "".join([*parts, template[at:]])


def _in_string(text: str, in_string: bool) -> bool:
    """Whether JSON is inside of a string behind this text."""
    escaped = False
    for character in text:
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = in_string
        elif character == '"':
            in_string = not in_string
    return in_string


def _shown(value: Any, *, bare: bool, escaped: bool) -> str:
    if value is MISSING:
        return "" if bare else "null"
    text = value if bare and isinstance(value, str) else msgspec.json.encode(value).decode()
    return msgspec.json.encode(text).decode()[1:-1] if escaped else text

"""Which records a mapping's filter criteria let through: any of the patterns has to match.

Where a source's data is text (a message's body, a stream record's data), patterns look into it if it is a JSON object;
a pattern of one form never matches data of the other.
https://docs.aws.amazon.com/lambda/latest/dg/with-sqs-filtering.html, "Properly filtering Amazon SQS messages"
https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis-filtering.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import msgspec

from lambent.model.event_pattern import EventPattern, compile_pattern

Record = Mapping[str, Any]


@attrs.frozen(eq=False)
class _Pattern:
    pattern: EventPattern
    into_data: bool  # it names members of the data
    whole_data: bool  # it speaks of the data as one text


@attrs.frozen(eq=False)
class RecordFilter:
    """Compiled once for each mapping."""

    patterns: tuple[_Pattern, ...]
    data_member: str | None  # "body" or "data"; None: records are JSON throughout

    def lets_through(self, record: Record) -> bool:
        """`record` is what the function would see, a text in `data_member`."""
        if not self.patterns:
            return True
        data = _object(record.get(self.data_member)) if self.data_member is not None else None
        return any(self._matches(each, record, data) for each in self.patterns)

    def _matches(self, each: _Pattern, record: Record, data: dict[str, Any] | None) -> bool:
        if each.into_data:
            return data is not None and each.pattern.matches({**record, str(self.data_member): data})
        if each.whole_data and data is not None:
            return False
        return each.pattern.matches(record)


def compile_filter(mapping: Mapping[str, Any], data_member: str | None) -> RecordFilter:
    """Of a stored mapping, whose patterns were checked. Raises PatternError."""
    filters = (mapping.get("FilterCriteria") or {}).get("Filters") or []
    return RecordFilter(tuple(_compiled(item["Pattern"], data_member) for item in filters), data_member)


def _compiled(text: str, data_member: str | None) -> _Pattern:
    pattern = compile_pattern(text)
    paths = {path for branch in pattern.branches for path in branch}
    return _Pattern(
        pattern,
        into_data=data_member is not None and any(path.startswith(f"{data_member}.") for path in paths),
        whole_data=data_member is not None and data_member in paths,
    )


def _object(data: Any) -> dict[str, Any] | None:
    if not isinstance(data, str) or not data.lstrip().startswith("{"):
        return None
    try:
        found = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None

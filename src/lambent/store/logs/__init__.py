"""Log lines, kept durably: `LogStore` is the way in."""

from lambent.store.logs.chunks import EVENT_OVERHEAD_BYTES, START, Position, event_bytes
from lambent.store.logs.filters import FilterMissing, FiltersFull, Lane, Owed
from lambent.store.logs.reading import FOREVER_MS, Page, Query, StoredEvent
from lambent.store.logs.rows import (
    Group,
    GroupKey,
    LogGroupExists,
    LogGroupMissing,
    LogStreamExists,
    LogStreamMissing,
    Stream,
    StreamKey,
)
from lambent.store.logs.store import LogStore

__all__ = [
    "EVENT_OVERHEAD_BYTES",
    "FOREVER_MS",
    "START",
    "FilterMissing",
    "FiltersFull",
    "Group",
    "GroupKey",
    "Lane",
    "LogGroupExists",
    "LogGroupMissing",
    "LogStore",
    "LogStreamExists",
    "LogStreamMissing",
    "Owed",
    "Page",
    "Position",
    "Query",
    "StoredEvent",
    "Stream",
    "StreamKey",
    "event_bytes",
]

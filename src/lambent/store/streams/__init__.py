"""Data streams, kept durably: `StreamStore` is the way in."""

from lambent.store.streams.store import StreamStore
from lambent.store.streams.values import (
    HASHES,
    POSITION_MAX,
    Consumer,
    NewRecord,
    Page,
    Placed,
    Record,
    Settings,
    Shard,
    Stream,
    StreamExists,
    StreamKey,
    StreamMissing,
)

__all__ = [
    "HASHES",
    "POSITION_MAX",
    "Consumer",
    "NewRecord",
    "Page",
    "Placed",
    "Record",
    "Settings",
    "Shard",
    "Stream",
    "StreamExists",
    "StreamKey",
    "StreamMissing",
    "StreamStore",
]

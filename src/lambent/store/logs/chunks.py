"""Log events packed for the disk: many in one compressed block, ordered by time. Pure.

An event's id says when it was taken in (milliseconds, upper bits) and orders events of the same time (lower bits).
Ids grow for the whole store, so (timestamp, id) orders any set of events in one way only.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import Final

import attrs
import msgspec

Event = tuple[int, int, str]  # milliseconds since the epoch, id, message
Position = tuple[int, int]  # (timestamp, id): a place between events

START: Final[Position] = (0, 0)
EVENT_OVERHEAD_BYTES: Final = 26  # PutLogEvents: what AWS adds to each message's UTF-8
CHUNK_BYTES: Final = 256 * 1024  # raw; more goes to another chunk
SMALL_CHUNK_BYTES: Final = 64 * 1024  # raw; below it a chunk is worth merging with its neighbours

_ID_BITS: Final = 20
_ZLIB_LEVEL: Final = 1  # 4 to 8 times smaller for logs at most of the disk's speed
_WORTH_COMPRESSING_BYTES: Final = 512  # for less, setting up zlib costs more than writing
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[list[int], list[int], list[str]]).decode


def next_id(last_id: int, now_ms: int) -> int:
    """Larger than `last_id` even when the clock went back."""
    return max(last_id + 1, now_ms << _ID_BITS)


def ingestion_ms(event_id: int) -> int:
    return event_id >> _ID_BITS


def event_bytes(message: str) -> int:
    """The size that AWS bills and limits."""
    size = len(message) if message.isascii() else len(message.encode("utf-8", "replace"))
    return size + EVENT_OVERHEAD_BYTES


@attrs.frozen
class Chunk:
    """Some events of one stream, in order, as a row and its body."""

    first_ms: int
    last_ms: int
    first_id: int
    last_id: int
    events: int
    raw_bytes: int
    body: bytes


def pack(events: Sequence[Event]) -> Iterator[Chunk]:
    """One chunk, or several where the events are more than one should hold. Takes them in any order."""
    ordered = sorted(events)
    text = "".join([message for _, _, message in ordered])
    all_bytes = len(text) + EVENT_OVERHEAD_BYTES * len(ordered)
    if text.isascii() and 0 < all_bytes <= CHUNK_BYTES:  # nearly always: no need to look at each
        yield _pack(ordered, all_bytes)
        return
    start = raw_bytes = 0
    for index, (_, _, message) in enumerate(ordered):
        size = event_bytes(message)
        if raw_bytes and raw_bytes + size > CHUNK_BYTES:
            yield _pack(ordered[start:index], raw_bytes)
            start, raw_bytes = index, 0
        raw_bytes += size
    if raw_bytes:
        yield _pack(ordered[start:], raw_bytes)


def _pack(ordered: Sequence[Event], raw_bytes: int) -> Chunk:
    times, ids, messages = zip(*ordered, strict=True)
    try:
        raw = _encode((times, ids, messages))
    except UnicodeEncodeError:  # half of a surrogate pair, which no UTF-8 can hold
        raw = _encode((times, ids, [m.encode("utf-8", "replace").decode() for m in messages]))
    return Chunk(
        first_ms=times[0],
        last_ms=times[-1],
        first_id=min(ids),
        last_id=max(ids),
        events=len(ordered),
        raw_bytes=raw_bytes,
        body=b"\1" + zlib.compress(raw, _ZLIB_LEVEL) if len(raw) >= _WORTH_COMPRESSING_BYTES else b"\0" + raw,
    )


def unpack(body: bytes) -> list[Event]:
    """In order. Raises zlib.error and msgspec.DecodeError for what `pack` did not make."""
    raw = memoryview(body)[1:]
    times, ids, messages = _decode(zlib.decompress(raw) if body[0] else raw)
    return list(zip(times, ids, messages, strict=True))


def after(events: Sequence[Event], position: Position) -> int:
    """Index of the first event beyond the position; the event at the position itself is not beyond it."""
    return bisect_right(events, position, key=_place)


def before(events: Sequence[Event], position: Position) -> int:
    """Index of the first event at or beyond the position."""
    return bisect_left(events, position, key=_place)


def _place(event: Event) -> Position:
    return event[0], event[1]

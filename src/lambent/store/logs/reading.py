"""Reading many chunks as one sequence of events, forwards or backwards, a page at a time.

Chunks of one stream may overlap in time (late events, other clocks), and a group has many streams. Chunks are opened
only when the merge reaches their first event, so memory is bounded by how many overlap, not by how many there are.
"""

from __future__ import annotations

import heapq
import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import attrs

from lambent.store.logs.chunks import Event, Position, after, before, event_bytes, ingestion_ms, unpack

CACHE_BYTES: Final = 8 * 1024 * 1024  # raw, of opened chunks
SCAN_BYTES: Final = 32 * 1024 * 1024  # raw; a page that has looked at so much is given back, full or not
SCAN_S: Final = 0.5
FOREVER_MS: Final = 2**62

Match = Callable[[str], bool]


@attrs.frozen
class StoredEvent:
    stream: str
    timestamp_ms: int
    id: int
    message: str

    @property
    def ingestion_ms(self) -> int:
        return ingestion_ms(self.id)

    @property
    def position(self) -> Position:
        return self.timestamp_ms, self.id


@attrs.frozen(kw_only=True)
class Query:
    """Which events of a group, and where in them to begin."""

    group_id: int
    stream_names: tuple[str, ...] | None = None  # None: all
    stream_prefix: str = ""
    start_ms: int = 0  # inclusive
    end_ms: int = FOREVER_MS  # exclusive
    position: Position | None = None  # exclusive on both sides: the last event that was seen
    backward: bool = False
    limit: int = 10_000
    limit_bytes: int = 1024 * 1024
    match: Match | None = None


@attrs.frozen
class Page:
    """`events` in the order of reading: newest first when it went backwards."""

    events: Sequence[StoredEvent]
    position: Position | None  # where the next page begins; None: there is nothing beyond


class ChunkCache:
    """Opened chunks, least recently used ones forgotten. Used from several threads."""

    def __init__(self, capacity_bytes: int = CACHE_BYTES) -> None:
        self._capacity_bytes = capacity_bytes
        self._chunks: OrderedDict[int, tuple[int, list[Event]]] = OrderedDict()
        self._held_bytes = 0
        self._lock = threading.Lock()

    def get(self, connection: sqlite3.Connection, chunk_id: int, raw_bytes: int) -> list[Event]:
        with self._lock:
            held = self._chunks.get(chunk_id)
            if held is not None:
                self._chunks.move_to_end(chunk_id)
                return held[1]
        (body,) = connection.execute("SELECT body FROM chunks WHERE id = ?", (chunk_id,)).fetchone()
        events = unpack(body)
        with self._lock:
            if chunk_id not in self._chunks:
                self._chunks[chunk_id] = (raw_bytes, events)
                self._held_bytes += raw_bytes
            while self._held_bytes > self._capacity_bytes and len(self._chunks) > 1:
                _, (size, _) = self._chunks.popitem(last=False)
                self._held_bytes -= size
        return events


def read_page(connection: sqlite3.Connection, cache: ChunkCache, query: Query) -> Page:
    """At least one event when there is one and nothing had to be skipped; never more than the limits."""
    connection.execute("BEGIN")  # one snapshot: compaction may not move what is being read
    try:
        return _read_page(_merge(connection, cache, query), query)
    finally:
        connection.execute("ROLLBACK")


def _read_page(events: Iterator[tuple[Event, str]], query: Query) -> Page:
    page: list[StoredEvent] = []
    page_bytes = scanned_bytes = 0
    position = query.position
    deadline_s = time.monotonic() + SCAN_S
    for (timestamp_ms, event_id, message), stream in events:
        size = event_bytes(message)
        if scanned_bytes >= SCAN_BYTES or (scanned_bytes and time.monotonic() > deadline_s and query.match):
            return Page(page, position)
        scanned_bytes += size
        if query.match is None or query.match(message):
            if page and (len(page) >= query.limit or page_bytes + size > query.limit_bytes):
                return Page(page, position)
            page.append(StoredEvent(stream, timestamp_ms, event_id, message))
            page_bytes += size
        position = (timestamp_ms, event_id)
    return Page(page, None)


def _merge(connection: sqlite3.Connection, cache: ChunkCache, query: Query) -> Iterator[tuple[Event, str]]:
    """The chunks' events in one order. The heap holds one event of each chunk that is open."""
    sign = -1 if query.backward else 1
    step = sign
    waiting = _chunks(connection, query)
    upcoming = next(waiting, None)
    heap: list[tuple[int, int, int, list[Event], int, str]] = []  # time, id, index, events, end, stream
    while heap or upcoming:
        while upcoming and (not heap or sign * (upcoming[1] if sign > 0 else upcoming[2]) <= heap[0][0]):
            chunk_id, _, _, raw_bytes, stream = upcoming
            events = cache.get(connection, chunk_id, raw_bytes)
            index, end = _window(events, query)
            if index != end:
                heapq.heappush(heap, (sign * events[index][0], sign * events[index][1], index, events, end, stream))
            upcoming = next(waiting, None)
        if not heap:
            continue
        _, _, index, events, end, stream = heap[0]
        yield events[index], stream
        index += step
        if index == end:
            heapq.heappop(heap)
        else:
            following = events[index]
            heapq.heapreplace(heap, (sign * following[0], sign * following[1], index, events, end, stream))


def _window(events: list[Event], query: Query) -> tuple[int, int]:
    """First index and the one beyond the last, in the direction of reading."""
    low = before(events, (query.start_ms, -1))
    high = before(events, (query.end_ms, -1))
    if query.position is not None:
        if query.backward:
            high = min(high, before(events, query.position))
        else:
            low = max(low, after(events, query.position))
    if high <= low:
        return 0, 0
    return (high - 1, low - 1) if query.backward else (low, high)


def _chunks(connection: sqlite3.Connection, query: Query) -> Iterator[tuple[int, int, int, int, str]]:
    """(id, first_ms, last_ms, raw_bytes, stream name) in the order in which the merge needs them."""
    low_ms, high_ms = query.start_ms, query.end_ms - 1
    if query.position is not None:
        if query.backward:
            high_ms = min(high_ms, query.position[0])
        else:
            low_ms = max(low_ms, query.position[0])
    order = "c.last_ms DESC" if query.backward else "c.first_ms"
    where, parameters = _streams(query)
    # CROSS JOIN keeps SQLite from leaving the order of the chunks' index.
    sql = (
        "SELECT c.id, c.first_ms, c.last_ms, c.raw_bytes, s.name FROM chunks c CROSS JOIN streams s ON s.id = c.stream_id "
        f"WHERE {where} AND c.first_ms <= ? AND c.last_ms >= ? ORDER BY {order}"
    )
    yield from connection.execute(sql, (*parameters, high_ms, low_ms))


def _streams(query: Query) -> tuple[str, tuple[object, ...]]:
    if query.stream_names is not None:
        marks = ", ".join("?" * len(query.stream_names))
        names = f"SELECT id FROM streams WHERE group_id = ? AND name IN ({marks})"
        return f"c.stream_id IN ({names})", (query.group_id, *query.stream_names)
    prefix = query.stream_prefix
    return "c.group_id = ? AND substr(s.name, 1, length(?)) = ?", (query.group_id, prefix, prefix)

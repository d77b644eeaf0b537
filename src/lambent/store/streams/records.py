"""Records: written on the writer's thread, read on any other."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Sequence

from lambent.store.streams import rows
from lambent.store.streams.values import POSITION_MAX, NewRecord, Page, Placed, Record, Shard, Stream


class Writer:
    """What the writer's thread remembers: streams as they are in its transaction, and where each shard ends.

    A transaction that is undone does no harm: versions are random, and positions that were skipped are just not used.
    """

    def __init__(self) -> None:
        self._streams: dict[int, Stream] = {}
        self._ends: dict[int, tuple[int, int]] = {}  # by the shard's id: last position, when it arrived
        self._turns = itertools.count()

    def put(
        self, connection: sqlite3.Connection, stream_id: int, records: Sequence[NewRecord], now_ms: int
    ) -> list[Placed]:
        """Raises StreamMissing."""
        stream = self._stream(connection, stream_id)
        encrypted = stream.settings.key_id is not None
        placed: list[Placed] = []
        lines = []
        for record in records:
            shard = self._shard(stream, record)
            position, arrived_ms = self._end(connection, shard)
            place = Placed(shard, position + 1, max(arrived_ms, now_ms))
            self._ends[shard.id] = place.position, place.arrived_ms
            placed.append(place)
            identifier = shard.record_id(place.position)
            lines.append((identifier, place.arrived_ms, record.partition_key, encrypted, record.data))
        connection.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?)", lines)
        return placed

    def _stream(self, connection: sqlite3.Connection, stream_id: int) -> Stream:
        version = rows.version(connection, stream_id)
        known = self._streams.get(stream_id)
        if known is None or known.version != version:
            known = self._streams[stream_id] = rows.stream_by_id(connection, stream_id)
        return known

    def _shard(self, stream: Stream, record: NewRecord) -> Shard:
        if record.hash_key is None:
            return stream.open_shards[next(self._turns) % len(stream.open_shards)]
        return stream.shard_for(record.hash_key)

    def _end(self, connection: sqlite3.Connection, shard: Shard) -> tuple[int, int]:
        known = self._ends.get(shard.id)
        return known if known is not None else end(connection, shard)

    def forget(self, stream: Stream) -> None:
        """After it was deleted."""
        self._streams.pop(stream.id, None)
        for shard in stream.shards:
            self._ends.pop(shard.id, None)


def end(connection: sqlite3.Connection, shard: Shard) -> tuple[int, int]:
    """The last position that was given in a shard, and when its record arrived; (0, 0) when there never was one."""
    row = connection.execute(
        "SELECT id, arrived_ms FROM records WHERE id BETWEEN ? AND ? ORDER BY id DESC LIMIT 1",
        (shard.record_id(0), shard.record_id(POSITION_MAX)),
    ).fetchone()
    if row is not None:
        return row[0] & POSITION_MAX, row[1]
    trimmed = connection.execute("SELECT trimmed FROM shards WHERE id = ?", (shard.id,)).fetchone()
    return (trimmed[0], 0) if trimmed is not None else (0, 0)


def read(
    connection: sqlite3.Connection, shard: Shard, position: int, limit: int, max_bytes: int, since_ms: int, now_ms: int
) -> Page:
    """Records from `position` on that arrived at `since_ms` or later: at least one, if there is one."""
    found: list[Record] = []
    size = 0
    start = position
    for attempt in range(2):
        cursor = connection.execute(
            "SELECT id, arrived_ms, partition_key, encrypted, data FROM records"
            " WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?",
            (shard.record_id(start), shard.record_id(POSITION_MAX), limit + 1),
        )
        for identifier, arrived_ms, partition_key, encrypted, data in cursor:
            if arrived_ms < since_ms and attempt == 0:
                break  # expired and not yet taken away
            size += len(data) + len((partition_key or "").encode())
            place = identifier & POSITION_MAX
            if len(found) == limit or (found and size > max_bytes):
                cursor.close()
                return Page(found, place, max(0, now_ms - arrived_ms))
            found.append(Record(place, arrived_ms, partition_key, bool(encrypted), data))
        else:
            return Page(found, found[-1].position + 1 if found else start, 0)
        cursor.close()
        start = max(start, first_since(connection, shard, since_ms))
    raise AssertionError("the second look never meets an expired record")


def first_since(connection: sqlite3.Connection, shard: Shard, since_ms: int) -> int:
    """Where the first record is that arrived at `since_ms` or later; behind the last one, if there is none.

    By halving: arrival never falls within a shard, so no index is kept for it.
    """
    last = shard.record_id(POSITION_MAX)

    def look(identifier: int) -> tuple[int, int] | None:
        found: tuple[int, int] | None = connection.execute(
            "SELECT id, arrived_ms FROM records WHERE id BETWEEN ? AND ? ORDER BY id LIMIT 1", (identifier, last)
        ).fetchone()
        return found

    low = shard.record_id(0)  # everything below arrived earlier
    high = shard.record_id(end(connection, shard)[0] + 1)  # everything from here on did not
    while low < high:
        found = look((low + high) // 2)
        if found is None or found[1] >= since_ms:
            high = (low + high) // 2
        else:
            low = found[0] + 1
    return low & POSITION_MAX


def oldest_ms(connection: sqlite3.Connection, shard: Shard) -> int | None:
    """When the first record arrived that is still there."""
    row = connection.execute(
        "SELECT arrived_ms FROM records WHERE id BETWEEN ? AND ? ORDER BY id LIMIT 1",
        (shard.record_id(0), shard.record_id(POSITION_MAX)),
    ).fetchone()
    return None if row is None else int(row[0])


def trim(connection: sqlite3.Connection, shard: Shard, before_ms: int, limit: int) -> bool:
    """Takes away the oldest records, if they arrived before; remembers how far. Whether there may be more."""
    ids = connection.execute(
        "SELECT id, arrived_ms FROM records WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?",
        (shard.record_id(0), shard.record_id(POSITION_MAX), limit),
    ).fetchall()
    old = [identifier for identifier, arrived_ms in ids if arrived_ms < before_ms]
    if not old:
        return False
    connection.execute("DELETE FROM records WHERE id BETWEEN ? AND ?", (shard.record_id(0), old[-1]))
    connection.execute("UPDATE shards SET trimmed = ? WHERE id = ?", (old[-1] & POSITION_MAX, shard.id))
    return len(old) == limit

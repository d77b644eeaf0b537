"""The log store's SQL. Each function runs inside a transaction of `store.database`, on its thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

import attrs
import msgspec

from lambent.model.errors import LambentError
from lambent.store.logs import filters
from lambent.store.logs.chunks import SMALL_CHUNK_BYTES, Event, ingestion_ms, next_id, pack, unpack

COMPACT_AT_CHUNKS: Final = 32  # small chunks of one stream that are merged together
COMPACT_BYTES: Final = 1024 * 1024  # raw; the most that one compaction takes in hand
PURGE_CHUNKS: Final = 200  # deleted in one transaction, so that others are not kept waiting

GroupKey = tuple[str, str, str]  # account, region, group
StreamKey = tuple[str, str, str, str]  # account, region, group, stream
Batch = Mapping[StreamKey, Sequence[Event]]


class LogGroupMissing(LambentError):
    """There is no such log group."""


class LogGroupExists(LambentError):
    """There is such a log group already."""


class LogStreamMissing(LambentError):
    """There is no such log stream."""


class LogStreamExists(LambentError):
    """There is such a log stream already."""


@attrs.frozen(kw_only=True)
class Group:
    id: int
    account_id: str
    region: str
    name: str
    created_ms: int
    retention_days: int | None
    stored_bytes: int
    attributes: Mapping[str, Any]
    tags: Mapping[str, str]
    metric_filters: int = 0  # how many it has


@attrs.frozen(kw_only=True)
class Stream:
    id: int
    group_id: int
    name: str
    created_ms: int
    first_event_ms: int | None  # None: no events yet, and the two below are 0
    last_event_ms: int
    last_ingestion_ms: int
    stored_bytes: int


_GROUP_NAMES = "id, account_id, region, name, created_ms, retention_days, stored_bytes, attributes, tags"
_GROUP = f"{_GROUP_NAMES}, (SELECT count(*) FROM filters WHERE (group_id, kind) = (groups.id, 'metric'))"
_STREAM = "id, group_id, name, created_ms, first_event_ms, last_event_ms, last_ingestion_ms, stored_bytes"


def _group(row: Sequence[Any]) -> Group:
    values = dict(zip([*_GROUP_NAMES.split(", "), "metric_filters"], row, strict=True))
    values["attributes"] = msgspec.json.decode(values["attributes"])
    values["tags"] = msgspec.json.decode(values["tags"])
    return Group(**values)


def _stream(row: Sequence[Any]) -> Stream:
    return Stream(**dict(zip(_STREAM.split(", "), row, strict=True)))


# ── groups ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def group(connection: sqlite3.Connection, key: GroupKey) -> Group:
    """Raises LogGroupMissing."""
    sql = f"SELECT {_GROUP} FROM groups WHERE (account_id, region, name) = (?, ?, ?)"
    row = connection.execute(sql, key).fetchone()
    if row is None:
        raise LogGroupMissing(key[2])
    return _group(row)


def create_group(
    connection: sqlite3.Connection, key: GroupKey, now_ms: int, attributes: Mapping[str, Any], tags: Mapping[str, str]
) -> None:
    """Raises LogGroupExists."""
    cursor = connection.execute(
        "INSERT INTO groups (account_id, region, name, created_ms, attributes, tags) VALUES (?, ?, ?, ?, ?, ?) "
        "ON CONFLICT DO NOTHING",
        (*key, now_ms, _json(attributes), _json(tags)),
    )
    if cursor.rowcount == 0:
        raise LogGroupExists(key[2])


def delete_group(connection: sqlite3.Connection, key: GroupKey) -> None:
    """Its streams vanish at once, their chunks in the background. Raises LogGroupMissing."""
    group_id = group(connection, key).id
    connection.execute("INSERT INTO garbage SELECT id FROM streams WHERE group_id = ?", (group_id,))
    connection.execute("DELETE FROM streams WHERE group_id = ?", (group_id,))
    connection.execute("DELETE FROM groups WHERE id = ?", (group_id,))
    filters.delete_all(connection, group_id)


def groups(
    connection: sqlite3.Connection,
    account_id: str,
    region: str,
    *,
    prefix: str = "",
    containing: str = "",
    after: str = "",
    limit: int = 50,
) -> list[Group]:
    """By name; `after` is the last name of the page before. `containing` is a case-sensitive part of the name."""
    sql = (
        f"SELECT {_GROUP} FROM groups WHERE account_id = ? AND region = ? AND name > ? "
        "AND substr(name, 1, length(?)) = ? AND instr(name, ?) > 0 ORDER BY name LIMIT ?"
    )
    parameters = (account_id, region, after, prefix, prefix, containing, limit)
    return [_group(row) for row in connection.execute(sql, parameters)]


def set_retention(connection: sqlite3.Connection, key: GroupKey, days: int | None) -> None:
    """None: for ever. Raises LogGroupMissing."""
    connection.execute("UPDATE groups SET retention_days = ? WHERE id = ?", (days, group(connection, key).id))


def set_attributes(connection: sqlite3.Connection, key: GroupKey, attributes: Mapping[str, Any]) -> None:
    """Adds to what is there, or replaces it. Raises LogGroupMissing."""
    found = group(connection, key)
    merged = _json({**found.attributes, **attributes})
    connection.execute("UPDATE groups SET attributes = ? WHERE id = ?", (merged, found.id))


def change_tags(
    connection: sqlite3.Connection, key: GroupKey, add: Mapping[str, str], remove: Iterable[str]
) -> Mapping[str, str]:
    """Returns the tags as they are now. Raises LogGroupMissing."""
    found = group(connection, key)
    dropped = set(remove)
    tags = {name: value for name, value in {**found.tags, **add}.items() if name not in dropped}
    connection.execute("UPDATE groups SET tags = ? WHERE id = ?", (_json(tags), found.id))
    return tags


# ── streams ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def stream(connection: sqlite3.Connection, key: StreamKey) -> Stream:
    """Raises LogGroupMissing, LogStreamMissing."""
    group_id = group(connection, key[:3]).id
    sql = f"SELECT {_STREAM} FROM streams WHERE group_id = ? AND name = ?"
    row = connection.execute(sql, (group_id, key[3])).fetchone()
    if row is None:
        raise LogStreamMissing(key[3])
    return _stream(row)


def create_stream(connection: sqlite3.Connection, key: StreamKey, now_ms: int) -> None:
    """Raises LogGroupMissing, LogStreamExists."""
    cursor = connection.execute(
        "INSERT INTO streams (group_id, name, created_ms) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        (group(connection, key[:3]).id, key[3], now_ms),
    )
    if cursor.rowcount == 0:
        raise LogStreamExists(key[3])


def delete_stream(connection: sqlite3.Connection, key: StreamKey) -> None:
    """Raises LogGroupMissing, LogStreamMissing."""
    found = stream(connection, key)
    connection.execute("INSERT INTO garbage VALUES (?)", (found.id,))
    connection.execute("DELETE FROM streams WHERE id = ?", (found.id,))
    connection.execute(
        "UPDATE groups SET stored_bytes = stored_bytes - ? WHERE id = ?", (found.stored_bytes, found.group_id)
    )


def streams_by_name(
    connection: sqlite3.Connection, group_id: int, *, prefix: str, after: str | None, descending: bool, limit: int
) -> list[Stream]:
    beyond = "" if after is None else f"AND name {'<' if descending else '>'} ?"
    sql = (
        f"SELECT {_STREAM} FROM streams WHERE group_id = ? {beyond} "
        f"AND substr(name, 1, length(?)) = ? ORDER BY name {_direction(descending)} LIMIT ?"
    )
    parameters = (group_id, *(() if after is None else (after,)), prefix, prefix, limit)
    return [_stream(row) for row in connection.execute(sql, parameters)]


def streams_by_last_event(
    connection: sqlite3.Connection, group_id: int, *, after: tuple[int, str] | None, descending: bool, limit: int
) -> list[Stream]:
    """Streams without events count as oldest. `after` is the last event and the name that ended the page before."""
    direction = _direction(descending)
    beyond = "" if after is None else f"AND (last_event_ms, name) {'<' if descending else '>'} (?, ?)"
    sql = (
        f"SELECT {_STREAM} FROM streams WHERE group_id = ? {beyond} "
        f"ORDER BY last_event_ms {direction}, name {direction} LIMIT ?"
    )
    return [_stream(row) for row in connection.execute(sql, (group_id, *(after or ()), limit))]


def _direction(descending: bool) -> Literal["DESC", "ASC"]:
    return "DESC" if descending else "ASC"


# ── events ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def last_event_id(connection: sqlite3.Connection) -> int:
    """No event of a stream that is there has a higher id."""
    return next_id(
        0, int(connection.execute("SELECT ifnull(max(last_ingestion_ms), 0) + 1 FROM streams").fetchone()[0])
    )


def store_batch(connection: sqlite3.Connection, batch: Batch, now_ms: int) -> list[int]:
    """Writes the events, making groups and streams that are missing. Returns the streams that want compaction."""
    crowded: list[int] = []
    for key, events in batch.items():
        group_id = _group_id(connection, key[:3], now_ms)
        stream_id, small_chunks = _store_events(connection, group_id, key[3], events, now_ms)
        if small_chunks >= COMPACT_AT_CHUNKS:
            crowded.append(stream_id)
    return crowded


def store_acknowledged(
    connection: sqlite3.Connection, key: StreamKey, events: Sequence[Event], now_ms: int
) -> list[int]:
    """The same for a stream that must be there. Raises LogGroupMissing, LogStreamMissing."""
    stream(connection, key)
    return store_batch(connection, {key: events}, now_ms)


def _group_id(connection: sqlite3.Connection, key: GroupKey, now_ms: int) -> int:
    sql = "SELECT id FROM groups WHERE (account_id, region, name) = (?, ?, ?)"
    row = connection.execute(sql, key).fetchone()
    if row is None:
        create_group(connection, key, now_ms, {}, {})
        row = connection.execute(sql, key).fetchone()
    return int(row[0])


def _store_events(
    connection: sqlite3.Connection, group_id: int, name: str, events: Sequence[Event], now_ms: int
) -> tuple[int, int]:
    chunks = list(pack(events))
    raw_bytes = sum(chunk.raw_bytes for chunk in chunks)
    small = sum(chunk.raw_bytes < SMALL_CHUNK_BYTES for chunk in chunks)
    stream_id, small_chunks = connection.execute(
        "INSERT INTO streams (group_id, name, created_ms, first_event_ms, last_event_ms, last_ingestion_ms, stored_bytes,"
        " small_chunks) VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (group_id, name) DO UPDATE SET"
        " first_event_ms = min(ifnull(first_event_ms, excluded.first_event_ms), excluded.first_event_ms),"
        " last_event_ms = max(last_event_ms, excluded.last_event_ms),"
        " last_ingestion_ms = max(last_ingestion_ms, excluded.last_ingestion_ms),"
        " stored_bytes = stored_bytes + excluded.stored_bytes,"
        " small_chunks = small_chunks + excluded.small_chunks "
        "RETURNING id, small_chunks",
        (
            group_id,
            name,
            now_ms,
            chunks[0].first_ms,
            chunks[-1].last_ms,
            ingestion_ms(max(chunk.last_id for chunk in chunks)),
            raw_bytes,
            small,
        ),
    ).fetchone()
    connection.execute("UPDATE groups SET stored_bytes = stored_bytes + ? WHERE id = ?", (raw_bytes, group_id))
    _insert_chunks(connection, group_id, stream_id, chunks)
    filters.owe(connection, group_id, name, chunks, now_ms)
    return stream_id, small_chunks


def _insert_chunks(connection: sqlite3.Connection, group_id: int, stream_id: int, chunks: Iterable[Any]) -> None:
    connection.executemany(
        "INSERT INTO chunks (group_id, stream_id, first_ms, last_ms, first_id, last_id, events, raw_bytes, body) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (group_id, stream_id, c.first_ms, c.last_ms, c.first_id, c.last_id, c.events, c.raw_bytes, c.body)
            for c in chunks
        ),
    )


def compact(connection: sqlite3.Connection, stream_id: int) -> None:
    """Merges small chunks of a stream into few larger ones; does nothing for a stream that is gone."""
    row = connection.execute("SELECT group_id FROM streams WHERE id = ?", (stream_id,)).fetchone()
    if row is None:
        return
    sql = "SELECT id, raw_bytes, body FROM chunks WHERE stream_id = ? AND raw_bytes < ? ORDER BY first_ms"
    chunk_ids: list[tuple[int]] = []
    events: list[Event] = []
    taken_bytes = 0
    for chunk_id, raw_bytes, body in connection.execute(sql, (stream_id, SMALL_CHUNK_BYTES)):
        chunk_ids.append((chunk_id,))
        events += unpack(body)
        taken_bytes += raw_bytes
        if taken_bytes >= COMPACT_BYTES:
            break
    if len(chunk_ids) > 1:
        connection.executemany("DELETE FROM chunks WHERE id = ?", chunk_ids)
        _insert_chunks(connection, row[0], stream_id, pack(events))
    connection.execute(
        "UPDATE streams SET small_chunks = (SELECT count(*) FROM chunks WHERE stream_id = ?1 AND raw_bytes < ?2) WHERE id = ?1",
        (stream_id, SMALL_CHUNK_BYTES),
    )


# ── what has had its time ─────────────────────────────────────────────────────────────────────────────────────────────


def purge(connection: sqlite3.Connection) -> bool:
    """Deletes some chunks of streams that are gone; True while there are more."""
    row = connection.execute("SELECT stream_id FROM garbage LIMIT 1").fetchone()
    if row is None:
        return False
    cursor = connection.execute(
        "DELETE FROM chunks WHERE id IN (SELECT id FROM chunks WHERE stream_id = ? LIMIT ?)", (row[0], PURGE_CHUNKS)
    )
    if cursor.rowcount < PURGE_CHUNKS:
        connection.execute("DELETE FROM garbage WHERE stream_id = ?", row)
    return True


def expire(connection: sqlite3.Connection, now_ms: int) -> bool:
    """Deletes some chunks that are older than their group keeps; True while there may be more."""
    sql = "SELECT id, ? - retention_days * 86400000 FROM groups WHERE retention_days IS NOT NULL"
    for group_id, oldest_ms in connection.execute(sql, (now_ms,)).fetchall():
        rows = connection.execute(
            "SELECT id, stream_id, raw_bytes FROM chunks WHERE group_id = ? AND last_ms < ? LIMIT ?",
            (group_id, oldest_ms, PURGE_CHUNKS),
        ).fetchall()
        if not rows:
            continue
        connection.executemany("DELETE FROM chunks WHERE id = ?", [(chunk_id,) for chunk_id, _, _ in rows])
        connection.executemany(
            "UPDATE streams SET stored_bytes = stored_bytes - ? WHERE id = ?", [(size, sid) for _, sid, size in rows]
        )
        freed_bytes = sum(size for _, _, size in rows)
        connection.execute("UPDATE groups SET stored_bytes = stored_bytes - ? WHERE id = ?", (freed_bytes, group_id))
        return True
    return False


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()

"""Rows of streams and shards. All are read at start and kept in memory, so only changes come here."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs

from lambent.store.streams.values import (
    POSITION_BITS,
    POSITION_MAX,
    Settings,
    Shard,
    Stream,
    StreamExists,
    StreamKey,
    StreamMissing,
)

_COLUMNS: Final = "id, account_id, region, name, created_ms, version, settings"
_SHARD_COLUMNS: Final = (
    "id, number, first_hash, last_hash, epoch_s, opened_ms, closed_ms, parent, adjacent_parent"  # in Shard's order
)

Row = Sequence[Any]


def _shard(row: Row) -> Shard:
    return Shard(
        id=row[0], number=row[1], first_hash=int(row[2]), last_hash=int(row[3]), epoch_s=row[4], opened_ms=row[5],
        closed_ms=row[6], parent=row[7], adjacent_parent=row[8],
    )  # fmt: skip


def _stream(connection: sqlite3.Connection, row: Row) -> Stream:
    shards = connection.execute(
        f"SELECT {_SHARD_COLUMNS} FROM shards WHERE stream_id = ? ORDER BY number", (row[0],)
    ).fetchall()
    return Stream(
        id=row[0], account_id=row[1], region=row[2], name=row[3], created_ms=row[4], version=row[5],
        settings=Settings.read(json.loads(row[6])), shards=[_shard(found) for found in shards],
    )  # fmt: skip


def all_streams(connection: sqlite3.Connection) -> list[Stream]:
    rows = connection.execute(f"SELECT {_COLUMNS} FROM streams").fetchall()
    return [_stream(connection, row) for row in rows]


def stream(connection: sqlite3.Connection, key: StreamKey) -> Stream:
    """Raises StreamMissing."""
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM streams WHERE account_id = ? AND region = ? AND name = ?", key
    ).fetchone()
    if row is None:
        raise StreamMissing(key[2])
    return _stream(connection, row)


def stream_by_id(connection: sqlite3.Connection, stream_id: int) -> Stream:
    """Raises StreamMissing."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM streams WHERE id = ?", (stream_id,)).fetchone()
    if row is None:
        raise StreamMissing(str(stream_id))
    return _stream(connection, row)


def version(connection: sqlite3.Connection, stream_id: int) -> bytes:
    """Raises StreamMissing."""
    row = connection.execute("SELECT version FROM streams WHERE id = ?", (stream_id,)).fetchone()
    if row is None:
        raise StreamMissing(str(stream_id))
    found: bytes = row[0]
    return found


def create(connection: sqlite3.Connection, new: Stream) -> Stream:
    """`new.id` is chosen here. Raises StreamExists."""
    try:
        connection.execute(
            "INSERT INTO streams (account_id, region, name, created_ms, version, settings) VALUES (?, ?, ?, ?, ?, ?)",
            (*new.key, new.created_ms, os.urandom(16), _settings_text(new.settings)),
        )
    except sqlite3.IntegrityError as error:
        raise StreamExists(new.name) from error
    (stream_id,) = connection.execute("SELECT last_insert_rowid()").fetchone()
    for shard in new.shards:
        _insert_shard(connection, stream_id, shard)
    return stream_by_id(connection, stream_id)


def change(connection: sqlite3.Connection, key: StreamKey, decide: Callable[[Stream], Stream]) -> Stream:
    """Stores what `decide` makes of the stream; shards that it adds have no id. Raises StreamMissing, and as it does."""
    present = stream(connection, key)
    wanted = decide(present)
    connection.execute(
        "UPDATE streams SET version = ?, settings = ? WHERE id = ?",
        (os.urandom(16), _settings_text(wanted.settings), present.id),
    )
    known = {shard.id: shard for shard in present.shards}
    for shard in wanted.shards:
        if shard.id == 0:
            _insert_shard(connection, present.id, shard)
        elif shard != known[shard.id]:
            connection.execute("UPDATE shards SET closed_ms = ? WHERE id = ?", (shard.closed_ms, shard.id))
    return stream_by_id(connection, present.id)


def delete(connection: sqlite3.Connection, key: StreamKey, check: Callable[[Stream], None]) -> Stream:
    """Its records are taken away later: see `rubbish`. Raises StreamMissing, and as `check` does."""
    present = stream(connection, key)
    check(present)
    for shard in present.shards:
        _delete_shard(connection, shard)
    connection.execute("DELETE FROM streams WHERE id = ?", (present.id,))
    return present


def drop_closed(connection: sqlite3.Connection, stream_id: int, before_ms: int) -> Stream | None:
    """Forgets shards that were closed before; their last records have expired. None: there were none."""
    present = stream_by_id(connection, stream_id)
    gone = [shard for shard in present.shards if shard.closed_ms is not None and shard.closed_ms < before_ms]
    if not gone:
        return None
    for shard in gone:
        _delete_shard(connection, shard)
    connection.execute("UPDATE streams SET version = ? WHERE id = ?", (os.urandom(16), stream_id))
    return stream_by_id(connection, stream_id)


def _delete_shard(connection: sqlite3.Connection, shard: Shard) -> None:
    connection.execute("INSERT INTO rubbish VALUES (?)", (shard.id,))
    connection.execute("DELETE FROM shards WHERE id = ?", (shard.id,))


def _insert_shard(connection: sqlite3.Connection, stream_id: int, shard: Shard) -> None:
    connection.execute(
        "INSERT INTO shards (stream_id, number, first_hash, last_hash, epoch_s, opened_ms, closed_ms, parent,"
        " adjacent_parent) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            stream_id, shard.number, str(shard.first_hash), str(shard.last_hash), shard.epoch_s, shard.opened_ms,
            shard.closed_ms, shard.parent, shard.adjacent_parent,
        ),
    )  # fmt: skip


def _settings_text(settings: Settings) -> str:
    return json.dumps(attrs.asdict(settings))


# What nobody needs any more, a little at a time so that others can write meanwhile.


def rubbish(connection: sqlite3.Connection) -> list[int]:
    return [row[0] for row in connection.execute("SELECT shard_id FROM rubbish")]


def clear(connection: sqlite3.Connection, shard_id: int, limit: int) -> bool:
    """Takes away records of a shard that is gone. Whether there may be more."""
    first, last = shard_id << POSITION_BITS, shard_id << POSITION_BITS | POSITION_MAX
    taken = connection.execute(
        "DELETE FROM records WHERE id IN (SELECT id FROM records WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?)",
        (first, last, limit),
    ).rowcount
    if taken < limit:
        connection.execute("DELETE FROM rubbish WHERE shard_id = ?", (shard_id,))
    return taken >= limit


def secret(connection: sqlite3.Connection) -> bytes:
    value: bytes = connection.execute("SELECT value FROM secret").fetchone()[0]
    return value

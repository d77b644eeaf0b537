"""Rows of queues: all are read at start and kept in memory, so only changes come here. Run on the writer's thread."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import Final

import attrs

from lambent.store.queues.values import (
    DEDUPLICATION_MS,
    DELETED_MS,
    PURGE_MS,
    Counts,
    PurgeInProgress,
    Queue,
    QueueDeletedRecently,
    QueueExists,
    QueueKey,
    QueueMissing,
    Row,
)

_COLUMNS: Final = "id, bucket, account_id, region, name, attributes, tags, created_ms, modified_ms, purged_ms"


def _queue(row: Row) -> Queue:
    return Queue(
        id=row[0],
        bucket=row[1],
        account_id=row[2],
        region=row[3],
        name=row[4],
        attributes=json.loads(row[5]),
        tags=json.loads(row[6]),
        created_ms=row[7],
        modified_ms=row[8],
        purged_ms=row[9],
    )


def all_queues(connection: sqlite3.Connection) -> list[Queue]:
    return [_queue(row) for row in connection.execute(f"SELECT {_COLUMNS} FROM queues")]


def queue(connection: sqlite3.Connection, key: QueueKey) -> Queue:
    """Raises QueueMissing."""
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM queues WHERE account_id = ? AND region = ? AND name = ?", key
    ).fetchone()
    if row is None:
        raise QueueMissing(key[2])
    return _queue(row)


def create(
    connection: sqlite3.Connection, key: QueueKey, attributes: Mapping[str, str], tags: Mapping[str, str], now_ms: int
) -> Queue:
    """Raises QueueExists, QueueDeletedRecently."""
    try:
        raise QueueExists(queue(connection, key))
    except QueueMissing:
        pass
    rested = connection.execute(
        "SELECT deleted_ms FROM deleted_queues WHERE account_id = ? AND region = ? AND name = ?", key
    ).fetchone()
    if rested is not None and 0 <= now_ms - rested[0] < DELETED_MS:
        raise QueueDeletedRecently(key[2])
    connection.execute("DELETE FROM deleted_queues WHERE account_id = ? AND region = ? AND name = ?", key)
    connection.execute(
        "INSERT INTO queues (bucket, account_id, region, name, attributes, tags, created_ms, modified_ms)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (_new_bucket(connection), *key, json.dumps(dict(attributes)), json.dumps(dict(tags)), now_ms, now_ms),
    )
    return queue(connection, key)


def _new_bucket(connection: sqlite3.Connection) -> int:
    connection.execute("UPDATE buckets SET last = last + 1")
    bucket: int = connection.execute("SELECT last FROM buckets").fetchone()[0]
    return bucket


def set_attributes(
    connection: sqlite3.Connection, key: QueueKey, attributes: Mapping[str, str | None], now_ms: int
) -> Queue:
    """Adds to what there is; None takes away. Raises QueueMissing."""
    present = queue(connection, key)
    merged = {n: v for n, v in {**present.attributes, **attributes}.items() if v is not None}
    connection.execute(
        "UPDATE queues SET attributes = ?, modified_ms = ? WHERE id = ?", (json.dumps(merged), now_ms, present.id)
    )
    return attrs.evolve(present, attributes=merged, modified_ms=now_ms)


def set_tags(connection: sqlite3.Connection, key: QueueKey, tags: Mapping[str, str | None]) -> Queue:
    """The same for tags. Raises QueueMissing."""
    present = queue(connection, key)
    merged = {n: v for n, v in {**present.tags, **tags}.items() if v is not None}
    connection.execute("UPDATE queues SET tags = ? WHERE id = ?", (json.dumps(merged), present.id))
    return attrs.evolve(present, tags=merged)


def delete(connection: sqlite3.Connection, key: QueueKey, now_ms: int) -> Queue:
    """Its messages are taken away later: see `rubbish`. Raises QueueMissing."""
    present = queue(connection, key)
    for table in ("duplicates", "attempts"):
        connection.execute(f"DELETE FROM {table} WHERE queue_id = ?", (present.id,))
    connection.execute("DELETE FROM move_tasks WHERE source_id = ?", (present.id,))
    connection.execute("DELETE FROM queues WHERE id = ?", (present.id,))
    connection.execute("INSERT OR REPLACE INTO deleted_queues VALUES (?, ?, ?, ?)", (*key, now_ms))
    connection.execute("DELETE FROM deleted_queues WHERE deleted_ms < ?", (now_ms - DELETED_MS,))
    return present


def purge(connection: sqlite3.Connection, key: QueueKey, now_ms: int) -> Queue:
    """At once, however many messages there are: the queue gets another bucket. Raises QueueMissing, PurgeInProgress."""
    present = queue(connection, key)
    if 0 <= now_ms - present.purged_ms < PURGE_MS:
        raise PurgeInProgress(key[2])
    bucket = _new_bucket(connection)
    connection.execute("UPDATE queues SET bucket = ?, purged_ms = ? WHERE id = ?", (bucket, now_ms, present.id))
    connection.execute("DELETE FROM attempts WHERE queue_id = ?", (present.id,))
    return attrs.evolve(present, bucket=bucket, purged_ms=now_ms)


def counts(connection: sqlite3.Connection, bucket: int, now_ms: int) -> Counts:
    visible = connection.execute(
        "SELECT count(*) FROM messages WHERE bucket = ? AND visible_ms <= ?", (bucket, now_ms)
    ).fetchone()[0]
    hidden, in_flight = connection.execute(
        "SELECT count(*), count(*) FILTER (WHERE receive_count > 0) FROM messages WHERE bucket = ? AND visible_ms > ?",
        (bucket, now_ms),
    ).fetchone()
    return Counts(visible, in_flight, hidden - in_flight)


def oldest_ms(connection: sqlite3.Connection, bucket: int) -> int | None:
    """When the message was sent that arrived first; None without any."""
    found = connection.execute(
        "SELECT sent_ms FROM messages WHERE id = (SELECT min(id) FROM messages WHERE bucket = ?)", (bucket,)
    ).fetchone()
    return found[0] if found is not None else None


def last_id(connection: sqlite3.Connection) -> int:
    """The highest number that a message has or is remembered by."""
    (highest,) = connection.execute("SELECT max(id) FROM messages").fetchone()
    (remembered,) = connection.execute("SELECT max(sequence) FROM duplicates").fetchone()
    return max(highest or 0, remembered or 0)


def last_sent_ms(connection: sqlite3.Connection) -> int:
    """When the newest message that is known was sent, be it only by its deduplication id; 0 without any."""
    newest = connection.execute("SELECT sent_ms FROM messages ORDER BY id DESC LIMIT 1").fetchone()
    (expires_ms,) = connection.execute("SELECT max(expires_ms) FROM duplicates").fetchone()
    return max(newest[0] if newest is not None else 0, (expires_ms or DEDUPLICATION_MS) - DEDUPLICATION_MS)


# What nobody needs any more, a little at a time so that others can write meanwhile.


def rubbish(connection: sqlite3.Connection) -> list[int]:
    """Buckets that have messages and belong to no queue."""
    found: list[int] = []
    after = -1
    while True:
        (bucket,) = connection.execute("SELECT min(bucket) FROM messages WHERE bucket > ?", (after,)).fetchone()
        if bucket is None:
            return found
        if connection.execute("SELECT 1 FROM queues WHERE bucket = ?", (bucket,)).fetchone() is None:
            found.append(bucket)
        after = bucket


def clear(connection: sqlite3.Connection, bucket: int, limit: int) -> bool:
    """Whether there was anything to take away."""
    ids = connection.execute("SELECT id FROM messages WHERE bucket = ? LIMIT ?", (bucket, limit)).fetchall()
    remove(connection, ids)
    if not ids:
        connection.execute("DELETE FROM groups WHERE bucket = ?", (bucket,))
    return bool(ids)


def forget(connection: sqlite3.Connection, now_ms: int, limit: int) -> bool:
    """Deduplication and attempt ids whose five minutes are over. Whether there may be more."""
    taken = 0
    for table, key in (("duplicates", "queue_id, scope, deduplication_id"), ("attempts", "queue_id, attempt_id")):
        cursor = connection.execute(
            f"DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} WHERE expires_ms <= ? LIMIT ?)",
            (now_ms, limit),
        )
        taken = max(taken, cursor.rowcount)
    return taken >= limit


def expired(connection: sqlite3.Connection, bucket: int, now_ms: int, sent_before_ms: int, limit: int) -> list[Row]:
    """(id, group) of visible messages that are older than their queue keeps them."""
    return connection.execute(
        "SELECT id, group_id FROM messages WHERE bucket = ? AND visible_ms <= ? AND sent_ms < ? LIMIT ?",
        (bucket, now_ms, sent_before_ms, limit),
    ).fetchall()


def remove(connection: sqlite3.Connection, ids: list[Row]) -> None:
    """`ids`: rows that begin with a message's id."""
    keys = [(row[0],) for row in ids]
    connection.executemany("DELETE FROM messages WHERE id = ?", keys)
    connection.executemany("DELETE FROM contents WHERE id = ?", keys)

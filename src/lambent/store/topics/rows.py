"""The topic store's statements. Functions with a connection run on the writer's thread or a reader's."""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import attrs

from lambent.store.topics.values import (
    DEDUPLICATION_MS,
    Delivery,
    NewDelivery,
    Publication,
    Published,
    Settled,
    State,
    Subscription,
    Topic,
    TopicMissing,
)

_TOPIC: Final = "id, account_id, region, name, attributes, tags"
TOGETHER_MAX_BYTES: Final = 1_048_576  # that a lane has in memory: there may be many lanes
LONGEST_WAIT_MS: Final = 3_600_000  # of a delivery that is tried again: an HTTP policy's
FORGET_CHUNK: Final = 500  # deduplication ids whose time is over, taken away with one publication


def _topic(row: Sequence[Any]) -> Topic:
    return Topic(
        id=row[0], account_id=row[1], region=row[2], name=row[3], attributes=json.loads(row[4]), tags=json.loads(row[5])
    )


def all_topics(connection: sqlite3.Connection) -> list[Topic]:
    return [_topic(row) for row in connection.execute(f"SELECT {_TOPIC} FROM topics ORDER BY id")]


def all_subscriptions(connection: sqlite3.Connection) -> list[Subscription]:
    rows = connection.execute("SELECT id, details FROM subscriptions ORDER BY number").fetchall()
    return [_subscription(row) for row in rows]


def _subscription(row: Sequence[Any]) -> Subscription:
    details = json.loads(row[1])
    return Subscription(**{**details, "id": row[0], "state": State(details["state"])})


# --- topics


def create_topic(
    connection: sqlite3.Connection, place: tuple[str, str, str], attributes: Mapping[str, str], tags: Mapping[str, str]
) -> tuple[Topic, bool]:
    """The topic of this account, region and name, and whether it is new."""
    cursor = connection.execute(
        "INSERT INTO topics (account_id, region, name, attributes, tags) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (*place, json.dumps(dict(attributes)), json.dumps(dict(tags))),
    )
    row = connection.execute(
        f"SELECT {_TOPIC} FROM topics WHERE account_id = ? AND region = ? AND name = ?", place
    ).fetchone()
    return _topic(row), cursor.rowcount == 1


def change_topic(
    connection: sqlite3.Connection, topic_id: int, column: str, changes: Mapping[str, str | None]
) -> Topic:
    """Adds to `attributes` or `tags`; None takes away. Raises TopicMissing."""
    row = connection.execute(f"SELECT {_TOPIC} FROM topics WHERE id = ?", (topic_id,)).fetchone()
    if row is None:
        raise TopicMissing()
    topic = _topic(row)
    merged = {n: v for n, v in {**getattr(topic, column), **changes}.items() if v is not None}
    connection.execute(f"UPDATE topics SET {column} = ? WHERE id = ?", (json.dumps(merged), topic_id))
    return attrs.evolve(topic, attributes=merged) if column == "attributes" else attrs.evolve(topic, tags=merged)


def delete_topic(connection: sqlite3.Connection, topic_id: int) -> None:
    """With its subscriptions. What they were owed is taken away by who serves their lanes."""
    connection.execute("DELETE FROM topics WHERE id = ?", (topic_id,))


# --- subscriptions


def put_subscription(
    connection: sqlite3.Connection, topic_id: int, subscription: Subscription, more: NewDelivery | None, now_ms: int
) -> None:
    """Adds or replaces it. Raises TopicMissing."""
    if connection.execute("SELECT 1 FROM topics WHERE id = ?", (topic_id,)).fetchone() is None:
        raise TopicMissing()
    details = {
        field.name: getattr(subscription, field.name)
        for field in attrs.fields(Subscription)
        if field.name not in ("id", "attributes", "state")
    }
    details |= {"state": subscription.state.value, "attributes": dict(subscription.attributes)}
    connection.execute(
        "INSERT INTO subscriptions (id, topic_id, number, details)"
        " VALUES (?, ?, (SELECT coalesce(max(number), 0) + 1 FROM subscriptions), ?)"
        " ON CONFLICT DO UPDATE SET details = excluded.details",
        (subscription.id, topic_id, json.dumps(details)),
    )
    if more is not None:
        _owe(connection, more, now_ms)


def delete_subscription(connection: sqlite3.Connection, subscription_id: str) -> None:
    connection.execute("DELETE FROM subscriptions WHERE id = ?", (subscription_id,))


# --- messages


def publish(connection: sqlite3.Connection, publications: Sequence[Publication]) -> None:
    """In their order. Says in each what came of it."""
    for publication in publications:
        sequence = None
        if publication.deduplication is not None:
            scope, deduplication_id = publication.deduplication
            key = (publication.topic_id, scope, deduplication_id)
            known = connection.execute(
                "SELECT message_id, sequence FROM duplicates"
                " WHERE topic_id = ? AND scope = ? AND deduplication_id = ? AND expires_ms > ?",
                (*key, publication.at_ms),
            ).fetchone()
            if known is not None:
                publication.published = Published(known[0], known[1], False)
                continue
            sequence = _next_sequence(connection, publication, key)
        if publication.lanes:
            message = _insert_message(connection, publication.content, sequence)
            connection.executemany(
                "INSERT INTO deliveries (message_id, lane, accepted_ms, due_ms) VALUES (?, ?, ?, ?)",
                [(message, lane, publication.at_ms, publication.at_ms) for lane in publication.lanes],
            )
        publication.published = Published(publication.message_id, sequence, True)


def _next_sequence(connection: sqlite3.Connection, publication: Publication, key: tuple[int, str, str]) -> int | None:
    """None when the topic was deleted meanwhile: then nobody is owed anything that could be out of order."""
    row = connection.execute(
        "UPDATE topics SET sequence = sequence + 1 WHERE id = ? RETURNING sequence", (publication.topic_id,)
    ).fetchone()
    if row is None:
        return None
    connection.execute(
        "INSERT OR REPLACE INTO duplicates VALUES (?, ?, ?, ?, ?, ?)",
        (*key, publication.message_id, row[0], publication.at_ms + DEDUPLICATION_MS),
    )
    connection.execute(
        "DELETE FROM duplicates WHERE (topic_id, scope, deduplication_id) IN (SELECT topic_id, scope, deduplication_id"
        " FROM duplicates WHERE expires_ms <= ? LIMIT ?)",
        (publication.at_ms, FORGET_CHUNK),
    )
    sequence: int = row[0]
    return sequence


def _insert_message(connection: sqlite3.Connection, content: bytes, sequence: int | None) -> int | None:
    return connection.execute("INSERT INTO messages (sequence, content) VALUES (?, ?)", (sequence, content)).lastrowid


def _owe(connection: sqlite3.Connection, new: NewDelivery, now_ms: int) -> None:
    connection.execute(
        "INSERT INTO deliveries (message_id, lane, accepted_ms, due_ms) VALUES (?, ?, ?, ?)",
        (_insert_message(connection, new.content, None), new.lane, now_ms, now_ms),
    )


# --- deliveries


def lanes(connection: sqlite3.Connection) -> list[str]:
    return [lane for (lane,) in connection.execute("SELECT DISTINCT lane FROM deliveries")]


def last_written_ms(connection: sqlite3.Connection) -> int:
    """When something was accepted or tried last, as far as what is owed and deduplication ids tell; 0 without any."""
    (found,) = connection.execute(
        "SELECT max(max(accepted_ms, CASE WHEN tries > 0 THEN due_ms - ? ELSE 0 END)) FROM deliveries",
        (LONGEST_WAIT_MS,),
    ).fetchone()
    (expires_ms,) = connection.execute("SELECT max(expires_ms) FROM duplicates").fetchone()
    return max(found or 0, (expires_ms or DEDUPLICATION_MS) - DEDUPLICATION_MS)


def due(
    connection: sqlite3.Connection, lane: str, now_ms: int, limit: int, in_order: bool
) -> tuple[list[Delivery], int | None]:
    """Those that may be tried now, of a bounded size; and when the next one may, if none can.

    `in_order`: as they were published, and none before the one that is first.
    """
    columns = "d.id, m.id, m.sequence, m.content, d.accepted_ms, d.tries, d.due_ms"
    found = f"SELECT {columns} FROM deliveries d JOIN messages m ON m.id = d.message_id WHERE d.lane = ?"
    if in_order:
        first = connection.execute(
            "SELECT due_ms FROM deliveries WHERE lane = ? ORDER BY id LIMIT 1", (lane,)
        ).fetchone()
        if first is None or first[0] > now_ms:
            return [], first[0] if first is not None else None
        rows = connection.execute(f"{found} ORDER BY d.id LIMIT ?", (lane, limit))
        return _bounded(itertools.takewhile(lambda row: row[6] <= now_ms, rows)), None
    rows = connection.execute(f"{found} AND d.due_ms <= ? ORDER BY d.due_ms, d.id LIMIT ?", (lane, now_ms, limit))
    deliveries = _bounded(rows)
    if deliveries:
        return deliveries, None
    (following,) = connection.execute("SELECT min(due_ms) FROM deliveries WHERE lane = ?", (lane,)).fetchone()
    return [], following


def _bounded(rows: Iterable[Sequence[Any]]) -> list[Delivery]:
    """At least one, and no more behind those that are large enough together."""
    deliveries: list[Delivery] = []
    size = 0
    for row in rows:
        deliveries.append(_delivery(row))
        size += len(row[3])
        if size >= TOGETHER_MAX_BYTES:
            break
    return deliveries


def _delivery(row: Sequence[Any]) -> Delivery:
    return Delivery(id=row[0], message=row[1], sequence=row[2], content=row[3], accepted_ms=row[4], tries=row[5])


def settle(connection: sqlite3.Connection, settled: Settled, now_ms: int) -> None:
    connection.executemany("DELETE FROM deliveries WHERE id = ?", [(each.id,) for each in settled.ended])
    connection.executemany(
        "DELETE FROM messages WHERE id = ? AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.message_id = messages.id)",
        [(each.message,) for each in settled.ended],
    )
    connection.executemany(
        "UPDATE deliveries SET due_ms = ?, tries = tries + 1 WHERE id = ?",
        [(due_ms, each.id) for each, due_ms in settled.postponed],
    )
    for new in settled.instead:
        _owe(connection, new, now_ms)


def secret(connection: sqlite3.Connection, name: str, value: bytes | None) -> bytes | None:
    """What is kept under this name; `value` from now on, if there was nothing."""
    if value is not None:
        connection.execute("INSERT INTO secrets VALUES (?, ?) ON CONFLICT DO NOTHING", (name, value))
    row = connection.execute("SELECT value FROM secrets WHERE name = ?", (name,)).fetchone()
    return row[0] if row is not None else None

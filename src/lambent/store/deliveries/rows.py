"""The delivery store's statements. Functions with a connection run on the writer's thread or a reader's."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
import msgspec

LONGEST_WAIT_MS: Final = 600_000  # of a delivery that is tried again


@attrs.frozen(kw_only=True)
class NewDelivery:
    """Something that a target is to get."""

    lane: str  # the target's ARN
    about: Mapping[str, Any]  # JSON
    body: bytes
    due_ms: int | None = None  # None: at once


@attrs.frozen(kw_only=True)
class Delivery:
    """The same, waiting for its next try."""

    id: int
    lane: str
    about: Mapping[str, Any]
    body: bytes
    accepted_ms: int
    tries: int  # that failed


@attrs.frozen(kw_only=True)
class NewArchived:
    archive: str
    at_ms: int  # the event's own time
    event: bytes


@attrs.frozen(kw_only=True)
class Archived:
    id: int
    at_ms: int
    event: bytes


@attrs.frozen(kw_only=True)
class Accepted:
    """What is written in one go: all of it, or nothing."""

    at_ms: int
    deliveries: Sequence[NewDelivery] = ()
    archived: Sequence[NewArchived] = ()
    marks: Mapping[str, int] = attrs.field(factory=dict)

    @property
    def weight(self) -> int:
        """In bytes, roughly."""
        return sum(len(each.body) for each in self.deliveries) + sum(len(each.event) for each in self.archived)


def accept(connection: sqlite3.Connection, items: Sequence[Accepted]) -> None:
    for item in items:
        for delivery in item.deliveries:
            _insert(connection, delivery, item.at_ms)
        connection.executemany(
            "INSERT INTO archived (archive, at_ms, bytes, event) VALUES (?, ?, ?, ?)",
            [(each.archive, each.at_ms, len(each.event), each.event) for each in item.archived],
        )
        for owner, value in item.marks.items():
            connection.execute(
                "INSERT INTO marks (owner, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
                (owner, value),
            )


def _insert(connection: sqlite3.Connection, delivery: NewDelivery, at_ms: int) -> None:
    due_ms = at_ms if delivery.due_ms is None else delivery.due_ms
    cursor = connection.execute(
        "INSERT INTO deliveries (lane, about, accepted_ms, due_ms) VALUES (?, ?, ?, ?)",
        (delivery.lane, msgspec.json.encode(delivery.about).decode(), at_ms, due_ms),
    )
    connection.execute("INSERT INTO bodies (delivery_id, body) VALUES (?, ?)", (cursor.lastrowid, delivery.body))


def lanes(connection: sqlite3.Connection) -> list[str]:
    return [lane for (lane,) in connection.execute("SELECT DISTINCT lane FROM deliveries")]


def last_written_ms(connection: sqlite3.Connection) -> int:
    """When something was accepted or tried last, as far as what is owed tells; 0 when nothing is."""
    (found,) = connection.execute(
        "SELECT max(max(accepted_ms, CASE WHEN tries > 0 THEN due_ms - ? ELSE 0 END)) FROM deliveries",
        (LONGEST_WAIT_MS,),
    ).fetchone()
    return int(found or 0)


def due(connection: sqlite3.Connection, lane: str, now_ms: int, limit: int) -> tuple[list[Delivery], int | None]:
    """Oldest first; and when the next one is due, if none is."""
    rows = connection.execute(
        "SELECT d.id, d.about, b.body, d.accepted_ms, d.tries FROM deliveries d JOIN bodies b ON b.delivery_id = d.id "
        "WHERE d.lane = ? AND d.due_ms <= ? ORDER BY d.due_ms, d.id LIMIT ?",
        (lane, now_ms, limit),
    )
    found = [
        Delivery(id=row[0], lane=lane, about=msgspec.json.decode(row[1]), body=row[2], accepted_ms=row[3], tries=row[4])
        for row in rows
    ]
    if found:
        return found, None
    (following,) = connection.execute("SELECT min(due_ms) FROM deliveries WHERE lane = ?", (lane,)).fetchone()
    return [], following


def end(connection: sqlite3.Connection, delivery_id: int, instead: NewDelivery | None, now_ms: int) -> None:
    """It was taken, or is given up; `instead` goes where it did not (a dead letter)."""
    connection.execute("DELETE FROM deliveries WHERE id = ?", (delivery_id,))
    if instead is not None:
        _insert(connection, instead, now_ms)


def postpone(connection: sqlite3.Connection, delivery_id: int, due_ms: int) -> None:
    connection.execute("UPDATE deliveries SET due_ms = ?, tries = tries + 1 WHERE id = ?", (due_ms, delivery_id))


# --- archives


def archived(
    connection: sqlite3.Connection, archive: str, span_ms: tuple[int, int], after_id: int, limit: int
) -> list[Archived]:
    """In the order in which they came; from the first millisecond, to before the second."""
    rows = connection.execute(
        "SELECT id, at_ms, event FROM archived WHERE archive = ? AND at_ms >= ? AND at_ms < ? AND id > ? "
        "ORDER BY id LIMIT ?",
        (archive, *span_ms, after_id, limit),
    )
    return [Archived(id=row[0], at_ms=row[1], event=row[2]) for row in rows]


def totals(connection: sqlite3.Connection, archive: str) -> tuple[int, int]:
    """Events, and their bytes."""
    count, size = connection.execute(
        "SELECT count(*), coalesce(sum(bytes), 0) FROM archived WHERE archive = ?", (archive,)
    ).fetchone()
    return count, size


def forget_archived(connection: sqlite3.Connection, archive: str, before_ms: int | None, limit: int) -> bool:
    """Takes some away, older ones or all; False when there are no more."""
    condition, values = ("", ()) if before_ms is None else (" AND at_ms < ?", (before_ms,))
    cursor = connection.execute(
        f"DELETE FROM archived WHERE id IN (SELECT id FROM archived WHERE archive = ?{condition} LIMIT ?)",
        (archive, *values, limit),
    )
    return cursor.rowcount == limit


# --- marks


def marks(connection: sqlite3.Connection) -> dict[str, int]:
    return dict(connection.execute("SELECT owner, value FROM marks"))


def forget_mark(connection: sqlite3.Connection, owner: str) -> None:
    connection.execute("DELETE FROM marks WHERE owner = ?", (owner,))

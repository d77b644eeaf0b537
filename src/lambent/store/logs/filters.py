"""Filters of log groups, and what subscriptions are owed: SQL, as in `rows`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

import attrs
import msgspec

from lambent.model.errors import LambentError
from lambent.store.logs.chunks import Chunk, Event, unpack

Kind = Literal["subscription", "metric"]
GroupKey = tuple[str, str, str]  # as in `rows`, which uses this module

OWED_BYTES: Final = 4 * 1024 * 1024  # of bodies, still packed, that are read in one go


class FilterMissing(LambentError):
    """There is no such filter."""


class FiltersFull(LambentError):
    """The group has as many filters of this kind as it may have."""


@attrs.frozen(kw_only=True)
class Owed:
    """Some lines of one stream, for one subscription."""

    id: int
    account_id: str
    region: str
    group: str
    filter: str
    document: Mapping[str, Any]  # the filter's, as it is now
    stream: str
    accepted_ms: int
    tries: int
    events: Sequence[Event]

    @property
    def lane(self) -> tuple[str, str, str, str]:
        """What is in one lane is handed over in order."""
        return self.account_id, self.region, self.group, self.filter


def put(
    connection: sqlite3.Connection, group_id: int, kind: Kind, name: str, document: Mapping[str, Any], most: int
) -> None:
    """Makes it or replaces it. Raises FiltersFull."""
    sql = "SELECT count(*) FROM filters WHERE (group_id, kind) = (?, ?) AND name != ?"
    if connection.execute(sql, (group_id, kind, name)).fetchone()[0] >= most:
        raise FiltersFull(name)
    connection.execute(
        "INSERT INTO filters VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET document = excluded.document",
        (group_id, kind, name, msgspec.json.encode(document).decode()),
    )


def delete(connection: sqlite3.Connection, group_id: int, kind: Kind, name: str) -> None:
    """With what it is owed. Raises FilterMissing."""
    key = (group_id, kind, name)
    if connection.execute("DELETE FROM filters WHERE (group_id, kind, name) = (?, ?, ?)", key).rowcount == 0:
        raise FilterMissing(name)
    if kind == "subscription":
        connection.execute("DELETE FROM owed WHERE (group_id, filter) = (?, ?)", (group_id, name))


def delete_all(connection: sqlite3.Connection, group_id: int) -> None:
    connection.execute("DELETE FROM filters WHERE group_id = ?", (group_id,))
    connection.execute("DELETE FROM owed WHERE group_id = ?", (group_id,))


def of_group(connection: sqlite3.Connection, group_id: int, kind: Kind) -> dict[str, dict[str, Any]]:
    """By name."""
    sql = "SELECT name, document FROM filters WHERE (group_id, kind) = (?, ?) ORDER BY name"
    return {name: msgspec.json.decode(document) for name, document in connection.execute(sql, (group_id, kind))}


def of_place(
    connection: sqlite3.Connection, account_id: str, region: str, kind: Kind
) -> list[tuple[str, str, dict[str, Any]]]:
    """(group, name, document) in order."""
    sql = (
        "SELECT g.name, f.name, f.document FROM filters f JOIN groups g ON g.id = f.group_id "
        "WHERE f.kind = ? AND (g.account_id, g.region) = (?, ?) ORDER BY g.name, f.name"
    )
    found = connection.execute(sql, (kind, account_id, region))
    return [(group, name, msgspec.json.decode(document)) for group, name, document in found]


def metric_filters(connection: sqlite3.Connection) -> dict[GroupKey, dict[str, dict[str, Any]]]:
    """All there are, by group and name."""
    sql = (
        "SELECT g.account_id, g.region, g.name, f.name, f.document FROM filters f JOIN groups g ON g.id = f.group_id "
        "WHERE f.kind = 'metric'"
    )
    found: dict[GroupKey, dict[str, dict[str, Any]]] = {}
    for account_id, region, group, name, document in connection.execute(sql):
        found.setdefault((account_id, region, group), {})[name] = msgspec.json.decode(document)
    return found


def owe(connection: sqlite3.Connection, group_id: int, stream: str, chunks: Iterable[Chunk], now_ms: int) -> None:
    """To every subscription of the group, in the transaction that writes the lines.

    They are due when those before them are: where a destination is waited for, they must not come first.
    """
    sql = "SELECT name FROM filters WHERE (group_id, kind) = (?, 'subscription')"
    for (name,) in connection.execute(sql, (group_id,)).fetchall():
        sql = "SELECT due_ms FROM owed WHERE (group_id, filter) = (?, ?) ORDER BY id DESC LIMIT 1"
        last = connection.execute(sql, (group_id, name)).fetchone()
        due_ms = now_ms if last is None else max(now_ms, last[0])
        connection.executemany(
            "INSERT INTO owed (group_id, filter, stream, accepted_ms, due_ms, body) VALUES (?, ?, ?, ?, ?, ?)",
            [(group_id, name, stream, now_ms, due_ms, chunk.body) for chunk in chunks],
        )


def due(connection: sqlite3.Connection, now_ms: int) -> tuple[list[Owed], int | None]:
    """Oldest first, a bounded amount; and when the next is due (ms) where none is."""
    sql = (
        "SELECT o.id, g.account_id, g.region, g.name, o.filter, f.document, o.stream, o.accepted_ms, o.tries, o.body "
        "FROM owed o JOIN groups g ON g.id = o.group_id "
        "JOIN filters f ON (f.group_id, f.kind, f.name) = (o.group_id, 'subscription', o.filter) "
        "WHERE o.due_ms <= ? ORDER BY o.due_ms, o.id"
    )
    found: list[Owed] = []
    taken_bytes = 0
    for owed_id, account_id, region, group, name, document, stream, accepted_ms, tries, body in connection.execute(
        sql, (now_ms,)
    ):
        found.append(
            Owed(
                id=owed_id, account_id=account_id, region=region, group=group, filter=name,
                document=msgspec.json.decode(document), stream=stream, accepted_ms=accepted_ms, tries=tries,
                events=unpack(body),
            )
        )  # fmt: skip
        taken_bytes += len(body)
        if taken_bytes >= OWED_BYTES:
            break
    if found:
        return sorted(found, key=lambda owed: owed.id), None
    following = connection.execute("SELECT min(due_ms) FROM owed").fetchone()[0]
    return [], following


def settle(connection: sqlite3.Connection, owed_id: int) -> None:
    connection.execute("DELETE FROM owed WHERE id = ?", (owed_id,))


def postpone(connection: sqlite3.Connection, owed: Owed, due_ms: int) -> None:
    """With all that its subscription is owed after it, so that the order stays."""
    connection.execute("UPDATE owed SET tries = tries + 1 WHERE id = ?", (owed.id,))
    connection.execute(
        "UPDATE owed SET due_ms = max(due_ms, ?) WHERE filter = ? AND group_id = "
        "(SELECT id FROM groups WHERE (account_id, region, name) = (?, ?, ?))",
        (due_ms, owed.filter, owed.account_id, owed.region, owed.group),
    )

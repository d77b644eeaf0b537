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

OWED_BYTES: Final = 1024 * 1024  # of bodies, still packed, that a subscription has in memory: there may be many of them

Lane = tuple[int, str]
"""A subscription's: its group's id and its name. What is in one lane is handed over in order."""


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
    body: bytes

    @property
    def events(self) -> Sequence[Event]:
        return unpack(self.body)


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
    """To every subscription of the group, in the transaction that writes the lines."""
    sql = "SELECT name FROM filters WHERE (group_id, kind) = (?, 'subscription')"
    for (name,) in connection.execute(sql, (group_id,)).fetchall():
        connection.executemany(
            "INSERT INTO owed (group_id, filter, stream, accepted_ms, body) VALUES (?, ?, ?, ?, ?)",
            [(group_id, name, stream, now_ms, chunk.body) for chunk in chunks],
        )


def lanes(connection: sqlite3.Connection) -> list[Lane]:
    """Of the subscriptions that are owed something."""
    sql = (
        "SELECT f.group_id, f.name FROM filters f WHERE f.kind = 'subscription' "
        "AND EXISTS (SELECT 1 FROM owed o WHERE (o.group_id, o.filter) = (f.group_id, f.name))"
    )
    return connection.execute(sql).fetchall()


def owed(connection: sqlite3.Connection, lane: Lane) -> list[Owed]:
    """In order, a bounded amount from the front."""
    sql = (
        "SELECT o.id, g.account_id, g.region, g.name, o.filter, f.document, o.stream, o.accepted_ms, o.tries, o.body "
        "FROM owed o JOIN groups g ON g.id = o.group_id "
        "JOIN filters f ON (f.group_id, f.kind, f.name) = (o.group_id, 'subscription', o.filter) "
        "WHERE (o.group_id, o.filter) = (?, ?) ORDER BY o.id"
    )
    found: list[Owed] = []
    taken_bytes = 0
    for owed_id, account_id, region, group, name, document, stream, accepted_ms, tries, body in connection.execute(
        sql, lane
    ):
        found.append(
            Owed(
                id=owed_id, account_id=account_id, region=region, group=group, filter=name,
                document=msgspec.json.decode(document), stream=stream, accepted_ms=accepted_ms, tries=tries, body=body,
            )
        )  # fmt: skip
        taken_bytes += len(body)
        if taken_bytes >= OWED_BYTES:
            break
    return found


def settle(connection: sqlite3.Connection, owed_id: int) -> None:
    connection.execute("DELETE FROM owed WHERE id = ?", (owed_id,))


def tried(connection: sqlite3.Connection, owed_id: int) -> None:
    connection.execute("UPDATE owed SET tries = tries + 1 WHERE id = ?", (owed_id,))

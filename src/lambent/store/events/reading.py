"""The event store's SQL that reads: what is due, and the timeline."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs
import msgspec

from lambent.model.invocation import Invocation
from lambent.store.events.rows import ATTEMPTED, OVER, WAITS, Delivery, FunctionKey, stored_invocation

STATES: Final = {WAITS: "waiting", ATTEMPTED: "attempted", OVER: "over"}


@attrs.frozen(kw_only=True)
class Step:
    id: int
    at_ms: int
    what: str
    detail: Mapping[str, Any]


@attrs.frozen(kw_only=True)
class StepView:
    """A step with whose it is."""

    request_id: str
    step: Step


@attrs.frozen(kw_only=True)
class EventView:
    """An event as its timeline shows it."""

    request_id: str
    qualifier: str | None
    state: str  # "waiting", "attempted", "over"
    accepted_ms: int
    due_ms: int | None  # of the next attempt; None when there will be none
    attempts: int
    payload_bytes: int
    payload: bytes | None  # only when one event is asked for
    undelivered: int  # records and dead letters that are still to be sent
    steps: tuple[Step, ...]


def functions_with_events(connection: sqlite3.Connection) -> list[FunctionKey]:
    """Those that have events which wait."""
    return connection.execute("SELECT DISTINCT account_id, region, name FROM events WHERE state = 0").fetchall()


def targets(connection: sqlite3.Connection) -> list[str]:
    """Those that something is to be sent to."""
    return [row[0] for row in connection.execute("SELECT DISTINCT target FROM deliveries")]


def due_deliveries(
    connection: sqlite3.Connection, target: str, now_ms: int, limit: int
) -> tuple[list[Delivery], int | None]:
    """Up to `limit` of them, oldest first; also when the first that is not among them is due, if there is one."""
    with _one_moment(connection):
        return _due_deliveries(connection, target, now_ms, limit)


def _due_deliveries(
    connection: sqlite3.Connection, target: str, now_ms: int, limit: int
) -> tuple[list[Delivery], int | None]:
    rows = connection.execute(
        "SELECT d.id, d.event_id, e.account_id, e.region, e.name, d.message, d.body, d.created_ms, d.tries "
        "FROM deliveries d JOIN events e ON e.id = d.event_id "
        "WHERE d.target = ? AND d.due_ms <= ? ORDER BY d.due_ms, d.id LIMIT ?",
        (target, now_ms, limit),
    ).fetchall()
    due = [
        Delivery(
            id=row[0],
            event_id=row[1],
            function=(row[2], row[3], row[4]),
            target=target,
            message=msgspec.json.decode(row[5]),
            body=row[6],
            created_ms=row[7],
            tries=row[8],
        )
        for row in rows
    ]
    following = connection.execute(
        "SELECT due_ms FROM deliveries WHERE target = ? ORDER BY due_ms, id LIMIT 1 OFFSET ?", (target, len(due))
    ).fetchone()
    return due, None if following is None else following[0]


_EVENT: Final = (
    "e.id, e.request_id, e.invocation, e.state, e.accepted_ms, e.due_ms, e.attempts, e.payload_bytes, "
    "(SELECT count(*) FROM deliveries d WHERE d.event_id = e.id)"
)


@contextlib.contextmanager
def _one_moment(connection: sqlite3.Connection) -> Iterator[None]:
    """What is read within belongs together, whatever is written meanwhile."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")


def events(connection: sqlite3.Connection, key: FunctionKey, limit: int) -> list[EventView]:
    """The newest events of a function, the newest last."""
    with _one_moment(connection):
        return _events(connection, key, limit)


def _events(connection: sqlite3.Connection, key: FunctionKey, limit: int) -> list[EventView]:
    rows = connection.execute(
        f"SELECT {_EVENT} FROM events e WHERE e.account_id = ? AND e.region = ? AND e.name = ? ORDER BY e.id DESC LIMIT ?",
        (*key, limit),
    ).fetchall()
    return [_event(connection, row, None) for row in reversed(rows)]


def event(connection: sqlite3.Connection, key: FunctionKey, request_id: str) -> EventView | None:
    """One event with its payload; the newest of that request id."""
    with _one_moment(connection):
        row = _row_of(connection, key, request_id)
        if row is None:
            return None
        (payload,) = connection.execute("SELECT body FROM payloads WHERE event_id = ?", (row[0],)).fetchone()
        return _event(connection, row, payload)


def invocation(connection: sqlite3.Connection, key: FunctionKey, request_id: str) -> Invocation | None:
    """What was asked for with this event."""
    with _one_moment(connection):
        row = _row_of(connection, key, request_id)
        return None if row is None else stored_invocation(connection, row[0], key, row[1], row[2])


def steps_after(connection: sqlite3.Connection, key: FunctionKey, after: int, limit: int) -> list[StepView]:
    """What happened to a function's events since the step `after`, in order."""
    rows = connection.execute(
        "SELECT e.request_id, s.id, s.at_ms, s.what, s.detail FROM steps s CROSS JOIN events e ON e.id = s.event_id "
        "WHERE s.id > ? AND e.account_id = ? AND e.region = ? AND e.name = ? ORDER BY s.id LIMIT ?",
        (after, *key, limit),
    )
    return [StepView(request_id=row[0], step=_step(row[1:])) for row in rows]


def _row_of(connection: sqlite3.Connection, key: FunctionKey, request_id: str) -> Any:
    return connection.execute(
        f"SELECT {_EVENT} FROM events e WHERE e.request_id = ? AND e.account_id = ? AND e.region = ? AND e.name = ? "
        "ORDER BY e.id DESC LIMIT 1",
        (request_id, *key),
    ).fetchone()


def _event(connection: sqlite3.Connection, row: Any, payload: bytes | None) -> EventView:
    event_id, request_id, members, state, accepted_ms, due_ms, attempts, payload_bytes, undelivered = row
    steps = connection.execute(
        "SELECT id, at_ms, what, detail FROM steps WHERE event_id = ? ORDER BY id", (event_id,)
    ).fetchall()
    return EventView(
        request_id=request_id,
        qualifier=msgspec.json.decode(members).get("qualifier"),
        state=STATES[state],
        accepted_ms=accepted_ms,
        due_ms=due_ms if state == WAITS else None,
        attempts=attempts,
        payload_bytes=payload_bytes,
        payload=payload,
        undelivered=undelivered,
        steps=tuple(_step(step) for step in steps),
    )


def _step(row: Any) -> Step:
    return Step(id=row[0], at_ms=row[1], what=row[2], detail=msgspec.json.decode(row[3]))

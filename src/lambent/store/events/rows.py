"""The event store's SQL that writes. Each function runs inside a transaction of `store.database`, on its thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
import msgspec

from lambent.model.invocation import Invocation

WAITS: Final = 0
ATTEMPTED: Final = 1
OVER: Final = 2
FORGET_ROWS: Final = 500  # forgotten in one transaction, so that others are not kept waiting

FunctionKey = tuple[str, str, str]  # account, region, function name

# What of an invocation is kept beside its payload, by the names of its fields.
_MEMBERS: Final = ("qualifier", "client_context", "cognito_identity", "trace_header", "tenant_id")


@attrs.frozen(kw_only=True)
class NewStep:
    """Something that happened to an event: "accepted", "attempted", "failed", "throttled", "sent"…"""

    what: str
    at_ms: int
    detail: Mapping[str, Any] = attrs.field(factory=dict)  # JSON


@attrs.frozen(kw_only=True)
class NewDelivery:
    """A record or a dead letter that is to be sent."""

    target: str  # ARN
    message: Mapping[str, Any]  # JSON: what the sender needs besides the body
    body: bytes  # UTF-8


@attrs.frozen(kw_only=True)
class Claimed:
    """An event whose attempt has begun; `attempts` counts it."""

    id: int
    invocation: Invocation
    accepted_ms: int
    attempts: int
    function_errors: int
    refusals: int


@attrs.frozen(kw_only=True)
class Delivery:
    """A delivery that is due."""

    id: int
    event_id: int
    function: FunctionKey
    target: str
    message: Mapping[str, Any]
    body: bytes
    created_ms: int
    tries: int  # before this one


def recover(connection: sqlite3.Connection, now_ms: int) -> int:
    """Frees what was being attempted when the server ended: it is due at once. Returns how many."""
    connection.execute(
        "INSERT INTO steps (event_id, at_ms, what, detail) "
        "SELECT id, ?, 'interrupted', '{\"reason\":\"the server ended\"}' FROM events WHERE state = ?",
        (now_ms, ATTEMPTED),
    )
    return connection.execute("UPDATE events SET state = ? WHERE state = ?", (WAITS, ATTEMPTED)).rowcount


@attrs.frozen(kw_only=True)
class Accepted:
    """An event to be added, due at once."""

    id: int
    invocation: Invocation
    at_ms: int
    detail: Mapping[str, Any]  # how it came, for the timeline

    @property
    def weight(self) -> int:
        """Bytes, roughly."""
        return len(self.invocation.payload)


@attrs.frozen(kw_only=True)
class Finished:
    """No more attempts of an event: `attempts` is how many there were at last."""

    event_id: int
    at_ms: int
    attempts: int
    steps: Sequence[NewStep]
    deliveries: Sequence[NewDelivery]

    @property
    def weight(self) -> int:
        """Bytes, roughly."""
        return sum(len(delivery.body) for delivery in self.deliveries)


@attrs.define(kw_only=True)
class Claim:
    """Attempts to begin: up to `limit` due events of a function, oldest first."""

    key: FunctionKey
    now_ms: int
    limit: int
    claimed: Sequence[Claimed] = ()  # what came of it
    next_due_ms: int | None = None  # with less than `limit`: when the next waiting one is due, if any

    weight = 0


def last_id(connection: sqlite3.Connection) -> int:
    """No event has or had a higher one."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
    return 0 if row is None else int(row[0])


def last_step_ms(connection: sqlite3.Connection) -> int:
    """When something was written last; 0 when there never was anything."""
    row = connection.execute("SELECT at_ms FROM steps ORDER BY id DESC LIMIT 1").fetchone()
    return 0 if row is None else int(row[0])


def change(connection: sqlite3.Connection, changes: Sequence[Accepted | Claim | Finished]) -> None:
    """Adds events, claims and ends them, by one statement however many they are: see `batches`.

    A claim does not see what is added beside it. What is to be sent because of an end is kept with that.
    """
    accepted: list[tuple[Any, ...]] = []
    payloads: list[tuple[int, str]] = []
    steps: list[tuple[int, int, str, Mapping[str, Any]]] = []
    claims: dict[FunctionKey, Claim] = {}
    ended: list[Finished] = []
    for each in changes:
        if isinstance(each, Accepted):
            invocation, payload = each.invocation, each.invocation.payload
            members = {name: value for name in _MEMBERS if (value := getattr(invocation, name)) is not None}
            key = (invocation.account_id, invocation.region, invocation.function_name)
            accepted.append((each.id, *key, invocation.request_id, members, len(payload), each.at_ms))
            payloads.append((each.id, payload.decode()))
            steps.append((each.id, each.at_ms, "accepted", each.detail))
        elif isinstance(each, Finished):
            ended.append(each)
            steps += [(each.event_id, step.at_ms, step.what, step.detail) for step in each.steps]
        elif each.key in claims:
            each.next_due_ms = each.now_ms  # those of the other one are not told from the rest yet
        else:
            claims[each.key] = each
            _select(connection, each)
    attempted = [(event, claim.now_ms) for claim in claims.values() for event in claim.claimed]
    steps += [(event.id, now_ms, "attempted", {"attempt": event.attempts}) for event, now_ms in attempted]
    ends = [(each.event_id, each.at_ms, each.attempts) for each in ended]
    deliveries = [
        (each.event_id, delivery.target, delivery.message, delivery.body.decode(), each.at_ms)
        for each in ended
        for delivery in each.deliveries
    ]
    if accepted or attempted or ended:
        ids = [event.id for event, _ in attempted]
        columns = [
            msgspec.json.encode(column).decode() for column in (accepted, payloads, ids, ends, steps, deliveries)
        ]
        # `execute` would give the interpreter's lock away once more.
        connection.executemany("INSERT INTO changes VALUES (?, ?, ?, ?, ?, ?)", [columns])


def _select(connection: sqlite3.Connection, claim: Claim) -> None:
    rows = connection.execute(
        "SELECT id, request_id, invocation, accepted_ms, attempts, function_errors, refusals, body "
        "FROM events JOIN payloads ON event_id = id WHERE state = 0 AND account_id = ? AND region = ? AND name = ? "
        "AND due_ms <= ? ORDER BY due_ms, id LIMIT ?",
        (*claim.key, claim.now_ms, claim.limit),
    ).fetchall()
    claim.claimed = [
        Claimed(
            id=event_id,
            invocation=_invocation(claim.key, request_id, members, payload),
            accepted_ms=accepted_ms,
            attempts=attempts + 1,
            function_errors=function_errors,
            refusals=refusals,
        )
        for event_id, request_id, members, accepted_ms, attempts, function_errors, refusals, payload in rows
    ]
    if len(rows) < claim.limit:
        (claim.next_due_ms,) = connection.execute(
            "SELECT min(due_ms) FROM events WHERE state = 0 AND account_id = ? AND region = ? AND name = ? AND due_ms > ?",
            (*claim.key, claim.now_ms),
        ).fetchone()


def stored_invocation(
    connection: sqlite3.Connection, event_id: int, key: FunctionKey, request_id: str, members: str
) -> Invocation:
    (payload,) = connection.execute("SELECT body FROM payloads WHERE event_id = ?", (event_id,)).fetchone()
    return _invocation(key, request_id, members, payload)


def _invocation(key: FunctionKey, request_id: str, members: str, payload: bytes) -> Invocation:
    return Invocation(
        request_id=request_id,
        account_id=key[0],
        region=key[1],
        function_name=key[2],
        payload=payload,
        **msgspec.json.decode(members),
    )


def postpone(
    connection: sqlite3.Connection, event: Claimed, due_ms: int, *, failed: bool, steps: Sequence[NewStep]
) -> None:
    """The event waits again: after the function failed, or after it was refused, which is no attempt."""
    if failed:
        change = "function_errors = function_errors + 1, refusals = 0"
    else:
        change = "attempts = attempts - 1, refusals = refusals + 1"
    connection.execute(f"UPDATE events SET state = 0, due_ms = ?, {change} WHERE id = ?", (due_ms, event.id))
    add_steps(connection, event.id, steps)


def delivered(connection: sqlite3.Connection, delivery: Delivery, step: NewStep) -> None:
    """It was taken, or is given up."""
    connection.execute("DELETE FROM deliveries WHERE id = ?", (delivery.id,))
    add_steps(connection, delivery.event_id, [step])


def postpone_delivery(connection: sqlite3.Connection, delivery: Delivery, due_ms: int, step: NewStep) -> None:
    connection.execute("UPDATE deliveries SET due_ms = ?, tries = tries + 1 WHERE id = ?", (due_ms, delivery.id))
    add_steps(connection, delivery.event_id, [step])


def add_steps(connection: sqlite3.Connection, event_id: int, steps: Sequence[NewStep]) -> None:
    connection.executemany(
        "INSERT INTO steps (event_id, at_ms, what, detail) VALUES (?, ?, ?, ?)",
        [(event_id, step.at_ms, step.what, _json(step.detail)) for step in steps],
    )


_NOT_OWED: Final = "NOT EXISTS (SELECT 1 FROM deliveries WHERE event_id = events.id)"


def forget_older(connection: sqlite3.Connection, before_ms: int) -> int:
    """Forgets some events that were over before then; returns how many, 0 when none is left."""
    return _forget(
        connection,
        f"SELECT id FROM events WHERE state = 2 AND due_ms < ? AND {_NOT_OWED} ORDER BY due_ms, id LIMIT {FORGET_ROWS}",
        (before_ms,),
    )


def forget_beyond(connection: sqlite3.Connection, key: FunctionKey, keep: int) -> int:
    """The same for a function that has more than `keep` of them."""
    return _forget(
        connection,
        "SELECT id FROM (SELECT id FROM events WHERE account_id = ? AND region = ? AND name = ? AND state = 2 "
        f"AND {_NOT_OWED} ORDER BY id DESC LIMIT {FORGET_ROWS} OFFSET ?)",
        (*key, keep),
    )


def forget_heavier(connection: sqlite3.Connection, keep_bytes: int) -> int:
    """The same while the payloads of all that are over take more than that: the oldest go first."""
    (held,) = connection.execute("SELECT ifnull(sum(payload_bytes), 0) FROM events WHERE state = 2").fetchone()
    if held <= keep_bytes:
        return 0
    rows = connection.execute(
        f"SELECT id, payload_bytes FROM events WHERE state = 2 AND {_NOT_OWED} ORDER BY due_ms, id LIMIT {FORGET_ROWS}"
    ).fetchall()
    chosen = []
    for event_id, payload_bytes in rows:
        if held <= keep_bytes:
            break
        chosen.append((event_id,))
        held -= payload_bytes
    connection.executemany("DELETE FROM events WHERE id = ?", chosen)
    return len(chosen)


def _forget(connection: sqlite3.Connection, select: str, parameters: tuple[Any, ...]) -> int:
    chosen = connection.execute(select, parameters).fetchall()
    connection.executemany("DELETE FROM events WHERE id = ?", chosen)
    return len(chosen)


def _json(value: Mapping[str, Any]) -> str:
    return msgspec.json.encode(value).decode()

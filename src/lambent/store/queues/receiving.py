"""Messages go out: chosen by index, so a deep queue costs no more than a shallow one. Run on the writer's thread.

A message that was received as often as it may be is given to the dead letters instead; one that is older than its queue
keeps it is taken away.
"""

from __future__ import annotations

import json
import sqlite3
from typing import Final

import attrs

from lambent.store.queues import groups
from lambent.store.queues.queues import remove
from lambent.store.queues.values import (
    ATTEMPT_MS,
    IN_FLIGHT_MAX,
    DeadLetters,
    Ids,
    Queue,
    QueueMissing,
    Receipt,
    Received,
    Row,
    TooManyInFlight,
    new_receipt,
    sequence_text,
)

CHUNK: Final = 10  # messages that are looked at together
CHARACTERS_MAX: Final = 8 * 1024 * 1024  # of bodies; no more are begun beyond it, so that memory stays bounded
ROUNDS_MAX: Final = 20  # of messages that were only taken away or given up, in one transaction
CROWDED_MS: Final = 1000  # how soon a FIFO queue with too many in flight is looked at again

_COLUMNS: Final = (
    "m.id, m.visible_ms, m.sent_ms, m.receive_count, m.first_received_ms, m.group_id,"
    " c.message_id, c.body, c.body_md5, c.attributes, c.trace_header, c.sender_id, c.group_id, c.deduplication_id,"
    " c.dead_letter_source"
)
_BY_VISIBILITY: Final = (
    f"SELECT {_COLUMNS} FROM messages m JOIN contents c ON c.id = m.id"
    " WHERE m.bucket = ? AND m.visible_ms <= ? ORDER BY m.visible_ms, m.id LIMIT ?"
)
_BY_GROUP: Final = (
    f"SELECT {_COLUMNS} FROM messages m JOIN contents c ON c.id = m.id"
    " WHERE m.bucket = ? AND m.group_id = ? ORDER BY m.id LIMIT ?"
)
_TAKE: Final = (
    "UPDATE messages SET visible_ms = ?, receive_count = receive_count + 1, received_ms = ?, first_received_ms = ?,"
    " receipt = ? WHERE id = ?"
)


@attrs.frozen(kw_only=True)
class Wanted:
    """What a receiver asks for."""

    count: int
    invisible_ms: int
    attempt_id: str | None = None  # of FIFO queues
    counts_in_flight: bool = False  # when there may be too many


@attrs.frozen(kw_only=True)
class Taken:
    """What it gets; `earliest_ms` is when there can be more, None when that is not known because it got all it wanted."""

    received: list[Received]
    earliest_ms: float | None
    given_up: int = 0  # to the dead letters
    in_flight: int | None = None  # where that was counted


class _Visit:
    """One receiver's turn at the queue."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        ids: Ids,
        queue: Queue,
        bucket: int,
        wanted: Wanted,
        dead_letters: DeadLetters | None,
        now_ms: int,
    ) -> None:
        self.connection = connection
        self.ids = ids
        self.queue = queue
        self.bucket = bucket
        self.wanted = wanted
        self.dead_letters = dead_letters
        self.now_ms = now_ms
        self.kept_since_ms = now_ms - 1000 * queue.retention_s
        self.received: list[Received] = []
        self.receipts: list[tuple[int, int, int]] = []  # of the attempt: message, receipt, visible_ms
        self.given_up = 0
        self.characters = 0  # of the bodies received
        self._updates: list[tuple[int, int, int, int, int]] = []

    @property
    def missing(self) -> int:
        return self.wanted.count - len(self.received)

    def deal_with(self, row: Row) -> bool:
        """Whether it was given to the receiver."""
        number, _, sent_ms, receive_count = row[:4]
        if sent_ms < self.kept_since_ms:
            remove(self.connection, [row])
            return False
        if self._give_up(row):
            return False
        receipt, visible_ms = new_receipt(), self.now_ms + self.wanted.invisible_ms
        first_ms = row[4] or self.now_ms
        self.characters += len(row[7])
        self._updates.append((visible_ms, self.now_ms, first_ms, receipt, number))
        self.receipts.append((number, receipt, visible_ms))
        self.received.append(_received(self.queue, row, receive_count + 1, first_ms, receipt))
        return True

    def _give_up(self, row: Row) -> bool:
        dead_letters = self.dead_letters
        if dead_letters is None or row[3] < dead_letters.receive_max:
            return False
        given_up = give_up(self.connection, self.ids, row, self.queue, dead_letters, self.now_ms)
        self.given_up += given_up
        return given_up

    def write(self) -> None:
        self.connection.executemany(_TAKE, self._updates)
        self._updates.clear()


def receive(
    connection: sqlite3.Connection,
    ids: Ids,
    queue: Queue,
    wanted: Wanted,
    dead_letters: DeadLetters | None,
    now_ms: int,
) -> Taken:
    """Raises QueueMissing, TooManyInFlight."""
    found = connection.execute("SELECT bucket FROM queues WHERE id = ?", (queue.id,)).fetchone()
    if found is None:
        raise QueueMissing(queue.name)
    visit = _Visit(connection, ids, queue, found[0], wanted, dead_letters, now_ms)
    in_flight = _count_in_flight(visit) if wanted.counts_in_flight else None
    if in_flight is not None and in_flight + wanted.count > IN_FLIGHT_MAX:
        if not queue.is_fifo:
            raise TooManyInFlight(queue.name)
        return Taken(received=[], earliest_ms=now_ms + CROWDED_MS, in_flight=in_flight)
    if wanted.attempt_id is not None and (again := _again(visit, wanted.attempt_id)):
        return Taken(received=again, earliest_ms=None, in_flight=in_flight)
    earliest_ms = _from_groups(visit) if queue.is_fifo else _from_all(visit)
    if wanted.attempt_id is not None and visit.received:
        connection.execute(
            "INSERT OR REPLACE INTO attempts VALUES (?, ?, ?, ?)",
            (queue.id, wanted.attempt_id, now_ms + ATTEMPT_MS, json.dumps(visit.receipts)),
        )
    return Taken(received=visit.received, earliest_ms=earliest_ms, given_up=visit.given_up, in_flight=in_flight)


def _count_in_flight(visit: _Visit) -> int:
    found: int = visit.connection.execute(
        "SELECT count(*) FROM messages WHERE bucket = ? AND visible_ms > ? AND receive_count > 0",
        (visit.bucket, visit.now_ms),
    ).fetchone()[0]
    return found


def _from_all(visit: _Visit) -> float | None:
    in_vain = 0
    while visit.missing and visit.characters < CHARACTERS_MAX and in_vain < ROUNDS_MAX:
        asked, before = min(visit.missing, CHUNK), len(visit.received)
        rows = visit.connection.execute(_BY_VISIBILITY, (visit.bucket, visit.now_ms, asked)).fetchall()
        for row in rows:
            visit.deal_with(row)
        visit.write()
        if len(rows) < asked or (visit.received and not visit.wanted.invisible_ms):
            break
        in_vain += len(visit.received) == before
    if not visit.missing or visit.characters >= CHARACTERS_MAX:
        return None
    (earliest_ms,) = visit.connection.execute(
        "SELECT min(visible_ms) FROM messages WHERE bucket = ?", (visit.bucket,)
    ).fetchone()
    return float("inf") if earliest_ms is None else float(earliest_ms)


def _from_groups(visit: _Visit) -> float | None:
    for _ in range(ROUNDS_MAX):
        ready = visit.connection.execute(
            "SELECT group_id FROM groups WHERE bucket = ? AND ready_ms <= ? ORDER BY ready_ms LIMIT ?",
            (visit.bucket, visit.now_ms, visit.missing),
        ).fetchall()
        for (group_id,) in ready:
            if visit.missing:
                _from_group(visit, group_id)
        if visit.received or not ready:
            break
    if not visit.missing:
        return None
    (earliest_ms,) = visit.connection.execute(
        "SELECT min(ready_ms) FROM groups WHERE bucket = ?", (visit.bucket,)
    ).fetchone()
    return float("inf") if earliest_ms is None else float(earliest_ms)


def _from_group(visit: _Visit, group_id: str) -> None:
    """As many of the group's messages as are wanted, from its front: what cannot be had hides what is behind it."""
    limit = min(visit.missing, groups.AT_ONCE)
    for row in visit.connection.execute(_BY_GROUP, (visit.bucket, group_id, limit)).fetchall():
        if row[1] > visit.now_ms:
            break
        visit.deal_with(row)
    visit.write()
    groups.refresh(visit.connection, visit.bucket, group_id, visit.now_ms)


def give_up(
    connection: sqlite3.Connection, ids: Ids, row: Row, source: Queue, dead_letters: DeadLetters, now_ms: int
) -> bool:
    """Gives the message to the dead letters: whether they still exist."""
    target = connection.execute("SELECT bucket FROM queues WHERE id = ?", (dead_letters.queue.id,)).fetchone()
    if target is None:
        return False
    number, group_id = row[0], row[5]
    connection.execute("UPDATE contents SET dead_letter_source = ? WHERE id = ?", (source.arn, number))
    if not source.is_fifo:
        # It keeps the time it was sent, and so grows too old as if it had not been moved.
        connection.execute("UPDATE messages SET bucket = ?, visible_ms = ? WHERE id = ?", (*target, now_ms, number))
        return True
    renumbered = ids.next(now_ms)  # it is the last of its group there
    connection.execute("UPDATE contents SET id = ? WHERE id = ?", (renumbered, number))
    connection.execute(
        "UPDATE messages SET id = ?, bucket = ?, visible_ms = ?, sent_ms = ? WHERE id = ?",
        (renumbered, *target, now_ms, now_ms, number),
    )
    connection.execute("INSERT INTO groups VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (*target, group_id, now_ms))
    return True


def _again(visit: _Visit, attempt_id: str) -> list[Received]:
    """What this attempt got before, if none of it was deleted, came back or was hidden for another time since."""
    connection, now_ms = visit.connection, visit.now_ms
    found = connection.execute(
        "SELECT receipts FROM attempts WHERE queue_id = ? AND attempt_id = ? AND expires_ms > ?",
        (visit.queue.id, attempt_id, now_ms),
    ).fetchone()
    if found is None:
        return []
    visible_ms = now_ms + visit.wanted.invisible_ms
    received, receipts = [], []
    for number, receipt, hidden_until_ms in json.loads(found[0]):
        row = connection.execute(
            f"SELECT {_COLUMNS} FROM messages m JOIN contents c ON c.id = m.id"
            " WHERE m.id = ? AND m.receipt = ? AND m.visible_ms = ? AND m.visible_ms > ?",
            (number, receipt, hidden_until_ms, now_ms),
        ).fetchone()
        if row is None:
            return []
        received.append(_received(visit.queue, row, row[3], row[4], receipt))
        receipts.append((number, receipt, visible_ms))
    connection.executemany("UPDATE messages SET visible_ms = ? WHERE id = ?", [(visible_ms, n) for n, _, _ in receipts])
    for group_id in {message.group_id for message in received}:
        groups.refresh(connection, visit.bucket, group_id or "", now_ms)
    connection.execute(
        "UPDATE attempts SET receipts = ? WHERE queue_id = ? AND attempt_id = ?",
        (json.dumps(receipts), visit.queue.id, attempt_id),
    )
    return received


def _received(queue: Queue, row: Row, receive_count: int, first_received_ms: int, receipt: int) -> Received:
    return Received(
        message_id=row[6],
        receipt_handle=Receipt(queue.id, row[0], receipt).handle(),
        body=row[7],
        body_md5=row[8],
        attributes=row[9],
        trace_header=row[10],
        sender_id=row[11],
        sent_ms=row[2],
        first_received_ms=first_received_ms,
        receive_count=receive_count,
        group_id=row[12],
        deduplication_id=row[13],
        sequence=sequence_text(row[0]) if queue.is_fifo else None,
        dead_letter_source=row[14],
    )

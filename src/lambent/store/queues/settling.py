"""What receivers say of messages that they have: done, or give me another time. Run on the writer's thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Final

import attrs

from lambent.model.errors import LambentError
from lambent.store.queues import groups
from lambent.store.queues.queues import remove
from lambent.store.queues.values import (
    INVISIBLE_MAX_MS,
    InvisibleTooLong,
    NotInFlight,
    Queue,
    QueueMissing,
    Receipt,
    ReceiptExpired,
    Row,
)

NEVER_MS: Final = float("inf")


@attrs.frozen
class Settled:
    """For each receipt None, or what is wrong with it."""

    problems: list[LambentError | None]
    earliest_ms: float  # when something can be received because of it
    deleted: int = 0


def delete(connection: sqlite3.Connection, queue: Queue, receipts: Sequence[Receipt], now_ms: int) -> Settled:
    """Deletes what still bears these receipts. Raises QueueMissing.

    A receipt that is not a message's last one deletes nothing: somebody else has it now. Standard queues say nothing
    of it, FIFO queues say ReceiptExpired, also when the message came back. What is deleted already stays so.
    """

    def one(bucket: int, receipt: Receipt, row: Row | None) -> LambentError | None:
        if row is None:
            return None
        if queue.is_fifo and (row[0] != receipt.number or row[1] <= now_ms):
            return ReceiptExpired(receipt.handle())
        if row[0] == receipt.number:
            remove(connection, [(receipt.message,)])
        return None

    return _settle(connection, queue, receipts, now_ms, one)


def hide(connection: sqlite3.Connection, queue: Queue, receipts: Sequence[tuple[Receipt, int]], now_ms: int) -> Settled:
    """Makes messages invisible for so many milliseconds from now. Raises QueueMissing."""
    times_ms = iter([for_ms for _, for_ms in receipts])

    def one(bucket: int, receipt: Receipt, row: Row | None) -> LambentError | None:
        for_ms = next(times_ms)
        if row is None or row[0] != receipt.number:
            return NotInFlight(receipt.handle())
        if queue.is_fifo and row[1] <= now_ms:
            return ReceiptExpired(receipt.handle())
        visible_ms = now_ms + for_ms
        if visible_ms - row[2] > INVISIBLE_MAX_MS:
            return InvisibleTooLong(receipt.handle())
        connection.execute("UPDATE messages SET visible_ms = ? WHERE id = ?", (visible_ms, receipt.message))
        return None

    settled = _settle(connection, queue, [receipt for receipt, _ in receipts], now_ms, one)
    if queue.is_fifo:
        return settled
    return attrs.evolve(settled, earliest_ms=now_ms + min((for_ms for _, for_ms in receipts), default=0))


def _settle(
    connection: sqlite3.Connection,
    queue: Queue,
    receipts: Sequence[Receipt],
    now_ms: int,
    one: Callable[[int, Receipt, Row | None], LambentError | None],
) -> Settled:
    found = connection.execute("SELECT bucket FROM queues WHERE id = ?", (queue.id,)).fetchone()
    if found is None:
        raise QueueMissing(queue.name)
    (bucket,) = found
    problems, touched, done = [], set(), 0
    for receipt in receipts:
        row = connection.execute(
            "SELECT receipt, visible_ms, received_ms, group_id FROM messages WHERE id = ? AND bucket = ?",
            (receipt.message, bucket),
        ).fetchone()
        problem = one(bucket, receipt, row)
        problems.append(problem)
        if problem is None and row is not None and row[0] == receipt.number:
            done += 1
            if row[3] is not None:
                touched.add(row[3])
    earliest_ms = min((groups.refresh(connection, bucket, group_id, now_ms) for group_id in touched), default=NEVER_MS)
    return Settled(problems, earliest_ms, done)

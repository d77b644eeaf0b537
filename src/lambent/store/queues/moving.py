"""Moving messages from dead letters to where they came from, or elsewhere. Run on the writer's thread."""

from __future__ import annotations

import itertools
import sqlite3
import uuid
from collections.abc import Callable
from typing import Final

import attrs

from lambent.store.queues import groups
from lambent.store.queues.queues import remove
from lambent.store.queues.sending import INSERT_CONTENT, INSERT_GROUP, INSERT_MESSAGE, new_message_id
from lambent.store.queues.values import Ids, MoveTask, MoveTaskMissing, MoveTaskRunning, Queue, Row

KEPT: Final = 10  # tasks of a queue that are remembered: ListMessageMoveTasks' page
# FailureReason, as AWS names them.
DESTINATION_MISSING: Final = "AWS.SimpleQueueService.NonExistentQueue"
SOURCE_UNKNOWN: Final = "CouldNotDetermineMessageSource"

_MESSAGES: Final = (
    "SELECT m.id, m.group_id, c.dead_letter_source, c.body, c.body_md5, c.attributes, c.trace_header, c.sender_id,"
    " c.group_id, c.deduplication_id, m.visible_ms FROM messages m JOIN contents c ON c.id = m.id WHERE m.bucket = ?"
)
_COLUMNS: Final = "id, source_id, source_arn, destination_arn, per_second, status, moved, to_move, failure, started_ms"

Find = Callable[[str], Queue | None]
"""The queue of an ARN."""


def _task(row: Row) -> MoveTask:
    return MoveTask(
        id=row[0],
        source_id=row[1],
        source_arn=row[2],
        destination_arn=row[3],
        per_second=row[4],
        status=row[5],
        moved=row[6],
        to_move=row[7],
        failure=row[8],
        started_ms=row[9],
    )


def tasks(connection: sqlite3.Connection, source_id: int, limit: int) -> list[MoveTask]:
    """Newest first."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM move_tasks WHERE source_id = ? ORDER BY started_ms DESC, id LIMIT ?",
        (source_id, limit),
    )
    return [_task(row) for row in rows]


def running(connection: sqlite3.Connection) -> list[MoveTask]:
    return [_task(row) for row in connection.execute(f"SELECT {_COLUMNS} FROM move_tasks WHERE status = 'RUNNING'")]


def task(connection: sqlite3.Connection, task_id: str) -> MoveTask:
    """Raises MoveTaskMissing."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM move_tasks WHERE id = ?", (task_id,)).fetchone()
    if row is None:
        raise MoveTaskMissing(task_id)
    return _task(row)


def start(
    connection: sqlite3.Connection, source: Queue, destination_arn: str | None, per_second: int | None, now_ms: int
) -> MoveTask:
    """Raises MoveTaskRunning."""
    present = tasks(connection, source.id, KEPT)
    if any(t.status == "RUNNING" for t in present):
        raise MoveTaskRunning(source.name)
    for old in present[KEPT - 1 :]:
        connection.execute("DELETE FROM move_tasks WHERE id = ?", (old.id,))
    (to_move,) = connection.execute("SELECT count(*) FROM messages WHERE bucket = ?", (source.bucket,)).fetchone()
    started = MoveTask(
        id=str(uuid.uuid4()),
        source_id=source.id,
        source_arn=source.arn,
        destination_arn=destination_arn,
        per_second=per_second,
        status="RUNNING",
        moved=0,
        to_move=to_move,
        failure=None,
        started_ms=now_ms,
    )
    connection.execute("INSERT INTO move_tasks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", attrs.astuple(started))
    return started


def cancel(connection: sqlite3.Connection, task_id: str) -> MoveTask:
    """Raises MoveTaskMissing when it is not running."""
    present = task(connection, task_id)
    if present.status != "RUNNING":
        raise MoveTaskMissing(task_id)
    connection.execute("UPDATE move_tasks SET status = 'CANCELLED' WHERE id = ?", (task_id,))
    return attrs.evolve(present, status="CANCELLED")


@attrs.frozen
class Moved:
    """The task as it is now, and the queues that got something."""

    task: MoveTask
    into: dict[int, int]  # queue's id → messages


def step(
    connection: sqlite3.Connection, ids: Ids, task_id: str, source: Queue, find: Find, limit: int, now_ms: int
) -> Moved:
    """Moves up to `limit` messages that nobody has; they are new messages where they arrive. Raises MoveTaskMissing."""
    present = task(connection, task_id)
    if present.status != "RUNNING":
        return Moved(present, {})
    rows = (
        _front_of_groups(connection, source, limit, now_ms)
        if source.is_fifo
        else connection.execute(
            f"{_MESSAGES} AND m.visible_ms <= ? ORDER BY m.visible_ms, m.id LIMIT ?", (source.bucket, now_ms, limit)
        ).fetchall()
    )
    into: dict[int, int] = {}
    failure = None
    for row in rows:
        target = find(present.destination_arn or row[2] or "")
        if target is None:
            failure = DESTINATION_MISSING if present.destination_arn or row[2] else SOURCE_UNKNOWN
            break
        _move(connection, ids, row, target, now_ms)
        into[target.id] = into.get(target.id, 0) + 1
    for group_id in {row[1] for row in rows if row[1] is not None}:
        groups.refresh(connection, source.bucket, group_id, now_ms)
    status = "FAILED" if failure else "RUNNING" if rows else "COMPLETED"
    moved = attrs.evolve(present, status=status, failure=failure, moved=present.moved + sum(into.values()))
    connection.execute(
        "UPDATE move_tasks SET status = ?, failure = ?, moved = ? WHERE id = ?",
        (moved.status, moved.failure, moved.moved, task_id),
    )
    return Moved(moved, into)


def _front_of_groups(connection: sqlite3.Connection, source: Queue, limit: int, now_ms: int) -> list[Row]:
    """In each group's order, and none of a group that somebody has a message of: as receivers get them."""
    ready = connection.execute(
        "SELECT group_id FROM groups WHERE bucket = ? AND ready_ms <= ? ORDER BY ready_ms LIMIT ?",
        (source.bucket, now_ms, limit),
    ).fetchall()
    rows: list[Row] = []
    for (group_id,) in ready:
        of_group = connection.execute(
            f"{_MESSAGES} AND m.group_id = ? ORDER BY m.id LIMIT ?", (source.bucket, group_id, limit - len(rows))
        ).fetchall()
        rows += itertools.takewhile(lambda row: row[-1] <= now_ms, of_group)
    return rows


def _move(connection: sqlite3.Connection, ids: Ids, row: Row, target: Queue, now_ms: int) -> None:
    number = ids.next(now_ms)
    group_id = row[1] if target.is_fifo else None
    (bucket,) = connection.execute("SELECT bucket FROM queues WHERE id = ?", (target.id,)).fetchone()
    remove(connection, [row])
    connection.execute(INSERT_MESSAGE, (number, bucket, now_ms, now_ms, group_id))
    connection.execute(INSERT_CONTENT, (number, new_message_id(), *row[3:10], None))
    if group_id is not None:
        connection.execute(INSERT_GROUP, (bucket, group_id, now_ms))

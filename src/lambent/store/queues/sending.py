"""Messages come in. Run on the writer's thread."""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections.abc import Sequence
from typing import Final

import attrs

from lambent.store.queues.values import (
    DEDUPLICATION_MS,
    Ids,
    NewMessage,
    Queue,
    QueueMissing,
    Sent,
    sequence_text,
)

INSERT_MESSAGE: Final = "INSERT INTO messages (id, bucket, visible_ms, sent_ms, group_id) VALUES (?, ?, ?, ?, ?)"
INSERT_CONTENT: Final = "INSERT INTO contents VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
INSERT_GROUP: Final = "INSERT INTO groups VALUES (?, ?, ?) ON CONFLICT DO NOTHING"


@attrs.frozen
class Arrived:
    """The answers, and when the first of what came in can be received."""

    sent: list[Sent]
    earliest_ms: int
    count: int


def new_message_id() -> str:
    return str(uuid.UUID(bytes=os.urandom(16), version=4))


def send(
    connection: sqlite3.Connection, ids: Ids, queue: Queue, messages: Sequence[NewMessage], now_ms: int
) -> Arrived:
    """Raises QueueMissing when it was deleted meanwhile."""
    found = connection.execute("SELECT bucket FROM queues WHERE id = ?", (queue.id,)).fetchone()
    if found is None:
        raise QueueMissing(queue.name)
    (bucket,) = found
    return (_send_fifo if queue.is_fifo else _send_standard)(connection, ids, queue, bucket, messages, now_ms)


def _send_standard(
    connection: sqlite3.Connection,
    ids: Ids,
    queue: Queue,
    bucket: int,
    messages: Sequence[NewMessage],
    now_ms: int,
) -> Arrived:
    states, contents, sent = [], [], []
    earliest_ms = now_ms + 1000 * 1000
    for message in messages:
        number, message_id = ids.next(now_ms), new_message_id()
        delay_s = queue.delay_s if message.delay_s is None else message.delay_s
        visible_ms = now_ms + 1000 * delay_s
        earliest_ms = min(earliest_ms, visible_ms)
        states.append((number, bucket, visible_ms, now_ms, None))
        contents.append(_content(number, message_id, message))
        sent.append(Sent(message_id, None))
    connection.executemany(INSERT_MESSAGE, states)
    connection.executemany(INSERT_CONTENT, contents)
    return Arrived(sent, earliest_ms, len(states))


def _send_fifo(
    connection: sqlite3.Connection,
    ids: Ids,
    queue: Queue,
    bucket: int,
    messages: Sequence[NewMessage],
    now_ms: int,
) -> Arrived:
    visible_ms = now_ms + 1000 * queue.delay_s
    sent, count = [], 0
    for message in messages:
        scope = (message.group_id or "") if queue.deduplicates_by_group else ""
        remembered = connection.execute(
            "SELECT message_id, sequence FROM duplicates"
            " WHERE queue_id = ? AND scope = ? AND deduplication_id = ? AND expires_ms > ?",
            (queue.id, scope, message.deduplication_id, now_ms),
        ).fetchone()
        if remembered is not None:
            sent.append(Sent(remembered[0], sequence_text(remembered[1])))
            continue
        number, message_id = ids.next(now_ms), new_message_id()
        connection.execute(
            "INSERT OR REPLACE INTO duplicates VALUES (?, ?, ?, ?, ?, ?)",
            (queue.id, scope, message.deduplication_id, message_id, number, now_ms + DEDUPLICATION_MS),
        )
        connection.execute(INSERT_MESSAGE, (number, bucket, visible_ms, now_ms, message.group_id))
        connection.execute(INSERT_CONTENT, _content(number, message_id, message))
        connection.execute(INSERT_GROUP, (bucket, message.group_id, visible_ms))
        sent.append(Sent(message_id, sequence_text(number)))
        count += 1
    return Arrived(sent, visible_ms, count)


def _content(number: int, message_id: str, message: NewMessage) -> tuple[int | str | bytes | None, ...]:
    return (
        number,
        message_id,
        message.body,
        message.body_md5,
        message.attributes,
        message.trace_header,
        message.sender_id,
        message.group_id,
        message.deduplication_id,
        None,
    )

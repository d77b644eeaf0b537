"""Message groups of FIFO queues: when the next message of one may be received. Run on the writer's thread."""

from __future__ import annotations

import sqlite3
from typing import Final

AT_ONCE: Final = 10  # messages of a group that can be in flight together: no more are received at a time


def refresh(connection: sqlite3.Connection, bucket: int, group_id: str, now_ms: int) -> float:
    """Writes down when the group is ready, and returns it; infinity when it has no messages left.

    While any message of a group is in flight, none other is given out. Messages are given out from the front, so
    those in flight are among the first AT_ONCE.
    """
    rows = connection.execute(
        "SELECT visible_ms, receive_count FROM messages WHERE bucket = ? AND group_id = ? ORDER BY id LIMIT ?",
        (bucket, group_id, AT_ONCE),
    ).fetchall()
    if not rows:
        connection.execute("DELETE FROM groups WHERE bucket = ? AND group_id = ?", (bucket, group_id))
        return float("inf")
    in_flight = [visible_ms for visible_ms, receive_count in rows if receive_count and visible_ms > now_ms]
    ready_ms: int = max(in_flight) if in_flight else rows[0][0]
    connection.execute("UPDATE groups SET ready_ms = ? WHERE bucket = ? AND group_id = ?", (ready_ms, bucket, group_id))
    return ready_ms

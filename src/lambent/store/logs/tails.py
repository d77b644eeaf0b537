"""Following a log group: what came, until its reader takes it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final

TailedEvent = tuple[str, int, str]  # stream, milliseconds since the epoch, message

TAIL_EVENTS: Final = 20_000  # that a slow reader of `tail` may be behind
TAIL_BYTES: Final = 8 * 1024 * 1024  # of their messages


class Tail:
    """What one follower has not read yet: no more than TAIL_EVENTS and TAIL_BYTES."""

    def __init__(self) -> None:
        self._events: deque[TailedEvent] = deque()
        self._held_bytes = 0
        self._missed = 0
        self._ended = False
        self._wake = asyncio.Event()

    def add(self, events: Sequence[TailedEvent]) -> None:
        self._events.extend(events)
        self._held_bytes += sum(len(message) for _, _, message in events)
        while len(self._events) > TAIL_EVENTS or self._held_bytes > TAIL_BYTES:
            self._held_bytes -= len(self._events.popleft()[2])
            self._missed += 1
        self._wake.set()

    def end(self) -> None:
        self._ended = True
        self._wake.set()

    async def arrived(self) -> bool:
        """False: there will be no more."""
        await self._wake.wait()
        return bool(self._events) or not self._ended

    def take(self, now_ms: int) -> list[TailedEvent]:
        events = list(self._events)
        if self._missed:
            events.insert(0, ("", now_ms, f"{self._missed} events were left out: they came faster than they were read"))
        self._events.clear()
        self._held_bytes = self._missed = 0
        if not self._ended:
            self._wake.clear()
        return events

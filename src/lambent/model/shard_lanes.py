"""A shard's records on their way: in lanes by key, so that each key keeps its order, and one checkpoint behind them all."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterable

from lambent.model.stream_records import StreamRecord


class Lanes:
    """`count` is the mapping's parallelization factor."""

    def __init__(self, count: int) -> None:
        self.waiting: list[deque[StreamRecord]] = [deque() for _ in range(count)]
        self._order: deque[StreamRecord] = deque()  # those that the checkpoint has not passed
        self.size_bytes = 0  # of their data
        self._done: set[str] = set()
        self.checkpoint: str | None = None  # every record up to this one is done

    def __len__(self) -> int:
        """Records that are not done, or are behind one that is not."""
        return len(self._order)

    def add(self, record: StreamRecord, *, wanted: bool = True) -> int | None:
        """The lane that it waits in; None for one that no filter lets through, which is done at once."""
        self._order.append(record)
        self.size_bytes += record.size_bytes
        if not wanted:
            self.done([record.sequence])
            return None
        lane = zlib.crc32(record.key.encode()) % len(self.waiting)
        self.waiting[lane].append(record)
        return lane

    def done(self, sequences: Iterable[str]) -> bool:
        """Whether the checkpoint has moved."""
        self._done.update(sequences)
        before = self.checkpoint
        while self._order and self._order[0].sequence in self._done:
            passed = self._order.popleft()
            self.size_bytes -= passed.size_bytes
            self.checkpoint = passed.sequence
            self._done.discard(passed.sequence)
        return self.checkpoint != before

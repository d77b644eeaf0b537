"""How much goes in and out of a shard each second, where a server is told to hold to AWS's limits.

https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html
"""

from __future__ import annotations

from typing import Final

MIB: Final = 1024 * 1024
WRITTEN_RECORDS_PER_S: Final = 1000
WRITTEN_BYTES_PER_S: Final = MIB
READS_PER_S: Final = 5
READ_BYTES_PER_S: Final = 2 * MIB


class Allowance:
    """So much each second, and at most one second's worth saved up.

    What is larger than that is let through when nothing was used, and paid off afterwards: so AWS treats large records,
    and readings of ten megabytes.
    """

    def __init__(self, per_s: int, now_s: float) -> None:
        self._per_s = per_s
        self._left = float(per_s)
        self._at_s = now_s

    def has(self, cost: int, now_s: float) -> bool:
        self._left = min(float(self._per_s), self._left + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        return self._left >= min(cost, self._per_s)

    def take(self, cost: int) -> None:
        self._left -= cost


class Throughput:
    """Of all shards, by their ids."""

    def __init__(self) -> None:
        self._written: dict[int, tuple[Allowance, Allowance]] = {}
        self._read: dict[int, tuple[Allowance, Allowance]] = {}

    def may_write(self, shard_id: int, size_bytes: int, now_s: float) -> bool:
        """Counts the record when it may be written."""
        if shard_id not in self._written:
            self._written[shard_id] = Allowance(WRITTEN_RECORDS_PER_S, now_s), Allowance(WRITTEN_BYTES_PER_S, now_s)
        records, written = self._written[shard_id]
        if not (records.has(1, now_s) and written.has(size_bytes, now_s)):
            return False
        records.take(1)
        written.take(size_bytes)
        return True

    def may_read(self, shard_id: int, now_s: float) -> bool:
        """Counts the call when it may be made; `was_read` says later how much it gave."""
        if shard_id not in self._read:
            self._read[shard_id] = Allowance(READS_PER_S, now_s), Allowance(READ_BYTES_PER_S, now_s)
        calls, read = self._read[shard_id]
        if not (calls.has(1, now_s) and read.has(1, now_s)):
            return False
        calls.take(1)
        return True

    def was_read(self, shard_id: int, size_bytes: int) -> None:
        self._read[shard_id][1].take(size_bytes)

"""How shards are made, split and merged: streams in, streams out.

https://docs.aws.amazon.com/streams/latest/dev/kinesis-using-sdk-java-resharding.html
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from lambent.services.kinesis.errors import invalid_argument, shard_closed
from lambent.store.streams import HASHES, Settings, Shard, Stream, StreamKey


def new_stream(key: StreamKey, settings: Settings, shard_count: int, now_ms: int) -> Stream:
    """With shards of equal size; the last one has what is left over."""
    ranges = uniform(shard_count)
    shards = [
        Shard(number=number, first_hash=first, last_hash=last, epoch_s=now_ms // 1000, opened_ms=now_ms)
        for number, (first, last) in enumerate(ranges)
    ]
    return Stream(
        id=0, account_id=key[0], region=key[1], name=key[2], created_ms=now_ms, shards=shards,
        settings=attrs.evolve(settings, next_shard=shard_count),
    )  # fmt: skip


def uniform(count: int) -> list[tuple[int, int]]:
    size = HASHES // count
    return [(n * size, (n + 1) * size - 1 if n + 1 < count else HASHES - 1) for n in range(count)]


class Resharding:
    """One change of a stream's shards: `stream` is what becomes of it."""

    def __init__(self, stream: Stream, now_ms: int) -> None:
        self._stream = stream
        self._now_ms = now_ms
        self._shards = {shard.number: shard for shard in stream.shards}
        self._next = stream.settings.next_shard

    @property
    def stream(self) -> Stream:
        shards = sorted(self._shards.values(), key=lambda shard: shard.number)
        return attrs.evolve(self._stream, shards=shards).with_settings(next_shard=self._next)

    def split(self, shard: Shard, at_hash: int) -> tuple[Shard, Shard]:
        """`at_hash` is the first of the upper one. Raises AwsError InvalidArgumentException."""
        self._close(shard)
        lower = self._open(shard.first_hash, at_hash - 1, [shard])
        return lower, self._open(at_hash, shard.last_hash, [shard])

    def merge(self, shard: Shard, adjacent: Shard) -> Shard:
        """Raises AwsError InvalidArgumentException."""
        self._close(shard)
        self._close(adjacent)
        first = min(shard.first_hash, adjacent.first_hash)
        return self._open(first, max(shard.last_hash, adjacent.last_hash), [shard, adjacent])

    def to_uniform(self, count: int) -> None:
        """By splits and merges of neighbours, so that every new shard descends from the old ones."""
        wanted = self._wanted(count)
        pieces = [piece for shard in self._stream.open_shards for piece in self._split_at(shard, wanted)]
        remaining = iter(pieces)
        for _, last in wanted:
            grown = next(remaining)
            while grown.last_hash < last:
                grown = self.merge(grown, next(remaining))

    def _wanted(self, count: int) -> list[tuple[int, int]]:
        """Equal ranges, with today's bounds where they differ by rounding only."""
        bounds = [first for first, _ in uniform(count)]
        near = [
            min((shard.first_hash for shard in self._stream.open_shards), key=lambda known: abs(known - bound))
            for bound in bounds
        ]
        firsts = [
            known if abs(known - bound) <= 2 * count else bound for known, bound in zip(near, bounds, strict=True)
        ]
        return list(zip(firsts, [*(first - 1 for first in firsts[1:]), HASHES - 1], strict=True))

    def _split_at(self, shard: Shard, ranges: Iterable[tuple[int, int]]) -> list[Shard]:
        done: list[Shard] = []
        for first, _ in ranges:
            if shard.first_hash < first <= shard.last_hash:
                lower, shard = self.split(shard, first)
                done.append(lower)
        return [*done, shard]

    def _close(self, shard: Shard) -> None:
        if not shard.is_open:
            raise shard_closed(self._stream, shard)
        self._shards[shard.number] = attrs.evolve(shard, closed_ms=self._now_ms)

    def _open(self, first_hash: int, last_hash: int, parents: list[Shard]) -> Shard:
        # A child's sequence numbers are above its parents', also within one second.
        epoch_s = max(self._now_ms // 1000, *(parent.epoch_s + 1 for parent in parents))
        shard = Shard(
            number=self._next, first_hash=first_hash, last_hash=last_hash, epoch_s=epoch_s, opened_ms=self._now_ms,
            parent=parents[0].number, adjacent_parent=parents[1].number if len(parents) > 1 else None,
        )  # fmt: skip
        self._shards[shard.number] = shard
        self._next += 1
        return shard


def check_split(stream: Stream, shard: Shard, at_hash: int) -> None:
    """Raises AwsError InvalidArgumentException."""
    if not shard.first_hash + 1 < at_hash < shard.last_hash:
        raise invalid_argument(
            f"NewStartingHashKey {at_hash} used in SplitShard() on shard {shard.name} in stream {stream.name} under "
            f"account {stream.account_id} is not both greater than one plus the shard's StartingHashKey "
            f"{shard.first_hash} and less than the shard's EndingHashKey {shard.last_hash}."
        )


def check_merge(stream: Stream, shard: Shard, adjacent: Shard) -> None:
    """Raises AwsError InvalidArgumentException."""
    if adjacent.first_hash != shard.last_hash + 1:
        raise invalid_argument(
            f"Shards {shard.name} and {adjacent.name} in stream {stream.name} under account {stream.account_id} are "
            "not an adjacent pair of shards eligible for merging"
        )

"""What the stream store takes and gives."""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from lambent.model.errors import LambentError

StreamKey = tuple[str, str, str]  # account, region, name

HASHES: Final = 2**128  # https://docs.aws.amazon.com/streams/latest/dev/key-concepts.html: MD5 of the partition key
POSITION_BITS: Final = 40
POSITION_MAX: Final = 2**POSITION_BITS - 1
HOUR_MS: Final = 3_600_000


class StreamMissing(LambentError):
    """There is no such stream."""


class StreamExists(LambentError):
    """There is one of this name already."""


@attrs.frozen(kw_only=True)
class Shard:
    """A range of hash keys, both ends included."""

    id: int = 0  # 0: not stored yet
    number: int
    first_hash: int
    last_hash: int
    epoch_s: int
    opened_ms: int
    closed_ms: int | None = None
    parent: int | None = None
    adjacent_parent: int | None = None

    @property
    def is_open(self) -> bool:
        return self.closed_ms is None

    @property
    def name(self) -> str:
        return f"shardId-{self.number:012d}"

    def record_id(self, position: int) -> int:
        return self.id << POSITION_BITS | min(max(position, 0), POSITION_MAX)


@attrs.frozen(kw_only=True)
class Consumer:
    """One that was registered for enhanced fan-out."""

    name: str
    created_s: int
    tags: Mapping[str, str] = attrs.field(factory=dict)
    policy: str | None = None


@attrs.frozen(kw_only=True)
class Settings:
    """All of a stream that is kept as JSON."""

    on_demand: bool = False
    retention_h: int = 24
    tags: Mapping[str, str] = attrs.field(factory=dict)
    key_id: str | None = None  # of KMS; None: not encrypted
    metrics: Sequence[str] = ()
    policy: str | None = None
    record_max_kib: int = 1024
    ignores_keys: bool = False  # RecordDistributionStrategy AUTO
    next_shard: int = 0
    scaled_ms: Sequence[int] = ()  # when UpdateShardCount was called within the last day
    switched_ms: Sequence[int] = ()  # the same for UpdateStreamMode
    consumers: Sequence[Consumer] = ()

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Settings:
        consumers = tuple(Consumer(**consumer) for consumer in stored["consumers"])
        return cls(**{**stored, "consumers": consumers})


@attrs.frozen(kw_only=True)
class Stream:
    id: int
    account_id: str
    region: str
    name: str
    created_ms: int
    settings: Settings
    shards: Sequence[Shard]  # by number, without those whose last record has expired
    version: bytes = b""
    _open: Sequence[Shard] = attrs.field(init=False, eq=False, repr=False)
    _starts: Sequence[int] = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        ordered = sorted((shard for shard in self.shards if shard.is_open), key=lambda shard: shard.first_hash)
        object.__setattr__(self, "_open", ordered)
        object.__setattr__(self, "_starts", [shard.first_hash for shard in ordered])

    @property
    def key(self) -> StreamKey:
        return self.account_id, self.region, self.name

    @property
    def arn(self) -> str:
        return f"arn:aws:kinesis:{self.region}:{self.account_id}:stream/{self.name}"

    @property
    def open_shards(self) -> Sequence[Shard]:
        """By hash key."""
        return self._open

    @property
    def retention_ms(self) -> int:
        return self.settings.retention_h * HOUR_MS

    def shard_for(self, hash_key: int) -> Shard:
        """The open one that takes this hash key, 0 to 2^128 - 1."""
        return self._open[bisect.bisect_right(self._starts, hash_key) - 1]

    def shard(self, number: int) -> Shard | None:
        place = bisect.bisect_left(self.shards, number, key=lambda shard: shard.number)
        if place < len(self.shards) and self.shards[place].number == number:
            return self.shards[place]
        return None

    def children(self, number: int) -> list[Shard]:
        return [shard for shard in self.shards if number in (shard.parent, shard.adjacent_parent)]

    def with_settings(self, **changes: Any) -> Stream:
        return attrs.evolve(self, settings=attrs.evolve(self.settings, **changes))


@attrs.frozen
class NewRecord:
    hash_key: int | None  # None: any shard
    partition_key: str | None
    data: bytes


@attrs.frozen
class Placed:
    """Where a record has gone."""

    shard: Shard
    position: int
    arrived_ms: int


@attrs.frozen
class Record:
    position: int
    arrived_ms: int
    partition_key: str | None
    encrypted: bool
    data: bytes


@attrs.frozen
class Page:
    """Records in order; the next one is to be looked for at `next_position`."""

    records: Sequence[Record]
    next_position: int
    behind_ms: int  # how old the first record is that was not given; 0 when there is none

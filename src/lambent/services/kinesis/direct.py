"""A stream for those who live in the same process: pollers. Implements `ports.Stream`.

Positions are opaque numbers that rise within a shard; sequence numbers outlive them and are what to keep on disk.
"""

from __future__ import annotations

import datetime
from typing import Any, Final

import attrs

from lambent.services.kinesis.describing import record_members, shard_members
from lambent.services.kinesis.errors import in_the_words_of_aws, shard_gone, stream_missing
from lambent.services.kinesis.finding import shard_of
from lambent.services.kinesis.records import children_at_end, starting_position
from lambent.store.streams import Shard, Stream, StreamKey, StreamMissing, StreamStore

READ_MAX_BYTES: Final = 10 * 1024 * 1024


@attrs.frozen(kw_only=True)
class Batch:
    """What one reading gave."""

    records: list[dict[str, Any]]  # members of Kinesis's Record
    position: int | None  # where to go on; None: the shard was closed and this was its end
    behind_ms: int  # how old the first record is that was not given
    children: list[str]  # shards to go on with, at a shard's end


class DirectStream:
    """One stream, by its ARN; it may be deleted and made again meanwhile."""

    def __init__(self, store: StreamStore, arn: str) -> None:
        self.arn = arn
        self._store = store
        parts = arn.split(":", 5)
        self._key: StreamKey = (parts[4], parts[3], parts[5].removeprefix("stream/").partition("/")[0])

    def shards(self) -> list[dict[str, Any]]:
        """Members of Kinesis's Shard, by number: open ones, and closed ones whose records are still there.

        Raises AwsError ResourceNotFoundException.
        """
        return [shard_members(shard) for shard in self._stream().shards]

    async def position(
        self,
        shard_id: str,
        kind: str,
        *,
        sequence_number: str | None = None,
        timestamp: datetime.datetime | None = None,
    ) -> int:
        """Where an iterator of that type (`TRIM_HORIZON`, `LATEST`, `AFTER_SEQUENCE_NUMBER`, …) begins.

        Raises AwsError InvalidArgumentException, ResourceNotFoundException.
        """
        stream, shard = self._shard(shard_id)
        return await starting_position(self._store, stream, shard, kind, sequence_number, timestamp, "GetShardIterator")

    async def read(self, shard_id: str, position: int, limit: int, max_bytes: int = READ_MAX_BYTES) -> Batch:
        """At most `limit` records, at once; none when there are none. Raises AwsError ResourceNotFoundException."""
        stream, shard = self._shard(shard_id)
        with in_the_words_of_aws(self._key):
            page = await self._store.read(stream, shard, position, limit, max_bytes)
        children = children_at_end(self._store, stream, shard, page.next_position)
        return Batch(
            records=[record_members(shard, record) for record in page.records],
            position=page.next_position if children is None else None,
            behind_ms=page.behind_ms,
            children=[child["ShardId"] for child in children or ()],
        )

    async def wait(self, shard_id: str, position: int, most_s: float) -> None:
        """Returns when there may be a record at `position`, when something else changed, or after `most_s`.

        Raises AwsError ResourceNotFoundException.
        """
        _, shard = self._shard(shard_id)
        await self._store.wait(shard, position, most_s)

    def _stream(self) -> Stream:
        try:
            return self._store.stream(self._key)
        except StreamMissing as error:
            raise stream_missing(self._key) from error

    def _shard(self, shard_id: str) -> tuple[Stream, Shard]:
        stream = self._stream()
        return stream, shard_of(stream, shard_id, lambda s, name: shard_gone(s.name, s.account_id, name))

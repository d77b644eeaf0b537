"""Kinesis streams of this server: read from the store, without iterators, and waited for without looking again and again."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from lambent import ports
from lambent.model.errors import AwsError
from lambent.model.stream_records import kinesis_record
from lambent.sources.shards import Page, Position, Shard, shard_of

log = logging.getLogger(__name__)

WAIT_S: Final = 60.0


class OwnStream:
    """Implements `shards.Stream`."""

    def __init__(self, stream: ports.Stream, arn: str, role_arn: Callable[[], str]) -> None:
        """`arn` is the mapping's: a consumer's has its stream's in it."""
        self.arn = arn
        self._stream = stream
        self._role_arn = role_arn

    async def shards(self) -> list[Shard]:
        return [shard_of(shard) for shard in self._stream.shards()]

    def reader(self, shard: str, position: Position) -> OwnReader:
        return OwnReader(self._stream, self.arn, shard, position, self._role_arn)


class OwnReader:
    """Implements `shards.ShardReader`."""

    def __init__(
        self, stream: ports.Stream, arn: str, shard: str, position: Position, role_arn: Callable[[], str]
    ) -> None:
        self._stream = stream
        self._arn = arn
        self._shard = shard
        self._start = position
        self._role_arn = role_arn
        self._next: int | None = None

    async def read(self, limit: int) -> Page:
        if self._next is None:
            self._next = await self._beginning()
        try:
            batch = await self._stream.read(self._shard, self._next, limit)
        except AwsError:
            self._next = None  # the stream may have been deleted; one that is made anew counts anew
            raise
        if batch.position is not None:
            self._next = batch.position
        role_arn = self._role_arn()
        records = [kinesis_record(record, self._shard, self._arn, role_arn) for record in batch.records]
        if records:
            self._start = {"after": records[-1].sequence}
        return Page(records, batch.position is None)

    async def wait(self) -> None:
        if self._next is not None:
            await self._stream.wait(self._shard, self._next, WAIT_S)

    async def _beginning(self) -> int:
        sequence, since_s = self._start.get("after"), self._start.get("since")
        if sequence is not None:
            try:
                return await self._stream.position(self._shard, "AFTER_SEQUENCE_NUMBER", sequence_number=sequence)
            except AwsError as error:
                if error.code != "InvalidArgumentException":
                    raise
                log.warning(
                    "%s of %s knows no record %s (%s): reading begins with the oldest that it has",
                    self._shard, self._arn, sequence, error.message,
                )  # fmt: skip
        elif since_s is not None:
            at = datetime.fromtimestamp(since_s, UTC)
            return await self._stream.position(self._shard, "AT_TIMESTAMP", timestamp=at)
        return await self._stream.position(self._shard, "TRIM_HORIZON")

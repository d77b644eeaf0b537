"""Streams behind the APIs of Kinesis and DynamoDB Streams, read by `ports.Clients`."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import attrs

from lambent.model.errors import AwsError
from lambent.model.request import RequestContext
from lambent.model.stream_records import StreamRecord, dynamodb_record, kinesis_record
from lambent.ports import Clients, Clock
from lambent.sources.table_news import POLL_EVERY_S, TableNews

log = logging.getLogger(__name__)

# Once a second for each shard: what AWS says that Lambda does. https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html
KINESIS_EVERY_S: Final = 1.0
# What the record at a checkpoint no longer exists by: it is too old, or the stream was made anew.
_NO_SUCH_PLACE: Final = frozenset({"TrimmedDataAccessException", "InvalidArgumentException", "ValidationException"})
PAGE_MAX: Final = 1_000  # GetRecords of DynamoDB Streams takes no more; ours for Kinesis, which takes 10,000

Position = Mapping[str, Any]
"""{"after": sequence number} or {"type": "TRIM_HORIZON" | "LATEST" | "AT_TIMESTAMP", "since": seconds since the epoch}."""


@attrs.frozen
class Shard:
    name: str
    parents: tuple[str, ...]
    first: str  # sequence number: below it there are no records


@attrs.frozen
class Page:
    records: Sequence[StreamRecord]
    is_over: bool  # the shard was closed, and these were the last


class ShardReader(Protocol):
    async def read(self, limit: int) -> Page:
        """What has come since, at most `limit` records, perhaps none. Raises AwsError."""

    async def wait(self) -> None:
        """Returns when it is worth reading again. Raises AwsError."""


class Stream(Protocol):
    arn: str

    async def shards(self) -> list[Shard]:
        """Raises AwsError."""

    def reader(self, shard: str, position: Position) -> ShardReader: ...


class ClientStream:
    """Either kind, by its ARN. `role_arn` says with whose rights the function would be called.

    `news` tells of writes to tables, where they come by here.
    """

    def __init__(
        self, clients: Clients, clock: Clock, arn: str, role_arn: Callable[[], str], news: TableNews | None = None
    ) -> None:
        parts = arn.split(":", 5)
        self.arn = arn
        self.clients = clients
        self.clock = clock
        self.role_arn = role_arn
        self.is_kinesis = parts[2] == "kinesis"
        self.every_s = KINESIS_EVERY_S if self.is_kinesis else POLL_EVERY_S
        self.service = "kinesis" if self.is_kinesis else "dynamodbstreams"
        self.of_stream = (
            {"StreamARN": arn.split("/consumer/")[0]} if self.is_kinesis else {"StreamArn": arn}
        )  # a consumer's records are read like anybody's
        self._region, self._account_id = parts[3], parts[4]
        self.news = news.of(self._account_id, self._region) if news is not None and not self.is_kinesis else None

    async def call(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        context = RequestContext(
            account_id=self._account_id, region=self._region, request_id=str(uuid.uuid4()), base_url=""
        )
        return await self.clients.call(context, self.service, operation, request)

    async def shards(self) -> list[Shard]:
        found: list[Mapping[str, Any]] = []
        more: Mapping[str, Any] = {}
        while True:
            if self.is_kinesis:
                answer = await self.call("ListShards", more or self.of_stream)
                found += answer.get("Shards") or []
                token = answer.get("NextToken")
                more = {"NextToken": token}
            else:
                answer = (await self.call("DescribeStream", {**self.of_stream, **more}))["StreamDescription"]
                found += answer.get("Shards") or []
                token = answer.get("LastEvaluatedShardId")
                more = {"ExclusiveStartShardId": token}
            if not token:
                return [shard_of(shard) for shard in found]

    def reader(self, shard: str, position: Position) -> ShardReader:
        return _ClientReader(self, shard, position)

    def record(self, record: Mapping[str, Any], shard: str) -> StreamRecord:
        if self.is_kinesis:
            return kinesis_record(record, shard, self.arn, self.role_arn())
        return dynamodb_record(record, self.arn)


class _ClientReader:
    def __init__(self, stream: ClientStream, shard: str, position: Position) -> None:
        self._stream = stream
        self._shard = shard
        self._position = position
        self._since_s: float | None = position.get("since")
        self._iterator: str | None = None
        self._seen_writes, self._read_s = 0, 0.0  # when was looked last

    async def read(self, limit: int) -> Page:
        if self._stream.news is not None:
            self._seen_writes, self._read_s = self._stream.news.writes, self._stream.clock.monotonic()
        if self._iterator is None:
            self._iterator = await self._new_iterator()
        request: dict[str, Any] = {"ShardIterator": self._iterator, "Limit": min(limit, PAGE_MAX)}
        if self._stream.is_kinesis:
            request |= self._stream.of_stream
        try:
            answer = await self._stream.call("GetRecords", request)
        except AwsError:
            self._iterator = None  # it may have expired
            raise
        records = [self._stream.record(record, self._shard) for record in answer.get("Records") or []]
        self._iterator = answer.get("NextShardIterator")
        if records:
            self._position = {"after": records[-1].sequence}
        return Page([record for record in records if self._is_wanted(record)], self._iterator is None)

    def _is_wanted(self, record: StreamRecord) -> bool:
        """A table's stream has no iterator by time, so its records are chosen here; it counts whole seconds."""
        return self._since_s is None or self._stream.is_kinesis or record.arrived_s >= int(self._since_s)

    async def wait(self) -> None:
        if self._stream.news is not None:
            await self._stream.news.since(self._seen_writes, self._read_s, self._stream.clock)
        else:
            await self._stream.clock.sleep(self._stream.every_s)

    async def _new_iterator(self) -> str:
        request = {**self._stream.of_stream, "ShardId": self._shard}
        if "after" in self._position:
            request |= {
                "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
                ("StartingSequenceNumber" if self._stream.is_kinesis else "SequenceNumber"): self._position["after"],
            }
        elif self._since_s is not None and self._stream.is_kinesis:
            at = datetime.fromtimestamp(self._since_s, UTC)
            request |= {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": at}  # type: ignore[dict-item]
        else:
            request["ShardIteratorType"] = "TRIM_HORIZON"
        try:
            found: str = (await self._stream.call("GetShardIterator", request))["ShardIterator"]
        except AwsError as error:
            if error.code not in _NO_SUCH_PLACE or "after" not in self._position:
                raise
            log.warning(
                "%s of %s knows no record %s any more (%s): reading goes on with the oldest that it has",
                self._shard, self._stream.arn, self._position["after"], error.message,
            )  # fmt: skip
            self._position = {}
            return await self._new_iterator()
        return found


def shard_of(shard: Mapping[str, Any]) -> Shard:
    parents = (shard.get("ParentShardId"), shard.get("AdjacentParentShardId"))
    first = (shard.get("SequenceNumberRange") or {}).get("StartingSequenceNumber") or "0"
    return Shard(shard["ShardId"], tuple(parent for parent in parents if parent), first)

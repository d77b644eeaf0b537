"""Putting records and getting them: PutRecord, PutRecords, GetShardIterator, GetRecords.

LIMITS = https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Mapping
from typing import Any, Final

from lambent.model.errors import AwsError
from lambent.model.request import RequestContext
from lambent.ports import Clock, Operation
from lambent.services.kinesis import sequence
from lambent.services.kinesis.describing import child_members, record_members
from lambent.services.kinesis.errors import (
    dry_run,
    in_the_words_of_aws,
    invalid_argument,
    rate_exceeded,
    shard_gone,
    stream_missing,
    validation,
)
from lambent.services.kinesis.finding import Finder, shard_of
from lambent.services.kinesis.iterators import Sealer, ShardIterator
from lambent.services.kinesis.throughput import Throughput
from lambent.store.streams import HASHES, NewRecord, Page, Placed, Shard, Stream, StreamMissing, StreamStore

Members = dict[str, Any]

KIB: Final = 1024
REQUEST_MAX_BYTES: Final = 10 * KIB * KIB  # data and partition keys of a PutRecords: its page
READ_MAX_BYTES: Final = 10 * KIB * KIB  # of a GetRecords: its page
READ_MAX_RECORDS: Final = 10_000
TYPES_WITH_NUMBER: Final = ("AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER")


class Records:
    def __init__(
        self, store: StreamStore, finder: Finder, sealer: Sealer, clock: Clock, throughput: Throughput | None
    ) -> None:
        """Without `throughput` nothing is throttled."""
        self._store = store
        self._finder = finder
        self._sealer = sealer
        self._clock = clock
        self._throughput = throughput
        self.operations: Mapping[str, Operation] = {
            "GetRecords": self.get_records,
            "GetShardIterator": self.get_shard_iterator,
            "PutRecord": self.put_record,
            "PutRecords": self.put_records,
        }

    # ── putting ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def put_record(self, context: RequestContext, members: Members) -> Members:
        stream = self._finder.stream(context, members, "PutRecord")
        record = new_record(stream, members, "data", "partitionKey")
        self._check_ordering(stream, members.get("SequenceNumberForOrdering"))
        if members.get("DryRun"):
            raise dry_run()
        if (refused := self._refused(stream, record)) is not None:
            raise refused
        with in_the_words_of_aws(stream.key):
            (placed,) = await self._store.put(stream, [record])
        answer = {"ShardId": placed.shard.name, "SequenceNumber": sequence.of_placed(placed)}
        return _with_encryption(stream, answer)

    async def put_records(self, context: RequestContext, members: Members) -> Members:
        stream = self._finder.stream(context, members, "PutRecords")
        records = []
        size = 0
        for number, entry in enumerate(members["Records"], 1):
            at = f"records.{number}.member"
            record = new_record(stream, entry, f"{at}.data", f"{at}.partitionKey")
            size += len(record.data) + len(entry.get("PartitionKey") or "")
            records.append(record)
        if size > REQUEST_MAX_BYTES:
            raise invalid_argument("Records size exceeds 10 MB limit")
        if members.get("DryRun"):
            raise dry_run()
        refused = [self._refused(stream, record) for record in records]
        admitted = [record for record, problem in zip(records, refused, strict=True) if problem is None]
        with in_the_words_of_aws(stream.key):
            placed = iter(await self._store.put(stream, admitted) if admitted else ())
        results = [_result(next(placed)) if problem is None else _failure(problem) for problem in refused]
        answer = {"FailedRecordCount": len(records) - len(admitted), "Records": results}
        return _with_encryption(stream, answer)

    def _refused(self, stream: Stream, record: NewRecord) -> AwsError | None:
        """Why a record may not be written now; where there are limits, it is counted when it may."""
        if self._throughput is None or record.hash_key is None:
            return None
        shard = stream.shard_for(record.hash_key)
        size = len(record.data) + len((record.partition_key or "").encode())
        is_allowed = self._throughput.may_write(shard.id, size, self._clock.monotonic())
        return None if is_allowed else rate_exceeded(stream, shard)

    def _check_ordering(self, stream: Stream, number: str | None) -> None:
        """The number of an earlier record of the same producer; positions rise in any case. Raises AwsError."""
        if number is None:
            return
        if sequence.read(number) is None:
            raise invalid_argument(
                f"ExclusiveMinimumSequenceNumber {number} used in PutRecord on stream {stream.name} under account "
                f"{stream.account_id} is invalid."
            )

    # ── getting ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def get_shard_iterator(self, context: RequestContext, members: Members) -> Members:
        try:
            stream = self._finder.stream(context, members, "GetShardIterator")
        except AwsError as error:
            if error.code == "ResourceNotFoundException":
                key = self._finder.key(context, members, "GetShardIterator")
                raise shard_gone(key[2], key[0], members["ShardId"]) from error
            raise
        shard = shard_of(stream, members["ShardId"], lambda s, name: shard_gone(s.name, s.account_id, name))
        position = await starting_position(
            self._store, stream, shard, members["ShardIteratorType"],
            members.get("StartingSequenceNumber"), members.get("Timestamp"), "GetShardIterator",
        )  # fmt: skip
        if members.get("DryRun"):
            raise dry_run()
        return {"ShardIterator": self._iterator(stream, shard, position)}

    async def get_records(self, context: RequestContext, members: Members) -> Members:
        iterator = self._sealer.read_iterator(members["ShardIterator"], self._store.now_ms())
        key = (iterator.account_id, context.region, iterator.stream_name)
        try:
            stream = self._store.by_id(iterator.stream_id)
        except StreamMissing as error:
            raise shard_gone(key[2], key[0], f"shardId-{iterator.shard:012d}") from error
        if stream.region != context.region:
            raise invalid_argument("Invalid ShardIterator.")
        # Whose stream it is, and whether another account may still read it.
        self._finder.stream(context, {"StreamARN": members.get("StreamARN") or stream.arn}, "GetRecords")
        if members.get("StreamARN") not in (None, stream.arn):
            raise invalid_argument("Invalid ShardIterator.")
        shard = stream.shard(iterator.shard)
        if shard is None:
            raise shard_gone(stream.name, stream.account_id, f"shardId-{iterator.shard:012d}")
        if members.get("DryRun"):
            raise dry_run()
        if self._throughput is not None and not self._throughput.may_read(shard.id, self._clock.monotonic()):
            raise rate_exceeded(stream, shard)
        limit = members.get("Limit") or READ_MAX_RECORDS
        with in_the_words_of_aws(stream.key):
            page = await self._store.read(stream, shard, iterator.position, limit, READ_MAX_BYTES)
        if self._throughput is not None:
            self._throughput.was_read(shard.id, sum(len(record.data) for record in page.records))
        return self._answer(stream, shard, page)

    def _answer(self, stream: Stream, shard: Shard, page: Page) -> Members:
        answer: Members = {
            "Records": [record_members(shard, record) for record in page.records],
            "MillisBehindLatest": page.behind_ms,
        }
        children = children_at_end(self._store, stream, shard, page.next_position)
        if children is None:
            answer["NextShardIterator"] = self._iterator(stream, shard, page.next_position)
        else:
            answer["ChildShards"] = children
        return answer

    def _iterator(self, stream: Stream, shard: Shard, position: int) -> str:
        return self._sealer.iterator(
            ShardIterator(
                made_ms=self._store.now_ms(), stream_id=stream.id, shard=shard.number, position=position,
                account_id=stream.account_id, stream_name=stream.name,
            )
        )  # fmt: skip


def children_at_end(store: StreamStore, stream: Stream, shard: Shard, position: int) -> list[Members] | None:
    """What to go on with when a shard has been closed and read to its end; None: there is or will be more of it."""
    try:
        stream = store.by_id(stream.id)
    except StreamMissing as error:
        raise stream_missing(stream.key) from error
    current = stream.shard(shard.number)
    if current is None or (not current.is_open and position > store.end(shard)):
        return [child_members(child) for child in stream.children(shard.number)]
    return None


async def starting_position(
    store: StreamStore,
    stream: Stream,
    shard: Shard,
    kind: str,
    number: str | None,
    timestamp: datetime.datetime | None,
    operation: str,
) -> int:
    """Where to begin reading, for one of the five types of iterators. Raises AwsError InvalidArgumentException."""
    if kind == "AT_TIMESTAMP":
        return await _position_at(store, shard, timestamp)
    if (number is not None) != (kind in TYPES_WITH_NUMBER):
        given = "also a StartingSequenceNumber" if number is not None else "no StartingSequenceNumber"
        raise invalid_argument(
            "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and StartingSequenceNumber or "
            f"(2) TRIM_HORIZON or LATEST and no StartingSequenceNumber. Request specified {kind} and {given}."
        )
    if kind == "TRIM_HORIZON":
        return 0
    if number is None:
        return store.end(shard) + 1
    position = position_of(stream, shard, number, operation)
    return position if kind == "AT_SEQUENCE_NUMBER" else position + 1


async def _position_at(store: StreamStore, shard: Shard, timestamp: datetime.datetime | None) -> int:
    if timestamp is None:
        raise invalid_argument(
            "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. Current request has no "
            "timestamp parameter."
        )
    wanted_ms, now_ms = int(timestamp.timestamp() * 1000), store.now_ms()
    if wanted_ms > now_ms:
        raise invalid_argument(
            "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. "
            f"timestampInMillis: {wanted_ms}, currentTimestampInMillis: {now_ms}"
        )
    return await store.position_at(shard, wanted_ms)


def position_of(stream: Stream, shard: Shard, number: str, operation: str) -> int:
    """Where a sequence number of this shard points. Raises AwsError InvalidArgumentException."""
    place = sequence.read(number)
    used = (
        f"StartingSequenceNumber {number} used in {operation} on shard {shard.name} in stream {stream.name} under "
        f"account {stream.account_id} is invalid"
    )
    if place is None:
        raise invalid_argument(f"{used}.")
    if place.shard != shard.number:
        raise invalid_argument(
            f"Invalid StartingSequenceNumber. It encodes shardId-{place.shard:012d}, while it was used in a call to a "
            f"shard with {shard.name}"
        )
    if place.epoch_s != shard.epoch_s:
        raise invalid_argument(f"{used} because it did not come from this stream.")
    return min(place.position, sequence.END)


def new_record(stream: Stream, entry: Members, data_at: str, key_at: str) -> NewRecord:
    """What is to be stored of one entry. Raises AwsError ValidationException, InvalidArgumentException."""
    data: bytes = entry["Data"]
    key: str | None = entry.get("PartitionKey")
    settings = stream.settings
    most_bytes = settings.record_max_kib * KIB
    if len(data) + len((key or "").encode()) > most_bytes:
        raise validation(
            f"1 validation error detected: Value at '{data_at}' failed to satisfy constraint: Member must have length "
            f"less than or equal to {most_bytes}"
        )
    if settings.ignores_keys:
        return NewRecord(None, None, data)
    if key is None:
        raise validation(
            f"1 validation error detected: Value null at '{key_at}' failed to satisfy constraint: Member must not be "
            "null"
        )
    explicit: str | None = entry.get("ExplicitHashKey")
    return NewRecord(_hash_key(key) if explicit is None else _explicit(explicit), key, data)


def _result(placed: Placed) -> Members:
    return {"SequenceNumber": sequence.of_placed(placed), "ShardId": placed.shard.name}


def _failure(problem: AwsError) -> Members:
    return {"ErrorCode": problem.code, "ErrorMessage": problem.message}


def _hash_key(partition_key: str) -> int:
    return int.from_bytes(hashlib.md5(partition_key.encode(), usedforsecurity=False).digest(), "big")


def _explicit(text: str) -> int:
    """Raises AwsError InvalidArgumentException."""
    value = int(text)
    if value >= HASHES:
        raise invalid_argument(
            "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was " + text
        )
    return value


def _with_encryption(stream: Stream, answer: Members) -> Members:
    return answer if stream.settings.key_id is None else {**answer, "EncryptionType": "KMS"}

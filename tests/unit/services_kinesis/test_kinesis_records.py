"""Putting records and reading them back, by every kind of iterator."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from kinesis_harness import ACCOUNT, ARN, SHARD, Kinesis
from lambent.services.kinesis import sequence
from lambent.store.streams import POSITION_MAX, Shard


def at(now_s: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(now_s, datetime.UTC)


async def test_records_come_back_in_order_with_all_that_was_said(kinesis: Kinesis) -> None:
    await kinesis.stream()
    numbers = await kinesis.put("a", "b", "c")

    data, answer = await kinesis.get(await kinesis.iterator())

    assert data == ["a", "b", "c"]
    assert [record["SequenceNumber"] for record in answer["Records"]] == numbers
    assert [int(number) for number in numbers] == sorted(int(number) for number in numbers)
    assert answer["Records"][0]["PartitionKey"] == "k"
    assert answer["Records"][0]["ApproximateArrivalTimestamp"] == at(kinesis.clock.now())
    assert answer["MillisBehindLatest"] == 0
    assert (await kinesis.get(answer["NextShardIterator"]))[0] == []


async def test_the_five_types_of_iterators(kinesis: Kinesis) -> None:
    await kinesis.stream()
    before_s = kinesis.clock.now()
    kinesis.clock.advance(10)
    numbers = await kinesis.put("a", "b")
    kinesis.clock.advance(10)
    middle_s = kinesis.clock.now()
    latest = await kinesis.iterator("LATEST")
    kinesis.clock.advance(10)
    numbers += await kinesis.put("c")

    assert await kinesis.read("TRIM_HORIZON") == ["a", "b", "c"]
    assert (await kinesis.get(latest))[0] == ["c"]
    assert await kinesis.read("AT_SEQUENCE_NUMBER", StartingSequenceNumber=numbers[1]) == ["b", "c"]
    assert await kinesis.read("AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=numbers[1]) == ["c"]
    assert await kinesis.read("AT_TIMESTAMP", Timestamp=at(before_s)) == ["a", "b", "c"]
    assert await kinesis.read("AT_TIMESTAMP", Timestamp=at(before_s + 10)) == ["a", "b", "c"]
    assert await kinesis.read("AT_TIMESTAMP", Timestamp=at(before_s + 10.001)) == ["c"]
    assert await kinesis.read("AT_TIMESTAMP", Timestamp=at(middle_s)) == ["c"]
    assert await kinesis.read("AT_TIMESTAMP", Timestamp=at(kinesis.clock.now())) == ["c"]
    start = (await kinesis.shards())[0]["SequenceNumberRange"]["StartingSequenceNumber"]
    assert await kinesis.read("AT_SEQUENCE_NUMBER", StartingSequenceNumber=start) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (
            {"ShardIteratorType": "LATEST", "StartingSequenceNumber": "1"},
            "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and StartingSequenceNumber or (2) "
            "TRIM_HORIZON or LATEST and no StartingSequenceNumber. Request specified LATEST and also a "
            "StartingSequenceNumber.",
        ),
        (
            {"ShardIteratorType": "AT_SEQUENCE_NUMBER"},
            "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and StartingSequenceNumber or (2) "
            "TRIM_HORIZON or LATEST and no StartingSequenceNumber. Request specified AT_SEQUENCE_NUMBER and no "
            "StartingSequenceNumber.",
        ),
        (
            {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": "5"},
            f"StartingSequenceNumber 5 used in GetShardIterator on shard {SHARD} in stream s under account {ACCOUNT} "
            "is invalid.",
        ),
        (
            {"ShardIteratorType": "AT_TIMESTAMP"},
            "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. Current request has no "
            "timestamp parameter.",
        ),
    ],
)
async def test_iterators_that_make_no_sense(kinesis: Kinesis, members: dict[str, Any], message: str) -> None:
    await kinesis.stream()

    refused = await kinesis.refused("GetShardIterator", StreamName="s", ShardId=SHARD, **members)

    assert refused == ("InvalidArgumentException", message)


async def test_sequence_numbers_belong_to_their_shard_and_stream(kinesis: Kinesis) -> None:
    await kinesis.stream(shards=2)
    ranges = [shard["SequenceNumberRange"]["StartingSequenceNumber"] for shard in await kinesis.shards()]
    ask = {"StreamName": "s", "ShardId": SHARD, "ShardIteratorType": "AT_SEQUENCE_NUMBER"}

    assert (await kinesis.refused("GetShardIterator", **ask, StartingSequenceNumber=ranges[1]))[1] == (
        "Invalid StartingSequenceNumber. It encodes shardId-000000000001, while it was used in a call to a shard with "
        "shardId-000000000000"
    )
    kinesis.clock.advance(5)
    await kinesis.stream("t")
    refused = await kinesis.refused("GetShardIterator", **{**ask, "StreamName": "t"}, StartingSequenceNumber=ranges[0])
    assert refused[1].endswith("is invalid because it did not come from this stream.")


async def test_the_future_cannot_be_read(kinesis: Kinesis) -> None:
    await kinesis.stream()
    later = at(kinesis.clock.now() + 1)

    refused = await kinesis.refused(
        "GetShardIterator", StreamName="s", ShardId=SHARD, ShardIteratorType="AT_TIMESTAMP", Timestamp=later
    )

    assert refused[1].startswith("The timestampInMillis parameter cannot be greater than the currentTimestampInMillis.")


async def test_iterators_expire_after_five_minutes(kinesis: Kinesis) -> None:
    await kinesis.stream()
    iterator = await kinesis.iterator()

    kinesis.clock.advance(300)
    await kinesis.get(iterator)
    kinesis.clock.advance(1)

    code, message = await kinesis.refused("GetRecords", ShardIterator=iterator)
    assert code == "ExpiredIteratorException"
    assert message.startswith("Iterator expired. The iterator was created at time ")
    assert message.endswith("which is further in the future than the tolerated delay of 300000 milliseconds.")


@pytest.mark.parametrize("change", [lambda text: text[:-2], lambda text: "AAAA" + text[4:-4] + "AAAA", lambda _: "x"])
async def test_iterators_cannot_be_made_up(kinesis: Kinesis, change: Any) -> None:
    await kinesis.stream()
    iterator = change(await kinesis.iterator())

    assert await kinesis.refused("GetRecords", ShardIterator=iterator) == (
        "InvalidArgumentException",
        "Invalid ShardIterator.",
    )


async def test_an_iterator_is_of_its_own_account(kinesis: Kinesis) -> None:
    await kinesis.stream()
    iterator = await kinesis.iterator()

    assert (await kinesis.refused("GetRecords", "999988887777", ShardIterator=iterator))[0] == "AccessDeniedException"


async def test_an_iterator_dies_with_its_stream(kinesis: Kinesis) -> None:
    await kinesis.stream()
    iterator = await kinesis.iterator()
    await kinesis.call("DeleteStream", StreamName="s")
    gone = ("ResourceNotFoundException", f"Shard {SHARD} in stream s under account {ACCOUNT} does not exist")

    assert await kinesis.refused("GetRecords", ShardIterator=iterator) == gone
    await kinesis.stream()
    assert await kinesis.refused("GetRecords", ShardIterator=iterator) == gone


async def test_a_page_ends_at_the_limit_and_says_how_far_behind_it_is(kinesis: Kinesis) -> None:
    await kinesis.stream()
    await kinesis.put("a", "b")
    kinesis.clock.advance(7)

    data, answer = await kinesis.get(await kinesis.iterator(), Limit=1)

    assert (data, answer["MillisBehindLatest"]) == (["a"], 7000)
    data, answer = await kinesis.get(answer["NextShardIterator"], Limit=1)
    assert (data, answer["MillisBehindLatest"]) == (["b"], 0)


async def test_a_page_ends_at_ten_mebibytes(kinesis: Kinesis) -> None:
    await kinesis.stream(MaxRecordSizeInKiB=10_240)
    for _ in range(2):
        await kinesis.call("PutRecord", StreamName="s", Data=bytes(6 * 1024 * 1024), PartitionKey="k")

    _, answer = await kinesis.get(await kinesis.iterator())

    assert len(answer["Records"]) == 1
    assert len((await kinesis.get(answer["NextShardIterator"]))[1]["Records"]) == 1


async def test_records_are_retained_as_long_as_the_stream_says(kinesis: Kinesis) -> None:
    await kinesis.stream()
    await kinesis.put("old")
    kinesis.clock.advance(3600)
    await kinesis.put("young")
    start = await kinesis.iterator()
    kinesis.clock.advance(23 * 3600 + 1)

    assert await kinesis.read() == ["young"]
    await kinesis.store.sweep()
    assert await kinesis.read() == ["young"]
    assert (await kinesis.refused("GetRecords", ShardIterator=start))[0] == "ExpiredIteratorException"
    kinesis.clock.advance(3600)
    await kinesis.store.sweep()
    assert await kinesis.read() == []
    (number,) = await kinesis.put("new")
    assert await kinesis.read("AT_SEQUENCE_NUMBER", StartingSequenceNumber=number) == ["new"]


async def test_keys_choose_shards_by_their_hash(kinesis: Kinesis) -> None:
    await kinesis.stream(shards=2)
    half = str(2**127)

    async def shard(**members: str) -> str:
        answer = await kinesis.call("PutRecord", StreamName="s", Data=b"", **{"PartitionKey": "a", **members})
        return str(answer["ShardId"])

    # MD5 of "a" begins 0cc1, of "b" 92eb.
    assert (await shard(), await shard(PartitionKey="b")) == (SHARD, "shardId-000000000001")
    assert await shard(ExplicitHashKey=half) == "shardId-000000000001"
    assert await shard(ExplicitHashKey=str(2**127 - 1)) == SHARD
    refused = await kinesis.refused(
        "PutRecord", StreamName="s", Data=b"", PartitionKey="a", ExplicitHashKey=str(2**128)
    )
    assert refused == (
        "InvalidArgumentException",
        f"Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was {2**128}",
    )


async def test_records_are_as_large_as_the_stream_allows(kinesis: Kinesis) -> None:
    await kinesis.stream()
    mebibyte = 1024 * 1024

    await kinesis.call("PutRecord", StreamName="s", Data=bytes(mebibyte - 1), PartitionKey="k")
    refused = await kinesis.refused(
        "PutRecords", StreamName="s", Records=[{"Data": bytes(mebibyte), "PartitionKey": "k"}]
    )
    assert refused == (
        "ValidationException",
        "1 validation error detected: Value at 'records.1.member.data' failed to satisfy constraint: Member must have "
        "length less than or equal to 1048576",
    )
    many = [{"Data": bytes(mebibyte - 1), "PartitionKey": "k"}] * 11
    assert await kinesis.refused("PutRecords", StreamName="s", Records=many) == (
        "InvalidArgumentException",
        "Records size exceeds 10 MB limit",
    )


async def test_a_key_is_needed_unless_the_stream_ignores_them(kinesis: Kinesis) -> None:
    await kinesis.call("CreateStream", StreamName="s")
    assert (await kinesis.refused("PutRecord", StreamName="s", Data=b"x"))[0] == "ValidationException"

    await kinesis.call("UpdateStreamRecordDistributionStrategy", StreamARN=ARN, RecordDistributionStrategy="AUTO")
    entries = [{"Data": b"x"}] * 8
    answer = await kinesis.call("PutRecords", StreamName="s", Records=entries)

    assert sorted(record["ShardId"][-1] for record in answer["Records"]) == list("00112233")


async def test_a_dry_run_writes_nothing(kinesis: Kinesis) -> None:
    await kinesis.stream()

    refused = await kinesis.refused("PutRecord", StreamName="s", Data=b"x", PartitionKey="k", DryRun=True)

    assert refused[0] == "DryRunOperationException"
    assert await kinesis.read() == []


async def test_numbers_for_ordering_are_looked_at(kinesis: Kinesis) -> None:
    await kinesis.stream()
    (number,) = await kinesis.put("a")
    record: dict[str, Any] = {"StreamName": "s", "Data": b"b", "PartitionKey": "k"}

    after = await kinesis.call("PutRecord", **record, SequenceNumberForOrdering=number)

    assert int(after["SequenceNumber"]) > int(number)
    assert (await kinesis.refused("PutRecord", **record, SequenceNumberForOrdering="7"))[1] == (
        f"ExclusiveMinimumSequenceNumber 7 used in PutRecord on stream s under account {ACCOUNT} is invalid."
    )


@pytest.mark.parametrize("position", [0, 1, POSITION_MAX, sequence.END])
@pytest.mark.parametrize("number", [0, 15, 16, 123_456_789])
def test_sequence_numbers_say_what_was_put_into_them(position: int, number: int) -> None:
    shard = Shard(number=number, first_hash=0, last_hash=1, epoch_s=1_795_246_123, opened_ms=0)

    text = sequence.write(shard, position, 1_795_246_999)

    assert len(text) == 56
    assert sequence.read(text) == sequence.Place(1_795_246_123, number, position)


@pytest.mark.parametrize("text", ["0", "1", "9" * 56, "9" * 129, "4" * 60, str(int("2" + "f" * 46, 16))])
def test_other_numbers_are_no_sequence_numbers(text: str) -> None:
    assert sequence.read(text) is None

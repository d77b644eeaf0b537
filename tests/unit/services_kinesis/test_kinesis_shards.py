"""Shards that are split and merged: no hash key is without one, and children follow their parents."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinesis_harness import ACCOUNT, SHARD, Kinesis
from lambent.services.kinesis.resharding import Resharding, new_stream
from lambent.store.streams import HASHES, Settings, Stream

KEY = (ACCOUNT, "eu-west-1", "s")
HALF = str(2**127)


async def test_a_split_shard_is_read_to_its_end_and_names_its_children(kinesis: Kinesis) -> None:
    await kinesis.stream()
    await kinesis.put("before")
    iterator = await kinesis.iterator()
    await kinesis.call("SplitShard", StreamName="s", ShardToSplit=SHARD, NewStartingHashKey=HALF)
    await kinesis.put("after", key="b")

    data, answer = await kinesis.get(iterator)

    assert data == ["before"]
    assert "NextShardIterator" not in answer
    assert [(child["ShardId"], child["ParentShards"]) for child in answer["ChildShards"]] == [
        ("shardId-000000000001", [SHARD]),
        ("shardId-000000000002", [SHARD]),
    ]
    assert await kinesis.read(shard="shardId-000000000002") == ["after"]
    parent, lower, upper = await kinesis.shards()
    assert int(parent["SequenceNumberRange"]["EndingSequenceNumber"]) < int(
        lower["SequenceNumberRange"]["StartingSequenceNumber"]
    )
    assert upper["HashKeyRange"] == {"StartingHashKey": HALF, "EndingHashKey": str(HASHES - 1)}
    assert upper["ParentShardId"] == SHARD
    ending = parent["SequenceNumberRange"]["EndingSequenceNumber"]
    assert await kinesis.read("AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=ending) == []


async def test_an_iterator_at_a_shard_that_is_open_goes_on_forever(kinesis: Kinesis) -> None:
    await kinesis.stream()
    _, answer = await kinesis.get(await kinesis.iterator("LATEST"))

    await kinesis.call("SplitShard", StreamName="s", ShardToSplit=SHARD, NewStartingHashKey=HALF)

    _, answer = await kinesis.get(answer["NextShardIterator"])
    assert "NextShardIterator" not in answer
    assert len(answer["ChildShards"]) == 2


async def test_merged_shards_have_one_child_with_two_parents(kinesis: Kinesis) -> None:
    await kinesis.stream(shards=2)

    await kinesis.call("MergeShards", StreamName="s", ShardToMerge=SHARD, AdjacentShardToMerge="shardId-000000000001")

    merged = (await kinesis.shards())[-1]
    assert (merged["ParentShardId"], merged["AdjacentParentShardId"]) == (SHARD, "shardId-000000000001")
    assert await kinesis.open_ranges() == [(0, HASHES - 1)]
    _, answer = await kinesis.get(await kinesis.iterator())
    assert answer["ChildShards"][0]["ParentShards"] == [SHARD, "shardId-000000000001"]


async def test_what_cannot_be_split_or_merged(kinesis: Kinesis) -> None:
    await kinesis.stream(shards=3)

    async def split(at: int, shard: str = SHARD) -> tuple[str, str]:
        return await kinesis.refused("SplitShard", StreamName="s", ShardToSplit=shard, NewStartingHashKey=str(at))

    async def merge(one: str, other: str) -> tuple[str, str]:
        return await kinesis.refused("MergeShards", StreamName="s", ShardToMerge=one, AdjacentShardToMerge=other)

    assert await split(1) == (
        "InvalidArgumentException",
        f"NewStartingHashKey 1 used in SplitShard() on shard {SHARD} in stream s under account {ACCOUNT} is not both "
        "greater than one plus the shard's StartingHashKey 0 and less than the shard's EndingHashKey "
        "113427455640312821154458202477256070484.",
    )
    assert await split(5, "shardId-000000000009") == (
        "ResourceNotFoundException",
        f"Could not find shard shardId-000000000009 in stream s under account {ACCOUNT}.",
    )
    assert await merge(SHARD, "shardId-000000000002") == (
        "InvalidArgumentException",
        f"Shards {SHARD} and shardId-000000000002 in stream s under account {ACCOUNT} are not an adjacent pair of "
        "shards eligible for merging",
    )
    await kinesis.call("SplitShard", StreamName="s", ShardToSplit=SHARD, NewStartingHashKey="1000")
    closed = (
        f"Shard {SHARD} in stream s under account {ACCOUNT} has already been merged or split, and thus is not eligible "
        "for merging or splitting."
    )
    assert await split(1000) == ("InvalidArgumentException", closed)
    assert await merge(SHARD, "shardId-000000000001") == ("InvalidArgumentException", closed)


async def test_scaling_has_bounds(kinesis: Kinesis) -> None:
    await kinesis.stream(shards=2)

    async def scale(count: int) -> tuple[str, str]:
        return await kinesis.refused("UpdateShardCount", StreamName="s", TargetShardCount=count)

    assert await scale(5) == (
        "LimitExceededException",
        "UpdateShardCount cannot scale up over double your current open shard count. Current open shard count: 2, "
        "Target shard count: 5",
    )
    for _ in range(5):
        await kinesis.call("UpdateShardCount", StreamName="s", TargetShardCount=4)
        assert (await scale(1))[1].startswith("UpdateShardCount cannot scale down below half")
        await kinesis.call("UpdateShardCount", StreamName="s", TargetShardCount=2)
    assert (await scale(2))[0] == "LimitExceededException"
    kinesis.clock.advance(86_401)
    answer = await kinesis.call("UpdateShardCount", StreamName="s", TargetShardCount=3)
    assert (answer["CurrentShardCount"], answer["TargetShardCount"]) == (2, 3)


@pytest.mark.parametrize(("before", "after", "shards"), [(2, 4, 6), (4, 5, 15), (10, 20, 30), (4, 2, 6), (3, 6, 9)])
def test_scaling_makes_as_many_shards_as_splits_and_merges_need(before: int, after: int, shards: int) -> None:
    change = Resharding(new_stream(KEY, Settings(), before, 0), 0)
    change.to_uniform(after)

    assert (len(change.stream.shards), len(change.stream.open_shards)) == (shards, after)


@settings(max_examples=50)
@given(
    st.integers(1, 12), st.lists(st.tuples(st.sampled_from(["split", "merge", "scale"]), st.integers(0, 2**128 - 1)))
)
def test_every_hash_key_has_one_open_shard_and_ancestors_up_to_the_first(
    count: int, changes: list[tuple[str, int]]
) -> None:
    stream = new_stream(KEY, Settings(), count, 0)
    for number, (kind, draw) in enumerate(changes[:8]):
        stream = changed(stream, kind, draw, now_ms=number * 100)
    ranges = [(shard.first_hash, shard.last_hash) for shard in stream.open_shards]
    assert [first for first, _ in ranges] == [0, *(last + 1 for _, last in ranges[:-1])]
    assert ranges[-1][1] == HASHES - 1
    for shard in stream.shards:
        parents = [stream.shard(n) for n in (shard.parent, shard.adjacent_parent) if n is not None]
        assert (shard.number < count) == (not parents)
        for parent in parents:
            assert parent is not None
            assert not parent.is_open
            assert parent.epoch_s < shard.epoch_s


def changed(stream: Stream, kind: str, draw: int, now_ms: int) -> Stream:
    change = Resharding(stream, now_ms)
    shard = stream.shard_for(draw)
    place = stream.open_shards.index(shard)
    if kind == "split" and shard.first_hash < draw:
        change.split(shard, draw)
    elif kind == "merge" and place + 1 < len(stream.open_shards):
        change.merge(shard, stream.open_shards[place + 1])
    elif kind == "scale":
        change.to_uniform(1 + draw % 20)
    return change.stream


async def test_shards_are_filtered_by_what_was_open_when(kinesis: Kinesis) -> None:
    await kinesis.stream()
    kinesis.clock.advance(100)
    await kinesis.call("SplitShard", StreamName="s", ShardToSplit=SHARD, NewStartingHashKey=HALF)
    split_s = kinesis.clock.now()
    kinesis.clock.advance(100)

    async def found(**wanted: object) -> str:
        return "".join(shard["ShardId"][-1] for shard in await kinesis.shards(ShardFilter=wanted))

    def at(now_s: float) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(now_s, datetime.UTC)

    assert await found(Type="AT_LATEST") == "12"
    assert await found(Type="AT_TRIM_HORIZON") == "0"
    assert await found(Type="FROM_TRIM_HORIZON") == "012"
    assert await found(Type="AFTER_SHARD_ID", ShardId=SHARD) == "12"
    assert await found(Type="AT_TIMESTAMP", Timestamp=at(split_s - 1)) == "0"
    assert await found(Type="AT_TIMESTAMP", Timestamp=at(split_s + 1)) == "12"
    assert await found(Type="FROM_TIMESTAMP", Timestamp=at(split_s - 1)) == "012"
    assert await found(Type="FROM_TIMESTAMP", Timestamp=at(split_s + 1)) == "12"
    for wrong in ({"Type": "AT_TIMESTAMP"}, {"Type": "AFTER_SHARD_ID"}, {"Type": "AT_LATEST", "ShardId": SHARD}):
        refused = await kinesis.refused("ListShards", StreamName="s", ShardFilter=wrong)
        assert refused[0] == "InvalidArgumentException"


async def test_shards_come_in_pages_that_keep_their_filter(kinesis: Kinesis) -> None:
    await kinesis.stream(shards=3)
    await kinesis.call("SplitShard", StreamName="s", ShardToSplit=SHARD, NewStartingHashKey="1000")
    latest = {"Type": "AT_LATEST"}

    first = await kinesis.call("ListShards", StreamName="s", MaxResults=3, ShardFilter=latest)
    second = await kinesis.call("ListShards", NextToken=first["NextToken"])

    assert [shard["ShardId"][-1] for shard in first["Shards"] + second["Shards"]] == ["1", "2", "3", "4"]
    assert await kinesis.refused("ListShards", NextToken=first["NextToken"], ShardFilter=latest) == (
        "InvalidArgumentException",
        "NextToken and ShardFilter cannot be provided together.",
    )
    assert (await kinesis.refused("ListShards"))[1] == "Either NextToken or StreamName should be provided."
    kinesis.clock.advance(301)
    assert (await kinesis.refused("ListShards", NextToken=first["NextToken"]))[0] == "ExpiredNextTokenException"
    described = await kinesis.call("DescribeStream", StreamName="s", Limit=2, ExclusiveStartShardId=SHARD)
    assert [shard["ShardId"][-1] for shard in described["StreamDescription"]["Shards"]] == ["1", "2"]
    assert described["StreamDescription"]["HasMoreShards"]


async def test_a_time_of_creation_tells_streams_of_one_name_apart(kinesis: Kinesis) -> None:
    await kinesis.stream()
    created = (await kinesis.call("ListStreams"))["StreamSummaries"][0]["StreamCreationTimestamp"]
    await kinesis.call("DeleteStream", StreamName="s")
    kinesis.clock.advance(10)
    await kinesis.stream()

    again = created + datetime.timedelta(seconds=10)
    assert len(await kinesis.shards(StreamCreationTimestamp=again)) == 1
    refused = await kinesis.refused("ListShards", StreamName="s", StreamCreationTimestamp=created)
    assert refused[0] == "ResourceNotFoundException"


async def test_closed_shards_are_forgotten_with_their_last_record(kinesis: Kinesis) -> None:
    await kinesis.stream()
    await kinesis.put("a")
    iterator = await kinesis.iterator()
    await kinesis.call("SplitShard", StreamName="s", ShardToSplit=SHARD, NewStartingHashKey=HALF)

    kinesis.clock.advance(24 * 3600 + 1)
    await kinesis.store.sweep()

    assert [shard["ShardId"][-1] for shard in await kinesis.shards()] == ["1", "2"]
    assert (await kinesis.refused("GetRecords", ShardIterator=iterator))[0] == "ExpiredIteratorException"
    refused = await kinesis.refused("GetShardIterator", StreamName="s", ShardId=SHARD, ShardIteratorType="TRIM_HORIZON")
    assert refused == (
        "ResourceNotFoundException",
        f"Shard {SHARD} in stream s under account {ACCOUNT} does not exist",
    )
    await kinesis.call("SplitShard", StreamName="s", ShardToSplit="shardId-000000000001", NewStartingHashKey="1000")
    assert [shard["ShardId"][-1] for shard in await kinesis.shards()] == ["1", "2", "3", "4"]

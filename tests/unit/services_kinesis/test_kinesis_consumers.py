"""Enhanced fan-out: consumers, and what a subscription is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kinesis_harness import ACCOUNT, ARN, SHARD, Kinesis
from lambent.model.errors import AwsError

Events = AsyncIterator[dict[str, Any]]


async def consumer(kinesis: Kinesis) -> str:
    await kinesis.stream()
    registered = await kinesis.call("RegisterStreamConsumer", StreamARN=ARN, ConsumerName="c")
    return str(registered["Consumer"]["ConsumerARN"])


async def subscribe(kinesis: Kinesis, arn: str, kind: str = "TRIM_HORIZON", **position: Any) -> Events:
    answer = await kinesis.call(
        "SubscribeToShard", ConsumerARN=arn, ShardId=SHARD, StartingPosition={"Type": kind, **position}
    )
    events: Events = answer["EventStream"]
    return events


async def following(events: Events) -> dict[str, Any]:
    event: dict[str, Any] = (await anext(events))["SubscribeToShardEvent"]
    return event


def data(event: dict[str, Any]) -> list[str]:
    return [record["Data"].decode() for record in event["Records"]]


async def settled() -> None:
    """Lets everybody who can go on do so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_consumers_are_registered_described_listed_and_deregistered(kinesis: Kinesis) -> None:
    arn = await consumer(kinesis)
    await kinesis.call("RegisterStreamConsumer", StreamARN=ARN, ConsumerName="d")

    assert arn == f"{ARN}/consumer/c:{int(kinesis.clock.now())}"
    by_arn = await kinesis.call("DescribeStreamConsumer", ConsumerARN=arn)
    assert by_arn == await kinesis.call("DescribeStreamConsumer", StreamARN=ARN, ConsumerName="c")
    assert by_arn["ConsumerDescription"]["StreamARN"] == ARN
    first = await kinesis.call("ListStreamConsumers", StreamARN=ARN, MaxResults=1)
    second = await kinesis.call("ListStreamConsumers", StreamARN=ARN, NextToken=first["NextToken"])
    assert [c["ConsumerName"] for c in first["Consumers"] + second["Consumers"]] == ["c", "d"]
    assert await kinesis.refused("RegisterStreamConsumer", StreamARN=ARN, ConsumerName="c") == (
        "ResourceInUseException",
        f"Consumer c under stream s already exists for account {ACCOUNT}.",
    )
    await kinesis.call("DeregisterStreamConsumer", ConsumerARN=arn)
    assert await kinesis.refused("DescribeStreamConsumer", ConsumerARN=arn) == (
        "ResourceNotFoundException",
        f"Consumer {arn}, account {ACCOUNT} not found.",
    )
    assert (await kinesis.refused("DescribeStreamConsumer", ConsumerName="d"))[0] == "InvalidArgumentException"


async def test_a_stream_has_twenty_consumers_at_most(kinesis: Kinesis) -> None:
    await kinesis.stream()
    for number in range(20):
        await kinesis.call("RegisterStreamConsumer", StreamARN=ARN, ConsumerName=f"c{number}")

    refused = await kinesis.refused("RegisterStreamConsumer", StreamARN=ARN, ConsumerName="more")

    assert refused[0] == "LimitExceededException"


async def test_a_subscription_is_sent_what_is_there_and_then_what_comes(kinesis: Kinesis) -> None:
    arn = await consumer(kinesis)
    await kinesis.put("a")
    events = await subscribe(kinesis, arn)

    first = await following(events)
    waiting = asyncio.ensure_future(following(events))
    await settled()
    (number,) = await kinesis.put("b")
    second = await waiting

    assert (data(first), data(second)) == (["a"], ["b"])
    assert second["ContinuationSequenceNumber"] == number
    again = await subscribe_later(kinesis, arn, number)
    assert data(await following(again)) == []


async def subscribe_later(kinesis: Kinesis, arn: str, number: str) -> Events:
    kinesis.clock.advance(6)
    return await subscribe(kinesis, arn, "AFTER_SEQUENCE_NUMBER", SequenceNumber=number)


async def test_a_second_subscription_takes_over_but_not_within_five_seconds(kinesis: Kinesis) -> None:
    arn = await consumer(kinesis)
    events = await subscribe(kinesis, arn)
    await following(events)
    waiting = asyncio.ensure_future(following(events))
    await settled()

    message = f"Another active subscription exists for this consumer: {ACCOUNT}:s:{SHARD}:c"
    with pytest.raises(AwsError) as caught:
        await subscribe(kinesis, arn)
    assert (caught.value.code, caught.value.message) == ("ResourceInUseException", message)
    kinesis.clock.advance(5)
    assert data(await waiting) == []  # that we are there
    await subscribe(kinesis, arn)
    with pytest.raises(AwsError) as caught:
        await following(events)
    assert caught.value.message == message


async def test_a_subscription_ends_with_its_shard(kinesis: Kinesis) -> None:
    arn = await consumer(kinesis)
    events = await subscribe(kinesis, arn)
    await following(events)
    waiting = asyncio.ensure_future(following(events))
    await settled()

    await kinesis.call("SplitShard", StreamName="s", ShardToSplit=SHARD, NewStartingHashKey=str(2**127))

    assert [child["ShardId"][-1] for child in (await waiting)["ChildShards"]] == ["1", "2"]
    assert [event async for event in events] == []


async def test_a_subscription_ends_after_five_minutes(kinesis: Kinesis) -> None:
    arn = await consumer(kinesis)
    events = await subscribe(kinesis, arn)
    await following(events)

    rest = asyncio.ensure_future(collected(events))
    for _ in range(61):
        await settled()
        kinesis.clock.advance(5)

    assert all(data(event["SubscribeToShardEvent"]) == [] for event in await rest)


async def collected(events: Events) -> list[dict[str, Any]]:
    return [event async for event in events]


@pytest.mark.parametrize("operation", ["DeregisterStreamConsumer", "DeleteStream"])
async def test_a_subscription_ends_with_its_consumer_or_stream(kinesis: Kinesis, operation: str) -> None:
    arn = await consumer(kinesis)
    events = await subscribe(kinesis, arn)
    await following(events)
    waiting = asyncio.ensure_future(following(events))
    await settled()

    if operation == "DeleteStream":
        await kinesis.call(operation, StreamName="s", EnforceConsumerDeletion=True)
    else:
        await kinesis.call(operation, ConsumerARN=arn)
        kinesis.clock.advance(5)

    with pytest.raises(AwsError) as caught:
        await waiting
    assert caught.value.code == "ResourceNotFoundException"


async def test_pollers_read_a_stream_directly_and_wait_for_it(kinesis: Kinesis) -> None:
    await kinesis.stream()
    stream = kinesis.service.direct(ARN)
    start = await stream.position(SHARD, "LATEST")
    waiting = asyncio.ensure_future(stream.wait(SHARD, start, 60.0))
    await settled()
    assert not waiting.done()

    (first, _) = await kinesis.put("a", "b")
    await waiting
    batch = await stream.read(SHARD, start, 1)

    assert ([record["Data"] for record in batch.records], batch.children) == ([b"a"], [])
    assert batch.position == await stream.position(SHARD, "AFTER_SEQUENCE_NUMBER", sequence_number=first)
    assert [shard["ShardId"] for shard in stream.shards()] == [SHARD]
    await kinesis.call("SplitShard", StreamName="s", ShardToSplit=SHARD, NewStartingHashKey=str(2**127))
    last = await stream.read(SHARD, batch.position, 10)
    assert ([record["Data"] for record in last.records], last.position) == ([b"b"], None)
    assert last.children == ["shardId-000000000001", "shardId-000000000002"]
    await kinesis.call("DeleteStream", StreamName="s")
    with pytest.raises(AwsError, match="not found"):
        stream.shards()

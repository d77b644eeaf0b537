"""Kinesis as boto3, the AWS CLI and the SDKs for Java (in CBOR) see it, through the real gateway and the real store."""

from __future__ import annotations

import asyncio
import base64
import datetime
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from gateway_clients import ACCOUNT, REGION, ServiceClients, client_of, served
from lambent.services.kinesis import KinesisService
from lambent.store.streams import StreamStore
from lambent.telemetry.system_clock import SystemClock
from lambent.wire import cbor

ARN = f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/s"
SHARD = "shardId-000000000000"
CBOR = "application/x-amz-cbor-1.1"


class World(ServiceClients):
    async def cbor(self, operation: str, **members: Any) -> tuple[int, Any]:
        """A request as the SDKs for Java make it: status and answer, its times still in milliseconds."""
        scope = f"{ACCOUNT}/20261121/{REGION}/kinesis/aws4_request"
        request = urllib.request.Request(
            self.url,
            data=cbor.encode(members),
            headers={
                "Content-Type": CBOR,
                "X-Amz-Target": f"Kinesis_20131202.{operation}",
                "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0",
            },
        )
        return await asyncio.to_thread(_answer, request)


def _answer(request: urllib.request.Request) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            assert answer.headers["Content-Type"] == CBOR
            return answer.status, cbor.decode(answer.read(), 1000)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, cbor.decode(error.read())


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    clock = SystemClock()
    store = await StreamStore.open(tmp_path / "streams.db", clock)
    async with served([KinesisService(store, clock)]) as url:
        client = client_of("kinesis", url)
        yield World(url=url, service="kinesis", client=client)
        client.close()
    await store.close()


async def test_boto3_puts_and_gets_and_waits(world: World) -> None:
    await world.boto3("create_stream", StreamName="s", ShardCount=1, Tags={"team": "a"})
    await asyncio.to_thread(world.client.get_waiter("stream_exists").wait, StreamName="s")
    put = await world.boto3("put_record", StreamName="s", Data=b"\x00\xff", PartitionKey="ü")
    many = [{"Data": str(n).encode(), "PartitionKey": str(n)} for n in range(500)]
    answers = (await world.boto3("put_records", StreamName="s", Records=many))["Records"]

    iterator = (
        await world.boto3("get_shard_iterator", StreamARN=ARN, ShardId=SHARD, ShardIteratorType="TRIM_HORIZON")
    )["ShardIterator"]
    read = await world.boto3("get_records", ShardIterator=iterator, StreamARN=ARN)

    assert put["ShardId"] == SHARD
    assert [record["Data"] for record in read["Records"]] == [b"\x00\xff", *(str(n).encode() for n in range(500))]
    assert read["Records"][0]["PartitionKey"] == "ü"
    assert [r["SequenceNumber"] for r in read["Records"]] == [
        put["SequenceNumber"],
        *(a["SequenceNumber"] for a in answers),
    ]
    arrived = read["Records"][0]["ApproximateArrivalTimestamp"]
    assert abs((datetime.datetime.now(datetime.UTC) - arrived).total_seconds()) < 30
    await world.boto3("delete_stream", StreamName="s")
    await asyncio.to_thread(world.client.get_waiter("stream_not_exists").wait, StreamName="s")


async def test_boto3_lists_shards_page_by_page_after_scaling(world: World) -> None:
    await world.boto3("create_stream", StreamName="s", ShardCount=2)
    await world.boto3("update_shard_count", StreamName="s", TargetShardCount=4, ScalingType="UNIFORM_SCALING")

    first = await world.boto3("list_shards", StreamName="s", MaxResults=4)
    rest = await world.boto3("list_shards", NextToken=first["NextToken"])
    shards = first["Shards"] + rest["Shards"]

    assert len(shards) == 6
    assert [shard.get("ParentShardId", "")[-1:] for shard in shards] == ["", "", "0", "0", "1", "1"]
    # As at AWS: github.com/boto/botocore/issues/2009
    pages = world.client.get_paginator("list_shards").paginate(StreamName="s", PaginationConfig={"PageSize": 4})
    with pytest.raises(ClientError, match="NextToken and StreamName cannot be provided together"):
        await asyncio.to_thread(list, pages)


async def test_boto3_knows_the_errors(world: World) -> None:
    error = await world.refused("put_record", StreamName="none", Data=b"x", PartitionKey="k")
    assert isinstance(error, world.client.exceptions.ResourceNotFoundException)
    assert error.response["Error"]["Message"] == f"Stream none under account {ACCOUNT} not found."
    error = await world.refused("create_stream", StreamName="bad name", ShardCount=1)
    assert error.response["Error"]["Message"] == (
        "1 validation error detected: Value 'bad name' at 'streamName' failed to satisfy constraint: Member must "
        "satisfy regular expression pattern: [a-zA-Z0-9_.-]+"
    )
    error = await world.refused("list_queues")
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 501


async def test_boto3_subscribes_over_http_1(world: World) -> None:
    await world.boto3("create_stream", StreamName="s", ShardCount=1)
    consumer = (await world.boto3("register_stream_consumer", StreamARN=ARN, ConsumerName="c"))["Consumer"]
    subscription = await world.boto3(
        "subscribe_to_shard", ConsumerARN=consumer["ConsumerARN"], ShardId=SHARD, StartingPosition={"Type": "LATEST"}
    )
    events = iter(subscription["EventStream"])
    first = await asyncio.to_thread(next, events)
    await world.boto3("put_record", StreamName="s", Data=b"x", PartitionKey="k")
    second = await asyncio.to_thread(next, events)

    assert first["SubscribeToShardEvent"]["Records"] == []
    assert [record["Data"] for record in second["SubscribeToShardEvent"]["Records"]] == [b"x"]
    error = await world.refused(
        "subscribe_to_shard", ConsumerARN=consumer["ConsumerARN"], ShardId=SHARD, StartingPosition={"Type": "LATEST"}
    )
    assert error.response["Error"]["Code"] == "ResourceInUseException"
    await world.boto3("delete_stream", StreamName="s", EnforceConsumerDeletion=True)
    with pytest.raises(ClientError) as caught:
        await asyncio.to_thread(next, events)
    assert caught.value.response["Error"]["Code"] == "ResourceNotFoundException"
    subscription["EventStream"].close()


async def test_the_aws_cli_drives_a_stream(world: World) -> None:
    assert (await world.aws("create-stream", "--stream-name", "s", "--shard-count", "1"))[0] == 0
    data = base64.b64encode(b"hello").decode()
    status, put, _ = await world.aws("put-record", "--stream-name", "s", "--partition-key", "k", "--data", data)
    assert (status, put["ShardId"]) == (0, SHARD)
    _, found, _ = await world.aws(
        "get-shard-iterator", "--stream-name", "s", "--shard-id", SHARD, "--shard-iterator-type", "AT_SEQUENCE_NUMBER",
        "--starting-sequence-number", put["SequenceNumber"],
    )  # fmt: skip
    _, read, _ = await world.aws("get-records", "--shard-iterator", found["ShardIterator"])
    assert base64.b64decode(read["Records"][0]["Data"]) in (b"hello", data.encode())
    status, _, err = await world.aws("describe-stream-summary", "--stream-name", "none")
    assert status != 0
    assert "ResourceNotFoundException" in err


async def test_the_sdks_for_java_speak_cbor_with_times_in_milliseconds(world: World) -> None:
    assert await world.cbor("CreateStream", StreamName="s", ShardCount=1) == (200, {})
    _, put = await world.cbor("PutRecord", StreamName="s", Data=b"\x00\xff", PartitionKey="k")
    began = datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=1)
    status, found = await world.cbor(
        "GetShardIterator", StreamName="s", ShardId=SHARD, ShardIteratorType="AT_TIMESTAMP",
        Timestamp=cbor.EpochMilliseconds(int(began.timestamp() * 1000)),
    )  # fmt: skip
    _, read = await world.cbor("GetRecords", ShardIterator=found["ShardIterator"])

    assert status == 200
    (record,) = read["Records"]
    assert (record["Data"], record["SequenceNumber"]) == (b"\x00\xff", put["SequenceNumber"])
    assert abs((datetime.datetime.now(datetime.UTC) - record["ApproximateArrivalTimestamp"]).total_seconds()) < 30
    status, problem = await world.cbor("PutRecord", StreamName="s", Data="no bytes", PartitionKey="k")
    assert (status, problem["__type"]) == (400, "SerializationException")
    assert await world.cbor("DescribeStream", StreamName="none") == (
        400,
        {"__type": "ResourceNotFoundException", "message": f"Stream none under account {ACCOUNT} not found."},
    )

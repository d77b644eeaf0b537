"""Streams as wholes: what they begin with, what can be set, and what is refused in AWS's words."""

from __future__ import annotations

from typing import Any

import pytest

from kinesis_harness import ACCOUNT, ARN, REGION, Kinesis


async def test_a_provisioned_stream_has_shards_of_equal_size(kinesis: Kinesis) -> None:
    await kinesis.stream(shards=3)

    described = (await kinesis.call("DescribeStream", StreamName="s"))["StreamDescription"]

    assert described["StreamARN"] == ARN
    assert (described["StreamStatus"], described["RetentionPeriodHours"]) == ("ACTIVE", 24)
    assert described["StreamModeDetails"] == {"StreamMode": "PROVISIONED"}
    assert [shard["HashKeyRange"]["EndingHashKey"] for shard in described["Shards"]] == [
        "113427455640312821154458202477256070484",
        "226854911280625642308916404954512140969",
        "340282366920938463463374607431768211455",
    ]


async def test_without_a_count_a_stream_is_on_demand_with_four_shards(kinesis: Kinesis) -> None:
    await kinesis.call("CreateStream", StreamName="s")

    summary = (await kinesis.call("DescribeStreamSummary", StreamARN=ARN))["StreamDescriptionSummary"]

    assert summary["StreamModeDetails"] == {"StreamMode": "ON_DEMAND"}
    assert (summary["OpenShardCount"], summary["ConsumerCount"]) == (4, 0)


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"ShardCount": 1, "StreamModeDetails": {"StreamMode": "ON_DEMAND"}}, "ValidationException"),
        ({"StreamModeDetails": {"StreamMode": "PROVISIONED"}}, "ValidationException"),
        ({"ShardCount": 1, "WarmThroughputMiBps": 5}, "ValidationException"),
        ({"ShardCount": 1, "RecordDistributionStrategy": "AUTO"}, "InvalidArgumentException"),
        ({"ShardCount": 1, "Tags": {"a": "<b>"}}, "InvalidArgumentException"),
        ({"ShardCount": 20_001}, "LimitExceededException"),
    ],
)
async def test_streams_that_cannot_be_are_refused(kinesis: Kinesis, members: dict[str, Any], code: str) -> None:
    assert (await kinesis.refused("CreateStream", StreamName="s", **members))[0] == code
    assert (await kinesis.call("ListStreams"))["StreamNames"] == []


async def test_a_name_is_taken_once(kinesis: Kinesis) -> None:
    await kinesis.stream()

    assert (await kinesis.refused("CreateStream", StreamName="s", ShardCount=1))[0] == "ResourceInUseException"


@pytest.mark.parametrize("operation", ["DescribeStream", "DescribeStreamSummary", "ListShards", "DeleteStream"])
async def test_a_stream_that_is_not_there_is_not_found(kinesis: Kinesis, operation: str) -> None:
    assert await kinesis.refused(operation, StreamName="gone") == (
        "ResourceNotFoundException",
        f"Stream gone under account {ACCOUNT} not found.",
    )


async def test_name_and_arn_must_agree_and_one_must_be_there(kinesis: Kinesis) -> None:
    await kinesis.stream()

    assert (await kinesis.refused("DescribeStream"))[0] == "InvalidArgumentException"
    assert (await kinesis.refused("DescribeStream", StreamARN=ARN, StreamName="t"))[0] == "InvalidArgumentException"
    assert (await kinesis.refused("DescribeStream", StreamARN="arn:aws:sqs:x"))[0] == "InvalidArgumentException"


async def test_streams_are_listed_by_name_in_pages(kinesis: Kinesis) -> None:
    for name in ("c", "a", "b"):
        await kinesis.stream(name)

    first = await kinesis.call("ListStreams", Limit=2)
    second = await kinesis.call("ListStreams", NextToken=first["NextToken"])

    assert (first["StreamNames"], first["HasMoreStreams"]) == (["a", "b"], True)
    assert (second["StreamNames"], second["HasMoreStreams"]) == (["c"], False)
    assert (await kinesis.call("ListStreams", ExclusiveStartStreamName="a"))["StreamNames"] == ["b", "c"]
    assert first["StreamSummaries"][0]["StreamARN"] == f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/a"
    kinesis.clock.advance(301)
    assert (await kinesis.refused("ListStreams", NextToken=first["NextToken"]))[0] == "ExpiredNextTokenException"
    assert (await kinesis.refused("ListStreams", NextToken="AAAA"))[0] == "InvalidArgumentException"


async def test_retention_goes_up_and_down_by_its_own_operations(kinesis: Kinesis) -> None:
    await kinesis.stream()

    async def change(way: str, hours: int) -> tuple[str, str]:
        return await kinesis.refused(f"{way}StreamRetentionPeriod", StreamName="s", RetentionPeriodHours=hours)

    await kinesis.call("IncreaseStreamRetentionPeriod", StreamName="s", RetentionPeriodHours=8760)
    await kinesis.call("DecreaseStreamRetentionPeriod", StreamName="s", RetentionPeriodHours=48)
    assert await change("Increase", 24) == (
        "InvalidArgumentException",
        "Requested retention period (24 hours) for stream s can not be shorter than existing retention period "
        "(48 hours). Use DecreaseRetentionPeriod API.",
    )
    assert (await change("Decrease", 72))[1].endswith("(48 hours). Use IncreaseRetentionPeriod API.")
    assert (await change("Increase", 8761))[1] == (
        "Maximum allowed retention period is 8760 hours. Requested retention period (8761 hours) is too long."
    )
    assert (await change("Decrease", 23))[1] == (
        "Minimum allowed retention period is 24 hours. Requested retention period (23 hours) is too short."
    )


async def test_encryption_metrics_and_sizes_are_given_back(kinesis: Kinesis) -> None:
    await kinesis.stream()

    await kinesis.call("StartStreamEncryption", StreamName="s", EncryptionType="KMS", KeyId="alias/k")
    enabled = await kinesis.call("EnableEnhancedMonitoring", StreamName="s", ShardLevelMetrics=["ALL"])
    await kinesis.call("DisableEnhancedMonitoring", StreamName="s", ShardLevelMetrics=["IncomingBytes"])
    await kinesis.call("UpdateMaxRecordSize", StreamARN=ARN, MaxRecordSizeInKiB=2048)
    put = await kinesis.call("PutRecord", StreamName="s", Data=b"x", PartitionKey="k")
    summary = (await kinesis.call("DescribeStreamSummary", StreamName="s"))["StreamDescriptionSummary"]

    assert (summary["EncryptionType"], summary["KeyId"], put["EncryptionType"]) == ("KMS", "alias/k", "KMS")
    assert (enabled["CurrentShardLevelMetrics"], len(enabled["DesiredShardLevelMetrics"])) == ([], 7)
    assert len(summary["EnhancedMonitoring"][0]["ShardLevelMetrics"]) == 6
    assert summary["MaxRecordSizeInKiB"] == 2048
    await kinesis.call("StopStreamEncryption", StreamName="s", EncryptionType="KMS", KeyId="alias/k")
    assert "KeyId" not in (await kinesis.call("DescribeStreamSummary", StreamName="s"))["StreamDescriptionSummary"]


async def test_modes_are_switched_twice_a_day(kinesis: Kinesis) -> None:
    await kinesis.stream()

    async def switch(mode: str) -> None:
        await kinesis.call("UpdateStreamMode", StreamARN=ARN, StreamModeDetails={"StreamMode": mode})

    await switch("ON_DEMAND")
    await switch("PROVISIONED")
    refused = await kinesis.refused("UpdateStreamMode", StreamARN=ARN, StreamModeDetails={"StreamMode": "ON_DEMAND"})
    assert refused[0] == "LimitExceededException"
    kinesis.clock.advance(86_401)
    await switch("ON_DEMAND")
    assert await kinesis.refused("UpdateShardCount", StreamName="s", TargetShardCount=2) == (
        "ValidationException",
        f"Request is invalid. Stream s under account {ACCOUNT} is in On-Demand mode.",
    )


async def test_tags_of_streams_and_consumers(kinesis: Kinesis) -> None:
    await kinesis.stream(Tags={"a": "1"})
    registered = await kinesis.call("RegisterStreamConsumer", StreamARN=ARN, ConsumerName="c", Tags={"x": "y"})
    consumer = registered["Consumer"]["ConsumerARN"]

    await kinesis.call("AddTagsToStream", StreamName="s", Tags={"b": "2", "c": "3"})
    await kinesis.call("RemoveTagsFromStream", StreamName="s", TagKeys=["b"])
    await kinesis.call("TagResource", ResourceARN=consumer, Tags={"z": ""})
    await kinesis.call("UntagResource", ResourceARN=consumer, TagKeys=["x"])

    listed = await kinesis.call("ListTagsForStream", StreamName="s", Limit=1)
    assert listed == {"Tags": [{"Key": "a", "Value": "1"}], "HasMoreTags": True}
    rest = await kinesis.call("ListTagsForStream", StreamName="s", ExclusiveStartTagKey="a")
    assert rest == {"Tags": [{"Key": "c", "Value": "3"}], "HasMoreTags": False}
    assert (await kinesis.call("ListTagsForResource", ResourceARN=consumer))["Tags"] == [{"Key": "z", "Value": ""}]
    many = {str(number): "" for number in range(49)}
    assert (await kinesis.refused("AddTagsToStream", StreamName="s", Tags=many))[0] == "InvalidArgumentException"


async def test_a_stream_with_consumers_is_deleted_only_by_force(kinesis: Kinesis) -> None:
    await kinesis.stream()
    await kinesis.call("RegisterStreamConsumer", StreamARN=ARN, ConsumerName="c")

    code, message = await kinesis.refused("DeleteStream", StreamName="s")
    assert code == "ResourceInUseException"
    assert message.startswith(f"DeleteStream can't delete {ACCOUNT}:s because there are consumers associated with")
    await kinesis.call("DeleteStream", StreamName="s", EnforceConsumerDeletion=True)
    assert (await kinesis.call("ListStreams"))["StreamNames"] == []


async def test_other_accounts_may_what_the_policy_says(kinesis: Kinesis) -> None:
    await kinesis.stream()
    other = "999988887777"
    policy = f"""{{"Version": "2012-10-17", "Statement": [{{"Effect": "Allow", "Principal": {{"AWS": "{other}"}},
        "Action": ["kinesis:PutRecord", "kinesis:DeleteStream"], "Resource": "{ARN}"}}]}}"""
    record = {"StreamARN": ARN, "Data": b"x", "PartitionKey": "k"}

    assert (await kinesis.refused("PutRecord", other, **record))[0] == "AccessDeniedException"
    assert (await kinesis.refused("GetResourcePolicy", ResourceARN=ARN))[0] == "ResourceNotFoundException"
    await kinesis.call("PutResourcePolicy", ResourceARN=ARN, Policy=policy)
    assert (await kinesis.call("GetResourcePolicy", ResourceARN=ARN))["Policy"] == policy
    await kinesis.call("PutRecord", other, **record)
    assert (await kinesis.refused("DeleteStream", other, StreamARN=ARN))[0] == "AccessDeniedException"
    assert (await kinesis.refused("DescribeStreamSummary", other, StreamARN=ARN))[0] == "AccessDeniedException"
    refused = await kinesis.refused("PutResourcePolicy", ResourceARN=ARN, Policy="{}")
    assert refused[0] == "InvalidArgumentException"
    await kinesis.call("DeleteResourcePolicy", ResourceARN=ARN)
    assert (await kinesis.refused("PutRecord", other, **record))[0] == "AccessDeniedException"


async def test_limits_count_what_there_is(kinesis: Kinesis) -> None:
    await kinesis.stream(shards=3)
    await kinesis.call("CreateStream", StreamName="t")

    limits = await kinesis.call("DescribeLimits")

    assert (limits["OpenShardCount"], limits["OnDemandStreamCount"]) == (7, 1)
    assert (await kinesis.refused("UpdateStreamWarmThroughput", StreamName="t", WarmThroughputMiBps=1))[0] == (
        "ValidationException"
    )

"""Streams, shards, records and consumers by the names of botocore's model."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

from lambent.services.kinesis import sequence
from lambent.store.streams import Consumer, Record, Shard, Stream

Members = dict[str, Any]


def moment(milliseconds: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(milliseconds // 1000, datetime.UTC).replace(
        microsecond=milliseconds % 1000 * 1000
    )


def shard_members(shard: Shard) -> Members:
    numbers = {"StartingSequenceNumber": sequence.first(shard)}
    if not shard.is_open:
        numbers["EndingSequenceNumber"] = sequence.last(shard)
    described: Members = {"ShardId": shard.name}
    if shard.parent is not None:
        described["ParentShardId"] = f"shardId-{shard.parent:012d}"
    if shard.adjacent_parent is not None:
        described["AdjacentParentShardId"] = f"shardId-{shard.adjacent_parent:012d}"
    described["HashKeyRange"] = _hashes(shard)
    described["SequenceNumberRange"] = numbers
    return described


def child_members(shard: Shard) -> Members:
    parents = [number for number in (shard.parent, shard.adjacent_parent) if number is not None]
    return {
        "ShardId": shard.name,
        "ParentShards": [f"shardId-{number:012d}" for number in parents],
        "HashKeyRange": _hashes(shard),
    }


def _hashes(shard: Shard) -> Members:
    return {"StartingHashKey": str(shard.first_hash), "EndingHashKey": str(shard.last_hash)}


def record_members(shard: Shard, record: Record) -> Members:
    described: Members = {
        "SequenceNumber": sequence.of_record(shard, record),
        "ApproximateArrivalTimestamp": moment(record.arrived_ms),
        "Data": record.data,
    }
    if record.partition_key is not None:
        described["PartitionKey"] = record.partition_key
    if record.encrypted:
        described["EncryptionType"] = "KMS"
    return described


def mode_members(stream: Stream) -> Members:
    return {"StreamMode": "ON_DEMAND" if stream.settings.on_demand else "PROVISIONED"}


def _common(stream: Stream) -> Members:
    described: Members = {
        "StreamName": stream.name,
        "StreamARN": stream.arn,
        "StreamStatus": "ACTIVE",
        "StreamModeDetails": mode_members(stream),
        "RetentionPeriodHours": stream.settings.retention_h,
        "StreamCreationTimestamp": moment(stream.created_ms // 1000 * 1000),
        "EnhancedMonitoring": [{"ShardLevelMetrics": list(stream.settings.metrics)}],
        "EncryptionType": "NONE" if stream.settings.key_id is None else "KMS",
    }
    if stream.settings.key_id is not None:
        described["KeyId"] = stream.settings.key_id
    return described


def description(stream: Stream, shards: Sequence[Shard], has_more: bool) -> Members:
    return {**_common(stream), "Shards": [shard_members(shard) for shard in shards], "HasMoreShards": has_more}


def summary(stream: Stream) -> Members:
    settings = stream.settings
    described = {
        **_common(stream),
        "OpenShardCount": len(stream.open_shards),
        "ConsumerCount": len(settings.consumers),
        "MaxRecordSizeInKiB": settings.record_max_kib,
    }
    if settings.on_demand:
        described["RecordDistributionStrategy"] = "AUTO" if settings.ignores_keys else "USER_PARTITION_KEY"
    return described


def listed(stream: Stream) -> Members:
    """In ListStreams."""
    kept = ("StreamName", "StreamARN", "StreamStatus", "StreamModeDetails", "StreamCreationTimestamp")
    common = _common(stream)
    return {name: common[name] for name in kept}


def consumer_arn(stream: Stream, consumer: Consumer) -> str:
    return f"{stream.arn}/consumer/{consumer.name}:{consumer.created_s}"


def consumer_members(stream: Stream, consumer: Consumer) -> Members:
    return {
        "ConsumerName": consumer.name,
        "ConsumerARN": consumer_arn(stream, consumer),
        "ConsumerStatus": "ACTIVE",
        "ConsumerCreationTimestamp": moment(consumer.created_s * 1000),
    }

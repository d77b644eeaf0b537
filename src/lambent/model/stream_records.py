"""Records of Kinesis and DynamoDB Streams as functions see them.

https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html and with-ddb.html, "Example event"
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs


@attrs.frozen(eq=False)
class StreamRecord:
    sequence: str
    key: str  # records of one key keep their order
    arrived_s: float  # seconds since the epoch
    event: Mapping[str, Any]  # what the function sees
    filtered: Mapping[str, Any]  # what filter patterns look at
    size_bytes: int = 0  # of its data, where that is told


def kinesis_record(record: Mapping[str, Any], shard: str, stream_arn: str, role_arn: str) -> StreamRecord:
    """`record` has the members of GetRecords."""
    arrived_s = seconds(record["ApproximateArrivalTimestamp"])
    inner = {
        "kinesisSchemaVersion": "1.0",
        "partitionKey": record["PartitionKey"],
        "sequenceNumber": record["SequenceNumber"],
        "data": base64.b64encode(record["Data"]).decode(),
        "approximateArrivalTimestamp": arrived_s,
    }
    about = {
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"{shard}:{record['SequenceNumber']}",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": role_arn,
        "awsRegion": stream_arn.split(":")[3],
        "eventSourceARN": stream_arn,
    }
    filtered = {**about, **inner, "data": _text(record["Data"])}
    return StreamRecord(
        record["SequenceNumber"], record["PartitionKey"], arrived_s, {"kinesis": inner, **about}, filtered,
        len(record["Data"]),
    )  # fmt: skip


def dynamodb_record(record: Mapping[str, Any], stream_arn: str) -> StreamRecord:
    """The same for a table's stream. Binary values are encoded with the rest, in Base64."""
    change = dict(record["dynamodb"])
    arrived_s = seconds(change["ApproximateCreationDateTime"])
    change["ApproximateCreationDateTime"] = int(arrived_s)  # in whole seconds, as AWS gives it
    event = {
        "eventID": record["eventID"],
        "eventName": record["eventName"],
        "eventVersion": record.get("eventVersion", "1.1"),
        "eventSource": "aws:dynamodb",
        "awsRegion": record.get("awsRegion") or stream_arn.split(":")[3],
        "dynamodb": change,
        "eventSourceARN": stream_arn,
    }
    if identity := record.get("userIdentity"):
        event["userIdentity"] = {name[:1].lower() + name[1:]: value for name, value in identity.items()}
    key = json.dumps(change.get("Keys"), sort_keys=True, default=repr)
    return StreamRecord(change["SequenceNumber"], key, arrived_s, event, event)


def seconds(time: Any) -> float:
    """Services give datetimes or numbers."""
    return time.timestamp() if isinstance(time, datetime) else float(time)


def _text(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None

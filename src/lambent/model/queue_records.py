"""SQS messages as functions see them.

https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html, "Example standard queue message event". Events that AWS sent have
`md5OfMessageAttributes` where there are attributes, and both lists in each of them.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any


def queue_record(message: Mapping[str, Any], queue_arn: str) -> dict[str, Any]:
    """`message` has the members of ReceiveMessage, all attributes included."""
    record = {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": dict(message.get("Attributes") or {}),
        "messageAttributes": {
            name: _attribute(value) for name, value in (message.get("MessageAttributes") or {}).items()
        },
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": queue_arn.split(":")[3],
    }
    if digest := message.get("MD5OfMessageAttributes"):
        record["md5OfMessageAttributes"] = digest
    return record


def _attribute(value: Mapping[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    if value.get("StringValue") is not None:
        shown["stringValue"] = value["StringValue"]
    if value.get("BinaryValue") is not None:
        shown["binaryValue"] = base64.b64encode(value["BinaryValue"]).decode()
    return shown | {"stringListValues": [], "binaryListValues": [], "dataType": value["DataType"]}

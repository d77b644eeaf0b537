"""What happens to a batch of a stream that its function could not process, and the record of one that is given up.

https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html: shape, key and rules. Throttles and faults of
ours do not count as retries, nor do splits; age ends all of it.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal

import attrs
import msgspec

from lambent.model.invocation import Outcome
from lambent.model.stream_records import StreamRecord

Condition = Literal["RetryAttemptsExhausted", "RecordAgeExceeded"]
FOREVER: Final = -1


@attrs.frozen(kw_only=True)
class RetryRules:
    maximum_retries: int = FOREVER
    maximum_age_s: int = FOREVER
    bisects: bool = False
    destination: str | None = None  # ARN

    @classmethod
    def of(cls, mapping: Mapping[str, Any]) -> RetryRules:
        destinations = mapping.get("DestinationConfig") or {}
        return cls(
            maximum_retries=mapping.get("MaximumRetryAttempts", FOREVER),
            maximum_age_s=mapping.get("MaximumRecordAgeInSeconds", FOREVER),
            bisects=bool(mapping.get("BisectBatchOnFunctionError")),
            destination=(destinations.get("OnFailure") or {}).get("Destination") or None,
        )

    def too_old(self, record: StreamRecord, now_s: float) -> bool:
        return self.maximum_age_s != FOREVER and now_s - record.arrived_s > self.maximum_age_s


@attrs.frozen(kw_only=True)
class Portion:
    """Records that go to the function together."""

    records: Sequence[StreamRecord]
    attempts: int = 0  # that the function failed
    request_id: str = ""  # of the last attempt
    outcome: Outcome | None = None  # of the last attempt


def after_failure(portion: Portion, rules: RetryRules) -> list[Portion] | None:
    """What is tried instead of a portion that failed, in order; `portion` counts that attempt. None: it is given up."""
    if rules.bisects and len(portion.records) > 1:
        middle = len(portion.records) // 2
        before = portion.attempts - 1  # a split is no retry
        halves = portion.records[:middle], portion.records[middle:]
        return [attrs.evolve(portion, records=half, attempts=before) for half in halves]
    if rules.maximum_retries != FOREVER and portion.attempts > rules.maximum_retries:
        return None
    return [portion]


def failure_record(
    portion: Portion, condition: Condition, *, function_arn: str, stream_arn: str, shard: str, at_s: float
) -> dict[str, Any]:
    """What goes to the destination."""
    first, last = portion.records[0], portion.records[-1]
    batch = "KinesisBatchInfo" if stream_arn.split(":")[2] == "kinesis" else "DDBStreamBatchInfo"
    record: dict[str, Any] = {
        "requestContext": {
            "requestId": portion.request_id or str(uuid.uuid4()),
            "functionArn": function_arn,
            "condition": condition,
            "approximateInvokeCount": portion.attempts,
        },
        "version": "1.0",
        "timestamp": _timestamp(at_s),
        batch: {
            "shardId": shard,
            "startSequenceNumber": first.sequence,
            "endSequenceNumber": last.sequence,
            "approximateArrivalOfFirstRecord": _timestamp(first.arrived_s),
            "approximateArrivalOfLastRecord": _timestamp(last.arrived_s),
            "batchSize": len(portion.records),
            "streamArn": stream_arn,
        },
    }
    if portion.outcome is not None:
        context: dict[str, Any] = {"statusCode": 200, "executedVersion": portion.outcome.executed_version}
        context["functionError"] = portion.outcome.function_error
        record["responseContext"] = context
    return record


def with_payload(record: Mapping[str, Any], portion: Portion) -> bytes:
    """For S3, which gets the whole event too, as a text."""
    event = msgspec.json.encode({"Records": [each.event for each in portion.records]})
    return msgspec.json.encode({**record, "payload": event.decode()})


def object_key(mapping_id: str, shard: str, at_s: float) -> str:
    when = datetime.fromtimestamp(at_s, UTC).strftime("%Y/%m/%d/%Y-%m-%dT%H.%M.%S")
    return f"aws/lambda/{mapping_id}/{shard}/{when}-{uuid.uuid4()}"


def _timestamp(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"

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

from lambent.model.destinations import given_destination
from lambent.model.event_source import KAFKAS, kind_of
from lambent.model.invocation import Outcome
from lambent.model.stream_records import StreamRecord

Condition = Literal["RetryAttemptsExhausted", "RecordAgeExceeded", "MaximumPayloadSizeExceeded"]
FOREVER: Final = -1
KAFKA_RETRIES_WITH_DESTINATION: Final = 10  # kafka-retry-configurations.html: instead of infinitely many


@attrs.frozen(kw_only=True)
class RetryRules:
    maximum_retries: int = FOREVER
    maximum_age_s: int = FOREVER
    bisects: bool = False
    destination: str | None = None  # ARN

    @classmethod
    def of(cls, mapping: Mapping[str, Any]) -> RetryRules:
        destination = given_destination(mapping.get("DestinationConfig") or {}, "OnFailure")
        retries = mapping.get("MaximumRetryAttempts", FOREVER)
        if retries == FOREVER and destination is not None and kind_of(mapping) in KAFKAS:
            retries = KAFKA_RETRIES_WITH_DESTINATION
        return cls(
            maximum_retries=retries,
            maximum_age_s=mapping.get("MaximumRecordAgeInSeconds", FOREVER),
            bisects=bool(mapping.get("BisectBatchOnFunctionError")),
            destination=destination,
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
    portion: Portion, condition: Condition, batch_info: Mapping[str, Any], *, function_arn: str, at_s: float
) -> dict[str, Any]:
    """What goes to the destination; `batch_info` is what the source's `EventFormat` says of the records."""
    record: dict[str, Any] = {
        "requestContext": {
            "requestId": portion.request_id or str(uuid.uuid4()),
            "functionArn": function_arn,
            "condition": condition,
            "approximateInvokeCount": portion.attempts,
        },
        "version": "1.0",
        "timestamp": timestamp(at_s),
        **batch_info,
    }
    if portion.outcome is not None:
        context: dict[str, Any] = {"statusCode": 200, "executedVersion": portion.outcome.executed_version}
        context["functionError"] = portion.outcome.function_error
        record["responseContext"] = context
    return record


def object_key(mapping_id: str, shard: str, at_s: float) -> str:
    when = datetime.fromtimestamp(at_s, UTC).strftime("%Y/%m/%d/%Y-%m-%dT%H.%M.%S")
    return f"aws/lambda/{mapping_id}/{shard}/{when}-{uuid.uuid4()}"


def timestamp(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"

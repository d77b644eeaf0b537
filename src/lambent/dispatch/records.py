"""What is sent when an asynchronous event is over: AWS's invocation record, and the dead letter.

https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any, Final

import attrs
import msgspec

from lambent.model.function import LATEST
from lambent.model.invocation import Invocation, Outcome
from lambent.model.retry import Condition, EventInvokeConfig
from lambent.store.events import NewDelivery

ERROR_MESSAGE_MAX_BYTES: Final = 1_024  # a dead letter's ErrorMessage: "the first 1 KB of the error message"
# AWS's own words, its missing space included.
ZERO_CONCURRENCY_TEXT: Final = "Function not invoked. Function isconfigured with zero reserved concurrent executions"


@attrs.frozen(kw_only=True)
class Refusal:
    """Why it did not run, the last time: an error instead of an outcome."""

    status: int  # HTTP status
    message: str


@attrs.frozen(kw_only=True)
class Ending:
    """An event that is over."""

    invocation: Invocation
    function_arn: str  # unqualified
    condition: Condition
    attempts: int  # that ran
    at_s: float  # seconds since the epoch
    outcome: Outcome | None = None  # of the last attempt, when it ran
    refusal: Refusal | None = None  # of the last attempt, when it did not

    @property
    def qualified_arn(self) -> str:
        return f"{self.function_arn}:{self.invocation.qualifier or LATEST}"


def deliveries(ending: Ending, config: EventInvokeConfig, dead_letter_arn: str | None) -> list[NewDelivery]:
    """All that is to be sent: a record to the destination of its kind, and a dead letter for a failure."""
    owed = []
    target = config.on_success if ending.condition == "Success" else config.on_failure
    if target is not None:
        message = {
            "kind": "record",
            "function_arn": ending.qualified_arn,
            "succeeded": ending.condition == "Success",
            "trace_header": ending.invocation.trace_header,
            "s3_key": _s3_key(ending, target),
        }
        owed.append(NewDelivery(target=target, message=message, body=record(ending)))
    if dead_letter_arn is not None and ending.condition != "Success":
        message = {
            "kind": "dead-letter",
            "attributes": dead_letter_attributes(ending),
            "trace_header": ending.invocation.trace_header,
        }
        owed.append(NewDelivery(target=dead_letter_arn, message=message, body=ending.invocation.payload))
    return owed


def record(ending: Ending) -> bytes:
    """The invocation record, version 1.0, as JSON."""
    content: dict[str, Any] = {
        "version": "1.0",
        "timestamp": _timestamp(ending.at_s),
        "requestContext": {
            "requestId": ending.invocation.request_id,
            "functionArn": ending.qualified_arn,
            "condition": ending.condition,
            "approximateInvokeCount": ending.attempts,
        },
        "requestPayload": msgspec.Raw(ending.invocation.payload),
    }
    outcome = ending.outcome
    if outcome is not None:
        context = {"statusCode": 200, "executedVersion": outcome.executed_version}
        if outcome.function_error is not None:
            context["functionError"] = outcome.function_error
        content["responseContext"] = context
        content["responsePayload"] = _embedded(outcome.payload)
    elif ending.refusal is not None:
        content["responseContext"] = {"statusCode": ending.refusal.status}
    return msgspec.json.encode(content)


def dead_letter_attributes(ending: Ending) -> dict[str, dict[str, str]]:
    """Message attributes, alike for SQS and SNS."""
    message, status = "", 200
    if ending.condition == "ZeroReservedConcurrency":
        message = ZERO_CONCURRENCY_TEXT
    elif ending.outcome is not None:
        message = _error_message(ending.outcome.payload)
    elif ending.refusal is not None:
        message, status = ending.refusal.message, ending.refusal.status
    attributes = {"RequestID": {"DataType": "String", "StringValue": ending.invocation.request_id}}
    if message:  # neither service takes an empty value
        cut = message.encode()[:ERROR_MESSAGE_MAX_BYTES].decode(errors="ignore")
        attributes["ErrorMessage"] = {"DataType": "String", "StringValue": cut}
    if ending.condition != "ZeroReservedConcurrency":
        attributes["ErrorCode"] = {"DataType": "Number", "StringValue": str(status)}
    return attributes


def _embedded(payload: bytes) -> Any:
    """JSON as it is; what is not JSON, as a string."""
    try:
        msgspec.json.decode(payload, type=msgspec.Raw)
        payload.decode()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return payload.decode(errors="replace")
    return msgspec.Raw(payload)


def _error_message(payload: bytes) -> str:
    try:
        content = msgspec.json.decode(payload)
    except msgspec.DecodeError:
        return payload.decode(errors="replace")
    message = content.get("errorMessage") if isinstance(content, dict) else None
    return message if isinstance(message, str) else payload.decode(errors="replace")


def _timestamp(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _s3_key(ending: Ending, target: str) -> str:
    """aws/lambda/async/NAME/2026/11/21/2026-11-21T08.00.00-UUID; the same again for a record that is sent again."""
    unique = uuid.uuid5(uuid.NAMESPACE_URL, f"{target} {ending.invocation.request_id}")
    when = datetime.fromtimestamp(ending.at_s, UTC).strftime("%Y/%m/%d/%Y-%m-%dT%H.%M.%S")
    return f"aws/lambda/async/{ending.invocation.function_name}/{when}-{unique}"

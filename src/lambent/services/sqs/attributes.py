"""Queue attributes: what may be set, and what is given back.

Ranges: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from lambent.model.errors import AwsError
from lambent.services.sqs.access import check_policy
from lambent.services.sqs.errors import invalid_attribute_value, invalid_value, unknown_attribute
from lambent.store.queues import DEFAULTS, Queue

READ_ONLY: Final = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
    "QueueArn",
)
FIFO_ONLY: Final = ("ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit")
FIFO_DEFAULTS: Final = {
    "ContentBasedDeduplication": "false",
    "DeduplicationScope": "queue",
    "FifoThroughputLimit": "perQueue",
}
_RANGES: Final[Mapping[str, tuple[int, int]]] = {
    "DelaySeconds": (0, 900),
    "MaximumMessageSize": (1024, 1_048_576),
    "MessageRetentionPeriod": (60, 1_209_600),
    "ReceiveMessageWaitTimeSeconds": (0, 20),
    "VisibilityTimeout": (0, 43_200),
    "KmsDataKeyReusePeriodSeconds": (60, 86_400),
}
_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "FifoQueue": ("true", "false"),
    "ContentBasedDeduplication": ("true", "false"),
    "SqsManagedSseEnabled": ("true", "false"),
    "DeduplicationScope": ("messageGroup", "queue"),
    "FifoThroughputLimit": ("perQueue", "perMessageGroupId"),
}
_EMPTY_IS_NONE: Final = ("Policy", "RedrivePolicy", "RedriveAllowPolicy", "KmsMasterKeyId")
KMS_REUSE_S: Final = "300"
SOURCES_MAX: Final = 10  # in a RedriveAllowPolicy
_WHOLE_NUMBER: Final = re.compile(r"[0-9]{1,10}")


def checked(attributes: Mapping[str, str], is_fifo: bool) -> dict[str, str | None]:
    """What is to be stored; None takes an attribute away. Raises AwsError InvalidAttributeName or -Value."""
    known = {*_RANGES, *_CHOICES, *_EMPTY_IS_NONE}
    found: dict[str, str | None] = {}
    for name, value in attributes.items():
        if name not in known or (name in FIFO_ONLY and not is_fifo):
            raise unknown_attribute(name)
        if name in _EMPTY_IS_NONE and not value:
            found[name] = None
            continue
        if name in _RANGES and not _in_range(value, *_RANGES[name]):
            raise invalid_attribute_value(f"Invalid value for the parameter {name}.")
        if name in _CHOICES and value not in _CHOICES[name]:
            raise invalid_attribute_value(f"Invalid value for the parameter {name}.")
        found[name] = str(int(value)) if name in _RANGES else value
    if text := found.get("Policy"):
        check_policy(text)
    if text := found.get("RedrivePolicy"):
        read_redrive_policy(text)
    if text := found.get("RedriveAllowPolicy"):
        _check_allow_policy(text)
    return found


def _in_range(text: str, least: int, most: int) -> bool:
    return bool(_WHOLE_NUMBER.fullmatch(text)) and least <= int(text) <= most


def check_together(merged: Mapping[str, str | None]) -> None:
    """What only holds for all of a queue's attributes. Raises AwsError InvalidAttributeName or -Value."""
    if merged.get("FifoThroughputLimit") == "perMessageGroupId" and merged.get("DeduplicationScope") != "messageGroup":
        raise invalid_attribute_value(
            "The perMessageGroupId value is allowed only when the value for DeduplicationScope is messageGroup."
        )


def check_encryption(changes: Mapping[str, str | None]) -> None:
    """Raises AwsError InvalidAttributeName."""
    if changes.get("SqsManagedSseEnabled") == "true" and changes.get("KmsMasterKeyId"):
        raise AwsError(
            "InvalidAttributeName",
            "You can use one type of server-side encryption (SSE) at one time. You can either enable KMS SSE or SQS "
            "SSE.",
        )


def _json_map(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def read_redrive_policy(text: str) -> tuple[str, int]:
    """ARN of the dead letters and the count of receptions. Raises AwsError InvalidParameterValue, InvalidAttributeValue."""

    def wrong(reason: str) -> AwsError:
        return invalid_value("RedrivePolicy", text, reason)

    policy = _json_map(text)
    if policy is None:
        raise invalid_attribute_value(
            "Invalid value for the parameter RedrivePolicy. Reason: Redrive policy is not a valid JSON map."
        )
    for name in ("maxReceiveCount", "deadLetterTargetArn"):
        if name not in policy:
            raise wrong(f"Redrive policy does not contain mandatory attribute: {name}.")
    count, arn = policy["maxReceiveCount"], policy["deadLetterTargetArn"]
    if isinstance(count, bool) or not _in_range(str(count), 1, 1000):
        raise wrong(f"Invalid value for maxReceiveCount: {count}, valid values are from 1 to 1000 both inclusive.")
    parts = arn.split(":") if isinstance(arn, str) else []
    if len(parts) != 6 or parts[0] != "arn":
        raise wrong("Invalid value for deadLetterTargetArn.")
    if parts[2] != "sqs":
        raise wrong("Only SQS queues are valid resources for deadLetterTargetArn.")
    if len(policy) > 2:
        raise wrong("Only following attributes are supported: [maxReceiveCount, deadLetterTargetArn].")
    return arn, int(count)


def check_redrive(text: str, source: tuple[str, str, str], target: Queue | None) -> None:
    """`source`: account, region and name of the queue that is to have the policy. Raises AwsError InvalidParameterValue."""
    arn, _ = read_redrive_policy(text)
    account_id, region, name = source
    of_region, of_account, target_name = arn.split(":")[3:6]
    if target_name.endswith(".fifo") != name.endswith(".fifo"):
        reason = "Dead-letter queue must be same type of queue as the source.."
    elif of_account != account_id:
        reason = "Dead-letter target owner should be same as the source."
    elif of_region != region:
        reason = "Dead-letter target must be in the same region as the source."
    elif target_name == name:
        reason = "A queue cannot be its own dead-letter queue."
    elif target is None:
        reason = "Dead letter target does not exist."
    elif not _allows(target, f"arn:aws:sqs:{region}:{account_id}:{name}"):
        reason = f"Queue {name} does not have permission to redrive to {target.arn}."
    else:
        return
    raise invalid_value("RedrivePolicy", text, reason)


def _allows(target: Queue, source_arn: str) -> bool:
    policy = _json_map(target.attributes.get("RedriveAllowPolicy", "")) or {}
    match policy.get("redrivePermission", "allowAll"):
        case "denyAll":
            return False
        case "byQueue":
            return source_arn in policy.get("sourceQueueArns", ())
        case _:
            return True


def _check_allow_policy(text: str) -> None:
    unsupported = invalid_attribute_value(
        "Invalid value for the parameter RedriveAllowPolicy. Reason: Amazon SQS can't create the redrive allow policy, "
        "as it’s in an unsupported format."
    )
    policy = _json_map(text)
    if policy is None or set(policy) - {"redrivePermission", "sourceQueueArns"}:
        raise unsupported
    permission, arns = policy.get("redrivePermission"), policy.get("sourceQueueArns")
    if permission not in ("allowAll", "denyAll", "byQueue"):
        raise unsupported
    if arns is not None and not (isinstance(arns, list) and all(isinstance(arn, str) for arn in arns)):
        raise unsupported
    reason = None
    if permission == "byQueue" and not arns:
        reason = (
            "When you specify the byQueue permission type, you must also specify one or more sourceQueueArns values."
        )
    elif permission != "byQueue" and arns is not None:
        reason = "To specify one or more source queue ARNs, you must set redrivePermission to byQueue."
    elif arns is not None and len(arns) > SOURCES_MAX:
        reason = "The maximum number of source queue ARNs you can specify is 10."
    if reason is not None:
        raise invalid_value("RedriveAllowPolicy", text, f"Amazon SQS can't create the redrive allow policy. {reason}")


# What is given back.


def stored(queue: Queue) -> dict[str, str]:
    """A queue's own attributes with their defaults, without those that are computed."""
    found = {**DEFAULTS, **(FIFO_DEFAULTS if queue.is_fifo else {}), **queue.attributes}
    if queue.is_fifo:
        found["FifoQueue"] = "true"
    if found.get("KmsMasterKeyId"):
        found.setdefault("KmsDataKeyReusePeriodSeconds", KMS_REUSE_S)
        found["SqsManagedSseEnabled"] = "false"
    else:
        found.setdefault("SqsManagedSseEnabled", "true")
    return found


def differing(queue: Queue, wanted: Mapping[str, str | None]) -> str | None:
    """The first attribute that the queue has otherwise, or None."""
    present = stored(queue)
    for name, value in wanted.items():
        if not _same(present.get(name), value):
            return name
    return None


def _same(present: str | None, wanted: str | None) -> bool:
    if present == wanted:
        return True
    if not present or not wanted:
        return not present and not wanted
    try:
        return bool(json.loads(present) == json.loads(wanted))
    except ValueError:
        return False

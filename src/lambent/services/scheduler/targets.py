"""What a schedule may call: templated targets by their ARNs, and universal ones, which are any operation of any service.

https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-targets-templated.html
https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-targets-universal.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import attrs
import msgspec

from lambent.services.events.transforming import is_json
from lambent.services.scheduler.errors import validation

_UNIVERSAL: Final = re.compile(r"arn:aws[a-z-]*:scheduler:::aws-sdk:([a-zA-Z0-9]+):([a-zA-Z0-9]+)")
_READS: Final = re.compile(
    r"(get|describe|list|poll|receive|search|scan|query|select|read|retrieve|lookup|batchGet)(?=[A-Z])"
)
# The services' names in universal ARNs, where botocore has another.
_SERVICES: Final = {
    "sfn": "stepfunctions", "eventbridge": "events", "cloudwatchlogs": "logs", "cognitoidentityprovider": "cognito-idp",
    "elasticloadbalancingv2": "elbv2", "cloudwatchevents": "events", "apigatewayv2": "apigatewayv2",
}  # fmt: skip
_TEMPLATED: Final = frozenset({"lambda", "sqs", "sns", "states", "kinesis", "firehose", "events"})
_TAKES_JSON: Final = frozenset({"lambda", "states"})  # API_Target, Input; a bus takes an object
_ELSEWHERE: Final = frozenset(
    {"codebuild", "codepipeline", "ecs", "inspector", "sagemaker"}
)  # AWS has them, this server not


@attrs.frozen
class Universal:
    service: str  # botocore's name
    operation: str  # "SendMessage"


def universal(arn: str) -> Universal | None:
    found = _UNIVERSAL.fullmatch(arn)
    if found is None:
        return None
    service, operation = found[1].lower(), found[2]
    return Universal(_SERVICES.get(service, service), operation[:1].upper() + operation[1:])


def check_target(target: Mapping[str, Any]) -> None:
    """Raises AwsError ValidationException."""
    arn = target["Arn"]
    if (found := _UNIVERSAL.fullmatch(arn)) is not None:
        _check_universal(target, found[2])
        return
    parts = arn.split(":", 5)
    if len(parts) != 6 or parts[0] != "arn" or not parts[5]:
        raise validation("Provided Arn is not in correct format.")
    service = parts[2]
    if service in _ELSEWHERE:
        raise validation(f"{service} is not offered as a target by this server.")
    if service not in _TEMPLATED:
        raise validation(f"{service} is not a supported service for a target.")
    if service == "sqs" and arn.endswith(".fifo") and not (target.get("SqsParameters") or {}).get("MessageGroupId"):
        raise validation("A FIFO queue needs SqsParameters with a MessageGroupId.")
    if service == "kinesis" and not target.get("KinesisParameters"):
        raise validation("A Kinesis stream needs KinesisParameters with a PartitionKey.")
    if service == "events":
        _check_bus(target, parts[5])
    if service in _TAKES_JSON and not is_json(target.get("Input") or "{}"):
        raise validation(f"The Input for {arn} must be well-formed JSON.")


def _check_bus(target: Mapping[str, Any], resource: str) -> None:
    if not resource.startswith("event-bus/"):
        raise validation("Provided Arn is not in correct format.")
    if not target.get("EventBridgeParameters"):
        raise validation("An event bus needs EventBridgeParameters with a DetailType and a Source.")
    if not _is_object(target.get("Input") or "{}"):
        raise validation("The Input for an event bus must be a JSON object: it is the event's detail.")


def _check_universal(target: Mapping[str, Any], operation: str) -> None:
    if _READS.match(operation) is not None:
        raise validation(f"{operation} API is not supported")
    if not target.get("Input"):
        raise validation("You must provide an input to set this target for your schedule")
    if not _is_object(target["Input"]):
        raise validation("The Input of a universal target must be a JSON object: it is the operation's request.")


def _is_object(text: str) -> bool:
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except (msgspec.DecodeError, RecursionError):
        return False

"""Where records of invocations go: the ARNs that Lambda takes as destinations, and its words for others.

Source: PutFunctionEventInvokeConfig and CreateEventSourceMapping in the API reference, `DestinationConfig`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from lambent.model.errors import AwsError, invalid_parameter

KAFKA_TOPIC_PREFIX: Final = "kafka://"
_ARN: Final = re.compile(
    r"arn:aws[a-zA-Z0-9-]*:(?P<service>[a-zA-Z0-9-]+):(?P<region>[^:]*):(?P<account>[^:]*):(?P<resource>.+)"
)
_RESOURCES: Final[Mapping[str, re.Pattern[str]]] = {
    "sqs": re.compile(r"[A-Za-z0-9_-]{1,80}"),  # a FIFO queue is no destination
    "sns": re.compile(r"[A-Za-z0-9_-]{1,256}"),
    "lambda": re.compile(r"function:[A-Za-z0-9_-]+(?::(?:\$LATEST|[A-Za-z0-9_-]+))?"),
    "events": re.compile(r"event-bus/[A-Za-z0-9/._-]+"),
    "s3": re.compile(r"[a-z0-9][a-z0-9.-]+[a-z0-9](?:/.*)?"),
}


def destination_service(arn: str) -> str | None:
    """ "sqs", "sns", "lambda", "events", "s3" or "kafka"; None for what can be no destination."""
    if arn.startswith(KAFKA_TOPIC_PREFIX):
        return "kafka"
    found = _ARN.fullmatch(arn)
    if found is None:
        return None
    expected = _RESOURCES.get(found["service"])
    if expected is None or expected.fullmatch(found["resource"]) is None:
        return None
    return found["service"]


def given_destination(config: Mapping[str, Any], side: str) -> str | None:
    """The ARN of one side, `OnSuccess` or `OnFailure`; the empty one removes it."""
    return (config.get(side) or {}).get("Destination") or None


def invalid_destinations(config: Mapping[str, Any]) -> AwsError:
    def shown(side: str) -> str:
        arn = given_destination(config, side)
        return "null" if arn is None else f"{side}(destination={arn})"

    return invalid_parameter(
        f"The provided destination config DestinationConfig(onSuccess={shown('OnSuccess')}, "
        f"onFailure={shown('OnFailure')}) is invalid."
    )

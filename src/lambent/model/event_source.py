"""Event sources that Lambda polls: which kinds there are, and what a mapping of each kind has when nothing is said.

Sources: CreateEventSourceMapping in the API reference (which member is for which source, defaults), and answers
recorded from AWS (which members come back, in which words).
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from typing import Any, Final

import attrs

from lambent.model.errors import AwsError, invalid_parameter

Members = Mapping[str, Any]  # of a request, or of a mapping as it is stored: by AWS's names


class SourceKind(enum.Enum):
    SQS = "sqs"
    SQS_FIFO = "sqs-fifo"
    KINESIS = "kinesis"
    KINESIS_CONSUMER = "kinesis-consumer"  # enhanced fan-out
    DYNAMODB = "dynamodb"
    MSK = "msk"
    KAFKA = "kafka"  # self-managed
    MQ = "mq"  # ActiveMQ or RabbitMQ: the ARN does not tell
    DOCUMENTDB = "documentdb"


QUEUES: Final = frozenset({SourceKind.SQS, SourceKind.SQS_FIFO})
STREAMS: Final = frozenset({SourceKind.KINESIS, SourceKind.KINESIS_CONSUMER, SourceKind.DYNAMODB})
KAFKAS: Final = frozenset({SourceKind.MSK, SourceKind.KAFKA})

_ARN: Final = re.compile(
    r"arn:(?P<partition>aws[a-zA-Z0-9-]*):(?P<service>[a-z]+):(?P<region>[a-z0-9-]*):(?P<account>[0-9]*):(?P<resource>.+)"
)
_RESOURCES: Final[tuple[tuple[str, re.Pattern[str], SourceKind], ...]] = (
    ("sqs", re.compile(r"[A-Za-z0-9_-]{1,75}\.fifo"), SourceKind.SQS_FIFO),
    ("sqs", re.compile(r"[A-Za-z0-9_-]{1,80}"), SourceKind.SQS),
    ("kinesis", re.compile(r"stream/[A-Za-z0-9_.-]+/consumer/[A-Za-z0-9_.-]+:[0-9]+"), SourceKind.KINESIS_CONSUMER),
    ("kinesis", re.compile(r"stream/[A-Za-z0-9_.-]+"), SourceKind.KINESIS),
    ("dynamodb", re.compile(r"table/[A-Za-z0-9_.-]+/stream/.+"), SourceKind.DYNAMODB),
    ("kafka", re.compile(r"(?:cluster|vpc-connection)/.+"), SourceKind.MSK),
    ("mq", re.compile(r"broker:.+"), SourceKind.MQ),
    ("rds", re.compile(r"cluster:.+"), SourceKind.DOCUMENTDB),
)


@attrs.frozen(kw_only=True)
class SourceArn:
    service: str
    region: str
    account_id: str
    resource: str


def parse_source_arn(arn: str) -> SourceArn | None:
    found = _ARN.fullmatch(arn)
    if found is None:
        return None
    return SourceArn(
        service=found["service"], region=found["region"], account_id=found["account"], resource=found["resource"]
    )


def kind_of(members: Members) -> SourceKind:
    """What a request, or a stored mapping, reads from. Raises AwsError InvalidParameterValueException."""
    if members.get("SelfManagedEventSource") is not None:
        if members.get("EventSourceArn"):
            raise invalid_parameter("Only one of 'eventSourceArn' and 'selfManagedEventSource' can be specified.")
        return SourceKind.KAFKA
    arn = parse_source_arn(members.get("EventSourceArn") or "")
    if arn is not None:
        for service, resource, kind in _RESOURCES:
            if arn.service == service and resource.fullmatch(arn.resource):
                return kind
    raise invalid_parameter("Unrecognized event source.")


def transition_reason(kind: SourceKind) -> str:
    """Why a mapping is in its state when its owner asked for it. AWS has two ways of saying so."""
    return "User action" if kind in STREAMS else "USER_INITIATED"


NO_RECORDS_YET: Final = "No records processed"  # the LastProcessingResult of a mapping that is new

# What every kind takes, and what only some do.
_COMMON: Final = frozenset((
    "EventSourceArn", "FunctionName", "Enabled", "BatchSize", "FilterCriteria", "KMSKeyArn", "MetricsConfig",
    "MaximumBatchingWindowInSeconds", "Tags", "UUID",
))  # fmt: skip
_RETRIES: Final = frozenset((
    "DestinationConfig", "MaximumRecordAgeInSeconds", "BisectBatchOnFunctionError", "MaximumRetryAttempts",
    "FunctionResponseTypes",
))  # fmt: skip
_POSITION: Final = frozenset({"StartingPosition", "StartingPositionTimestamp"})
_KAFKA: Final = _RETRIES | _POSITION | {
    "Topics", "SourceAccessConfigurations", "ProvisionedPollerConfig", "LoggingConfig"
}  # fmt: skip
_STREAM: Final = _RETRIES | _POSITION | {"ParallelizationFactor", "TumblingWindowInSeconds"}
_QUEUE: Final = frozenset({"ScalingConfig", "FunctionResponseTypes", "ProvisionedPollerConfig"})
_OWN: Final[Mapping[SourceKind, frozenset[str]]] = {
    SourceKind.SQS: _QUEUE,
    SourceKind.SQS_FIFO: _QUEUE,
    SourceKind.KINESIS: _STREAM,
    SourceKind.KINESIS_CONSUMER: _STREAM,
    SourceKind.DYNAMODB: _STREAM,
    SourceKind.MSK: _KAFKA | {"AmazonManagedKafkaEventSourceConfig"},
    SourceKind.KAFKA: _KAFKA | {"SelfManagedEventSource", "SelfManagedKafkaEventSourceConfig"},
    SourceKind.MQ: frozenset({"Queues", "SourceAccessConfigurations"}),
    SourceKind.DOCUMENTDB: _POSITION | {"SourceAccessConfigurations", "DocumentDBEventSourceConfig"},
}


def check_members(kind: SourceKind, request: Members) -> None:
    """Refuses members that are not for this kind of source. Raises AwsError InvalidParameterValueException."""
    if kind in QUEUES and any(request.get(member) is not None for member in _POSITION):
        raise invalid_parameter("StartingPosition is not valid for SQS event sources.")
    for member, value in request.items():
        if value is not None and member not in _COMMON and member not in _OWN[kind]:
            raise unsupported(kind, member)


def unsupported(kind: SourceKind, member: str) -> AwsError:
    """AWS's older sources and its newer ones name the member differently."""
    name = member if kind in QUEUES | STREAMS else f"'{member[:1].lower()}{member[1:]}'"
    return invalid_parameter(f"Unsupported {name} parameter for given event source mapping type.")


def required(member: str) -> AwsError:
    return invalid_parameter(f"Required '{member[:1].lower()}{member[1:]}' parameter is missing.")


_STREAM_DEFAULTS: Final[Members] = {
    "BatchSize": 100,
    "MaximumBatchingWindowInSeconds": 0,
    "ParallelizationFactor": 1,
    "DestinationConfig": {"OnFailure": {}},
    "MaximumRecordAgeInSeconds": -1,
    "BisectBatchOnFunctionError": False,
    "MaximumRetryAttempts": -1,
    "TumblingWindowInSeconds": 0,
    "FunctionResponseTypes": [],
    "LastProcessingResult": NO_RECORDS_YET,
}
_QUEUE_DEFAULTS: Final[Members] = {"BatchSize": 10, "MaximumBatchingWindowInSeconds": 0, "FunctionResponseTypes": []}
# The window of these is 500 ms unless it is set, which no number of whole seconds can say: AWS leaves it out.
_POLLED_DEFAULTS: Final[Members] = {"BatchSize": 100, "LastProcessingResult": NO_RECORDS_YET}


def defaults(kind: SourceKind, mapping_id: str) -> dict[str, Any]:
    """What a mapping of this kind has where its request says nothing."""
    if kind in QUEUES:
        return dict(_QUEUE_DEFAULTS)
    if kind in STREAMS:
        return dict(_STREAM_DEFAULTS)
    values = dict(_POLLED_DEFAULTS)
    if kind is SourceKind.MSK:
        values["AmazonManagedKafkaEventSourceConfig"] = {"ConsumerGroupId": mapping_id}
    elif kind is SourceKind.KAFKA:
        values["SelfManagedKafkaEventSourceConfig"] = {"ConsumerGroupId": mapping_id}
    elif kind is SourceKind.DOCUMENTDB:
        values["StartingPosition"] = "LATEST"
    return values

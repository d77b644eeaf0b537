"""What AWS demands of an event source mapping as a whole, beyond the bounds of single members.

`check_settings` looks at the mapping as it would be stored, so that updates are held to what creating is held to.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lambent.model.destinations import KAFKA_TOPIC_PREFIX, destination_service, given_destination, invalid_destinations
from lambent.model.errors import invalid_parameter
from lambent.model.event_source import KAFKAS, QUEUES, STREAMS, Members, SourceKind, required, unsupported
from lambent.model.filter_pattern import FILTERS_MAX, check_pattern

BATCH_WITHOUT_WINDOW_MAX: Final = 10  # CreateEventSourceMapping, MaximumBatchingWindowInSeconds
RECORD_AGE_MIN_S: Final = 60  # same page, MaximumRecordAgeInSeconds: less is in the model's range, and refused
FOREVER: Final = -1  # same page: no limit of age or retries

# Poller limits: https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventsourcemapping.html, "Provisioned mode"
QUEUE_POLLERS_MIN: Final = 2
POLLERS_MINIMUM_MAX: Final = 200
QUEUE_POLLERS_MAX: Final = 10_000  # MODEL, MaximumNumberOfPollers
KAFKA_POLLERS_MAX: Final = 2_000

# https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis-filtering.html, with-ddb-filtering.html: refused when not JSON.
_FILTERED_AS_JSON: Final = {
    SourceKind.KINESIS: "data", SourceKind.KINESIS_CONSUMER: "data", SourceKind.DYNAMODB: "dynamodb"
}  # fmt: skip
_STREAM_DESTINATIONS: Final = frozenset({"sqs", "sns", "s3"})
_ACCESS_TYPES: Final[Mapping[SourceKind, frozenset[str]]] = {
    SourceKind.MQ: frozenset({"BASIC_AUTH", "VIRTUAL_HOST"}),
    SourceKind.MSK: frozenset({"SASL_SCRAM_512_AUTH", "CLIENT_CERTIFICATE_TLS_AUTH"}),
    SourceKind.DOCUMENTDB: frozenset({"BASIC_AUTH"}),
    SourceKind.KAFKA: frozenset((
        "BASIC_AUTH", "VPC_SUBNET", "VPC_SECURITY_GROUP", "SASL_SCRAM_256_AUTH", "SASL_SCRAM_512_AUTH",
        "CLIENT_CERTIFICATE_TLS_AUTH", "SERVER_ROOT_CA_CERTIFICATE", "OAUTHBEARER_AUTH", "OAUTHBEARER_SCOPE",
        "OAUTHBEARER_AUDIENCE", "OAUTHBEARER_LOGICAL_CLUSTER", "OAUTHBEARER_IDENTITY_POOL", "IAM_AUTH",
        "IAM_OAUTHBEARER_AUTH",
    )),
}  # fmt: skip
_WITHOUT_URI: Final = frozenset({"IAM_AUTH", "IAM_OAUTHBEARER_AUTH"})


def check_settings(kind: SourceKind, settings: Members, now_s: float) -> None:
    """Raises AwsError InvalidParameterValueException for the first rule that is broken.

    `settings` are a mapping's members, its timestamps in seconds since the epoch.
    """
    _check_position(kind, settings, now_s)
    _check_batching(kind, settings)
    _check_retries(settings)
    _check_destination(kind, settings)
    _check_filters(kind, settings.get("FilterCriteria") or {})
    _check_metrics(kind, settings)
    _check_pollers(kind, settings)
    _check_access(kind, settings)
    _check_content(kind, settings)


def _consumes_as_queue(settings: Members) -> bool:
    return (settings.get("SelfManagedKafkaEventSourceConfig") or {}).get("ConsumptionMode") == "Queue"


def _check_position(kind: SourceKind, settings: Members, now_s: float) -> None:
    position = settings.get("StartingPosition")
    timestamp_s = settings.get("StartingPositionTimestamp")
    if _consumes_as_queue(settings):
        if position is not None or timestamp_s is not None:
            raise unsupported(kind, "StartingPosition")
        return
    if position is None:
        if kind in STREAMS | KAFKAS:
            raise invalid_parameter(
                "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: "
                "Member must not be null."
            )
        return
    if timestamp_s is not None and position != "AT_TIMESTAMP":
        raise invalid_parameter("Timestamp only valid with StartingPosition AT_TIMESTAMP")
    if position == "AT_TIMESTAMP":
        if kind is SourceKind.DYNAMODB:
            raise invalid_parameter(f"Unsupported starting position for arn type: {settings['EventSourceArn']}")
        if timestamp_s is None:
            raise invalid_parameter("Need to specify a timestamp")
        if timestamp_s > now_s:
            raise invalid_parameter("StartingPositionTimestamp cannot be in the future.")


def _check_batching(kind: SourceKind, settings: Members) -> None:
    window_s = settings.get("MaximumBatchingWindowInSeconds")
    if kind is SourceKind.SQS_FIFO and window_s:
        raise invalid_parameter("Batching window is not supported for FIFO queues")
    if kind in QUEUES and settings["BatchSize"] > BATCH_WITHOUT_WINDOW_MAX and not window_s:
        raise invalid_parameter(
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"
        )
    if window_s is not None and _consumes_as_queue(settings):
        raise unsupported(kind, "MaximumBatchingWindowInSeconds")


def _check_retries(settings: Members) -> None:
    age_s = settings.get("MaximumRecordAgeInSeconds", FOREVER)
    if age_s != FOREVER and age_s < RECORD_AGE_MIN_S:
        raise invalid_parameter(
            f"MaximumRecordAgeInSeconds must be {FOREVER} or at least {RECORD_AGE_MIN_S}, and is {age_s}."
        )
    if settings.get("MaximumRetryAttempts") == FOREVER and _consumes_as_queue(settings):
        raise invalid_parameter("MaximumRetryAttempts -1 is not supported when ConsumptionMode is Queue.")


def _check_destination(kind: SourceKind, settings: Members) -> None:
    config: Mapping[str, Any] = settings.get("DestinationConfig") or {}
    if "OnSuccess" in config:
        raise invalid_parameter("Unsupported DestinationConfig parameter for given event source mapping type.")
    arn = given_destination(config, "OnFailure")
    if arn is None:
        return
    allowed = _STREAM_DESTINATIONS | ({"kafka"} if kind in KAFKAS else set())
    if destination_service(arn) not in allowed:
        raise invalid_destinations(config)
    if arn.removeprefix(KAFKA_TOPIC_PREFIX) in (settings.get("Topics") or ()):
        raise invalid_parameter("The on-failure destination cannot be one of the topics that the mapping reads.")


def _check_filters(kind: SourceKind, criteria: Mapping[str, Any]) -> None:
    filters = criteria.get("Filters") or []
    if len(filters) > FILTERS_MAX:
        raise invalid_parameter(f"An event source mapping can have up to {FILTERS_MAX} filters.")
    for item in filters:
        check_pattern(item.get("Pattern") or "", _FILTERED_AS_JSON.get(kind))


def _check_metrics(kind: SourceKind, settings: Members) -> None:
    metrics = (settings.get("MetricsConfig") or {}).get("Metrics") or []
    if kind not in KAFKAS and any(metric != "EventCount" for metric in metrics):
        raise invalid_parameter("Only EventCount metrics are supported for given event source mapping type.")


def _check_pollers(kind: SourceKind, settings: Members) -> None:
    pollers = settings.get("ProvisionedPollerConfig")
    if pollers is None:
        return
    least = QUEUE_POLLERS_MIN if kind in QUEUES else 1
    most = QUEUE_POLLERS_MAX if kind in QUEUES else KAFKA_POLLERS_MAX
    if kind in QUEUES:
        if pollers.get("PollerGroupName"):
            raise invalid_parameter("PollerGroupName is not supported for SQS event sources.")
        if settings.get("ScalingConfig"):
            raise invalid_parameter(
                "Provisioned mode for SQS ESM does not support maximum concurrency feature. "
                "Use MaximumPollers as the control mechanism and remove maximum concurrency."
            )
    minimum, maximum = pollers["MinimumPollers"], pollers["MaximumPollers"]
    if not least <= minimum <= POLLERS_MINIMUM_MAX or not minimum <= maximum <= most:
        raise invalid_parameter(
            f"MinimumPollers should be between [{least}, {POLLERS_MINIMUM_MAX}] and "
            f"MaximumPollers should be between [MinimumPollers, {most}]"
        )


def with_poller_defaults(kind: SourceKind, given: Mapping[str, Any]) -> dict[str, Any]:
    """A provisioned mode whose one end was left out. Raises AwsError when both were."""
    if given.get("MinimumPollers") is None and given.get("MaximumPollers") is None:
        raise invalid_parameter(
            "Either MinimumPollers or MaximumPollers are required if ProvisionedPollerConfig is provided."
        )
    least = QUEUE_POLLERS_MIN if kind in QUEUES else 1
    known = {name: value for name, value in given.items() if value is not None}
    minimum = known.setdefault("MinimumPollers", least)
    known.setdefault("MaximumPollers", max(minimum, POLLERS_MINIMUM_MAX))
    return known


def _check_access(kind: SourceKind, settings: Members) -> None:
    access = settings.get("SourceAccessConfigurations")
    if not access:
        if kind in (SourceKind.KAFKA, SourceKind.MQ, SourceKind.DOCUMENTDB):
            raise required("SourceAccessConfigurations")
        return
    types = [item.get("Type") for item in access]
    for item, name in zip(access, types, strict=True):
        if name not in _ACCESS_TYPES[kind]:
            raise invalid_parameter(f"Source access type {name} is not supported for given event source mapping type.")
        if bool(item.get("URI")) == (name in _WITHOUT_URI):
            verb = "cannot have" if name in _WITHOUT_URI else "requires"
            raise invalid_parameter(f"Source access type {name} {verb} a URI.")
    if kind in (SourceKind.MQ, SourceKind.DOCUMENTDB) and types.count("BASIC_AUTH") != 1:
        raise invalid_parameter("Exactly one source access configuration of type BASIC_AUTH is required.")
    if types.count("VIRTUAL_HOST") > 1:
        raise invalid_parameter("Only one source access configuration of type VIRTUAL_HOST is allowed.")


def _check_content(kind: SourceKind, settings: Members) -> None:
    if kind in KAFKAS and not settings.get("Topics"):
        raise required("Topics")
    if kind is SourceKind.MQ and not settings.get("Queues"):
        raise required("Queues")
    if kind is SourceKind.KAFKA and not settings["SelfManagedEventSource"].get("Endpoints"):
        raise required("SelfManagedEventSource")
    if kind is SourceKind.DOCUMENTDB and not (settings.get("DocumentDBEventSourceConfig") or {}).get("DatabaseName"):
        raise required("DocumentDBEventSourceConfig")

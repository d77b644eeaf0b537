"""Event source mappings of every kind of source: what comes back, what is refused, and how they live."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from control_harness import ACCOUNT, REGION, ROLE, Control
from fake_directory import FakeDirectory, allow, deny
from lambent.control.event_source_mappings import KIND, EventSourceMappingOperations
from lambent.control.role_rights import RoleRights
from lambent.model.errors import AwsError
from lambent.model.request import RequestContext
from lambent.sources.supervisor import Supervisor

FUNCTION_ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"
QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:orders"
FIFO = QUEUE + ".fifo"
STREAM = f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/clicks"
CONSUMER = f"{STREAM}/consumer/reader:1700000000"
TABLE = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/things/stream/2026-01-01T00:00:00.000"
CLUSTER = f"arn:aws:kafka:{REGION}:{ACCOUNT}:cluster/logs/6f7a-1"
BROKER = f"arn:aws:mq:{REGION}:{ACCOUNT}:broker:mail:b-6f7a"
DATABASE = f"arn:aws:rds:{REGION}:{ACCOUNT}:cluster:shop"
SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:login"
BASIC_AUTH = [{"Type": "BASIC_AUTH", "URI": SECRET}]
KAFKA_SERVERS = {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": ["a.example:9092", "b.example:9092"]}}

SQS: dict[str, Any] = {"EventSourceArn": QUEUE}
KINESIS: dict[str, Any] = {"EventSourceArn": STREAM, "StartingPosition": "LATEST"}
DYNAMODB: dict[str, Any] = {"EventSourceArn": TABLE, "StartingPosition": "TRIM_HORIZON"}
MSK: dict[str, Any] = {"EventSourceArn": CLUSTER, "StartingPosition": "LATEST", "Topics": ["lines"]}
KAFKA: dict[str, Any] = {
    "SelfManagedEventSource": KAFKA_SERVERS, "StartingPosition": "LATEST", "Topics": ["lines"],
    "SourceAccessConfigurations": BASIC_AUTH,
}  # fmt: skip
MQ: dict[str, Any] = {"EventSourceArn": BROKER, "Queues": ["inbox"], "SourceAccessConfigurations": BASIC_AUTH}
DOCUMENTDB: dict[str, Any] = {
    "EventSourceArn": DATABASE, "SourceAccessConfigurations": BASIC_AUTH,
    "DocumentDBEventSourceConfig": {"DatabaseName": "shop"},
}  # fmt: skip
STREAM_DEFAULTS = {
    "BatchSize": 100, "MaximumBatchingWindowInSeconds": 0, "ParallelizationFactor": 1, "DestinationConfig": {"OnFailure": {}},
    "MaximumRecordAgeInSeconds": -1, "BisectBatchOnFunctionError": False, "MaximumRetryAttempts": -1,
    "TumblingWindowInSeconds": 0, "FunctionResponseTypes": [], "LastProcessingResult": "No records processed",
    "StateTransitionReason": "User action",
}  # fmt: skip
QUEUE_DEFAULTS = {
    "BatchSize": 10, "MaximumBatchingWindowInSeconds": 0, "FunctionResponseTypes": [],
    "StateTransitionReason": "USER_INITIATED",
}  # fmt: skip
POLLED_DEFAULTS = {
    "BatchSize": 100, "LastProcessingResult": "No records processed", "StateTransitionReason": "USER_INITIATED",
}  # fmt: skip


class Idle:
    """A poller of a source where nothing ever comes."""

    may_overlap = False

    def start(self) -> None:
        pass

    async def stop_reading(self) -> None:
        pass

    async def finished(self) -> None:
        pass

    async def abandon(self) -> None:
        pass


@pytest.fixture
async def mapped(control: Control) -> AsyncIterator[Control]:
    """With a function `f`, and mappings' states that move on."""
    await control.create("f", Timeout=30)
    states = asyncio.create_task(Supervisor(control.catalog, control.clock, lambda key, mapping: Idle()).run())
    yield control
    states.cancel()
    await asyncio.gather(states, return_exceptions=True)


async def settled(control: Control, mapping_id: str, region: str = REGION) -> dict[str, Any]:
    """The mapping, once it is in a state that lasts."""
    while True:
        mapping = await control("GetEventSourceMapping", UUID=mapping_id, region=region)
        if mapping["State"] in ("Enabled", "Disabled"):
            return mapping
        await asyncio.sleep(0)


async def create(control: Control, **members: Any) -> dict[str, Any]:
    made = await control("CreateEventSourceMapping", FunctionName="f", **members)
    return await settled(control, made["UUID"])


async def refusal(call: Any) -> tuple[str, str]:
    with pytest.raises(AwsError) as caught:
        await call
    assert caught.value.fields.get("Type") == "User"
    return caught.value.code, caught.value.message


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (SQS, QUEUE_DEFAULTS),
        ({"EventSourceArn": FIFO}, QUEUE_DEFAULTS),
        (KINESIS, STREAM_DEFAULTS),
        ({**KINESIS, "EventSourceArn": CONSUMER}, STREAM_DEFAULTS),
        (DYNAMODB, STREAM_DEFAULTS),
        (MSK, {**POLLED_DEFAULTS, "AmazonManagedKafkaEventSourceConfig": {"ConsumerGroupId": "UUID"}}),
        (KAFKA, {**POLLED_DEFAULTS, "SelfManagedKafkaEventSourceConfig": {"ConsumerGroupId": "UUID"}}),
        (MQ, POLLED_DEFAULTS),
        (DOCUMENTDB, {**POLLED_DEFAULTS, "StartingPosition": "LATEST"}),
    ],
    ids=["SQS", "SQS FIFO", "Kinesis", "fan-out", "DynamoDB", "MSK", "Kafka", "MQ", "DocumentDB"],
)
async def test_each_kind_of_source_has_its_defaults(
    mapped: Control, request_: dict[str, Any], expected: dict[str, Any]
) -> None:
    made = await mapped("CreateEventSourceMapping", FunctionName="f", **request_)
    mapping_id = made["UUID"]
    for config in ("AmazonManagedKafkaEventSourceConfig", "SelfManagedKafkaEventSourceConfig"):
        if config in expected:
            expected = {**expected, config: {"ConsumerGroupId": mapping_id}}
    modified = made.pop("LastModified")
    assert abs((modified - datetime.now(UTC)).total_seconds()) < 60
    assert made == {
        **request_,
        **expected,
        "UUID": mapping_id,
        "EventSourceMappingArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:event-source-mapping:{mapping_id}",
        "FunctionArn": FUNCTION_ARN,
        "State": "Creating",
    }
    later = await settled(mapped, mapping_id)
    del later["LastModified"]
    assert later == {**made, "State": "Enabled"}


async def test_a_mapping_that_is_created_disabled_becomes_disabled(mapped: Control) -> None:
    made = await mapped("CreateEventSourceMapping", FunctionName="f", Enabled=False, **SQS)
    assert made["State"] == "Creating"
    assert (await settled(mapped, made["UUID"]))["State"] == "Disabled"


@pytest.mark.parametrize(
    ("wanted", "on_the_way", "then"), [(False, "Disabling", "Disabled"), (True, "Updating", "Enabled")]
)
async def test_an_update_passes_through_its_state(mapped: Control, wanted: bool, on_the_way: str, then: str) -> None:
    mapping = await create(mapped, **SQS)
    changed = await mapped("UpdateEventSourceMapping", UUID=mapping["UUID"], Enabled=wanted, BatchSize=3)
    assert (changed["State"], changed["BatchSize"]) == (on_the_way, 3)
    assert (await settled(mapped, mapping["UUID"]))["State"] == then
    back = await mapped("UpdateEventSourceMapping", UUID=mapping["UUID"], Enabled=True)
    assert back["State"] == ("Updating" if wanted else "Enabling")


async def test_a_mapping_is_busy_until_its_state_settles(control: Control) -> None:
    await control.create("f")
    made = await control("CreateEventSourceMapping", FunctionName="f", **SQS)
    for operation, verb in (("UpdateEventSourceMapping", "update"), ("DeleteEventSourceMapping", "delete")):
        assert await refusal(control(operation, UUID=made["UUID"])) == (
            "ResourceInUseException",
            f"Cannot {verb} the event source mapping because it is in use.",
        )


async def test_a_deleted_mapping_is_deleting_and_then_gone(mapped: Control) -> None:
    mapping = await create(mapped, **DYNAMODB)
    assert (await mapped("DeleteEventSourceMapping", UUID=mapping["UUID"]))["State"] == "Deleting"
    while mapped.catalog.document(KIND, ACCOUNT, REGION, mapping["UUID"]) is not None:
        await asyncio.sleep(0)
    with pytest.raises(AwsError) as caught:
        await mapped("GetEventSourceMapping", UUID=mapping["UUID"])
    assert (caught.value.code, caught.value.message) == (
        "ResourceNotFoundException", "The resource you requested does not exist.",
    )  # fmt: skip


async def test_states_move_on_after_a_restart(tmp_path: Path) -> None:
    control = Control(tmp_path)
    await control.create("f")
    made = await control("CreateEventSourceMapping", FunctionName="f", **SQS)
    await control.close()
    control = Control(tmp_path)
    states = asyncio.create_task(Supervisor(control.catalog, control.clock, lambda key, mapping: Idle()).run())
    assert (await settled(control, made["UUID"]))["State"] == "Enabled"
    states.cancel()
    await asyncio.gather(states, return_exceptions=True)
    await control.close()


@pytest.mark.parametrize("operation", ["GetEventSourceMapping", "UpdateEventSourceMapping", "DeleteEventSourceMapping"])
async def test_an_unknown_mapping_does_not_exist(idle_control: Control, operation: str) -> None:
    assert await refusal(idle_control(operation, UUID="01234567-0123-0123-0123-0123456789ab")) == (
        "ResourceNotFoundException", "The resource you requested does not exist.",
    )  # fmt: skip


NULL_POSITION = "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: Member must not be null."
PAST = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({}, "Unrecognized event source."),
        ({"EventSourceArn": f"arn:aws:sns:{REGION}:{ACCOUNT}:topic"}, "Unrecognized event source."),
        ({"EventSourceArn": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/things"}, "Unrecognized event source."),
        ({"EventSourceArn": STREAM}, NULL_POSITION),
        ({"EventSourceArn": TABLE}, NULL_POSITION),
        ({"EventSourceArn": CLUSTER, "Topics": ["lines"]}, NULL_POSITION),
        ({**SQS, "StartingPosition": "LATEST"}, "StartingPosition is not valid for SQS event sources."),
        ({**SQS, "StartingPositionTimestamp": PAST}, "StartingPosition is not valid for SQS event sources."),
        ({**KINESIS, "StartingPositionTimestamp": PAST}, "Timestamp only valid with StartingPosition AT_TIMESTAMP"),
        ({**KINESIS, "StartingPosition": "AT_TIMESTAMP"}, "Need to specify a timestamp"),
        (
            {**KINESIS, "StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": datetime(2999, 1, 1, tzinfo=UTC)},
            "StartingPositionTimestamp cannot be in the future.",
        ),
        (
            {**DYNAMODB, "StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": PAST},
            f"Unsupported starting position for arn type: {TABLE}",
        ),
        (
            {**SQS, "BatchSize": 11},
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10",
        ),
        (
            {"EventSourceArn": FIFO, "MaximumBatchingWindowInSeconds": 1},
            "Batching window is not supported for FIFO queues",
        ),
        (
            {"EventSourceArn": FIFO, "BatchSize": 100, "MaximumBatchingWindowInSeconds": 5},
            "Batching window is not supported for FIFO queues",
        ),
        ({**KINESIS, "MaximumRecordAgeInSeconds": 59}, "MaximumRecordAgeInSeconds must be -1 or at least 60, and is 59."),
        (
            {**SQS, "DestinationConfig": {"OnFailure": {"Destination": QUEUE}}},
            "Unsupported DestinationConfig parameter for given event source mapping type.",
        ),
        (
            {**KINESIS, "DestinationConfig": {"OnSuccess": {"Destination": QUEUE}}},
            "Unsupported DestinationConfig parameter for given event source mapping type.",
        ),
        (
            {**KINESIS, "DestinationConfig": {"OnFailure": {"Destination": FUNCTION_ARN}}},
            "The provided destination config DestinationConfig(onSuccess=null, "
            f"onFailure=OnFailure(destination={FUNCTION_ARN})) is invalid.",
        ),
        (
            {**KINESIS, "DestinationConfig": {"OnFailure": {"Destination": "kafka://lines"}}},
            "The provided destination config DestinationConfig(onSuccess=null, "
            "onFailure=OnFailure(destination=kafka://lines)) is invalid.",
        ),
        ({**SQS, "ParallelizationFactor": 2}, "Unsupported ParallelizationFactor parameter for given event source mapping type."),
        ({**KINESIS, "ScalingConfig": {"MaximumConcurrency": 5}}, "Unsupported ScalingConfig parameter for given event source mapping type."),
        ({**MQ, "MaximumRetryAttempts": 5}, "Unsupported 'maximumRetryAttempts' parameter for given event source mapping type."),
        ({**MSK, "TumblingWindowInSeconds": 5}, "Unsupported 'tumblingWindowInSeconds' parameter for given event source mapping type."),
        ({**SQS, "Topics": ["lines"]}, "Unsupported Topics parameter for given event source mapping type."),
        ({**SQS, "FilterCriteria": {"Filters": [{"Pattern": "{"}]}}, "Invalid filter pattern definition."),
        ({**SQS, "FilterCriteria": {"Filters": [{}]}}, "Invalid filter pattern definition."),
        ({**KINESIS, "FilterCriteria": {"Filters": [{"Pattern": '{"data": ["text"]}'}]}}, "Invalid filter pattern definition."),
        ({**DYNAMODB, "FilterCriteria": {"Filters": [{"Pattern": '{"dynamodb": ["text"]}'}]}}, "Invalid filter pattern definition."),
        ({**SQS, "FilterCriteria": {"Filters": [{"Pattern": '{"a": [1]}'}] * 6}}, "An event source mapping can have up to 5 filters."),
        ({**SQS, "MetricsConfig": {"Metrics": ["ErrorCount"]}}, "Only EventCount metrics are supported for given event source mapping type."),
        (
            {**SQS, "ProvisionedPollerConfig": {}},
            "Either MinimumPollers or MaximumPollers are required if ProvisionedPollerConfig is provided.",
        ),
        (
            {**SQS, "ProvisionedPollerConfig": {"MinimumPollers": 1}},
            "MinimumPollers should be between [2, 200] and MaximumPollers should be between [MinimumPollers, 10000]",
        ),
        (
            {**SQS, "ProvisionedPollerConfig": {"MinimumPollers": 2}, "ScalingConfig": {"MaximumConcurrency": 5}},
            "Provisioned mode for SQS ESM does not support maximum concurrency feature. "
            "Use MaximumPollers as the control mechanism and remove maximum concurrency.",
        ),
        ({**SQS, "ProvisionedPollerConfig": {"MinimumPollers": 2, "PollerGroupName": "g"}}, "PollerGroupName is not supported for SQS event sources."),
        ({**KAFKA, "SourceAccessConfigurations": []}, "Required 'sourceAccessConfigurations' parameter is missing."),
        (
            {**KAFKA, "DestinationConfig": {"OnFailure": {"Destination": "kafka://lines"}}},
            "The on-failure destination cannot be one of the topics that the mapping reads.",
        ),
        ({**KAFKA, "Topics": None}, "Required 'topics' parameter is missing."),
        ({**MQ, "Queues": None}, "Required 'queues' parameter is missing."),
        ({**DOCUMENTDB, "DocumentDBEventSourceConfig": {}}, "Required 'documentDBEventSourceConfig' parameter is missing."),
        ({**MQ, "SourceAccessConfigurations": [{"Type": "VPC_SUBNET", "URI": "subnet:1"}]}, "Source access type VPC_SUBNET is not supported for given event source mapping type."),
        ({**KAFKA, "SourceAccessConfigurations": [{"Type": "BASIC_AUTH"}]}, "Source access type BASIC_AUTH requires a URI."),
        ({**KAFKA, "SourceAccessConfigurations": [{"Type": "IAM_AUTH", "URI": "x"}]}, "Source access type IAM_AUTH cannot have a URI."),
        ({**KAFKA, "EventSourceArn": QUEUE}, "Only one of 'eventSourceArn' and 'selfManagedEventSource' can be specified."),
        (
            {**KAFKA, "SelfManagedKafkaEventSourceConfig": {"ConsumptionMode": "Queue"}},
            "Unsupported 'startingPosition' parameter for given event source mapping type.",
        ),
        (
            {"EventSourceArn": f"arn:aws:sqs:us-west-2:{ACCOUNT}:orders"},
            f"The event source must be in the same region as the function: it is in us-west-2, not {REGION}.",
        ),
    ],
)  # fmt: skip
async def test_what_a_source_does_not_take_is_refused(
    mapped: Control, request_: Mapping[str, Any], message: str
) -> None:
    call = mapped("CreateEventSourceMapping", FunctionName="f", **request_)
    assert await refusal(call) == ("InvalidParameterValueException", message)
    assert mapped.catalog.documents(KIND, ACCOUNT, REGION) == {}


@pytest.mark.parametrize("name", ["missing", "f:missing", "f:7"])
async def test_the_function_has_to_exist(mapped: Control, name: str) -> None:
    call = mapped("CreateEventSourceMapping", FunctionName=name, **SQS)
    assert await refusal(call) == ("InvalidParameterValueException", "Function does not exist")
    mapping = await create(mapped, **SQS)
    call = mapped("UpdateEventSourceMapping", UUID=mapping["UUID"], FunctionName=name)
    assert await refusal(call) == ("InvalidParameterValueException", "Function does not exist")


async def test_a_source_has_one_mapping_to_a_function(mapped: Control) -> None:
    queue, stream, topics = [await create(mapped, **source) for source in (SQS, KINESIS, MSK)]
    end = "already exists. Please update or delete the existing mapping with UUID"
    for source, message in (
        (SQS, f'An event source mapping with SQS arn (" {QUEUE} ") and function (" f ") {end} {queue["UUID"]}'),
        (KINESIS, f'The event source arn (" {STREAM} ") and function (" f ") provided mapping {end} {stream["UUID"]}'),
        (
            MSK,
            f'An event source mapping with event source ("{CLUSTER}"), function ("{FUNCTION_ARN}"), '
            f'topics ("lines") {end} {topics["UUID"]}',
        ),
    ):
        call = mapped("CreateEventSourceMapping", FunctionName="f", **source)
        assert await refusal(call) == ("ResourceConflictException", message)
    await create(mapped, **{**MSK, "Topics": ["other"]})
    await mapped("PublishVersion", FunctionName="f")
    await mapped.settled()
    version = await mapped("CreateEventSourceMapping", FunctionName="f:1", **SQS)
    assert version["FunctionArn"] == f"{FUNCTION_ARN}:1"
    await settled(mapped, version["UUID"])
    call = mapped("UpdateEventSourceMapping", UUID=version["UUID"], FunctionName="f")
    assert (await refusal(call))[0] == "ResourceConflictException"


async def test_an_update_keeps_what_it_does_not_name_and_removes_what_it_empties(mapped: Control) -> None:
    pattern = {"Filters": [{"Pattern": '{"body": {"a": [1]}}'}]}
    key = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1"
    full = {
        "FilterCriteria": pattern, "ScalingConfig": {"MaximumConcurrency": 2}, "KMSKeyArn": key,
        "MetricsConfig": {"Metrics": ["EventCount"]}, "FunctionResponseTypes": ["ReportBatchItemFailures"],
    }  # fmt: skip
    mapping = await create(mapped, **SQS, **full, BatchSize=7)
    mapping_id = mapping["UUID"]
    assert {name: mapping[name] for name in full} == full
    await mapped("UpdateEventSourceMapping", UUID=mapping_id, MaximumBatchingWindowInSeconds=9)
    mapping = await settled(mapped, mapping_id)
    assert {name: mapping[name] for name in full} == full
    assert (mapping["BatchSize"], mapping["MaximumBatchingWindowInSeconds"]) == (7, 9)
    empty: dict[str, Any] = {
        "FilterCriteria": {}, "ScalingConfig": {}, "KMSKeyArn": "", "MetricsConfig": {"Metrics": []},
        "FunctionResponseTypes": [],
    }  # fmt: skip
    await mapped("UpdateEventSourceMapping", UUID=mapping_id, **empty)
    mapping = await settled(mapped, mapping_id)
    assert mapping.keys() & full.keys() == {"FunctionResponseTypes"}
    await mapped("UpdateEventSourceMapping", UUID=mapping_id, ProvisionedPollerConfig={"MaximumPollers": 9})
    assert (await settled(mapped, mapping_id))["ProvisionedPollerConfig"] == {"MinimumPollers": 2, "MaximumPollers": 9}
    await mapped("UpdateEventSourceMapping", UUID=mapping_id, ProvisionedPollerConfig={})
    assert "ProvisionedPollerConfig" not in await settled(mapped, mapping_id)


async def test_an_update_is_held_to_the_rules_of_the_whole_mapping(mapped: Control) -> None:
    queue = await create(mapped, **SQS, BatchSize=100, MaximumBatchingWindowInSeconds=5)
    call = mapped("UpdateEventSourceMapping", UUID=queue["UUID"], MaximumBatchingWindowInSeconds=0)
    assert (await refusal(call))[1].startswith("Maximum batch window in seconds must be greater than 0")
    stream = await create(mapped, **KINESIS)
    failure = {"OnFailure": {"Destination": QUEUE}}
    await mapped("UpdateEventSourceMapping", UUID=stream["UUID"], DestinationConfig=failure)
    assert (await settled(mapped, stream["UUID"]))["DestinationConfig"] == failure
    gone = {"OnFailure": {"Destination": ""}}
    await mapped("UpdateEventSourceMapping", UUID=stream["UUID"], DestinationConfig=gone)
    assert (await settled(mapped, stream["UUID"]))["DestinationConfig"] == {"OnFailure": {}}
    topics = await create(mapped, **MSK)
    call = mapped(
        "UpdateEventSourceMapping",
        UUID=topics["UUID"],
        AmazonManagedKafkaEventSourceConfig={"ConsumerGroupId": "other"},
    )
    assert (await refusal(call))[1].startswith("ConsumerGroupId cannot be changed")
    messages = await create(mapped, **MQ)
    access = [*BASIC_AUTH, {"Type": "VIRTUAL_HOST", "URI": "/"}]
    call = mapped("UpdateEventSourceMapping", UUID=messages["UUID"], SourceAccessConfigurations=access)
    assert (await refusal(call))[1].startswith("VIRTUAL_HOST cannot be specified")


async def test_a_position_in_time_comes_back_as_it_was_given(mapped: Control) -> None:
    when = datetime(2024, 5, 6, 7, 8, 9, 500_000, tzinfo=UTC)
    position = {"EventSourceArn": STREAM, "StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": when}
    assert (await create(mapped, **position))["StartingPositionTimestamp"] == when


async def test_mappings_are_listed_by_source_and_by_function_page_by_page(mapped: Control) -> None:
    await mapped.create("g")
    ids = []
    for name in ("f", "g"):
        for number in range(3):
            made = await mapped("CreateEventSourceMapping", FunctionName=name, EventSourceArn=f"{QUEUE}{number}")
            ids.append(made["UUID"])
    seen: list[str] = []
    page: dict[str, Any] = {}
    while True:
        marker = {"Marker": page["NextMarker"]} if "NextMarker" in page else {}
        page = await mapped("ListEventSourceMappings", MaxItems=4, **marker)
        seen += [mapping["UUID"] for mapping in page["EventSourceMappings"]]
        if "NextMarker" not in page:
            break
    assert seen == sorted(ids)
    of_g = await mapped("ListEventSourceMappings", FunctionName="g")
    assert {mapping["UUID"] for mapping in of_g["EventSourceMappings"]} == set(ids[3:])
    of_both = await mapped("ListEventSourceMappings", FunctionName="g", EventSourceArn=f"{QUEUE}1")
    assert [mapping["UUID"] for mapping in of_both["EventSourceMappings"]] == [ids[4]]
    assert (await mapped("ListEventSourceMappings", region="us-west-2"))["EventSourceMappings"] == []


async def test_tags_are_kept_beside_a_mapping_and_not_shown_with_it(mapped: Control) -> None:
    mapping = await create(mapped, **SQS, Tags={"team": "orders"})
    assert "Tags" not in mapping
    stored = mapped.catalog.document(KIND, ACCOUNT, REGION, mapping["UUID"])
    assert stored is not None
    assert stored["Tags"] == {"team": "orders"}


class Neighbours:
    """ports.Clients that knows a few answers."""

    def __init__(self, **answers: dict[str, Any] | AwsError) -> None:
        self.answers = answers
        self.asked: list[tuple[str, str, str]] = []

    async def call(
        self, context: RequestContext, service: str, operation: str, request: Mapping[str, Any]
    ) -> dict[str, Any]:
        self.asked.append((context.account_id, service, operation))
        answer = self.answers[operation]
        if isinstance(answer, AwsError):
            raise answer
        return answer


def attributes(visibility_s: int) -> dict[str, Any]:
    return {"Attributes": {"VisibilityTimeout": str(visibility_s)}}


URL = {"QueueUrl": "http://127.0.0.1/queue"}
NO_QUEUE = AwsError("QueueDoesNotExist", "The specified queue does not exist.")
NO_STREAM = AwsError("ResourceNotFoundException", "no such stream")
NOBODY = AwsError("ServiceException", "cannot be reached", 500)


@pytest.mark.parametrize(
    ("source", "answers", "message"),
    [
        (SQS, {"GetQueueUrl": URL, "GetQueueAttributes": attributes(30)}, None),
        (
            SQS,
            {"GetQueueUrl": URL, "GetQueueAttributes": attributes(29)},
            "Queue visibility timeout: 29 seconds is less than Function timeout: 30 seconds",
        ),
        (
            SQS,
            {"GetQueueUrl": NO_QUEUE},
            "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. "
            "SQS Error Message: The specified queue does not exist.",
        ),
        (SQS, {"GetQueueUrl": NOBODY}, None),
        (KINESIS, {"DescribeStreamSummary": {}}, None),
        (KINESIS, {"DescribeStreamSummary": NO_STREAM}, f"Stream not found: {STREAM}"),
        (
            {**KINESIS, "EventSourceArn": CONSUMER},
            {"DescribeStreamConsumer": NO_STREAM},
            f"Stream not found: {CONSUMER}",
        ),
        (DYNAMODB, {"DescribeStream": NO_STREAM}, f"Stream not found: {TABLE}"),
        (DYNAMODB, {"DescribeStream": NOBODY}, None),
    ],
)
async def test_the_source_is_asked_where_it_can_be(
    control: Control, source: dict[str, Any], answers: dict[str, Any], message: str | None
) -> None:
    await control.create("f", Timeout=30)
    neighbours = Neighbours(**answers)
    operations = EventSourceMappingOperations(control.catalog, control.clock, neighbours).operations
    context = RequestContext(account_id=ACCOUNT, region=REGION, request_id="r", base_url="http://127.0.0.1")
    request = {"FunctionName": "f", **source}
    if message is None:
        await operations["CreateEventSourceMapping"](context, request)
    else:
        with pytest.raises(AwsError) as caught:
            await operations["CreateEventSourceMapping"](context, request)
        assert (caught.value.code, caught.value.message) == ("InvalidParameterValueException", message)
    assert [operation for _, _, operation in neighbours.asked] == list(answers)


NO_SECRET = "The provided execution role does not have permissions to call GetSecretValue on Secrets Manager"
CANNOT_READ = (
    "Cannot access stream {}. Please ensure the role can perform the GetRecords, GetShardIterator, DescribeStream, and "
    "ListStreams Actions on your stream in IAM."
)


@pytest.mark.parametrize(
    ("source", "statements", "message"),
    [
        (SQS, [allow("sqs:*", resource=QUEUE)], None),
        (SQS, [], "The provided execution role does not have permissions to call ReceiveMessage on SQS"),
        (
            SQS,
            [allow("sqs:*"), deny("sqs:DeleteMessage")],
            "The provided execution role does not have permissions to call DeleteMessage on SQS",
        ),
        (KINESIS, [allow("kinesis:Get*", "kinesis:Describe*", resource=STREAM)], None),
        (KINESIS, [allow("kinesis:Get*", "kinesis:Describe*", resource=STREAM + "2")], CANNOT_READ.format(STREAM)),
        (DYNAMODB, [allow("kinesis:*")], CANNOT_READ.format(TABLE)),
        (
            MQ,
            [allow("mq:DescribeBroker", resource=BROKER), allow("secretsmanager:GetSecretValue", resource=SECRET)],
            None,
        ),
        (MQ, [allow("mq:*")], NO_SECRET),
        (
            MQ,
            [allow("secretsmanager:*")],
            "The provided execution role does not have permissions to call DescribeBroker on MQ",
        ),
        (KAFKA, [allow("secretsmanager:GetSecretValue", resource=SECRET)], None),
        (KAFKA, [allow("secretsmanager:GetSecretValue", resource=SECRET + "2")], NO_SECRET),
    ],
)
async def test_where_policies_decide_the_role_must_be_able_to_read_the_source(
    control: Control, source: dict[str, Any], statements: list[dict[str, Any]], message: str | None
) -> None:
    await control.create("f")
    directory = FakeDirectory()
    directory.allow(ROLE, *statements)
    rights = RoleRights(directory)
    operations = EventSourceMappingOperations(control.catalog, control.clock, None, rights).operations
    context = RequestContext(account_id=ACCOUNT, region=REGION, request_id="r", base_url="http://127.0.0.1")
    call = operations["CreateEventSourceMapping"](context, {"FunctionName": "f", **source})
    if message is None:
        assert (await call)["State"] == "Creating"
    else:
        assert await refusal(call) == ("InvalidParameterValueException", message)


async def test_where_policies_decide_an_update_cannot_name_a_secret_that_the_role_may_not_read(mapped: Control) -> None:
    made = await create(mapped, **MQ)
    directory = FakeDirectory()
    directory.allow(ROLE, allow("mq:*"), allow("secretsmanager:GetSecretValue", resource=SECRET))
    operations = EventSourceMappingOperations(mapped.catalog, mapped.clock, None, RoleRights(directory)).operations
    context = RequestContext(account_id=ACCOUNT, region=REGION, request_id="r", base_url="http://127.0.0.1")
    access = [{"Type": "BASIC_AUTH", "URI": SECRET + "2"}]
    request = {"UUID": made["UUID"], "SourceAccessConfigurations": access}
    assert await refusal(operations["UpdateEventSourceMapping"](context, request)) == (
        "InvalidParameterValueException", NO_SECRET,
    )  # fmt: skip

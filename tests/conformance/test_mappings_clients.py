"""Event source mappings, configurations of asynchronous invocation and concurrency as boto3 sees them."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from live_server import REGION, LiveServer, until

CODE = "def handler(event, context):\n    return event\n"
ACCOUNT = "000000000000"
KINESIS = f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/"


@pytest.fixture(scope="module")
def name(live: LiveServer) -> str:
    """A function with version 1."""
    made = live.create(CODE)
    live.client().publish_version(FunctionName=made)
    return made


def stream(live: LiveServer) -> str:
    """The ARN of a new Kinesis stream."""
    name = uuid.uuid4().hex
    live.client("kinesis").create_stream(StreamName=name, ShardCount=1)
    return KINESIS + name


@pytest.fixture
def mapping(live: LiveServer, name: str) -> dict[str, Any]:
    """A settled mapping of a stream of its own."""
    client = live.client()
    made = client.create_event_source_mapping(
        FunctionName=name, EventSourceArn=stream(live), StartingPosition="AT_TIMESTAMP",
        StartingPositionTimestamp=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), Tags={"team": "a"},
        FilterCriteria={"Filters": [{"Pattern": '{"data": {"kind": ["order"]}}'}]},
    )  # fmt: skip
    assert (made["State"], made["ResponseMetadata"]["HTTPStatusCode"]) == ("Creating", 202)
    return until(lambda: settled(client, made["UUID"]))


def settled(client: Any, mapping_id: str) -> dict[str, Any] | None:
    found: dict[str, Any] = client.get_event_source_mapping(UUID=mapping_id)
    return found if found["State"] in ("Enabled", "Disabled") else None


def test_a_mapping_comes_back_with_every_member(live: LiveServer, name: str, mapping: dict[str, Any]) -> None:
    del mapping["ResponseMetadata"]
    modified = mapping.pop("LastModified")
    assert abs(datetime.now(UTC) - modified) < timedelta(minutes=5)
    mapping_id = mapping["UUID"]
    arn = mapping.pop("EventSourceArn")
    assert arn.startswith(KINESIS)
    assert mapping == {
        "UUID": mapping_id, "EventSourceMappingArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:event-source-mapping:{mapping_id}",
        "FunctionArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}", "State": "Enabled",
        "StateTransitionReason": "User action", "LastProcessingResult": "No records processed", "BatchSize": 100,
        "MaximumBatchingWindowInSeconds": 0, "ParallelizationFactor": 1, "StartingPosition": "AT_TIMESTAMP",
        "StartingPositionTimestamp": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "DestinationConfig": {"OnFailure": {}},
        "MaximumRecordAgeInSeconds": -1, "BisectBatchOnFunctionError": False, "MaximumRetryAttempts": -1,
        "TumblingWindowInSeconds": 0, "FunctionResponseTypes": [],
        "FilterCriteria": {"Filters": [{"Pattern": '{"data": {"kind": ["order"]}}'}]},
    }  # fmt: skip
    assert live.client().list_tags(Resource=mapping["EventSourceMappingArn"])["Tags"] == {"team": "a"}
    listed = live.client().list_event_source_mappings(EventSourceArn=arn)["EventSourceMappings"]
    assert [found["UUID"] for found in listed] == [mapping_id]


def test_a_mapping_is_changed_and_deleted(live: LiveServer, mapping: dict[str, Any]) -> None:
    client, mapping_id = live.client(), mapping["UUID"]
    changed = client.update_event_source_mapping(
        UUID=mapping_id, Enabled=False, BatchSize=7, FilterCriteria={"Filters": []}
    )
    assert (changed["State"], changed["BatchSize"], "FilterCriteria" in changed) == ("Disabling", 7, False)
    assert until(lambda: settled(client, mapping_id))["State"] == "Disabled"
    deleting = client.delete_event_source_mapping(UUID=mapping_id)
    assert (deleting["State"], deleting["ResponseMetadata"]["HTTPStatusCode"]) == ("Deleting", 202)

    def gone() -> ClientError | None:
        try:
            client.get_event_source_mapping(UUID=mapping_id)
        except ClientError as error:
            return error
        return None

    response: Any = until(gone).response
    assert response["Error"] == {
        "Code": "ResourceNotFoundException", "Message": "The resource you requested does not exist.",
    }  # fmt: skip
    assert (response["Type"], response["ResponseMetadata"]["HTTPStatusCode"]) == ("User", 404)


@pytest.mark.parametrize(
    ("members", "code", "message"),
    [
        (
            {"EventSourceArn": KINESIS + "s", "StartingPosition": "LATER"},
            "ValidationException",
            "1 validation error detected: Value 'LATER' at 'startingPosition' failed to satisfy constraint: "
            "Member must satisfy enum value set: ",
        ),
        (
            {"EventSourceArn": KINESIS + "s"},
            "InvalidParameterValueException",
            "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: "
            "Member must not be null.",
        ),
        (
            {"EventSourceArn": KINESIS + "s", "StartingPosition": "LATEST", "BatchSize": 10_001},
            "ValidationException",
            "1 validation error detected: Value '10001' at 'batchSize' failed to satisfy constraint: "
            "Member must have value less than or equal to 10000",
        ),
        ({}, "InvalidParameterValueException", "Unrecognized event source."),
    ],
)
def test_what_is_wrong_with_a_mapping_is_said_as_by_aws(
    live: LiveServer, name: str, members: dict[str, Any], code: str, message: str
) -> None:
    client = live.client()
    validated = client.meta.config.parameter_validation
    assert validated
    with pytest.raises(ClientError) as caught:
        client.create_event_source_mapping(FunctionName=name, **members)
    error: Any = caught.value.response["Error"]
    assert (error["Code"], error["Message"][: len(message)]) == (code, message)


def test_a_queue_must_hide_messages_for_as_long_as_the_function_may_run(live: LiveServer) -> None:
    client, sqs, name = live.client(), live.client("sqs"), live.create(CODE, Timeout=30)
    queue = f"mapped-{uuid.uuid4().hex}"
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}"

    def refusal() -> str:
        with pytest.raises(client.exceptions.InvalidParameterValueException) as caught:
            client.create_event_source_mapping(FunctionName=name, EventSourceArn=arn)
        return str(caught.value.response["Error"]["Message"])

    assert refusal().startswith(
        "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue."
    )
    url = sqs.create_queue(QueueName=queue, Attributes={"VisibilityTimeout": "29"})["QueueUrl"]
    assert refusal() == "Queue visibility timeout: 29 seconds is less than Function timeout: 30 seconds"
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "30"})
    assert client.create_event_source_mapping(FunctionName=name, EventSourceArn=arn)["BatchSize"] == 10


def test_mappings_are_paged_by_boto3(live: LiveServer) -> None:
    client, name = live.client(), live.create(CODE)
    wanted = {
        client.create_event_source_mapping(FunctionName=name, EventSourceArn=stream(live), StartingPosition="LATEST")[
            "UUID"
        ]
        for _ in range(5)
    }
    pages = list(
        client.get_paginator("list_event_source_mappings").paginate(FunctionName=name, PaginationConfig={"PageSize": 2})
    )
    assert [len(page["EventSourceMappings"]) for page in pages] == [2, 2, 1]
    assert {mapping["UUID"] for page in pages for mapping in page["EventSourceMappings"]} == wanted


def test_asynchronous_invocation_is_configured_by_boto3(live: LiveServer, name: str) -> None:
    client = live.client()
    bus = f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/default"
    for qualifier in ("$LATEST", "1"):
        put = client.put_function_event_invoke_config(
            FunctionName=name, Qualifier=qualifier, MaximumRetryAttempts=0, MaximumEventAgeInSeconds=60,
            DestinationConfig={"OnSuccess": {"Destination": bus}},
        )  # fmt: skip
        assert put["FunctionArn"].endswith(f":function:{name}:{qualifier}")
        assert put["DestinationConfig"] == {"OnSuccess": {"Destination": bus}, "OnFailure": {}}
    pages = client.get_paginator("list_function_event_invoke_configs").paginate(
        FunctionName=name, PaginationConfig={"PageSize": 1}
    )
    found = [
        config["FunctionArn"].rpartition(":")[2] for page in pages for config in page["FunctionEventInvokeConfigs"]
    ]
    assert found == ["$LATEST", "1"]
    for qualifier in ("$LATEST", "1"):
        gone = client.delete_function_event_invoke_config(FunctionName=name, Qualifier=qualifier)
        assert gone["ResponseMetadata"]["HTTPStatusCode"] == 204
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function_event_invoke_config(FunctionName=name)


def test_concurrency_is_configured_by_boto3(live: LiveServer) -> None:
    client, name = live.client(), live.create(CODE)
    client.publish_version(FunctionName=name)
    where = {"FunctionName": name, "Qualifier": "1"}
    assert client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=2)
    assert client.get_function(FunctionName=name)["Concurrency"] == {"ReservedConcurrentExecutions": 2}
    with pytest.raises(client.exceptions.ProvisionedConcurrencyConfigNotFoundException):
        client.get_provisioned_concurrency_config(**where)
    made = client.put_provisioned_concurrency_config(**where, ProvisionedConcurrentExecutions=1)
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 202
    pages = client.get_paginator("list_provisioned_concurrency_configs").paginate(FunctionName=name)
    (config,) = [config for page in pages for config in page["ProvisionedConcurrencyConfigs"]]
    assert config["FunctionArn"].endswith(f":function:{name}:1")
    assert client.delete_provisioned_concurrency_config(**where)["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert client.delete_function_concurrency(FunctionName=name)["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert "ReservedConcurrentExecutions" not in client.get_function_concurrency(FunctionName=name)

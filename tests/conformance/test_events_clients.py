"""EventBridge and Scheduler as boto3 and the AWS CLI see them, through the real gateway and real stores."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import pytest
from botocore.exceptions import ClientError

from bridge_harness import ACCOUNT, FUNCTION, QUEUE, REGION, ROLE, Bridge, bridge_in
from gateway_clients import aws, client_of, served
from queue_clock import BEGIN_S

NOW = datetime.fromtimestamp(int(BEGIN_S), UTC)
PATTERN = '{"source": ["shop"]}'
RULE = f"arn:aws:events:{REGION}:{ACCOUNT}:rule/r"
OFF = {"Mode": "OFF"}
TARGET = {"Arn": QUEUE, "RoleArn": ROLE}


@attrs.define
class World:
    url: str
    bridge: Bridge
    clients: dict[str, Any]

    async def boto3(self, operation: str, service: str = "events", **members: Any) -> dict[str, Any]:
        answer: dict[str, Any] = await asyncio.to_thread(getattr(self.clients[service], operation), **members)
        return {name: value for name, value in answer.items() if name != "ResponseMetadata"}

    async def refused(self, operation: str, service: str = "events", **members: Any) -> tuple[str, str, int]:
        """Code, message and status."""
        with pytest.raises(ClientError) as caught:
            await self.boto3(operation, service, **members)
        response = caught.value.response
        return response["Error"]["Code"], response["Error"]["Message"], response["ResponseMetadata"]["HTTPStatusCode"]

    async def aws(self, *arguments: str) -> Any:
        """The AWS CLI's answer."""
        status, answer, errors = await aws(self.url, *arguments)
        assert status == 0, errors
        return answer


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with bridge_in(tmp_path) as bridge, served([bridge.events, bridge.scheduler]) as url:
        clients = {name: client_of(name, url) for name in ("events", "scheduler")}
        yield World(url=url, bridge=bridge, clients=clients)
        for client in clients.values():
            client.close()


async def test_buses_rules_and_targets_by_boto3(world: World) -> None:
    made = await world.boto3("create_event_bus", Name="b", Description="mine", Tags=[{"Key": "k", "Value": "v"}])
    bus = f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/b"
    assert made == {"EventBusArn": bus, "Description": "mine"}
    described = await world.boto3("describe_event_bus", Name="b")
    assert described == {
        "Name": "b", "Arn": bus, "Description": "mine", "CreationTime": NOW, "LastModifiedTime": NOW,
    }  # fmt: skip
    assert [b["Name"] for b in (await world.boto3("list_event_buses"))["EventBuses"]] == ["b", "default"]
    assert await world.boto3("list_tags_for_resource", ResourceARN=bus) == {"Tags": [{"Key": "k", "Value": "v"}]}
    rule = await world.boto3("put_rule", Name="r", EventBusName="b", EventPattern=PATTERN, Description="d")
    assert rule == {"RuleArn": f"arn:aws:events:{REGION}:{ACCOUNT}:rule/b/r"}
    assert await world.boto3("describe_rule", Name="r", EventBusName=bus) == {
        "Name": "r", "Arn": rule["RuleArn"], "EventPattern": PATTERN, "State": "ENABLED", "Description": "d",
        "EventBusName": "b", "CreatedBy": ACCOUNT,
    }  # fmt: skip
    targets = [{"Id": "1", "Arn": QUEUE, "InputPath": "$.detail"}, {"Id": "2", "Arn": FUNCTION}]
    put = await world.boto3("put_targets", Rule="r", EventBusName="b", Targets=targets)
    assert put == {"FailedEntryCount": 0, "FailedEntries": []}
    assert (await world.boto3("list_targets_by_rule", Rule="r", EventBusName="b"))["Targets"] == targets
    assert await world.boto3("list_rule_names_by_target", TargetArn=QUEUE, EventBusName="b") == {"RuleNames": ["r"]}
    refused = await world.refused("delete_rule", Name="r", EventBusName="b")
    assert refused == ("ValidationException", "Rule can't be deleted since it has targets.", 400)
    await world.boto3("remove_targets", Rule="r", EventBusName="b", Ids=["1", "2"])
    await world.boto3("disable_rule", Name="r", EventBusName="b")
    (listed,) = (await world.boto3("list_rules", EventBusName="b"))["Rules"]
    assert listed["State"] == "DISABLED"
    await world.boto3("delete_rule", Name="r", EventBusName="b")
    await world.boto3("delete_event_bus", Name="b")
    assert await world.refused("describe_event_bus", Name="b") == (
        "ResourceNotFoundException", "Event bus b does not exist.", 400,
    )  # fmt: skip


async def test_lists_come_in_pages(world: World) -> None:
    for number in range(5):
        await world.boto3("put_rule", Name=f"r{number}", EventPattern=PATTERN)
    first = await world.boto3("list_rules", Limit=3, NamePrefix="r")
    second = await world.boto3("list_rules", Limit=3, NamePrefix="r", NextToken=first["NextToken"])
    assert [rule["Name"] for rule in first["Rules"] + second["Rules"]] == ["r0", "r1", "r2", "r3", "r4"]
    assert "NextToken" not in second


async def test_events_go_through(world: World) -> None:
    await world.boto3("put_rule", Name="r", EventPattern=PATTERN)
    await world.boto3("put_targets", Rule="r", Targets=[{"Id": "1", "Arn": QUEUE}])
    entry = {"Source": "shop", "DetailType": "order", "Detail": '{"n": 1.50}', "Time": NOW, "Resources": ["x"]}
    answer = await world.boto3("put_events", Entries=[entry, {"Source": "shop"}])
    assert answer["FailedEntryCount"] == 1
    assert set(answer["Entries"][0]) == {"EventId"}
    assert answer["Entries"][1] == {
        "ErrorCode": "InvalidArgument",
        "ErrorMessage": "Parameter DetailType is not valid. Reason: DetailType is a required argument.",
    }
    await world.bridge.settled()
    assert json.loads(world.bridge.outside.messages[0])["id"] == answer["Entries"][0]["EventId"]


async def test_permissions_are_kept_as_a_policy(world: World) -> None:
    statement = {"StatementId": "s", "Principal": "999999999999", "Action": "events:PutEvents"}
    await world.boto3("put_permission", **statement)
    policy = json.loads((await world.boto3("describe_event_bus"))["Policy"])
    assert policy == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "s", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::999999999999:root"},
                "Action": "events:PutEvents", "Resource": f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/default",
            }
        ],
    }  # fmt: skip
    await world.boto3("remove_permission", StatementId="s")
    assert "Policy" not in await world.boto3("describe_event_bus")
    assert await world.refused("remove_permission", StatementId="s") == (
        "ResourceNotFoundException", "EventBus does not have a policy.", 400,
    )  # fmt: skip


async def test_patterns_are_tested_as_rules_match(world: World) -> None:
    event = {"id": "1", "source": "shop", "detail-type": "t", "account": ACCOUNT, "time": "2026-11-21T08:00:00Z",
             "region": REGION, "detail": {"n": 5}}  # fmt: skip
    for pattern, result in (({"source": ["shop"]}, True), ({"detail": {"n": [{"numeric": [">", 5]}]}}, False)):
        answer = await world.boto3("test_event_pattern", Event=json.dumps(event), EventPattern=json.dumps(pattern))
        assert answer == {"Result": result}
    assert await world.refused("test_event_pattern", Event="text", EventPattern=PATTERN) == (
        "ValidationException", "Parameter Event is not valid.", 400,
    )  # fmt: skip


REFUSED: list[tuple[str, dict[str, Any], str, str]] = [
    ("create_event_bus", {"Name": "default"}, "ResourceAlreadyExistsException", "Event bus default already exists."),
    ("delete_event_bus", {"Name": "default"}, "ValidationException", "Cannot delete event bus default."),
    ("describe_rule", {"Name": "x"}, "ResourceNotFoundException", "Rule x does not exist on EventBus default."),
    ("put_rule", {"Name": "x"}, "ValidationException", "Parameter(s) EventPattern or ScheduleExpression must be specified."),
    (
        "put_rule", {"Name": "x", "ScheduleExpression": "rate(1 minutes)"}, "ValidationException",
        "Parameter ScheduleExpression is not valid.",
    ),
    (
        "put_rule", {"Name": "x", "EventPattern": '{"a": []}'}, "InvalidEventPatternException",
        'Event pattern is not valid. Reason: Empty arrays are not allowed\n at [Source: (String)"{"a": []}"; line: 1, '
        "column: 9]",
    ),
    (
        "put_rule", {"Name": "x", "EventPattern": PATTERN, "EventBusName": "none"}, "ResourceNotFoundException",
        "Event bus none does not exist.",
    ),
    (
        "put_targets", {"Rule": "x", "Targets": [{"Id": "1", "Arn": QUEUE}]}, "ResourceNotFoundException",
        "Rule x does not exist on EventBus default.",
    ),
    (
        "put_targets", {"Rule": "r", "Targets": [{"Id": "1", "Arn": "queue"}]}, "ValidationException",
        "Parameter queue is not valid. Reason: Provided Arn is not in correct format.",
    ),
    (
        "put_targets", {"Rule": "r", "Targets": [{"Id": "1", "Arn": "arn:aws:s3:::bucket"}]}, "ValidationException",
        "s3 is not a supported service for a target.",
    ),
    (
        "put_targets",
        {"Rule": "r", "Targets": [{"Id": "1", "Arn": "arn:aws:events:eu-west-1:999999999999:event-bus/b"}]},
        "ValidationException", "RoleArn is required for target arn:aws:events:eu-west-1:999999999999:event-bus/b.",
    ),
    (
        "put_targets", {"Rule": "r", "Targets": [{"Id": "1", "Arn": f"{QUEUE}.fifo"}]}, "ValidationException",
        "Parameter(s) SqsParameters must be specified for target: 1.",
    ),
    (
        "put_targets", {"Rule": "r", "Targets": [{"Id": "1", "Arn": QUEUE, "DeadLetterConfig": {"Arn": f"{QUEUE}.fifo"}}]},
        "ValidationException", "SQS FIFO is not supported by Dead Letter Queues.",
    ),
    (
        "put_targets", {"Rule": "r", "Targets": [{"Id": "1", "Arn": QUEUE, "Input": "tick"}]}, "ValidationException",
        "Input for target 1 is not a valid JSON text.",
    ),
    (
        "put_targets", {"Rule": "r", "Targets": [{"Id": str(n), "Arn": QUEUE} for n in range(6)]},
        "LimitExceededException", "The requested resource exceeds the maximum number allowed.",
    ),
    (
        "create_connection", {"Name": "n o", "AuthorizationType": "NO", "AuthParameters": {}}, "ValidationException",
        "2 validation errors detected: Value 'n o' at 'name' failed to satisfy constraint: Member must satisfy regular "
        r"expression pattern: [\.\-_A-Za-z0-9]+; Value 'NO' at 'authorizationType' failed to satisfy constraint: Member "
        "must satisfy enum value set: [BASIC, OAUTH_CLIENT_CREDENTIALS, API_KEY]",
    ),
    (
        "create_endpoint",
        {
            "Name": "e", "EventBuses": [{"EventBusArn": f"arn:aws:events:{r}:{ACCOUNT}:event-bus/b"} for r in ("us-east-1", "us-east-2")],
            "RoutingConfig": {"FailoverConfig": {"Primary": {"HealthCheck": "arn:aws:route53:::healthcheck/1"},
                              "Secondary": {"Route": "us-east-2"}}},
        },
        "OperationDisabledException", "CreateEndpoint is not offered by this server.",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("operation", "members", "code", "message"), REFUSED, ids=[f"{o} {c}" for o, _, c, _ in REFUSED]
)
async def test_events_refuses_in_awss_words(
    world: World, operation: str, members: dict[str, Any], code: str, message: str
) -> None:
    await world.boto3("put_rule", Name="r", EventPattern=PATTERN)
    assert await world.refused(operation, **members) == (code, message, 400)


async def test_schedules_and_groups_by_boto3(world: World) -> None:
    made = await world.boto3("create_schedule_group", "scheduler", Name="g", Tags=[{"Key": "k", "Value": "v"}])
    group = f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule-group/g"
    assert made == {"ScheduleGroupArn": group}
    tags = await world.boto3("list_tags_for_resource", "scheduler", ResourceArn=group)
    assert tags == {"Tags": [{"Key": "k", "Value": "v"}]}
    wanted = {
        "Name": "s", "GroupName": "g", "ScheduleExpression": "cron(0 8 ? * MON-FRI *)",
        "ScheduleExpressionTimezone": "Europe/Berlin", "FlexibleTimeWindow": OFF, "Target": TARGET,
    }  # fmt: skip
    created = await world.boto3("create_schedule", "scheduler", **wanted)
    assert created == {"ScheduleArn": f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/g/s"}
    found = await world.boto3("get_schedule", "scheduler", Name="s", GroupName="g")
    retry = {"MaximumEventAgeInSeconds": 86_400, "MaximumRetryAttempts": 185}
    assert found == {
        **wanted, "Arn": created["ScheduleArn"], "State": "ENABLED", "ActionAfterCompletion": "NONE",
        "Target": {**TARGET, "RetryPolicy": retry}, "CreationDate": NOW, "LastModificationDate": NOW,
    }  # fmt: skip
    (listed,) = (await world.boto3("list_schedules", "scheduler", NamePrefix="s"))["Schedules"]
    assert listed["Target"] == {"Arn": QUEUE}
    await world.boto3("update_schedule", "scheduler", **{**wanted, "State": "DISABLED"})
    assert (await world.boto3("list_schedules", "scheduler", State="ENABLED"))["Schedules"] == []
    groups = (await world.boto3("list_schedule_groups", "scheduler"))["ScheduleGroups"]
    assert [each["Name"] for each in groups] == ["default", "g"]
    await world.boto3("delete_schedule_group", "scheduler", Name="g")
    assert await world.refused("get_schedule", "scheduler", Name="s", GroupName="g") == (
        "ResourceNotFoundException", "Schedule group g does not exist.", 404,
    )  # fmt: skip


BAD_SCHEDULES: list[tuple[dict[str, Any], str, str, int]] = [
    ({"ScheduleExpression": "rate(10)"}, "ValidationException", "Invalid Schedule Expression rate(10).", 400),
    ({"GroupName": "none"}, "ResourceNotFoundException", "Schedule group none does not exist.", 404),
    ({"Name": "there"}, "ConflictException", "Schedule there already exists.", 409),
    (
        {"StartDate": datetime(2020, 1, 1, tzinfo=UTC)}, "ValidationException",
        "The StartDate you specify cannot be earlier than 5 minutes ago.", 400,
    ),
    ({"Target": {**TARGET, "Arn": "queue"}}, "ValidationException", "Provided Arn is not in correct format.", 400),
    (
        {"Target": {**TARGET, "Arn": "arn:aws:rds:eu-west-1:111122223333:db:x"}}, "ValidationException",
        "rds is not a supported service for a target.", 400,
    ),
    (
        {"Target": {**TARGET, "Arn": "arn:aws:scheduler:::aws-sdk:sqs:sendMessage"}}, "ValidationException",
        "You must provide an input to set this target for your schedule", 400,
    ),
    (
        {"Target": {**TARGET, "Arn": "arn:aws:scheduler:::aws-sdk:sqs:getQueueUrl", "Input": "{}"}},
        "ValidationException", "getQueueUrl API is not supported", 400,
    ),
    *(
        (
            {"Target": {**TARGET, "Arn": arn, "Input": '{"a": '}}, "ValidationException",
            f"The Input for {arn} must be well-formed JSON.", 400,
        )
        for arn in (
            f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f", f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:m",
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("members", "code", "message", "status"), BAD_SCHEDULES, ids=[m for _, _, m, _ in BAD_SCHEDULES]
)
async def test_scheduler_refuses_in_awss_words(
    world: World, members: dict[str, Any], code: str, message: str, status: int
) -> None:
    good = {"Name": "there", "ScheduleExpression": "rate(1 day)", "FlexibleTimeWindow": OFF, "Target": TARGET}
    await world.boto3("create_schedule", "scheduler", **good)
    asked = {**good, "Name": "s", **members}
    assert await world.refused("create_schedule", "scheduler", **asked) == (code, message, status)


async def test_the_same_client_token_makes_one_schedule(world: World) -> None:
    good = {"Name": "s", "ScheduleExpression": "rate(1 day)", "FlexibleTimeWindow": OFF, "Target": TARGET}
    first = await world.boto3("create_schedule", "scheduler", ClientToken="t", **good)
    assert await world.boto3("create_schedule", "scheduler", ClientToken="t", **good) == first


async def test_the_aws_cli_drives_both(world: World) -> None:
    rule = await world.aws("events", "put-rule", "--name", "r", "--event-pattern", PATTERN)
    assert rule == {"RuleArn": RULE}
    await world.aws("events", "put-targets", "--rule", "r", "--targets", f"Id=1,Arn={QUEUE}")
    entries = '[{"Source": "shop", "DetailType": "t", "Detail": "{\\"n\\": 1}"}]'
    assert (await world.aws("events", "put-events", "--entries", entries))["FailedEntryCount"] == 0
    made = await world.aws(
        "scheduler", "create-schedule", "--name", "s", "--schedule-expression", "rate(5 minutes)",
        "--flexible-time-window", '{"Mode": "OFF"}', "--target", json.dumps({**TARGET, "Input": "tick"}),
    )  # fmt: skip
    assert made["ScheduleArn"].endswith("schedule/default/s")
    await world.bridge.until(lambda: "tick" in world.bridge.outside.messages)
    await world.bridge.settled()
    assert len(world.bridge.outside.messages) == 2

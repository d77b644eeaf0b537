"""Application Auto Scaling through boto3: what is kept, listed and refused for Lambda, and who answers for the rest."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from live_server import LiveServer

ACCOUNT, REGION = "000000000000", "us-east-1"
NAMED = {"ServiceNamespace": "lambda", "ScalableDimension": "lambda:function:ProvisionedConcurrency"}
UTILISATION = {"PredefinedMetricType": "LambdaProvisionedConcurrencyUtilization"}
CODE = "def handler(event, context): pass"


@pytest.fixture(scope="module")
def name(live: LiveServer) -> str:
    """A function with version 1 and the alias `live`."""
    name = live.create(CODE)
    live.client().publish_version(FunctionName=name)
    live.client().create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    return name


@pytest.fixture
def client(live: LiveServer) -> Any:
    return live.client("application-autoscaling")


@pytest.fixture
def target(client: Any, name: str) -> dict[str, str]:
    """Registered, without a minimum, so that nothing is started."""
    target = {**NAMED, "ResourceId": f"function:{name}:live"}
    client.register_scalable_target(**target, MinCapacity=0, MaxCapacity=5)
    return target


def refusal(call: Callable[..., Any], **members: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**members)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def where(target: dict[str, str]) -> str:
    return f"service namespace: lambda, resource ID: {target['ResourceId']}, scalable dimension: {NAMED['ScalableDimension']}"


def track(client: Any, target: dict[str, str], name: str = "p", **configuration: Any) -> Any:
    configuration = {"TargetValue": 0.7, "PredefinedMetricSpecification": UTILISATION, **configuration}
    return client.put_scaling_policy(
        **target, PolicyName=name, PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={k: v for k, v in configuration.items() if v is not None},
    )  # fmt: skip


def test_a_target_is_kept_and_what_is_left_out_stays(client: Any, target: dict[str, str]) -> None:
    before = client.describe_scalable_targets(ServiceNamespace="lambda", ResourceIds=[target["ResourceId"]])
    arn = client.register_scalable_target(
        **target, MaxCapacity=7, SuspendedState={"DynamicScalingInSuspended": True}
    )["ScalableTargetARN"]  # fmt: skip
    (found,) = client.describe_scalable_targets(
        ServiceNamespace="lambda", ResourceIds=[target["ResourceId"]], ScalableDimension=NAMED["ScalableDimension"]
    )["ScalableTargets"]  # fmt: skip
    assert found == {
        **before["ScalableTargets"][0], "MinCapacity": 0, "MaxCapacity": 7, "ScalableTargetARN": arn,
        "RoleARN": (
            f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/lambda.application-autoscaling.amazonaws.com/"
            "AWSServiceRoleForApplicationAutoScaling_LambdaConcurrency"
        ),
        "SuspendedState": {
            "DynamicScalingInSuspended": True, "DynamicScalingOutSuspended": False, "ScheduledScalingSuspended": False,
        },
    }  # fmt: skip
    assert client.describe_scaling_activities(ServiceNamespace="lambda", ResourceId=target["ResourceId"])[
        "ScalingActivities"
    ] == []  # fmt: skip


def test_targets_that_cannot_be_are_refused(client: Any, target: dict[str, str], name: str) -> None:
    def register(resource_id: str, **members: Any) -> tuple[str, str]:
        members = {"MinCapacity": 0, "MaxCapacity": 1, **NAMED, **members}
        return refusal(client.register_scalable_target, ResourceId=resource_id, **members)

    unsupported = ("ValidationException", "Unsupported service namespace, resource type or scalable dimension")
    assert register(f"function:{name}:$LATEST") == unsupported
    assert register(f"function:{name}") == unsupported
    assert register(target["ResourceId"], ScalableDimension="ecs:service:DesiredCount") == unsupported
    missing = f"function:{name}:2"
    assert register(missing) == (
        "ValidationException", f"Lambda function version or alias doesn't exist: {missing}",
    )  # fmt: skip
    assert register(target["ResourceId"], MinCapacity=2) == (
        "ValidationException", "Maximum capacity cannot be less than minimum capacity.",
    )  # fmt: skip
    assert refusal(client.register_scalable_target, **NAMED, ResourceId=f"function:{name}:1", MinCapacity=1)[0] == (
        "ValidationException"
    )
    code, message = refusal(client.register_scalable_target, **{**target, "ServiceNamespace": "lamda"})
    assert code == "ValidationException"
    assert message.startswith("1 validation error detected: Value 'lamda' at 'serviceNamespace' failed to satisfy")


def test_what_a_target_has_goes_with_it(client: Any, target: dict[str, str]) -> None:
    track(client, target)
    client.put_scheduled_action(
        **target, ScheduledActionName="a", Schedule="rate(1 day)", ScalableTargetAction={"MinCapacity": 1}
    )
    client.deregister_scalable_target(**target)
    for call in (client.describe_scaling_policies, client.describe_scheduled_actions, client.describe_scalable_targets):
        lists = call(ServiceNamespace="lambda", **{
            "ResourceIds" if call == client.describe_scalable_targets else "ResourceId":
            [target["ResourceId"]] if call == client.describe_scalable_targets else target["ResourceId"]
        })  # fmt: skip
        assert [value for value in lists.values() if isinstance(value, list)] == [[]]
    missing = ("ObjectNotFoundException", f"No scalable target found for {where(target)}")
    assert refusal(client.deregister_scalable_target, **target) == missing
    with pytest.raises(ClientError, match=f"No scalable target registered for {where(target)}"):
        track(client, target)
    assert refusal(client.delete_scaling_policy, **target, PolicyName="p") == (
        "ObjectNotFoundException", f"No scaling policy found for {where(target)}, policy name: p",
    )  # fmt: skip
    assert refusal(client.delete_scheduled_action, **target, ScheduledActionName="a") == (
        "ObjectNotFoundException", f"No scheduled action found for {where(target)}, scheduled action name: a",
    )  # fmt: skip


def test_a_policy_is_kept_with_its_alarms(client: Any, target: dict[str, str]) -> None:
    made = track(client, target, ScaleInCooldown=120, ScaleOutCooldown=0)
    resource = f":resource/lambda/{target['ResourceId']}:policyName/p"
    assert made["PolicyARN"].startswith(f"arn:aws:autoscaling:{REGION}:{ACCOUNT}:scalingPolicy:")
    assert made["PolicyARN"].endswith(resource)
    for alarm, kind in zip(made["Alarms"], ("High", "Low"), strict=True):
        assert alarm["AlarmName"].startswith(f"TargetTracking-{target['ResourceId']}-Alarm{kind}-")
        assert alarm["AlarmARN"] == f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{alarm['AlarmName']}"
    (found,) = client.describe_scaling_policies(
        ServiceNamespace="lambda", ResourceId=target["ResourceId"], PolicyNames=["p"]
    )["ScalingPolicies"]  # fmt: skip
    del found["CreationTime"]
    assert found == {
        **target, "PolicyName": "p", "PolicyType": "TargetTrackingScaling", "PolicyARN": made["PolicyARN"],
        "Alarms": made["Alarms"], "TargetTrackingScalingPolicyConfiguration": {
            "TargetValue": 0.7, "PredefinedMetricSpecification": UTILISATION, "ScaleInCooldown": 120,
            "ScaleOutCooldown": 0,
        },
    }  # fmt: skip
    again = track(client, target, DisableScaleIn=True)
    assert again["PolicyARN"] == made["PolicyARN"]
    with pytest.raises(ClientError, match="Only one TargetTrackingScaling policy for a given metric specification"):
        track(client, target, "other", TargetValue=0.1)
    client.delete_scaling_policy(**target, PolicyName="p")


@pytest.mark.parametrize(
    "members",
    [
        {"TargetTrackingScalingPolicyConfiguration": {"TargetValue": 0.5}},
        {"TargetTrackingScalingPolicyConfiguration": {"TargetValue": 0.0, "PredefinedMetricSpecification": UTILISATION}},
        {
            "TargetTrackingScalingPolicyConfiguration": {
                "TargetValue": 0.5,
                "PredefinedMetricSpecification": {"PredefinedMetricType": "ECSServiceAverageCPUUtilization"},
            }
        },
        {
            "TargetTrackingScalingPolicyConfiguration": {
                "TargetValue": 0.5, "CustomizedMetricSpecification": {"MetricName": "m", "Namespace": "n"},
            }
        },
        {"PolicyType": "StepScaling", "StepScalingPolicyConfiguration": {"AdjustmentType": "ChangeInCapacity"}},
        {"PolicyType": "TargetTrackingScaling"},
        {},
    ],
)  # fmt: skip
def test_policies_that_cannot_be_are_refused(client: Any, target: dict[str, str], members: dict[str, Any]) -> None:
    assert refusal(client.put_scaling_policy, **target, PolicyName="bad", **members)[0] == "ValidationException"
    assert client.describe_scaling_policies(ServiceNamespace="lambda", PolicyNames=["bad"])["ScalingPolicies"] == []


def test_a_scheduled_action_is_kept_and_loses_only_its_dates_by_a_change(client: Any, target: dict[str, str]) -> None:
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(days=9)
    named = {**target, "ScheduledActionName": "a"}
    client.put_scheduled_action(
        **named, Schedule="cron(0 8 ? * MON-FRI *)", Timezone="Europe/Berlin", EndTime=end,
        StartTime=end - timedelta(days=1), ScalableTargetAction={"MinCapacity": 1, "MaxCapacity": 2},
    )  # fmt: skip

    def found() -> dict[str, Any]:
        (action,) = client.describe_scheduled_actions(ServiceNamespace="lambda", ScheduledActionNames=["a"])[
            "ScheduledActions"
        ]
        arn = action.pop("ScheduledActionARN")
        assert arn.endswith(f":resource/lambda/{target['ResourceId']}:scheduledActionName/a")
        del action["CreationTime"]
        return dict(action)

    kept = {
        **named, "Schedule": "cron(0 8 ? * MON-FRI *)", "Timezone": "Europe/Berlin",
        "ScalableTargetAction": {"MinCapacity": 1, "MaxCapacity": 2},
    }  # fmt: skip
    assert found() == {**kept, "StartTime": end - timedelta(days=1), "EndTime": end}
    client.put_scheduled_action(**named, ScalableTargetAction={"MaxCapacity": 3})
    assert found() == {**kept, "ScalableTargetAction": {"MaxCapacity": 3}}
    client.delete_scheduled_action(**named)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"Schedule": "cron(* * * * *)"}, "Invalid schedule expression: cron(* * * * *)"),
        ({"Schedule": "30 3 * * *"}, "Invalid schedule expression: 30 3 * * *"),
        ({"Timezone": "Mars/Olympus"}, "Invalid time zone: Mars/Olympus"),
        ({"ScalableTargetAction": {}}, "At least one of minimum capacity and maximum capacity should be provided"),
        (
            {"ScalableTargetAction": {"MinCapacity": 2, "MaxCapacity": 1}},
            "Maximum capacity cannot be less than minimum capacity.",
        ),
        ({"EndTime": datetime(2020, 1, 1, tzinfo=UTC)}, "The end time must be in the future."),
    ],
)
def test_scheduled_actions_that_cannot_be_are_refused(
    client: Any, target: dict[str, str], members: dict[str, Any], message: str
) -> None:
    members = {"Schedule": "rate(1 hour)", "ScalableTargetAction": {"MinCapacity": 1}, **members}
    assert refusal(client.put_scheduled_action, **target, ScheduledActionName="bad", **members) == (
        "ValidationException", message,
    )  # fmt: skip


def test_lists_come_in_pages(client: Any, target: dict[str, str]) -> None:
    for number in range(3):
        client.put_scheduled_action(
            **target,
            ScheduledActionName=f"page-{number}",
            Schedule="rate(1 day)",
            ScalableTargetAction={"MinCapacity": 0},
        )
    pages = list(
        client.get_paginator("describe_scheduled_actions").paginate(
            ServiceNamespace="lambda", ResourceId=target["ResourceId"], PaginationConfig={"PageSize": 2}
        )
    )
    names = [[action["ScheduledActionName"] for action in page["ScheduledActions"]] for page in pages]
    assert names == [["page-0", "page-1"], ["page-2"]]
    call = client.describe_scalable_targets
    assert refusal(call, ServiceNamespace="lambda", NextToken="?")[0] == "InvalidNextTokenException"
    assert refusal(call, ServiceNamespace="lambda", MaxResults=51)[1].endswith(
        "Value '51' at 'maxResults' failed to satisfy constraint: Member must have value less than or equal to 50"
    )
    assert refusal(call, ServiceNamespace="lambda", ScalableDimension=NAMED["ScalableDimension"])[0] == (
        "ValidationException"
    )


def test_targets_have_tags(client: Any, target: dict[str, str]) -> None:
    arn = client.register_scalable_target(**target, Tags={"a": "1"})["ScalableTargetARN"]
    client.tag_resource(ResourceARN=arn, Tags={"b": "2"})
    client.untag_resource(ResourceARN=arn, TagKeys=["a"])
    assert client.list_tags_for_resource(ResourceARN=arn)["Tags"] == {"b": "2"}
    code, _ = refusal(client.tag_resource, ResourceARN=arn, Tags={str(number): "" for number in range(50)})
    assert code == "TooManyTagsException"


def test_a_capacity_that_lambda_refuses_is_told_by_the_activity(client: Any, live: LiveServer) -> None:
    name = live.create(CODE)
    for description in ("first", "second"):
        live.client().update_function_configuration(FunctionName=name, Description=description)
        live.until_ready(name)
        live.client().publish_version(FunctionName=name)
    live.client().create_alias(
        FunctionName=name, Name="both", FunctionVersion="1", RoutingConfig={"AdditionalVersionWeights": {"2": 0.5}}
    )
    target = {**NAMED, "ResourceId": f"function:{name}:both"}
    client.register_scalable_target(**target, MinCapacity=1, MaxCapacity=5)
    (activity,) = client.describe_scaling_activities(ServiceNamespace="lambda", ResourceId=target["ResourceId"])[
        "ScalingActivities"
    ]
    assert (activity["StatusCode"], activity["StatusMessage"]) == (
        "Failed",
        "Failed to set desired concurrency to 1. Reason: "
        "Alias with weights can not be used with Provisioned Concurrency",
    )


def test_other_namespaces_are_answered_as_before(client: Any, live: LiveServer, target: dict[str, str]) -> None:
    live.client("dynamodb").create_table(
        TableName="scaled", KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
        ProvisionedThroughput={"ReadCapacityUnits": 1, "WriteCapacityUnits": 1},
    )  # fmt: skip
    dimension = "dynamodb:table:ReadCapacityUnits"
    other = {"ServiceNamespace": "dynamodb", "ResourceId": "table/scaled", "ScalableDimension": dimension}
    client.register_scalable_target(**other, MinCapacity=1, MaxCapacity=5)
    found = client.describe_scalable_targets(ServiceNamespace="dynamodb")["ScalableTargets"]
    assert [each["ResourceId"] for each in found] == ["table/scaled"]
    own = client.describe_scalable_targets(ServiceNamespace="lambda")["ScalableTargets"]
    assert target["ResourceId"] in [each["ResourceId"] for each in own]
    assert "table/scaled" not in [each["ResourceId"] for each in own]
    client.deregister_scalable_target(**other)

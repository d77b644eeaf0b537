"""Which permission each request needs: IAM's action, the resource, and whose that is."""

from __future__ import annotations

from typing import Any

import pytest

from lambent.front.authorize_place import Place
from lambent.front.authorize_targets import targets_of
from lambent.wire.models import Models

MODELS = Models()
HOME = "111111111111"
PLACE = Place(HOME, "us-east-1")
LAMBDA = f"arn:aws:lambda:us-east-1:{HOME}"
OTHER_FUNCTION = "arn:aws:lambda:us-east-1:222222222222:function:f"


def needed(service: str, operation: str, params: dict[str, Any]) -> list[tuple[str, str]]:
    return [(t.action, t.resource) for t in targets_of(MODELS.service(service).operation(operation), params, PLACE)]


@pytest.mark.parametrize(
    ("operation", "params", "resource"),
    [
        ("GetFunction", {"FunctionName": "f"}, f"{LAMBDA}:function:f"),
        ("GetFunction", {"FunctionName": "f", "Qualifier": "live"}, f"{LAMBDA}:function:f:live"),
        ("GetFunction", {"FunctionName": "f:live"}, f"{LAMBDA}:function:f:live"),
        ("GetFunction", {"FunctionName": OTHER_FUNCTION}, OTHER_FUNCTION),
        ("ListFunctions", {}, "*"),
        ("GetAccountSettings", {}, "*"),
        ("CreateEventSourceMapping", {"FunctionName": "f", "EventSourceArn": "arn:aws:sqs:us-east-1:1:q"}, "*"),
        ("DeleteEventSourceMapping", {"UUID": "u"}, f"{LAMBDA}:event-source-mapping:u"),
        ("UpdateEventSourceMapping", {"UUID": "u", "FunctionName": "f"}, f"{LAMBDA}:event-source-mapping:u"),
        ("PublishLayerVersion", {"LayerName": "l", "Content": {}}, f"{LAMBDA}:layer:l"),
        ("DeleteLayerVersion", {"LayerName": "l", "VersionNumber": 2}, f"{LAMBDA}:layer:l:2"),
        ("TagResource", {"Resource": f"{LAMBDA}:function:f", "Tags": {}}, f"{LAMBDA}:function:f"),
        ("GetCodeSigningConfig", {"CodeSigningConfigArn": f"{LAMBDA}:code-signing-config:csc-1"}, f"{LAMBDA}:code-signing-config:csc-1"),
    ],
)  # fmt: skip
def test_lambdas_operations_are_about_functions_layers_and_mappings(
    operation: str, params: dict[str, Any], resource: str
) -> None:
    assert needed("lambda", operation, params) == [(f"lambda:{operation}", resource)]


def test_metrics_are_put_by_namespace() -> None:
    """https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/iam-cw-condition-keys-namespace.html"""
    (put,) = targets_of(MODELS.service("cloudwatch").operation("PutMetricData"), {"Namespace": "App"}, PLACE)
    assert (put.action, put.resource, put.context) == ("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": "App"})
    assert needed("cloudwatch", "ListMetrics", {}) == [("cloudwatch:ListMetrics", "*")]


def test_every_operation_of_lambda_and_logs_needs_some_permission() -> None:
    samples: dict[str, Any] = {
        "FunctionName": "f",
        "LayerName": "l",
        "VersionNumber": 1,
        "UUID": "u",
        "CapacityProviderName": "c",
        "Qualifier": "live",
        "Code": {},
        "Content": {},
        "Arn": f"{LAMBDA}:layer:l:1",
    }
    for service in (MODELS.service("lambda"), MODELS.service("logs")):
        for name in service.operation_names:
            operation = service.operation(name)
            required = operation.input.required if operation.input is not None else ()
            params = {member: samples.get(member, f"{LAMBDA}:function:f") for member in required}
            found = targets_of(operation, params, PLACE)
            assert found, name
            assert found[0].action.startswith(f"{service.name}:"), name


def test_reading_a_layer_by_its_arn_is_reading_it() -> None:
    arn = "arn:aws:lambda:us-east-1:222222222222:layer:l:3"
    (target,) = targets_of(MODELS.service("lambda").operation("GetLayerVersionByArn"), {"Arn": arn}, PLACE)
    assert (target.action, target.resource) == ("lambda:GetLayerVersion", arn)
    assert (target.account_id, target.layer) == ("222222222222", ("l", 3))


def test_a_function_is_created_with_a_role_layers_and_code_that_the_caller_may_use() -> None:
    params = {
        "FunctionName": "f", "Role": f"arn:aws:iam::{HOME}:role/r", "Layers": ["arn:aws:lambda:us-east-1:222222222222:layer:l:3"],
        "Code": {"S3Bucket": "b", "S3Key": "k.zip"},
    }  # fmt: skip
    assert needed("lambda", "CreateFunction", params) == [
        ("lambda:CreateFunction", f"{LAMBDA}:function:f"),
        ("iam:PassRole", f"arn:aws:iam::{HOME}:role/r"),
        ("lambda:GetLayerVersion", "arn:aws:lambda:us-east-1:222222222222:layer:l:3"),
        ("s3:GetObject", "arn:aws:s3:::b/k.zip"),
    ]


@pytest.mark.parametrize(
    ("operation", "params", "expected"),
    [
        ("GetObject", {"Bucket": "b", "Key": "k"}, [("s3:GetObject", "arn:aws:s3:::b/k")]),
        ("GetObject", {"Bucket": "b", "Key": "k", "VersionId": "1"}, [("s3:GetObjectVersion", "arn:aws:s3:::b/k")]),
        ("HeadObject", {"Bucket": "b", "Key": "k"}, [("s3:GetObject", "arn:aws:s3:::b/k")]),
        ("HeadBucket", {"Bucket": "b"}, [("s3:ListBucket", "arn:aws:s3:::b")]),
        ("ListBuckets", {}, [("s3:ListAllMyBuckets", "*")]),
        ("UploadPart", {"Bucket": "b", "Key": "k"}, [("s3:PutObject", "arn:aws:s3:::b/k")]),
        (
            "CopyObject",
            {"Bucket": "b", "Key": "k", "CopySource": "c/d/e?versionId=1"},
            [("s3:PutObject", "arn:aws:s3:::b/k"), ("s3:GetObjectVersion", "arn:aws:s3:::c/d/e")],
        ),
        (
            "CopyObject",
            {"Bucket": "b", "Key": "k", "CopySource": "c%2Fd%20e"},
            [("s3:PutObject", "arn:aws:s3:::b/k"), ("s3:GetObject", "arn:aws:s3:::c/d e")],
        ),
        (
            "DeleteObjects",
            {"Bucket": "b", "Delete": {"Objects": [{"Key": "x"}, {"Key": "y", "VersionId": "1"}]}},
            [("s3:DeleteObject", "arn:aws:s3:::b/x"), ("s3:DeleteObjectVersion", "arn:aws:s3:::b/y")],
        ),
        ("DeleteObjects", {"Bucket": "b", "Delete": {"Objects": []}}, [("s3:DeleteObjects", "*")]),
    ],
)
def test_s3_has_actions_of_other_names(operation: str, params: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert needed("s3", operation, params) == expected


QUEUE = f"arn:aws:sqs:us-east-1:{HOME}:q"
TABLE = f"arn:aws:dynamodb:us-east-1:{HOME}:table"


@pytest.mark.parametrize(
    ("service", "operation", "params", "expected"),
    [
        ("sqs", "SendMessageBatch", {"QueueUrl": f"http://h/{HOME}/q"}, [("sqs:SendMessage", QUEUE)]),
        ("sqs", "ReceiveMessage", {"QueueUrl": "http://h/222222222222/q"}, [("sqs:ReceiveMessage", QUEUE.replace(HOME, "2" * 12))]),
        ("sqs", "CreateQueue", {"QueueName": "q"}, [("sqs:CreateQueue", QUEUE)]),
        ("sqs", "ListQueues", {}, [("sqs:ListQueues", "*")]),
        ("sns", "PublishBatch", {"TopicArn": "arn:aws:sns:us-east-1:111111111111:t"}, [("sns:Publish", "arn:aws:sns:us-east-1:111111111111:t")]),
        ("dynamodb", "Query", {"TableName": "t", "IndexName": "i"}, [("dynamodb:Query", f"{TABLE}/t/index/i")]),
        ("dynamodb", "BatchGetItem", {"RequestItems": {"t": {}, "u": {}}}, [("dynamodb:BatchGetItem", f"{TABLE}/t"), ("dynamodb:BatchGetItem", f"{TABLE}/u")]),
        ("dynamodb", "TransactWriteItems", {"TransactItems": [{"Put": {"TableName": "t"}}, {"Delete": {"TableName": "u"}}]}, [("dynamodb:PutItem", f"{TABLE}/t"), ("dynamodb:DeleteItem", f"{TABLE}/u")]),
        ("dynamodb", "ListTables", {}, [("dynamodb:ListTables", "*")]),
        ("iam", "CreateRole", {"RoleName": "r", "Path": "/app/"}, [("iam:CreateRole", f"arn:aws:iam::{HOME}:role/app/r")]),
        ("iam", "AddUserToGroup", {"UserName": "u", "GroupName": "g"}, [("iam:AddUserToGroup", f"arn:aws:iam::{HOME}:group/g")]),
        ("iam", "CreatePolicy", {"PolicyName": "p"}, [("iam:CreatePolicy", f"arn:aws:iam::{HOME}:policy/p")]),
        ("sts", "AssumeRole", {"RoleArn": "arn:aws:iam::222222222222:role/r"}, [("sts:AssumeRole", "arn:aws:iam::222222222222:role/r")]),
        ("sts", "GetCallerIdentity", {}, []),
        ("kms", "Encrypt", {"KeyId": "1-2"}, [("kms:Encrypt", f"arn:aws:kms:us-east-1:{HOME}:key/1-2")]),
        ("kms", "Encrypt", {"KeyId": "alias/a"}, [("kms:Encrypt", f"arn:aws:kms:us-east-1:{HOME}:alias/a")]),
        ("secretsmanager", "GetSecretValue", {"SecretId": "s"}, [("secretsmanager:GetSecretValue", f"arn:aws:secretsmanager:us-east-1:{HOME}:secret:s")]),
        ("ssm", "GetParameter", {"Name": "/a/b"}, [("ssm:GetParameter", f"arn:aws:ssm:us-east-1:{HOME}:parameter/a/b")]),
        ("ssm", "GetParameters", {"Names": ["a", "b"]}, [("ssm:GetParameters", f"arn:aws:ssm:us-east-1:{HOME}:parameter/{n}") for n in "ab"]),
        ("events", "PutRule", {"Name": "r"}, [("events:PutRule", f"arn:aws:events:us-east-1:{HOME}:rule/r")]),
        ("events", "PutTargets", {"Rule": "r", "EventBusName": "b"}, [("events:PutTargets", f"arn:aws:events:us-east-1:{HOME}:rule/b/r")]),
        ("events", "PutEvents", {"Entries": [{"EventBusName": "b"}, {}]}, [("events:PutEvents", f"arn:aws:events:us-east-1:{HOME}:event-bus/{b}") for b in ("b", "default")]),
        ("kinesis", "PutRecord", {"StreamName": "s"}, [("kinesis:PutRecord", f"arn:aws:kinesis:us-east-1:{HOME}:stream/s")]),
        ("cloudwatch", "PutMetricData", {}, [("cloudwatch:PutMetricData", "*")]),
        ("stepfunctions", "StartExecution", {"stateMachineArn": "arn:aws:states:us-east-1:1:stateMachine:m", "name": "n"}, [("states:StartExecution", "arn:aws:states:us-east-1:1:stateMachine:m")]),
        ("apigateway", "GetRestApi", {"restApiId": "a"}, [("apigateway:GET", "arn:aws:apigateway:us-east-1::/restapis/a")]),
        ("logs", "CreateLogGroup", {"logGroupName": "/g"}, [("logs:CreateLogGroup", f"arn:aws:logs:us-east-1:{HOME}:log-group:/g:log-stream:")]),
        ("logs", "DescribeLogGroups", {}, [("logs:DescribeLogGroups", f"arn:aws:logs:us-east-1:{HOME}:log-group::log-stream:")]),
    ],
)  # fmt: skip
def test_other_services_are_about_what_their_requests_name(
    service: str, operation: str, params: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    assert needed(service, operation, params) == expected


def test_naming_a_resource_twice_needs_permission_for_both() -> None:
    """Otherwise one that is allowed would hide the one that is used."""
    params = {"StreamName": "secret", "StreamARN": f"arn:aws:kinesis:us-east-1:{HOME}:stream/open"}
    assert {resource.rpartition("/")[2] for _, resource in needed("kinesis", "GetRecords", params)} == {
        "open",
        "secret",
    }

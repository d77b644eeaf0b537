"""Where policies decide, S3 and CloudWatch Logs call only what lets them, when they are configured and ever after."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import attrs
import boto3
import pytest
from botocore.exceptions import ClientError

from live_server import REGION, RUNNING_PYTHON, LiveServer, environ, package, running, until

ACCOUNT = "000000000000"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/worker"
FUNCTION = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"
QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:told"
BUCKET = "guarded"
CREATED = ["s3:ObjectCreated:*"]
CODE = "def handler(event, context):\n    pass\n"


@attrs.define
class World:
    server: LiveServer
    keys: dict[str, str]

    def client(self, service: str) -> Any:
        return boto3.client(service, REGION, endpoint_url=self.server.url, **self.keys)

    def configure(self, kind: str, arn_name: str, arn: str) -> None:
        self.client("s3").put_bucket_notification_configuration(
            Bucket=BUCKET, NotificationConfiguration={kind: [{arn_name: arn, "Events": CREATED}]}
        )

    def allow_function(self, statement: str, principal: str, source: str) -> None:
        self.client("lambda").add_permission(
            FunctionName="f", StatementId=statement, Action="lambda:InvokeFunction", Principal=principal,
            SourceArn=source, SourceAccount=ACCOUNT,
        )  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    data = tmp_path_factory.mktemp("guarded") / "data"
    with running(data, "--auth", "enforce") as server:
        done = subprocess.run(
            [sys.executable, "-m", "lambent", "credentials", "--json", "--data", str(data), "--account", ACCOUNT],
            env=environ(), capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        printed = json.loads(done.stdout)
        names = {"aws_access_key_id": "AWS_ACCESS_KEY_ID", "aws_secret_access_key": "AWS_SECRET_ACCESS_KEY"}
        world = World(server, {name: printed[variable] for name, variable in names.items()})
        statement = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        trust = {"Version": "2012-10-17", "Statement": [statement]}
        world.client("iam").create_role(RoleName="worker", AssumeRolePolicyDocument=json.dumps(trust))
        client = world.client("lambda")
        client.create_function(
            FunctionName="f", Runtime=RUNNING_PYTHON, Role=ROLE, Handler="app.handler",
            Code={"ZipFile": package({"app.py": CODE})},
        )  # fmt: skip
        client.get_waiter("function_active_v2").wait(FunctionName="f", WaiterConfig={"Delay": 1})
        world.client("s3").create_bucket(Bucket=BUCKET)
        yield world


def test_s3_needs_the_functions_permission_when_it_is_configured(world: World) -> None:
    with pytest.raises(ClientError, match="Unable to validate the following destination configurations") as caught:
        world.configure("LambdaFunctionConfigurations", "LambdaFunctionArn", FUNCTION)
    assert caught.value.response["Error"]["ArgumentValue1"] == f"Not authorized to invoke function [{FUNCTION}]"
    world.allow_function("s3", "s3.amazonaws.com", f"arn:aws:s3:::{BUCKET}")
    world.configure("LambdaFunctionConfigurations", "LambdaFunctionArn", FUNCTION)


def test_s3_needs_the_queues_policy_ever_after(world: World) -> None:
    sqs, s3 = world.client("sqs"), world.client("s3")
    url = sqs.create_queue(QueueName="told")["QueueUrl"]
    with pytest.raises(ClientError, match="Unable to validate") as caught:
        world.configure("QueueConfigurations", "QueueArn", QUEUE)
    assert caught.value.response["Error"]["ArgumentValue1"] == (
        "Permissions on the destination queue do not allow S3 to publish notifications from this bucket"
    )
    statement = {
        "Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": QUEUE,
        "Condition": {"ArnEquals": {"aws:SourceArn": f"arn:aws:s3:::{BUCKET}"}},
    }  # fmt: skip
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    world.configure("QueueConfigurations", "QueueArn", QUEUE)
    s3.put_object(Bucket=BUCKET, Key="one", Body=b"")
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": ""})
    s3.put_object(Bucket=BUCKET, Key="two", Body=b"")
    bodies: list[str] = []

    def one_came() -> bool:
        found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        bodies.extend(message["Body"] for message in found)
        return any('"one"' in body for body in bodies)

    until(one_came, 20)
    assert not any('"two"' in body for body in bodies)
    assert sqs.receive_message(QueueUrl=url).get("Messages", []) == []


def test_logs_need_the_functions_permission(world: World) -> None:
    logs, group = world.client("logs"), "/watched"
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName="s")

    def subscribe() -> None:
        logs.put_subscription_filter(logGroupName=group, filterName="f", filterPattern="", destinationArn=FUNCTION)

    with pytest.raises(ClientError, match="Make sure you have given CloudWatch Logs permission"):
        subscribe()
    source = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}:*"
    world.allow_function("logs", f"logs.{REGION}.amazonaws.com", source)
    subscribe()
    queue = world.client("sqs").create_queue(QueueName="done")["QueueUrl"]
    rights = {"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}
    world.client("iam").put_role_policy(
        RoleName="worker", PolicyName="p",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [rights]}),
    )  # fmt: skip
    world.client("lambda").put_function_event_invoke_config(
        FunctionName="f", DestinationConfig={"OnSuccess": {"Destination": QUEUE.replace("told", "done")}}
    )
    event = {"timestamp": int(time.time() * 1000), "message": "line"}
    logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=[event])

    def came() -> bool:
        found = world.client("sqs").receive_message(QueueUrl=queue).get("Messages", [])
        return any("awslogs" in message["Body"] for message in found)

    until(came, 30)

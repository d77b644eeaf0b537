"""What neighbours call comes to functions and queues of this server, and functions reach neighbours."""

from __future__ import annotations

import json
import uuid

from live_server import ROLE, LiveServer, until

ECHO = "def handler(event, context):\n    print('GOT', event)\n    return {'ok': event}\n"
WRITER = """
import boto3

def handler(event, context):
    return boto3.client("ssm").put_parameter(Name=event, Value="x", Type="String")["Version"]
"""


def test_a_function_reaches_neighbours_with_its_sdk(live: LiveServer) -> None:
    name = live.create(WRITER, Timeout=30)
    parameter = f"from-{name}"
    assert live.invoke(name, parameter).value == 1
    assert live.client("ssm").get_parameter(Name=parameter)["Parameter"]["Value"] == "x"


def test_a_state_machine_calls_a_function_and_gets_its_answer(live: LiveServer) -> None:
    name = live.create(ECHO)
    arn = live.client().get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    definition = {"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": arn, "End": True}}}
    sfn = live.client("stepfunctions")
    machine = sfn.create_state_machine(name=name, roleArn=ROLE, definition=json.dumps(definition))["stateMachineArn"]
    execution = sfn.start_execution(stateMachineArn=machine, input='{"a": 1}')["executionArn"]
    until(lambda: sfn.describe_execution(executionArn=execution)["status"] != "RUNNING", 30)
    found = sfn.describe_execution(executionArn=execution)
    assert (found["status"], json.loads(found["output"])) == ("SUCCEEDED", {"ok": {"a": 1}})


def _below(prefix: str) -> dict[str, object]:
    return {"Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": prefix}]}}}


def test_an_object_that_is_put_calls_a_function_and_tells_a_queue(live: LiveServer) -> None:
    name, bucket = live.create(ECHO), f"b-{uuid.uuid4().hex}"
    function = live.client().get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    sqs, s3 = live.client("sqs"), live.client("s3")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    s3.create_bucket(Bucket=bucket)
    created = ["s3:ObjectCreated:*"]
    s3.put_bucket_notification_configuration(
        Bucket=bucket,
        NotificationConfiguration={
            "LambdaFunctionConfigurations": [{"LambdaFunctionArn": function, "Events": created, **_below("in/")}],
            "QueueConfigurations": [{"QueueArn": queue, "Events": created, **_below("out/")}],
        },
    )
    s3.put_object(Bucket=bucket, Key="in/k", Body=b"1")
    s3.put_object(Bucket=bucket, Key="out/k", Body=b"1")
    seen: list[str] = []

    def told() -> bool:
        messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", [])
        seen.extend(message["Body"] for message in messages)
        return any("ObjectCreated:Put" in body for body in seen)

    until(told, 20)
    until(lambda: "ObjectCreated:Put" in live.log_of(name), 20)

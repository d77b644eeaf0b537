"""Functions whose messages come back to them are stopped after 16 times, as at AWS."""

from __future__ import annotations

import json
import urllib.request
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import attrs
import pytest

from live_server import LiveServer, package, running, until

TIMES = 16
TIMEOUT_S = 30
SOON_S = 60.0
PASSING_ON = """
import boto3, json, os

def handler(event, context):
    sent = 0
    for record in event["Records"]:
        number = json.loads(record["body"])["n"] + 1
        if number < int(os.environ["END"]):
            message = json.dumps({"n": number})
            if "TOPIC" in os.environ:
                boto3.client("sns").publish(TopicArn=os.environ["TOPIC"], Message=message)
            else:
                boto3.client("sqs").send_message(QueueUrl=os.environ["QUEUE"], MessageBody=message)
"""
CALLING_ITSELF = """
import boto3, json, botocore.exceptions

def handler(event, context):
    if event["n"] > 30:
        return {"end": event["n"]}
    try:
        answer = boto3.client("lambda").invoke(
            FunctionName=context.function_name, Payload=json.dumps({"n": event["n"] + 1})
        )
        return json.loads(answer["Payload"].read())
    except botocore.exceptions.ClientError as error:
        return {"n": event["n"], "code": error.response["Error"]["Code"]}
"""


@attrs.frozen
class Loop:
    """A function that reads a queue and passes on what it reads."""

    live: LiveServer
    function: str
    url: str
    dead_url: str
    mapping: str

    @classmethod
    def of(cls, live: LiveServer, *, fifo: bool = False, end: int = 40) -> Loop:
        sqs, name = live.client("sqs"), f"loop-{uuid.uuid4().hex[:8]}"
        suffix, more = (".fifo", {"FifoQueue": "true", "ContentBasedDeduplication": "true"}) if fifo else ("", {})
        dead_url = sqs.create_queue(QueueName=f"{name}-dead{suffix}", Attributes=more)["QueueUrl"]
        redrive = json.dumps({"deadLetterTargetArn": arn_of(live, dead_url), "maxReceiveCount": 1})
        attributes = {"VisibilityTimeout": str(TIMEOUT_S), "RedrivePolicy": redrive, **more}
        url = sqs.create_queue(QueueName=f"{name}{suffix}", Attributes=attributes)["QueueUrl"]
        function = live.create(
            PASSING_ON, Timeout=TIMEOUT_S, MemorySize=1024, Environment={"Variables": {"QUEUE": url, "END": str(end)}}
        )
        mapping = live.client().create_event_source_mapping(FunctionName=function, EventSourceArn=arn_of(live, url))
        return cls(live, function, url, dead_url, mapping["UUID"])

    def begin(self, **more: Any) -> None:
        self.live.client("sqs").send_message(QueueUrl=self.url, MessageBody='{"n": 0}', **more)

    def dead_letter(self) -> dict[str, Any]:
        """What came to the dead-letter queue first, once the loop was stopped."""
        until(lambda: figure(self.live, self.function, "RecursiveInvocationsDropped"), SOON_S)

        def found() -> dict[str, Any] | None:
            turn(self.live, TIMEOUT_S + 1)
            received = self.live.client("sqs").receive_message(QueueUrl=self.dead_url, AttributeNames=["All"])
            messages: list[dict[str, Any]] = received.get("Messages") or []
            return messages[0] if messages else None

        return until(found, SOON_S)

    def end(self) -> None:
        self.live.client().delete_event_source_mapping(UUID=self.mapping)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server whose clock can be turned: messages that go back are waited for otherwise."""
    with running(tmp_path_factory.mktemp("loops") / "data", "--virtual-clock") as server:
        yield server


def turn(live: LiveServer, seconds: float) -> None:
    body = json.dumps({"advance_s": seconds}).encode()
    urllib.request.urlopen(urllib.request.Request(f"{live.url}/_lambent/clock", body), timeout=30).close()


def arn_of(live: LiveServer, url: str) -> str:
    found = live.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    arn: str = found["Attributes"]["QueueArn"]
    return arn


def figure(live: LiveServer, function: str, metric: str) -> float:
    now, hour = datetime.now(UTC), timedelta(hours=1)
    points = live.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/Lambda", MetricName=metric, Dimensions=[{"Name": "FunctionName", "Value": function}],
        StartTime=now - hour, EndTime=now + hour, Period=7200, Statistics=["Sum"],
    )["Datapoints"]  # fmt: skip
    return float(sum(point["Sum"] for point in points))


@pytest.mark.parametrize("fifo", [False, pytest.param(True, marks=pytest.mark.long)])
def test_a_function_that_sends_to_its_own_queue_is_stopped(live: LiveServer, fifo: bool) -> None:
    loop = Loop.of(live, fifo=fifo)
    told_url = live.client("sqs").create_queue(QueueName=f"{loop.function}-told")["QueueUrl"]
    live.client().put_function_event_invoke_config(
        FunctionName=loop.function, DestinationConfig={"OnFailure": {"Destination": arn_of(live, told_url)}}
    )
    if fifo:
        code = PASSING_ON.replace("MessageBody=message)", "MessageBody=message, MessageGroupId='g')")
        live.client().update_function_code(FunctionName=loop.function, ZipFile=package({"app.py": code}))
        live.until_ready(loop.function)
    loop.begin(**({"MessageGroupId": "g"} if fifo else {}))
    letter = loop.dead_letter()
    assert json.loads(letter["Body"]) == {"n": TIMES}
    assert f"Lineage={TIMES}:" in letter["Attributes"]["AWSTraceHeader"]
    # The last of them sends its message before it ends and is counted.
    until(lambda: figure(live, loop.function, "Invocations") == TIMES, SOON_S)
    assert figure(live, loop.function, "RecursiveInvocationsDropped") == 1
    (told,) = live.client("sqs").receive_message(QueueUrl=told_url, WaitTimeSeconds=20)["Messages"]
    record = json.loads(told["Body"])
    assert record["requestContext"]["condition"] == "RecursiveInvocation"
    assert [json.loads(each["body"]) for each in record["requestPayload"]["Records"]] == [{"n": TIMES}]
    loop.end()


def test_a_loop_by_way_of_a_topic_is_stopped_too(live: LiveServer) -> None:
    loop = Loop.of(live)
    sns = live.client("sns")
    topic = sns.create_topic(Name=loop.function)["TopicArn"]
    sns.subscribe(
        TopicArn=topic, Protocol="sqs", Endpoint=arn_of(live, loop.url), Attributes={"RawMessageDelivery": "true"}
    )
    variables = {"TOPIC": topic, "END": "40"}
    live.client().update_function_configuration(FunctionName=loop.function, Environment={"Variables": variables})
    live.until_ready(loop.function)
    loop.begin()
    assert json.loads(loop.dead_letter()["Body"]) == {"n": TIMES}
    assert figure(live, loop.function, "RecursiveInvocationsDropped") == 1
    loop.end()


def test_a_function_may_be_allowed_to_go_on(live: LiveServer) -> None:
    loop = Loop.of(live, end=20)
    live.client().put_function_recursion_config(FunctionName=loop.function, RecursiveLoop="Allow")
    loop.begin()
    until(lambda: figure(live, loop.function, "Invocations") == 20, SOON_S)
    assert figure(live, loop.function, "RecursiveInvocationsDropped") == 0
    loop.end()


def test_a_chain_of_calls_that_are_waited_for_is_stopped(live: LiveServer) -> None:
    function = live.create("import os\ndef handler(event, context):\n    return os.environ['_X_AMZN_TRACE_ID']\n")
    client = live.client()
    trace = ""

    def pass_on(params: dict[str, Any], **_: Any) -> None:
        if trace:  # as the SDK does inside functions
            params["headers"]["X-Amzn-Trace-Id"] = quote(trace, safe="-=;:+&[]{}\"',")

    client.meta.events.register("before-call.lambda.Invoke", pass_on)
    try:
        for _ in range(TIMES + 1):  # the first one comes without a trace
            trace = live.invoke(function).value
        with pytest.raises(client.exceptions.RecursiveInvocationException):
            live.invoke(function)
    finally:
        client.meta.events.unregister("before-call.lambda.Invoke", pass_on)
    assert figure(live, function, "RecursiveInvocationsDropped") == 1


@pytest.mark.long
def test_a_function_that_calls_itself_and_waits_is_told(live: LiveServer) -> None:
    function = live.create(CALLING_ITSELF, Timeout=60, MemorySize=128)
    end = live.invoke(function, {"n": 1}).value
    assert end["code"] == "RecursiveInvocationException"
    assert end["n"] in (TIMES, TIMES + 1)  # the first one came without a trace
    assert figure(live, function, "RecursiveInvocationsDropped") == 1

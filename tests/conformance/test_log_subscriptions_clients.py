"""Subscription filters through boto3: lines of one function come to another, and to a stream."""

from __future__ import annotations

import gzip
import json
import time
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

from live_server import LiveServer, until

TAKER = """
import base64, gzip, json

def handler(event, context):
    message = json.loads(gzip.decompress(base64.b64decode(event["awslogs"]["data"])))
    print("TOOK", json.dumps(message))
"""
TALKER = """
def handler(event, context):
    print("ERROR", event)
    print("INFO", event)
"""
ROLE = "arn:aws:iam::000000000000:role/any"


def _arn(live: LiveServer, name: str) -> str:
    arn: str = live.client().get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    return arn


def test_what_a_function_prints_comes_to_the_one_that_is_subscribed(live: LiveServer) -> None:
    taker, talker = live.create(TAKER), live.create(TALKER)
    logs, group = live.client("logs"), f"/aws/lambda/{talker}"
    logs.create_log_group(logGroupName=group)
    logs.create_log_group(logGroupName=f"/aws/lambda/{taker}")
    logs.put_subscription_filter(
        logGroupName=group, filterName="errors", filterPattern="ERROR", destinationArn=_arn(live, taker)
    )
    live.invoke(talker, "hello")
    until(lambda: "TOOK" in live.log_of(taker), 30)
    (line,) = [line for line in live.log_of(taker).splitlines() if line.startswith("TOOK")]
    message = json.loads(line.removeprefix("TOOK"))
    assert (message["messageType"], message["owner"], message["logGroup"]) == ("DATA_MESSAGE", "000000000000", group)
    assert message["subscriptionFilters"] == ["errors"]
    assert [event["message"].strip() for event in message["logEvents"]] == ["ERROR hello"]
    assert message["logStream"] == logs.describe_log_streams(logGroupName=group)["logStreams"][0]["logStreamName"]


def test_a_function_cannot_be_subscribed_to_itself(live: LiveServer) -> None:
    taker = live.create(TAKER)
    logs = live.client("logs")
    logs.create_log_group(logGroupName=f"/aws/lambda/{taker}")
    with pytest.raises(ClientError, match="reserved for the function logs of the destination function"):
        logs.put_subscription_filter(
            logGroupName=f"/aws/lambda/{taker}", filterName="f", filterPattern="", destinationArn=_arn(live, taker)
        )


def test_a_stream_gets_a_control_message_and_then_the_lines(live: LiveServer) -> None:
    name = f"g-{uuid.uuid4().hex[:12]}"
    logs, kinesis = live.client("logs"), live.client("kinesis")
    logs.create_log_group(logGroupName=name)
    logs.create_log_stream(logGroupName=name, logStreamName="s")
    kinesis.create_stream(StreamName=name, ShardCount=1)
    kinesis.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1})
    arn = kinesis.describe_stream(StreamName=name)["StreamDescription"]["StreamARN"]
    logs.put_subscription_filter(
        logGroupName=name, filterName="all", filterPattern="", destinationArn=arn, roleArn=ROLE
    )
    event = {"timestamp": int(time.time() * 1000), "message": "line"}
    logs.put_log_events(logGroupName=name, logStreamName="s", logEvents=[event])
    shard = kinesis.describe_stream(StreamName=name)["StreamDescription"]["Shards"][0]["ShardId"]

    def read() -> list[dict[str, Any]]:
        iterator = kinesis.get_shard_iterator(StreamName=name, ShardId=shard, ShardIteratorType="TRIM_HORIZON")
        records = kinesis.get_records(ShardIterator=iterator["ShardIterator"])["Records"]
        return [json.loads(gzip.decompress(record["Data"])) for record in records]

    until(lambda: len(read()) == 2, 20)
    assert [message["messageType"] for message in read()] == ["CONTROL_MESSAGE", "DATA_MESSAGE"]
    (described,) = logs.describe_subscription_filters(logGroupName=name)["subscriptionFilters"]
    assert (described["roleArn"], described["distribution"]) == (ROLE, "ByLogStream")


def test_metric_filters_can_be_tried_kept_and_listed(live: LiveServer) -> None:
    logs, name = live.client("logs"), f"g-{uuid.uuid4().hex[:12]}"
    answer = logs.test_metric_filter(
        filterPattern="{ $.status = 5* }", logEventMessages=['{"status": 200}', '{"status": "503"}']
    )
    assert answer["matches"] == [
        {"eventNumber": 2, "eventMessage": '{"status": "503"}', "extractedValues": {"$.status": "503"}}
    ]
    logs.create_log_group(logGroupName=name)
    metric = {"metricName": "m", "metricNamespace": "n", "metricValue": "1"}
    logs.put_metric_filter(logGroupName=name, filterName="f", filterPattern="x", metricTransformations=[metric])
    (described,) = logs.describe_metric_filters(logGroupName=name)["metricFilters"]
    assert described["metricTransformations"] == [metric]

"""EventBridge on a real server: from PutEvents and schedules to functions and queues."""

from __future__ import annotations

import contextlib
import json
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from botocore.exceptions import ClientError

from live_server import LiveServer, running, start, until

REGION, ACCOUNT = "us-east-1", "000000000000"
SOON_S = 30.0
FUNCTION = """
import json
import urllib.request
def handler(event, context):
    print("GOT " + json.dumps(event))
"""


@attrs.define
class Bridge:
    server: LiveServer

    @property
    def events(self) -> Any:
        return self.server.client("events")

    @property
    def sqs(self) -> Any:
        return self.server.client("sqs")

    def queue(self, name: str) -> tuple[str, str]:
        """Address and ARN."""
        url = self.sqs.create_queue(QueueName=name)["QueueUrl"]
        return url, f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"

    def rule(self, name: str, target: str, **members: Any) -> None:
        pattern = {"source": ["shop"]}
        self.events.put_rule(Name=name, EventPattern=json.dumps(pattern))
        self.events.put_targets(Rule=name, Targets=[{"Id": "1", "Arn": target, **members}])

    def put(self, *numbers: int, source: str = "shop") -> list[str]:
        entries = [{"Source": source, "DetailType": "order", "Detail": json.dumps({"number": n})} for n in numbers]
        answer = self.events.put_events(Entries=entries)
        assert answer["FailedEntryCount"] == 0
        return [entry["EventId"] for entry in answer["Entries"]]

    def received(self, url: str) -> list[Any]:
        found = []
        for message in self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            found.append(json.loads(message["Body"]))
        return found

    def printed(self, function: str) -> list[str]:
        """What the function said that it got."""
        with contextlib.suppress(ClientError):  # until it has run there is no log group
            return [line for line in self.server.log_of(function).splitlines() if line.startswith("GOT")]
        return []


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    with running(tmp_path_factory.mktemp("events") / "data", "--isolation", "process", "--virtual-clock") as server:
        yield Bridge(server)


def test_an_event_reaches_a_function_and_a_queue(bridge: Bridge) -> None:
    function = bridge.server.create(FUNCTION)
    url, queue = bridge.queue("orders")
    bridge.rule("to-queue", queue)
    bridge.rule("to-function", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{function}", InputPath="$.detail")
    (event_id,) = bridge.put(7)
    bridge.put(8, source="elsewhere")
    (event,) = until(lambda: bridge.received(url), SOON_S)
    assert event["id"] == event_id
    assert event["account"] == ACCOUNT
    assert event["detail"] == {"number": 7}
    assert until(lambda: bridge.printed(function), SOON_S) == ['GOT {"number": 7}']


def turn(server: LiveServer, seconds: float) -> None:
    """Turns the server's clock ahead."""
    request = urllib.request.Request(
        f"{server.url}/_lambent/clock", data=json.dumps({"advance_s": seconds}).encode(), method="POST"
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


def test_streams_topics_logs_and_another_bus_get_events(bridge: Bridge) -> None:
    server = bridge.server
    sns, kinesis, logs = (server.client(name) for name in ("sns", "kinesis", "logs"))
    url, queue = bridge.queue("news")
    topic = sns.create_topic(Name="news")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue, Attributes={"RawMessageDelivery": "true"})
    kinesis.create_stream(StreamName="orders", ShardCount=1)
    kinesis.get_waiter("stream_exists").wait(StreamName="orders", WaiterConfig={"Delay": 1})
    stream = f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/orders"
    logs.create_log_group(logGroupName="/events/orders")
    group = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/events/orders"
    role = f"arn:aws:iam::{ACCOUNT}:role/r"
    bus = bridge.events.create_event_bus(Name="wide")["EventBusArn"]
    bridge.events.put_rule(Name="all", EventBusName="wide", EventPattern='{"source": ["wide"]}')
    targets = [
        {"Id": "topic", "Arn": topic, "InputPath": "$.detail"},
        {"Id": "logs", "Arn": group, "InputPath": "$.detail"},
        {"Id": "stream", "Arn": stream, "RoleArn": role, "InputPath": "$.detail",
         "KinesisParameters": {"PartitionKeyPath": "$.detail.number"}},
    ]  # fmt: skip
    bridge.events.put_targets(Rule="all", EventBusName="wide", Targets=targets)
    bridge.events.put_rule(Name="onward", EventPattern='{"source": ["wide"]}')
    bridge.events.put_targets(Rule="onward", Targets=[{"Id": "bus", "Arn": bus}])
    bridge.put(5, source="wide")
    assert until(lambda: bridge.received(url), SOON_S) == [{"number": 5}]

    def logged() -> list[str]:
        return [event["message"] for event in logs.filter_log_events(logGroupName="/events/orders")["events"]]

    assert until(logged, SOON_S) == ['{"number":5}']
    shard = kinesis.list_shards(StreamName="orders")["Shards"][0]["ShardId"]
    iterator = kinesis.get_shard_iterator(StreamName="orders", ShardId=shard, ShardIteratorType="TRIM_HORIZON")
    (record,) = until(lambda: kinesis.get_records(ShardIterator=iterator["ShardIterator"])["Records"], SOON_S)
    assert (record["PartitionKey"], record["Data"]) == ("5", b'{"number":5}')


def test_a_schedule_calls_a_function_when_the_clock_is_turned(bridge: Bridge) -> None:
    function = bridge.server.create(FUNCTION)
    scheduler = bridge.server.client("scheduler")
    target = {
        "Arn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{function}",
        "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/r",
        "Input": '{"tick": "<aws.scheduler.attempt-number>"}',
    }
    in_an_hour = datetime.now(UTC) + timedelta(hours=1)
    scheduler.create_schedule(
        Name="later", ScheduleExpression=f"at({in_an_hour:%Y-%m-%dT%H:%M:%S})", FlexibleTimeWindow={"Mode": "OFF"}, Target=target,
        ActionAfterCompletion="DELETE",
    )  # fmt: skip
    assert bridge.printed(function) == []
    turn(bridge.server, 3600)
    assert until(lambda: bridge.printed(function), SOON_S) == ['GOT {"tick": "1"}']
    until(lambda: not scheduler.list_schedules()["Schedules"], SOON_S)


def test_a_schedule_that_was_missed_in_a_kill_fires_once_and_says_so(tmp_path: Path) -> None:
    data = tmp_path / "data"
    server = start(data, "--isolation", "process", "--virtual-clock")
    bridge = Bridge(server)
    _, queue = bridge.queue("ticks")
    bridge.events.put_rule(Name="tick", ScheduleExpression="rate(1 minute)")
    bridge.events.put_targets(Rule="tick", Targets=[{"Id": "1", "Arn": queue}])
    server.kill()
    with running(data, "--isolation", "process", "--virtual-clock") as server:
        bridge = Bridge(server)
        turn(server, 600)
        url = bridge.sqs.get_queue_url(QueueName="ticks")["QueueUrl"]
        (event,) = until(lambda: bridge.received(url), SOON_S)
        assert event["detail-type"] == "Scheduled Event"
        until(lambda: "rule/tick was to fire" in server.output.read_text(), SOON_S)
        assert bridge.received(url) == []

"""kill -9 between what was acknowledged and what it causes: log lines reach their subscribers, objects' events their queues."""

from __future__ import annotations

import itertools
import json
import threading
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError

from live_server import LiveServer, start, until

SOON_S = 60.0
KILLS = 2
BEFORE_KILL = 12  # changes that were acknowledged in each life
TAKER = """
import base64, gzip, json

def handler(event, context):
    message = json.loads(gzip.decompress(base64.b64decode(event["awslogs"]["data"])))
    for line in message["logEvents"]:
        print("TOOK", line["message"])
"""


class Worker(threading.Thread):
    """Writes lines and objects, and notes what was acknowledged, until the server is gone."""

    def __init__(self, server: LiveServer, numbers: Any) -> None:
        super().__init__(daemon=True)
        self.acknowledged: list[str] = []
        self._logs, self._s3 = server.client("logs"), server.client("s3")
        self._numbers = numbers

    def run(self) -> None:
        try:
            for number in self._numbers:
                name = f"n{number:04d}"
                event = {"timestamp": 1_000 * int(_now_s()), "message": name}
                self._logs.put_log_events(logGroupName="/app", logStreamName="s", logEvents=[event])
                self._s3.put_object(Bucket="crashing", Key=name, Body=b"x")
                self.acknowledged.append(name)
        except BotoCoreError:
            return  # the server is gone


def _now_s() -> float:
    import time

    return time.time()


def _prepare(server: LiveServer) -> str:
    name = server.create(TAKER, FunctionName="taker")
    logs, s3 = server.client("logs"), server.client("s3")
    logs.create_log_group(logGroupName="/app")
    logs.create_log_stream(logGroupName="/app", logStreamName="s")
    arn = server.client().get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    logs.put_subscription_filter(logGroupName="/app", filterName="all", filterPattern="", destinationArn=arn)
    url: str = server.client("sqs").create_queue(QueueName="events")["QueueUrl"]
    s3.create_bucket(Bucket="crashing")
    queue = {"QueueArn": "arn:aws:sqs:us-east-1:000000000000:events", "Events": ["s3:ObjectCreated:*"]}
    s3.put_bucket_notification_configuration(
        Bucket="crashing", NotificationConfiguration={"QueueConfigurations": [queue]}
    )
    return url


def _keys(server: LiveServer, url: str) -> set[str]:
    """What is in the queue now; it is taken out."""
    sqs, found = server.client("sqs"), set()
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            found |= {record["s3"]["object"]["key"] for record in json.loads(message["Body"]).get("Records", [])}
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found


def test_what_was_acknowledged_is_told_over_any_number_of_crashes(tmp_path: Path) -> None:
    numbers = itertools.count()
    acknowledged: list[str] = []
    server = start(tmp_path / "data")
    try:
        _prepare(server)
        for _ in range(KILLS):
            worker = Worker(server, numbers)
            worker.start()
            until(lambda: len(worker.acknowledged) >= BEFORE_KILL or not worker.is_alive(), SOON_S)  # noqa: B023
            server.kill()
            worker.join(SOON_S)
            assert len(worker.acknowledged) >= BEFORE_KILL
            acknowledged += worker.acknowledged
            server = start(tmp_path / "data")
        url = server.client("sqs").get_queue_url(QueueName="events")["QueueUrl"]
        assert set(acknowledged) - _keys(server, url) == set()
        until(lambda: all(f"TOOK {name}" in server.log_of("taker") for name in acknowledged), SOON_S)
    finally:
        server.stop()

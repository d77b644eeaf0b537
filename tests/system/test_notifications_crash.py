"""kill -9 between what was acknowledged and what it causes: log lines reach their subscribers, objects' events their queues."""

from __future__ import annotations

import itertools
import json
import threading
import time
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError

from live_server import LiveServer, start, until

SOON_S = 60.0
KILLS = 2
BEFORE_KILL = 12  # changes that were acknowledged in each life
# What a function prints may be lost with a server that is killed; what a queue has accepted is not.
TAKER = """
import base64, boto3, gzip, json

sqs = boto3.client("sqs")
url = sqs.get_queue_url(QueueName="taken")["QueueUrl"]

def handler(event, context):
    message = json.loads(gzip.decompress(base64.b64decode(event["awslogs"]["data"])))
    sqs.send_message(QueueUrl=url, MessageBody=json.dumps([line["message"] for line in message["logEvents"]]))
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
                event = {"timestamp": 1_000 * int(time.time()), "message": name}
                self._logs.put_log_events(logGroupName="/app", logStreamName="s", logEvents=[event])
                self._s3.put_object(Bucket="crashing", Key=name, Body=b"x")
                self.acknowledged.append(name)
        except BotoCoreError:
            return  # the server is gone


def _prepare(server: LiveServer) -> None:
    name = server.create(TAKER, FunctionName="taker", Timeout=60)
    logs, s3 = server.client("logs"), server.client("s3")
    logs.create_log_group(logGroupName="/app")
    logs.create_log_stream(logGroupName="/app", logStreamName="s")
    arn = server.client().get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    logs.put_subscription_filter(logGroupName="/app", filterName="all", filterPattern="", destinationArn=arn)
    for queue_name in ("events", "taken"):
        server.client("sqs").create_queue(QueueName=queue_name)
    s3.create_bucket(Bucket="crashing")
    queue = {"QueueArn": "arn:aws:sqs:us-east-1:000000000000:events", "Events": ["s3:ObjectCreated:*"]}
    s3.put_bucket_notification_configuration(
        Bucket="crashing", NotificationConfiguration={"QueueConfigurations": [queue]}
    )


def _bodies(server: LiveServer, name: str) -> list[Any]:
    """What is in a queue now; it is taken out."""
    sqs, found = server.client("sqs"), []
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            found.append(json.loads(message["Body"]))
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
        told = [record for body in _bodies(server, "events") for record in body.get("Records", [])]
        assert set(acknowledged) - {record["s3"]["object"]["key"] for record in told} == set()
        taken: set[str] = set()

        def all_taken() -> bool:
            taken.update(line for lines in _bodies(server, "taken") for line in lines)
            return taken >= set(acknowledged)

        until(all_taken, SOON_S)
    finally:
        server.stop()


def test_records_of_a_tables_stream_survive_and_readers_go_on_where_they_were(tmp_path: Path) -> None:
    server = start(tmp_path / "data")
    try:
        server.client("dynamodb").create_table(
            TableName="crashing", BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
        )  # fmt: skip
        for number in range(5):
            server.client("dynamodb").put_item(TableName="crashing", Item={"id": {"S": str(number)}})
        first = _read(server, _first_iterator(server), limit=2)
        server.kill()
        server = start(tmp_path / "data")
        server.client("dynamodb").put_item(TableName="crashing", Item={"id": {"S": "5"}})
        rest = _read(server, first["NextShardIterator"], limit=1000)
        records = first["Records"] + rest["Records"]
        assert [record["dynamodb"]["Keys"]["id"]["S"] for record in records] == ["0", "1", "2", "3", "4", "5"]
        numbers = [int(record["dynamodb"]["SequenceNumber"]) for record in records]
        assert numbers == sorted(set(numbers))
    finally:
        server.stop()


def _first_iterator(server: LiveServer) -> str:
    streams = server.client("dynamodbstreams")
    arn = streams.list_streams(TableName="crashing")["Streams"][0]["StreamArn"]
    (shard,) = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
    answer = streams.get_shard_iterator(StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")
    return str(answer["ShardIterator"])


def _read(server: LiveServer, iterator: str, limit: int) -> dict[str, Any]:
    found: dict[str, Any] = server.client("dynamodbstreams").get_records(ShardIterator=iterator, Limit=limit)
    return found

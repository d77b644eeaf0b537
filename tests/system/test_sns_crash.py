"""kill -9 at any moment: every message that a topic accepted reaches each of its subscriptions after the restart."""

from __future__ import annotations

import contextlib
import itertools
import json
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from botocore.exceptions import BotoCoreError

from live_server import REGION, LiveServer, start, until

SOON_S = 60.0
ACCOUNT = "000000000000"
GROUPS = ("a", "b", "c")


@contextlib.contextmanager
def served(data: Path) -> Iterator[LiveServer]:
    server = start(data, "--isolation", "process")
    try:
        yield server
    finally:
        server.stop()


@attrs.define
class Told:
    """What the server said, over all of its lives."""

    accepted: set[str] = attrs.field(factory=set)
    received: dict[str, list[str]] = attrs.field(factory=dict)  # by queue, as they came first
    numbers: Iterator[int] = attrs.field(factory=itertools.count)


def publish_until_killed(sns: Any, topic: str, told: Told) -> None:
    is_fifo = topic.endswith(".fifo")
    with contextlib.suppress(BotoCoreError):  # the server is gone
        while True:
            numbers = list(itertools.islice(told.numbers, 6))
            entries = [{"Id": str(n), "Message": f"{GROUPS[n % 3]}-{n}"} for n in numbers]
            if is_fifo:
                entries = [e | {"MessageGroupId": e["Message"][0], "MessageDeduplicationId": e["Id"]} for e in entries]
            answer = sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=entries)
            assert answer["Failed"] == []
            told.accepted |= {entry["Message"] for entry in entries}


def drain(sqs: Any, queue: str, told: Told) -> None:
    """Takes what there is."""
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    seen = told.received.setdefault(queue, [])
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            if message["Body"] not in seen:
                seen.append(message["Body"])
        entries = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(messages)]
        assert "Failed" not in sqs.delete_message_batch(QueueUrl=url, Entries=entries)


@pytest.mark.parametrize("suffix", ["", ".fifo"])
def test_what_was_accepted_reaches_every_queue(tmp_path: Path, suffix: str) -> None:
    data, told, queues = tmp_path / "data", Told(), [f"one{suffix}", f"two{suffix}"]
    topic = f"arn:aws:sns:{REGION}:{ACCOUNT}:t{suffix}"
    for life, enough in enumerate((1, 60, 200)):
        with served(data) as server:
            if life == 0:
                make(server, queues, suffix)
            publishers = [
                threading.Thread(target=publish_until_killed, args=(server.client("sns"), topic, told), daemon=True)
                for _ in range(1 if suffix else 3)
            ]
            for publisher in publishers:
                publisher.start()
            until(lambda enough=enough: len(told.accepted) >= enough, SOON_S)  # type: ignore[misc]
            server.kill()
            for publisher in publishers:
                publisher.join(SOON_S)
    with served(data) as server:
        sqs = server.client("sqs")

        def has_all() -> bool:
            for queue in queues:
                drain(sqs, queue, told)
            return all(told.accepted <= set(told.received[queue]) for queue in queues)

        until(has_all, SOON_S)
    if suffix:
        for received in told.received.values():
            for group in GROUPS:
                numbers = [int(body.split("-")[1]) for body in received if body.startswith(group)]
                assert numbers == sorted(numbers)


def make(server: LiveServer, queues: list[str], suffix: str) -> None:
    sns, sqs = server.client("sns"), server.client("sqs")
    topic = sns.create_topic(Name=f"t{suffix}", Attributes={"FifoTopic": "true"} if suffix else {})["TopicArn"]
    for queue in queues:
        sqs.create_queue(QueueName=queue, Attributes={"FifoQueue": "true"} if suffix else {})
        sns.subscribe(
            TopicArn=topic, Protocol="sqs", Endpoint=f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}",
            Attributes={"RawMessageDelivery": "true"},
        )  # fmt: skip


def test_a_kill_between_the_answer_and_the_delivery_loses_nothing(tmp_path: Path) -> None:
    """The queue's disk is held by somebody else, so nothing can be delivered before the server is killed."""
    data = tmp_path / "data"
    with served(data) as server:
        make(server, ["one", "two"], "")
        with contextlib.closing(sqlite3.connect(data / "queues.db", isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            topic = f"arn:aws:sns:{REGION}:{ACCOUNT}:t"
            published = server.client("sns").publish(TopicArn=topic, Message="m")
            assert published["MessageId"]
            server.kill()
            holder.execute("ROLLBACK")
    with served(data) as server:
        sqs = server.client("sqs")
        for queue in ("one", "two"):
            url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
            (message,) = until(
                lambda url=url: sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5).get("Messages"),  # type: ignore[misc]
                SOON_S,
            )
            assert message["Body"] == "m"


def test_a_function_gets_what_was_accepted_before_a_kill(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with served(data) as server:
        code = "def handler(event, context):\n    print('GOT', event['Records'][0]['Sns']['Message'])\n"
        name = server.create(code, FunctionName="reader")
        sns = server.client("sns")
        topic = sns.create_topic(Name="t")["TopicArn"]
        sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}")
        for n in range(20):
            sns.publish(TopicArn=topic, Message=json.dumps({"n": n}))
        server.kill()
    with served(data) as server:
        groups = server.client("logs")

        def has_all() -> bool:
            if not groups.describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{name}")["logGroups"]:
                return False
            log = server.log_of(name)
            return all(f'GOT {{"n": {n}}}\n' in log for n in range(20))

        until(has_all, SOON_S)

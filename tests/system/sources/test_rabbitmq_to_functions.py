"""RabbitMQ → function with real servers, brokers and functions: what AWS's clients see, and what survives kill -9."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from pathlib import Path

import pytest

from live_server import REGION, LiveServer, start, until
from rabbit_broker import PASSWORD, USER, RabbitBroker

MQ = f"arn:aws:mq:{REGION}:000000000000:broker:mail:b-1"
MESSAGES = 60
# Writes what it is given into a queue of this server, one message each: how tests see what has run.
REPORTER = """
import base64, boto3, os
sqs = boto3.client("sqs")
url = sqs.get_queue_url(QueueName=os.environ["DONE"])["QueueUrl"]

def handler(event, context):
    (messages,) = event["rmqMessagesByQueue"].values()
    bodies = [base64.b64decode(message["data"]).decode() for message in messages]
    entries = [{"Id": str(n), "MessageBody": body} for n, body in enumerate(bodies)]
    sqs.send_message_batch(QueueUrl=url, Entries=entries)
"""


def started(tmp_path: Path, broker: RabbitBroker) -> LiveServer:
    config = tmp_path / "lambent.toml"
    config.write_text(f'[brokers]\nmail = "{broker.address}"\n')
    return start(tmp_path / "data", "--isolation", "process", "--config", str(config))


def mapped(server: LiveServer, queue: str) -> str:
    """A function behind the queue, whose results are in the queue `done`. Returns the mapping's id."""
    server.client("sqs").create_queue(QueueName="done", Attributes={"VisibilityTimeout": "60"})
    secret = server.client("secretsmanager").create_secret(
        Name=f"mail-{uuid.uuid4().hex[:8]}", SecretString=json.dumps({"username": USER, "password": PASSWORD})
    )["ARN"]
    function = server.create(REPORTER, Environment={"Variables": {"DONE": "done"}}, Timeout=10)
    made = server.client().create_event_source_mapping(
        FunctionName=function, EventSourceArn=MQ, Queues=[queue], BatchSize=4,
        SourceAccessConfigurations=[{"Type": "BASIC_AUTH", "URI": secret}],
    )  # fmt: skip
    mapping_id: str = made["UUID"]
    settled(server, mapping_id, "Enabled")
    return mapping_id


def settled(server: LiveServer, mapping_id: str, state: str) -> None:
    until(lambda: server.client().get_event_source_mapping(UUID=mapping_id)["State"] == state, 20)


def collected(server: LiveServer, seen: list[str]) -> list[str]:
    """Takes what has run into `seen`."""
    sqs = server.client("sqs")
    url = sqs.get_queue_url(QueueName="done")["QueueUrl"]
    messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    for message in messages:
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    seen += [message["Body"] for message in messages]
    return seen


@pytest.fixture
def queue(rabbit: RabbitBroker) -> str:
    return asyncio.run(rabbit.declare())


@pytest.mark.parametrize("kills", [1, pytest.param(8, marks=pytest.mark.long)])
def test_every_message_is_processed_though_the_server_is_killed(
    tmp_path: Path, rabbit: RabbitBroker, queue: str, kills: int
) -> None:
    seen: list[str] = []
    texts = [f"m{n}" for n in range(MESSAGES)]
    for life in range(kills + 1):
        server = started(tmp_path, rabbit)
        try:
            if life == 0:
                asyncio.run(rabbit.publish(queue, texts))
                mapped(server, queue)
            wanted = MESSAGES if life == kills else min(MESSAGES, len(set(seen)) + 1)
            until(lambda server=server, wanted=wanted: len(set(collected(server, seen))) >= wanted, 60)  # type: ignore[misc]
            if life < kills:
                time.sleep(0.02 * life)  # the moment of the kill differs
                server.kill()
        finally:
            server.stop()
    assert list(dict.fromkeys(seen)) == texts
    assert asyncio.run(rabbit.ready(queue)) == 0


def test_a_mapping_is_disabled_enabled_and_deleted_while_its_queue_fills(
    tmp_path: Path, rabbit: RabbitBroker, queue: str
) -> None:
    server = started(tmp_path, rabbit)
    try:
        mapping_id = mapped(server, queue)
        seen: list[str] = []
        asyncio.run(rabbit.publish(queue, ["a"]))
        until(lambda: collected(server, seen) == ["a"], 30)
        ok = lambda: server.client().get_event_source_mapping(UUID=mapping_id)["LastProcessingResult"] == "OK"  # noqa: E731
        until(ok, 20)
        server.client().update_event_source_mapping(UUID=mapping_id, Enabled=False)
        settled(server, mapping_id, "Disabled")
        asyncio.run(rabbit.publish(queue, ["b", "c"]))
        assert asyncio.run(rabbit.ready(queue)) == 2
        server.client().update_event_source_mapping(UUID=mapping_id, Enabled=True, BatchSize=1)
        until(lambda: collected(server, seen) == ["a", "b", "c"], 30)
        server.client().delete_event_source_mapping(UUID=mapping_id)
        until(lambda: not server.client().list_event_source_mappings()["EventSourceMappings"], 20)
        asyncio.run(rabbit.publish(queue, ["d"]))
        assert asyncio.run(rabbit.ready(queue)) == 1
        assert "rabbit" not in server.output.read_text()  # nothing went wrong that the log would tell of
    finally:
        server.stop()

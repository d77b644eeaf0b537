"""RabbitMQ and Kafka → function with real servers, brokers and functions: what clients see, and what survives kill -9."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from kafka_broker import KafkaBroker
from live_server import REGION, LiveServer, environ, start, until
from rabbit_broker import PASSWORD, USER, RabbitBroker

MQ = f"arn:aws:mq:{REGION}:000000000000:broker:mail:b-1"
MESSAGES = 60
# Writes what it is given into a queue of this server, one message each: how tests see what has run.
REPORTER = """
import base64, boto3, os
sqs = boto3.client("sqs")
url = sqs.get_queue_url(QueueName="done")["QueueUrl"]

def handler(event, context):
    batches = event.get("records") or event["rmqMessagesByQueue"]
    (records,) = batches.values()
    bodies = [base64.b64decode(record.get("value") or record["data"]).decode() for record in records]
    entries = [{"Id": str(n), "MessageBody": body} for n, body in enumerate(bodies)]
    sqs.send_message_batch(QueueUrl=url, Entries=entries)
"""


@attrs.define
class World:
    """A function `reporter` behind a queue of RabbitMQ and a topic of Kafka, on a server that may be killed."""

    path: Path
    rabbit: RabbitBroker
    kafka: KafkaBroker
    queue: str
    topic: str
    server: LiveServer
    mappings: list[str] = attrs.field(factory=list)
    seen: list[str] = attrs.field(factory=list)

    @classmethod
    def begun(cls, path: Path, rabbit: RabbitBroker, kafka: KafkaBroker) -> World:
        (path / "lambent.toml").write_text(f'[brokers]\nmail = "{rabbit.address}"\n')
        world = cls(path, rabbit, kafka, asyncio.run(rabbit.declare()), asyncio.run(kafka.topic()), started(path))
        world.server.client("sqs").create_queue(QueueName="done", Attributes={"VisibilityTimeout": "60"})
        world.server.create(REPORTER, FunctionName="reporter", Timeout=10)
        return world

    def publish(self, *texts: str) -> None:
        asyncio.run(self.rabbit.publish(self.queue, [f"r{text}" for text in texts]))
        asyncio.run(self.kafka.produce(self.topic, [f"k{text}" for text in texts]))

    def map(self) -> None:
        login = {"username": USER, "password": PASSWORD}
        secrets = self.server.client("secretsmanager")
        secret = secrets.create_secret(Name="mail", SecretString=json.dumps(login))["ARN"]
        self.mappings = [
            self._mapped(
                EventSourceArn=MQ, Queues=[self.queue],
                SourceAccessConfigurations=[{"Type": "BASIC_AUTH", "URI": secret}],
            ),
            self._mapped(
                SelfManagedEventSource={"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": [self.kafka.server]}},
                Topics=[self.topic], StartingPosition="TRIM_HORIZON",
                SourceAccessConfigurations=[{"Type": "VPC_SUBNET", "URI": "subnet:subnet-1"}],
            ),
        ]  # fmt: skip
        self.until_all("Enabled")

    def _mapped(self, **members: Any) -> str:
        made = self.server.client().create_event_source_mapping(FunctionName="reporter", BatchSize=4, **members)
        return str(made["UUID"])

    def until_all(self, state: str) -> None:
        for mapping_id in self.mappings:
            until(lambda i=mapping_id: self.mapping(i)["State"] == state, 20)  # type: ignore[misc]

    def mapping(self, mapping_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.server.client().get_event_source_mapping(UUID=mapping_id)
        return found

    def collected(self) -> set[str]:
        """What has run by now."""
        sqs = self.server.client("sqs")
        url = sqs.get_queue_url(QueueName="done")["QueueUrl"]
        messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        if messages:
            entries = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(messages)]
            sqs.delete_message_batch(QueueUrl=url, Entries=entries)
        self.seen += [message["Body"] for message in messages]
        return set(self.seen)

    def until_ran(self, *texts: str) -> None:
        wanted = {letter + text for text in texts for letter in "rk"}
        until(lambda: self.collected() >= wanted, 40)

    def until_nothing_is_owed(self) -> None:
        for mapping_id in self.mappings:
            until(lambda i=mapping_id: self.mapping(i)["LastProcessingResult"] == "OK", 20)  # type: ignore[misc]
        until(lambda: asyncio.run(self.rabbit.ready(self.queue)) == 0, 20)


def started(path: Path) -> LiveServer:
    return start(path / "data", "--isolation", "process", "--config", str(path / "lambent.toml"))


@pytest.fixture
def world(tmp_path: Path, rabbit: RabbitBroker, kafka: KafkaBroker) -> Iterator[World]:
    world = World.begun(tmp_path, rabbit, kafka)
    try:
        yield world
    finally:
        world.server.stop()


@pytest.mark.parametrize("kills", [1, pytest.param(8, marks=pytest.mark.long)])
def test_every_message_is_processed_though_the_server_is_killed(world: World, kills: int) -> None:
    texts = [str(n) for n in range(MESSAGES)]
    world.publish(*texts)
    world.map()
    for life in range(kills):
        before = {letter: len([text for text in world.seen if text[0] == letter]) for letter in "rk"}
        wanted = {letter: min(MESSAGES, count + 1) for letter, count in before.items()}
        until(lambda: world.collected() and ran(world.seen, wanted), 40)  # noqa: B023 - it is over before the next life
        time.sleep(0.02 * life)  # the moment of the kill differs
        world.server.kill()
        world.server.stop()
        world.server = started(world.path)
    world.until_ran(*texts)
    for letter in "rk":
        assert list(dict.fromkeys(text[1:] for text in world.seen if text[0] == letter)) == texts
    world.until_nothing_is_owed()


def ran(seen: list[str], wanted: dict[str, int]) -> bool:
    return all(len([text for text in seen if text[0] == letter]) >= count for letter, count in wanted.items())


def test_mappings_are_disabled_changed_and_deleted_while_their_sources_fill(world: World) -> None:
    world.map()
    world.publish("a")
    world.until_ran("a")
    world.until_nothing_is_owed()
    lambda_ = world.server.client()
    for mapping_id in world.mappings:
        lambda_.update_event_source_mapping(UUID=mapping_id, Enabled=False)
    world.until_all("Disabled")
    world.publish("b", "c")
    assert asyncio.run(world.rabbit.ready(world.queue)) == 2
    for mapping_id in world.mappings:
        lambda_.update_event_source_mapping(UUID=mapping_id, Enabled=True, BatchSize=1)
    world.until_ran("b", "c")
    for mapping_id in world.mappings:
        lambda_.delete_event_source_mapping(UUID=mapping_id)
    until(lambda: not lambda_.list_event_source_mappings()["EventSourceMappings"], 20)
    world.publish("d")
    assert asyncio.run(world.rabbit.ready(world.queue)) == 1
    assert "cannot go on" not in world.server.output.read_text()


def test_a_server_without_such_mappings_does_not_load_their_clients() -> None:
    code = "import lambent.app, sys; print({'aiormq', 'aiokafka', 'yarl'} & sys.modules.keys())"
    found = subprocess.run([sys.executable, "-c", code], env=environ(), capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"

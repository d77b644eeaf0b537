"""SQS → function with real servers and functions: what AWS's clients see, and what survives kill -9."""

from __future__ import annotations

import json
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from live_server import REGION, LiveServer, start, until

# Writes what it is given into a queue of its own, one message each: how tests see what has run.
REPORTER = """
import boto3, json, os
sqs = boto3.client("sqs")
url = sqs.get_queue_url(QueueName=os.environ["DONE"])["QueueUrl"]

def handler(event, context):
    for record in event["Records"]:
        if record["body"].endswith("poison"):
            raise ValueError(record["body"])
    entries = [{"Id": str(n), "MessageBody": r["body"]} for n, r in enumerate(event["Records"])]
    sqs.send_message_batch(QueueUrl=url, Entries=entries)
"""
KILLS = 3
MESSAGES = 120


def arn(name: str) -> str:
    return f"arn:aws:sqs:{REGION}:000000000000:{name}"


def mapped(server: LiveServer, function: str, queue: str, **members: Any) -> str:
    made = server.client().create_event_source_mapping(FunctionName=function, EventSourceArn=arn(queue), **members)
    mapping_id: str = made["UUID"]
    until(lambda: server.client().get_event_source_mapping(UUID=mapping_id)["State"] == "Enabled")
    return mapping_id


def received(server: LiveServer, url: str) -> list[str]:
    """Takes what there is."""
    messages = server.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    if messages:
        entries = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(messages)]
        server.client("sqs").delete_message_batch(QueueUrl=url, Entries=entries)
    return [m["Body"] for m in messages]


def collected(server: LiveServer, url: str, seen: list[str]) -> int:
    """Takes what there is into `seen`; how many different ones there are by now."""
    seen += received(server, url)
    return len(set(seen))


def test_messages_run_a_function_and_poison_ends_in_the_dead_letters(live: LiveServer) -> None:
    name = uuid.uuid4().hex[:8]
    sqs = live.client("sqs")
    done = sqs.create_queue(QueueName=f"done-{name}")["QueueUrl"]
    dead = sqs.create_queue(QueueName=f"dead-{name}")["QueueUrl"]
    policy = {"deadLetterTargetArn": arn(f"dead-{name}"), "maxReceiveCount": 2}
    attributes = {"RedrivePolicy": json.dumps(policy), "VisibilityTimeout": "4"}
    url = sqs.create_queue(QueueName=f"in-{name}", Attributes=attributes)["QueueUrl"]
    function = live.create(REPORTER, Environment={"Variables": {"DONE": f"done-{name}"}})
    mapping_id = mapped(live, function, f"in-{name}", BatchSize=1)
    seen: list[str] = []
    for number, text in enumerate(
        ("one", "poison", "two")
    ):  # one after the other: only the first starts an environment
        sqs.send_message(QueueUrl=url, MessageBody=text)
        until(lambda number=number: collected(live, done, seen) == (1, 1, 2)[number], 30)  # type: ignore[misc]
    assert sorted(seen) == ["one", "two"]
    assert until(lambda: received(live, dead), 30) == ["poison"]
    live.client().delete_event_source_mapping(UUID=mapping_id)
    until(lambda: not live.client().list_event_source_mappings(FunctionName=function)["EventSourceMappings"])


@pytest.mark.parametrize("suffix", ["", ".fifo"], ids=["standard", "fifo"])
def test_every_message_is_processed_though_the_server_is_killed(tmp_path: Path, suffix: str) -> None:
    seen: list[str] = []
    for life in range(KILLS + 1):
        server = start(tmp_path / "data", "--isolation", "process")
        try:
            if life == 0:
                prepared(server, suffix)
            until_seen(server, suffix, seen, MESSAGES if life == KILLS else len(set(seen)) + 1)
            if life < KILLS:
                time.sleep(0.05 * life)  # the moment of the kill differs
                server.kill()
        finally:
            server.stop()
    assert set(seen) == {f"{'abc'[n % 3]}-{n}" for n in range(MESSAGES)}
    if suffix:
        for group in "abc":
            first_times = list(dict.fromkeys(int(text.split("-")[1]) for text in seen if text[0] == group))
            assert first_times == sorted(first_times)


def until_seen(server: LiveServer, suffix: str, seen: list[str], count: int) -> None:
    """Takes from the queue of what has run until there are so many different ones."""
    done = server.client("sqs").get_queue_url(QueueName="done" + suffix)["QueueUrl"]
    until(lambda: collected(server, done, seen) >= min(count, MESSAGES), 60)


def prepared(server: LiveServer, suffix: str) -> None:
    """A function behind a full queue."""
    sqs = server.client("sqs")
    fifo = {"FifoQueue": "true", "ContentBasedDeduplication": "true"} if suffix else {}
    sqs.create_queue(QueueName="done" + suffix, Attributes={**fifo, "VisibilityTimeout": "60"})
    url = sqs.create_queue(QueueName="in" + suffix, Attributes={**fifo, "VisibilityTimeout": "6"})["QueueUrl"]
    code = REPORTER.replace('"MessageBody": r["body"]', f'"MessageBody": r["body"]{GROUP if suffix else ""}')
    function = server.create(code, Environment={"Variables": {"DONE": "done" + suffix}}, Timeout=6)
    for first in range(0, MESSAGES, 10):
        texts = [f"{'abc'[n % 3]}-{n}" for n in range(first, first + 10)]
        entries = [{"Id": t, "MessageBody": t, **({"MessageGroupId": t[0]} if suffix else {})} for t in texts]
        sqs.send_message_batch(QueueUrl=url, Entries=entries)
    # Few at once: starting many environments on a busy machine would take longer than messages stay hidden.
    mapped(server, function, "in" + suffix, BatchSize=2, ScalingConfig={"MaximumConcurrency": 2})


GROUP = ', "MessageGroupId": r["body"][0]'

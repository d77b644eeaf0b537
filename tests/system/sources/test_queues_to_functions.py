"""SQS → function with real servers and functions: what AWS's clients see."""

from __future__ import annotations

import json
import uuid
from typing import Any

from live_server import REGION, LiveServer, until

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

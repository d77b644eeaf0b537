"""Streams → functions with real servers and functions: what clients see."""

from __future__ import annotations

import uuid
from typing import Any

from live_server import LiveServer, until

# Writes what it is given into a queue, one message each: how tests see what has run.
REPORTER = """
import base64, boto3, json, os
sqs = boto3.client("sqs")
url = sqs.get_queue_url(QueueName=os.environ["DONE"])["QueueUrl"]

def texts(event):
    for record in event["Records"]:
        if "kinesis" in record:
            yield base64.b64decode(record["kinesis"]["data"]).decode()
        else:
            yield json.dumps([record["eventName"], record["dynamodb"]["Keys"]["k"]["S"], "NewImage" in record["dynamodb"]])

def handler(event, context):
    entries = [{"Id": str(n), "MessageBody": text} for n, text in enumerate(texts(event))]
    sqs.send_message_batch(QueueUrl=url, Entries=entries)
"""


def collected(server: LiveServer, url: str, seen: list[str]) -> int:
    """Takes what there is into `seen`; how many different ones there are by now."""
    messages = server.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    if messages:
        seen += [message["Body"] for message in messages]
        entries = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(messages)]
        server.client("sqs").delete_message_batch(QueueUrl=url, Entries=entries)
    return len(set(seen))


def mapped(server: LiveServer, function: str, arn: str, **members: Any) -> str:
    made = server.client().create_event_source_mapping(FunctionName=function, EventSourceArn=arn, **members)
    mapping_id: str = made["UUID"]
    until(lambda: server.client().get_event_source_mapping(UUID=mapping_id)["State"] == "Enabled")
    return mapping_id


def test_a_tables_changes_run_a_function(live: LiveServer) -> None:
    name = f"t-{uuid.uuid4().hex[:8]}"
    table, done = live.client("dynamodb"), live.client("sqs").create_queue(QueueName=name)["QueueUrl"]
    made = table.create_table(
        TableName=name, BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
    )  # fmt: skip
    function = live.create(REPORTER, Environment={"Variables": {"DONE": name}})
    mapping_id = mapped(live, function, made["TableDescription"]["LatestStreamArn"], StartingPosition="LATEST")
    table.put_item(TableName=name, Item={"k": {"S": "1"}})
    table.delete_item(TableName=name, Key={"k": {"S": "1"}})
    seen: list[str] = []
    until(lambda: collected(live, done, seen) == 2, 30)
    assert sorted(seen) == ['["INSERT", "1", true]', '["REMOVE", "1", false]']

    def result() -> bool:
        found = live.client().get_event_source_mapping(UUID=mapping_id)["LastProcessingResult"]
        return bool(found == "OK")

    until(result)
    live.client().delete_event_source_mapping(UUID=mapping_id)
    until(lambda: not live.client().list_event_source_mappings(FunctionName=function)["EventSourceMappings"])

"""Functions that work against their own queue, on a real server: nothing of it stops the server or loses a message."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

from live_server import REGION, LiveServer, until

SOON_S = 30.0


def queue_of(live: LiveServer, **attributes: str) -> tuple[str, str]:
    """A new queue's name and address."""
    name = f"q-{uuid.uuid4().hex[:8]}"
    return name, live.client("sqs").create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]


def mapped(live: LiveServer, function: str, queue: str, **members: Any) -> str:
    arn = f"arn:aws:sqs:{REGION}:000000000000:{queue}"
    made = live.client().create_event_source_mapping(FunctionName=function, EventSourceArn=arn, **members)
    return str(made["UUID"])


def unmapped(live: LiveServer, mapping: str) -> None:
    live.client().delete_event_source_mapping(UUID=mapping)


def counts(live: LiveServer, url: str) -> int:
    """Messages in the queue, with a receiver or not."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = live.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(int(found[name]) for name in names)


def test_a_function_deletes_its_own_queue(live: LiveServer) -> None:
    name, url = queue_of(live)
    function = live.create(
        """
        import boto3
        def handler(event, context):
            sqs = boto3.client("sqs")
            name = event["Records"][0]["eventSourceARN"].split(":")[5]
            sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName=name)["QueueUrl"])
        """,
        Timeout=20,
    )
    mapping = mapped(live, function, name)
    live.client("sqs").send_message(QueueUrl=url, MessageBody="one")

    def is_gone() -> bool:
        try:
            live.client("sqs").get_queue_url(QueueName=name)
        except ClientError as error:
            return str(error.response["Error"]["Code"]).endswith("NonExistentQueue")
        return False

    until(is_gone, SOON_S)
    assert live.client().get_event_source_mapping(UUID=mapping)["State"] == "Enabled"
    unmapped(live, mapping)


def test_a_function_that_is_deleted_while_its_queue_is_full_finds_all_when_it_comes_back(live: LiveServer) -> None:
    name, url = queue_of(live, VisibilityTimeout="3")
    code = "def handler(event, context):\n    print('got', [r['body'] for r in event['Records']])\n"
    function = live.create(code, Timeout=3)
    mapping = mapped(live, function, name, BatchSize=1)
    live.client().delete_function(FunctionName=function)
    sqs = live.client("sqs")
    for first in range(0, 20, 10):
        entries = [{"Id": str(n), "MessageBody": f"m{n}"} for n in range(first, first + 10)]
        sqs.send_message_batch(QueueUrl=url, Entries=entries)
    assert counts(live, url) == 20
    live.create(code, FunctionName=function, Timeout=3)
    until(lambda: counts(live, url) == 0, SOON_S)
    until(lambda: all(f"got ['m{n}']" in live.log_of(function) for n in range(20)), SOON_S)
    unmapped(live, mapping)


@pytest.mark.parametrize("answer", ["{'batchItemFailures': [{'itemIdentifier': 'nobody'}]}", "'done'", "float('nan')"])
def test_a_report_that_makes_no_sense_brings_the_whole_batch_again(live: LiveServer, answer: str) -> None:
    name, url = queue_of(live, VisibilityTimeout="1")
    function = live.create(
        f"""
        def handler(event, context):
            if event["Records"][0]["attributes"]["ApproximateReceiveCount"] == "1":
                return {answer}
        """,
        Timeout=1,
    )
    mapping = mapped(live, function, name, FunctionResponseTypes=["ReportBatchItemFailures"])
    live.client("sqs").send_message(QueueUrl=url, MessageBody="one")
    until(lambda: counts(live, url) == 0, SOON_S)
    until(lambda: live.log_of(function).count("START RequestId") >= 2, SOON_S)
    unmapped(live, mapping)

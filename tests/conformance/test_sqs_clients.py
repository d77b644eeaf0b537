"""SQS as boto3, the AWS CLI and older clients see it, through the real gateway and the real store."""

from __future__ import annotations

import asyncio
import base64
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import attrs
import pytest

from gateway_clients import ACCOUNT, REGION, ServiceClients, client_of, served
from lambent.services.sqs import SqsService
from lambent.store.queues import QueueStore
from lambent.telemetry.system_clock import SystemClock

NAMESPACE = "{http://queue.amazonaws.com/doc/2012-11-05/}"


@attrs.define
class World(ServiceClients):
    store: QueueStore

    async def form(self, path: str = "/", **fields: Any) -> tuple[int, ElementTree.Element]:
        """The query protocol: status and document. Without a signature when `signed` is False."""
        headers = {}
        if fields.pop("signed", True):
            scope = f"{ACCOUNT}/20261121/{REGION}/sqs/aws4_request"
            headers["Authorization"] = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"
        request = urllib.request.Request(self.url + path, data=urllib.parse.urlencode(fields).encode(), headers=headers)
        return await asyncio.to_thread(_answer, request)

    async def get(self, path: str) -> tuple[int, ElementTree.Element]:
        return await asyncio.to_thread(_answer, urllib.request.Request(self.url + path))


def _answer(request: urllib.request.Request) -> tuple[int, ElementTree.Element]:
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, ElementTree.fromstring(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, ElementTree.fromstring(error.read())


def texts(document: ElementTree.Element, name: str) -> list[str | None]:
    return [element.text for element in document.iter(NAMESPACE + name)]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    store = await QueueStore.open(tmp_path / "queues.db", SystemClock())
    async with served([SqsService(store)]) as url:
        client = client_of("sqs", url)
        yield World(url=url, service="sqs", client=client, store=store)
        client.close()
    await store.close()


async def test_boto3_sends_receives_and_deletes(world: World) -> None:
    url = (await world.boto3("create_queue", QueueName="q", tags={"team": "a"}))["QueueUrl"]
    assert url == f"{world.url}/{ACCOUNT}/q"
    sent = await world.boto3(
        "send_message",
        QueueUrl=url,
        MessageBody="héllo <&> \U0001f600",
        MessageAttributes={"bytes": {"DataType": "Binary", "BinaryValue": b"\x00\xff"}},
    )  # boto3 compares the digests
    received = await world.boto3("receive_message", QueueUrl=url, MessageAttributeNames=["All"], AttributeNames=["All"])
    (message,) = received["Messages"]
    assert (message["Body"], message["MessageId"]) == ("héllo <&> \U0001f600", sent["MessageId"])
    assert message["MessageAttributes"]["bytes"]["BinaryValue"] == b"\x00\xff"
    assert await world.boto3("receive_message", QueueUrl=url) == {}
    await world.boto3("delete_message", QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert (await world.boto3("list_queue_tags", QueueUrl=url))["Tags"] == {"team": "a"}


async def test_boto3_knows_the_errors_by_both_of_their_names(world: World) -> None:
    error = await world.refused("send_message", QueueUrl=f"{world.url}/{ACCOUNT}/none", MessageBody="x")
    assert isinstance(error, world.client.exceptions.QueueDoesNotExist)
    assert error.response["Error"]["Code"] == "AWS.SimpleQueueService.NonExistentQueue"
    assert error.response["Error"]["Message"] == "The specified queue does not exist."
    await world.boto3("create_queue", QueueName="q")
    error = await world.refused("create_queue", QueueName="q", Attributes={"DelaySeconds": "1"})
    assert isinstance(error, world.client.exceptions.QueueNameExists)
    assert (error.response["Error"]["Code"], error.response["Error"]["QueryErrorCode"]) == (
        "QueueAlreadyExists",
        "QueueNameExists",
    )
    error = await world.refused("receive_message", QueueUrl="q", MaxNumberOfMessages=11)
    assert (error.response["Error"]["Code"], error.response["Error"]["QueryErrorCode"]) == (
        "InvalidParameterValue",
        "InvalidParameterValueException",
    )
    error = await world.refused("purge_queue", QueueUrl=f"{world.url}/222222222222/q")
    assert error.response["Error"]["Code"] == "AWS.SimpleQueueService.NonExistentQueue"


async def test_boto3_waits_for_a_message(world: World) -> None:
    url = (await world.boto3("create_queue", QueueName="q"))["QueueUrl"]
    receiver = asyncio.create_task(world.boto3("receive_message", QueueUrl=url, WaitTimeSeconds=20))
    while not receiver.done():
        await world.boto3("send_message", QueueUrl=url, MessageBody="x")
        await asyncio.wait([receiver], timeout=0.5)
    assert len(receiver.result()["Messages"]) == 1


async def test_boto3_pages_through_queues(world: World) -> None:
    for n in range(5):
        await world.boto3("create_queue", QueueName=f"q{n}")

    def listed() -> list[str]:
        pages = world.client.get_paginator("list_queues").paginate(PaginationConfig={"PageSize": 2})
        return [url for page in pages for url in page["QueueUrls"]]

    assert await asyncio.to_thread(listed) == [f"{world.url}/{ACCOUNT}/q{n}" for n in range(5)]


async def test_boto3_keeps_the_order_of_a_group(world: World) -> None:
    attributes = {"FifoQueue": "true", "ContentBasedDeduplication": "true"}
    url = (await world.boto3("create_queue", QueueName="q.fifo", Attributes=attributes))["QueueUrl"]
    entries = [{"Id": str(n), "MessageBody": str(n), "MessageGroupId": "g"} for n in range(10)]
    sent = await world.boto3("send_message_batch", QueueUrl=url, Entries=entries)
    numbers = [int(entry["SequenceNumber"]) for entry in sent["Successful"]]
    assert numbers == sorted(set(numbers))
    received = await world.boto3("receive_message", QueueUrl=url, MaxNumberOfMessages=10)
    assert [message["Body"] for message in received["Messages"]] == [str(n) for n in range(10)]
    handles = [{"Id": m["Body"], "ReceiptHandle": m["ReceiptHandle"]} for m in received["Messages"]]
    deleted = await world.boto3("delete_message_batch", QueueUrl=url, Entries=handles)
    assert len(deleted["Successful"]) == 10
    assert "Failed" not in deleted


async def test_the_aws_cli_drives_a_queue(world: World) -> None:
    status, created, err = await world.aws("create-queue", "--queue-name", "q", "--attributes", "VisibilityTimeout=5")
    assert (status, created) == (0, {"QueueUrl": f"{world.url}/{ACCOUNT}/q"}), err
    url = created["QueueUrl"]
    _, sent, _ = await world.aws("send-message", "--queue-url", url, "--message-body", "hello")
    _, received, _ = await world.aws("receive-message", "--queue-url", url, "--attribute-names", "All")
    (message,) = received["Messages"]
    assert (message["MessageId"], message["Body"]) == (sent["MessageId"], "hello")
    handle = message["ReceiptHandle"]
    assert (await world.aws("delete-message", "--queue-url", url, "--receipt-handle", handle))[0] == 0
    status, _, err = await world.aws("delete-message", "--queue-url", url, "--receipt-handle", "x")
    assert status != 0
    assert "(ReceiptHandleIsInvalid)" in err


# The older protocol: forms in, XML out.


async def test_forms_are_answered_in_xml(world: World) -> None:
    status, created = await world.form(
        Action="CreateQueue", Version="2012-11-05", QueueName="q",
        **{"Attribute.1.Name": "VisibilityTimeout", "Attribute.1.Value": "5", "Tag.1.Key": "a", "Tag.1.Value": "b"},
    )  # fmt: skip
    assert (status, texts(created, "QueueUrl")) == (200, [f"{world.url}/{ACCOUNT}/q"])
    url = texts(created, "QueueUrl")[0] or ""
    _, tags = await world.form(Action="ListQueueTags", Version="2012-11-05", QueueUrl=url)
    assert (texts(tags, "Key"), texts(tags, "Value")) == (["a"], ["b"])
    fields = {"Action": "SendMessageBatch", "Version": "2012-11-05", "QueueUrl": url}
    for n in (1, 2):
        entry = f"SendMessageBatchRequestEntry.{n}"
        fields |= {f"{entry}.Id": f"id{n}", f"{entry}.MessageBody": "test"}
    attribute = "SendMessageBatchRequestEntry.1.MessageAttribute.1"
    fields |= {
        f"{attribute}.Name": "attr1",
        f"{attribute}.Value.DataType": "Binary",
        f"{attribute}.Value.BinaryValue": base64.b64encode(b"\x00\xff").decode(),
    }
    _, sent = await world.form(**fields)
    assert texts(sent, "Id") == ["id1", "id2"]
    assert len(texts(sent, "SendMessageBatchResultEntry")) == 2
    _, received = await world.form(
        Action="ReceiveMessage", Version="2012-11-05", QueueUrl=url, MaxNumberOfMessages="10",
        **{"MessageAttributeName.1": "All", "AttributeName.1": "SentTimestamp"},
    )  # fmt: skip
    assert texts(received, "Body") == ["test", "test"]
    assert texts(received, "BinaryValue") == [base64.b64encode(b"\x00\xff").decode()]
    assert texts(received, "Name").count("SentTimestamp") == 2
    fields = {"Action": "DeleteMessageBatch", "Version": "2012-11-05", "QueueUrl": url}
    for n, handle in enumerate(texts(received, "ReceiptHandle"), 1):
        entry = f"DeleteMessageBatchRequestEntry.{n}"
        fields |= {f"{entry}.Id": f"id{n}", f"{entry}.ReceiptHandle": handle or ""}
    _, deleted = await world.form(**fields)
    assert texts(deleted, "Id") == ["id1", "id2"]
    _, attributes = await world.form(
        Action="GetQueueAttributes", Version="2012-11-05", QueueUrl=url,
        **{"AttributeName.1": "VisibilityTimeout", "AttributeName.2": "ApproximateNumberOfMessages"},
    )  # fmt: skip
    assert sorted(zip(texts(attributes, "Name"), texts(attributes, "Value"), strict=True)) == [
        ("ApproximateNumberOfMessages", "0"),
        ("VisibilityTimeout", "5"),
    ]


async def test_errors_of_forms_have_the_older_codes(world: World) -> None:
    status, refused = await world.form(
        Action="SendMessage", Version="2012-11-05", QueueUrl=f"{world.url}/{ACCOUNT}/none", MessageBody="x"
    )
    assert status == 400
    assert (texts(refused, "Type"), texts(refused, "Code"), texts(refused, "Message")) == (
        ["Sender"],
        ["AWS.SimpleQueueService.NonExistentQueue"],
        ["The specified queue does not exist for this wsdl version."],
    )
    _, refused = await world.form(Action="CreateQueue", Version="2012-11-05", QueueName="a.b")
    assert texts(refused, "Code") == ["InvalidParameterValue"]


async def test_a_queues_own_address_can_be_asked(world: World) -> None:
    await world.form(Action="CreateQueue", Version="2012-11-05", QueueName="q")
    status, sent = await world.form(f"/{ACCOUNT}/q", Action="SendMessage", Version="2012-11-05", MessageBody="x")
    assert (status, len(texts(sent, "MessageId"))) == (200, 1)


async def test_requests_without_a_signature_find_a_queue_by_its_address(world: World) -> None:
    anybody = "000000000000"
    await world.form(signed=False, Action="CreateQueue", Version="2012-11-05", QueueName="q")
    status, sent = await world.get(f"/{anybody}/q?Action=SendMessage&MessageBody=hello")
    assert (status, len(texts(sent, "MessageId"))) == (200, 1)
    _, received = await world.get(f"/{anybody}/q?Action=ReceiveMessage&Version=2012-11-05")
    assert texts(received, "Body") == ["hello"]


async def test_a_client_that_leaves_while_it_waits_takes_no_message_with_it(world: World) -> None:
    url = (await world.boto3("create_queue", QueueName="q"))["QueueUrl"]
    body = json.dumps({"QueueUrl": url, "WaitTimeSeconds": 20}).encode()
    head = (
        f"POST / HTTP/1.1\r\nHost: {world.url.removeprefix('http://')}\r\nX-Amz-Target: AmazonSQS.ReceiveMessage\r\n"
        f"Authorization: AWS4-HMAC-SHA256 Credential={ACCOUNT}/20261121/{REGION}/sqs/aws4_request, SignedHeaders=host, "
        f"Signature=0\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    host, port = world.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(head.encode() + body)
    arrivals = world.store._arrivals_of(world.store.queue((ACCOUNT, REGION, "q")).id)
    await until(lambda: len(arrivals._waiting) == 1)
    writer.close()
    await writer.wait_closed()
    await until(lambda: not arrivals._waiting)
    await world.boto3("send_message", QueueUrl=url, MessageBody="x")
    assert len((await world.boto3("receive_message", QueueUrl=url))["Messages"]) == 1


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_who_waits_in_vain_waits_as_long_as_it_said(world: World) -> None:
    url = (await world.boto3("create_queue", QueueName="q"))["QueueUrl"]
    began = time.monotonic()
    assert await world.boto3("receive_message", QueueUrl=url, WaitTimeSeconds=1) == {}
    assert time.monotonic() - began >= 1.0

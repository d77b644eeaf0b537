"""SNS as boto3, the AWS CLI and forms see it, on a server as users start it."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import attrs
import pytest
from botocore.exceptions import ClientError

from aws_cli import aws_cli
from live_server import REGION, LiveServer, until

ACCOUNT = "000000000000"
SOON_S = 30.0


@attrs.define
class News:
    """A topic and a queue of their own."""

    live: LiveServer
    name: str = attrs.field(factory=lambda: f"t-{uuid.uuid4().hex[:12]}")
    topic: str = ""
    queue_url: str = ""

    def begin(self) -> None:
        self.topic = self.sns.create_topic(Name=self.name)["TopicArn"]
        self.queue_url = self.live.client("sqs").create_queue(QueueName=self.name)["QueueUrl"]

    @property
    def sns(self) -> Any:
        return self.live.client("sns")

    def arn(self, kind: str, name: str) -> str:
        return f"arn:aws:{kind}:{REGION}:{ACCOUNT}:{name}"

    def subscribe(self, **attributes: str) -> str:
        answer = self.sns.subscribe(
            TopicArn=self.topic, Protocol="sqs", Endpoint=self.arn("sqs", self.name), Attributes=attributes
        )
        arn: str = answer["SubscriptionArn"]
        return arn

    def received(self) -> dict[str, Any]:
        sqs = self.live.client("sqs")
        (message,) = until(
            lambda: sqs.receive_message(QueueUrl=self.queue_url, WaitTimeSeconds=5, MessageAttributeNames=["All"]).get(
                "Messages"
            ),
            SOON_S,
        )
        sqs.delete_message(QueueUrl=self.queue_url, ReceiptHandle=message["ReceiptHandle"])
        found: dict[str, Any] = message
        return found


@pytest.fixture
def news(live: LiveServer) -> News:
    news = News(live)
    news.begin()
    return news


def test_boto3_publishes_to_a_queue(news: News) -> None:
    arn = news.subscribe(FilterPolicy='{"kind": ["wanted"]}')
    wanted = {"kind": {"DataType": "String", "StringValue": "wanted"}}
    news.sns.publish(TopicArn=news.topic, Message="unwanted")
    published = news.sns.publish(TopicArn=news.topic, Message="héllo <&>", Subject="s", MessageAttributes=wanted)
    body = json.loads(news.received()["Body"])
    assert (body["Message"], body["MessageId"], body["Subject"]) == ("héllo <&>", published["MessageId"], "s")
    assert body["MessageAttributes"] == {"kind": {"Type": "String", "Value": "wanted"}}
    certificate = urllib.request.urlopen(body["SigningCertURL"], timeout=SOON_S).read()
    assert certificate.startswith(b"-----BEGIN CERTIFICATE-----")
    news.sns.set_subscription_attributes(SubscriptionArn=arn, AttributeName="RawMessageDelivery", AttributeValue="true")
    entry = {
        "Id": "a",
        "Message": "raw",
        "MessageAttributes": {**wanted, "b": {"DataType": "Binary", "BinaryValue": b"\x00"}},
    }
    answer = news.sns.publish_batch(TopicArn=news.topic, PublishBatchRequestEntries=[entry])
    assert (answer["Failed"], answer["Successful"][0]["Id"]) == ([], "a")
    message = news.received()
    assert (message["Body"], message["MessageAttributes"]["b"]["BinaryValue"]) == ("raw", b"\x00")
    urllib.request.urlopen(body["UnsubscribeURL"], timeout=SOON_S).close()
    assert news.sns.list_subscriptions_by_topic(TopicArn=news.topic)["Subscriptions"] == []


def test_boto3_knows_the_errors(news: News) -> None:
    with pytest.raises(news.sns.exceptions.NotFoundException) as missing:
        news.sns.publish(TopicArn=f"{news.topic}-x", Message="x")
    error = missing.value.response["Error"]
    assert (error["Type"], error["Code"], error["Message"]) == ("Sender", "NotFound", "Topic does not exist")
    assert missing.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404
    with pytest.raises(news.sns.exceptions.InvalidParameterException) as invalid:
        news.sns.subscribe(TopicArn=news.topic, Protocol="x", Endpoint="y")
    assert invalid.value.response["Error"]["Code"] == "InvalidParameter"
    attribute = {"a": {"DataType": "Fish", "StringValue": "x"}}
    with pytest.raises(news.sns.exceptions.InvalidParameterValueException) as value:
        news.sns.publish(TopicArn=news.topic, Message="x", MessageAttributes=attribute)
    assert value.value.response["Error"]["Code"] == "ParameterValueInvalid"
    entries = [{"Id": str(n), "Message": "x"} for n in range(11)]
    with pytest.raises(news.sns.exceptions.TooManyEntriesInBatchRequestException):
        news.sns.publish_batch(TopicArn=news.topic, PublishBatchRequestEntries=entries)
    with pytest.raises(news.sns.exceptions.ResourceNotFoundException):
        news.sns.tag_resource(ResourceArn=f"{news.topic}-x", Tags=[{"Key": "a", "Value": "b"}])
    with pytest.raises(ClientError) as push:
        news.sns.list_platform_applications()
    assert push.value.response["Error"]["Code"] == "NotImplemented"


def test_boto3_pages_through_topics_and_tags_them(news: News) -> None:
    news.sns.tag_resource(ResourceArn=news.topic, Tags=[{"Key": "team", "Value": "a"}])
    assert news.sns.list_tags_for_resource(ResourceArn=news.topic)["Tags"] == [{"Key": "team", "Value": "a"}]
    for n in range(100):
        news.sns.create_topic(Name=f"{news.name}-{n}")
    pages = list(news.sns.get_paginator("list_topics").paginate())
    arns = [topic["TopicArn"] for page in pages for topic in page["Topics"]]
    assert len(pages) > 1
    assert news.topic in arns
    assert len(arns) == len(set(arns))


def test_a_function_gets_what_is_published(news: News) -> None:
    function = news.live.create(
        "def handler(event, context):\n    print('GOT', event['Records'][0]['Sns']['Message'])\n"
    )
    endpoint = news.arn("lambda", f"function:{function}")
    news.sns.subscribe(TopicArn=news.topic, Protocol="lambda", Endpoint=endpoint)
    news.sns.publish(TopicArn=news.topic, Message="breaking")
    logs = news.live.client("logs")

    def has_log() -> bool:
        return bool(logs.describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{function}")["logGroups"])

    until(lambda: has_log() and "GOT breaking" in news.live.log_of(function), SOON_S)


class Web(BaseHTTPRequestHandler):
    """Confirms, as a subscriber should, by the link."""

    got: list[dict[str, Any]]

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()
        self.got.append(message)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def web() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    got: list[dict[str, Any]] = []
    server = HTTPServer(("127.0.0.1", 0), type("OneWeb", (Web,), {"got": got}))
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/in", got
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_web_server_confirms_by_the_link(news: News, web: tuple[str, list[dict[str, Any]]]) -> None:
    url, got = web
    assert news.sns.subscribe(TopicArn=news.topic, Protocol="http", Endpoint=url)["SubscriptionArn"] == (
        "pending confirmation"
    )
    until(lambda: got, SOON_S)
    with urllib.request.urlopen(got.pop()["SubscribeURL"], timeout=SOON_S) as answer:
        assert b"<SubscriptionArn>" in answer.read()
    news.sns.publish(TopicArn=news.topic, Message="breaking")
    until(lambda: got, SOON_S)
    assert got[0]["Message"] == "breaking"


def test_forms_are_answered_in_xml(news: News) -> None:
    scope = f"{ACCOUNT}/20261121/{REGION}/sns/aws4_request"
    headers = {"Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"}
    form = urllib.parse.urlencode(
        {
            "Action": "Publish", "Version": "2010-03-31", "TopicArn": news.topic, "Message": "x",
            "MessageAttributes.entry.1.Name": "a", "MessageAttributes.entry.1.Value.DataType": "String",
            "MessageAttributes.entry.1.Value.StringValue": "b",
        }
    )  # fmt: skip
    request = urllib.request.Request(news.live.url, data=form.encode(), headers=headers)
    with urllib.request.urlopen(request, timeout=SOON_S) as answer:
        document = answer.read().decode()
    assert '<PublishResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><PublishResult><MessageId>' in document


def aws(live: LiveServer, *arguments: str) -> tuple[int, Any, str]:
    """The AWS CLI: exit status, its answer, standard error."""
    done = aws_cli("--endpoint-url", live.url, "--output", "json", "sns", *arguments)
    return done.returncode, json.loads(done.stdout) if done.stdout.strip() else {}, done.stderr


def test_the_aws_cli_drives_a_topic(news: News) -> None:
    name = f"{news.name}.fifo"
    attributes = "FifoTopic=true,ContentBasedDeduplication=true"
    status, created, err = aws(news.live, "create-topic", "--name", name, "--attributes", attributes)
    assert (status, created) == (0, {"TopicArn": news.arn("sns", name)}), err
    status, published, err = aws(
        news.live, "publish", "--topic-arn", created["TopicArn"], "--message", "x", "--message-group-id", "g"
    )
    assert (status, sorted(published)) == (0, ["MessageId", "SequenceNumber"]), err
    status, _, err = aws(news.live, "publish", "--topic-arn", created["TopicArn"], "--message", "x")
    assert status != 0
    assert "(InvalidParameter)" in err
    assert "Invalid parameter: The MessageGroupId parameter is required for FIFO topics" in err

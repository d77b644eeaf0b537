"""Topics on a server that enforces: who may publish and subscribe, and what a topic may send to."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError

import attrs
import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from live_server import REGION, LiveServer, environ, running, until

ACCOUNT, OTHER = "000000000000", "111122223333"
SESSION = boto3.Session()  # one that remembers the models it has read
SOON_S = 30.0


@attrs.define
class World:
    server: LiveServer
    clients: dict[tuple[str, str], Any] = attrs.field(factory=dict)

    def client(self, service: str, account_id: str = ACCOUNT) -> Any:
        """As the account's root."""
        if (service, account_id) not in self.clients:
            done = subprocess.run(
                [
                    sys.executable, "-m", "lambent", "credentials", "--json", "--data", str(self.server.data),
                    "--account", account_id,
                ],
                env=environ(), capture_output=True, text=True, timeout=60, check=True,
            )  # fmt: skip
            printed = json.loads(done.stdout)
            self.clients[service, account_id] = SESSION.client(
                service, REGION, endpoint_url=self.server.url, aws_access_key_id=printed["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=printed["AWS_SECRET_ACCESS_KEY"],
                config=Config(retries={"total_max_attempts": 1}),
            )  # fmt: skip
        return self.clients[service, account_id]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("enforced") / "data", "--auth", "enforce") as server:
        world = World(server)
        yield world
        for client in world.clients.values():
            client.close()


def test_another_account_publishes_when_the_topics_policy_lets_it(world: World) -> None:
    owner, other = world.client("sns"), world.client("sns", OTHER)
    topic = owner.create_topic(Name="shared")["TopicArn"]
    with pytest.raises(ClientError) as refused:
        other.publish(TopicArn=topic, Message="x")
    error = refused.value.response["Error"]
    assert error["Code"] == "AuthorizationError"
    assert "is not authorized to perform: sns:Publish on resource" in error["Message"].replace("SNS:", "sns:")
    owner.add_permission(TopicArn=topic, Label="l", AWSAccountId=[OTHER], ActionName=["Publish"])
    assert other.publish(TopicArn=topic, Message="x")["MessageId"]
    with pytest.raises(ClientError):
        other.get_topic_attributes(TopicArn=topic)


def test_a_queue_gets_what_its_policy_lets_the_topic_send(world: World) -> None:
    sns, sqs = world.client("sns"), world.client("sqs")
    topic = sns.create_topic(Name="news")["TopicArn"]
    url = sqs.create_queue(QueueName="dead")["QueueUrl"]
    queues = {name: f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}" for name in ("closed", "open", "dead")}
    for name in ("open", "dead"):
        statement = {
            "Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage",
            "Resource": queues[name], "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
        }  # fmt: skip
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        made = sqs.create_queue(QueueName=name)["QueueUrl"]
        sqs.set_queue_attributes(QueueUrl=made, Attributes={"Policy": policy})
    sqs.create_queue(QueueName="closed")
    dead = {"RedrivePolicy": json.dumps({"deadLetterTargetArn": queues["dead"]}), "RawMessageDelivery": "true"}
    for name in ("open", "closed"):
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queues[name], Attributes=dead)
    sns.publish(TopicArn=topic, Message="m")
    for queue in (url, url.replace("/dead", "/open")):
        (message,) = until(lambda queue=queue: sqs.receive_message(QueueUrl=queue).get("Messages"), SOON_S)  # type: ignore[misc]
        assert message["Body"] == "m"
    assert "Messages" not in sqs.receive_message(QueueUrl=url.replace("/dead", "/closed"))


def test_links_are_followed_without_a_signature_and_nothing_else_is(world: World) -> None:
    sns = world.client("sns")
    topic = sns.create_topic(Name="mailed")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="email-json", Endpoint="ann@example.com")
    folder = world.server.data / "mail"
    mail = until(lambda: next(folder.glob("*.eml"), None) if folder.is_dir() else None, SOON_S)
    link = next(part for part in mail.read_text().split('"') if "Action=ConfirmSubscription" in part)
    with urllib.request.urlopen(link, timeout=SOON_S) as answer:
        assert b"<SubscriptionArn>" in answer.read()
    (subscription,) = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    attributes = sns.get_subscription_attributes(SubscriptionArn=subscription["SubscriptionArn"])["Attributes"]
    assert attributes["ConfirmationWasAuthenticated"] == "false"
    with pytest.raises(HTTPError) as refused:
        urllib.request.urlopen(f"{world.server.url}/?Action=ListTopics&Version=2010-03-31", timeout=SOON_S)
    refused.value.close()
    assert refused.value.code == 403

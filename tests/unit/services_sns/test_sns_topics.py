"""Topics: their names, attributes, permissions and tags, in AWS's words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sns_harness import ACCOUNT, REGION, World, function_arn, queue_arn

ARN = f"arn:aws:sns:{REGION}:{ACCOUNT}:t"
OTHER = "444455556666"


async def test_a_topic_is_made_described_and_deleted(world: World) -> None:
    arn = await world.topic("t", DisplayName="News")
    assert arn == ARN
    attributes = (await world.sns("GetTopicAttributes", TopicArn=arn))["Attributes"]
    policy = json.loads(attributes.pop("Policy"))
    effective = json.loads(attributes.pop("EffectiveDeliveryPolicy"))
    assert attributes == {
        "TopicArn": arn, "Owner": ACCOUNT, "DisplayName": "News", "SubscriptionsConfirmed": "0",
        "SubscriptionsDeleted": "0", "SubscriptionsPending": "0",
    }  # fmt: skip
    assert policy["Statement"][0]["Condition"] == {"StringEquals": {"AWS:SourceOwner": ACCOUNT}}
    assert effective == {
        "http": {
            "defaultHealthyRetryPolicy": {
                "minDelayTarget": 20, "maxDelayTarget": 20, "numRetries": 3, "numMaxDelayRetries": 0,
                "numNoDelayRetries": 0, "numMinDelayRetries": 0, "backoffFunction": "linear",
            },
            "disableSubscriptionOverrides": False,
            "defaultRequestPolicy": {"headerContentType": "text/plain; charset=UTF-8"},
        }
    }  # fmt: skip
    await world.sns("DeleteTopic", TopicArn=arn)
    await world.sns("DeleteTopic", TopicArn=arn)
    assert await world.refused("GetTopicAttributes", TopicArn=arn) == ("NotFoundException", "Topic does not exist")


@pytest.mark.parametrize(
    "name", ["", "a" * 257, "a:b", "a;b", "a!", "a@", "a|", "a^", "a%", "a b", "a.fifo"]
)  # fmt: skip
async def test_names_that_are_none(world: World, name: str) -> None:
    assert await world.refused("CreateTopic", Name=name) == (
        "InvalidParameterException", "Invalid parameter: Topic Name",
    )  # fmt: skip


async def test_fifo_topics_are_called_so(world: World) -> None:
    await world.topic("a" * 256)
    arn = await world.topic("t.fifo")
    attributes = (await world.sns("GetTopicAttributes", TopicArn=arn))["Attributes"]
    assert (attributes["FifoTopic"], attributes["ContentBasedDeduplication"]) == ("true", "false")
    code, message = await world.refused("CreateTopic", Name="t", Attributes={"FifoTopic": "true"})
    assert (code, message.split(" must be made")[0]) == (
        "InvalidParameterException",
        "Invalid parameter: Fifo Topic names must end with .fifo and",
    )
    assert await world.refused(
        "SetTopicAttributes", TopicArn=arn, AttributeName="FifoTopic", AttributeValue="false"
    ) == ("InvalidParameterException", "Invalid parameter: AttributeName")


async def test_making_a_topic_again_gives_the_same_unless_something_differs(world: World) -> None:
    arn = await world.topic()
    await world.sns("SetTopicAttributes", TopicArn=arn, AttributeName="DisplayName", AttributeValue="x")
    assert await world.topic() == arn
    assert await world.topic(DisplayName="x") == arn
    assert await world.refused("CreateTopic", Name="t", Attributes={"DisplayName": "y"}) == (
        "InvalidParameterException", "Invalid parameter: Attributes Reason: Topic already exists with different attributes",
    )  # fmt: skip
    assert await world.refused("CreateTopic", Name="t", Tags=[{"Key": "a", "Value": "b"}]) == (
        "InvalidParameterException", "Invalid parameter: Tags Reason: Topic already exists with different tags",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arn", "message"),
    [
        ("randomarn", "TopicArn Reason: An ARN must have at least 6 elements, not 1"),
        ("randomarn:1", "TopicArn Reason: An ARN must have at least 6 elements, not 2"),
        ("", "TopicArn Reason: An ARN must have at least 6 elements, not 1"),
        (f"arn:aws:sns:us-west-1:{ACCOUNT}:t", "TopicArn"),
        (f"{ARN}:5b138059", "Topic Name"),
    ],
)
async def test_arns_that_are_no_topics(world: World, arn: str, message: str) -> None:
    for operation, members in (("Publish", {"Message": "x"}), ("GetTopicAttributes", {}), ("DeleteTopic", {})):
        refused = await world.refused(operation, TopicArn=arn, **members)
        assert refused == ("InvalidParameterException", f"Invalid parameter: {message}")


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("DisplayName", "", ""),
        ("SignatureVersion", "2", "2"),
        ("TracingConfig", "Active", "Active"),
        ("KmsMasterKeyId", "alias/aws/sns", "alias/aws/sns"),
        ("MaximumMessageSize", "1048576", "1048576"),
        ("HTTPSuccessFeedbackSampleRate", "50", "50"),
        (
            "DeliveryPolicy",
            '{"http":{"defaultRequestPolicy":{"headerContentType":"application/json"}}}',
            '{"http":{"disableSubscriptionOverrides":false,"defaultRequestPolicy":{"headerContentType":"application/json"}}}',
        ),
    ],
)
async def test_attributes_are_kept(world: World, name: str, value: str, kept: str) -> None:
    arn = await world.topic()
    await world.sns("SetTopicAttributes", TopicArn=arn, AttributeName=name, AttributeValue=value)
    assert (await world.sns("GetTopicAttributes", TopicArn=arn))["Attributes"][name] == kept


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Nonsense", "x"),
        ("SignatureVersion", "3"),
        ("TracingConfig", "x"),
        ("DisplayName", "x" * 101),
        ("MaximumMessageSize", "1023"),
        ("MaximumMessageSize", "1048577"),
        ("MaximumMessageSize", "many"),
        ("Policy", "{"),
        ("Policy", '{"Statement":[{"Effect":"Maybe"}]}'),
        ("ContentBasedDeduplication", "true"),
        ("ArchivePolicy", "{}"),
        ("DeliveryPolicy", "{"),
        ("DeliveryPolicy", '{"http":{"defaultHealthyRetryPolicy":{"numRetries":101}}}'),
        ("DeliveryPolicy", '{"http":{"defaultHealthyRetryPolicy":{"minDelayTarget":0}}}'),
        ("DeliveryPolicy", '{"http":{"defaultHealthyRetryPolicy":{"maxDelayTarget":3601}}}'),
        ("DeliveryPolicy", '{"http":{"defaultHealthyRetryPolicy":{"numRetries":100,"maxDelayTarget":100}}}'),
        ("DeliveryPolicy", '{"http":{"defaultThrottlePolicy":{"maxReceivesPerSecond":0}}}'),
        ("DeliveryPolicy", '{"ftp":{}}'),
    ],
)
async def test_attributes_that_are_refused_change_nothing(world: World, name: str, value: str) -> None:
    arn = await world.topic()
    before = await world.sns("GetTopicAttributes", TopicArn=arn)
    code, _ = await world.refused("SetTopicAttributes", TopicArn=arn, AttributeName=name, AttributeValue=value)
    assert code == "InvalidParameterException"
    code, message = await world.refused("CreateTopic", Name="new", Attributes={name: value})
    assert (code, message[:38]) == ("InvalidParameterException", "Invalid parameter: Attributes Reason: "[:38])
    assert await world.sns("GetTopicAttributes", TopicArn=arn) == before


async def test_a_delivery_policy_is_taken_back(world: World) -> None:
    arn = await world.topic(
        DeliveryPolicy='{"http":{"defaultHealthyRetryPolicy":{"minDelayTarget":5,"maxDelayTarget":6,"numRetries":1}}}'
    )
    attributes = (await world.sns("GetTopicAttributes", TopicArn=arn))["Attributes"]
    retry = json.loads(attributes["EffectiveDeliveryPolicy"])["http"]["defaultHealthyRetryPolicy"]
    assert (retry["minDelayTarget"], retry["numRetries"], retry["backoffFunction"]) == (5, 1, "linear")
    await world.sns("SetTopicAttributes", TopicArn=arn, AttributeName="DeliveryPolicy")
    assert "DeliveryPolicy" not in (await world.sns("GetTopicAttributes", TopicArn=arn))["Attributes"]


async def test_topics_for_large_messages_have_few_subscriptions_of_few_kinds(world: World) -> None:
    arn = await world.topic(MaximumMessageSize="300000")
    message = "Invalid parameter: Topics for large messages do not support the protocol email"
    assert (await world.refused("Subscribe", TopicArn=arn, Protocol="email", Endpoint="a@b.c"))[1] == message
    plain = await world.topic("plain")
    await world.subscribe(plain, "email", "a@b.c")
    code, _ = await world.refused(
        "SetTopicAttributes", TopicArn=plain, AttributeName="MaximumMessageSize", AttributeValue="300000"
    )
    assert code == "InvalidParameterException"


# --- permissions


async def test_permissions_are_statements_of_the_policy(world: World) -> None:
    arn = await world.topic()
    grant: dict[str, Any] = {
        "TopicArn": arn, "Label": "l", "AWSAccountId": [OTHER], "ActionName": ["Publish", "Subscribe"],
    }  # fmt: skip
    await world.sns("AddPermission", **grant)
    statement = json.loads((await world.sns("GetTopicAttributes", TopicArn=arn))["Attributes"]["Policy"])["Statement"][
        1
    ]
    assert statement == {
        "Sid": "l", "Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{OTHER}:root"},
        "Action": ["SNS:Publish", "SNS:Subscribe"], "Resource": arn,
    }  # fmt: skip
    assert (await world.refused("AddPermission", **grant))[1] == "Invalid parameter: Statement already exists"
    bad = {**grant, "ActionName": ["Fly"]}
    assert (await world.refused("AddPermission", **bad))[1] == (
        "Invalid parameter: Policy statement action out of service scope!"
    )
    assert "MessageId" in await world.sns("Publish", OTHER, TopicArn=arn, Message="x")
    await world.sns("RemovePermission", TopicArn=arn, Label="l")
    code, message = await world.refused("Publish", OTHER, TopicArn=arn, Message="x")
    assert (code, message) == (
        "AuthorizationErrorException",
        f"User: arn:aws:iam::{OTHER}:root is not authorized to perform: SNS:Publish on resource: {arn} because no "
        "resource-based policy allows the SNS:Publish action",
    )


# --- tags


async def test_tags(world: World) -> None:
    arn = await world.topic()
    await world.sns("TagResource", ResourceArn=arn, Tags=[{"Key": "k1", "Value": "v1"}, {"Key": "k2", "Value": "v2"}])
    await world.sns("UntagResource", ResourceArn=arn, TagKeys=["k1"])
    await world.sns("TagResource", ResourceArn=arn, Tags=[{"Key": "k2", "Value": "v2b"}])
    assert (await world.sns("ListTagsForResource", ResourceArn=arn))["Tags"] == [{"Key": "k2", "Value": "v2b"}]
    twice = [{"Key": "k", "Value": "1"}, {"Key": "k", "Value": "2"}]
    assert await world.refused("TagResource", ResourceArn=arn, Tags=twice) == (
        "InvalidParameterException", "Invalid parameter: Duplicated keys are not allowed.",
    )  # fmt: skip
    many = [{"Key": str(n), "Value": ""} for n in range(50)]
    assert (await world.refused("TagResource", ResourceArn=arn, Tags=many))[0] == "TagLimitExceededException"
    assert await world.refused("ListTagsForResource", ResourceArn=f"{arn}x") == (
        "ResourceNotFoundException", "Resource does not exist",
    )  # fmt: skip


async def test_lists_come_in_pages_of_a_hundred(world: World) -> None:
    for n in range(101):
        await world.topic(f"t{n:03}")
    first = await world.sns("ListTopics")
    second = await world.sns("ListTopics", NextToken=first["NextToken"])
    assert (len(first["Topics"]), [t["TopicArn"][-4:] for t in second["Topics"]]) == (100, ["t100"])
    assert "NextToken" not in second
    assert (await world.refused("ListTopics", NextToken="?"))[0] == "InvalidParameterException"
    assert await world.sns("ListTopics", OTHER) == {"Topics": []}


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        ("CreatePlatformApplication", {"Name": "a"}),
        ("GetSMSAttributes", {}),
        ("Publish", {"PhoneNumber": "+4912345", "Message": "x"}),
        ("PutDataProtectionPolicy", {}),
    ],
)
async def test_what_is_not_offered_says_so(world: World, operation: str, members: dict[str, Any]) -> None:
    code, message = await world.refused(operation, **members)
    assert code == "NotImplemented"
    assert message.endswith("is not offered by this server.")


async def test_everything_survives_a_restart(world: World) -> None:
    arn = await world.topic("t", DisplayName="News")
    await world.queue()
    sub = await world.subscribe(arn, "sqs", queue_arn("q"), RawMessageDelivery="true")
    await world.subscribe(arn, "lambda", function_arn("f"))
    described = await world.sns("GetTopicAttributes", TopicArn=arn)
    subscribed = await world.sns("GetSubscriptionAttributes", SubscriptionArn=sub)
    listed = await world.sns("ListSubscriptions")
    await world.end()
    await world.begin()
    assert await world.sns("GetTopicAttributes", TopicArn=arn) == described
    assert await world.sns("GetSubscriptionAttributes", SubscriptionArn=sub) == subscribed
    assert await world.sns("ListSubscriptions") == listed

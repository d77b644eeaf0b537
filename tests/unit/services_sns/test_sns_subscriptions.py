"""Subscriptions: who may have which endpoint, how they are confirmed, and what they are told."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest

from lambent.services.sns.subscriptions import TOKEN_MS
from sns_harness import ACCOUNT, BASE_URL, REGION, Endpoint, World, context, function_arn, queue_arn

OTHER = "444455556666"


async def test_a_queue_is_subscribed_at_once(world: World) -> None:
    topic = await world.topic()
    arn = await world.subscribe(topic, "sqs", queue_arn("unknown"))
    assert arn.startswith(f"{topic}:")
    attributes = (await world.sns("GetSubscriptionAttributes", SubscriptionArn=arn))["Attributes"]
    assert attributes == {
        "ConfirmationWasAuthenticated": "true", "Endpoint": queue_arn("unknown"), "Owner": ACCOUNT,
        "PendingConfirmation": "false", "Protocol": "sqs", "RawMessageDelivery": "false", "SubscriptionArn": arn,
        "SubscriptionPrincipal": f"arn:aws:iam::{ACCOUNT}:root", "TopicArn": topic,
    }  # fmt: skip
    listed = {"SubscriptionArn": arn, "Owner": ACCOUNT, "Protocol": "sqs", "Endpoint": queue_arn("unknown")}
    assert await world.sns("ListSubscriptionsByTopic", TopicArn=topic) == {
        "Subscriptions": [{**listed, "TopicArn": topic}]
    }
    await world.sns("Unsubscribe", SubscriptionArn=arn)
    await world.sns("Unsubscribe", SubscriptionArn=arn)
    assert await world.sns("ListSubscriptions") == {"Subscriptions": []}
    assert await world.refused("GetSubscriptionAttributes", SubscriptionArn=arn) == (
        "NotFoundException", "Subscription does not exist",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("protocol", "endpoint", "message"),
    [
        ("test-protocol", "x", "Amazon SNS does not support this protocol string: test-protocol"),
        ("sqs", f"http://here/{ACCOUNT}/q", "SQS endpoint ARN"),
        ("sqs", "arn:aws:sqs:x", "SQS endpoint ARN"),
        ("lambda", "f", "Lambda endpoint ARN"),
        ("http", "https://x", "Endpoint must match the specified protocol"),
        ("https", "http://x", "Endpoint must match the specified protocol"),
        ("http", "http://u@v@x/", "Endpoint must match the specified protocol"),
        ("http", "http://x/\u00e4", "Endpoint must match the specified protocol"),
        ("http", "http://x/\x00", "Endpoint must match the specified protocol"),
        ("http", "http://x/a b", "Endpoint must match the specified protocol"),
        ("email", "nobody", "Email address"),
        ("email", "a/../b@c.d", "Email address"),
        ("sms", "+123", "Protocol Reason: sms is not offered by this server"),
        ("firehose", "arn:aws:firehose:x", "Protocol Reason: firehose is not offered by this server"),
        ("sqs", None, "Endpoint Reason: no value for required parameter"),
        (
            "sqs", queue_arn("q.fifo"),
            "Invalid parameter: Endpoint Reason: FIFO SQS Queues can not be subscribed to standard SNS topics",
        ),
    ],
)  # fmt: skip
async def test_endpoints_that_are_none(world: World, protocol: str, endpoint: str | None, message: str) -> None:
    topic = await world.topic()
    refused = await world.refused("Subscribe", TopicArn=topic, Protocol=protocol, Endpoint=endpoint)
    assert refused == ("InvalidParameterException", f"Invalid parameter: {message}")


async def test_fifo_topics_take_queues_only(world: World) -> None:
    topic = await world.topic("t.fifo")
    await world.subscribe(topic, "sqs", queue_arn("q.fifo"))
    await world.subscribe(topic, "sqs", queue_arn("q"))
    code, _ = await world.refused("Subscribe", TopicArn=topic, Protocol="lambda", Endpoint=function_arn("f"))
    assert code == "InvalidParameterException"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("RawMessageDelivery", "wrong", "RawMessageDelivery: Invalid value [wrong]. Must be true or false."),
        ("RawMessageDelivery", "", "RawMessageDelivery: Invalid value []. Must be true or false."),
        ("RedrivePolicy", '{"deadLetterTargetArn": "fake"}', "RedrivePolicy: deadLetterTargetArn is an invalid arn"),
        ("RedrivePolicy", "{}", "RedrivePolicy: deadLetterTargetArn is an invalid arn"),
        (
            "FilterPolicyScope", "RandomValue",
            "FilterPolicyScope: Invalid value [RandomValue]. Please use either MessageBody or MessageAttributes",
        ),
        (
            "FilterPolicy", '{"a":{"b":["c"]}}',
            "Filter policy scope MessageAttributes does not support nested filter policy",
        ),
        ("FilterPolicy", '{"$or":[{"a":{"b":["c"]}},{"d":["e"]}]}', "Filter policy scope MessageAttributes does not support nested filter policy"),
        (
            "FilterPolicy", '{"a":"b"}',
            'FilterPolicy: "a" must be an object or an array\n at [Source: (String)"{"a":"b"}"; line: 1, column: 7]',
        ),
        ("FilterPolicy", json.dumps({c: ["x"] for c in "abcdef"}), "FilterPolicy: Filter policy can not have more than 5 keys"),
        ("FilterPolicy", json.dumps({"a": list(range(151))}), "FilterPolicy: Filter policy is too complex"),
        ("FilterPolicy", json.dumps({c: list(range(6)) for c in "abc"}), "FilterPolicy: Filter policy is too complex"),
        (
            "FilterPolicy", "{invalid}",
            "FilterPolicy: failed to parse JSON. Unexpected character ('i' (code 105)): was expecting double-quote to "
            "start field name\n at [Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: 1, "
            "column: 2]",
        ),
        (
            "RedrivePolicy", "{invalid}",
            "RedrivePolicy: failed to parse JSON. Unexpected character ('i' (code 105)): was expecting double-quote to "
            "start field name\n at [Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: 1, "
            "column: 2]",
        ),
        ("SubscriptionRoleArn", "x", "SubscriptionRoleArn: Firehose is not offered by this server"),
        ("ReplayPolicy", "{}", "ReplayPolicy: archives and replays are not offered by this server"),
        ("DeliveryPolicy", "{}", "DeliveryPolicy: Delivery protocol [sqs] does not support delivery policies."),
    ],
)  # fmt: skip
async def test_attributes_that_are_refused(world: World, name: str, value: str, message: str) -> None:
    topic = await world.topic()
    arn = await world.subscribe(topic, "sqs", queue_arn("q"))
    setting = {"SubscriptionArn": arn, "AttributeName": name, "AttributeValue": value}
    assert await world.refused("SetSubscriptionAttributes", **setting) == (
        "InvalidParameterException", f"Invalid parameter: {message}",
    )  # fmt: skip
    subscribing: dict[str, Any] = {"Protocol": "sqs", "Endpoint": queue_arn("r"), "Attributes": {name: value}}
    assert await world.refused("Subscribe", TopicArn=topic, **subscribing) == (
        "InvalidParameterException", f"Invalid parameter: Attributes Reason: {message}",
    )  # fmt: skip


async def test_attributes_that_mean_nothing(world: World) -> None:
    topic = await world.topic()
    arn = await world.subscribe(topic, "lambda", function_arn("f"))
    setting = {"SubscriptionArn": arn, "AttributeName": "fake", "AttributeValue": "x"}
    assert (await world.refused("SetSubscriptionAttributes", **setting))[1] == "Invalid parameter: AttributeName"
    setting = {"SubscriptionArn": arn, "AttributeName": "RawMessageDelivery", "AttributeValue": "true"}
    assert (await world.refused("SetSubscriptionAttributes", **setting))[1] == (
        "Invalid parameter: Delivery protocol [lambda] does not support raw message delivery."
    )


async def test_a_scope_shows_with_its_policy(world: World) -> None:
    arn = await world.subscribe(await world.topic(), "sqs", queue_arn("q"))

    async def change(name: str, value: str) -> dict[str, str]:
        members = {"SubscriptionArn": arn, "AttributeName": name, "AttributeValue": value}
        await world.sns("SetSubscriptionAttributes", **members)
        found: dict[str, str] = (await world.sns("GetSubscriptionAttributes", SubscriptionArn=arn))["Attributes"]
        return found

    assert "FilterPolicyScope" not in await change("FilterPolicyScope", "MessageBody")
    assert (await change("FilterPolicy", '{"a":{"b":["c"]}}'))["FilterPolicyScope"] == "MessageBody"
    assert "FilterPolicy" not in await change("FilterPolicy", "")
    await change("FilterPolicyScope", "MessageAttributes")
    assert (await change("FilterPolicy", '{"a":["c"]}'))["FilterPolicyScope"] == "MessageAttributes"


async def test_subscribing_again_gives_the_same_unless_attributes_differ(world: World) -> None:
    topic = await world.topic()
    arn = await world.subscribe(topic, "sqs", queue_arn("q"), RawMessageDelivery="true")
    assert await world.subscribe(topic, "sqs", queue_arn("q"), RawMessageDelivery="true") == arn
    assert await world.subscribe(topic, "sqs", queue_arn("q")) == arn
    members: dict[str, Any] = {
        "Protocol": "sqs",
        "Endpoint": queue_arn("q"),
        "Attributes": {"RawMessageDelivery": "false"},
    }
    assert (await world.refused("Subscribe", TopicArn=topic, **members))[1] == (
        "Invalid parameter: Attributes Reason: Subscription already exists with different attributes"
    )


@pytest.mark.parametrize(
    ("arn", "message"),
    [
        ("randomarn", "SubscriptionArn Reason: An ARN must have at least 6 elements, not 1"),
        (f"arn:aws:sns:{REGION}:{ACCOUNT}", "SubscriptionArn Reason: An ARN must have at least 6 elements, not 5"),
        (f"arn:aws:sns:{REGION}:{ACCOUNT}:t", "SubscriptionId"),
        ("", "SubscriptionArn Reason: no value for required parameter"),
    ],
)
async def test_arns_that_are_no_subscriptions(world: World, arn: str, message: str) -> None:
    assert (await world.refused("Unsubscribe", SubscriptionArn=arn))[1] == f"Invalid parameter: {message}"


async def test_a_web_server_confirms_and_is_told_when_it_ends(world: World) -> None:
    web = Endpoint()
    await web.begin()
    topic = await world.topic()
    answer = await world.sns("Subscribe", TopicArn=topic, Protocol="http", Endpoint=web.url)
    assert answer == {"SubscriptionArn": "pending confirmation"}
    (listed,) = (await world.sns("ListSubscriptions"))["Subscriptions"]
    assert listed["SubscriptionArn"] == "PendingConfirmation"
    await world.until(lambda: web.requests)
    headers, body = web.requests.pop()
    asked = json.loads(body)
    assert {name: headers[name] for name in headers if name.startswith("x-amz")} == {
        "x-amz-sns-message-type": "SubscriptionConfirmation", "x-amz-sns-message-id": asked["MessageId"],
        "x-amz-sns-topic-arn": topic,
    }  # fmt: skip
    assert (headers["content-type"], headers["user-agent"], headers[":path"]) == (
        "text/plain; charset=UTF-8", "Amazon Simple Notification Service Agent", "/news?a=b",
    )  # fmt: skip
    assert asked["Message"] == (
        f"You have chosen to subscribe to the topic {topic}.\n"
        "To confirm the subscription, visit the SubscribeURL included in this message."
    )
    assert asked["SubscribeURL"].startswith(f"{BASE_URL}/?Action=ConfirmSubscription&TopicArn={topic}&Token=")
    await world.sns("Publish", TopicArn=topic, Message="too early")
    arn = await confirm(world, topic, asked["Token"])
    assert await confirm(world, topic, asked["Token"]) == arn
    attributes = (await world.sns("GetSubscriptionAttributes", SubscriptionArn=arn))["Attributes"]
    assert (attributes["PendingConfirmation"], attributes["ConfirmationWasAuthenticated"]) == ("false", "false")
    assert json.loads(attributes["EffectiveDeliveryPolicy"])["healthyRetryPolicy"]["numRetries"] == 3

    await world.sns("Unsubscribe", SubscriptionArn=arn)
    await world.until(lambda: web.requests)
    headers, body = web.requests.pop()
    farewell = json.loads(body)
    assert (farewell["Type"], headers["x-amz-sns-subscription-arn"]) == ("UnsubscribeConfirmation", arn)
    assert await world.sns("ListSubscriptions") == {"Subscriptions": []}
    await world.sns("Publish", TopicArn=topic, Message="too late")
    assert await confirm(world, topic, farewell["Token"]) == arn  # it comes back
    await world.sns("Publish", TopicArn=topic, Message="in time")
    await world.until(lambda: web.requests)
    assert json.loads(web.requests.pop()[1])["Message"] == "in time"
    await world.idle()
    assert web.requests == []
    await web.end()


async def test_a_web_server_may_ask_for_a_password_that_is_not_shown(world: World) -> None:
    web = Endpoint()
    await web.begin()
    topic = await world.topic()
    arn = await world.subscribe(topic, "http", web.url.replace("//", "//ann:s%40cret@"))
    await world.until(lambda: web.requests)
    assert web.requests[0][0]["authorization"] == "Basic " + base64.b64encode(b"ann:s@cret").decode()
    assert web.requests[0][0]["host"] == web.url.split("/")[2]
    expected = web.url.replace("//", "//ann:****@")
    assert (await world.sns("GetSubscriptionAttributes", SubscriptionArn=arn))["Attributes"]["Endpoint"] == expected
    assert (await world.sns("ListSubscriptions"))["Subscriptions"][0]["Endpoint"] == expected
    await world.idle()
    await web.end()


async def confirm(world: World, topic: str, token: str, **members: Any) -> str:
    """By the link, without a signature."""
    call = world.service.operations["ConfirmSubscription"]
    anybody = context("000000000000", access_key_id=None, region="us-east-1")
    answer = await call(anybody, {"TopicArn": topic, "Token": token, **members})
    arn: str = answer["SubscriptionArn"]
    return arn


async def test_tokens_that_confirm_nothing(world: World) -> None:
    topic = await world.topic()
    await world.subscribe(topic, "email", "a@b.c")
    token = world.topics.subscriptions_to(topic)[0].token
    unknown = "ab" * 128
    for arn, given, message in (
        (f"{topic}x", token, "Invalid parameter: Token"),
        ("arn:aws:sns", token, "Invalid parameter: Topic"),
        (topic, "randomtoken", "Invalid token"),
        (topic, unknown, "Invalid parameter: Token"),
    ):
        assert (await world.refused("ConfirmSubscription", TopicArn=arn, Token=given))[1] == message
    world.clock.advance(TOKEN_MS / 1000 + 1)
    assert (await world.refused("ConfirmSubscription", TopicArn=topic, Token=token))[1] == "Invalid parameter: Token"


async def test_what_was_not_confirmed_in_time_makes_room(world: World) -> None:
    topic = await world.topic()
    old = await world.subscribe(topic, "email", "a@b.c")
    world.clock.advance(TOKEN_MS / 1000 + 1)
    await world.subscribe(topic, "email", "d@e.f")
    assert [s.endpoint for s in world.topics.subscriptions_to(topic)] == ["d@e.f"]
    assert (await world.refused("GetSubscriptionAttributes", SubscriptionArn=old))[0] == "NotFoundException"


async def test_what_was_confirmed_with_a_signature_may_ask_for_one_to_end(world: World) -> None:
    topic = await world.topic()
    await world.subscribe(topic, "email", "a@b.c")
    token = world.topics.subscriptions_to(topic)[0].token
    members = {"TopicArn": topic, "Token": token, "AuthenticateOnUnsubscribe": "true"}
    arn = (await world.sns("ConfirmSubscription", **members))["SubscriptionArn"]
    code, _ = await world.refused("Unsubscribe", OTHER, SubscriptionArn=arn)
    assert code == "AuthorizationErrorException"
    await world.sns("Unsubscribe", SubscriptionArn=arn)
    assert await world.sns("ListSubscriptions") == {"Subscriptions": []}


async def test_mail_is_written_to_a_folder(world: World) -> None:
    topic = await world.topic("t", DisplayName='The "News"')
    for protocol in ("email", "email-json"):
        await world.subscribe(topic, protocol, "ann@example.com")
    await world.idle()
    mails = sorted((world.folder / "mail").iterdir())
    assert len(mails) == 2
    assert all("ConfirmSubscription" in mail.read_text() for mail in mails)
    for subscription in world.topics.subscriptions_to(topic):
        await confirm(world, topic, subscription.token)
        (world.folder / "mail" / mails.pop().name).unlink()
    await world.sns("Publish", TopicArn=topic, Message="Grüße", Subject="Hello")
    await world.idle()
    texts = [mail.read_text() for mail in (world.folder / "mail").iterdir()]
    assert len(texts) == 2
    assert all("To: ann@example.com" in text and "From: The News" in text.replace('"', "") for text in texts)
    assert all("Subject: Hello" in text for text in texts)


async def test_another_accounts_queue_is_asked_first(world: World) -> None:
    topic = await world.topic()
    await world.sqs.operations["CreateQueue"](context(OTHER), {"QueueName": "q"})
    answer = await world.sns("Subscribe", TopicArn=topic, Protocol="sqs", Endpoint=queue_arn("q", OTHER))
    assert answer["SubscriptionArn"] == "pending confirmation"
    await world.idle()
    received = await world.sqs.operations["ReceiveMessage"](context(OTHER), {"QueueUrl": "q"})
    asked = json.loads(received["Messages"][0]["Body"])
    assert (asked["Type"], asked["TopicArn"]) == ("SubscriptionConfirmation", topic)


async def test_deleting_a_topic_ends_its_subscriptions(world: World) -> None:
    topic = await world.topic()
    await world.subscribe(topic, "sqs", queue_arn("q"))
    await world.sns("DeleteTopic", TopicArn=topic)
    assert await world.sns("ListSubscriptions") == {"Subscriptions": []}
    await world.topic()
    assert await world.sns("ListSubscriptionsByTopic", TopicArn=topic) == {"Subscriptions": []}
    await world.idle()


async def test_changes_at_the_same_time_lose_none(world: World) -> None:
    topic = await world.topic()
    answers = await asyncio.gather(*[world.subscribe(topic, "sqs", queue_arn("q")) for _ in range(8)])
    (arn,) = set(answers)
    changes = {"RawMessageDelivery": "true", "FilterPolicy": '{"a":["b"]}', "FilterPolicyScope": "MessageBody"}
    await asyncio.gather(
        *[
            world.sns("SetSubscriptionAttributes", SubscriptionArn=arn, AttributeName=name, AttributeValue=value)
            for name, value in changes.items()
        ]
    )
    attributes = (await world.sns("GetSubscriptionAttributes", SubscriptionArn=arn))["Attributes"]
    assert {name: attributes[name] for name in changes} == changes
    grant: dict[str, Any] = {"TopicArn": topic, "AWSAccountId": [OTHER], "ActionName": ["Publish"]}
    await asyncio.gather(*[world.sns("AddPermission", Label=f"l{n}", **grant) for n in range(8)])
    policy = (await world.sns("GetTopicAttributes", TopicArn=topic))["Attributes"]["Policy"]
    assert {s["Sid"] for s in json.loads(policy)["Statement"]} >= {f"l{n}" for n in range(8)}


async def test_whoever_comes_back_finds_the_subscription_that_was_made_meanwhile(world: World) -> None:
    web = Endpoint()
    await web.begin()
    topic = await world.topic()
    arn = await world.subscribe(topic, "http", web.url)
    await confirm(world, topic, world.topics.subscriptions_to(topic)[0].token)
    await world.sns("Unsubscribe", SubscriptionArn=arn)
    back = world.topics.subscriptions_to(topic)[0].token
    newer = await world.subscribe(topic, "http", web.url)
    assert await confirm(world, topic, back) == newer
    assert newer != arn
    await world.idle()
    await web.end()


# What AWS answered to filter policies, and the column at which it found the mistake.
MISTAKES = [
    ('{"key":[["value"]]}', "Match value must be String, number, true, false, or null", 10),
    ('{"key":[{"wrong-operator":true}]}', "Unrecognized match type wrong-operator", 31),
    ('{"key":[{"suffix":"value","prefix":"value2"}]}', "Only one key allowed in match expression", 37),
    ('{"key":[{"suffix":100}]}', "suffix match pattern must be a string", 22),
    ('{"key":[{"suffix":null}]}', "suffix match pattern must be a string", 23),
    ('{"key":[{"suffix":[]}]}', "suffix match pattern must be a string", 20),
    ('{"key":[{"suffix":["test","test2"]}]}', "suffix match pattern must be a string", 20),
    ('{"key":[{"numeric":[]}]}', "Invalid member in numeric match: ]", 22),
    ('{"key":[{"numeric":["operator"]}]}', "Unrecognized numeric range operator: operator", 32),
    ('{"key":[{"numeric":[1,"<="]}]}', "Invalid member in numeric match: 1", 22),
    ('{"key":[{"numeric":["=","000"]}]}', "Value of equals must be numeric", 26),
    ('{"key":[{"numeric":[">="]}]}', "Value of >= must be numeric", 26),
    ('{"key":[{"numeric":["<",100,">",10]}]}', "Too many elements in numeric expression", 30),
    ('{"key":[{"numeric":[">=",1,">",2]}]}', "Bad numeric range operator: >", 31),
    ('{"key":[{"numeric":[">",3,"<",1]}]}', "Bottom must be less than top", 33),
    ('{"key":[{"numeric":[">",20,"<="]}]}', "Value of <= must be numeric", 33),
    ('{"key":[{"numeric":[">",20,30]}]}', "Bad value in numeric range: 30", 30),
    ('{"key":[{"numeric":[">",20,"test"]}]}', "Bad numeric range operator: test", 34),
    ('{"key":[{"numeric":[">","20","<","30"]}]}', "Value of > must be numeric", 26),
    ('{"key":[{"numeric":[">",20,"<","30"]}]}', "Value of < must be numeric", 33),
    ('{"key":[{"numeric":[">",20,"<",30,"<",50]}]}', "Too many terms in numeric range expression", 36),
    ('{"key":[{"exists":null}]}', "exists match pattern must be either true or false.", 23),
    ('{"key":[{"exists":"no"}]}', "exists match pattern must be either true or false.", 20),
]


@pytest.mark.parametrize(("policy", "reason", "column"), MISTAKES)
async def test_mistakes_in_filter_policies_are_told_in_awss_words(
    world: World, policy: str, reason: str, column: int
) -> None:
    topic = await world.topic()
    members: dict[str, Any] = {"Protocol": "sqs", "Endpoint": queue_arn("q"), "Attributes": {"FilterPolicy": policy}}
    assert (await world.refused("Subscribe", TopicArn=topic, **members))[1] == (
        f"Invalid parameter: Attributes Reason: FilterPolicy: {reason}\n"
        f' at [Source: (String)"{policy}"; line: 1, column: {column}]'
    )


async def test_filter_policies_compare_with_numbers_up_to_a_billion(world: World) -> None:
    topic = await world.topic()
    members: dict[str, Any] = {"TopicArn": topic, "Protocol": "sqs", "Endpoint": queue_arn("q")}
    policy = '{"key":[{"numeric":[">",1000000001]}]}'
    assert (await world.refused("Subscribe", **members, Attributes={"FilterPolicy": policy}))[1] == (
        "Invalid parameter: Attributes Reason: FilterPolicy: Value must be between -1.0E9 and 1.0E9, inclusive\n"
        f' at [Source: (String)"{policy}"; line: 1, column: 36]'
    )
    await world.sns("Subscribe", **members, Attributes={"FilterPolicy": '{"key":[{"numeric":[">",1000000000]}]}'})

"""Messages: what may be published, who gets it, and in which form."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from lambent.services.sns import Signer
from sns_harness import BASE_URL, World, context, function_arn, queue_arn

TEXT = {"DataType": "String", "StringValue": "x"}


async def subscribed(world: World, **attributes: str) -> str:
    """A topic with a queue `q`."""
    topic = await world.topic()
    await world.subscribe(topic, "sqs", await world.queue(), **attributes)
    return topic


async def test_a_queue_gets_the_envelope(world: World) -> None:
    topic = await subscribed(world)
    attributes = {
        "bytes": {"DataType": "Binary", "BinaryValue": b"\x02\x03\x04"},
        "n": {"DataType": "Number", "StringValue": "1.5"},
    }
    published = await world.sns(
        "Publish", TopicArn=topic, Message='ö§a1"_\n', Subject="hello", MessageAttributes=attributes
    )
    (message,) = await world.received()
    body = json.loads(message["Body"])
    assert list(body) == [
        "Type", "MessageId", "TopicArn", "Subject", "Message", "Timestamp", "SignatureVersion", "Signature",
        "SigningCertURL", "UnsubscribeURL", "MessageAttributes",
    ]  # fmt: skip
    assert (body["Type"], body["MessageId"], body["Message"]) == ("Notification", published["MessageId"], 'ö§a1"_\n')
    assert body["MessageAttributes"] == {
        "bytes": {"Type": "Binary", "Value": "AgME"},
        "n": {"Type": "Number", "Value": "1.5"},
    }
    subscription = world.topics.subscriptions_to(topic)[0]
    assert body["UnsubscribeURL"].startswith(f"{BASE_URL}/?Action=Unsubscribe&SubscriptionArn={subscription.arn}")
    assert message["Body"].startswith('{\n  "Type" : "Notification",\n  "MessageId" : ')
    assert "MessageAttributes" not in message


@pytest.mark.parametrize(("version", "digest"), [("1", hashes.SHA1()), ("2", hashes.SHA256())])
async def test_signatures_are_the_certificates(world: World, version: str, digest: hashes.HashAlgorithm) -> None:
    topic = await subscribed(world)
    setting = {"AttributeName": "SignatureVersion", "AttributeValue": version}
    await world.sns("SetTopicAttributes", TopicArn=topic, **setting)
    await world.sns("Publish", TopicArn=topic, Message="m", Subject="s")
    (body,) = await world.bodies()
    signed = "".join(
        f"{name}\n{body[name]}\n" for name in ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
    )
    signer = Signer(world.topics)
    key = x509.load_pem_x509_certificate(await signer.certificate()).public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    key.verify(base64.b64decode(body["Signature"]), signed.encode(), padding.PKCS1v15(), digest)
    assert body["SignatureVersion"] == version
    assert body["SigningCertURL"] == signer.certificate_url(BASE_URL)


async def test_a_raw_message_is_the_message(world: World) -> None:
    topic = await subscribed(world, RawMessageDelivery="true")
    attributes = {"bytes": {"DataType": "Binary", "BinaryValue": b"\x02"}, "t": TEXT}
    await world.sns("Publish", TopicArn=topic, Message="m", MessageAttributes=attributes, MessageGroupId="g")
    (message,) = await world.received()
    assert (message["Body"], message["MessageAttributes"]) == ("m", attributes)
    assert message["Attributes"]["MessageGroupId"] == "g"


async def test_a_trace_goes_along(world: World) -> None:
    topic = await subscribed(world)
    trace = "Root=1-3152b799-8954dae64eda91bc9a23a7e8;Parent=7fa8c0f79203be72;Sampled=1"
    publish = world.service.operations["Publish"]
    await publish(context(trace_header=trace), {"TopicArn": topic, "Message": "m"})
    (message,) = await world.received()
    assert message["Attributes"]["AWSTraceHeader"] == trace


async def test_a_function_gets_an_event(world: World) -> None:
    world.functions.add("f")
    topic = await world.topic(SignatureVersion="2")
    subscription = await world.subscribe(topic, "lambda", function_arn("f:live"))
    published = await world.sns("Publish", TopicArn=topic, Message="m", MessageAttributes={"t": TEXT})
    await world.idle()
    (invocation,) = world.invocations
    (record,) = json.loads(invocation.payload)["Records"]
    assert (invocation.function_name, invocation.qualifier) == ("f", "live")
    assert (record["EventSource"], record["EventVersion"]) == ("aws:sns", "1.0")
    assert record["EventSubscriptionArn"] == subscription
    sns = record["Sns"]
    assert sorted(sns) == [
        "Message", "MessageAttributes", "MessageId", "Signature", "SignatureVersion", "SigningCertUrl", "Subject",
        "Timestamp", "TopicArn", "Type", "UnsubscribeUrl",
    ]  # fmt: skip
    assert (sns["Message"], sns["Subject"], sns["MessageId"]) == ("m", None, published["MessageId"])
    assert (sns["SignatureVersion"], sns["MessageAttributes"]) == ("1", {"t": {"Type": "String", "Value": "x"}})


async def test_each_protocol_gets_its_own_text(world: World) -> None:
    world.functions.add("f")
    topic = await subscribed(world)
    await world.subscribe(topic, "lambda", function_arn("f"))
    message = json.dumps({"default": "for all", "sqs": '{"a": 1}', "number": 1})
    await world.sns("Publish", TopicArn=topic, Message=message, MessageStructure="json")
    await world.idle()
    assert (await world.bodies())[0]["Message"] == '{"a": 1}'
    assert json.loads(world.invocations[0].payload)["Records"][0]["Sns"]["Message"] == "for all"


@pytest.mark.parametrize(
    ("members", "code", "message"),
    [
        ({"Message": ""}, "InvalidParameter", "Invalid parameter: Empty message"),
        ({"Message": "x", "Subject": ""}, "InvalidParameter", "Invalid parameter: Subject"),
        ({"Message": "x", "Subject": "a\nb"}, "InvalidParameter", "Invalid parameter: Subject"),
        ({"Message": "x", "Subject": "a" * 101}, "InvalidParameter", "Invalid parameter: Subject"),
        ({"Message": "x" * 262_145}, "InvalidParameter", "Invalid parameter: Message too long"),
        (
            {"Message": "x" * 262_134, "MessageAttributes": {"a": {"DataType": "String", "StringValue": "12345"}}},
            "InvalidParameter", "Invalid parameter: Message too long",
        ),
        (
            {"Message": '{"a":"b"}', "MessageStructure": "json"}, "InvalidParameter",
            "Invalid parameter: Message Structure - No default entry in JSON message body",
        ),
        (
            {"Message": '{"default":{"a":"b"}}', "MessageStructure": "json"}, "InvalidParameter",
            "Invalid parameter: Message Structure - No default entry in JSON message body",
        ),
        (
            {"Message": "{", "MessageStructure": "json"}, "InvalidParameter",
            "Invalid parameter: Message Structure - JSON message body failed to parse",
        ),
        ({"Message": "x", "MessageStructure": "xml"}, "InvalidParameter", "Invalid parameter: MessageStructure"),
        (
            {"Message": "x", "MessageDeduplicationId": "1"}, "InvalidParameter",
            "Invalid parameter: MessageDeduplicationId Reason: The request includes MessageDeduplicationId parameter "
            "that is not valid for this topic type",
        ),
    ],
)  # fmt: skip
async def test_messages_that_are_refused(world: World, members: dict[str, Any], code: str, message: str) -> None:
    topic = await subscribed(world)
    assert await world.refused("Publish", TopicArn=topic, **members) == (f"{code}Exception", message)
    await world.idle()


VALUE = "must contain non-empty message attribute value for message attribute type"
TYPES = "has an invalid message attribute type, the set of supported type prefixes is Binary, Number, and String."


@pytest.mark.parametrize(
    ("name", "attribute", "message"),
    [
        ("a", {"DataType": "String", "StringValue": ""}, f"The message attribute 'a' {VALUE} 'String'."),
        ("a", {"DataType": "String"}, f"The message attribute 'a' {VALUE} 'String'."),
        ("a", {"DataType": "Binary", "BinaryValue": b""}, f"The message attribute 'a' {VALUE} 'Binary'."),
        ("a", {"DataType": "String", "BinaryValue": b"1"}, "The message attribute 'a' with type 'String' must use field 'String'."),
        ("a", {"DataType": "Number", "BinaryValue": b"1"}, "The message attribute 'a' with type 'Number' must use field 'String'."),
        ("a", {"DataType": "Binary", "StringValue": "1"}, "The message attribute 'a' with type 'Binary' must use field 'Binary'."),
        ("a", {"DataType": "Strin", "StringValue": "1"}, f"The message attribute 'a' {TYPES}"),
        ("a", {"DataType": "stringprefix", "StringValue": "1"}, f"The message attribute 'a' {TYPES}"),
        ("a" * 257, TEXT, "Length of message attribute name must be less than 256 bytes."),
        (
            "a^", TEXT,
            "Invalid non-alphanumeric character '#x5E' was found in the message attribute name. Can only include "
            "alphanumeric characters, hyphens, underscores, or dots.",
        ),
        (".a", TEXT, "Invalid message attribute name starting with character '.' was found."),
        ("a.", TEXT, "Invalid message attribute name ending with character '.' was found."),
        ("a..b", TEXT, "Message attribute name can not have successive '.' character."),
    ],
)  # fmt: skip
async def test_attributes_that_are_refused(world: World, name: str, attribute: dict[str, Any], message: str) -> None:
    topic = await world.topic()
    attributes = {name: attribute}
    refusal = ("InvalidParameterValueException", message)
    assert await world.refused("Publish", TopicArn=topic, Message="x", MessageAttributes=attributes) == refusal
    entries = [{"Id": "1", "Message": "x", "MessageAttributes": attributes}]
    assert await world.refused("PublishBatch", TopicArn=topic, PublishBatchRequestEntries=entries) == refusal


async def test_an_attribute_without_a_type(world: World) -> None:
    topic = await world.topic()
    attributes = {"attr1": {"StringValue": "x"}}
    where = "messageAttributes.attr1.member.dataType' failed to satisfy constraint: Member must not be null"
    assert (await world.refused("Publish", TopicArn=topic, Message="x", MessageAttributes=attributes))[1] == (
        f"1 validation error detected: Value null at '{where}"
    )
    entries = [{"Id": "1", "Message": "x", "MessageAttributes": attributes}]
    assert (await world.refused("PublishBatch", TopicArn=topic, PublishBatchRequestEntries=entries))[1] == (
        f"1 validation error detected: Value null at 'publishBatchRequestEntries.1.member.{where}"
    )


async def test_targets_that_are_none(world: World) -> None:
    topic = await subscribed(world)
    await world.sns("Publish", TargetArn=topic, Message="x")
    assert (await world.bodies())[0]["Message"] == "x"
    endpoint = "arn:aws:sns:eu-west-1:111122223333:endpoint/APNS/a/b"
    assert (await world.refused("Publish", TargetArn=endpoint, Message="x"))[1] == (
        "Invalid parameter: TargetArn Reason: No endpoint found for the target arn specified"
    )
    assert (await world.refused("Publish", Message="x"))[1] == (
        "Invalid parameter: TopicArn or TargetArn Reason: no value for required parameter"
    )
    assert (await world.refused("Publish", TopicArn=f"{topic}x", Message="x"))[0] == "NotFoundException"


# --- batches


async def test_a_batch_reaches_everybody(world: World) -> None:
    topic = await subscribed(world, RawMessageDelivery="true")
    entries = [{"Id": str(n), "Message": f"m{n}"} for n in range(10)]
    answer = await world.sns("PublishBatch", TopicArn=topic, PublishBatchRequestEntries=entries)
    assert [entry["Id"] for entry in answer["Successful"]] == [str(n) for n in range(10)]
    assert len({entry["MessageId"] for entry in answer["Successful"]}) == 10
    assert answer["Failed"] == []
    assert sorted(m["Body"] for m in await world.received(count=10)) == [f"m{n}" for n in range(10)]


@pytest.mark.parametrize(
    ("entries", "code"),
    [
        ([], "EmptyBatchRequest"),
        ([{"Id": str(n), "Message": "x"} for n in range(11)], "TooManyEntriesInBatchRequest"),
        ([{"Id": "1", "Message": "x"}] * 2, "BatchEntryIdsNotDistinct"),
        ([{"Id": "a b", "Message": "x"}], "InvalidBatchEntryId"),
        ([{"Message": "x"}], "InvalidBatchEntryId"),
        ([{"Id": str(n), "Message": "x" * 131_073} for n in range(2)], "BatchRequestTooLong"),
    ],
)
async def test_batches_that_are_refused(world: World, entries: list[dict[str, Any]], code: str) -> None:
    topic = await subscribed(world)
    refused = await world.refused("PublishBatch", TopicArn=topic, PublishBatchRequestEntries=entries)
    assert refused[0] == f"{code}Exception"
    await world.idle()


async def test_large_messages_where_the_topic_takes_them(world: World) -> None:
    """Envelopes of ten of them are more than a queue takes in one request."""
    topic = await world.topic(MaximumMessageSize="1048576")
    await world.subscribe(topic, "sqs", await world.queue())
    await world.sns("Publish", TopicArn=topic, Message="x" * 1_000_000)
    for number in range(4):
        entries = [{"Id": str(n), "Message": f"{number}{n}" + '"' * 90_000} for n in range(10)]
        await world.sns("PublishBatch", TopicArn=topic, PublishBatchRequestEntries=entries)
    bodies = await world.bodies(count=41)
    assert sorted(body["Message"][:2] for body in bodies) == sorted(
        ["xx", *[f"{a}{b}" for a in range(4) for b in range(10)]]
    )
    assert (await world.refused("Publish", TopicArn=topic, Message="x" * 1_048_577))[0] == "InvalidParameterException"


# --- filters


@pytest.mark.parametrize(
    ("policy", "attributes", "wanted"),
    [
        ({"a": ["x"]}, {"a": TEXT}, True),
        ({"a": ["x"]}, {}, False),
        ({"a": ["y", "x"]}, {"a": TEXT, "b": TEXT}, True),
        ({"a": [{"prefix": "x"}]}, {"a": TEXT}, True),
        ({"a": [{"exists": False}]}, {}, True),
        ({"a": [{"exists": True}]}, {"a": {"DataType": "Number", "StringValue": "1"}}, True),
        ({"a": [{"exists": True}]}, {"a": {"DataType": "Binary", "BinaryValue": b"1"}}, False),
        ({"a": [{"numeric": [">", 0, "<=", 100]}]}, {"a": {"DataType": "Number", "StringValue": "99.12"}}, True),
        ({"a": [{"numeric": [">", 0, "<=", 100]}]}, {"a": {"DataType": "Number", "StringValue": "101"}}, False),
        ({"a": [{"numeric": ["=", 99]}]}, {"a": {"DataType": "String", "StringValue": "99"}}, False),
        ({"a": ["x"]}, {"a": {"DataType": "String.Array", "StringValue": '["w","x"]'}}, True),
        ({"a": ["x"]}, {"a": {"DataType": "String.Array", "StringValue": '["w"]'}}, False),
        ({"a": [{"anything-but": ["x"]}]}, {"a": TEXT}, False),
        ({"a": [None, {"anything-but": "whatever"}]}, {}, False),
        ({"$or": [{"a": ["x"]}, {"b": ["x"]}]}, {"b": TEXT}, True),
        ({"a.b": ["x"]}, {"a.b": TEXT}, True),
        ({}, {}, True),
    ],
)
async def test_filters_on_attributes(
    world: World, policy: dict[str, Any], attributes: dict[str, Any], wanted: bool
) -> None:
    topic = await subscribed(world, FilterPolicy=json.dumps(policy), RawMessageDelivery="true")
    await world.sns("Publish", TopicArn=topic, Message="m", MessageAttributes=attributes)
    await world.idle()
    counts = await world.queues.counts(world.queues.queues_of("111122223333", "eu-west-1")[0])
    assert counts.visible == wanted


@pytest.mark.parametrize(
    ("policy", "message", "wanted"),
    [
        ({"a": {"b": [{"prefix": "x"}]}}, '{"a": {"b": "xy"}}', True),
        ({"a": {"b": [{"prefix": "x"}]}}, '{"a": [{"b": "w"}, {"b": "xy"}]}', True),
        ({"a": {"b": [{"prefix": "x"}]}}, '{"a": {"b": "y"}}', False),
        ({"a": ["x"]}, "no JSON", False),
        ({"a": ["x"]}, '["a"]', False),
        ({"a": [{"exists": False}]}, "{}", True),
        ({"a": [1.0]}, '{"a": 1}', True),
    ],
)
async def test_filters_on_the_body(world: World, policy: dict[str, Any], message: str, wanted: bool) -> None:
    text = json.dumps(policy)
    topic = await subscribed(world, FilterPolicyScope="MessageBody", FilterPolicy=text, RawMessageDelivery="true")
    await world.sns("Publish", TopicArn=topic, Message=message)
    await world.idle()
    counts = await world.queues.counts(world.queues.queues_of("111122223333", "eu-west-1")[0])
    assert counts.visible == wanted


# --- FIFO


async def test_fifo_topics_keep_order_and_send_each_message_once(world: World) -> None:
    topic = await world.topic("t.fifo", ContentBasedDeduplication="true")
    await world.subscribe(topic, "sqs", await world.queue("q.fifo"))
    await world.subscribe(topic, "sqs", await world.queue("plain"), RawMessageDelivery="true")
    sent = []
    for n in range(30):
        answer = await world.sns("Publish", TopicArn=topic, Message=str(n), MessageGroupId=f"g{n % 2}")
        again = await world.sns("Publish", TopicArn=topic, Message=str(n), MessageGroupId=f"g{n % 2}")
        assert again == answer
        sent.append(answer["SequenceNumber"])
    assert sent == sorted(sent)
    assert {len(number) for number in sent} == {20}
    messages = await world.received("q.fifo", 30)
    bodies = [json.loads(message["Body"]) for message in messages]
    for group in (0, 1):
        assert [int(b["Message"]) for b in bodies if int(b["Message"]) % 2 == group] == list(range(group, 30, 2))
    assert {b["Message"]: b["SequenceNumber"] for b in bodies} == {str(n): sent[n] for n in range(30)}
    assert all("Signature" not in body for body in bodies)
    assert len(messages[0]["Attributes"]["MessageDeduplicationId"]) == 64
    plain = await world.received("plain", 30)
    assert {m["Attributes"]["MessageGroupId"] for m in plain} == {"g0", "g1"}
    await world.idle()


async def test_what_was_published_five_minutes_ago_is_published_again(world: World) -> None:
    topic = await world.topic("t.fifo")
    await world.subscribe(topic, "sqs", await world.queue("q.fifo"))
    members = {"TopicArn": topic, "Message": "x", "MessageGroupId": "g", "MessageDeduplicationId": "d"}
    first = await world.sns("Publish", **members)
    await world.end()
    await world.begin()
    world.clock.advance(299)
    assert await world.sns("Publish", **members) == first
    world.clock.advance(2)
    assert (await world.sns("Publish", **members))["SequenceNumber"] > first["SequenceNumber"]


async def test_deduplication_by_group(world: World) -> None:
    topic = await world.topic("t.fifo", FifoThroughputScope="MessageGroup")
    members = {"TopicArn": topic, "Message": "x", "MessageDeduplicationId": "d"}
    a, b = [await world.sns("Publish", **members, MessageGroupId=group) for group in "ab"]
    assert a["MessageId"] != b["MessageId"]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"MessageDeduplicationId": "d"}, "The MessageGroupId parameter is required for FIFO topics"),
        (
            {"MessageGroupId": "g"},
            "The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly",
        ),
        (
            {"MessageGroupId": "g h", "MessageDeduplicationId": "d"},
            "MessageGroupId Reason: MessageGroupId can only include alphanumeric and punctuation characters. 1 to 128 in length",
        ),
    ],
)
async def test_fifo_messages_that_are_refused(world: World, members: dict[str, str], message: str) -> None:
    topic = await world.topic("t.fifo")
    refusal = ("InvalidParameterException", f"Invalid parameter: {message}")
    assert await world.refused("Publish", TopicArn=topic, Message="x", **members) == refusal
    entries = [{"Id": "1", "Message": "x", **members}]
    assert await world.refused("PublishBatch", TopicArn=topic, PublishBatchRequestEntries=entries) == refusal


async def test_dead_letters_of_ordered_queues_are_ordered(world: World) -> None:
    topic = await world.topic("t.fifo")
    setting: dict[str, Any] = {
        "Protocol": "sqs", "Endpoint": queue_arn("q.fifo"),
        "Attributes": {"RedrivePolicy": json.dumps({"deadLetterTargetArn": queue_arn("dead")})},
    }  # fmt: skip
    assert (await world.refused("Subscribe", TopicArn=topic, **setting))[1].endswith(
        "RedrivePolicy: must use a FIFO queue as DLQ for a FIFO Subscription to a FIFO Topic."
    )

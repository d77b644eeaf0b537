"""Operations on messages, with AWS's words for what is refused, and its digests."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from lambent.services.sqs.content import MESSAGE_MAX_BYTES
from sqs_harness import Sqs


def text(value: str, data_type: str = "String") -> dict[str, Any]:
    return {"StringValue": value, "DataType": data_type}


# Digests that AWS gave.


@pytest.mark.parametrize(
    ("attributes", "digest"),
    [
        ({"Hello": text("World")}, "7db7fb1ba7f41366a8ea5eb18220b26d"),
        ({"UserId": text("1234567890123456789012", "Number.bigint")}, "797ab158d73dcb5242dedc4412c8e855"),
        (
            {
                "attr1": {
                    "BinaryValue": b"traceparent\x1e00-774062d6c37081a5a0b9b5b88e30627c-2d2482211f6489da-01",
                    "DataType": "Binary",
                }
            },
            "8cbe4db156db8a94db8b801b7addb984",
        ),
        ({"data2": text("2", "Number"), "data1": text("1", "Number")}, "b53b5acf24e7fd9567705bd8027b1c76"),
        (
            {"General": text("Kenobi"), "Hello": text("There"), "Help.Me": text("Me")},
            "4c360f3fdafd970e05fae2f149d997f5",
        ),
    ],
)
async def test_digests_of_attributes_are_those_of_aws(sqs: Sqs, attributes: dict[str, Any], digest: str) -> None:
    url = await sqs.queue()
    sent = await sqs.call("SendMessage", QueueUrl=url, MessageBody="test", MessageAttributes=attributes)
    assert sent["MD5OfMessageAttributes"] == digest
    assert sent["MD5OfMessageBody"] == "098f6bcd4621d373cade4e832627b4f6"
    received = await sqs.one(url, MessageAttributeNames=["All"])
    assert (received["MD5OfMessageAttributes"], received["MessageAttributes"]) == (digest, attributes)


async def test_the_digest_of_the_trace_header_is_that_of_aws(sqs: Sqs) -> None:
    url = await sqs.queue()
    sent = await sqs.call(
        "SendMessage", QueueUrl=url, MessageBody="x", MessageSystemAttributes={"AWSTraceHeader": text("some-trace-id")}
    )
    assert sent["MD5OfMessageSystemAttributes"] == "fdce4f2818803f2f73becc09a54792c0"
    assert (await sqs.one(url, AttributeNames=["AWSTraceHeader"]))["Attributes"] == {"AWSTraceHeader": "some-trace-id"}


KENOBI = {"General": text("Kenobi"), "Hello": text("There"), "Help.Me": text("Me")}


@pytest.mark.parametrize(
    ("names", "given", "digest"),
    [
        ([], [], None),
        (["All"], ["General", "Hello", "Help.Me"], "4c360f3fdafd970e05fae2f149d997f5"),
        ([".*"], ["General", "Hello", "Help.Me"], "4c360f3fdafd970e05fae2f149d997f5"),
        (["Foo", "Help"], [], None),
        (["Hello", "General"], ["General", "Hello"], "fca026605781cb4126a1e9044df24232"),
        (["Foo", "Hello"], ["Hello"], "a311262e065454b75da111d535b8dacd"),
        (["Hel.*"], ["Hello", "Help.Me"], "83fee93c1bcd8b9a5a923ffacdc636c7"),
        (["AWS."], [], None),
    ],
)
async def test_a_receiver_gets_the_attributes_that_it_names(
    sqs: Sqs, names: list[str], given: list[str], digest: str | None
) -> None:
    url = await sqs.queue()
    await sqs.call("SendMessage", QueueUrl=url, MessageBody="msg", MessageAttributes=KENOBI)
    received = await sqs.one(url, MessageAttributeNames=names)
    assert sorted(received.get("MessageAttributes", {})) == given
    assert received.get("MD5OfMessageAttributes") == digest


async def test_a_receiver_gets_the_system_attributes_that_it_names(sqs: Sqs) -> None:
    url = await sqs.queue("q.fifo")
    sent = await sqs.call("SendMessage", QueueUrl=url, MessageBody="x", MessageGroupId="g", MessageDeduplicationId="d")
    sqs.clock.advance(1)
    assert "Attributes" not in await sqs.one(url, VisibilityTimeout=0)
    sqs.clock.advance(1)
    every = (await sqs.one(url, VisibilityTimeout=0, MessageSystemAttributeNames=["All"]))["Attributes"]
    assert every == {
        "SenderId": "111122223333",
        "SentTimestamp": "1795246123000",
        "ApproximateReceiveCount": "2",
        "ApproximateFirstReceiveTimestamp": "1795246124000",
        "SequenceNumber": sent["SequenceNumber"],
        "MessageDeduplicationId": "d",
        "MessageGroupId": "g",
    }
    one = await sqs.one(url, AttributeNames=["MessageGroupId", "AWSTraceHeader"])
    assert one["Attributes"] == {"MessageGroupId": "g"}


def too_many() -> dict[str, Any]:
    return {f"a{n}": text("x") for n in range(11)}


MISTAKES: list[tuple[str, dict[str, Any], str, str]] = [
    ("q", {"MessageBody": None}, "Missing", "The request must contain the parameter MessageBody."),
    ("q", {"MessageBody": ""}, "Missing", "The request must contain the parameter MessageBody."),
    (
        "q",
        {"MessageBody": "a\uffffb"},
        "InvalidMessageContents",
        "Invalid binary character '#xFFFF' was found in the message body, the set of allowed characters is #x9 | #xA | "
        "#xD | [#x20-#xD7FF] | [#xE000-#xFFFD] | [#x10000-#x10FFFF].",
    ),
    (
        "q",
        {"DelaySeconds": 901},
        "Invalid",
        "Value 901 for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900.",
    ),
    (
        "q",
        {"DelaySeconds": -234},
        "Invalid",
        "Value -234 for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900.",
    ),
    (
        "q.fifo",
        {"DelaySeconds": 2},
        "Invalid",
        "Value 2 for parameter DelaySeconds is invalid. Reason: The request include parameter that is not valid for "
        "this queue type.",
    ),
    (
        "q",
        {"MessageDeduplicationId": "d"},
        "Invalid",
        "Value d for parameter MessageDeduplicationId is invalid. Reason: The request include parameter that is not "
        "valid for this queue type.",
    ),
    ("q.fifo", {"MessageGroupId": None}, "Missing", "The request must contain the parameter MessageGroupId."),
    (
        "q.fifo",
        {"MessageDeduplicationId": None},
        "Invalid",
        "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly",
    ),
    (
        "q.fifo",
        {"MessageDeduplicationId": "d" * 129},
        "Invalid",
        f"Value {'d' * 129} for parameter MessageDeduplicationId is invalid. Reason: MessageDeduplicationId can only "
        "include alphanumeric and punctuation characters. 1 to 128 in length.",
    ),
    (
        "q",
        {"MessageGroupId": "a b"},
        "Invalid",
        "Value a b for parameter MessageGroupId is invalid. Reason: MessageGroupId can only include alphanumeric and "
        "punctuation characters. 1 to 128 in length.",
    ),
    (
        "q",
        {"MessageAttributes": {"Hello": text("world", "Number")}},
        "Invalid",
        "Can't cast the value of message (user) attribute 'Hello' to a number.",
    ),
    (
        "q",
        {"MessageAttributes": {"Hello": text("")}},
        "Invalid",
        "Message (user) attribute 'Hello' must contain a non-empty value of type 'String'.",
    ),
    (
        "q",
        {"MessageAttributes": {"": text("x")}},
        "Invalid",
        "The request must contain non-empty message (user) attribute names.",
    ),
    (
        "q",
        {"MessageAttributes": {"Hello": {}}},
        "Invalid",
        "The message (user) attribute 'Hello' must contain a non-empty message attribute value.",
    ),
    (
        "q",
        {"MessageAttributes": {"Hello": text("x", "Nonsense")}},
        "Invalid",
        "The type of message (user) attribute 'Hello' is invalid. You must use only the following supported type "
        "prefixes: Binary, Number, String.",
    ),
    (
        "q",
        {"MessageAttributes": {"Hello": {"DataType": "StringList", "StringListValues": ["x"]}}},
        "UnsupportedOperation",
        "Message attribute list values in SendMessage operation are not supported.",
    ),
    (
        "q",
        {"MessageAttributes": {"amazon.Hello": text("x")}},
        "Invalid",
        "You can't use message attribute names beginning with 'AWS.' or 'Amazon'. These strings are reserved for "
        "internal use.",
    ),
    (
        "q",
        {"MessageAttributes": too_many()},
        "Invalid",
        "Number of message attributes [11] exceeds the allowed maximum [10].",
    ),
    (
        "q",
        {"MessageAttributes": {"a" * 257: text("x")}},
        "Invalid",
        "Message (user) attribute name must be shorter than 256 bytes.",
    ),
    (
        "q",
        {"MessageAttributes": {"a": text("x", "String." + "a" * 250)}},
        "Invalid",
        "Message (user) attribute type must be shorter than 256 bytes.",
    ),
    (
        "q",
        {"MessageAttributes": {"a b": text("x")}},
        "Invalid",
        "Invalid non-alphanumeric character '#x20' was found in the message attribute name. Can only include "
        "alphanumeric characters, hyphens, underscores, or dots.",
    ),
    (
        "q",
        {"MessageSystemAttributes": {"Hello": text("x")}},
        "Invalid",
        "Message system attribute name 'Hello' is invalid.",
    ),
]
CODES = {"Missing": "MissingRequiredParameterException", "Invalid": "InvalidParameterValueException"}


@pytest.mark.parametrize(("name", "members", "kind", "words"), MISTAKES)
async def test_messages_that_cannot_be(sqs: Sqs, name: str, members: dict[str, Any], kind: str, words: str) -> None:
    good: dict[str, Any] = {"QueueUrl": await sqs.queue(name), "MessageBody": "x"}
    if name.endswith(".fifo"):
        good |= {"MessageGroupId": "g", "MessageDeduplicationId": "d"}
    refused = await sqs.refused("SendMessage", **{**good, **members})
    assert refused == (CODES.get(kind, kind), words)
    assert await sqs.call("ReceiveMessage", QueueUrl=good["QueueUrl"]) == {}


async def test_messages_of_a_megabyte_with_their_attributes_are_taken_and_no_larger_ones(sqs: Sqs) -> None:
    url = await sqs.queue()
    attributes = {"ab": text("cd")}  # 2 + 6 + 2 bytes
    body = "é" * ((MESSAGE_MAX_BYTES - 10) // 2)
    await sqs.call("SendMessage", QueueUrl=url, MessageBody=body, MessageAttributes=attributes)
    assert (await sqs.one(url))["Body"] == body
    _, words = await sqs.refused("SendMessage", QueueUrl=url, MessageBody=body + "x", MessageAttributes=attributes)
    assert words == "One or more parameters are invalid. Reason: Message must be shorter than 1048576 bytes."
    entries = [{"Id": "1", "MessageBody": body}, {"Id": "2", "MessageBody": "x" * 11}]
    assert await sqs.refused("SendMessageBatch", QueueUrl=url, Entries=entries) == (
        "BatchRequestTooLong",
        "Batch requests cannot be longer than 1048576 bytes. You have sent 1048577 bytes.",
    )


async def test_a_queues_own_limit_counts_for_messages_not_for_batches(sqs: Sqs) -> None:
    url = await sqs.queue("q", MaximumMessageSize="1024")
    _, words = await sqs.refused("SendMessage", QueueUrl=url, MessageBody="a" * 1025)
    assert words == "One or more parameters are invalid. Reason: Message must be shorter than 1024 bytes."
    answer = await sqs.call(
        "SendMessageBatch",
        QueueUrl=url,
        Entries=[{"Id": "1", "MessageBody": "a" * 1024}, {"Id": "2", "MessageBody": "a" * 1025}],
    )
    assert [entry["Id"] for entry in answer["Successful"]] == ["1"]
    assert answer["Failed"] == [{"Id": "2", "Code": "InvalidParameterValue", "Message": words, "SenderFault": True}]


WRONG_ID = (
    "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters "
    "long."
)


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        ("SendMessageBatch", "SendMessageBatchRequestEntry"),
        ("DeleteMessageBatch", "DeleteMessageBatchRequestEntry"),
        ("ChangeMessageVisibilityBatch", "ChangeMessageVisibilityBatchRequestEntry"),
    ],
)
@pytest.mark.parametrize(
    ("ids", "code", "words"),
    [
        ([], "EmptyBatchRequest", "There should be at least one {kind} in the request."),
        (
            [str(n) for n in range(20)],
            "TooManyEntriesInBatchRequest",
            "Maximum number of entries per request are 10. You have sent 20.",
        ),
        (["a", None], "MissingRequiredParameterException", "The request must contain the parameter {kind}.2.Id."),
        (["a", "invalid:id"], "InvalidBatchEntryId", WRONG_ID),
        (["a", ""], "InvalidBatchEntryId", WRONG_ID),
        (["a" * 81], "InvalidBatchEntryId", WRONG_ID),
        (["a", "b", "a"], "BatchEntryIdsNotDistinct", "Id a repeated."),
    ],
)
async def test_batches_that_cannot_be(
    sqs: Sqs, operation: str, kind: str, ids: list[str | None], code: str, words: str
) -> None:
    url = await sqs.queue()
    entries = [
        {"Id": one, "MessageBody": "x", "ReceiptHandle": "x", "VisibilityTimeout": 0}
        if one is not None
        else {"MessageBody": "x"}
        for one in ids
    ]
    assert await sqs.refused(operation, QueueUrl=url, Entries=entries) == (code, words.format(kind=kind))


async def test_entries_of_a_batch_fail_alone(sqs: Sqs) -> None:
    url = await sqs.queue()
    sent = await sqs.call(
        "SendMessageBatch",
        QueueUrl=url,
        Entries=[{"Id": "1", "MessageBody": "1"}, {"Id": "2"}, {"Id": "3", "MessageBody": "3", "DelaySeconds": 901}],
    )
    assert [e["Id"] for e in sent["Successful"]] == ["1"]
    assert [(e["Id"], e["Code"], e["SenderFault"]) for e in sent["Failed"]] == [
        ("2", "MissingParameter", True),
        ("3", "InvalidParameterValue", True),
    ]
    assert sent["Failed"][0]["Message"] == (
        "The request must contain the parameter SendMessageBatchRequestEntry.2.MessageBody."
    )
    handle = (await sqs.one(url))["ReceiptHandle"]
    entries = [
        {"Id": "1", "ReceiptHandle": handle, "VisibilityTimeout": 5},
        {"Id": "2", "ReceiptHandle": "dummy", "VisibilityTimeout": 5},
        {"Id": "3", "ReceiptHandle": handle, "VisibilityTimeout": 43201},
    ]
    changed = await sqs.call("ChangeMessageVisibilityBatch", QueueUrl=url, Entries=entries)
    assert changed["Successful"] == [{"Id": "1"}]
    assert [(e["Id"], e["Code"]) for e in changed["Failed"]] == [
        ("2", "ReceiptHandleIsInvalid"),
        ("3", "InvalidParameterValue"),
    ]
    deleted = await sqs.call("DeleteMessageBatch", QueueUrl=url, Entries=entries[:2])
    assert deleted["Successful"] == [{"Id": "1"}]
    assert deleted["Failed"][0]["Message"] == 'The input receipt handle "dummy" is not a valid receipt handle.'


async def test_a_fifo_batch_is_taken_whole_or_not_at_all(sqs: Sqs) -> None:
    url = await sqs.queue("q.fifo", ContentBasedDeduplication="true")
    entries: list[dict[str, Any]] = [
        {"Id": "1", "MessageBody": "1", "MessageGroupId": "g"},
        {"Id": "2", "MessageBody": "2"},
    ]
    assert await sqs.refused("SendMessageBatch", QueueUrl=url, Entries=entries) == (
        "InvalidParameterValueException",
        "The request must contain the parameter MessageGroupId.",
    )
    assert await sqs.call("ReceiveMessage", QueueUrl=url) == {}


async def test_equal_contents_are_one_message(sqs: Sqs) -> None:
    url = await sqs.queue("q.fifo", ContentBasedDeduplication="true")
    first, second = [
        await sqs.call("SendMessage", QueueUrl=url, MessageBody="same", MessageGroupId="g") for _ in range(2)
    ]
    assert first == second
    digest = hashlib.sha256(b"same").hexdigest()
    third = await sqs.call(
        "SendMessage", QueueUrl=url, MessageBody="other", MessageGroupId="g", MessageDeduplicationId=digest
    )
    assert (third["MessageId"], third["SequenceNumber"]) == (first["MessageId"], first["SequenceNumber"])
    assert third["MD5OfMessageBody"] == hashlib.md5(b"other").hexdigest()


@pytest.mark.parametrize(
    ("members", "words"),
    [
        (
            {"MaxNumberOfMessages": 11},
            "Value 11 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided.",
        ),
        (
            {"MaxNumberOfMessages": 0},
            "Value 0 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided.",
        ),
        (
            {"WaitTimeSeconds": 21},
            "Value 21 for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if provided.",
        ),
        (
            {"VisibilityTimeout": 43201},
            "Value 43201 for parameter VisibilityTimeout is invalid. Reason: Must be >= 0 and <= 43200, if provided.",
        ),
        ({"AttributeNames": ["Nonsense"]}, "Unknown Attribute Nonsense."),
        (
            {"ReceiveRequestAttemptId": "x"},
            "Value x for parameter ReceiveRequestAttemptId is invalid. Reason: The request include parameter that is "
            "not valid for this queue type.",
        ),
    ],
)
async def test_what_a_receiver_cannot_ask(sqs: Sqs, members: dict[str, Any], words: str) -> None:
    assert (await sqs.refused("ReceiveMessage", QueueUrl=await sqs.queue(), **members))[1] == words


async def test_receipt_handles_are_the_queues_own(sqs: Sqs) -> None:
    url, other = await sqs.queue(), await sqs.queue("other")
    await sqs.call("SendMessage", QueueUrl=url, MessageBody="x")
    handle = (await sqs.one(url))["ReceiptHandle"]
    for wrong in ("x", "é", handle[:-2], "A" * 1024):
        assert await sqs.refused("DeleteMessage", QueueUrl=url, ReceiptHandle=wrong) == (
            "ReceiptHandleIsInvalid",
            f'The input receipt handle "{wrong}" is not a valid receipt handle.',
        )
    assert (await sqs.refused("DeleteMessage", QueueUrl=other, ReceiptHandle=handle))[0] == "ReceiptHandleIsInvalid"
    assert await sqs.call("DeleteMessage", QueueUrl=url, ReceiptHandle=handle) == {}
    assert await sqs.call("DeleteMessage", QueueUrl=url, ReceiptHandle=handle) == {}  # twice is no mistake


async def test_receipt_handles_expire(sqs: Sqs) -> None:
    standard, fifo = await sqs.queue(), await sqs.queue("q.fifo")
    await sqs.call("SendMessage", QueueUrl=standard, MessageBody="x")
    await sqs.call("SendMessage", QueueUrl=fifo, MessageBody="x", MessageGroupId="g", MessageDeduplicationId="d")
    handles = {url: (await sqs.one(url, VisibilityTimeout=5))["ReceiptHandle"] for url in (standard, fifo)}
    sqs.clock.advance(5)
    # A standard queue's last receiver may be late, a FIFO queue's may not.
    await sqs.call("ChangeMessageVisibility", QueueUrl=standard, ReceiptHandle=handles[standard], VisibilityTimeout=0)
    for operation in ("DeleteMessage", "ChangeMessageVisibility"):
        assert await sqs.refused(operation, QueueUrl=fifo, ReceiptHandle=handles[fifo], VisibilityTimeout=5) == (
            "InvalidParameterValueException",
            f"Value {handles[fifo]} for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired.",
        )
    again = (await sqs.one(standard))["ReceiptHandle"]
    await sqs.call("DeleteMessage", QueueUrl=standard, ReceiptHandle=handles[standard])  # accepted, without effect
    assert (
        await sqs.refused(
            "ChangeMessageVisibility", QueueUrl=standard, ReceiptHandle=handles[standard], VisibilityTimeout=5
        )
    )[1] == (
        f"Value {handles[standard]} for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not "
        "available for visibility timeout change."
    )
    await sqs.call("DeleteMessage", QueueUrl=standard, ReceiptHandle=again)
    sqs.clock.advance(60)
    assert await sqs.call("ReceiveMessage", QueueUrl=standard) == {}


async def test_a_message_is_hidden_for_twelve_hours_at_most(sqs: Sqs) -> None:
    url = await sqs.queue()
    await sqs.call("SendMessage", QueueUrl=url, MessageBody="x")
    handle = (await sqs.one(url))["ReceiptHandle"]
    sqs.clock.advance(10)
    members = {"QueueUrl": url, "ReceiptHandle": handle}
    assert (await sqs.refused("ChangeMessageVisibility", **members, VisibilityTimeout=43_200))[1] == (
        "Value 43200 for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout for the message is "
        "beyond the limit [43200 seconds]"
    )
    await sqs.call("ChangeMessageVisibility", **members, VisibilityTimeout=43_190)
    assert (await sqs.refused("ChangeMessageVisibility", **members, VisibilityTimeout=-1))[1] == (
        "Value -1 for parameter VisibilityTimeout is invalid. Reason: Must be between 0 and 43200, if provided."
    )


async def test_delays_are_the_queues_unless_the_message_has_its_own(sqs: Sqs) -> None:
    url = await sqs.queue("q", DelaySeconds="10")
    await sqs.call("SendMessage", QueueUrl=url, MessageBody="later")
    await sqs.call("SendMessage", QueueUrl=url, MessageBody="now", DelaySeconds=0)
    assert (await sqs.one(url, MaxNumberOfMessages=10))["Body"] == "now"
    names = ["ApproximateNumberOfMessagesDelayed", "ApproximateNumberOfMessagesNotVisible"]
    found = await sqs.call("GetQueueAttributes", QueueUrl=url, AttributeNames=names)
    assert list(found["Attributes"].values()) == ["1", "1"]
    sqs.clock.advance(10)
    assert (await sqs.one(url, MaxNumberOfMessages=10))["Body"] == "later"

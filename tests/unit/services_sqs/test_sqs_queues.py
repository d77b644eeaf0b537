"""Operations on queues, with AWS's words for what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lambent.services.sqs import attributes
from lambent.wire.models import Models
from sqs_harness import Sqs

ARN = "arn:aws:sqs:eu-west-1:111122223333:"
NAME_WORDS = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"
FIFO_NAME_WORDS = (
    "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with .fifo "
    "suffix and be 1 to 80 in length."
)
UNSUPPORTED = (
    "Invalid value for the parameter RedriveAllowPolicy. Reason: Amazon SQS can't create the redrive allow policy, as "
    "it’s in an unsupported format."
)


def test_every_operation_of_the_model_is_answered(sqs: Sqs) -> None:
    assert set(sqs.service.operations) == set(Models().service("sqs").operation_names)


async def test_a_queue_has_an_address_by_which_it_is_found(sqs: Sqs) -> None:
    url = await sqs.queue()
    assert url == "http://here:4566/111122223333/q"
    assert await sqs.call("GetQueueUrl", QueueName="q") == {"QueueUrl": url}
    for other in ("q", "https://sqs.eu-west-1.amazonaws.com/111122223333/q", "http://x/queue/111122223333/q"):
        assert (await sqs.call("GetQueueAttributes", QueueUrl=other, AttributeNames=["QueueArn"]))["Attributes"] == {
            "QueueArn": ARN + "q"
        }


@pytest.mark.parametrize(
    ("url", "code"),
    [
        (None, "MissingRequiredParameterException"),
        ("", "MissingRequiredParameterException"),
        ("http://here:4566/111122223333/other", "QueueDoesNotExist"),
        ("http://here:4566/", "QueueDoesNotExist"),
        ("/a/b", "InvalidAddress"),
        # What two readers could understand differently: access is decided on the same text.
        ("http://here:4566/111122223333/q?/111122223333/own", "QueueDoesNotExist"),
        ("http://here:4566/111122223333/q#/111122223333/own", "QueueDoesNotExist"),
        ("http://here:4566/111122223333/%71", "QueueDoesNotExist"),
        ("http://here:4566/111122223333//q", "QueueDoesNotExist"),
        ("http://here:4566/111122223333/q/", "QueueDoesNotExist"),
        ("http://u@here:4566/111122223333/q", "QueueDoesNotExist"),
    ],
)
async def test_an_address_of_no_queue_is_refused(sqs: Sqs, url: str | None, code: str) -> None:
    await sqs.queue("q")
    assert (await sqs.refused("SendMessage", QueueUrl=url, MessageBody="x"))[0] == code


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("", {}, "Queue name cannot be empty"),
        ("a.b", {}, NAME_WORDS),
        ("é", {}, NAME_WORDS),
        ("a" * 81, {}, NAME_WORDS),
        ("q.fifo", {}, NAME_WORDS),
        ("q", {"FifoQueue": "true"}, FIFO_NAME_WORDS),
        ("a" * 76 + ".fifo", {"FifoQueue": "true"}, FIFO_NAME_WORDS),
        ("q", {"FifoQueue": "false"}, "Unknown Attribute FifoQueue."),
        ("q", {"ContentBasedDeduplication": "true"}, "Unknown Attribute ContentBasedDeduplication."),
        ("q", {"QueueArn": "x"}, "Unknown Attribute QueueArn."),
        ("q", {"Nonsense": "x"}, "Unknown Attribute Nonsense."),
        ("q", {"SqsManagedSseEnabled": "yes"}, "Invalid value for the parameter SqsManagedSseEnabled."),
        (
            "q",
            {"SqsManagedSseEnabled": "true", "KmsMasterKeyId": "alias/aws/sqs"},
            "You can use one type of server-side encryption (SSE) at one time. You can either enable KMS SSE or SQS "
            "SSE.",
        ),
        (
            "q.fifo",
            {"FifoQueue": "true", "FifoThroughputLimit": "perMessageGroupId"},
            "The perMessageGroupId value is allowed only when the value for DeduplicationScope is messageGroup.",
        ),
        ("q", {"Policy": "{"}, "Invalid value for the parameter Policy."),
    ],
)
async def test_a_queue_that_cannot_be_is_not_created(sqs: Sqs, name: str, given: dict[str, str], words: str) -> None:
    assert (await sqs.refused("CreateQueue", QueueName=name, Attributes=given))[1] == words
    assert await sqs.call("ListQueues") == {}


RANGES = sorted((name, least, most) for name, (least, most) in attributes._RANGES.items())


@pytest.mark.parametrize(("name", "least", "most"), RANGES)
async def test_numbers_are_held_to_their_ranges(sqs: Sqs, name: str, least: int, most: int) -> None:
    url = await sqs.queue()
    for good in (least, most):
        await sqs.call("SetQueueAttributes", QueueUrl=url, Attributes={name: str(good)})
        found = await sqs.call("GetQueueAttributes", QueueUrl=url, AttributeNames=[name])
        assert found["Attributes"] == {name: str(good)}
    for bad in (str(least - 1), str(most + 1), "", " 60", "60.5", "x", "6_0"):
        refused = await sqs.refused("SetQueueAttributes", QueueUrl=url, Attributes={name: bad})
        assert refused == ("InvalidAttributeValue", f"Invalid value for the parameter {name}.")


REDRIVE = [
    (" ", "Invalid value for the parameter RedrivePolicy. Reason: Redrive policy is not a valid JSON map."),
    ("[]", "Invalid value for the parameter RedrivePolicy. Reason: Redrive policy is not a valid JSON map."),
    ({}, "Redrive policy does not contain mandatory attribute: maxReceiveCount."),
    ({"maxReceiveCount": 5}, "Redrive policy does not contain mandatory attribute: deadLetterTargetArn."),
    (
        {"deadLetterTargetArn": ARN + "dead", "maxReceiveCount": -36},
        "Invalid value for maxReceiveCount: -36, valid values are from 1 to 1000 both inclusive.",
    ),
    (
        {"deadLetterTargetArn": ARN + "dead", "maxReceiveCount": "many"},
        "Invalid value for maxReceiveCount: many, valid values are from 1 to 1000 both inclusive.",
    ),
    ({"deadLetterTargetArn": "dummy", "maxReceiveCount": 42}, "Invalid value for deadLetterTargetArn."),
    ({"deadLetterTargetArn": 1, "maxReceiveCount": 42}, "Invalid value for deadLetterTargetArn."),
    (
        {"deadLetterTargetArn": "arn:aws:sns:eu-west-1:111122223333:t", "maxReceiveCount": 5},
        "Only SQS queues are valid resources for deadLetterTargetArn.",
    ),
    (
        {"deadLetterTargetArn": ARN + "dead.fifo", "maxReceiveCount": 5},
        "Dead-letter queue must be same type of queue as the source..",
    ),
    ({"deadLetterTargetArn": ARN + "none", "maxReceiveCount": 5}, "Dead letter target does not exist."),
    (
        {"deadLetterTargetArn": ARN.replace("1111", "2222") + "dead", "maxReceiveCount": 5},
        "Dead-letter target owner should be same as the source.",
    ),
    (
        {"deadLetterTargetArn": ARN + "dead", "maxReceiveCount": 5, "more": 1},
        "Only following attributes are supported: [maxReceiveCount, deadLetterTargetArn].",
    ),
]


@pytest.mark.parametrize(("policy", "words"), REDRIVE)
async def test_a_redrive_policy_that_leads_nowhere_is_refused(sqs: Sqs, policy: Any, words: str) -> None:
    await sqs.queue("dead")
    text = policy if isinstance(policy, str) else json.dumps(policy)
    _, message = await sqs.refused("CreateQueue", QueueName="q", Attributes={"RedrivePolicy": text})
    assert message == (
        words if isinstance(policy, str) else f"Value {text} for parameter RedrivePolicy is invalid. Reason: {words}"
    )


@pytest.mark.parametrize(
    ("allow", "allowed"),
    [
        ({"redrivePermission": "allowAll"}, True),
        ({"redrivePermission": "denyAll"}, False),
        ({"redrivePermission": "byQueue", "sourceQueueArns": [ARN + "q"]}, True),
        ({"redrivePermission": "byQueue", "sourceQueueArns": [ARN + "other"]}, False),
    ],
)
async def test_dead_letters_say_whose_they_take(sqs: Sqs, allow: dict[str, Any], allowed: bool) -> None:
    await sqs.queue("dead", RedriveAllowPolicy=json.dumps(allow))
    policy = json.dumps({"deadLetterTargetArn": ARN + "dead", "maxReceiveCount": "3"})
    if not allowed:
        code, message = await sqs.refused("CreateQueue", QueueName="q", Attributes={"RedrivePolicy": policy})
        assert code == "InvalidParameterValueException"
        assert "does not have permission" in message
        return
    await sqs.queue("q", RedrivePolicy=policy)
    listed = await sqs.call("ListDeadLetterSourceQueues", QueueUrl="dead")
    assert listed == {"queueUrls": ["http://here:4566/111122223333/q"]}


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("badjson", UNSUPPORTED),
        ("[]", UNSUPPORTED),
        ('{"redrivePermission":"dummy"}', UNSUPPORTED),
        ('{"redrivePermission":"allowAll","more":1}', UNSUPPORTED),
        ('{"redrivePermission":"byQueue","sourceQueueArns":"x"}', UNSUPPORTED),
        (
            '{"redrivePermission":"byQueue"}',
            "When you specify the byQueue permission type, you must also specify one or more sourceQueueArns values.",
        ),
        (
            '{"redrivePermission":"denyAll","sourceQueueArns":["x"]}',
            "To specify one or more source queue ARNs, you must set redrivePermission to byQueue.",
        ),
        (
            '{"redrivePermission":"byQueue","sourceQueueArns":' + json.dumps(["x"] * 11) + "}",
            "The maximum number of source queue ARNs you can specify is 10.",
        ),
    ],
)
async def test_a_redrive_allow_policy_must_make_sense(sqs: Sqs, policy: str, words: str) -> None:
    _, message = await sqs.refused("CreateQueue", QueueName="q", Attributes={"RedriveAllowPolicy": policy})
    assert message == words or message == (
        f"Value {policy} for parameter RedriveAllowPolicy is invalid. Reason: Amazon SQS can't create the redrive "
        f"allow policy. {words}"
    )


async def test_creating_a_queue_again_gives_its_address_unless_it_differs(sqs: Sqs) -> None:
    url = await sqs.queue("q", DelaySeconds="5")
    assert await sqs.queue("q", DelaySeconds="5", VisibilityTimeout="30") == url
    assert await sqs.queue("q") == url
    assert await sqs.refused("CreateQueue", QueueName="q", Attributes={"DelaySeconds": "6"}) == (
        "QueueNameExists",
        "A queue already exists with the same name and a different value for attribute DelaySeconds",
    )


async def test_attributes_have_their_defaults(sqs: Sqs) -> None:
    url = await sqs.queue("q.fifo")
    found = (await sqs.call("GetQueueAttributes", QueueUrl=url, AttributeNames=["All"]))["Attributes"]
    assert found == {
        "QueueArn": ARN + "q.fifo",
        "ApproximateNumberOfMessages": "0",
        "ApproximateNumberOfMessagesNotVisible": "0",
        "ApproximateNumberOfMessagesDelayed": "0",
        "CreatedTimestamp": "1795246123",
        "LastModifiedTimestamp": "1795246123",
        "VisibilityTimeout": "30",
        "MaximumMessageSize": "1048576",
        "MessageRetentionPeriod": "345600",
        "DelaySeconds": "0",
        "ReceiveMessageWaitTimeSeconds": "0",
        "FifoQueue": "true",
        "ContentBasedDeduplication": "false",
        "DeduplicationScope": "queue",
        "FifoThroughputLimit": "perQueue",
        "SqsManagedSseEnabled": "true",
    }
    assert await sqs.call("GetQueueAttributes", QueueUrl=url) == {}
    assert await sqs.refused("GetQueueAttributes", QueueUrl=url, AttributeNames=["x"]) == (
        "InvalidAttributeName",
        "Unknown Attribute x.",
    )


async def test_a_kind_of_queue_cannot_be_changed(sqs: Sqs) -> None:
    standard, fifo = await sqs.queue("q"), await sqs.queue("q.fifo")
    assert await sqs.refused("SetQueueAttributes", QueueUrl=standard, Attributes={"FifoQueue": "true"}) == (
        "InvalidAttributeName",
        "Unknown Attribute FifoQueue.",
    )
    assert await sqs.refused("SetQueueAttributes", QueueUrl=fifo, Attributes={"FifoQueue": "false"}) == (
        "InvalidAttributeValue",
        "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported.",
    )


async def test_one_kind_of_encryption_at_a_time(sqs: Sqs) -> None:
    url = await sqs.queue()
    names = ["SqsManagedSseEnabled", "KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds"]

    async def found() -> Any:
        return (await sqs.call("GetQueueAttributes", QueueUrl=url, AttributeNames=names))["Attributes"]

    await sqs.call("SetQueueAttributes", QueueUrl=url, Attributes={"KmsMasterKeyId": "k"})
    assert await found() == {
        "KmsMasterKeyId": "k",
        "KmsDataKeyReusePeriodSeconds": "300",
        "SqsManagedSseEnabled": "false",
    }
    code, _ = await sqs.refused("SetQueueAttributes", QueueUrl=url, Attributes={"SqsManagedSseEnabled": "true"})
    assert code == "InvalidAttributeName"
    await sqs.call("SetQueueAttributes", QueueUrl=url, Attributes={"KmsMasterKeyId": ""})
    assert await found() == {"SqsManagedSseEnabled": "true"}


async def test_queues_are_listed_by_name_in_pages(sqs: Sqs) -> None:
    urls = [await sqs.queue(name) for name in ("a1", "a2", "a3", "b1")]
    assert await sqs.call("ListQueues") == {"QueueUrls": urls}
    first = await sqs.call("ListQueues", QueueNamePrefix="a", MaxResults=2)
    assert first["QueueUrls"] == urls[:2]
    rest = await sqs.call("ListQueues", QueueNamePrefix="a", MaxResults=2, NextToken=first["NextToken"])
    assert rest == {"QueueUrls": urls[2:3]}
    assert await sqs.call("ListQueues", QueueNamePrefix="c") == {}
    for wrong in (0, 1001):
        assert await sqs.refused("ListQueues", MaxResults=wrong) == (
            "InvalidParameterValueException",
            "Value for parameter MaxResults is invalid. Reason: MaxResults must be an integer between 1 and 1000.",
        )
    assert (await sqs.refused("ListQueues", NextToken="é"))[0] == "InvalidParameterValueException"


async def test_tags_are_kept_and_limited(sqs: Sqs) -> None:
    url = (await sqs.call("CreateQueue", QueueName="q", tags={"a": "1"}))["QueueUrl"]
    await sqs.call("TagQueue", QueueUrl=url, Tags={"b": "", "a": "2"})
    assert await sqs.call("ListQueueTags", QueueUrl=url) == {"Tags": {"a": "2", "b": ""}}
    await sqs.call("UntagQueue", QueueUrl=url, TagKeys=["a", "b", "c"])
    assert await sqs.call("ListQueueTags", QueueUrl=url) == {}
    for wrong in ({"aws:x": "1"}, {"": "1"}, {"k": "v" * 257}, {str(n): "" for n in range(51)}):
        assert (await sqs.refused("TagQueue", QueueUrl=url, Tags=wrong))[0] == "InvalidParameterValueException"


async def test_deleted_and_purged_queues_rest(sqs: Sqs) -> None:
    url = await sqs.queue()
    await sqs.call("PurgeQueue", QueueUrl=url)
    assert await sqs.refused("PurgeQueue", QueueUrl=url) == (
        "PurgeQueueInProgress",
        "Only one PurgeQueue operation on q is allowed every 60 seconds.",
    )
    await sqs.call("DeleteQueue", QueueUrl=url)
    assert await sqs.refused("CreateQueue", QueueName="q") == (
        "QueueDeletedRecently",
        "You must wait 60 seconds after deleting a queue before you can create another with the same name.",
    )
    assert (await sqs.refused("DeleteQueue", QueueUrl=url))[0] == "QueueDoesNotExist"
    sqs.clock.advance(60)
    assert await sqs.queue() == url


async def test_permissions_become_statements_of_the_policy(sqs: Sqs) -> None:
    url = await sqs.queue()

    async def policy() -> Any:
        found = await sqs.call("GetQueueAttributes", QueueUrl=url, AttributeNames=["Policy"])
        return json.loads(found["Attributes"]["Policy"]) if found["Attributes"] else None

    both: dict[str, Any] = {
        "QueueUrl": url,
        "AWSAccountIds": ["111122223333", "668614515564"],
        "Actions": ["ReceiveMessage"],
    }
    await sqs.call("AddPermission", Label="first", **both)
    assert await policy() == {
        "Version": "2008-10-17",
        "Id": ARN + "q/SQSDefaultPolicy",
        "Statement": [
            {
                "Sid": "first",
                "Effect": "Allow",
                "Principal": {"AWS": ["arn:aws:iam::111122223333:root", "arn:aws:iam::668614515564:root"]},
                "Action": "SQS:ReceiveMessage",
                "Resource": ARN + "q",
            }
        ],
    }
    assert (await sqs.refused("AddPermission", Label="first", **both))[1] == (
        "Value first for parameter Label is invalid. Reason: Already exists."
    )
    await sqs.call("RemovePermission", QueueUrl=url, Label="first")
    assert await policy() is None
    assert (await sqs.refused("RemovePermission", QueueUrl=url, Label="first"))[1] == (
        "Value first for parameter Label is invalid. Reason: can't find label."
    )


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"Label": "a b"}, f"Value a b for parameter Label is invalid. Reason: {NAME_WORDS}"),
        ({"AWSAccountIds": []}, "The request must contain the parameter AWSAccountIds."),
        ({"AWSAccountIds": ["x"]}, "Value [x] for parameter PrincipalId is invalid. Reason: Unable to verify."),
        ({"Actions": []}, "The request must contain the parameter Actions."),
        ({"Actions": ["SendMessage"] * 8}, "8 Actions were found, maximum allowed is 7."),
        (
            {"Actions": ["Nonsense"]},
            "Value SQS:Nonsense for parameter ActionName is invalid. Reason: Please refer to the appropriate WSDL for "
            "a list of valid actions. ",
        ),
        (
            {"Actions": ["RemovePermission"]},
            "Value SQS:RemovePermission for parameter ActionName is invalid. Reason: Only the queue owner is allowed "
            "to invoke this action.",
        ),
    ],
)
async def test_permissions_that_cannot_be_given(sqs: Sqs, members: dict[str, Any], words: str) -> None:
    good = {"QueueUrl": await sqs.queue(), "Label": "l", "AWSAccountIds": ["111122223333"], "Actions": ["*"]}
    assert (await sqs.refused("AddPermission", **{**good, **members}))[1] == words


async def test_other_accounts_are_kept_out(sqs: Sqs) -> None:
    url = await sqs.queue()
    for operation in ("SendMessage", "ReceiveMessage", "DeleteQueue", "PurgeQueue", "ListQueueTags"):
        assert (await sqs.refused(operation, "999999999999", QueueUrl=url, MessageBody="x"))[0] == (
            "AccessDeniedException"
        )
    assert await sqs.call("ListQueues", "999999999999") == {}


async def test_another_account_may_do_what_the_policy_says(sqs: Sqs) -> None:
    url = await sqs.queue()
    other = "999999999999"
    await sqs.call("AddPermission", QueueUrl=url, Label="l", AWSAccountIds=[other], Actions=["SendMessage"])
    entries = [{"Id": "1", "MessageBody": "x"}]
    await sqs.call("SendMessage", other, QueueUrl=url, MessageBody="x")
    await sqs.call("SendMessageBatch", other, QueueUrl=url, Entries=entries)
    for operation in ("ReceiveMessage", "PurgeQueue", "SetQueueAttributes"):
        assert (await sqs.refused(operation, other, QueueUrl=url))[0] == "AccessDeniedException"
    assert (await sqs.refused("SendMessage", "888888888888", QueueUrl=url, MessageBody="x"))[0] == (
        "AccessDeniedException"
    )
    assert (await sqs.one(url))["Body"] == "x"


# ── move tasks ────────────────────────────────────────────────────────────────────────────────────────────────────────

FORMAT = "You must use this format to specify the {}: arn:<partition>:<service>:<region>:<account-id>:<resource-id>"


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({}, "The request must contain the parameter SourceArn."),
        ({"SourceArn": ""}, FORMAT.format("SourceArn")),
        ({"SourceArn": ARN + "none"}, "The resource that you specified for the SourceArn parameter doesn't exist."),
        ({"SourceArn": ARN + "q"}, "Source queue must be configured as a Dead Letter Queue."),
        ({"SourceArn": ARN + "dead", "DestinationArn": "x"}, FORMAT.format("DestinationArn")),
        (
            {"SourceArn": ARN + "dead", "DestinationArn": ARN + "none"},
            "The resource that you specified for the DestinationArn parameter doesn't exist.",
        ),
        (
            {"SourceArn": ARN + "dead", "DestinationArn": ARN + "dead"},
            "Source queue arn and destination queue arn cannot be the same.",
        ),
        (
            {"SourceArn": ARN + "dead", "DestinationArn": ARN + "q.fifo"},
            "The source queue and destination queue must be of the same queue type.",
        ),
        (
            {"SourceArn": ARN + "dead", "MaxNumberOfMessagesPerSecond": 501},
            "Value for parameter MaxNumberOfMessagesPerSecond is invalid. Reason: You must enter a number that's "
            "between 1 and 500.",
        ),
    ],
)
async def test_moves_that_cannot_be(sqs: Sqs, members: dict[str, Any], words: str) -> None:
    await sqs.queue("dead")
    await sqs.queue("q.fifo")
    await sqs.queue("q", RedrivePolicy=json.dumps({"deadLetterTargetArn": ARN + "dead", "maxReceiveCount": 1}))
    assert (await sqs.refused("StartMessageMoveTask", **members))[1] == words


async def test_a_move_can_be_followed_and_cancelled(sqs: Sqs) -> None:
    dead = await sqs.queue("dead")
    await sqs.queue("q", RedrivePolicy=json.dumps({"deadLetterTargetArn": ARN + "dead", "maxReceiveCount": 1}))
    for _ in range(2):
        await sqs.call("SendMessage", QueueUrl=dead, MessageBody="x")
    members: dict[str, Any] = {
        "SourceArn": ARN + "dead",
        "DestinationArn": ARN + "q",
        "MaxNumberOfMessagesPerSecond": 1,
    }
    handle = (await sqs.call("StartMessageMoveTask", **members))["TaskHandle"]
    assert (await sqs.refused("StartMessageMoveTask", **members))[1] == (
        "There is already a task running. Only one active task is allowed for a source queue arn at a given time."
    )
    (task,) = (await sqs.call("ListMessageMoveTasks", SourceArn=ARN + "dead"))["Results"]
    assert {name: task[name] for name in ("TaskHandle", "Status", "ApproximateNumberOfMessagesToMove")} == {
        "TaskHandle": handle,
        "Status": "RUNNING",
        "ApproximateNumberOfMessagesToMove": 2,
    }
    assert (await sqs.call("CancelMessageMoveTask", TaskHandle=handle))["ApproximateNumberOfMessagesMoved"] <= 1
    assert await sqs.refused("CancelMessageMoveTask", TaskHandle=handle) == (
        "ResourceNotFoundException",
        "Task does not exist.",
    )
    assert (await sqs.refused("CancelMessageMoveTask", TaskHandle="x"))[1] == (
        "Value for parameter TaskHandle is invalid."
    )
    (task,) = (await sqs.call("ListMessageMoveTasks", SourceArn=ARN + "dead"))["Results"]
    assert task["Status"] == "CANCELLED"
    assert "TaskHandle" not in task

"""Queues for those who live in the same process."""

from __future__ import annotations

import pytest

from lambent import ports
from lambent.model.errors import AwsError
from sqs_harness import ACCOUNT, REGION, Sqs


def direct(sqs: Sqs, name: str) -> ports.Queue:
    return sqs.service.direct(f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}", "lambda.amazonaws.com")


async def test_many_messages_go_through_at_once(sqs: Sqs) -> None:
    await sqs.queue("q", VisibilityTimeout="7")
    queue = direct(sqs, "q")
    ids = await queue.send_many([{"MessageBody": str(n)} for n in range(250)])
    received = await queue.receive(200)
    assert [message["MessageId"] for message in received] == ids[:200]
    assert received[0]["Attributes"]["SenderId"] == "lambda.amazonaws.com"
    handles = [message["ReceiptHandle"] for message in received]
    assert await queue.delete_many(handles) == [None] * 200
    assert [m["Body"] for m in await queue.receive(200)] == [str(n) for n in range(200, 250)]
    sqs.clock.advance(queue.visibility_timeout_s)
    assert len(await queue.receive(200)) == 50


async def test_large_messages_come_in_bounded_portions(sqs: Sqs) -> None:
    await sqs.queue("q")
    queue = direct(sqs, "q")
    for _ in range(3):
        await queue.send_many([{"MessageBody": "x" * 1_000_000} for _ in range(8)])
    portions = []
    while received := await queue.receive(1000):
        portions.append(len(received))
    assert portions == [10, 10, 4]


async def test_order_holds_for_those_in_the_process_too(sqs: Sqs) -> None:
    await sqs.queue("q.fifo", ContentBasedDeduplication="true")
    queue = direct(sqs, "q.fifo")
    await queue.send_many([{"MessageBody": str(n), "MessageGroupId": "g"} for n in range(25)])
    received = await queue.receive(25)
    assert [message["Body"] for message in received] == [str(n) for n in range(10)]
    assert await queue.receive(25) == []
    handles = [message["ReceiptHandle"] for message in received]
    assert await queue.change_visibility([(handle, 0) for handle in handles]) == [None] * 10
    assert [m["Body"] for m in await queue.receive(25)] == [str(n) for n in range(10)]
    (late, *_) = await queue.delete_many(handles)
    assert late is not None
    assert late.message.endswith("The receipt handle has expired.")


async def test_what_is_not_allowed_sends_nothing(sqs: Sqs) -> None:
    await sqs.queue("q")
    queue = direct(sqs, "q")
    with pytest.raises(AwsError) as caught:
        await queue.send_many([{"MessageBody": "good"}, {"MessageBody": ""}])
    assert caught.value.code == "MissingRequiredParameterException"
    assert await queue.receive(1) == []
    with pytest.raises(AwsError) as caught:
        await direct(sqs, "none").receive(1)
    assert caught.value.code == "QueueDoesNotExist"

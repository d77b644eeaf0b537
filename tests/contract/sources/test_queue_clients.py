"""One suite for both ways to a queue: in the process, and through any SQS endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from dispatch_harness import ACCOUNT, REGION
from lambent.model.errors import AwsError
from lambent.model.request import RequestContext
from lambent.ports import Queue
from lambent.services.sqs import SqsService
from lambent.sources.remote_queue import RemoteQueue
from sources_harness import Queues

ARN = f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"


class Endpoint:
    """SQS behind `ports.Clients`."""

    def __init__(self, service: SqsService) -> None:
        self._service = service

    async def call(
        self, context: RequestContext, service: str, operation: str, request: Mapping[str, Any]
    ) -> dict[str, Any]:
        assert service == "sqs"
        return await self._service.operations[operation](context, dict(request))


@pytest.fixture
async def queues(tmp_path: Path) -> AsyncIterator[Queues]:
    world = await Queues.open(tmp_path)
    yield world
    await world.close()


@pytest.fixture(params=["own", "remote"])
def queue(request: pytest.FixtureRequest, queues: Queues) -> Queue:
    service = SqsService(queues.store)
    if request.param == "own":
        return service.direct(ARN, ACCOUNT)
    return RemoteQueue(Endpoint(service), queues.clock, ARN)


async def test_messages_are_received_with_all_they_have_and_deleted(queues: Queues, queue: Queue) -> None:
    await queues.queue(VisibilityTimeout="77")
    attribute = {"n": {"DataType": "Number", "StringValue": "1"}}
    sent = await queue.send_many([{"MessageBody": f"m{n}", "MessageAttributes": attribute} for n in range(25)])
    messages = await queue.receive(25)
    assert sorted(message["MessageId"] for message in messages) == sorted(sent)
    assert all(message["MessageAttributes"] == attribute for message in messages)
    assert all(message["Attributes"]["ApproximateReceiveCount"] == "1" for message in messages)
    assert queue.visibility_timeout_s == 77
    assert await queue.delete_many([message["ReceiptHandle"] for message in messages]) == [None] * 25
    assert await queue.receive(10) == []


async def test_messages_that_are_given_back_can_be_received_again(queues: Queues, queue: Queue) -> None:
    await queues.queue()
    await queue.send_many([{"MessageBody": "m"}])
    (message,) = await queue.receive(1)
    assert await queue.receive(1) == []
    assert await queue.change_visibility([(message["ReceiptHandle"], 0.0)]) == [None]
    assert [again["Body"] for again in await queue.receive(1)] == ["m"]


async def test_a_message_is_waited_for(queues: Queues, queue: Queue) -> None:
    url = await queues.queue()
    waiting = asyncio.ensure_future(queue.receive(1, wait_s=20))
    await asyncio.sleep(0)
    assert not waiting.done()
    await queues.send(url, "late")
    await queues.until(waiting.done, turn_s=0.2)
    assert [message["Body"] for message in await waiting] == ["late"]


async def test_nothing_comes_from_a_queue_that_stays_empty(queues: Queues, queue: Queue) -> None:
    await queues.queue()
    waiting = asyncio.ensure_future(queue.receive(1, wait_s=20))
    await queues.until(waiting.done, turn_s=1.0)
    assert await waiting == []


async def test_a_queue_that_does_not_exist_is_an_error(queues: Queues, queue: Queue) -> None:
    with pytest.raises(AwsError) as caught:
        await queue.receive(1)
    assert caught.value.code == "QueueDoesNotExist"


async def test_messages_that_came_before_an_endpoint_failed_are_given(queues: Queues) -> None:
    class Failing(Endpoint):
        receives = 0

        async def call(
            self, context: RequestContext, service: str, operation: str, request: Mapping[str, Any]
        ) -> dict[str, Any]:
            self.receives += operation == "ReceiveMessage"
            if self.receives == 2:
                raise AwsError("ServiceUnavailable", "Down.", 503)
            return await super().call(context, service, operation, request)

    await queues.queue()
    queue = RemoteQueue(Failing(SqsService(queues.store)), queues.clock, ARN)
    await queue.send_many([{"MessageBody": f"m{n}"} for n in range(20)])
    assert len(await queue.receive(20)) == 10
    with pytest.raises(AwsError):
        await queue.receive(20)

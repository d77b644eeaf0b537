"""Sources, functions and endpoints that misbehave: no poller ends of it, and nothing is lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from dispatch_harness import ACCOUNT, QUEUE, REGION, failed, succeeded
from lambent.model.errors import AwsError, service_fault
from lambent.model.invocation import Invocation, Outcome
from lambent.model.limits import SYNC_PAYLOAD_MAX_BYTES
from lambent.model.request import RequestContext
from lambent.services.sqs import SqsService
from lambent.sources.queue_poller import QueuePoller
from lambent.sources.remote_queue import RemoteQueue
from sources_harness import STREAM, Queues, Streams, data_of

MIB = 1024 * 1024


@pytest.fixture
async def queues(tmp_path: Path) -> AsyncIterator[Queues]:
    world = await Queues.open(tmp_path)
    yield world
    await world.close()


@pytest.fixture
async def streams(tmp_path: Path) -> AsyncIterator[Streams]:
    world = await Streams.open(tmp_path)
    await world.stream()
    yield world
    await world.close()


async def test_a_function_may_delete_its_own_queue(queues: Queues) -> None:
    url = await queues.queue()
    is_deleted = asyncio.Event()

    async def deletes(invocation: Invocation) -> Outcome:
        await queues.call("DeleteQueue", QueueUrl=url)
        is_deleted.set()
        return succeeded(invocation)

    queues.invocations.scripts["f"] = deletes
    queues.poll(url)
    await queues.send(url, "before")
    await is_deleted.wait()
    queues.clock.advance(61)
    queues.invocations.scripts["f"] = succeeded
    assert await queues.queue() == url
    await queues.send(url, "after")
    await queues.until_empty(url, turn_s=5.0)
    assert queues.seen == [["before"], ["after"]]


async def test_a_function_that_is_deleted_while_its_queue_is_full_costs_no_message_its_attempts(queues: Queues) -> None:
    dead = await queues.queue("dead")
    policy = {"deadLetterTargetArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:dead", "maxReceiveCount": 2}
    url = await queues.queue(RedrivePolicy=json.dumps(policy), VisibilityTimeout="10")
    texts = [str(n) for n in range(30)]
    await queues.send(url, *texts)

    def deleted(invocation: Invocation) -> Outcome:
        if "f" in queues.functions.versions:
            queues.functions.remove("f")
        raise AwsError("ResourceNotFoundException", "Function not found", 404)

    queues.invocations.scripts["f"] = deleted
    queues.poll(url, BatchSize=1, ScalingConfig={"MaximumConcurrency": 2})
    await queues.until(lambda: queues.seen)
    for _ in range(20):
        queues.clock.advance(30)
        await asyncio.sleep(0.002)
    assert await queues.counts(dead) == (0, 0)
    queues.invocations.scripts["f"] = succeeded
    queues.functions.add("f")
    attempts = len(queues.seen)
    await queues.until_empty(url, turn_s=5.0)
    assert sorted(text for batch in queues.seen[attempts:] for text in batch) == sorted(texts)
    assert await queues.counts(dead) == (0, 0)


async def test_an_endpoint_that_is_closed_delays_messages_and_loses_none(queues: Queues) -> None:
    url = await queues.queue()
    service = SqsService(queues.store)
    closed = True

    class Endpoint:
        async def call(
            self, context: RequestContext, name: str, operation: str, request: Mapping[str, Any]
        ) -> dict[str, Any]:
            if closed:
                raise service_fault("The endpoint of sqs, http://127.0.0.1:1, cannot be used: Connection refused")
            return await service.operations[operation](context, dict(request))

    mapping = queues.mapping(url)
    queue = RemoteQueue(Endpoint(), queues.clock, mapping["EventSourceArn"])
    poller = QueuePoller(mapping, queue, queues.function(mapping), queues.clock)
    poller.start()
    queues.pollers.append(poller)
    await queues.send(url, "one")
    for _ in range(10):
        queues.clock.advance(31)
        await asyncio.sleep(0.002)
    assert queues.seen == []
    closed = False
    await queues.until_empty(url, turn_s=5.0)
    assert queues.seen == [["one"]]


async def test_no_batch_of_a_stream_is_larger_than_an_invocation_may_have(streams: Streams) -> None:
    streams.poll()
    sequence = ""
    for n in range(8):
        (sequence,) = await streams.put(f"a-{n}" + "x" * (MIB - 100))
    await streams.until_checkpoint(sequence)
    assert [text[:3] for batch in streams.seen for text in batch] == [f"a-{n}" for n in range(8)]
    assert all(len(invocation.payload) <= SYNC_PAYLOAD_MAX_BYTES for invocation in streams.invocations.of("f"))


async def test_a_record_that_no_invocation_can_have_never_reaches_the_function_and_is_told_of(streams: Streams) -> None:
    await streams.call("UpdateMaxRecordSize", StreamARN=STREAM, MaxRecordSizeInKiB=10 * 1024)
    streams.poll(MaximumRetryAttempts=1, DestinationConfig={"OnFailure": {"Destination": QUEUE}})
    await streams.put("a-1", "a-" + "x" * (5 * MIB))
    (sequence,) = await streams.put("a-2")
    await streams.until_checkpoint(sequence, turn_s=1.0)
    assert [data_of(invocation) for invocation in streams.invocations.of("f")] == [["a-1"], ["a-2"]]
    (letter,) = streams.services.sent("SendMessage")
    told = json.loads(letter["MessageBody"])
    assert told["requestContext"]["condition"] == "MaximumPayloadSizeExceeded"
    assert told["KinesisBatchInfo"]["batchSize"] == 1


@pytest.mark.parametrize("jump_s", [86_400.0, -86_400.0], ids=["ahead", "back"])
@pytest.mark.parametrize("suffix", ["", ".fifo"], ids=["standard", "fifo"])
async def test_a_clock_that_jumps_hides_no_message(queues: Queues, suffix: str, jump_s: float) -> None:
    url = await queues.queue(f"q{suffix}", VisibilityTimeout="30")
    tries: list[str] = []

    def second_time(invocation: Invocation) -> Outcome:
        tries.append(invocation.request_id)
        return failed(invocation) if len(tries) == 1 else succeeded(invocation)

    queues.invocations.scripts["f"] = second_time
    await queues.send(url, "a-1")
    queues.poll(url)
    await queues.until(lambda: tries)
    queues.clock.turn_to(queues.clock.now() + jump_s)
    await queues.send(url, "a-2")
    for _ in range(7):  # 35 s: the visibility timeout and not much more
        queues.clock.advance(5)
        await asyncio.sleep(0.02)
    await queues.until_empty(url)
    assert {text for batch in queues.seen for text in batch} == {"a-1", "a-2"}


async def test_a_clock_that_was_set_back_before_the_server_started_hides_no_message(tmp_path: Path) -> None:
    first = await Queues.open(tmp_path)
    url = await first.queue()
    first.clock.advance(86_400)
    await first.send(url, "one")
    await first.close()
    later = await Queues.open(tmp_path)
    try:
        later.poll(url)
        await later.until_empty(url)
        assert later.seen == [["one"]]
    finally:
        await later.close()

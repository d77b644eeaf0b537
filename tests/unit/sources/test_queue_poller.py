"""SQS → function, on a real queue: what is delivered, what is deleted, what comes again, and how many at once."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from dispatch_harness import ACCOUNT, REGION, failed, key, succeeded, throttled
from lambent.model.invocation import Invocation, Outcome
from lambent.model.limits import SYNC_PAYLOAD_MAX_BYTES
from lambent.store.events import EventView
from sources_harness import Queues, answered, bodies, event_of

REPORTS = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}


@pytest.fixture
async def queues(tmp_path: Path) -> AsyncIterator[Queues]:
    world = await Queues.open(tmp_path)
    yield world
    await world.close()


async def test_a_message_reaches_the_function_as_aws_shows_it_and_is_deleted(queues: Queues) -> None:
    url = await queues.queue()
    queues.poll(url)
    attributes = {
        "text": {"DataType": "String", "StringValue": "x"},
        "bytes": {"DataType": "Binary", "BinaryValue": b"\x00\x01"},
    }
    await queues.send(url, "hello", MessageAttributes=attributes)
    await queues.until_empty(url)
    (record,) = event_of(queues.invocations.of("f")[0])["Records"]
    assert record.pop("receiptHandle")
    assert record.pop("messageId")
    assert record.pop("md5OfMessageAttributes")
    assert sorted(record.pop("attributes")) == [
        "ApproximateFirstReceiveTimestamp", "ApproximateReceiveCount", "SenderId", "SentTimestamp",
    ]  # fmt: skip
    assert record == {
        "body": "hello",
        "md5OfBody": "5d41402abc4b2a76b9719d911017c592",
        "messageAttributes": {
            "text": {"stringValue": "x", "stringListValues": [], "binaryListValues": [], "dataType": "String"},
            "bytes": {"binaryValue": "AAE=", "stringListValues": [], "binaryListValues": [], "dataType": "Binary"},
        },
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:{REGION}:{ACCOUNT}:q",
        "awsRegion": REGION,
    }


async def test_messages_that_wait_come_in_batches(queues: Queues) -> None:
    url = await queues.queue()
    await queues.send(url, *(str(n) for n in range(25)))
    queues.poll(url)
    await queues.until_empty(url)
    assert sorted(map(len, queues.seen)) == [5, 10, 10]


async def test_a_failed_batch_comes_again_after_its_visibility_timeout_and_then_to_the_dead_letters(
    queues: Queues,
) -> None:
    dead = await queues.queue("dead")
    policy = {"deadLetterTargetArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:dead", "maxReceiveCount": 3}
    url = await queues.queue(RedrivePolicy=json.dumps(policy), VisibilityTimeout="60")
    queues.invocations.scripts["f"] = failed
    queues.poll(url)
    await queues.send(url, "poison")

    async def dead_letters() -> bool:
        return await queues.counts(dead) == (1, 0)

    await queues.until(dead_letters, turn_s=1.0)
    assert queues.seen == [["poison"]] * 3
    times = [at_s for at_s, _ in queues.invocations.attempts]
    # The clock goes on between receiving and calling.
    assert all(later - earlier > 50 for earlier, later in itertools.pairwise(times))


async def test_only_the_messages_that_a_function_names_come_again(queues: Queues) -> None:
    url = await queues.queue(VisibilityTimeout="30")

    def second_time(invocation: Invocation) -> Outcome:
        records = event_of(invocation)["Records"]
        bad = [r for r in records if r["body"] == "bad" and r["attributes"]["ApproximateReceiveCount"] == "1"]
        return answered(invocation, {"batchItemFailures": [{"itemIdentifier": r["messageId"]} for r in bad]})

    queues.invocations.scripts["f"] = second_time
    await queues.send(url, "good", "bad", "better")
    queues.poll(url, **REPORTS)

    async def one_left() -> bool:
        return await queues.counts(url) == (0, 1)

    await queues.until(one_left)
    await queues.until_empty(url, turn_s=1.0)
    assert queues.seen == [["good", "bad", "better"], ["bad"]]


@pytest.mark.parametrize(
    ("response_types", "comes_again"),
    [(["ReportBatchItemFailures"], True), ([], False)],
    ids=["asked for", "not asked for"],
)
async def test_a_wrong_report_fails_the_whole_batch_only_where_reports_were_asked_for(
    queues: Queues, response_types: list[str], comes_again: bool
) -> None:
    url = await queues.queue(VisibilityTimeout="30")
    queues.invocations.scripts["f"] = lambda invocation: answered(invocation, {"batchItemFailures": [{"id": "x"}]})
    queues.poll(url, FunctionResponseTypes=response_types)
    await queues.send(url, "one")
    if comes_again:
        await queues.until(lambda: len(queues.seen) > 1, turn_s=1.0)
    else:
        await queues.until_empty(url)


async def test_messages_that_no_filter_lets_through_are_deleted_unseen(queues: Queues) -> None:
    url = await queues.queue()
    patterns = [{"body": {"kind": ["order"]}}, {"body": {"kind": ["bill"]}}]
    queues.poll(url, FilterCriteria={"Filters": [{"Pattern": json.dumps(pattern)} for pattern in patterns]})
    await queues.send(url, '{"kind":"order"}', '{"kind":"other"}', "no JSON", '{"kind":"bill"}')
    await queues.until_empty(url)
    assert sorted(body for batch in queues.seen for body in batch) == ['{"kind":"bill"}', '{"kind":"order"}']


async def test_a_batch_that_is_not_full_waits_for_its_window(queues: Queues) -> None:
    url = await queues.queue(VisibilityTimeout="120")
    queues.poll(url, BatchSize=100, MaximumBatchingWindowInSeconds=20)
    began_s = queues.clock.monotonic()
    await queues.send(url, *(str(n) for n in range(30)))
    await queues.until(lambda: queues.seen, turn_s=1.0)
    assert queues.clock.monotonic() - began_s >= 20
    await queues.until_empty(url)
    assert list(map(len, queues.seen)) == [30]


async def test_a_full_batch_does_not_wait_for_its_window(queues: Queues) -> None:
    url = await queues.queue()
    await queues.send(url, *(str(n) for n in range(20)))
    queues.poll(url, BatchSize=20, MaximumBatchingWindowInSeconds=300)
    await queues.until_empty(url)
    assert list(map(len, queues.seen)) == [20]


async def test_no_payload_is_larger_than_an_invocation_may_have(queues: Queues) -> None:
    url = await queues.queue()
    queues.poll(url)
    for n in range(8):
        await queues.send(url, str(n) * (1024 * 1024))
    await queues.until_empty(url)
    assert sum(map(len, queues.seen)) == 8
    assert all(len(invocation.payload) <= SYNC_PAYLOAD_MAX_BYTES for invocation in queues.invocations.of("f"))


async def test_a_throttled_batch_is_tried_again_without_being_received_again(queues: Queues) -> None:
    url = await queues.queue(VisibilityTimeout="300")
    refusals = iter(range(5))

    def busy(invocation: Invocation) -> Outcome:
        return throttled(invocation) if next(refusals, None) is not None else succeeded(invocation)

    queues.invocations.scripts["f"] = busy
    queues.poll(url)
    await queues.send(url, "one")
    await queues.until_empty(url, turn_s=0.5)
    assert len(queues.seen) == 6
    (record,) = event_of(queues.invocations.of("f")[-1])["Records"]
    assert record["attributes"]["ApproximateReceiveCount"] == "1"


async def test_a_batch_that_stays_throttled_goes_back_to_the_queue(queues: Queues) -> None:
    url = await queues.queue(VisibilityTimeout="10")
    queues.invocations.scripts["f"] = throttled
    queues.poll(url)
    await queues.send(url, "one")

    def received_again() -> bool:
        counts = {
            event_of(i)["Records"][0]["attributes"]["ApproximateReceiveCount"] for i in queues.invocations.of("f")
        }
        return "2" in counts

    await queues.until(received_again, turn_s=0.5)


@pytest.mark.parametrize("most", [2, 7])
async def test_no_more_batches_run_at_once_than_a_mapping_may_have(queues: Queues, most: int) -> None:
    url = await queues.queue()
    running: list[int] = []
    now = 0

    async def slow(invocation: Invocation) -> Outcome:
        nonlocal now
        now += 1
        running.append(now)
        await queues.clock.sleep(5)
        now -= 1
        return succeeded(invocation)

    queues.invocations.scripts["f"] = slow
    await queues.send(url, *(str(n) for n in range(30)))
    queues.poll(url, BatchSize=1, ScalingConfig={"MaximumConcurrency": most})
    await queues.until_empty(url, turn_s=1.0)
    assert max(running) == most
    assert len(queues.seen) == 30


async def test_messages_of_a_group_come_in_order_though_some_fail(queues: Queues) -> None:
    url = await queues.queue("q.fifo", VisibilityTimeout="5")
    tries: dict[str, int] = {}
    busy: set[str] = set()
    done: list[str] = []

    async def moody(invocation: Invocation) -> Outcome:
        texts = bodies(invocation)
        groups = {text.split("-")[0] for text in texts}
        assert not groups & busy, "one group in two batches at once"
        busy.update(groups)
        await asyncio.sleep(0.002)
        busy.difference_update(groups)
        for text in texts:
            tries[text] = tries.get(text, 0) + 1
        if any(text.endswith("3") and tries[text] == 1 for text in texts):
            return failed(invocation)
        done.extend(texts)
        return succeeded(invocation)

    queues.invocations.scripts["f"] = moody
    sent = [f"{group}-{n}" for n in range(6) for group in "abc"]
    await queues.send(url, *sent)
    queues.poll(url, BatchSize=2)
    await queues.until_empty(url, turn_s=0.5)
    for group in "abc":
        assert [text for text in done if text.startswith(group)] == [f"{group}-{n}" for n in range(6)]


async def test_a_queue_keeps_its_messages_while_the_function_does_not_exist(queues: Queues) -> None:
    url = await queues.queue()
    queues.functions.remove("f")
    queues.poll(url)
    await queues.send(url, "one")
    for _ in range(5):
        queues.clock.advance(10)
        await asyncio.sleep(0.005)
    assert await queues.counts(url) == (1, 0)
    queues.functions.add("f")
    await queues.until_empty(url, turn_s=5.0)
    assert queues.seen == [["one"]]


async def test_a_poller_lives_on_when_its_queue_is_deleted_and_made_again(queues: Queues) -> None:
    url = await queues.queue()
    queues.poll(url)
    await queues.send(url, "before")
    await queues.until_empty(url)
    await queues.call("DeleteQueue", QueueUrl=url)
    queues.clock.advance(61)
    url = await queues.queue()
    await queues.send(url, "after")
    await queues.until_empty(url, turn_s=5.0)
    assert queues.seen == [["before"], ["after"]]


async def test_a_poller_that_stops_gives_back_what_it_has_not_begun(queues: Queues) -> None:
    url = await queues.queue(VisibilityTimeout="600")
    poller = queues.poll(url, BatchSize=100, MaximumBatchingWindowInSeconds=300)
    await queues.send(url, "one", "two")

    async def both_received() -> bool:
        return await queues.counts(url) == (0, 2)

    await queues.until(both_received)
    await poller.stop_reading()
    await poller.finished()
    assert await queues.counts(url) == (2, 0)
    assert queues.seen == []


async def test_a_poller_that_stops_waits_for_the_batches_that_had_begun(queues: Queues) -> None:
    url = await queues.queue()
    go_on: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def slow(invocation: Invocation) -> Outcome:
        await go_on
        return succeeded(invocation)

    queues.invocations.scripts["f"] = slow
    poller = queues.poll(url)
    await queues.send(url, "one")
    await queues.until(lambda: queues.seen)
    await poller.stop_reading()
    ended = asyncio.ensure_future(poller.finished())
    await asyncio.sleep(0.01)
    assert not ended.done()
    go_on.set_result(None)
    await ended
    assert await queues.counts(url) == (0, 0)


async def test_a_failed_batch_is_in_the_timeline_with_its_event(queues: Queues) -> None:
    url = await queues.queue()
    queues.invocations.scripts["f"] = failed
    queues.poll(url)
    await queues.send(url, "one")

    async def noted() -> list[EventView]:
        return await queues.events.events(key("f"), 10)

    (event,) = await queues.until(noted)
    (invocation,) = queues.invocations.of("f")
    assert (event.request_id, event.state) == (invocation.request_id, "over")
    assert [(step.what, step.detail) for step in event.steps] == [
        ("accepted", {"source": f"arn:aws:sqs:{REGION}:{ACCOUNT}:q", "records": 1}),
        ("failed", {"error": '{"errorMessage":"no","errorType":"E"}'}),
        ("returned to queue", {}),
    ]
    kept = await queues.events.invocation(key("f"), event.request_id)
    assert kept is not None
    assert kept.payload == invocation.payload


async def test_messages_that_were_received_ahead_and_wait_for_room_run_once(queues: Queues) -> None:
    url = await queues.queue(VisibilityTimeout="30")

    async def waits(invocation: Invocation) -> Outcome:
        kind, number = bodies(invocation)[0].split("-")
        if kind == "slow":
            await queues.clock.sleep(15 + 10 * (int(number) % 2))
        return succeeded(invocation)

    queues.invocations.scripts["f"] = waits
    queues.poll(url, BatchSize=1, ScalingConfig={"MaximumConcurrency": 2})
    await queues.send(url, *[f"quick-{n}" for n in range(20)])
    await queues.until_empty(url)
    slow = [f"slow-{n}" for n in range(8)]
    entries = [{"Id": text, "MessageBody": text} for text in slow]
    await queues.call("SendMessageBatch", QueueUrl=url, Entries=entries)  # the function was quick: all are received
    await queues.until_empty(url, turn_s=1.0)
    assert sorted(text for batch in queues.seen[20:] for text in batch) == slow


async def test_a_group_that_fails_holds_up_no_other_that_was_received_with_it(queues: Queues) -> None:
    url = await queues.queue("q.fifo", VisibilityTimeout="60")
    queues.invocations.scripts["f"] = lambda invocation: (
        failed(invocation) if bodies(invocation)[0].startswith("a-") else succeeded(invocation)
    )
    texts = [f"a-{n}" for n in range(7)] + ["b-0", "b-1"]
    await queues.send(url, *[text.ljust(1_000_000) for text in texts])  # six of them fit into an event
    queues.poll(url)
    await queues.until(lambda: len(queues.seen) == 2)
    assert [[text.strip() for text in batch] for batch in queues.seen] == [texts[:6], texts[7:]]
    await queues.until_counts(url, (0, 7))

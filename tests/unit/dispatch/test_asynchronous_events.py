"""What becomes of accepted events: attempts, waits, ends, and what is sent because of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from dispatch_harness import (
    BUCKET,
    BUS,
    QUEUE,
    TOPIC,
    World,
    failed,
    key,
    steps,
    succeeded,
    throttled,
    until,
)
from lambent.model.errors import AwsError, service_fault
from lambent.model.invocation import Invocation, Outcome
from lambent.model.limits import ASYNC_PAYLOAD_MAX_BYTES
from lambent.model.names import FunctionAddress
from lambent.store.events.store import FORGET_EVERY_S


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    await made.start()
    yield made
    await made.stop()


def config(**members: Any) -> dict[str, Any]:
    return {"$LATEST": members}


def to(**targets: str) -> dict[str, Any]:
    return {"DestinationConfig": {name: {"Destination": arn} for name, arn in targets.items()}}


async def test_an_event_runs_once_when_its_function_succeeds(world: World) -> None:
    world.functions.add("f")
    request_id = await world.send("f", {"n": 1})
    event = await world.until_step("f", request_id, "succeeded")
    assert (event.state, event.attempts, event.payload) == ("over", 1, b'{"n": 1}')
    assert steps(event) == ["accepted", "attempted", "succeeded"]
    assert [i.payload for i in world.invocations.of("f")] == [b'{"n": 1}']
    assert world.services.calls == []


async def test_a_failing_event_comes_three_times_and_then_to_its_dead_letters(world: World) -> None:
    world.functions.add("f", dead_letters=QUEUE)
    world.invocations.scripts["f"] = failed
    request_id = await world.send("f", {"order": 7})
    for failures, wait_s in ((1, 60), (2, 120)):
        event = await world.until_step("f", request_id, "failed", failures)
        failed_ms = [step.at_ms for step in event.steps if step.what == "failed"][-1]
        assert event.due_ms == pytest.approx(failed_ms + wait_s * 1000, abs=100)
        world.clock.advance(wait_s - 1)
        world.clock.advance(1.001)
    event = await world.until_step("f", request_id, "sent")
    assert steps(event) == [
        "accepted", "attempted", "failed", "attempted", "failed", "attempted", "failed", "dropped", "sent",
    ]  # fmt: skip
    assert event.steps[-2].detail["condition"] == "RetriesExhausted"
    assert {i.request_id for i in world.invocations.of("f")} == {request_id}
    at = [when for when, _ in world.invocations.attempts]
    assert 60 <= at[1] - at[0] < 90
    assert 120 <= at[2] - at[1] < 150
    (letter,) = world.services.sent("SendMessage")
    assert letter["MessageBody"] == '{"order": 7}'
    assert letter["MessageAttributes"] == {
        "RequestID": {"DataType": "String", "StringValue": request_id},
        "ErrorCode": {"DataType": "Number", "StringValue": "200"},
        "ErrorMessage": {"DataType": "String", "StringValue": "no"},
    }


@pytest.mark.parametrize(("retries", "attempts"), [(0, 1), (1, 2), (2, 3)])
async def test_the_number_of_retries_is_the_functions_own(world: World, retries: int, attempts: int) -> None:
    world.functions.add("f", event_invoke=config(MaximumRetryAttempts=retries))
    world.invocations.scripts["f"] = failed
    request_id = await world.send("f")
    event = await world.turn_until_step("f", request_id, "dropped", 121)
    assert (event.attempts, len(world.invocations.of("f"))) == (attempts, attempts)


async def test_configurations_belong_to_one_qualifier(world: World) -> None:
    once = {"MaximumRetryAttempts": 0}
    world.functions.add("f", event_invoke={"live": {**once, **to(OnFailure=QUEUE)}, "$LATEST": to(OnFailure=TOPIC)})
    world.invocations.scripts["f"] = failed
    request_id = await world.send("f", qualifier="live")
    await world.until_step("f", request_id, "sent")
    (message,) = world.services.sent("SendMessage")
    assert json.loads(message["MessageBody"])["requestContext"]["functionArn"].endswith(":function:f:live")


async def test_throttles_are_waited_for_longer_and_longer_and_do_not_count(world: World) -> None:
    world.functions.add("f", event_invoke=config(MaximumRetryAttempts=0))
    world.invocations.scripts["f"] = throttled
    request_id = await world.send("f")
    event = await world.turn_until_step("f", request_id, "throttled", 301, times=11)
    waits = [round((step.detail["next_at_ms"] - step.at_ms) / 1000) for step in event.steps if step.what == "throttled"]
    assert waits[:11] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    assert event.attempts == 0
    world.invocations.scripts["f"] = succeeded
    event = await world.turn_until_step("f", request_id, "succeeded", 301)
    assert event.attempts == 1


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (service_fault("broken"), "refused"),
        (AwsError("InvalidRuntimeException", "no such interpreter", 502), "refused"),
        (AwsError("ResourceConflictException", "Pending", 409), "refused"),
        (RuntimeError("a bug"), "refused"),
    ],
)
async def test_what_this_machine_could_not_do_is_tried_again(world: World, error: Exception, what: str) -> None:
    world.functions.add("f")

    def broken(invocation: Invocation) -> Outcome:
        raise error

    world.invocations.scripts["f"] = broken
    request_id = await world.send("f")
    await world.until_step("f", request_id, what)
    world.invocations.scripts["f"] = succeeded
    await world.turn_until_step("f", request_id, "succeeded", 2)


async def test_a_clock_that_is_set_back_delays_no_retry(world: World) -> None:
    world.functions.add("f")
    world.invocations.scripts["f"] = failed
    request_id = await world.send("f")
    await world.until_step("f", request_id, "failed")
    world.clock.turn_to(world.clock.now() - 86_400)
    world.clock.advance(61)
    await world.until_step("f", request_id, "failed", 2)


async def test_a_clock_that_was_set_back_before_the_server_started_delays_no_retry(world: World) -> None:
    world.functions.add("f")
    world.invocations.scripts["f"] = failed
    request_id = await world.send("f")
    await world.until_step("f", request_id, "failed")
    await world.stop()
    world.clock.turn_to(world.clock.now() - 86_400)
    await world.start()
    world.clock.advance(61)
    await world.until_step("f", request_id, "failed", 2)
    assert world.dispatcher._functions, "the next one waits its time"
    assert len(world.invocations.of("f")) == 2


async def test_an_event_that_would_be_too_old_is_over(world: World) -> None:
    world.functions.add(
        "f", dead_letters=TOPIC, event_invoke=config(MaximumEventAgeInSeconds=60, **to(OnFailure=QUEUE))
    )
    world.invocations.scripts["f"] = throttled
    request_id = await world.send("f", [1])
    for throttles, wait_s in enumerate((1, 2, 4, 8, 16), 1):
        await world.until_step("f", request_id, "throttled", throttles)
        world.clock.advance(wait_s)
    event = await world.until_step("f", request_id, "sent", times=2)
    assert [s.detail["condition"] for s in event.steps if s.what == "dropped"] == ["EventAgeExceeded"]
    record = json.loads(world.services.sent("SendMessage")[0]["MessageBody"])
    assert record["requestContext"]["condition"] == "EventAgeExceeded"
    assert record["requestContext"]["approximateInvokeCount"] == 0
    assert record["responseContext"] == {"statusCode": 429}
    attributes = world.services.sent("Publish")[0]["MessageAttributes"]
    assert attributes["ErrorCode"]["StringValue"] == "429"
    assert attributes["ErrorMessage"]["StringValue"] == "Rate Exceeded."


async def test_no_concurrency_at_all_sends_events_away_at_once(world: World) -> None:
    world.functions.add("f", reserved=0, dead_letters=TOPIC, event_invoke=config(**to(OnFailure=QUEUE)))
    request_id = await world.send("f")
    await world.until_step("f", request_id, "sent", 2)
    assert world.invocations.attempts == []
    record = json.loads(world.services.sent("SendMessage")[0]["MessageBody"])
    assert record["requestContext"]["condition"] == "ZeroReservedConcurrency"
    assert record["requestContext"]["approximateInvokeCount"] == 0
    assert "responseContext" not in record
    assert "ErrorCode" not in world.services.sent("Publish")[0]["MessageAttributes"]


async def test_a_record_of_success_is_awss(world: World) -> None:
    world.functions.add("f", event_invoke=config(**to(OnSuccess=QUEUE, OnFailure=TOPIC)))
    request_id = await world.send("f", {"a": [1]})
    await world.until_step("f", request_id, "sent")
    record = json.loads(world.services.sent("SendMessage")[0]["MessageBody"])
    assert record.pop("timestamp").endswith("Z")
    assert record == {
        "version": "1.0",
        "requestContext": {
            "requestId": request_id,
            "functionArn": "arn:aws:lambda:us-east-1:000000000000:function:f:$LATEST",
            "condition": "Success",
            "approximateInvokeCount": 1,
        },
        "requestPayload": {"a": [1]},
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST"},
        "responsePayload": "done",
    }
    assert world.services.sent("Publish") == []


async def test_every_kind_of_target_gets_the_record_in_its_form(world: World) -> None:
    world.invocations.scripts = dict.fromkeys(("to-bus", "to-bucket", "to-topic", "to-function"), failed)
    target = "arn:aws:lambda:us-east-1:000000000000:function:next"
    world.functions.add("next")
    for name, arn in (("to-bus", BUS), ("to-bucket", BUCKET), ("to-topic", TOPIC), ("to-function", target)):
        world.functions.add(name, event_invoke=config(MaximumRetryAttempts=0, **to(OnFailure=arn)))
        await world.until_step(name, await world.send(name, name), "sent")
    (entry,) = world.services.sent("PutEvents")[0]["Entries"]
    assert entry["DetailType"] == "Lambda Function Invocation Result - Failure"
    assert (entry["Source"], entry["EventBusName"]) == ("lambda", BUS)
    assert entry["Resources"] == [BUS, "arn:aws:lambda:us-east-1:000000000000:function:to-bus:$LATEST"]
    assert json.loads(entry["Detail"])["responseContext"]["functionError"] == "Unhandled"
    (put,) = world.services.sent("PutObject")
    assert put["Bucket"] == "records"
    assert put["Key"].startswith("aws/lambda/async/to-bucket/2")
    assert json.loads(world.services.sent("Publish")[0]["Message"])["requestPayload"] == "to-topic"

    async def arrived() -> list[Invocation]:
        return world.invocations.of("next")

    (invocation,) = await until(arrived)
    assert json.loads(invocation.payload)["requestPayload"] == "to-function"


async def test_a_target_that_refuses_is_sent_to_until_it_takes_it_and_delays_nobody(world: World) -> None:
    world.functions.add("f", event_invoke=config(**to(OnSuccess=QUEUE)))
    world.functions.add("g", event_invoke=config(**to(OnSuccess=TOPIC)))
    world.services.refuse["sqs"] = AwsError("AWS.SimpleQueueService.NonExistentQueue", "gone", 400)
    mine = await world.send("f")
    await world.until_step("f", mine, "refused by target")
    await world.until_step("g", await world.send("g"), "sent")
    await world.restart()
    await world.turn_until_step("f", mine, "refused by target", 301, times=3)
    del world.services.refuse["sqs"]
    event = await world.turn_until_step("f", mine, "sent", 301)
    assert event.undelivered == 0
    assert len(world.services.sent("SendMessage")) == 1
    assert world.counted("f", "DestinationDeliveryFailures") >= 3


async def test_a_target_that_never_takes_it_is_given_up(world: World) -> None:
    world.functions.add("f", reserved=0, dead_letters=QUEUE)
    world.services.refuse["sqs"] = service_fault("down")
    event = await world.turn_until_step("f", await world.send("f"), "not sent", 3000)
    assert event.undelivered == 0
    assert world.counted("f", "DeadLetterErrors") > 1


async def test_a_backlog_starves_nobody(world: World) -> None:
    world.functions.add("slow")
    world.functions.add("quick")
    release = asyncio.Event()

    async def waits(invocation: Invocation) -> Outcome:
        await release.wait()
        return succeeded(invocation)

    world.invocations.scripts["slow"] = waits
    backlog = await asyncio.gather(*(world.send("slow", n) for n in range(500)))
    async with asyncio.timeout(30):
        await world.until_step("quick", await world.send("quick"), "succeeded")
    claimed = [event for event in await world.store.events(key("slow"), 1000) if event.state == "attempted"]
    assert 0 < len(claimed) <= 100, "events stay on the disk until they can run"
    release.set()
    await world.until_step("slow", backlog[-1], "succeeded")

    async def all_over() -> bool:
        return all(event.state == "over" for event in await world.store.events(key("slow"), 1000))

    assert await until(all_over)
    assert sorted(int(i.payload) for i in world.invocations.of("slow")) == list(range(500))


async def test_a_reserve_bounds_the_attempts_at_the_same_time(world: World) -> None:
    world.functions.add("f", reserved=2)
    running, most = 0, 0

    async def counts(invocation: Invocation) -> Outcome:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        return succeeded(invocation)

    world.invocations.scripts["f"] = counts
    sent = await asyncio.gather(*(world.send("f") for _ in range(20)))
    for request_id in sent:
        await world.until_step("f", request_id, "succeeded")
    assert most == 2


async def test_events_and_their_counts_survive_a_restart(world: World) -> None:
    world.functions.add("f", dead_letters=QUEUE)
    world.invocations.scripts["f"] = failed
    request_id = await world.send("f")
    await world.until_step("f", request_id, "failed", 1)
    await world.restart()
    await world.turn_until_step("f", request_id, "failed", 61, times=2)
    await world.restart()
    event = await world.turn_until_step("f", request_id, "sent", 121)
    assert (event.attempts, len(world.invocations.of("f"))) == (3, 3)
    assert {i.request_id for i in world.invocations.of("f")} == {request_id}


async def test_an_interrupted_attempt_is_made_again(world: World) -> None:
    world.functions.add("f")
    hangs = asyncio.Event()

    async def never(invocation: Invocation) -> Outcome:
        await hangs.wait()
        return succeeded(invocation)

    world.invocations.scripts["f"] = never
    request_id = await world.send("f")
    await world.until_step("f", request_id, "attempted")
    world.invocations.scripts["f"] = succeeded
    await world.restart()
    event = await world.until_step("f", request_id, "succeeded")
    assert steps(event) == ["accepted", "attempted", "interrupted", "attempted", "succeeded"]


async def test_a_mistake_of_our_own_does_not_keep_the_event(world: World) -> None:
    world.functions.add("f", event_invoke={"$LATEST": {"MaximumRetryAttempts": "two"}})  # never stored by Lambda's API
    request_id = await world.send("f")
    await world.until_step("f", request_id, "refused")
    world.functions.add("f")
    await world.turn_until_step("f", request_id, "succeeded", 2)


async def test_a_record_for_a_function_that_is_not_there_waits_until_it_is(world: World) -> None:
    world.functions.add("f", event_invoke=config(**to(OnSuccess="arn:aws:lambda:us-east-1:000000000000:function:late")))
    request_id = await world.send("f")
    await world.until_step("f", request_id, "refused by target")
    world.functions.add("late")
    await world.turn_until_step("f", request_id, "sent", 2)


async def test_events_of_a_function_that_is_gone_are_dropped(world: World) -> None:
    world.functions.add("f")
    world.invocations.scripts["f"] = failed
    request_id = await world.send("f")
    await world.until_step("f", request_id, "failed")
    world.functions.remove("f")
    event = await world.turn_until_step("f", request_id, "dropped", 61)
    assert event.steps[-1].detail["condition"] == "FunctionDeleted"


async def test_a_function_that_calls_itself_is_stopped_after_sixteen_times(world: World) -> None:
    world.functions.add("f", dead_letters=QUEUE)

    async def calls_itself(invocation: Invocation) -> Outcome:
        await world.send("f", trace_header=invocation.trace_header)
        return succeeded(invocation)

    world.invocations.scripts["f"] = calls_itself
    await world.send("f")
    await world.until_step("f", "request-17", "sent")
    assert len(world.invocations.of("f")) == 16
    assert world.counted("f", "RecursiveInvocationsDropped") == 1


async def test_a_function_that_may_call_itself_is_not_stopped(world: World) -> None:
    world.functions.add("f", recursion={"RecursiveLoop": "Allow"})

    async def calls_itself(invocation: Invocation) -> Outcome:
        if len(world.invocations.of("f")) < 40:
            await world.send("f", trace_header=invocation.trace_header)
        return succeeded(invocation)

    world.invocations.scripts["f"] = calls_itself
    await world.send("f")
    await world.until_step("f", "request-40", "succeeded")


async def test_a_past_event_can_be_sent_again(world: World) -> None:
    world.functions.add("f")
    first = await world.send("f", {"n": 1}, qualifier="live", client_context='{"c":1}')
    await world.until_step("f", first, "succeeded")
    address = world.functions.versions["f"]
    function = FunctionAddress(address.account_id, address.region, "f")
    second = await world.dispatcher.replay(function, first)
    event = await world.until_step("f", second, "succeeded")
    assert event.steps[0].detail == {"replay_of": first}
    one, two = world.invocations.of("f")
    assert (one.payload, one.qualifier, one.client_context) == (two.payload, two.qualifier, two.client_context)
    assert first != second
    with pytest.raises(AwsError, match="ResourceNotFoundException"):
        await world.dispatcher.replay(function, "never")


async def test_an_event_that_is_too_large_is_refused(world: World) -> None:
    world.functions.add("f")
    with pytest.raises(AwsError, match="byte payload is too large for the Event invocation type"):
        await world.send("f", "x" * ASYNC_PAYLOAD_MAX_BYTES)


async def test_the_timeline_forgets_the_oldest(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lambent.store.events.store.KEEP_EVENTS", 5)
    world.functions.add("f")
    sent = [await world.send("f", n) for n in range(12)]

    async def kept() -> list[str]:
        world.clock.advance(FORGET_EVERY_S)
        return [event.request_id for event in await world.store.events(key("f"), 100)]

    async def newest() -> bool:  # of those that are over; the others are there as well
        return await kept() == sent[-5:]

    async def nothing() -> bool:
        return await kept() == []

    await until(newest)
    world.clock.advance(8 * 86_400)
    await until(nothing)


async def test_steps_are_read_on_from_the_last_one_seen(world: World) -> None:
    world.functions.add("f")
    await world.until_step("f", await world.send("f"), "succeeded")
    seen = await world.store.steps_after(key("f"), 0, 100)
    assert [view.step.what for view in seen] == ["accepted", "attempted", "succeeded"]
    second = await world.send("f")
    await world.until_step("f", second, "succeeded")
    more = await world.store.steps_after(key("f"), seen[-1].step.id, 100)
    assert {view.request_id for view in more} == {second}

"""Schedules and scheduled rules at their times, with a clock that is turned."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bridge_harness import ACCOUNT, FUNCTION, QUEUE, REGION, ROLE, Bridge, Outside, bridge_in
from lambent.model.errors import AwsError, service_fault
from queue_clock import BEGIN_S, HandClock

OFF = {"Mode": "OFF"}
LETTERS = f"arn:aws:sqs:{REGION}:{ACCOUNT}:letters"
ARN = f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/default/s"


def at(seconds_from_now: float) -> str:
    return f"at({datetime.fromtimestamp(BEGIN_S + seconds_from_now, UTC):%Y-%m-%dT%H:%M:%S})"


def moment(seconds_from_now: float) -> datetime:
    return datetime.fromtimestamp(BEGIN_S + seconds_from_now, UTC)


async def create(bridge: Bridge, expression: str, **members: Any) -> None:
    target = {"Arn": QUEUE, "RoleArn": ROLE, "Input": "<aws.scheduler.scheduled-time>", **members.pop("Target", {})}
    members = {"Name": "s", "FlexibleTimeWindow": OFF, **members}
    await bridge.schedule("CreateSchedule", ScheduleExpression=expression, Target=target, **members)


async def test_a_one_time_schedule_fires_once_and_goes(bridge: Bridge) -> None:
    await create(bridge, at(60), ActionAfterCompletion="DELETE")
    await bridge.advance(59)
    assert bridge.outside.messages == []
    await bridge.advance(1)
    await bridge.until(lambda: bridge.outside.messages)
    await bridge.until(lambda: not bridge.catalog.documents("schedule", ACCOUNT, REGION))
    assert bridge.outside.messages == ["2026-11-21T07:29:43Z"]
    await bridge.until(lambda: not bridge.store.marks)


async def test_a_rate_begins_at_once_and_ends_at_its_end(bridge: Bridge) -> None:
    await create(bridge, "rate(1 minute)", EndDate=moment(130))
    for count in (1, 2, 3):
        await bridge.until(lambda count=count: len(bridge.outside.messages) == count)  # type: ignore[misc]
        await bridge.advance(60)
    await bridge.advance(600)
    await bridge.settled()
    assert len(bridge.outside.messages) == 3


async def test_a_rate_begins_at_its_start(bridge: Bridge) -> None:
    await create(bridge, "rate(1 hour)", StartDate=moment(90))
    await bridge.advance(89)
    assert bridge.outside.messages == []
    await bridge.advance(1)
    await bridge.until(lambda: bridge.outside.messages)


async def test_a_flexible_schedule_fires_within_its_window(tmp_path: Path) -> None:
    async with bridge_in(tmp_path) as bridge:
        bridge.scheduler._firing._draw = lambda: 0.5
        await create(bridge, at(60), FlexibleTimeWindow={"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 10})
        await bridge.advance(60)
        await bridge.advance(299)
        assert bridge.outside.messages == []
        await bridge.advance(1)
        await bridge.until(lambda: bridge.outside.messages)


async def test_a_schedule_that_is_disabled_or_deleted_does_not_fire(bridge: Bridge) -> None:
    await create(bridge, "rate(1 minute)", State="DISABLED")
    await create(bridge, at(60), Name="other")
    await bridge.schedule("DeleteSchedule", Name="other")
    await bridge.advance(300)
    await bridge.settled()
    assert bridge.outside.messages == []


async def test_an_update_replaces_the_times(bridge: Bridge) -> None:
    await create(bridge, at(60))
    target = {"Arn": QUEUE, "RoleArn": ROLE, "Input": "new"}
    await bridge.schedule("UpdateSchedule", Name="s", ScheduleExpression=at(120), Target=target, FlexibleTimeWindow=OFF)
    await bridge.advance(100)
    assert bridge.outside.messages == []
    await bridge.advance(20)
    await bridge.until(lambda: bridge.outside.messages == ["new"])


async def test_a_schedule_that_was_missed_fires_once_on_start_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock, outside = HandClock(), Outside()
    async with bridge_in(tmp_path, clock, outside) as bridge:
        await create(bridge, "rate(5 minutes)")
        await create(bridge, at(600), Name="once")
        await bridge.until(lambda: len(outside.messages) == 1)
        await bridge.settled()
    clock.advance(3600)
    with caplog.at_level(logging.WARNING):
        async with bridge_in(tmp_path, clock, outside) as bridge:
            await bridge.until(lambda: len(outside.messages) == 3)
            await bridge.settled()
            await bridge.advance(1)
            assert len(outside.messages) == 3
            await bridge.advance(300)
            await bridge.until(lambda: len(outside.messages) == 4)
    told = [record.getMessage() for record in caplog.records if "fires once now" in record.getMessage()]
    assert len(told) == 2
    assert "(and later times)" in told[0]


async def test_what_has_fired_does_not_fire_again_after_a_restart(tmp_path: Path) -> None:
    clock, outside = HandClock(), Outside()
    for _ in range(2):
        async with bridge_in(tmp_path, clock, outside) as bridge:
            if not outside.messages:
                await create(bridge, at(60))
                await bridge.advance(60)
            await bridge.until(lambda: outside.messages)
            await bridge.settled()
            await bridge.advance(1)
    assert len(outside.messages) == 1


async def test_a_scheduled_rule_sends_its_event_a_period_after_it_was_made(bridge: Bridge) -> None:
    await bridge.call("PutRule", Name="tick", ScheduleExpression="rate(1 minute)")
    await bridge.call("PutTargets", Rule="tick", Targets=[{"Id": "1", "Arn": FUNCTION}])
    await bridge.advance(59)
    assert bridge.outside.invocations == []
    await bridge.advance(1)
    await bridge.until(lambda: bridge.outside.invocations)
    event = json.loads(bridge.outside.invocations[0].payload)
    del event["id"]
    assert event == {
        "version": "0", "detail-type": "Scheduled Event", "source": "aws.events", "account": ACCOUNT,
        "time": "2026-11-21T07:29:43Z", "region": REGION,
        "resources": [f"arn:aws:events:{REGION}:{ACCOUNT}:rule/tick"], "detail": {},
    }  # fmt: skip
    await bridge.call("DisableRule", Name="tick")
    await bridge.advance(600)
    await bridge.settled()
    assert len(bridge.outside.invocations) == 1


async def test_a_schedule_without_input_sends_schedulers_own_event(bridge: Bridge) -> None:
    target = {"Arn": FUNCTION, "RoleArn": ROLE}
    await bridge.schedule("CreateSchedule", Name="s", ScheduleExpression=at(60), Target=target, FlexibleTimeWindow=OFF)
    await bridge.advance(60)
    await bridge.until(lambda: bridge.outside.invocations)
    event = json.loads(bridge.outside.invocations[0].payload)
    assert (event["source"], event["resources"], event["detail"]) == ("aws.scheduler", [ARN], "{}")


async def test_universal_targets_are_any_operation(bridge: Bridge) -> None:
    text = json.dumps({"TableName": "t", "Item": {"n": {"N": "<aws.scheduler.attempt-number>"}}})
    await create(bridge, at(60), Target={"Arn": "arn:aws:scheduler:::aws-sdk:dynamodb:putItem", "Input": text})
    lambda_input = json.dumps({"FunctionName": "f", "InvocationType": "Event", "Payload": '{"a": 1}'})
    await create(
        bridge, at(60), Name="l", Target={"Arn": "arn:aws:scheduler:::aws-sdk:lambda:invoke", "Input": lambda_input}
    )
    await bridge.advance(60)
    await bridge.until(lambda: bridge.outside.calls and bridge.outside.invocations)
    call = bridge.outside.calls[0]
    assert (call.service, call.operation) == ("dynamodb", "PutItem")
    assert call.request == {"TableName": "t", "Item": {"n": {"N": "1"}}}
    assert (call.context.account_id, call.context.region) == (ACCOUNT, REGION)
    assert bridge.outside.invocations[0].payload == b'{"a": 1}'


async def test_a_schedule_puts_events_on_a_bus(bridge: Bridge) -> None:
    await bridge.rule()
    bus = f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/default"
    parameters = {"DetailType": "order", "Source": "shop"}
    await create(bridge, at(60), Target={"Arn": bus, "Input": '{"n": 1}', "EventBridgeParameters": parameters})
    await bridge.advance(60)
    await bridge.until(lambda: bridge.outside.messages)
    event = json.loads(bridge.outside.messages[0])
    assert (event["source"], event["detail"], event["resources"]) == ("shop", {"n": 1}, [ARN])


async def test_a_target_that_refuses_leaves_a_dead_letter(bridge: Bridge) -> None:
    bridge.outside.broken["sns"] = AwsError("NotFound", "Topic does not exist", 404)
    topic = f"arn:aws:sns:{REGION}:{ACCOUNT}:t"
    await create(bridge, at(60), Target={"Arn": topic, "DeadLetterConfig": {"Arn": LETTERS}})
    await bridge.advance(60)
    await bridge.until(lambda: bridge.outside.calls)
    letter = bridge.outside.calls[0].request
    told = {name: value["StringValue"] for name, value in letter["MessageAttributes"].items()}
    execution_id = told.pop("EXECUTION_ID")
    assert execution_id
    assert told == {
        "SCHEDULE_ARN": ARN, "TARGET_ARN": topic, "ERROR_CODE": "NO_RESOURCE", "RETRY_ATTEMPTS": "0",
        "ERROR_MESSAGE": "NotFound: Topic does not exist", "SCHEDULED_TIME": "2026-11-21T07:29:43Z",
        "IS_PAYLOAD_TRUNCATED": "false",
    }  # fmt: skip
    assert letter["MessageBody"] == "2026-11-21T07:29:43Z"


async def test_attempts_are_numbered(bridge: Bridge) -> None:
    bridge.outside.failures = [service_fault("down")]
    await create(bridge, at(60), Target={"Input": "try <aws.scheduler.attempt-number>"})
    await bridge.advance(60)
    await bridge.until(lambda: not bridge.outside.failures)
    await bridge.advance(2)
    await bridge.until(lambda: bridge.outside.messages == ["try 2"])


async def test_hundreds_of_schedules_of_one_minute_fire_together(bridge: Bridge) -> None:
    for number in range(300):
        await create(bridge, at(60), Name=f"s{number}", Target={"Input": str(number)})
    await bridge.advance(60)
    await bridge.until(lambda: len(bridge.outside.messages) == 300)
    assert {int(message) for message in bridge.outside.messages} == set(range(300))


async def test_an_input_that_its_operation_does_not_understand_is_given_up_at_once(bridge: Bridge) -> None:
    bridge.outside.failures = [KeyError("Entries")]
    await create(bridge, at(60), Target={"Arn": "arn:aws:scheduler:::aws-sdk:eventbridge:putEvents", "Input": "{}"})
    await bridge.advance(60)
    await bridge.settled()
    assert bridge.outside.failures == []

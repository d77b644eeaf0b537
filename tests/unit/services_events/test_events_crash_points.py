"""The server ends, or the disk is full, between each two steps: nothing accepted is lost, nothing refused is delivered."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from bridge_harness import FUNCTION, ROLE, Bridge, Outside, bridge_in
from lambent.model.request import RequestContext
from queue_clock import HandClock


def room(bridge: Bridge, pages: int) -> None:
    """The database may have so many more pages than now."""
    connection = bridge.store._database._writer_connection
    (now,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {now + pages}").fetchone()


async def test_a_full_disk_refuses_new_events_and_loses_no_old_one(bridge: Bridge) -> None:
    await bridge.rule(Input="{}")
    await bridge.put()
    await bridge.settled()
    room(bridge, 2)
    await bridge.call("PutTargets", Rule="r", Targets=[{"Id": "1", "Arn": FUNCTION, "RoleArn": ROLE}])
    detail = json.dumps({"x": "y" * 50_000})
    entry = {"Source": "shop", "DetailType": "t", "Detail": detail}
    code, message = await bridge.refused("PutEvents", Entries=[entry])
    assert (code, message) == ("InternalException", "Service encountered unexpected problem. Please try again.")
    room(bridge, 1000)
    await bridge.call("PutEvents", Entries=[entry])
    await bridge.settled()
    assert len(bridge.outside.messages) == 1
    assert len(bridge.outside.invocations) == 1


async def test_a_schedule_waits_for_room_on_the_disk(bridge: Bridge, caplog: pytest.LogCaptureFixture) -> None:
    target = {"Arn": FUNCTION, "RoleArn": ROLE, "Input": json.dumps("y" * 50_000)}
    await bridge.schedule(
        "CreateSchedule", Name="s", ScheduleExpression="at(2026-11-21T07:29:43)", Target=target,
        FlexibleTimeWindow={"Mode": "OFF"},
    )  # fmt: skip
    room(bridge, 2)
    with caplog.at_level(logging.ERROR):
        await bridge.advance(60)
        await bridge.until(lambda: "cannot fire" in caplog.text)
    assert bridge.outside.invocations == []
    room(bridge, 1000)
    await bridge.advance(1)
    await bridge.until(lambda: bridge.outside.invocations)


@attrs.define
class Stuck(Outside):
    """Takes what it is sent, and the server ends before it has heard so."""

    is_stuck: bool = True

    async def call(
        self, context: RequestContext, service: str, operation: str, request: Mapping[str, Any]
    ) -> dict[str, Any]:
        answer = await Outside.call(self, context, service, operation, request)
        if operation == "SendMessage" and self.is_stuck:
            await asyncio.Event().wait()
        return answer


async def test_what_was_sent_before_the_end_was_written_is_sent_again_with_the_same_ids(tmp_path: Path) -> None:
    clock, outside = HandClock(), Stuck()
    queue = "arn:aws:sqs:eu-west-1:111122223333:q.fifo"
    async with bridge_in(tmp_path, clock, outside) as bridge:
        await bridge.rule(arn=queue, SqsParameters={"MessageGroupId": "g"})
        answer = await bridge.put()
        await bridge.until(lambda: outside.messages)
    outside.is_stuck = False
    async with bridge_in(tmp_path, clock, outside) as bridge:
        await bridge.settled()
    first, second = [call.request for call in outside.calls]
    assert json.loads(first["MessageBody"])["id"] == answer["EventId"]
    assert first == second
    assert first["MessageDeduplicationId"]

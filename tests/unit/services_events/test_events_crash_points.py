"""The server ends, or the disk is full, between each two steps: nothing accepted is lost, nothing refused is delivered."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from bridge_harness import FUNCTION, PATTERN, ROLE, Bridge, Outside, bridge_in
from crash_images import images_of, room
from full_disk import FullDisk
from lambent.model.errors import service_fault
from lambent.model.request import RequestContext
from lambent.store.deliveries import DeliveryStore
from queue_clock import HandClock


async def test_a_full_disk_refuses_new_events_and_loses_no_old_one(bridge: Bridge) -> None:
    await bridge.rule(Input="{}")
    await bridge.put()
    await bridge.settled()
    room(bridge.store._database, 2)
    await bridge.call("PutTargets", Rule="r", Targets=[{"Id": "1", "Arn": FUNCTION, "RoleArn": ROLE}])
    detail = json.dumps({"x": "y" * 50_000})
    entry = {"Source": "shop", "DetailType": "t", "Detail": detail}
    code, message = await bridge.refused("PutEvents", Entries=[entry])
    assert (code, message) == ("InternalException", "Service encountered unexpected problem. Please try again.")
    room(bridge.store._database, 1000)
    await bridge.call("PutEvents", Entries=[entry])
    await bridge.settled()
    assert len(bridge.outside.messages) == 1
    assert len(bridge.outside.invocations) == 1


async def test_what_a_target_has_taken_is_not_sent_again_while_the_disk_is_full(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bridge.rule(Input="{}")
    disk = FullDisk(monkeypatch, DeliveryStore, "end")
    await bridge.put()
    await bridge.settled()
    assert disk.refused == 3
    assert len(bridge.outside.messages) == 1


async def test_a_clock_that_was_set_back_before_the_server_started_delays_no_retry(tmp_path: Path) -> None:
    outside = Outside()
    async with bridge_in(tmp_path, outside=outside) as bridge:
        await bridge.rule()
        outside.failures = [service_fault("down"), service_fault("down")]
        await bridge.put()
        await bridge.until(lambda: len(outside.failures) == 1)
        await bridge.advance(1)
        await bridge.until(lambda: not outside.failures)
        clock = bridge.clock
    clock.behind_s = 86_400
    async with bridge_in(tmp_path, clock, outside) as bridge:
        await bridge.advance(600)
        await bridge.settled()
        assert len(outside.messages) == 1


async def test_a_lane_that_broke_goes_on(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lambent.services.delivery.deliverer.RESTART_LANE_S", 0.01)
    due, broke = DeliveryStore.due, False

    async def breaks(store: DeliveryStore, lane: str, limit: int) -> Any:
        nonlocal broke
        if not broke:
            broke = True
            raise RuntimeError("a mistake of our own")
        return await due(store, lane, limit)

    monkeypatch.setattr(DeliveryStore, "due", breaks)
    await bridge.rule()
    await bridge.put()
    await bridge.settled()
    assert len(bridge.outside.messages) == 1


async def test_a_schedule_waits_for_room_on_the_disk(bridge: Bridge, caplog: pytest.LogCaptureFixture) -> None:
    target = {"Arn": FUNCTION, "RoleArn": ROLE, "Input": json.dumps("y" * 50_000)}
    await bridge.schedule(
        "CreateSchedule", Name="s", ScheduleExpression="at(2026-11-21T07:29:43)", Target=target,
        FlexibleTimeWindow={"Mode": "OFF"},
    )  # fmt: skip
    room(bridge.store._database, 2)
    with caplog.at_level(logging.ERROR):
        await bridge.advance(60)
        await bridge.until(lambda: "cannot fire" in caplog.text)
    assert bridge.outside.invocations == []
    room(bridge.store._database, 1000)
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


async def test_whenever_the_server_ends_an_event_reaches_its_target_or_its_dead_letters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, outside, accepted = HandClock(), Outside(), list[str]()
    first = tmp_path / "first"
    first.mkdir()
    letters = {"DeadLetterConfig": {"Arn": "arn:aws:sqs:eu-west-1:111122223333:letters"}}
    async with bridge_in(first, clock, outside) as bridge:
        await bridge.rule()
        await bridge.call("PutRule", Name="other", EventPattern=PATTERN)
        targets = [{"Id": "1", "Arn": "arn:aws:lambda:eu-west-1:111122223333:function:gone", **letters}]
        await bridge.call("PutTargets", Rule="other", Targets=targets)
        images = images_of(first, tmp_path, monkeypatch, lambda: ([*accepted], [*outside.messages]))
        for number in range(2):
            accepted.append((await bridge.put({"n": number}))["EventId"])
            await bridge.settled()
        monkeypatch.undo()
    assert len(images) >= 6
    for image in images:
        known, sent = image.known
        later = Outside()
        async with bridge_in(image.folder, clock, later) as bridge:
            await bridge.settled()
        arrived = Counter(json.loads(body)["id"] for body in [*sent, *later.messages])
        assert all(arrived[event_id] >= 2 for event_id in known), "in the queue and in the dead letters"
        assert len(later.messages) <= 2 * len(accepted) - len(sent) + 1, "what was written down is not sent again"

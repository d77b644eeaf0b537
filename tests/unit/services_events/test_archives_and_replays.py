"""Archives keep what their patterns say; replays send it again, also over a restart."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bridge_harness import ACCOUNT, QUEUE, REGION, Bridge, Outside, bridge_in
from lambent.model.errors import service_fault
from queue_clock import BEGIN_S, HandClock

BUS = f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/default"
ARCHIVE = f"arn:aws:events:{REGION}:{ACCOUNT}:archive/kept"
DAY = 86_400


def moment(seconds_from_now: float) -> datetime:
    return datetime.fromtimestamp(BEGIN_S + seconds_from_now, UTC)


async def start(bridge: Bridge, name: str = "again", **members: Any) -> dict[str, Any]:
    wanted = {
        "ReplayName": name, "EventSourceArn": ARCHIVE, "EventStartTime": moment(0), "EventEndTime": moment(5),
        "Destination": {"Arn": BUS}, **members,
    }  # fmt: skip
    return await bridge.call("StartReplay", **wanted)


def state(bridge: Bridge, name: str = "again") -> str:
    document = bridge.catalog.document("event-replay", ACCOUNT, REGION, name)
    assert document is not None
    return str(document["State"])


async def test_an_archive_counts_what_its_pattern_lets_in(bridge: Bridge) -> None:
    pattern = '{"detail": {"n": [1]}}'
    answer = await bridge.call("CreateArchive", ArchiveName="kept", EventSourceArn=BUS, EventPattern=pattern)
    assert (answer["ArchiveArn"], answer["State"]) == (ARCHIVE, "ENABLED")
    await bridge.put({"n": 1})
    await bridge.put({"n": 2})
    described = await bridge.call("DescribeArchive", ArchiveName="kept")
    assert (described["EventCount"], described["RetentionDays"], described["EventPattern"]) == (1, 0, pattern)
    assert described["SizeBytes"] > 100
    (listed,) = (await bridge.call("ListArchives", NamePrefix="ke"))["Archives"]
    assert listed["EventCount"] == 1


async def test_a_replay_sends_the_events_of_its_time_to_the_rules_it_names(bridge: Bridge) -> None:
    await bridge.call("CreateArchive", ArchiveName="kept", EventSourceArn=BUS)
    for number in range(8):
        await bridge.put({"n": number})
        await bridge.advance(1)
    await bridge.rule("one")
    await bridge.rule("two", arn=f"{QUEUE}2")
    rule = f"arn:aws:events:{REGION}:{ACCOUNT}:rule/one"
    answer = await start(bridge, Destination={"Arn": BUS, "FilterArns": [rule]})
    assert answer["State"] == "STARTING"
    await bridge.until(lambda: state(bridge) == "COMPLETED")
    await bridge.settled()
    events = [json.loads(message) for message in bridge.outside.messages]
    assert sorted(event["detail"]["n"] for event in events) == [0, 1, 2, 3, 4]
    assert {event["replay-name"] for event in events} == {"again"}
    described = await bridge.call("DescribeReplay", ReplayName="again")
    assert described["EventLastReplayedTime"] == moment(4)
    assert described["ReplayEndTime"] == moment(8)
    assert (await bridge.call("DescribeArchive", ArchiveName="kept"))["EventCount"] == 8  # replays are not archived


async def test_a_replay_goes_on_after_a_restart(tmp_path: Path) -> None:
    clock, outside = HandClock(), Outside()
    outside.broken["sqs"] = service_fault("down")
    async with bridge_in(tmp_path, clock, outside) as bridge:
        await bridge.call("CreateArchive", ArchiveName="kept", EventSourceArn=BUS)
        entry = {"Source": "shop", "DetailType": "t", "Detail": "{}"}
        for _ in range(30):
            await bridge.call("PutEvents", Entries=[entry] * 10)
        await bridge.rule()
        await start(bridge)
    outside.broken.clear()
    clock.advance(600)
    async with bridge_in(tmp_path, clock, outside) as bridge:
        await bridge.until(lambda: state(bridge) == "COMPLETED")
        await bridge.settled()
    assert len({json.loads(message)["id"] for message in outside.messages}) == 300


async def test_a_replay_can_be_cancelled_while_it_runs(bridge: Bridge) -> None:
    await bridge.call("CreateArchive", ArchiveName="kept", EventSourceArn=BUS)
    await bridge.put()
    await start(bridge)
    answer = await bridge.call("CancelReplay", ReplayName="again")
    assert answer["State"] == "CANCELLING"
    await bridge.until(lambda: state(bridge) == "CANCELLED")
    code, message = await bridge.refused("CancelReplay", ReplayName="again")
    assert (code, message) == ("IllegalStatusException", "Replay again is not in a valid state for this operation.")


async def test_what_is_older_than_an_archive_keeps_is_forgotten(bridge: Bridge) -> None:
    await bridge.call("CreateArchive", ArchiveName="kept", EventSourceArn=BUS, RetentionDays=1)
    await bridge.put()
    await bridge.advance(DAY - 60)
    await bridge.put()
    await bridge.advance(3600)

    async def count() -> int:
        found: int = (await bridge.call("DescribeArchive", ArchiveName="kept"))["EventCount"]
        return found

    for _ in range(200):
        if await count() == 1:
            break
    assert await count() == 1


async def test_a_new_archive_has_nothing_of_an_old_one_of_its_name(bridge: Bridge) -> None:
    await bridge.call("CreateArchive", ArchiveName="kept", EventSourceArn=BUS)
    await bridge.put()
    await bridge.call("DeleteArchive", ArchiveName="kept")
    await bridge.call("CreateArchive", ArchiveName="kept", EventSourceArn=BUS)
    assert (await bridge.call("DescribeArchive", ArchiveName="kept"))["EventCount"] == 0


async def test_archives_and_replays_are_refused_in_awss_words(bridge: Bridge) -> None:
    unknown = BUS.replace("default", "none")
    assert await bridge.refused("CreateArchive", ArchiveName="a", EventSourceArn=unknown) == (
        "ResourceNotFoundException", "Event bus none does not exist.",
    )  # fmt: skip
    await bridge.call("CreateArchive", ArchiveName="kept", EventSourceArn=BUS)
    await bridge.call("CreateEventBus", Name="other")
    assert await bridge.refused("CreateArchive", ArchiveName="kept", EventSourceArn=BUS) == (
        "ResourceAlreadyExistsException", "Archive kept already exists.",
    )  # fmt: skip
    for operation in ("DescribeArchive", "DeleteArchive", "UpdateArchive"):
        assert await bridge.refused(operation, ArchiveName="a") == (
            "ResourceNotFoundException", "Archive a does not exist.",
        )  # fmt: skip
    cases: list[tuple[dict[str, Any], str, str]] = [
        ({"Destination": {"Arn": unknown}}, "ResourceNotFoundException", "Event bus none does not exist."),
        (
            {"Destination": {"Arn": BUS.replace("default", "other")}},
            "ValidationException",
            "Parameter Destination.Arn is not valid. Reason: Cross event bus replay is not permitted.",
        ),
        (
            {"EventSourceArn": ARCHIVE.replace("kept", "a")},
            "ValidationException",
            "Parameter EventSourceArn is not valid. Reason: Archive a does not exist.",
        ),
        (
            {"EventEndTime": moment(0)},
            "ValidationException",
            "Parameter EventEndTime is not valid. Reason: EventStartTime must be before EventEndTime.",
        ),
    ]
    wanted: dict[str, Any] = {
        "ReplayName": "again", "EventSourceArn": ARCHIVE, "EventStartTime": moment(0), "EventEndTime": moment(5),
        "Destination": {"Arn": BUS},
    }  # fmt: skip
    for members, code, message in cases:
        assert await bridge.refused("StartReplay", **{**wanted, **members}) == (code, message)
    await start(bridge)
    assert await bridge.refused("StartReplay", **wanted) == (
        "ResourceAlreadyExistsException", "Replay again already exists.",
    )  # fmt: skip

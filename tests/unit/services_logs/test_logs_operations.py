"""CloudWatch Logs' operations: AWS's members, errors and pages. Every answer is held against botocore's model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from lambent.model.errors import AwsError
from lambent.model.request import RequestContext
from lambent.services.logs import LogsService
from lambent.store.logs import LogStore

NOW_MS = 1_795_246_123_456
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
GROUP, STREAM = "/aws/lambda/hello", "2026/11/21/[$LATEST]22be53a8cfde4e68b844f8ec293b2543"
ARN = f"arn:aws:logs:us-east-1:000000000000:log-group:{GROUP}"
HERE = RequestContext(account_id="000000000000", region="us-east-1", request_id="r", base_url="http://127.0.0.1:4566")
MODEL = botocore.session.get_session().get_service_model("logs")


class Clock:
    def __init__(self) -> None:
        self.now_ms = NOW_MS

    def now(self) -> float:
        return self.now_ms / 1000

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Client:
    """Calls operations as the gateway does, and looks at what they answer as an SDK does."""

    def __init__(self, store: LogStore, clock: Clock) -> None:
        self.store = store
        self.clock = clock
        self.service = LogsService(store, clock)

    async def __call__(self, operation: str, **members: Any) -> dict[str, Any]:
        model = MODEL.operation_model(operation)
        problems = ParamValidator().validate(members, model.input_shape).generate_report()
        assert not problems, problems
        answer = await self.service.operations[operation](HERE, members)
        if model.output_shape is None:
            assert answer == {}
            return answer
        assert set(answer) <= set(model.output_shape.members)
        problems = ParamValidator().validate(answer, model.output_shape).generate_report()
        assert not problems, problems
        return answer

    async def put(self, *messages: str, stream: str = STREAM, **changes: Any) -> dict[str, Any]:
        at_ms = changes.pop("at_ms", self.clock.now_ms)
        events = [{"timestamp": at_ms + n, "message": message} for n, message in enumerate(messages)]
        return await self("PutLogEvents", logGroupName=GROUP, logStreamName=stream, logEvents=events)

    async def fails(self, operation: str, **members: Any) -> tuple[str, str]:
        with pytest.raises(AwsError) as caught:
            await self.service.operations[operation](HERE, members)
        return caught.value.code, caught.value.message


@pytest.fixture
async def logs(tmp_path: Path) -> AsyncIterator[Client]:
    clock = Clock()
    store = await LogStore.open(tmp_path / "logs.db", clock)
    client = Client(store, clock)
    await client("CreateLogGroup", logGroupName=GROUP)
    await client("CreateLogStream", logGroupName=GROUP, logStreamName=STREAM)
    yield client
    await store.close()


def test_every_operation_is_one_of_the_model() -> None:
    service = LogsService(None, Clock())  # type: ignore[arg-type]
    assert set(service.operations) <= set(MODEL.operation_names)


async def test_a_group_is_described_as_at_aws(logs: Client) -> None:
    await logs.put("hello")
    answer = await logs("DescribeLogGroups")
    assert answer == {
        "logGroups": [
            {
                "logGroupName": GROUP,
                "creationTime": NOW_MS,
                "metricFilterCount": 0,
                "arn": f"{ARN}:*",
                "storedBytes": 31,
                "logGroupClass": "STANDARD",
                "logGroupArn": ARN,
                "deletionProtectionEnabled": False,
            }
        ]
    }


async def test_groups_are_listed_by_prefix_by_part_and_in_pages(logs: Client) -> None:
    for name in ("b", "a", "a/c", "Az"):
        await logs("CreateLogGroup", logGroupName=name)
    pages: list[list[str]] = []
    token: dict[str, str] = {}
    while True:
        answer = await logs("DescribeLogGroups", limit=2, **token)
        pages.append([group["logGroupName"] for group in answer["logGroups"]])
        if "nextToken" not in answer:
            break
        token = {"nextToken": answer["nextToken"]}
    assert pages == [[GROUP, "Az"], ["a", "a/c"], ["b"]]
    answer = await logs("DescribeLogGroups", logGroupNamePrefix="a")
    assert [group["logGroupName"] for group in answer["logGroups"]] == ["a", "a/c"]
    answer = await logs("DescribeLogGroups", logGroupNamePattern="lambda")
    assert [set(group) for group in answer["logGroups"]] == [{"logGroupName", "creationTime", "arn"}]
    answer = await logs("ListLogGroups", logGroupNamePattern="^/aws|^bbb")
    assert answer["logGroups"] == [{"logGroupName": GROUP, "logGroupArn": ARN, "logGroupClass": "STANDARD"}]


async def test_what_is_missing_or_there_already_is_said_in_the_words_of_aws(logs: Client) -> None:
    no_group = ("ResourceNotFoundException", "The specified log group does not exist.")
    no_stream = ("ResourceNotFoundException", "The specified log stream does not exist.")
    event = [{"timestamp": NOW_MS, "message": "x"}]
    without_group: list[tuple[str, dict[str, Any]]] = [
        ("DeleteLogGroup", {}),
        ("CreateLogStream", {"logStreamName": "s"}),
        ("DeleteLogStream", {"logStreamName": "s"}),
        ("DescribeLogStreams", {}),
        ("PutLogEvents", {"logStreamName": "s", "logEvents": event}),
        ("GetLogEvents", {"logStreamName": "s"}),
        ("FilterLogEvents", {}),
        ("PutRetentionPolicy", {"retentionInDays": 1}),
        ("DeleteRetentionPolicy", {}),
        ("TagLogGroup", {"tags": {"a": "b"}}),
        ("ListTagsLogGroup", {}),
    ]
    for operation, members in without_group:
        assert await logs.fails(operation, logGroupName="nowhere", **members) == no_group, operation
    without_stream: list[tuple[str, dict[str, Any]]] = [
        ("DeleteLogStream", {"logStreamName": "s"}),
        ("PutLogEvents", {"logStreamName": "s", "logEvents": event}),
        ("GetLogEvents", {"logStreamName": "s"}),
        ("FilterLogEvents", {"logStreamNames": [STREAM, "s"]}),
    ]
    for operation, members in without_stream:
        assert await logs.fails(operation, logGroupName=GROUP, **members) == no_stream, operation
    assert await logs.fails("CreateLogGroup", logGroupName=GROUP) == (
        "ResourceAlreadyExistsException",
        "The specified log group already exists",
    )
    assert await logs.fails("CreateLogStream", logGroupName=GROUP, logStreamName=STREAM) == (
        "ResourceAlreadyExistsException",
        "The specified log stream already exists",
    )


async def test_a_group_may_be_named_by_its_arn_but_not_twice(logs: Client) -> None:
    await logs.put("x")
    for identifier in (GROUP, ARN):
        answer = await logs("GetLogEvents", logGroupIdentifier=identifier, logStreamName=STREAM)
        assert len(answer["events"]) == 1
    assert await logs.fails("FilterLogEvents", logGroupIdentifier=ARN, logGroupName=GROUP) == (
        "ValidationException",
        "LogGroup name and LogGroup ARN are mutually exclusive parameters.",
    )


async def test_tags_come_and_go_by_name_and_by_arn(logs: Client) -> None:
    await logs("TagResource", resourceArn=ARN, tags={"a": "1", "b": "2"})
    await logs("TagLogGroup", logGroupName=GROUP, tags={"b": "3"})
    assert await logs("ListTagsForResource", resourceArn=ARN) == {"tags": {"a": "1", "b": "3"}}
    await logs("UntagResource", resourceArn=ARN, tagKeys=["a", "z"])
    await logs("UntagLogGroup", logGroupName=GROUP, tags=["b"])
    assert await logs("ListTagsLogGroup", logGroupName=GROUP) == {"tags": {}}
    many = {f"k{n}": "v" for n in range(50)}
    await logs("TagResource", resourceArn=ARN, tags=many)
    code, _ = await logs.fails("TagResource", resourceArn=ARN, tags={"one": "more"})
    assert code == "TooManyTagsException"


async def test_retention_takes_only_the_days_that_aws_offers(logs: Client) -> None:
    await logs("PutRetentionPolicy", logGroupName=GROUP, retentionInDays=14)
    assert (await logs("DescribeLogGroups"))["logGroups"][0]["retentionInDays"] == 14
    await logs("DeleteRetentionPolicy", logGroupName=GROUP)
    assert "retentionInDays" not in (await logs("DescribeLogGroups"))["logGroups"][0]
    code, message = await logs.fails("PutRetentionPolicy", logGroupName=GROUP, retentionInDays=2)
    assert code == "InvalidParameterException"
    assert message.startswith(
        "1 validation error detected: Value '2' at 'retentionInDays' failed to satisfy constraint"
    )


async def test_a_protected_group_is_not_deleted(logs: Client) -> None:
    await logs("PutLogGroupDeletionProtection", logGroupIdentifier=ARN, deletionProtectionEnabled=True)
    assert (await logs("DescribeLogGroups"))["logGroups"][0]["deletionProtectionEnabled"] is True
    assert (await logs.fails("DeleteLogGroup", logGroupName=GROUP))[0] == "ValidationException"
    await logs("PutLogGroupDeletionProtection", logGroupIdentifier=ARN, deletionProtectionEnabled=False)
    await logs("DeleteLogGroup", logGroupName=GROUP)


async def test_streams_are_described_by_name_and_by_last_event(logs: Client) -> None:
    for number, name in enumerate(["c", "a", "b"]):
        await logs("CreateLogStream", logGroupName=GROUP, logStreamName=name)
        await logs.put("x", stream=name, at_ms=NOW_MS - number)
    answer = await logs("DescribeLogStreams", logGroupName=GROUP, logStreamNamePrefix="a")
    (described,) = answer["logStreams"]
    assert described["arn"] == f"{ARN}:log-stream:a"
    assert (described["firstEventTimestamp"], described["lastEventTimestamp"]) == (NOW_MS - 1, NOW_MS - 1)
    assert (described["lastIngestionTime"], described["storedBytes"]) == (NOW_MS, 0)
    names: list[str] = []
    token: dict[str, str] = {}
    while True:
        answer = await logs(
            "DescribeLogStreams", logGroupName=GROUP, orderBy="LastEventTime", descending=True, limit=1, **token
        )
        names += [stream["logStreamName"] for stream in answer["logStreams"]]
        if "nextToken" not in answer:
            break
        token = {"nextToken": answer["nextToken"]}
    assert names == ["c", "a", "b", STREAM]
    assert await logs.fails(
        "DescribeLogStreams", logGroupName=GROUP, orderBy="LastEventTime", logStreamNamePrefix="a"
    ) == ("InvalidParameterException", "Cannot order by LastEventTime with a logStreamNamePrefix.")


async def test_events_that_are_too_old_too_new_or_expired_are_rejected_and_the_others_kept(logs: Client) -> None:
    events = [
        {"timestamp": NOW_MS - 15 * DAY_MS, "message": "older than 14 days"},
        {"timestamp": NOW_MS - 2 * DAY_MS, "message": "older than the group keeps"},
        {"timestamp": NOW_MS, "message": "good"},
        {"timestamp": NOW_MS + 3 * HOUR_MS, "message": "from the future"},
    ]
    await logs("PutRetentionPolicy", logGroupName=GROUP, retentionInDays=1)
    answer = await logs("PutLogEvents", logGroupName=GROUP, logStreamName=STREAM, logEvents=events)
    assert answer["rejectedLogEventsInfo"] == {
        "tooOldLogEventEndIndex": 1,
        "expiredLogEventEndIndex": 2,
        "tooNewLogEventStartIndex": 3,
    }
    answer = await logs("GetLogEvents", logGroupName=GROUP, logStreamName=STREAM)
    assert [event["message"] for event in answer["events"]] == ["good"]


@pytest.mark.parametrize(
    ("events", "message"),
    [
        (
            [(NOW_MS, "b"), (NOW_MS - 1, "a")],
            "Log events in a single PutLogEvents request must be in chronological order.",
        ),
        (
            [(NOW_MS - DAY_MS - 1, "a"), (NOW_MS, "b")],
            "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.",
        ),
        ([(NOW_MS, "x" * 1_048_551)], "Log event too large: 1048577 bytes exceeds limit of 1048576"),
        ([(NOW_MS, "x" * 600_000)] * 2, "Upload too large: 1200052 bytes exceeds limit of 1048576"),
    ],
)
async def test_a_bad_batch_is_refused_whole(logs: Client, events: list[tuple[int, str]], message: str) -> None:
    members = [{"timestamp": time_ms, "message": text} for time_ms, text in events]
    assert await logs.fails("PutLogEvents", logGroupName=GROUP, logStreamName=STREAM, logEvents=members) == (
        "InvalidParameterException",
        message,
    )


async def test_reading_without_a_token_shows_the_newest_page_in_order(logs: Client) -> None:
    await logs.put(*(f"line {n}" for n in range(10)))
    read = {"logGroupName": GROUP, "logStreamName": STREAM, "limit": 4}
    page = await logs("GetLogEvents", **read)
    assert [event["message"] for event in page["events"]] == ["line 6", "line 7", "line 8", "line 9"]
    assert page["events"][0] == {"timestamp": NOW_MS + 6, "message": "line 6", "ingestionTime": NOW_MS}
    earlier = await logs("GetLogEvents", **read, nextToken=page["nextBackwardToken"])
    assert [event["message"] for event in earlier["events"]] == ["line 2", "line 3", "line 4", "line 5"]
    again = await logs("GetLogEvents", **read, nextToken=earlier["nextForwardToken"])
    assert again["events"] == page["events"]
    end = await logs("GetLogEvents", **read, nextToken=again["nextForwardToken"])
    assert end["events"] == []
    assert end["nextForwardToken"] == again["nextForwardToken"]
    back = await logs("GetLogEvents", **read, nextToken=end["nextBackwardToken"])
    assert back["events"] == page["events"]
    await logs.put("late", at_ms=NOW_MS + 100)
    more = await logs("GetLogEvents", **read, nextToken=end["nextForwardToken"])
    assert [event["message"] for event in more["events"]] == ["late"]


async def test_reading_from_the_head_goes_on_until_the_token_stays(logs: Client) -> None:
    await logs.put(*(f"line {n}" for n in range(10)))
    messages: list[str] = []
    token: dict[str, str] = {}
    while True:
        page = await logs(
            "GetLogEvents", logGroupName=GROUP, logStreamName=STREAM, limit=3, startFromHead=True, **token
        )
        messages += [event["message"] for event in page["events"]]
        if page["nextForwardToken"] == token.get("nextToken"):
            break
        token = {"nextToken": page["nextForwardToken"]}
    assert messages == [f"line {n}" for n in range(10)]
    window = {"startTime": NOW_MS + 2, "endTime": NOW_MS + 4}
    page = await logs("GetLogEvents", logGroupName=GROUP, logStreamName=STREAM, **window)
    assert [event["message"] for event in page["events"]] == ["line 2", "line 3"]


async def test_an_empty_stream_gives_tokens_that_find_what_comes_later(logs: Client) -> None:
    page = await logs("GetLogEvents", logGroupName=GROUP, logStreamName=STREAM)
    assert page["events"] == []
    await logs.put("first")
    page = await logs("GetLogEvents", logGroupName=GROUP, logStreamName=STREAM, nextToken=page["nextForwardToken"])
    assert [event["message"] for event in page["events"]] == ["first"]


@pytest.mark.parametrize("token", ["x", "f/1", "f/" + "9" * 57, "b/" + "a" * 56 + "/s", "WyJhIl0="])
async def test_a_token_that_was_not_given_out_is_refused(logs: Client, token: str) -> None:
    invalid = ("InvalidParameterException", "The specified nextToken is invalid.")
    named = {"logGroupName": GROUP, "nextToken": token}
    assert await logs.fails("GetLogEvents", logStreamName=STREAM, **named) == invalid
    assert await logs.fails("FilterLogEvents", **named) == invalid
    assert await logs.fails("DescribeLogStreams", orderBy="LastEventTime", **named) == invalid


async def test_filtering_goes_over_all_streams_in_the_order_of_time(logs: Client) -> None:
    await logs("CreateLogStream", logGroupName=GROUP, logStreamName="b")
    await logs.put("ERROR 1", "INFO 2", "ERROR 3")
    await logs.put("ERROR 1b", "ERROR 2b", stream="b", at_ms=NOW_MS)
    answer = await logs("FilterLogEvents", logGroupName=GROUP, filterPattern="ERROR")
    assert [(event["logStreamName"], event["message"]) for event in answer["events"]] == [
        (STREAM, "ERROR 1"),
        ("b", "ERROR 1b"),
        ("b", "ERROR 2b"),
        (STREAM, "ERROR 3"),
    ]
    assert answer["searchedLogStreams"] == []
    assert "nextToken" not in answer
    assert len({event["eventId"] for event in answer["events"]}) == 4
    for members in ({"logStreamNames": ["b"]}, {"logStreamNamePrefix": "b"}):
        answer = await logs("FilterLogEvents", logGroupName=GROUP, **members)
        assert [event["message"] for event in answer["events"]] == ["ERROR 1b", "ERROR 2b"]


@pytest.mark.parametrize("newest_first", [False, True])
async def test_filtered_pages_together_are_the_whole(logs: Client, newest_first: bool) -> None:
    await logs.put(*(f"line {n % 3}" for n in range(100)))
    order = {"startFromHead": False, "startTime": NOW_MS} if newest_first else {}
    times: list[int] = []
    token: dict[str, str] = {}
    while True:
        answer = await logs("FilterLogEvents", logGroupName=GROUP, filterPattern='"line 1"', limit=7, **order, **token)
        times += [event["timestamp"] for event in answer["events"]]
        if "nextToken" not in answer:
            break
        token = {"nextToken": answer["nextToken"]}
    assert times == sorted((NOW_MS + n for n in range(100) if n % 3 == 1), reverse=newest_first)


async def test_a_client_that_polls_sees_every_line_once(logs: Client) -> None:
    """How `aws logs tail --follow` reads: from its newest time on, leaving out the events it knows."""
    seen: dict[str, str] = {}
    newest_ms = NOW_MS
    for number in range(5):
        await logs.put(f"line {number}", f"more {number}")
        answer = await logs("FilterLogEvents", logGroupName=GROUP, startTime=newest_ms, interleaved=True)
        seen |= {event["eventId"]: event["message"] for event in answer["events"]}
        newest_ms = max(event["timestamp"] for event in answer["events"])
        logs.clock.now_ms += 1
    assert sorted(seen.values()) == sorted([f"line {n}" for n in range(5)] + [f"more {n}" for n in range(5)])


async def test_a_bad_pattern_is_an_invalid_parameter(logs: Client) -> None:
    assert await logs.fails("FilterLogEvents", logGroupName=GROUP, filterPattern="{ $.a }") == (
        "InvalidParameterException",
        "Invalid filter pattern",
    )
    code, _ = await logs.fails("FilterLogEvents", logGroupName=GROUP, startFromHead=False)
    assert code == "InvalidParameterException"
    code, _ = await logs.fails("FilterLogEvents", logGroupName=GROUP, logStreamNames=["a"], logStreamNamePrefix="b")
    assert code == "InvalidParameterException"


async def test_what_retention_no_longer_covers_is_not_shown_even_before_it_is_deleted(logs: Client) -> None:
    await logs.put("old")
    await logs("PutRetentionPolicy", logGroupName=GROUP, retentionInDays=1)
    assert len((await logs("FilterLogEvents", logGroupName=GROUP))["events"]) == 1
    logs.clock.now_ms += 25 * HOUR_MS
    assert (await logs("FilterLogEvents", logGroupName=GROUP))["events"] == []
    assert (await logs("GetLogEvents", logGroupName=GROUP, logStreamName=STREAM))["events"] == []

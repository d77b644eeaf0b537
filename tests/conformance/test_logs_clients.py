"""CloudWatch Logs as boto3 and the AWS CLI see it, through the real gateway and the real store."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from botocore.exceptions import ClientError

from gateway_clients import ACCOUNT, REGION, aws, client_of, served
from lambent.services.logs import LogsService
from lambent.store.logs import LogStore
from lambent.telemetry.system_clock import SystemClock

GROUP, STREAM = "/aws/lambda/hello", "2026/11/21/[$LATEST]22be53a8cfde4e68b844f8ec293b2543"


@attrs.define
class World:
    store: LogStore
    url: str

    def client(self) -> Any:
        # Live Tail's `stream-` before a host name makes no sense before an address.
        return client_of("logs", self.url, inject_host_prefix=False)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    store = await LogStore.open(tmp_path / "logs.db", SystemClock())
    async with served([LogsService(store, SystemClock())]) as url:
        yield World(store, url)
    await store.close()


def now_ms() -> int:
    return int(time.time() * 1000)


async def test_boto3_writes_pages_and_filters(world: World) -> None:
    began_ms = now_ms()

    def use() -> None:
        client = world.client()
        client.create_log_group(logGroupName=GROUP, tags={"team": "a"})
        client.create_log_stream(logGroupName=GROUP, logStreamName=STREAM)
        events = [{"timestamp": began_ms + n, "message": f'{{"n": {n}, "text": "Grüße"}}'} for n in range(250)]
        answer = client.put_log_events(logGroupName=GROUP, logStreamName=STREAM, logEvents=events)
        assert "rejectedLogEventsInfo" not in answer
        paginator = client.get_paginator("filter_log_events")
        pages = paginator.paginate(logGroupName=GROUP, filterPattern="{ $.n >= 100 && $.text = Gr* }", limit=40)
        found = [json.loads(event["message"])["n"] for page in pages for event in page["events"]]
        assert found == list(range(100, 250))
        (stream,) = (
            client.get_paginator("describe_log_streams").paginate(logGroupName=GROUP).build_full_result()["logStreams"]
        )
        assert (stream["firstEventTimestamp"], stream["lastEventTimestamp"]) == (began_ms, began_ms + 249)
        assert client.list_tags_for_resource(resourceArn=f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{GROUP}")[
            "tags"
        ] == {"team": "a"}
        client.delete_log_group(logGroupName=GROUP)
        assert client.describe_log_groups()["logGroups"] == []

    await asyncio.to_thread(use)


async def test_errors_reach_boto3_as_its_exceptions(world: World) -> None:
    def use() -> None:
        client = world.client()
        with pytest.raises(client.exceptions.ResourceNotFoundException) as missing:
            client.get_log_events(logGroupName=GROUP, logStreamName=STREAM)
        assert missing.value.response["Error"]["Message"] == "The specified log group does not exist."
        client.create_log_group(logGroupName=GROUP)
        with pytest.raises(client.exceptions.ResourceAlreadyExistsException):
            client.create_log_group(logGroupName=GROUP)
        with pytest.raises(client.exceptions.InvalidParameterException) as bad_pattern:
            client.filter_log_events(logGroupName=GROUP, filterPattern="?Status: timeout")
        assert bad_pattern.value.response["Error"]["Message"] == "Invalid character(s) in term ':'"
        with pytest.raises(client.exceptions.InvalidParameterException) as bad_name:
            client.create_log_group(logGroupName="no spaces")
        assert "at 'logGroupName' failed to satisfy constraint" in bad_name.value.response["Error"]["Message"]
        with pytest.raises(ClientError) as unbuilt:
            client.describe_queries()
        assert "DescribeQueries" in unbuilt.value.response["Error"]["Message"]

    await asyncio.to_thread(use)


async def test_what_a_function_prints_is_read_by_the_aws_cli(world: World) -> None:
    began_ms = now_ms()
    lines = [(began_ms, "START RequestId: a Version: $LATEST"), (began_ms + 1, "hello"), (began_ms + 2, "END")]
    world.store.append(ACCOUNT, REGION, GROUP, STREAM, lines)
    status, output, errors = await aws(
        world.url, "logs", "get-log-events", "--log-group-name", GROUP, "--log-stream-name", STREAM, "--start-from-head"
    )
    assert (status, errors) == (0, "")
    assert [event["message"] for event in output["events"]] == [text for _, text in lines]
    status, output, _ = await aws(
        world.url,
        "logs",
        "filter-log-events",
        "--log-group-name",
        GROUP,
        "--filter-pattern",
        "hello",
        "--start-time",
        str(began_ms),
    )
    assert [event["message"] for event in output["events"]] == ["hello"]
    status, _, errors = await aws(world.url, "logs", "describe-log-streams", "--log-group-name", "nowhere")
    assert status != 0
    assert errors.strip().endswith(
        "An error occurred (ResourceNotFoundException) when calling the DescribeLogStreams operation: "
        "The specified log group does not exist."
    )


async def test_accounts_and_regions_do_not_see_one_another(world: World) -> None:
    world.store.append("999999999999", REGION, GROUP, STREAM, [(now_ms(), "of others")])
    world.store.append(ACCOUNT, "us-east-1", GROUP, STREAM, [(now_ms(), "of elsewhere")])
    answer = await asyncio.to_thread(lambda: world.client().describe_log_groups())
    assert answer["logGroups"] == []


async def test_live_tail_streams_new_lines_to_boto3(world: World) -> None:
    world.store.append(ACCOUNT, REGION, GROUP, STREAM, [(now_ms(), "before")])
    started, seen = asyncio.Event(), list[str]()
    loop = asyncio.get_running_loop()

    def follow() -> None:
        answer = world.client().start_live_tail(
            logGroupIdentifiers=[f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{GROUP}"],
            logEventFilterPattern="line -skip",
        )
        with contextlib.closing(answer["responseStream"]) as stream:
            for event in stream:
                if "sessionStart" in event:
                    loop.call_soon_threadsafe(started.set)
                seen.extend(result["message"] for result in event.get("sessionUpdate", {}).get("sessionResults", []))
                if len(seen) >= 3:
                    return

    following = asyncio.create_task(asyncio.to_thread(follow))
    await asyncio.wait_for(started.wait(), 30)
    events = [(now_ms() + n, text) for n, text in enumerate(["line 1", "skip line", "line 2", "other", "line 3"])]
    world.store.append(ACCOUNT, REGION, GROUP, STREAM, events)
    await asyncio.wait_for(following, 30)
    assert seen == ["line 1", "line 2", "line 3"]

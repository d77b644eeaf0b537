"""A machine that cannot hold another environment ends idle ones, then lets wait, then throttles."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from lambent.invoke.room import STARTING_MIB
from lambent.model.concurrency import ScalingRate
from lambent.model.errors import AwsError
from live_server import LiveServer, start

ENOUGH_MIB = 100 + STARTING_MIB
SAY = "def handle(event, request_id): return 1"
WAIT = "def handle(event, request_id): time.sleep(event['s']); return 1"


async def until_idle(road: Any, name: str) -> None:
    async with asyncio.timeout(10):
        while any(environment.at_work for environment in road.environments(name)):
            await asyncio.sleep(0.01)


async def test_the_environment_idle_for_longest_gives_way(road: Any) -> None:
    for name in ("first", "second", "third"):
        road.define(name, SAY)
    for name in ("first", "second", "first"):
        await road.invoke(name)
        await until_idle(road, name)
    ended = road.environments("second")[0]
    freed = ended.on_gone

    def gone(environment: object) -> None:
        assert freed is not None
        freed(ended)
        road.memory.free_mib = ENOUGH_MIB

    ended.on_gone = gone
    road.memory.free_mib = ENOUGH_MIB - 1  # not below the reserve, but not enough for another one
    assert (await road.invoke("third")).payload == b"1"
    assert road.environments("second") == []
    assert len(road.environments("first")) == 1


async def test_when_nothing_gives_way_a_start_waits_for_memory(road: Any) -> None:
    road.define("hello", SAY)
    road.memory.free_mib = 0
    waiting = asyncio.create_task(road.invoke("hello"))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    assert road.environments("hello") == []
    road.memory.free_mib = ENOUGH_MIB
    assert (await waiting).payload == b"1"


async def test_whoever_waits_too_long_is_throttled_and_leaves_nothing(road: Any) -> None:
    road.define("hello", SAY)
    road.memory.free_mib = 0
    begun = time.monotonic()
    with pytest.raises(AwsError) as caught:
        await road.invoke("hello")
    assert 0.9 <= time.monotonic() - begun < 5
    error = caught.value
    assert (error.code, error.status) == ("TooManyRequestsException", 429)
    assert error.fields["Reason"] == "ConcurrentInvocationLimitExceeded"
    assert road.counted.told == [("hello", "Throttles")]
    road.memory.free_mib = ENOUGH_MIB
    assert (await road.invoke("hello")).payload == b"1"


async def test_warm_invocations_go_on_while_starts_wait(road: Any) -> None:
    road.define("warm", WAIT)
    await road.invoke("warm", b'{"s": 0}')
    busy = asyncio.create_task(road.invoke("warm", b'{"s": 0.3}'))
    await asyncio.sleep(0.05)
    road.memory.free_mib = 0
    second = asyncio.create_task(
        road.invoke("warm", b'{"s": 0}')
    )  # needs an environment, and gets the one that is busy
    assert [(await task).payload for task in (busy, second)] == [b"1", b"1"]
    assert len(road.environments("warm")) <= 1


async def test_idle_environments_are_ended_before_the_reserve_is_used_up(road: Any) -> None:
    road.define("hello", SAY)
    await road.invoke("hello")
    await until_idle(road, "hello")
    road.memory.free_mib = 99
    async with asyncio.timeout(10):
        while road.environments("hello"):
            await asyncio.sleep(0.01)


def test_a_server_without_memory_for_functions_throttles_as_aws_does(tmp_path: Path) -> None:
    settings = tmp_path / "lambent.toml"
    settings.write_text("memory_reserve_mib = 1048576\nmemory_wait_s = 1\n")
    server: LiveServer = start(tmp_path / "data", "--config", str(settings))
    try:
        name = server.create("def handler(event, context):\n    return 1\n")
        with pytest.raises(server.client().exceptions.TooManyRequestsException) as caught:
            server.invoke(name)
        assert caught.value.response["Reason"] == "ConcurrentInvocationLimitExceeded"
        assert caught.value.response["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "1"
    finally:
        server.stop()


async def test_a_function_that_grows_too_fast_is_throttled_and_others_are_not(road: Any) -> None:
    for name in ("fast", "other"):
        road.define(name, WAIT)
    road.pools.scaling_rates[("000000000000", "us-east-1", "fast")] = ScalingRate(time.monotonic(), most=2)
    outcomes = await asyncio.gather(
        *(road.invoke("fast", b'{"s": 0.3}') for _ in range(3)),
        road.invoke("other", b'{"s": 0}'),
        return_exceptions=True,
    )
    refused = [outcome for outcome in outcomes if isinstance(outcome, AwsError)]
    assert not isinstance(outcomes[3], BaseException)
    assert [error.fields["Reason"] for error in refused] == ["ConcurrentInvocationLimitExceeded"]
    assert [outcome.payload for outcome in outcomes if not isinstance(outcome, BaseException)] == [b"1"] * 3
    assert (await road.invoke("fast", b'{"s": 0}')).payload == b"1"  # by one that is there

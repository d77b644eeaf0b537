"""Readers of tables' streams ask when something was written, at most four times a second, and seldom otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any

import pytest

from lambent.model.request import RequestContext
from lambent.sources.shards import ClientStream, ShardReader
from lambent.sources.table_news import POLL_EVERY_S, UNTOLD_EVERY_S, TableNews
from queue_clock import HandClock

ARN = "arn:aws:dynamodb:eu-west-1:111122223333:table/t/stream/2026-11-30T00:00:00.000"
PLACE = ("111122223333", "eu-west-1")


class Table:
    """Answers as DynamoDB Streams does, and counts the questions."""

    def __init__(self) -> None:
        self.asked = 0

    async def call(
        self, context: RequestContext, service: str, operation: str, request: Mapping[str, Any]
    ) -> dict[str, Any]:
        if operation == "GetShardIterator":
            return {"ShardIterator": "here"}
        self.asked += 1
        return {"Records": [], "NextShardIterator": "here"}


class World:
    def __init__(self) -> None:
        self.clock = HandClock()
        self.table = Table()
        self.news = TableNews()
        stream = ClientStream(self.table, self.clock, ARN, lambda: "role", self.news)
        self.reader: ShardReader = stream.reader("shard", {})
        self.task: asyncio.Task[None] | None = None

    def begin(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self.task = asyncio.get_running_loop().create_task(coroutine)

    async def read_for_ever(self) -> None:
        while True:
            await self.reader.read(100)
            await self.reader.wait()

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    async def after(self, seconds: float) -> int:
        """How often was asked by then."""
        for _ in range(round(seconds / 0.05)):
            self.clock.advance(0.05)
            await self.settle()
        return self.table.asked


@pytest.fixture
async def world() -> Any:
    world = World()
    world.begin(world.read_for_ever())
    await world.settle()
    assert world.table.asked == 1
    yield world
    assert world.task is not None
    world.task.cancel()


async def test_nobody_is_asked_while_nothing_is_written(world: World) -> None:
    assert await world.after(UNTOLD_EVERY_S - 0.2) == 1
    assert await world.after(0.4) == 2
    assert await world.after(60.0) <= 2 + 60 / UNTOLD_EVERY_S


async def test_what_is_written_is_asked_for_at_once(world: World) -> None:
    await world.after(1.0)
    world.news.happened(*PLACE)
    await world.settle()
    assert world.table.asked == 2


async def test_many_writes_are_four_questions_a_second(world: World) -> None:
    for _ in range(100):
        world.news.happened(*PLACE)
        await world.after(0.05)
    assert 10 <= world.table.asked <= 1 + 100 * 0.05 / POLL_EVERY_S


async def test_what_was_written_while_it_was_asked_is_asked_for_again(world: World) -> None:
    await world.after(1.0)
    answered = world.table.call

    async def written_meanwhile(*arguments: Any) -> dict[str, Any]:
        answer = await answered(*arguments)
        if world.table.asked == 2:
            world.news.happened(*PLACE)
        return answer

    world.table.call = written_meanwhile  # type: ignore[method-assign, assignment]
    world.news.happened(*PLACE)
    await world.settle()
    assert await world.after(POLL_EVERY_S + 0.05) == 3


async def test_other_accounts_and_regions_are_no_news(world: World) -> None:
    await world.after(1.0)
    world.news.happened("999999999999", PLACE[1])
    world.news.happened(PLACE[0], "us-east-1")
    assert await world.after(1.0) == 1

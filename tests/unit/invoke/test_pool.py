"""Who waits for an environment, and how many are started for whom."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

from lambent.invoke.environment import Environment
from lambent.invoke.pool import Pool
from lambent.model.function import FunctionVersion
from lambent.telemetry.system_clock import SystemClock


class FakeEnvironment:
    """Is ready one turn of the loop after it was asked to start."""

    expired = finishing = provisioned = False
    usable = True
    idle_since = 0.0
    on_gone: Callable[[object], None] | None = None

    async def start(self) -> None:
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def room(version: FunctionVersion) -> AsyncIterator[bool]:
    yield False


def pool() -> Pool:
    def factory(version: FunctionVersion) -> Environment:
        return cast(Environment, FakeEnvironment())

    return Pool(cast(Any, None), factory, SystemClock(), room, lambda version: None)


async def test_who_asks_again_in_the_moment_that_a_start_is_done_does_not_wait_for_it() -> None:
    asked = pool()
    async with asyncio.timeout(5):
        taken = [await asked.acquire() for _ in range(3)]
    assert len(set(taken)) == 3


async def test_as_many_are_started_as_wait() -> None:
    asked = pool()
    async with asyncio.timeout(5):
        taken = await asyncio.gather(*(asked.acquire() for _ in range(20)))
    assert len(set(taken)) == 20
    assert len(asked.all) == 20

"""Who waits for an environment, and how many are started for whom."""

from __future__ import annotations

import asyncio
import contextlib
import types
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest

from lambent.invoke.environment import Environment
from lambent.invoke.pool import Pool
from lambent.invoke.room import Reap
from lambent.model.errors import AwsError, OutOfDescriptors
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


async def nothing_is_idle() -> bool:
    return False


def pool(kind: type[FakeEnvironment] = FakeEnvironment, reap: Reap = nothing_is_idle) -> Pool:
    def factory(version: FunctionVersion) -> Environment:
        return cast(Environment, kind())

    return Pool(
        cast(Any, types.SimpleNamespace(qualified_arn="arn")), factory, SystemClock(), room, reap,
        lambda version: None, lambda pool: None,
    )  # fmt: skip


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


@pytest.mark.parametrize("is_one_idle", [True, False])
async def test_when_descriptors_run_out_an_idle_environment_gives_way(is_one_idle: bool) -> None:
    ended = False

    class Needy(FakeEnvironment):
        async def start(self) -> None:
            if not ended:
                raise OutOfDescriptors("too many files are open")

    async def reap() -> bool:
        nonlocal ended
        ended = is_one_idle
        return is_one_idle

    asked = pool(Needy, reap)
    async with asyncio.timeout(5):
        if is_one_idle:
            assert (await asked.acquire()).usable
        else:
            with pytest.raises(AwsError, match="too many files"):
                await asked.acquire()

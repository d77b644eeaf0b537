"""What a sweep does, and how little it looks at for that; with environments that only pretend."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from types import FrameType
from typing import Any, cast

import pytest

from hand_clock import HandClock
from hand_memory import HandMemory
from lambent.invoke.environment import Environment
from lambent.invoke.pool import MEMORY_SWEEPS, Pool, Pools
from lambent.invoke.room import Room
from lambent.model.function import FunctionVersion

FREEZE_S = 10.0
IDLE_S = 300.0
RESERVE_MIB = 100


class Pretended:
    """What pools and their sweep ask of an environment."""

    expired = finishing = provisioned = frozen = False
    usable = True
    idle_since = 0.0
    on_gone: Callable[[Environment], None] | None = None

    async def start(self) -> None:
        await asyncio.sleep(0)

    def freeze(self) -> None:
        self.frozen = True

    async def stop(self, reason: str) -> None:
        self.usable = False
        if self.on_gone is not None:
            self.on_gone(cast(Environment, self))


class World:
    """Pools that are swept in every turn of the loop, by a clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.memory = HandMemory()
        self.pools = Pools(
            lambda version: cast(Environment, Pretended()), self.clock, Room(self.memory, reserve_mib=RESERVE_MIB, wait_s=1.0),
            freeze_after_s=FREEZE_S, idle_environment_s=IDLE_S,
        )  # fmt: skip

    def pool(self, name: str, revision: str = "1", tenant_id: str | None = None) -> Pool:
        return self.pools.pool_for(version_of(name, revision), tenant_id)

    async def use(self, pool: Pool, at_once: int = 1) -> list[Environment]:
        used = [await pool.acquire() for _ in range(at_once)]
        for environment in used:
            cast(Pretended, environment).frozen = False
            pool.release(environment)
        return used

    async def after(self, seconds: float) -> None:
        self.clock.at += seconds
        for _ in range(5):
            await asyncio.sleep(0)

    @property
    def count(self) -> int:
        return len(self.pools.environments)


def version_of(name: str, revision: str) -> FunctionVersion:
    return FunctionVersion(
        account_id="123456789012", region="eu-west-1", name=name, version="$LATEST", role="r", runtime="python3.13",
        handler="h", revision_id=revision, last_modified=revision, code_digest=revision,
    )  # fmt: skip


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    sweeping = asyncio.create_task(made.pools.run())
    yield made
    sweeping.cancel()
    await asyncio.gather(sweeping, return_exceptions=True)
    await made.pools.close()


class Steps:
    count = 0


@contextlib.contextmanager
def counted_steps() -> Iterator[Steps]:
    """What the interpreter executes of Lambent's code meanwhile."""
    steps = Steps()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if "lambent" not in frame.f_globals.get("__name__", ""):
            return None
        frame.f_trace_opcodes = True
        steps.count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield steps
    finally:
        sys.settrace(before)


@pytest.mark.parametrize("is_alive", [True, False])
async def test_pools_with_nothing_to_do_cost_a_sweep_nothing(world: World, is_alive: bool) -> None:
    async def grown_to(count: int) -> int:
        for number in range(count):
            [environment] = await world.use(world.pool(f"f{number}"))
            if not is_alive:
                await cast(Pretended, environment).stop("failure")
        await world.after(2 * FREEZE_S)
        assert world.count == (count if is_alive else 0)
        with counted_steps() as steps:
            for _ in range(2 * MEMORY_SWEEPS):
                await asyncio.sleep(0)
        return steps.count

    few = await grown_to(1)
    assert few > 0
    assert await grown_to(1000) == few


async def test_idle_environments_of_a_pool_in_use_cost_a_sweep_nothing(world: World) -> None:
    pool = world.pool("f")

    async def grown_to(count: int) -> int:
        await world.use(pool, count)
        await world.after(2 * FREEZE_S)
        assert pool.take() is not None
        with counted_steps() as steps:
            for _ in range(2 * MEMORY_SWEEPS):
                await asyncio.sleep(0)
        return steps.count

    few = await grown_to(3)
    assert await grown_to(1000) == few


async def test_what_is_idle_is_frozen_each_at_its_time(world: World) -> None:
    pool = world.pool("f")
    held = [await pool.acquire() for _ in range(3)]
    for environment in held:
        pool.release(environment)
        await world.after(FREEZE_S / 4)
    frozen = []
    for _ in range(4):
        frozen.append([environment.frozen for environment in held])
        await world.after(FREEZE_S / 4)
    assert frozen == [[False] * 3, [False] * 3, [True, False, False], [True, True, False]]


async def test_what_is_used_now_and_then_is_neither_frozen_nor_ended_before_its_time(world: World) -> None:
    pool = world.pool("f")
    await world.use(pool)
    for seconds in (FREEZE_S / 2, FREEZE_S, IDLE_S / 2, IDLE_S - 1, IDLE_S):
        await world.after(seconds)
        assert world.count == 1
        [environment] = await world.use(pool)
    await world.after(FREEZE_S)
    assert not environment.frozen
    await world.after(0.1)
    assert environment.frozen
    await world.after(IDLE_S - FREEZE_S - 0.2)
    assert world.count == 1
    await world.after(0.2)
    assert world.count == 0


async def test_those_beyond_the_need_end_and_the_one_in_use_stays(world: World) -> None:
    pool = world.pool("f")
    await world.use(pool, 3)
    await world.after(IDLE_S / 2)
    await world.use(pool)
    await world.after(IDLE_S / 2 + 1)
    assert world.count == 1
    await world.after(IDLE_S / 2)
    assert world.count == 0


async def test_a_clock_that_is_turned_far_ahead_ends_all_that_is_idle(world: World) -> None:
    for number in range(20):
        await world.use(world.pool(f"f{number}"))
        await world.after(1.0)
    held = await world.pool("f0").acquire()
    await world.after(86_400.0)
    assert world.pools.environments == [held]


async def test_for_want_of_memory_the_one_idle_for_longest_ends_first(world: World) -> None:
    pools = [world.pool(f"f{number}") for number in range(4)]
    for pool in pools:
        await world.use(pool)
        await world.after(1.0)
    for pool in (pools[1], pools[0]):
        await world.use(pool)
        await world.after(1.0)
    ended: list[int] = []
    world.memory.free_mib = RESERVE_MIB - 1
    while world.count:
        await world.after(0.0)
        ended += [number for number, pool in enumerate(pools) if not pool.all and number not in ended]
    assert ended == [2, 3, 1, 0]


async def test_for_want_of_memory_one_that_has_just_become_idle_ends_if_there_is_no_other() -> None:
    world = World()
    pool = world.pool("f")
    async with world.pools.room_for(pool.version):
        await world.use(pool)
    world.memory.free_mib = 0
    async with asyncio.timeout(10):
        waiting = asyncio.create_task(world.pools.room_for(pool.version).__aenter__())
        while world.count:
            await asyncio.sleep(0)
    world.memory.free_mib = 10_000
    assert await waiting
    await world.pools.close()


async def test_of_a_tenant_and_of_a_version_that_changed_nothing_is_left_when_their_environments_have_ended(
    world: World,
) -> None:
    tenants, old = world.pool("f", tenant_id="t"), world.pool("g")
    for pool in (tenants, old):
        await world.use(pool)
    await world.after(1.0)
    assert world.pool("f", tenant_id="t") is tenants
    held = await old.acquire()
    new = world.pool("g", revision="2")
    assert new is not old
    await world.after(1.0)
    assert held in world.pools.environments
    await cast(Pretended, held).stop("spindown")
    await world.after(IDLE_S + 1)
    await world.after(1.0)
    assert world.pool("f", tenant_id="t") is not tenants
    assert world.pool("g", revision="2") is new
    assert tenants not in world.pools._retired
    assert old not in world.pools._retired


async def test_of_a_tenant_whose_environment_does_not_start_nothing_is_left(world: World) -> None:
    class Broken(Pretended):
        async def start(self) -> None:
            await self.stop("failure")
            raise OSError("no")

    world.pools._factory = lambda version: cast(Environment, Broken())
    pool = world.pool("f", tenant_id="t")
    with pytest.raises(Exception, match="could not start"):
        await pool.acquire()
    await world.after(1.0)
    assert world.pool("f", tenant_id="t") is not pool


async def test_a_change_of_one_function_costs_the_same_however_many_others_there_are(world: World) -> None:
    async def changed_beside(count: int) -> int:
        for number in range(count):
            await world.use(world.pool(f"f{number}"))
        for tenant_id in (None, "t"):
            await world.use(world.pool("changing", tenant_id=tenant_id))
        await world.after(1.0)
        with counted_steps() as steps:
            world.pools.function_changed("123456789012", "eu-west-1", "changing", lambda version: None)
        await world.after(1.0)
        assert world.count == count
        return steps.count

    few = await changed_beside(1)
    assert await changed_beside(1000) == few


async def test_a_change_that_leaves_a_version_as_it_is_leaves_its_environments(world: World) -> None:
    pool = world.pool("f")
    await world.use(pool)
    world.pools.function_changed("123456789012", "eu-west-1", "f", lambda version: pool.version)
    await world.after(1.0)
    assert world.pool("f") is pool
    assert world.count == 1

"""Provisioned environments in the pools: started, kept, replaced, left alone; with environments that only pretend."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import attrs
import pytest

from hand_clock import HandClock
from hand_memory import HandMemory
from lambent.invoke.environment import Environment
from lambent.invoke.pool import Pools
from lambent.invoke.provisioned import RETRY_S, ProvisionedEnvironment, ProvisionedEnvironments
from lambent.invoke.room import Room
from lambent.model.errors import SandboxError
from lambent.model.function import Alias, FunctionSettings, FunctionVersion
from lambent.model.names import FunctionAddress
from lambent.model.provisioned import FAMILY, INIT_FAILED, Use, Utilisation
from lambent.ports import PROVISIONED_INDEX, CatalogTransaction
from lambent.store.catalog import SqliteCatalog

ADDRESS = FunctionAddress("123456789012", "eu-west-1", "f")
IDLE_S = 300.0


class Pretended:
    """What the pool and the keeper ask of an environment."""

    def __init__(self, world: World, *, provisioned: bool) -> None:
        self._world = world
        self.provisioned = provisioned
        self.idle_since = 0.0
        self.finishing = self.frozen = self.usable = self.expired = self.ageing = self.at_work = self.has_served = False
        self.initialised = True
        self.on_gone: Callable[[Environment], None] | None = None

    async def start(self) -> None:
        await asyncio.sleep(0)
        if self._world.machine_fails:
            raise SandboxError("no memory is left")
        self.usable = True
        self.initialised = not self._world.init_fails

    def freeze(self) -> None:
        self.frozen = True

    def expire(self) -> None:
        self.expired = True

    async def stop(self, reason: str) -> None:
        self.usable = False
        if self.on_gone is not None:
            self.on_gone(cast(Environment, self))


class World:
    def __init__(self, catalog: SqliteCatalog) -> None:
        self.catalog = catalog
        self.clock = HandClock()
        self.made: list[Pretended] = []
        self.init_fails = self.machine_fails = False
        self.pools = Pools(
            lambda version: cast(Environment, Pretended(self, provisioned=False)),
            self.clock,
            Room(HandMemory(), reserve_mib=0, wait_s=1.0),
            freeze_after_s=0.0,
            idle_environment_s=IDLE_S,
        )
        self.keeper = ProvisionedEnvironments(catalog, self.pools, self._make, self.clock)
        self._task: asyncio.Task[None] | None = None

    def _make(self, version: FunctionVersion) -> ProvisionedEnvironment:
        self.made.append(Pretended(self, provisioned=True))
        return cast(ProvisionedEnvironment, self.made[-1])

    def start(self) -> None:
        self._task = asyncio.create_task(self.keeper.run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def configure(self, **wanted: int) -> None:
        """By qualifier, `v1` for version 1."""
        configs = {name.removeprefix("v"): {"Requested": count, "LastModified": ""} for name, count in wanted.items()}

        def work(tx: CatalogTransaction) -> None:
            tx.put_settings(ADDRESS, FunctionSettings(extra={FAMILY: configs}))
            tx.put_document(PROVISIONED_INDEX, *ADDRESS.key, {})

        await self.catalog.transact(work)

    def there(self, qualifier: str = "1") -> tuple[int, str | None]:
        now = self.keeper.provision(attrs.evolve(ADDRESS, qualifier=qualifier))
        assert now.allocated == now.available
        return now.available, now.failure

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.005)


def version_of(number: str) -> FunctionVersion:
    return FunctionVersion(
        account_id=ADDRESS.account_id, region=ADDRESS.region, name=ADDRESS.name, version=number, role="r",
        runtime="python3.13", handler="h", revision_id=number,
    )  # fmt: skip


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A function with versions 1 and 2, and the alias `a` of version 1."""
    catalog = SqliteCatalog.open(tmp_path / "catalog.db")

    def work(tx: CatalogTransaction) -> None:
        tx.create_function(version_of("$LATEST"), FunctionSettings())
        tx.put_version(version_of("1"))
        tx.put_version(version_of("2"))
        tx.put_alias(alias_to("1"))

    await catalog.transact(work)
    made = World(catalog)
    yield made
    await made.stop()
    await catalog.close()


def alias_to(number: str) -> Alias:
    return Alias(
        account_id=ADDRESS.account_id, region=ADDRESS.region, function_name="f", name="a", function_version=number
    )


async def test_as_many_are_started_as_are_configured_also_after_a_restart(world: World) -> None:
    await world.configure(v1=3)
    world.start()
    await world.until(lambda: world.there() == (3, None))
    await world.configure(v1=5)
    await world.until(lambda: world.there() == (5, None))
    assert len(world.made) == 5


async def test_they_follow_their_alias(world: World) -> None:
    world.start()
    await world.configure(a=2)
    await world.until(lambda: world.there("a") == (2, None))
    await world.catalog.transact(lambda tx: tx.put_alias(alias_to("2")))
    await world.until(lambda: world.there("a") == (2, None) and world.there("2") == (2, None))
    assert world.there("1") == (0, None)


async def test_one_that_ends_is_replaced(world: World) -> None:
    world.start()
    await world.configure(v1=2)
    await world.until(lambda: world.there() == (2, None))
    await world.made[0].stop("failure")
    assert world.there() == (1, None)
    await world.until(lambda: world.there() == (2, None))


async def test_those_that_end_without_having_served_are_replaced_ever_later(world: World) -> None:
    world.start()
    await world.configure(v1=1)
    await world.until(lambda: world.there() == (1, None))
    kept = world.keeper._kept[ADDRESS.key]["1"]
    for ends in range(1, 4):
        await world.until(lambda: world.there() == (1, None))
        await world.made[-1].stop("failure")
        while kept.losses < ends:
            await asyncio.sleep(0.005)
        for _ in range(5):
            world.keeper._wake.set()
            await asyncio.sleep(0)
        assert len(world.made) == max(2, ends), "the first is replaced at once"
        world.clock.at += kept.start_at - world.clock.at


async def test_those_that_end_in_an_invocation_are_replaced_at_once(world: World) -> None:
    world.start()
    await world.configure(v1=1)
    for _ in range(4):
        await world.until(lambda: world.there() == (1, None))
        world.made[-1].has_served = True
        await world.made[-1].stop("failure")
    await world.until(lambda: world.there() == (1, None))


async def test_a_function_that_cannot_initialise_is_not_tried_for_ever(world: World) -> None:
    world.init_fails = True
    world.start()
    await world.configure(v1=1)
    await world.until(lambda: world.there() == (0, INIT_FAILED))
    world.clock.at += 10 * RETRY_S
    assert len(world.made) == 1
    world.init_fails = False
    await world.configure(v1=2)
    await world.until(lambda: world.there() == (2, None))


async def test_a_fault_of_the_machine_is_tried_again_later(world: World) -> None:
    world.machine_fails = True
    world.start()
    await world.configure(v1=1)
    await world.until(lambda: world.there() == (0, "no memory is left"))
    world.machine_fails = False
    world.clock.at += RETRY_S
    await world.until(lambda: world.there() == (1, None))


async def test_they_are_given_out_first_and_idleness_ends_the_others_alone(world: World) -> None:
    world.start()
    await world.configure(v1=2)
    await world.until(lambda: world.there() == (2, None))
    pool = world.pools.pool_for(version_of("1"))
    held = [await pool.acquire() for _ in range(3)]
    assert [environment.provisioned for environment in held] == [True, True, False]
    for environment in held:
        pool.release(environment)
    world.clock.at += IDLE_S + 1
    world.pools.sweep()
    await world.until(lambda: len(pool.all) == 2)
    assert world.there() == (2, None)
    assert {id(environment) for environment in pool.ahead} == {id(environment) for environment in world.made}
    assert all(environment.frozen for environment in world.made)
    assert (first := pool.take()) is not None
    assert first.provisioned


async def test_what_is_too_much_is_ended_idle_ones_first(world: World) -> None:
    world.start()
    await world.configure(v1=3)
    await world.until(lambda: world.there() == (3, None))
    pool = world.pools.pool_for(version_of("1"))
    busy = cast(Pretended, pool.take())
    busy.at_work = True
    await world.configure(v1=1)
    await world.until(lambda: world.there() == (1, None) and len(pool.all) == 1)
    await world.configure()
    await world.until(lambda: world.there() == (0, None))
    assert busy.usable, "what is at work is left alone until it has finished"
    pool.release(cast(Environment, busy))
    await world.until(lambda: not pool.all)


async def test_one_that_grows_old_goes_when_its_successor_is_there(world: World) -> None:
    world.start()
    await world.configure(v1=2)
    await world.until(lambda: world.there() == (2, None))
    old = world.made[0]
    old.ageing = True
    await world.until(lambda: not old.usable)
    assert world.there() == (2, None)
    assert len(world.made) == 3


async def test_an_alias_of_two_versions_has_them_by_weight(world: World) -> None:
    world.start()
    weighted = attrs.evolve(alias_to("1"), additional_weights={"2": 0.25})
    await world.catalog.transact(lambda tx: tx.put_alias(weighted))
    await world.configure(a=4)
    await world.until(lambda: world.there("a") == (4, None))
    assert (world.there("1"), world.there("2")) == ((3, None), (1, None))
    await world.catalog.transact(lambda tx: tx.put_alias(alias_to("2")))
    await world.until(lambda: world.there("2") == (4, None) and world.there("1") == (0, None))


async def test_a_failure_is_forgotten_in_the_moment_in_which_the_configuration_changes(world: World) -> None:
    world.init_fails = True
    world.start()
    await world.configure(v1=1)
    await world.until(lambda: world.there() == (0, INIT_FAILED))
    world.init_fails = False
    await world.configure(v1=2)
    assert world.there() == (0, None)


def test_what_is_at_work_is_counted_with_its_peak() -> None:
    use = Use()
    use.allocated = 4
    assert use.read() == Utilisation()
    for _ in range(3):
        use.began()
    use.ended()
    assert use.read() == Utilisation(peak=0.75, now=0.5)
    use.ended()
    assert use.read() == Utilisation(peak=0.5, now=0.25)
    use.ended()
    assert use.read() == Utilisation(peak=0.25)
    assert use.read() == Utilisation()

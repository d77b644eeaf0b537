"""Execution environments by function version: a warm one where there is one, a cold start where there is none.

One invocation at a time in each. The environment used last is used next, so that those beyond the need grow idle and
are reaped. Whoever waits is served by the first environment that becomes free, be it new or used.
"""

from __future__ import annotations

import asyncio
import collections
import itertools
import logging
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

from lambent.invoke.environment import Environment
from lambent.invoke.room import Reap, Room
from lambent.invoke.sweep import Sweep
from lambent.model.concurrency import FunctionKey, ScalingRate
from lambent.model.errors import AwsError, OutOfDescriptors, service_fault
from lambent.model.function import FunctionVersion
from lambent.ports import Clock

log = logging.getLogger(__name__)

SWEEP_S: Final = 0.05
MEMORY_SWEEPS: Final = 10  # the machine's memory is looked at once in so many
GIVE_WAY_MAX: Final = 8  # idle environments end for one that finds no descriptors: others take what they leave, too
FINISHING_S: Final = 0.005  # how long a caller waits for an environment that has answered, before it gets a new one
_PoolKey = tuple[str, str, str, str, str | None]  # account, region, function, version, tenant
EnvironmentFactory = Callable[[FunctionVersion], Environment]
RoomFor = Callable[[FunctionVersion], AbstractAsyncContextManager[bool]]
"""Memory for one that starts, held until it has; says whether that had to be waited for. Raises AwsError 429."""
Scale = Callable[[FunctionVersion], None]
"""One more environment of this function. Raises AwsError 429 when it has got too many in too short a time."""


class Pool:
    """The environments of one function version, as it is configured now."""

    def __init__(
        self,
        version: FunctionVersion,
        factory: EnvironmentFactory,
        clock: Clock,
        room_for: RoomFor,
        reap: Reap,
        scale: Scale,
        note: Callable[[Pool], None],
    ) -> None:
        self.version = version
        self.idle: list[Environment] = []  # the one used last is at the end
        self.ahead: list[
            Environment
        ] = []  # the same of provisioned ones: they go first, and idleness does not end them
        self.all: set[Environment] = set()
        self._factory = factory
        self._clock = clock
        self._room_for = room_for
        self._reap = reap
        self._scale = scale
        self._note = note  # that the next sweep has to look at it
        self.is_noted = False  # kept by the sweep
        self._waiters: collections.deque[asyncio.Future[Environment]] = collections.deque()
        self._starts: set[asyncio.Task[None]] = set()
        self._starting = 0  # of which nobody knows yet what comes of them
        self._ends: set[asyncio.Task[None]] = set()
        self._retired = False
        self._closed = False

    def take(self) -> Environment | None:
        """A warm environment for this caller alone, if there is one; hand it back with `release`."""
        while self.ahead or self.idle:
            environment = (self.ahead or self.idle).pop()
            if environment.expired:
                self._end(environment, "spindown")
            elif environment.usable:
                return environment
        return None

    def acquire(self) -> asyncio.Future[Environment]:
        """The same, or one that is started for it, or becomes free before that. The future may raise AwsError ServiceException.

        Whoever gets it looks whether it is `usable`: its runtime may have ended in the moment before. It is handed back in any case.
        """
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[Environment] = loop.create_future()
        if (idle := self.take()) is not None:
            waiter.set_result(idle)
        elif self._closed:
            waiter.set_exception(_shutting_down())
        else:
            self._waiters.append(waiter)
            if sum(environment.finishing for environment in self.all) >= len(self._waiters):
                loop.call_later(FINISHING_S, self._start_for, waiter)
            else:
                self._start_for(waiter)
        return waiter

    def release(self, environment: Environment) -> None:
        """Takes an environment back: to whoever waits, to the idle ones, or to its end."""
        if not environment.usable:
            self.all.discard(environment)
            return
        if environment.expired:
            self._end(environment, "spindown")
            for waiter in self._waiters:
                self._start_for(waiter)
            return
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(environment)
                return
        if self._retired:
            self._end(environment, "spindown")
            return
        environment.idle_since = self._clock.monotonic()
        (self.ahead if environment.provisioned else self.idle).append(environment)
        if not self.is_noted:
            self._note(self)

    def let_go(self, environment: Environment) -> None:
        """Ends it: now if it is idle, else when it comes back."""
        environment.expire()
        for idle in (self.ahead, self.idle):
            if environment in idle:
                idle.remove(environment)
                self._end(environment, "spindown")

    def retire(self) -> None:
        """The version changed or went away: end what is idle now, and the rest when it comes back."""
        self._retired = True
        for idle in (self.ahead, self.idle):
            for environment in idle:
                self._end(environment, "spindown")
            idle.clear()

    def freeze(self, before_s: float) -> float | None:
        """Freezes what has been idle since before this moment (monotonic seconds); says since when the next one has been."""
        next_s: float | None = None
        for idle in (self.ahead, self.idle):
            for environment in reversed(idle):
                if environment.frozen:
                    break
                if environment.idle_since < before_s:
                    environment.freeze()
                elif next_s is None or environment.idle_since < next_s:
                    next_s = environment.idle_since
        return next_s

    def reap(self, before_s: float) -> None:
        """Ends what has been idle since before this moment, but for provisioned ones."""
        while self.idle and self.idle[0].idle_since < before_s:
            self._end(self.idle.pop(0), "spindown")

    async def close(self) -> None:
        self._closed = True
        self.retire()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(_shutting_down())
        self._waiters.clear()
        for task in list(self._starts):
            task.cancel()
        await asyncio.gather(*self._starts, return_exceptions=True)
        await asyncio.gather(*(environment.stop("spindown") for environment in self.all), return_exceptions=True)
        await asyncio.gather(*self._ends, return_exceptions=True)

    def _start_for(self, waiter: asyncio.Future[Environment]) -> None:
        """Starts an environment unless as many are starting as there are callers who wait."""
        if not waiter.done() and not self._closed and self._starting < len(self._waiters):
            self._starting += 1
            _spawn(self._start_one(), self._starts).add_done_callback(lambda _: self.may_be_empty())

    async def _start_one(self) -> None:
        try:
            try:
                environment = await self._started()
            finally:
                self._starting -= 1  # before anybody is told: who asks for another one at once needs a start of his own
        except Exception as error:  # whoever waits must be told, whatever it was
            self._fail_one(error)
        else:
            if environment is not None:
                self.release(environment)

    async def _started(self) -> Environment | None:
        """None when whoever needed it has got another one meanwhile."""
        self._scale(self.version)
        async with self._room_for(self.version) as waited:
            if waited and self._starting > len(self._waiters):
                return None
            for _ in range(GIVE_WAY_MAX):
                try:
                    return await self._new()
                except OutOfDescriptors:
                    if not await self._reap():
                        raise
            return await self._new()

    async def _new(self) -> Environment:
        environment = self._factory(self.version)
        environment.on_gone = self.forget
        self.all.add(environment)
        await environment.start()
        return environment

    def longest_idle(self) -> Environment | None:
        """Of those that may be ended for want of memory, which provisioned ones may not."""
        return self.idle[0] if self.idle else None

    async def give_way(self, environment: Environment) -> None:
        """Ends an idle one, and returns when nothing of it is left."""
        self.idle.remove(environment)
        await environment.stop("spindown")

    def _fail_one(self, error: Exception) -> None:
        if not isinstance(error, AwsError):
            log.error("no environment for %s", self.version.qualified_arn, exc_info=error)
            error = service_fault(f"Lambent could not start an execution environment: {error}")
        if self._starting >= len(self._waiters):
            return  # another one is being started for each who waits
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(error)
                return

    def _end(self, environment: Environment, reason: str) -> None:
        _spawn(environment.stop(reason), self._ends)

    def forget(self, environment: Environment) -> None:
        """Nothing of it is left."""
        self.all.discard(environment)
        for idle in (self.ahead, self.idle):
            if environment in idle:
                idle.remove(environment)
        self.may_be_empty()

    def may_be_empty(self) -> None:
        """What is done with one that is empty is done by the next sweep."""
        if not self.is_noted:
            self._note(self)

    @property
    def is_empty(self) -> bool:
        """Nothing of it runs, and nobody waits for it."""
        return not (self.all or self._starts or self._waiters)


def _function_of(version: FunctionVersion) -> FunctionKey:
    return version.account_id, version.region, version.name


def _shutting_down() -> AwsError:
    return service_fault("Lambent is shutting down.")


def _spawn(coroutine: Coroutine[None, None, None], tasks: set[asyncio.Task[None]]) -> asyncio.Task[None]:
    task = asyncio.get_running_loop().create_task(coroutine)
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    return task


class Pools:
    """Every function version's pool, and the sweep that freezes and reaps."""

    def __init__(
        self, factory: EnvironmentFactory, clock: Clock, room: Room, *, freeze_after_s: float, idle_environment_s: float
    ) -> None:
        self._factory = factory
        self._clock = clock
        self._room = room
        self._making_room: set[asyncio.Task[None]] = set()
        self.scaling_rates: dict[FunctionKey, ScalingRate] = {}
        self._sweep = Sweep(freeze_after_s=freeze_after_s, idle_environment_s=idle_environment_s)
        self._pools: dict[_PoolKey, Pool] = {}
        self._keys: dict[FunctionKey, set[_PoolKey]] = {}
        self._of_tenants: dict[Pool, _PoolKey] = {}
        self._retired: set[Pool] = set()
        self._closed = False

    def pool_for(self, version: FunctionVersion, tenant_id: str | None = None) -> Pool:
        """Each tenant has environments of his own: none ever serves two. Raises AwsError when the server is ending."""
        if self._closed:
            raise _shutting_down()
        key = (version.account_id, version.region, version.name, version.version, tenant_id)
        pool = self._pools.get(key)
        if pool is not None:
            if pool.version is version or pool.version.build == version.build:
                return pool
            self._retire(pool)
        pool = self._pools[key] = Pool(
            version, self._factory, self._clock, self.room_for, self._reap_one, self._scale, self._sweep.note
        )
        self._keys.setdefault(_function_of(version), set()).add(key)
        if tenant_id is not None:
            self._of_tenants[pool] = key
        return pool

    def room_for(self, version: FunctionVersion) -> AbstractAsyncContextManager[bool]:
        """See `RoomFor`."""
        return self._room.for_one(_function_of(version), self._reap_one)

    def _scale(self, version: FunctionVersion) -> None:
        now_s = self._clock.monotonic()
        rate = self.scaling_rates.get(_function_of(version))
        if rate is None:
            rate = self.scaling_rates[_function_of(version)] = ScalingRate(now_s)
        rate.take(now_s)

    async def _make_room(self) -> None:
        await self._reap_one()

    async def _reap_one(self) -> bool:
        """See `room.Reap`."""
        idle = self._sweep.idle_for_longest()
        if idle is None:
            return False
        pool, environment = idle
        await pool.give_way(environment)
        return True

    def function_changed(
        self, account_id: str, region: str, name: str, current: Callable[[str], FunctionVersion | None]
    ) -> None:
        """Ends the environments of versions that `current(version)` no longer gives back unchanged."""
        for key in list(self._keys.get((account_id, region, name), ())):
            version = current(key[3])
            if version is None or version.build != self._pools[key].version.build:
                self._retire(self._remove(key))

    @property
    def environments(self) -> list[Environment]:
        return [environment for pool in (*self._pools.values(), *self._retired) for environment in pool.all]

    def directories(self) -> set[Path]:
        """What the store must keep because a live environment shows it."""
        return {directory for environment in self.environments for directory in environment.directories}

    async def run(self) -> None:
        """Sweeps until cancelled."""
        look_at_memory = itertools.cycle([True] + [False] * (MEMORY_SWEEPS - 1))
        while True:
            await self._clock.sleep(SWEEP_S)
            if next(look_at_memory) and not self._making_room and self._room.is_short:
                _spawn(self._make_room(), self._making_room)
            self.sweep()

    def sweep(self) -> None:
        """Does what is due."""
        now_s = self._clock.monotonic()
        self.scaling_rates = {
            function: rate for function, rate in self.scaling_rates.items() if not rate.is_full(now_s)
        }  # most are full again after a hundredth of a second
        for pool in self._sweep.do(now_s):
            self._forget(pool)

    def _forget(self, empty: Pool) -> None:
        """One that is retired, and a tenant who has not been heard of for long, leave nothing behind; there may be very many."""
        key = self._of_tenants.pop(empty, None)
        if key is not None:
            self._remove(key)
            empty.retire()
        elif empty not in self._retired:
            return  # it is used again some day
        self._retired.discard(empty)
        self._sweep.forget(empty)

    async def close(self) -> None:
        self._closed = True
        await asyncio.gather(*(pool.close() for pool in (*self._pools.values(), *self._retired)))
        await self._room.close()
        await asyncio.gather(*self._making_room, return_exceptions=True)

    def _remove(self, key: _PoolKey) -> Pool:
        keys = self._keys[key[:3]]
        keys.discard(key)
        if not keys:
            del self._keys[key[:3]]
        return self._pools.pop(key)

    def _retire(self, pool: Pool) -> None:
        pool.retire()
        self._of_tenants.pop(pool, None)
        self._retired.add(pool)
        pool.may_be_empty()

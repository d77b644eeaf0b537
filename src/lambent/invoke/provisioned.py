"""Provisioned concurrency: environments that are started ahead, and kept while their configuration asks for them.

They live in the pool of their version, where they are given out before any other. What makes them different: they are
started without a caller, replaced when they end or grow old, not reaped for being idle, and ended when nobody wants them.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from lambent.invoke.admission import provisioned_versions
from lambent.invoke.environment import Environment
from lambent.invoke.pool import Pool, Pools
from lambent.invoke.run import Done, Release
from lambent.model.errors import AwsError, LambentError
from lambent.model.function import FunctionSettings, FunctionVersion, State
from lambent.model.invocation import Invocation
from lambent.model.limits import PROVISIONED_INIT_S
from lambent.model.names import FunctionAddress
from lambent.model.provisioned import FAMILY, INIT_FAILED, Provision, Use, Utilisation
from lambent.ports import PROVISIONED_INDEX, Catalog, Clock

log = logging.getLogger(__name__)

TEND_S: Final = 0.5  # how often their age is looked at, and failures that may have passed
RETRY_S: Final = 30.0  # after a fault of this machine's, which may pass
RENEW_AHEAD_S: Final = 600.0  # before one is too old to be used: its successor has to be ready by then
AT_ONCE: Final = 8  # environments of one version started side by side: invocations have to find processors, too

_FunctionKey = tuple[str, str, str]  # account, region, name


class ProvisionedEnvironment(Environment):
    """One that is started before anybody asks for it."""

    initialization_type = "provisioned-concurrency"
    provisioned = True
    use: Use  # of its version
    let_go: Callable[[], None]  # ends it as soon as it is free
    has_served = False

    def run(self, invocation: Invocation, release: Release, done: Done) -> None:
        """The same, and counts it."""
        self.has_served = True
        self.use.began()

        def ended(environment: Environment) -> None:
            self.use.ended()
            release(environment)

        super().run(invocation, ended, done)

    @property
    def ageing(self) -> bool:
        """It will soon be too old."""
        return self._clock.monotonic() > self._good_until - RENEW_AHEAD_S

    @property
    def _init_limit_s(self) -> float:
        return max(float(PROVISIONED_INIT_S), self.version.timeout_s)

    @property
    def initialised(self) -> bool:
        """Its init has succeeded, so that an invocation finds it ready."""
        return self._session is not None


@attrs.define(eq=False)
class _Kept:
    """The environments of one version."""

    version: FunctionVersion
    wanted: int
    configured: Any  # changes with the configuration: what has failed is tried again then
    use: Use = attrs.field(factory=Use)
    environments: set[ProvisionedEnvironment] = attrs.field(factory=set)
    starting: set[asyncio.Task[None]] = attrs.field(factory=set)
    failure: str | None = None
    retry_at: float | None = None  # monotonic seconds
    losses: int = 0  # times that some ended by themselves without having served, one after the other
    start_at: float = -math.inf  # monotonic seconds: no other one is started before

    def lost(self, now: float) -> None:
        """The first is replaced at once, and later ones ever later: others need the processors, too."""
        self.losses = self.losses + 1 if now <= self.start_at + RETRY_S else 1
        self.start_at = now + (min(RETRY_S, TEND_S * 2 ** min(self.losses, 10)) if self.losses > 1 else 0.0)


class ProvisionedEnvironments:
    """Implements ports.Provisioning. One task for the server's life: `run` ends when it is cancelled."""

    def __init__(
        self,
        catalog: Catalog,
        pools: Pools,
        make: Callable[[FunctionVersion], ProvisionedEnvironment],
        clock: Clock,
    ) -> None:
        self._catalog = catalog
        self._pools = pools
        self._make = make
        self._clock = clock
        self._kept: dict[_FunctionKey, dict[str, _Kept]] = {}  # by version
        self._changed: set[_FunctionKey] = set()
        self._wake = asyncio.Event()
        catalog.subscribe(self._note)

    def provision(self, qualified: FunctionAddress) -> Provision:
        """See `ports.Provisioning`."""
        parts = self._parts(qualified)
        if not parts:
            return Provision()
        usable, failures = 0, []
        for kept, count in parts:
            there = sum(environment.usable for environment in kept.environments)
            usable += there if len(parts) == 1 else min(there, count)
            failures.append(kept.failure)
        return Provision(allocated=usable, available=usable, failure=next(filter(None, failures), None))

    def utilisation(self, qualified: FunctionAddress) -> Utilisation:
        """See `ports.Provisioning`."""
        read = [kept.use.read() for kept, _ in self._parts(qualified)]
        peaks = [each.peak for each in read if each.peak is not None]
        now = [each.now for each in read if each.now is not None]
        return Utilisation(peak=max(peaks, default=None), now=max(now, default=None))

    def _parts(self, qualified: FunctionAddress) -> list[tuple[_Kept, int]]:
        """What is kept for a version or an alias, and how much of it; two parts for an alias of two versions."""
        if qualified.key in self._changed:  # a change that nobody has seen to yet is true all the same
            self._changed.discard(qualified.key)
            self._refresh(qualified.key)
        qualifier, kept = str(qualified.qualifier), self._kept.get(qualified.key, {})
        settings = self._catalog.settings(qualified)
        config = _configs(settings).get(qualifier)
        parts = provisioned_versions(
            self._catalog, qualified, qualifier, config["Requested"] if config is not None else 0
        )
        return [(kept[version], count) for version, count in parts.items() if version in kept]

    async def run(self) -> None:
        """Runs until cancelled, and takes what it has begun along."""
        for account_id, region in self._catalog.document_places(PROVISIONED_INDEX):
            for name in self._catalog.documents(PROVISIONED_INDEX, account_id, region):
                self._note(account_id, region, name)
        try:
            while True:
                self._wake.clear()
                while self._changed:
                    self._refresh(self._changed.pop())
                for versions in self._kept.values():
                    for kept in versions.values():
                        self._tend(kept)
                await self._rest()
        finally:
            starting = [
                task for versions in self._kept.values() for kept in versions.values() for task in kept.starting
            ]
            for task in starting:
                task.cancel()
            await asyncio.gather(*starting, return_exceptions=True)

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(TEND_S if self._kept else None):
                await self._wake.wait()
        except TimeoutError:
            return

    # --- what is wanted --------------------------------------------------------------------------------------------

    def _note(self, account_id: str, region: str, name: str) -> None:
        self._changed.add((account_id, region, name))
        self._wake.set()

    def _refresh(self, key: _FunctionKey) -> None:
        address = FunctionAddress(*key)
        wanted: dict[str, dict[str, Any]] = {}  # by version and qualifier
        for qualifier, config in _configs(self._catalog.settings(address)).items():
            for number, count in provisioned_versions(self._catalog, address, qualifier, config["Requested"]).items():
                wanted.setdefault(number, {})[qualifier] = (count, config)
        before, now = self._kept.pop(key, {}), {}
        for number, parts in wanted.items():
            version = self._catalog.version(address, int(number))
            if version is None or version.state is not State.ACTIVE:
                continue
            count, configured = sum(count for count, _ in parts.values()), (parts, version.build)
            kept = before.pop(number, None)
            if kept is None:
                kept = _Kept(version, count, configured)
            elif kept.configured != configured:
                kept.failure = kept.retry_at = None
            kept.version, kept.wanted, kept.configured = version, count, configured
            now[number] = kept
        if now:
            self._kept[key] = now
        for gone in before.values():
            gone.wanted = 0
            self._trim(gone)

    # --- what is done ----------------------------------------------------------------------------------------------

    def _tend(self, kept: _Kept) -> None:
        now = self._clock.monotonic()
        ended = {environment for environment in kept.environments if not environment.usable}
        kept.environments -= ended
        if any(not environment.has_served and not environment.expired for environment in ended):
            kept.lost(now)
        if kept.retry_at is not None and kept.retry_at <= now:
            kept.failure = kept.retry_at = None
        if kept.failure is None and kept.start_at <= now:
            fresh = sum(not environment.ageing for environment in kept.environments)
            missing = kept.wanted - fresh - len(kept.starting)
            for _ in range(min(missing, AT_ONCE - len(kept.starting))):
                task = asyncio.get_running_loop().create_task(self._start(kept))
                kept.starting.add(task)
                task.add_done_callback(functools.partial(self._started, kept))
        self._trim(kept)

    def _trim(self, kept: _Kept) -> None:
        """Lets go of what is too much: what is not there yet, what is old, what is idle, and last what is at work."""
        fresh = sum(not environment.ageing for environment in kept.environments)
        for task in list(kept.starting)[: max(0, fresh + len(kept.starting) - kept.wanted)]:
            task.cancel()
        by_worth = sorted(kept.environments, key=lambda environment: (not environment.ageing, environment.at_work))
        for environment in by_worth[: max(0, len(by_worth) - kept.wanted)]:
            kept.environments.discard(environment)
            environment.let_go()
        kept.use.allocated = len(kept.environments)

    def _started(self, kept: _Kept, task: asyncio.Task[None]) -> None:
        kept.starting.discard(task)
        self._wake.set()

    async def _start(self, kept: _Kept) -> None:
        try:
            pool = self._pools.pool_for(kept.version)
            environment = self._make(kept.version)
            environment.use = kept.use
            environment.let_go = functools.partial(pool.let_go, environment)
            environment.on_gone = functools.partial(self._gone, pool)
            async with self._pools.room_for(kept.version):
                pool.all.add(environment)
                await environment.start()
            if not environment.initialised:
                kept.failure = INIT_FAILED
                await environment.stop("spindown")
                return
        except AwsError as error:
            kept.failure, kept.retry_at = error.message, self._clock.monotonic() + RETRY_S
        except (LambentError, OSError) as error:
            log.error("%s cannot be provisioned; trying again in %s s: %s", kept.version.qualified_arn, RETRY_S, error)
            kept.failure, kept.retry_at = str(error), self._clock.monotonic() + RETRY_S
        else:
            kept.environments.add(environment)
            kept.use.allocated = len(kept.environments)
            pool.release(environment)

    def _gone(self, pool: Pool, environment: Environment) -> None:
        pool.forget(environment)
        self._wake.set()


def _configs(settings: FunctionSettings | None) -> Mapping[str, Any]:
    """By qualifier."""
    return (settings.extra.get(FAMILY) or {}) if settings is not None else {}

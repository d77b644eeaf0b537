"""Provisioned concurrency: environments that are started ahead, and kept while their configuration asks for them.

They live in the pool of their version like any other and serve whoever comes first. What makes them different: they are
started without a caller, replaced when they end, and not reaped for being idle.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable
from typing import Any, Final

import attrs

from lambent.invoke.admission import provisioned_version
from lambent.invoke.environment import Environment
from lambent.invoke.pool import Pool, Pools
from lambent.model.errors import AwsError, LambentError
from lambent.model.function import FunctionVersion, State
from lambent.model.names import FunctionAddress
from lambent.model.provisioned import FAMILY, INIT_FAILED, Provision
from lambent.ports import PROVISIONED_INDEX, Catalog, Clock

log = logging.getLogger(__name__)

TEND_S: Final = 0.5  # how often idle ones are looked at, and failures that may have passed
RETRY_S: Final = 30.0  # after a fault of this machine's, which may pass
AT_ONCE: Final = 8  # environments of one version started side by side: invocations have to find processors, too

_FunctionKey = tuple[str, str, str]  # account, region, name


class ProvisionedEnvironment(Environment):
    """One that is started before anybody asks for it."""

    initialization_type = "provisioned-concurrency"

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
    environments: set[ProvisionedEnvironment] = attrs.field(factory=set)
    starting: set[asyncio.Task[None]] = attrs.field(factory=set)
    failure: str | None = None
    retry_at: float | None = None  # monotonic seconds


class ProvisionedEnvironments:
    """Implements ports.Provisioning. One task for the server's life: `run` ends when it is cancelled."""

    def __init__(
        self,
        catalog: Catalog,
        pools: Pools,
        make: Callable[[FunctionVersion], ProvisionedEnvironment],
        clock: Clock,
        idle_environment_s: float,
    ) -> None:
        self._catalog = catalog
        self._pools = pools
        self._make = make
        self._clock = clock
        self._spare_after_s = idle_environment_s / 2
        self._kept: dict[_FunctionKey, dict[str, _Kept]] = {}  # by version
        self._changed: set[_FunctionKey] = set()
        self._wake = asyncio.Event()
        catalog.subscribe(self._note)

    def provision(self, qualified: FunctionAddress) -> Provision:
        """What there is for this version or alias now."""
        version = provisioned_version(self._catalog, qualified, str(qualified.qualifier))
        kept = self._kept.get(qualified.key, {}).get(version or "")
        if kept is None:
            return Provision()
        usable = sum(environment.usable for environment in kept.environments)
        return Provision(allocated=usable, available=usable, failure=kept.failure)

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
        settings = self._catalog.settings(address)
        configs = settings.extra.get(FAMILY) or {} if settings is not None else {}
        before, now = self._kept.pop(key, {}), {}
        for qualifier, config in configs.items():
            number = provisioned_version(self._catalog, address, qualifier)
            version = self._catalog.version(address, int(number)) if number is not None else None
            if version is None or version.state is not State.ACTIVE:
                continue
            configured = (config, version.build)
            kept = before.pop(version.version, None)
            if kept is None:
                kept = _Kept(version, config["Requested"], configured)
            elif kept.configured != configured:
                kept.failure = kept.retry_at = None
            kept.version, kept.wanted, kept.configured = version, config["Requested"], configured
            now[version.version] = kept
        if now:
            self._kept[key] = now
        for gone in before.values():  # what has been started stays until it is reaped like any other
            for task in gone.starting:
                task.cancel()

    # --- what is done ----------------------------------------------------------------------------------------------

    def _tend(self, kept: _Kept) -> None:
        kept.environments = {environment for environment in kept.environments if environment.usable}
        now = self._clock.monotonic()
        if kept.retry_at is not None and kept.retry_at <= now:
            kept.failure = kept.retry_at = None
        if kept.failure is None:
            missing = kept.wanted - len(kept.environments) - len(kept.starting)
            for _ in range(min(missing, AT_ONCE - len(kept.starting))):
                task = asyncio.get_running_loop().create_task(self._start(kept))
                kept.starting.add(task)
                task.add_done_callback(functools.partial(self._started, kept))
        self._spare(kept, now)

    def _started(self, kept: _Kept, task: asyncio.Task[None]) -> None:
        kept.starting.discard(task)
        self._wake.set()

    async def _start(self, kept: _Kept) -> None:
        try:
            pool = self._pools.pool_for(kept.version)
            environment = self._make(kept.version)
            environment.on_gone = functools.partial(self._gone, pool)
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
            pool.release(environment)

    def _spare(self, kept: _Kept, now: float) -> None:
        """Keeps the idle ones from being reaped: they count as used before half the time for that is over.

        The pool's idle ones stay in its order, frozen ones first.
        """
        idle = self._pools.pool_for(kept.version).idle
        for environment in kept.environments:
            if environment.idle_since < now - self._spare_after_s and environment in idle:
                idle.remove(environment)
                environment.idle_since = now
                unfrozen = (at for at, other in enumerate(idle) if not other.frozen)
                idle.insert(next(unfrozen, len(idle)) if environment.frozen else len(idle), environment)

    def _gone(self, pool: Pool, environment: Environment) -> None:
        pool.all.discard(environment)
        if environment in pool.idle:
            pool.idle.remove(environment)
        self._wake.set()

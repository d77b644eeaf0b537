"""The one door: which version, may it run, where does it run, what came of it."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Coroutine
from typing import Final

from lambent.invoke.admission import Admission, Lease
from lambent.invoke.environment import Environment
from lambent.invoke.pool import Pool, Pools
from lambent.invoke.run import Done, Release
from lambent.model.errors import AwsError, conflict, invalid_parameter, service_fault, snap_start_not_ready
from lambent.model.function import FunctionVersion, State
from lambent.model.invocation import Invocation, Outcome
from lambent.ports import FunctionResolver

log = logging.getLogger(__name__)

_ACTIVE: Final = State.ACTIVE  # every invocation asks; an Enum's own look-up is slow
PENDING_WAIT_S: Final = 10.0  # an invocation may arrive while CreateFunction's unpacking still runs


class Invoker:
    """Implements `ports.Invoke` on this machine's own environments."""

    def __init__(self, resolver: FunctionResolver, admission: Admission, pools: Pools) -> None:
        self._resolver = resolver
        self._admission = admission
        self._pools = pools
        self._changes: dict[tuple[str, str, str], asyncio.Event] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        resolver.subscribe(self._function_changed)

    async def invoke(self, invocation: Invocation) -> Outcome:
        """See `ports.Invoke`."""
        result: asyncio.Future[Outcome | AwsError] = asyncio.get_running_loop().create_future()
        self.start(invocation, lambda outcome: None if result.done() else result.set_result(outcome))
        outcome = await result
        if isinstance(outcome, AwsError):
            raise outcome
        return outcome

    def start(self, invocation: Invocation, done: Done) -> None:
        """See `ports.Invoke`. What must wait, for a function to be ready or an environment, waits in a task."""
        try:
            version = self._resolve(invocation)
            if version.state is _ACTIVE:
                self._run(version, invocation, done)
            else:
                self._spawn(self._run_once_active(invocation, done), done)
        except AwsError as error:
            done(error)

    def _run(self, version: FunctionVersion, invocation: Invocation, done: Done) -> None:
        """Raises AwsError."""
        if invocation.tenant_id is not None or "TenancyConfig" in version.extra:
            _check_tenant(version, invocation.tenant_id)
        lease = self._admission.admit(version, invocation.qualifier)
        try:
            pool = self._pools.pool_for(version, invocation.tenant_id)
            environment = pool.take()
        except BaseException:
            lease.release()
            raise

        def free(used: Environment) -> None:
            lease.release()
            pool.release(used)

        if environment is not None:
            environment.run(invocation, free, done)
        else:
            self._run_when_free(pool, lease, invocation, free, done)

    def _run_when_free(self, pool: Pool, lease: Lease, invocation: Invocation, free: Release, done: Done) -> None:
        """Without a task of its own, so that the environment begins to start at once."""

        def run(waiter: asyncio.Future[Environment]) -> None:
            error = service_fault("Lambent is shutting down.") if waiter.cancelled() else waiter.exception()
            if error is not None:
                lease.release()
                if isinstance(error, AwsError) and error.code == "TooManyRequestsException":
                    self._admission.throttled(pool.version, invocation.qualifier)
                done(_not_started(error))
            elif (environment := waiter.result()).usable:
                environment.run(invocation, free, done)
            else:
                pool.release(environment)
                pool.acquire().add_done_callback(run)

        pool.acquire().add_done_callback(run)

    async def _run_once_active(self, invocation: Invocation, done: Done) -> None:
        self._run(await self._once_active(invocation), invocation, done)

    def _spawn(self, work: Coroutine[None, None, None], done: Done) -> None:
        """`work` starts the invocation, or raises."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if task.cancelled():
                done(service_fault("Lambent is shutting down."))
            elif (error := task.exception()) is not None:
                done(_not_started(error))

        task.add_done_callback(ended)

    def _resolve(self, invocation: Invocation) -> FunctionVersion:
        return self._resolver.resolve(
            invocation.account_id,
            invocation.region,
            invocation.function_name,
            invocation.qualifier,
            random.random(),  # which of an alias's two versions
        )

    async def _once_active(self, invocation: Invocation) -> FunctionVersion:
        """Waits until a pending function can be invoked.

        Raises AwsError ResourceConflictException when it cannot, SnapStartNotReadyException while its image is taken.
        """
        key = (invocation.account_id, invocation.region, invocation.function_name)
        give_up = asyncio.get_running_loop().time() + PENDING_WAIT_S
        while True:
            version = self._resolve(invocation)
            if version.state is State.ACTIVE:
                return version
            left_s = give_up - asyncio.get_running_loop().time()
            if version.state is not State.PENDING or left_s <= 0:
                if version.state is State.PENDING and version.snap_starts:
                    raise snap_start_not_ready()
                raise conflict(
                    "The operation cannot be performed at this time. "
                    f"The function is currently in the following state: {version.state.value}"
                )
            try:
                async with asyncio.timeout(left_s):
                    await self._changes.setdefault(key, asyncio.Event()).wait()
            except TimeoutError:
                continue

    def _function_changed(self, account_id: str, region: str, name: str) -> None:
        waiting = self._changes.pop((account_id, region, name), None)
        if waiting is not None:
            waiting.set()

        def current(version: str) -> FunctionVersion | None:
            try:
                return self._resolver.resolve(account_id, region, name, version, 0.0)
            except AwsError:
                return None

        self._pools.function_changed(account_id, region, name, current)


def _not_started(error: BaseException) -> AwsError:
    if isinstance(error, AwsError):
        return error
    log.error("an invocation could not be started", exc_info=error)
    return service_fault(f"Lambent could not run the function: {error}")


def _check_tenant(version: FunctionVersion, tenant_id: str | None) -> None:
    """Raises AwsError when a tenant is named to a function that has none, or none to one that has them.

    https://docs.aws.amazon.com/lambda/latest/dg/tenant-isolation-troubleshooting.html
    """
    is_tenant_isolated = "TenancyConfig" in version.extra
    if is_tenant_isolated and not tenant_id:
        raise invalid_parameter(
            "The invoked function is enabled with tenancy configuration. "
            "Add a valid tenant ID in your request and try again."
        )
    if tenant_id and not is_tenant_isolated:
        raise invalid_parameter(
            "The invoked function is not enabled with tenancy configuration. "
            "Remove the tenant ID from your request and try again."
        )

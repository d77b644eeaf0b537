"""Whatever happens to environments, in whatever order: each caller is answered once, and nothing of an invocation is kept.

Invoker, admission, pools, room, turns, environments and sessions are the real ones. Cages, memory, functions and time only
pretend, and fail wherever they may.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hand_memory import HandMemory
from lambent.invoke import pool
from lambent.invoke.admission import Admission
from lambent.invoke.environment import Environment
from lambent.invoke.invoker import Invoker
from lambent.invoke.pool import Pools
from lambent.invoke.room import Room
from lambent.invoke.starts import Starts
from lambent.invoke.surroundings import Surroundings
from lambent.model.cage import EnvironmentSpec, ProcessExit, RuntimeInstallation, StartMethod
from lambent.model.concurrency import Shares
from lambent.model.errors import AwsError, OutOfDescriptors, SandboxError, not_found
from lambent.model.function import FunctionVersion, State
from lambent.model.invocation import Invocation, Outcome
from lambent.ports import Sandbox
from lambent.runtimeapi.api import EnvironmentApi
from lambent.runtimeapi.protocol import RuntimeMove, RuntimeState
from lambent.runtimeapi.values import RuntimeFault, RuntimeResponse

ACCOUNT, REGION, NAMES = "000000000000", "eu-west-1", ("a", "b")
LIMIT, RESERVE = 6, 2  # of the account; of function "b"
TURNS, RESERVE_MIB = 2, 100
LIFETIME_S, IDLE_S, FREEZE_S = 60.0, 20.0, 0.5
PATIENCE_S = 100.0  # by then all waits and limits of time are over
INSTALLATION = RuntimeInstallation(
    runtime="provided.al2023", family="provided", version="al2023", start=StartMethod.EXEC, executable=None,
    argv=(), host_mounts=(), runtime_dir=None,
)  # fmt: skip


class LeapingLoop(asyncio.SelectorEventLoop):
    """Its time stands still while there is anything to do, and then leaps to the next timer."""

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 1000.0

    def time(self) -> float:
        return self._now_s

    def _run_once(self) -> None:
        loop = cast(Any, self)
        if not loop._ready:
            timers = [timer.when() for timer in loop._scheduled if not timer.cancelled()]
            assert timers, "everybody waits for ever"
            self._now_s = max(self._now_s, min(timers))
            loop._ready.append(asyncio.Handle(lambda: None, (), self))  # so that nothing waits in real time
        loop_once = cast(Any, super())._run_once
        loop_once()


class LoopClock:
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Gate:
    """Something that a cage is asked for, and does when the test says so."""

    def __init__(self, world: World, waiting: list[Gate]) -> None:
        self._world = world
        self._waiting = waiting
        self._opened: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    async def passed(self) -> None:
        """Raises what it was opened with."""
        if self._world.is_quick:
            return
        self._waiting.append(self)
        try:
            error = await self._opened
        finally:
            if self in self._waiting:
                self._waiting.remove(self)
        if error is not None:
            raise error

    def open(self, error: Exception | None = None) -> None:
        self._waiting.remove(self)
        if not self._opened.done():
            self._opened.set_result(error)


class PretendedCage:
    level = None
    endpoint = None
    can_restore = False
    api: EnvironmentApi | None = None  # told by `serve`

    def __init__(self, world: World) -> None:
        self._world = world
        self.runtime_api = self
        self.output_fd, self.log_fd, self.extension_output_fd = world.fds[0], world.fds[0], world.fds[0]
        self.told: Callable[[str, ProcessExit], None] | None = None
        self.exited = False
        self.ending: asyncio.Task[None] | None = None

    def on_exit(self, callback: Callable[[str, ProcessExit], None]) -> None:
        self.told = callback

    async def start_runtime(self) -> None:
        await Gate(self._world, self._world.starting).passed()
        if self._world.is_quick:
            asyncio.get_running_loop().call_soon(self.ready)

    def runtime_has_spoken(self) -> None: ...

    def end_boost(self) -> None: ...

    def freeze(self) -> None:
        self._world.may_break()

    def thaw(self) -> None:
        self._world.may_break()

    def peak_memory_bytes(self) -> int:
        return 1

    async def destroy(self) -> None:
        if self.ending is None:
            self.ending = asyncio.get_running_loop().create_task(self._end())
        await asyncio.shield(self.ending)

    async def _end(self) -> None:
        try:
            await Gate(self._world, self._world.ending).passed()
        finally:
            self._world.cages.remove(self)

    # what its runtime does

    @property
    def protocol(self) -> Any:
        assert self.api is not None
        return self.api._runtime.protocol

    def ready(self) -> None:
        if self.api is not None and self.protocol.state is RuntimeState.STARTED:
            self.protocol.move(RuntimeMove.NEXT)
            self.api._progress()

    def fail_init(self) -> None:
        if self.api is not None and self.protocol.state is RuntimeState.STARTED:
            self.protocol.move(RuntimeMove.INIT_ERROR)
            self.api._runtime_init_failed("Some.Error", b"{}")

    def exit(self, status: int) -> None:
        if self.told is not None and not self.exited:
            self.exited = True
            self.told("runtime", ProcessExit(exit_status=status, signal=None))

    def answer(self, *, failed: bool, done: bool) -> None:
        """With `done` it asks for its next event in the same moment; else later, see `finish`."""
        pending = self.api._runtime.pending if self.api is not None else None
        if pending is None or pending.answered or pending.finished:
            return
        fault = RuntimeFault("Some.Error", b"{}") if failed else None
        response = RuntimeResponse(payload=b"1", content_type="application/json", error=fault)
        if done:
            pending.finish(response)
        else:
            pending.resolve(response)

    def finish(self) -> None:
        pending = self.api._runtime.pending if self.api is not None else None
        if pending is not None and pending.answered:
            pending.finish()


class PretendedSandbox:
    def __init__(self, world: World) -> None:
        self._world = world

    async def launch(self, spec: EnvironmentSpec, *, at_once: bool = False) -> PretendedCage:
        await Gate(self._world, self._world.launching).passed()
        cage = PretendedCage(self._world)
        self._world.cages.append(cage)
        return cage


class Folders:
    async def unpacked(self, digest: str) -> Path:
        return Path("/nowhere")

    async def merged_layers(self, digests: Sequence[str]) -> Path | None:
        return None


class NoLog:
    def append(self, *_: object) -> None: ...

    async def drained(self, *_: object) -> None: ...


class Reserves:
    def of(self, account_id: str, region: str) -> Shares:
        shares = Shares()
        shares.put("b", RESERVE, {})
        return shares


class World:
    """Everything that a step may do, by its methods' names."""

    def __init__(self, fds: tuple[int, int]) -> None:
        self.fds = fds
        self.is_quick = False  # nothing waits for the test any more, and nothing fails
        self.breaks = False
        self.launching: list[Gate] = []
        self.starting: list[Gate] = []
        self.ending: list[Gate] = []
        self.cages: list[PretendedCage] = []
        self.answers: dict[str, list[Outcome | AwsError]] = {}
        self.versions = {name: self._version(name) for name in NAMES}
        self._listeners: list[Callable[[str, str, str], None]] = []
        self.memory = HandMemory()
        self.starts = Starts(at_once=TURNS)
        clock = LoopClock()

        async def installation_for(version: FunctionVersion) -> RuntimeInstallation:
            return INSTALLATION

        def credentials_for(version: FunctionVersion) -> Mapping[str, str]:
            return {}

        around = Surroundings(
            sandbox=cast(Sandbox, PretendedSandbox(self)), blobs=cast(Any, Folders()), logs=cast(Any, NoLog()),
            clock=clock, installation_for=installation_for, credentials_for=credentials_for, starts=self.starts,
            environment_lifetime_s=LIFETIME_S,
        )  # fmt: skip
        self.room = Room(self.memory, reserve_mib=RESERVE_MIB, wait_s=5.0)
        self.pools = Pools(
            lambda version: Environment(version, around), clock, self.room,
            freeze_after_s=FREEZE_S, idle_environment_s=IDLE_S,
        )  # fmt: skip
        self.admission = Admission(Reserves(), LIMIT, clock.monotonic)
        self.invoker = Invoker(cast(Any, self), self.admission, self.pools)

    # `ports.FunctionResolver`

    def resolve(self, account_id: str, region: str, name: str, qualifier: str | None, draw: float) -> FunctionVersion:
        if name not in self.versions:
            raise not_found(name)
        return self.versions[name]

    def subscribe(self, changed: Callable[[str, str, str], None]) -> None:
        self._listeners.append(changed)

    def _version(self, name: str, state: State = State.ACTIVE) -> FunctionVersion:
        return FunctionVersion(
            account_id=ACCOUNT, region=REGION, name=name, version="$LATEST", role="r", runtime="provided.al2023",
            handler="h", code_digest="d", state=state, last_modified=str(uuid.uuid4()), timeout_s=3,
        )  # fmt: skip

    def _tell(self, name: str) -> None:
        for listener in self._listeners:
            listener(ACCOUNT, REGION, name)

    def may_break(self) -> None:
        if self.breaks and not self.is_quick:
            raise SandboxError("the kernel does not want to")

    # steps; each may be given a number to choose by

    def invoke(self, n: int) -> None:
        request_id = str(len(self.answers))
        answers = self.answers[request_id] = []
        invocation = Invocation(
            request_id=request_id, account_id=ACCOUNT, region=REGION, function_name=NAMES[n % 2], payload=b"{}",
            want_log_tail=n % 3 == 0,
        )  # fmt: skip
        self.invoker.start(invocation, answers.append)

    def launched(self, n: int) -> None:
        _nth(self.launching, n, Gate.open)

    def not_launched(self, n: int) -> None:
        error = (SandboxError("no"), OutOfDescriptors("no"), OSError("no"), RuntimeError("a bug"))[n % 4]
        _nth(self.launching, n, lambda gate: gate.open(error))

    def started(self, n: int) -> None:
        _nth(self.starting, n, Gate.open)

    def not_started(self, n: int) -> None:
        _nth(self.starting, n, lambda gate: gate.open(SandboxError("no")))

    def ready(self, n: int) -> None:
        _nth(self.cages, n, PretendedCage.ready)

    def init_fails(self, n: int) -> None:
        _nth(self.cages, n, PretendedCage.fail_init)

    def exits(self, n: int) -> None:
        _nth(self.cages, n, lambda cage: cage.exit(n % 2))

    def answers_at_once(self, n: int) -> None:
        _nth(self.cages, n, lambda cage: cage.answer(failed=n % 3 == 0, done=True))

    def answers_first(self, n: int) -> None:
        _nth(self.cages, n, lambda cage: cage.answer(failed=n % 3 == 0, done=False))

    def finishes(self, n: int) -> None:
        _nth(self.cages, n, PretendedCage.finish)

    def ended(self, n: int) -> None:
        _nth(self.ending, n, Gate.open)

    def not_ended(self, n: int) -> None:
        _nth(self.ending, n, lambda gate: gate.open(SandboxError("no")))

    def changes(self, n: int) -> None:
        name = NAMES[n % 2]
        self.versions[name] = self._version(name)
        self._tell(name)

    def is_pending(self, n: int) -> None:
        name = NAMES[n % 2]
        self.versions[name] = self._version(name, State.PENDING)
        self._tell(name)

    def is_deleted(self, n: int) -> None:
        self.versions.pop(NAMES[n % 2], None)
        self._tell(NAMES[n % 2])

    def expires(self, n: int) -> None:
        _nth(self.pools.environments, n, Environment.expire)

    def is_stopped(self, n: int) -> None:
        _nth(self.pools.environments, n, lambda environment: environment._begin_to_end("failure"))

    def memory_is_short(self, n: int) -> None:
        self.memory.free_mib = 0.0

    def memory_is_free(self, n: int) -> None:
        self.memory.free_mib = 1e9

    def cages_break(self, n: int) -> None:
        self.breaks = n % 2 == 0

    # looking

    def check(self) -> None:
        for answers in self.answers.values():
            assert len(answers) <= 1, "a caller was answered twice"
        for ledger in self.admission._ledgers.values():
            assert sum(ledger.running.values()) == ledger._all_running <= LIMIT
            assert ledger.running.get("b", 0) <= RESERVE
        assert 0 <= self.starts._free <= TURNS
        assert self.room._starting >= 0

    def check_idle(self) -> None:
        assert all(len(answers) == 1 for answers in self.answers.values()), "a caller waits for ever"
        for ledger in self.admission._ledgers.values():
            assert (ledger.running, ledger._all_running, ledger._unreserved_running) == ({}, 0, 0)
        assert self.starts._free == TURNS
        assert self.room._starting == 0
        assert not self.room._queue


def _nth(choices: Sequence[Any], n: int, do: Callable[[Any], object]) -> None:
    if choices:
        do(choices[n % len(choices)])


MOVES = (
    "invoke", "launched", "not_launched", "started", "not_started", "ready", "init_fails", "exits", "answers_at_once",
    "answers_first", "finishes", "ended", "not_ended", "changes", "is_pending", "is_deleted", "expires", "is_stopped",
    "memory_is_short", "memory_is_free", "cages_break",
)  # fmt: skip
USUAL = ("invoke", "launched", "started", "ready", "answers_at_once", "answers_first", "finishes", "ended")
STEPS = st.lists(
    st.tuples(
        st.one_of(st.sampled_from(USUAL), st.sampled_from(MOVES)),
        st.integers(0, 11),
        st.sampled_from((0, 0, 1, 2, 9)),  # turns of the loop after it
        st.sampled_from((0.0, 0.0, 0.0, 0.01, 1.0, 3.0, 30.0)),  # seconds after it
    ),
    max_size=60,
)


@pytest.fixture(autouse=True)
def without_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    async def serve(api: EnvironmentApi, listener: Any) -> None:
        listener.api = api

    monkeypatch.setattr(EnvironmentApi, "serve", serve)
    monkeypatch.setattr(pool, "SWEEP_S", 1.0)  # no more of them than it takes


@contextlib.contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield ends
    finally:
        for end in ends:
            os.close(end)


async def live(world: World, steps: list[tuple[str, int, int, float]], *, closes_at_once: bool) -> None:
    sweeping = asyncio.create_task(world.pools.run())
    for move, n, turns, seconds in steps:
        getattr(world, move)(n)
        for _ in range(turns):
            await asyncio.sleep(0)
        if seconds:
            await asyncio.sleep(seconds)
        world.check()
    if not closes_at_once:
        settle(world)
        await asyncio.sleep(PATIENCE_S)
        world.check_idle()
    sweeping.cancel()
    closing = asyncio.create_task(world.pools.close())
    await asyncio.sleep(0)
    settle(world)
    await closing
    await asyncio.sleep(PATIENCE_S)
    world.check_idle()
    assert world.cages == []
    assert world.pools.environments == []
    assert asyncio.all_tasks() == {asyncio.current_task()}


def settle(world: World) -> None:
    world.is_quick = True
    world.memory.free_mib = 1e9
    for gates in (world.launching, world.starting, world.ending):
        for gate in list(gates):
            gate.open()
    for cage in world.cages:
        cage.ready()


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, closes_at_once=st.booleans())
def test_each_caller_is_answered_once_and_nothing_is_kept(
    steps: list[tuple[str, int, int, float]], closes_at_once: bool
) -> None:
    logging.disable(logging.CRITICAL)
    try:
        with pipe() as fds, asyncio.Runner(loop_factory=LeapingLoop) as runner:

            async def lives() -> None:
                await live(World(fds), steps, closes_at_once=closes_at_once)

            runner.run(lives())
    finally:
        logging.disable(logging.NOTSET)

"""One execution environment: what AWS promises of it, on top of a session.

Init runs once, for at most ten seconds; if it fails, it runs again inside the first invocation, and that one's caller
is told. A timeout, a runtime or an extension that ends takes the environment with it. Each writes one log stream.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import os
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, Final, Literal

from lambent.invoke import failures
from lambent.invoke.envlog import EnvironmentLog
from lambent.invoke.exchange import call_of, failed_outcome_of, outcome_of
from lambent.invoke.failures import Failure
from lambent.invoke.peak_memory import PeakMemory
from lambent.invoke.run import Done, Release, Run
from lambent.invoke.session import RuntimeExited, Session
from lambent.invoke.starts import LetOn
from lambent.invoke.surroundings import Surroundings
from lambent.invoke.time_limit import TimeLimit
from lambent.model import loglines
from lambent.model.cage import EnvironmentSpec, ProcessExit, RuntimeInstallation
from lambent.model.errors import EntrypointError, LambentError, SandboxError, service_fault
from lambent.model.function import FunctionVersion
from lambent.model.invocation import Invocation
from lambent.model.lifecycle import EnvironmentEvent, EnvironmentState, after
from lambent.model.names import FunctionAddress
from lambent.runtimeapi.credentials import IssuedForOne
from lambent.runtimeapi.values import InitFailed, RuntimeFault, RuntimeResponse

log = logging.getLogger(__name__)

Phase = Literal["init", "invoke", "snap-start"]
TELEMETRY_BEFORE_FREEZE_S: Final = 2.0  # for a delivery that is under way; one that takes longer goes on after the thaw
# Every invocation asks; an Enum's own look-up is slow.
_FROZEN, _INVOKED, _FINISHED = EnvironmentState.FROZEN, EnvironmentEvent.INVOKED, EnvironmentEvent.FINISHED
_READY_STATES: Final = frozenset({EnvironmentState.IDLE, EnvironmentState.FROZEN, EnvironmentState.BUSY})


class Environment:
    """Made by the pool; `start`, then `run` any number of times, then `stop`."""

    initialization_type: loglines.InitType = "on-demand"  # AWS_LAMBDA_INITIALIZATION_TYPE
    provisioned = False  # started before anybody asked, and kept

    def __init__(self, version: FunctionVersion, surroundings: Surroundings) -> None:
        self.version = version
        self.id = os.urandom(16).hex()
        self._arn = version.arn
        self._good_until = math.inf  # monotonic seconds
        self.state = EnvironmentState.LAUNCHING
        self.idle_since = 0.0  # monotonic seconds; kept by the pool
        self.finishing = False  # it has answered, and will be free in a moment
        self.on_gone: Callable[[Environment], None] | None = None  # called once, when nothing of it is left
        self._around = surroundings
        self._clock = surroundings.clock
        self._log = EnvironmentLog(
            version, surroundings.logs, surroundings.clock, self.id, surroundings.log_share, surroundings.held_starts
        )
        self._spec: EnvironmentSpec | None = None
        self._session: Session | None = None
        self._peak = PeakMemory()
        self._initialising = asyncio.Lock()
        self._let_on: LetOn | None = None  # of this environment's turn, see `Starts`
        self._init_scope: asyncio.Timeout | None = None  # of the init under way, so that `stop` can cut it short
        self._init_duration_ms: float | None = None  # until the first REPORT has told it
        self._restore_duration_ms: float | None = None  # likewise
        self._issued: IssuedForOne | None = None  # credentials that it asks for, instead of such in its variables
        self._fatal: Failure | None = None  # what ended, or is ending, the invocation under way and this environment
        self._request_id = ""  # of the invocation under way
        self._freezing: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._time_limit = TimeLimit(self._time_passed)

    # what the pool asks

    @property
    def usable(self) -> bool:
        return self.state in _READY_STATES

    @property
    def expired(self) -> bool:
        """Too old to be given another invocation."""
        return self._clock.monotonic() > self._good_until

    def expire(self) -> None:
        """From now on it is given no other invocation."""
        self._good_until = -math.inf

    @property
    def at_work(self) -> bool:
        return self.state is EnvironmentState.BUSY

    @property
    def frozen(self) -> bool:
        return self.state is EnvironmentState.FROZEN

    @property
    def directories(self) -> set[Path]:
        """What its cage shows of the store."""
        spec = self._spec
        return {directory for directory in (spec.code_dir, spec.layers_dir) if directory} if spec is not None else set()

    async def start(self) -> None:
        """The cold start: builds the cage and runs the init phase.

        A function whose init fails leaves an environment that can be invoked: it tries again then, as at AWS.
        Raises SandboxError, AwsError.
        """
        try:
            self._spec = await self.describe()
            self._move(EnvironmentEvent.LAUNCHED)
            try:
                await self._initialise(self._init_limit_s, "init")
            except _InitFailure as failure:
                log.debug("init of %s failed: %s", self.version.qualified_arn, failure.failure.error_type)
            self._move(EnvironmentEvent.READY)
            self._good_until = self._clock.monotonic() + self._around.environment_lifetime_s
        except BaseException:
            await self.stop("failure")
            raise

    def run(self, invocation: Invocation, release: Release, done: Done) -> None:
        """Runs the function once, without a task of its own while nothing has to be waited for but the function.

        `done` is told what came of it, an AwsError ServiceException when the machine and not the function failed.
        `release` is called when the environment can be reused, or has ended. Both once, perhaps before this returns.
        """
        run = Run(invocation, self._clock.monotonic(), release, done)
        try:
            self._begin(invocation)
            if self._session is None:
                self._spawn(self._initialise_and_offer(run))
            else:
                self._offer(run, self._session)
        except Exception as error:  # whatever it was, environment and lease must not be lost with it
            self._broke(run, error)

    def freeze(self) -> None:
        """Stops its processes where they are, once subscribers have been told what it did."""
        session = self._session
        if self.state is not EnvironmentState.IDLE or session is None or self._freezing is not None:
            return
        if session.api.telemetry_is_pending:
            self._freezing = asyncio.get_running_loop().create_task(self._freeze_when_told(session))
        else:
            self._freeze(session)

    async def stop(self, reason: str) -> None:
        """Ends every process of it, and an invocation that is under way; returns when nothing is left.

        `reason` is "spindown", "timeout" or "failure": what its extensions are told. Safe to call twice, at any time.
        """
        await asyncio.shield(self._begin_to_end(reason))

    # its end

    def _begin_to_end(self, reason: str) -> asyncio.Task[None]:
        """From this moment nobody is given it."""
        if self._ending is None:
            was_busy = self.state is EnvironmentState.BUSY
            self._move(EnvironmentEvent.STOP)
            if was_busy:
                self._fail(failures.INTERRUPTED)
            self._ending = asyncio.get_running_loop().create_task(self._end(reason))
        return self._ending

    async def _end(self, reason: str) -> None:
        if self._freezing is not None:
            self._freezing.cancel()
        self._time_limit.close()
        if self._init_scope is not None:
            self._init_scope.reschedule(asyncio.get_running_loop().time())
        async with self._initialising:
            session, self._session = self._session, None
        try:
            if session is not None:
                await session.close(reason, self._clock)
        except (SandboxError, OSError) as error:
            log.error("an environment of %s did not end cleanly: %s", self.version.qualified_arn, error)
        finally:
            self._move(EnvironmentEvent.ENDED)
            if self.on_gone is not None:
                self.on_gone(self)

    async def _freeze_when_told(self, session: Session) -> None:
        await session.flush_telemetry(TELEMETRY_BEFORE_FREEZE_S)
        self._freezing = None
        if self.state is EnvironmentState.IDLE:
            self._freeze(session)

    def _freeze(self, session: Session) -> None:
        self._move(EnvironmentEvent.FROZE)
        try:
            session.cage.freeze()
        except SandboxError as error:
            log.error("an environment of %s could not be frozen and is ended: %s", self.version.qualified_arn, error)
            self._begin_to_end("failure")

    # init

    @property
    def _init_limit_s(self) -> float:
        """Of the init phase that no invocation waits for."""
        return self._around.init_phase_s

    async def describe(self) -> EnvironmentSpec:
        """What the sandbox is asked for. Raises AwsError, SandboxError."""
        return await self._around.describe(
            self.version,
            environment_id=self.id,
            log_stream=self._log.stream,
            initialization_type=self.initialization_type,
            credentials=self._credentials,
        )

    def _credentials(self) -> Mapping[str, str]:
        return self._around.credentials_for(self.version) if self._issued is None else self._issued.variables()

    async def _initialise(self, limit_s: float, phase: Phase) -> None:
        """A new session, ready for its first event. Raises _InitFailure after logging it, SandboxError."""
        function = FunctionAddress(self.version.account_id, self.version.region, self.version.name)
        async with self._initialising:
            try:
                async with (
                    asyncio.timeout(None) as self._init_scope,
                    self._around.starts.turn(function) as self._let_on,
                ):
                    self._session = await self._new_session(limit_s, phase)
            except TimeoutError as error:
                raise SandboxError("the environment was ended while it started") from error
            finally:
                self._init_scope = None

    async def _new_session(self, limit_s: float, phase: Phase) -> Session:
        session = await self._open_session()
        self._log.publish([self._init_start(phase)], session.api)
        try:
            async with asyncio.timeout(limit_s):
                await session.initialise()
        except (TimeoutError, RuntimeExited, InitFailed, EntrypointError) as error:
            failure = failures.init_failure(error, limit_s)
            self._report_init(session, failure, phase)
            self._peak.failed(session)
            await session.close("timeout" if failure.status == "timeout" else "failure", self._clock)
            raise _InitFailure(failure) from error
        except BaseException:
            await session.close("failure")
            raise
        self._watch(session)
        self._report_init(session, None, phase)
        return session

    def _watch(self, session: Session) -> None:
        """From here on its runtime's or an extension's end is this environment's."""
        session.on_runtime_exit = self._runtime_exited
        session.on_extension_fault = self._extension_ended

    async def _open_session(self) -> Session:
        assert self._spec is not None
        session = await Session.open(
            sandbox=self._around.sandbox,
            clock=self._clock,
            spec=self._spec,
            version=self.version,
            observer=self._log,
            pump_to=self._log.pump_to,
            serve_endpoint=self._around.serve_endpoint,
            issued=self._issued,
        )
        if self._let_on is not None:
            self._let_on()
        return session

    def _init_start(self, phase: Phase) -> loglines.PlatformEvent:
        assert self._spec is not None
        return loglines.init_started(
            function_name=self.version.name,
            function_version=self.version.version,
            runtime_version=runtime_version(self._spec.installation),
            runtime_version_arn=runtime_version_arn(self.version),
            init_type=self.initialization_type,
            phase=phase,
        )

    def _report_init(self, session: Session, failure: Failure | None, phase: Phase) -> None:
        # Lambda's Init Duration is of extensions, runtime and the function's static code, not of the cage.
        duration_ms = (self._clock.monotonic() - session.began_s) * 1000
        session.pump.drain()
        status = failure.status if failure else "success"
        error_type = failure.error_type if failure and failure.status != "timeout" else None
        kind = self.initialization_type
        done = loglines.init_runtime_done(status, error_type, kind, phase)
        self._log.publish([done, loglines.init_reported(duration_ms, status, error_type, kind, phase)], session.api)
        if phase == "init" and failure is None:
            self._init_duration_ms = duration_ms
            if self._around.initialised is not None and self._spec is not None:
                self._around.initialised(self.version, self._spec, duration_ms)

    # an invocation

    def _begin(self, invocation: Invocation) -> None:
        """Wakes it. Raises SandboxError."""
        if self._freezing is not None:
            self._freezing.cancel()
            self._freezing = None
        session = self._session
        if self.state is _FROZEN and session is not None:
            session.cage.thaw()
        self.state = after(self.state, _INVOKED)
        self._request_id = invocation.request_id
        if invocation.want_log_tail:
            self._log.begin_tail()
        self._log.started(invocation.request_id, session.api if session is not None else None)

    async def _initialise_and_offer(self, run: Run) -> None:
        """For an environment whose init had failed: it runs again, inside this invocation."""
        try:
            try:
                await self._initialise(self.version.timeout_s, "invoke")
            except _InitFailure as failed:
                self._end_failed(run, self._named(failed.failure))
                return
            session = self._session
            if session is None or self._fatal is not None:
                raise SandboxError("the environment was ended while it started")
            self._offer(run, session)
        except Exception as error:  # as in `run`
            self._broke(run, error)

    def _offer(self, run: Run, session: Session) -> None:
        """Hands the event to the runtime; `_progress` hears what comes of it."""
        left_s = max(0.0, run.begun + self.version.timeout_s - self._clock.monotonic())
        run.pending = session.api.invoke(call_of(run.invocation, self._arn, self._clock.now() + left_s))
        run.pending.notify = functools.partial(self._progress, run)
        self._time_limit.begin(left_s)

    def _progress(self, run: Run) -> None:
        """The runtime has answered, or asks for its next event, or both; or neither will happen any more."""
        pending = run.pending
        assert pending is not None
        response = pending.response
        assert response is not None
        try:
            if response.by_platform:
                self._end_failed(run, self._fatal or failures.INTERRUPTED)
                return
            # The tail ends with REPORT, which needs the runtime to be done; everybody else has the answer at once.
            if not run.answered and not run.invocation.want_log_tail:
                run.answer(outcome_of(run, self.version, response))
            if not pending.finished:
                self.finishing = self._fatal is None
                return
            pending.notify = None  # else the two would hold each other until the collector comes
            if self._fatal is not None:
                self._end_failed(run, self._fatal, response)
            else:
                self._finished(run, response)
        except Exception as error:  # as in `run`
            self._broke(run, error)

    def _broke(self, run: Run, error: Exception) -> None:
        log.error("an environment of %s broke", self.version.qualified_arn, exc_info=error)
        run.answer(service_fault(f"Lambent could not run the function: {error}"))
        self._end_failed(run, failures.INTERRUPTED)

    def _time_passed(self) -> None:
        self._fail(self._named(failures.timed_out(self.version.timeout_s)))

    def _runtime_exited(self, process_exit: ProcessExit) -> None:
        self._lost(failures.runtime_exited(process_exit))

    def _extension_ended(self, fault: RuntimeFault) -> None:
        self._lost(failures.extension_ended(fault))

    def _lost(self, failure: Failure) -> None:
        """In an invocation its caller is told; between two of them nobody is, and the environment is replaced."""
        if self.state is EnvironmentState.BUSY:
            self._fail(self._named(failure))
        else:
            self._begin_to_end("failure")

    def _fail(self, failure: Failure) -> None:
        """Ends the invocation under way, whatever it waits for; whoever waits finds the failure."""
        if self._fatal is None:
            self._fatal = failure
            if self._session is not None:
                self._session.api.fail_current(failure.error_type, failure.payload)

    def _named(self, failure: Failure) -> Failure:
        return failure.of_request(self._request_id, self.version.timeout_s, self._log.format, self._log.now_ms())

    def _finished(self, run: Run, response: RuntimeResponse) -> None:
        """Runtime and extensions ask for their next event: the environment is free again."""
        self.finishing = False
        self._time_limit.end()
        fault = response.error
        self._report(run, self._session, Failure("error", fault.error_type, b"") if fault else None)
        if not run.answered:
            run.answer(outcome_of(run, self.version, response))
        self.state = after(self.state, _FINISHED)
        run.release(self)

    def _end_failed(self, run: Run, failure: Failure, response: RuntimeResponse | None = None) -> None:
        """Reports a failed invocation, answers it and ends the environment.

        `response` is the function's own, when it had answered before it failed.
        """
        self.finishing = False
        self._time_limit.end()
        session = self._session
        self._spawn(self._end_and_release(run, "timeout" if failure.status == "timeout" else "failure"))
        if session is not None:
            session.pump.drain()
        if failure.log_text is not None:
            self._log.say(failure.log_text)
        self._report(run, session, failure)
        if response is not None:
            run.answer(outcome_of(run, self.version, response))
        elif failure.status == "failure":
            run.answer(service_fault("The execution environment was ended while it ran the function."))
        else:
            run.answer(failed_outcome_of(run, self.version, failure))

    async def _end_and_release(self, run: Run, reason: str) -> None:
        try:
            await self.stop(reason)
        finally:
            run.release(self)

    # its log

    def _report(self, run: Run, session: Session | None, failure: Failure | None) -> None:
        now_s = self._clock.monotonic()
        duration_ms = (now_s - run.begun) * 1000
        if failure is not None and failure.status == "timeout":
            duration_ms = min(duration_ms, self.version.timeout_s * 1000.0)
        status = failure.status if failure else "success"
        self._around.telemetry.ran(
            self.version, run.invocation.qualifier, duration_ms, status, self.initialization_type
        )
        init_ms, self._init_duration_ms = self._init_duration_ms, None
        restore_ms, self._restore_duration_ms = self._restore_duration_ms, None
        report = loglines.InvocationReport(
            request_id=run.invocation.request_id,
            duration_ms=duration_ms,
            memory_mib=self.version.memory_mib,
            max_memory_used_mib=self._peak.reported_mib(session, duration_ms, now_s),
            init_duration_ms=init_ms,
            restore_duration_ms=restore_ms,
            status=status,
            error_type=failure.error_type if failure and failure.status != "timeout" else None,
        )
        if session is not None:
            session.pump.drain()
        self._log.reported(report, session.api if session is not None else None)
        if run.invocation.want_log_tail:
            run.log_tail = self._log.take_tail()

    # small parts

    def _move(self, event: EnvironmentEvent) -> None:
        self.state = after(self.state, event)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task


class _InitFailure(LambentError):
    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.error_type)
        self.failure = failure


def runtime_version(exact: RuntimeInstallation) -> str | None:
    return f"{exact.family}:{exact.version}" if exact.family != "provided" else None


def runtime_version_arn(version: FunctionVersion) -> str:
    return f"arn:aws:lambda:{version.region}::runtime:{version.runtime}"

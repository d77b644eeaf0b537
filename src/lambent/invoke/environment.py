"""One execution environment: what AWS promises of it, on top of a session.

Init runs once, for at most ten seconds; if it fails, it runs again inside the first invocation, and that one's caller
is told. A timeout, a runtime or an extension that ends takes the environment with it. Each writes one log stream.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import attrs

from lambent.invoke import failures
from lambent.invoke.envlog import EnvironmentLog
from lambent.invoke.failures import Failure
from lambent.invoke.session import EndpointServer, RuntimeExited, Session
from lambent.invoke.variables import environment_variables
from lambent.model import loglines
from lambent.model.cage import EnvironmentSpec, ProcessExit, RuntimeInstallation
from lambent.model.errors import EntrypointError, LambentError, SandboxError, service_fault
from lambent.model.function import FunctionVersion
from lambent.model.invocation import Invocation, Outcome
from lambent.model.lifecycle import EnvironmentEvent, EnvironmentState, after
from lambent.model.limits import INIT_PHASE_S, MIB
from lambent.ports import Blobs, Clock, LogSink, Sandbox
from lambent.runtimeapi.runtime import PendingResponse
from lambent.runtimeapi.values import InitFailed, RuntimeCall, RuntimeFault, RuntimeResponse

log = logging.getLogger(__name__)

InstallationFor = Callable[[FunctionVersion], Awaitable[RuntimeInstallation]]
"""What runs this version. Raises AwsError when the machine has no such interpreter."""

Release = Callable[["Environment"], None]
Phase = Literal["init", "invoke"]
TELEMETRY_BEFORE_FREEZE_S: Final = 2.0  # for a delivery that is under way; one that takes longer goes on after the thaw
_READY_STATES: Final = frozenset({EnvironmentState.IDLE, EnvironmentState.FROZEN, EnvironmentState.BUSY})


@attrs.frozen(kw_only=True)
class Surroundings:
    """What every environment is made with; one for the whole program."""

    sandbox: Sandbox
    blobs: Blobs
    logs: LogSink
    clock: Clock
    installation_for: InstallationFor
    credentials_for: Callable[[FunctionVersion], Mapping[str, str]]  # AWS_ACCESS_KEY_ID and so on
    serve_endpoint: EndpointServer | None = None
    internet: bool = False
    init_phase_s: float = INIT_PHASE_S


class Environment:
    """Made by the pool; `start`, then `run` any number of times, then `stop`."""

    def __init__(self, version: FunctionVersion, surroundings: Surroundings) -> None:
        self.version = version
        self.id = os.urandom(16).hex()
        self.state = EnvironmentState.LAUNCHING
        self.idle_since = 0.0  # monotonic seconds; kept by the pool
        self.finishing = False  # it has answered, and will be free in a moment
        self.on_gone: Callable[[Environment], None] | None = None  # called once, when nothing of it is left
        self._around = surroundings
        self._clock = surroundings.clock
        self._log = EnvironmentLog(version, surroundings.logs, surroundings.clock, self.id)
        self._spec: EnvironmentSpec | None = None
        self._session: Session | None = None
        self._failed_peak_mib = 0  # of the last session whose init failed: its cage is gone when REPORT is written
        self._initialising = asyncio.Lock()
        self._init_scope: asyncio.Timeout | None = None  # of the init under way, so that `stop` can cut it short
        self._init_duration_ms: float | None = None  # until the first REPORT has told it
        self._fatal: Failure | None = None  # what ended, or is ending, the invocation under way and this environment
        self._request_id = ""  # of the invocation under way
        self._freezing: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[None]] = set()

    # what the pool asks

    @property
    def usable(self) -> bool:
        return self.state in _READY_STATES

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
                await self._initialise(self._around.init_phase_s, "init")
            except _InitFailure as failure:
                log.debug("init of %s failed: %s", self.version.qualified_arn, failure.failure.error_type)
            self._move(EnvironmentEvent.READY)
        except BaseException:
            await self.stop("failure")
            raise

    async def run(self, invocation: Invocation, release: Release) -> Outcome:
        """Runs the function once. `release` is called when the environment can be reused, or has ended.

        Raises AwsError ServiceException when the machine, not the function, failed.
        """
        run = _Run(invocation, self._clock, release)
        try:
            self._begin(invocation)
            return await self._run(run)
        except asyncio.CancelledError:
            if not run.handed_over:
                self._end_failed(run, failures.INTERRUPTED)
            raise
        except Exception as error:  # whatever it was, environment and lease must not be lost with it
            log.error("an environment of %s broke", self.version.qualified_arn, exc_info=error)
            self._end_failed(run, failures.INTERRUPTED)
            raise service_fault(f"Lambent could not run the function: {error}") from error

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

    async def describe(self) -> EnvironmentSpec:
        """What the sandbox is asked for. Raises AwsError, SandboxError."""
        version, around = self.version, self._around
        installation = await around.installation_for(version)
        if version.code_digest is None:
            raise service_fault(f"{version.qualified_arn} has no code that can be run here.")
        code_dir = await around.blobs.unpacked(version.code_digest)
        layers_dir = await around.blobs.merged_layers([layer.digest for layer in version.layers])
        variables = environment_variables(version, installation, self._log.stream, around.credentials_for(version))
        return EnvironmentSpec(
            environment_id=self.id,
            installation=installation,
            code_dir=code_dir,
            layers_dir=layers_dir,
            variables=variables,
            memory_mib=version.memory_mib,
            ephemeral_mib=version.ephemeral_mib,
            internet=around.internet,
        )

    async def _initialise(self, limit_s: float, phase: Phase) -> None:
        """A new session, ready for its first event. Raises _InitFailure after logging it, SandboxError."""
        async with self._initialising:
            try:
                async with asyncio.timeout(None) as self._init_scope:
                    self._session = await self._new_session(limit_s, phase)
            except TimeoutError as error:
                raise SandboxError("the environment was ended while it started") from error
            finally:
                self._init_scope = None

    async def _new_session(self, limit_s: float, phase: Phase) -> Session:
        assert self._spec is not None
        session = await Session.open(
            sandbox=self._around.sandbox,
            spec=self._spec,
            version=self.version,
            observer=self._log,
            pump_to=self._log.pump_to,
            serve_endpoint=self._around.serve_endpoint,
        )
        # Lambda's Init Duration is of extensions, runtime and the function's static code, not of the cage.
        begun = self._clock.monotonic()
        self._log.publish([self._init_start(phase)], session.api)
        try:
            async with asyncio.timeout(limit_s):
                await session.initialise()
        except (TimeoutError, RuntimeExited, InitFailed, EntrypointError) as error:
            failure = failures.init_failure(error, limit_s)
            self._report_init(session, begun, failure, phase)
            self._failed_peak_mib = _peak_mib(session)
            await session.close("timeout" if failure.status == "timeout" else "failure", self._clock)
            raise _InitFailure(failure) from error
        except BaseException:
            await session.close("failure")
            raise
        session.on_runtime_exit = self._runtime_exited
        session.on_extension_fault = self._extension_ended
        self._report_init(session, begun, None, phase)
        return session

    def _init_start(self, phase: Phase) -> loglines.PlatformEvent:
        assert self._spec is not None
        exact = self._spec.installation
        return loglines.init_started(
            function_name=self.version.name,
            function_version=self.version.version,
            runtime_version=f"{exact.family}:{exact.version}" if exact.family != "provided" else None,
            runtime_version_arn=f"arn:aws:lambda:{self.version.region}::runtime:{self.version.runtime}",
            phase=phase,
        )

    def _report_init(self, session: Session, begun: float, failure: Failure | None, phase: Phase) -> None:
        duration_ms = (self._clock.monotonic() - begun) * 1000
        session.pump.drain()
        status = failure.status if failure else "success"
        error_type = failure.error_type if failure and failure.status != "timeout" else None
        done = loglines.init_runtime_done(status, error_type, phase=phase)
        self._log.publish([done, loglines.init_reported(duration_ms, status, error_type, phase=phase)], session.api)
        if phase == "init" and failure is None:
            self._init_duration_ms = duration_ms

    # an invocation

    def _begin(self, invocation: Invocation) -> None:
        """Wakes it. Raises SandboxError."""
        if self._freezing is not None:
            self._freezing.cancel()
            self._freezing = None
        if self.state is EnvironmentState.FROZEN and self._session is not None:
            self._session.cage.thaw()
        self._move(EnvironmentEvent.INVOKED)
        self._request_id = invocation.request_id
        if invocation.want_log_tail:
            self._log.begin_tail()
        self._publish([loglines.started(invocation.request_id, self.version.version)])

    async def _run(self, run: _Run) -> Outcome:
        invocation, timeout_s = run.invocation, self.version.timeout_s
        if self._session is None:
            try:
                await self._initialise(timeout_s, "invoke")
            except _InitFailure as failed:
                return self._end_failed(run, self._named(failed.failure))
        session = self._session
        if session is None or self._fatal is not None:
            raise SandboxError("the environment was ended while it started")
        left_s = max(0.0, timeout_s - run.elapsed_ms() / 1000)
        pending = session.api.invoke(self._call(invocation, left_s))
        timer = asyncio.get_running_loop().call_later(left_s, self._time_out)
        try:
            response = await pending
        except asyncio.CancelledError:
            self._hand_over(run, session, pending, timer)
            raise
        if response.by_platform:
            timer.cancel()
            return self._failed(run)
        if pending.finished and self._fatal is None:
            timer.cancel()
            self._finished(run, session, response)
        else:
            self.finishing = self._fatal is None
            finish = self._hand_over(run, session, pending, timer)
            if invocation.want_log_tail:  # the tail ends with REPORT, which needs the runtime to be done
                await asyncio.shield(finish)
        return self._outcome(run, response)

    def _call(self, invocation: Invocation, left_s: float) -> RuntimeCall:
        arn = self.version.arn
        return RuntimeCall(
            request_id=invocation.request_id,
            deadline_ms=int((self._clock.now() + left_s) * 1000),
            invoked_function_arn=f"{arn}:{invocation.qualifier}" if invocation.qualifier else arn,
            trace_id=_trace_header(invocation.trace_header),
            client_context=invocation.client_context,
            cognito_identity=invocation.cognito_identity,
            tenant_id=invocation.tenant_id,
            payload=invocation.payload,
            sink=invocation.sink,
        )

    def _outcome(self, run: _Run, response: RuntimeResponse) -> Outcome:
        fault = response.error
        return Outcome(
            payload=fault.payload if fault else response.payload,
            executed_version=self.version.version,
            request_id=run.invocation.request_id,
            function_error="Unhandled" if fault else None,
            log_tail=run.log_tail,
            content_type=response.content_type,
            stream_error=response.stream_error,
        )

    def _time_out(self) -> None:
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

    def _hand_over(
        self, run: _Run, session: Session, pending: PendingResponse, timer: asyncio.TimerHandle
    ) -> asyncio.Task[None]:
        """From now on a task of its own sees to the invocation's end: its caller has the answer, or has gone away."""
        run.handed_over = True
        return self._spawn(self._finish(run, session, pending, timer))

    async def _finish(self, run: _Run, session: Session, pending: PendingResponse, timer: asyncio.TimerHandle) -> None:
        """Waits until runtime and extensions ask for their next event; then the environment is free again."""
        await pending.runtime_done()
        timer.cancel()
        try:
            if self._fatal is None:
                self._finished(run, session, await pending)
                return
            failure = self._fatal
        except Exception as error:  # nobody awaits this: environment and lease must not be lost
            log.error("an environment of %s broke", self.version.qualified_arn, exc_info=error)
            failure = failures.INTERRUPTED
        self._end_failed(run, failure)

    def _finished(self, run: _Run, session: Session, response: RuntimeResponse) -> None:
        self.finishing = False
        fault = response.error
        self._report(run, session, Failure("error", fault.error_type, b"") if fault else None)
        self._move(EnvironmentEvent.FINISHED)
        run.release(self)

    def _failed(self, run: _Run) -> Outcome:
        """For a caller who waits. Raises AwsError ServiceException when it was not the function's failure."""
        failure = self._fatal or failures.INTERRUPTED
        outcome = self._end_failed(run, failure)
        if failure.status == "failure":
            raise service_fault("The execution environment was ended while it ran the function.")
        return outcome

    def _end_failed(self, run: _Run, failure: Failure) -> Outcome:
        """Reports a failed invocation, ends the environment and builds the answer."""
        self.finishing = False
        session = self._session
        self._spawn(self._end_and_release(run, "timeout" if failure.status == "timeout" else "failure"))
        if session is not None:
            session.pump.drain()
        if failure.log_text is not None:
            self._log.say(failure.log_text)
        self._report(run, session, failure)
        return Outcome(
            payload=failure.payload,
            executed_version=self.version.version,
            request_id=run.invocation.request_id,
            function_error="Unhandled",
            log_tail=run.log_tail,
        )

    async def _end_and_release(self, run: _Run, reason: str) -> None:
        try:
            await self.stop(reason)
        finally:
            run.release(self)

    # its log

    def _report(self, run: _Run, session: Session | None, failure: Failure | None) -> None:
        duration_ms = run.elapsed_ms()
        if failure is not None and failure.status == "timeout":
            duration_ms = min(duration_ms, self.version.timeout_s * 1000.0)
        init_ms, self._init_duration_ms = self._init_duration_ms, None
        report = loglines.InvocationReport(
            request_id=run.invocation.request_id,
            duration_ms=duration_ms,
            memory_mib=self.version.memory_mib,
            max_memory_used_mib=_peak_mib(session) if session is not None else self._failed_peak_mib,
            init_duration_ms=init_ms,
            status=failure.status if failure else "success",
            error_type=failure.error_type if failure and failure.status != "timeout" else None,
        )
        if session is not None:
            session.pump.drain()
        self._publish([loglines.runtime_done(report), loglines.reported(report)])
        run.log_tail = self._log.take_tail()

    def _publish(self, events: Sequence[loglines.PlatformEvent]) -> None:
        self._log.publish(events, self._session.api if self._session is not None else None)

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


class _Run:
    """One invocation's way through an environment."""

    __slots__ = ("_begun", "_clock", "_release", "_released", "handed_over", "invocation", "log_tail")

    def __init__(self, invocation: Invocation, clock: Clock, release: Release) -> None:
        self.invocation = invocation
        self.log_tail: bytes | None = None
        self.handed_over = False  # a background task will end it
        self._clock = clock
        self._begun = clock.monotonic()
        self._release = release
        self._released = False

    def elapsed_ms(self) -> float:
        return (self._clock.monotonic() - self._begun) * 1000

    def release(self, environment: Environment) -> None:
        if not self._released:
            self._released = True
            self._release(environment)


def _trace_header(incoming: str | None) -> str:
    """The trace that an invocation belongs to; a new, unsampled one where the caller has none."""
    if incoming:
        return incoming
    return f"Root=1-{int(time.time()):08x}-{random.getrandbits(96):024x};Parent={random.getrandbits(64):016x};Sampled=0"


def _peak_mib(session: Session) -> int:
    return math.ceil(session.cage.peak_memory_bytes() / MIB)

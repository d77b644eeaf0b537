"""One execution environment: what AWS promises of it, on top of a session.

Init runs once, for at most ten seconds; if it fails, it runs again inside the first invocation, and that one's caller
is told. A timeout or a runtime that ends takes the environment with it. Each environment writes one log stream.
"""

from __future__ import annotations

import asyncio
import collections
import logging
import math
import os
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import attrs
import msgspec

from lambent.invoke.applog import ApplicationLog
from lambent.invoke.logpump import LogPump, Origin
from lambent.invoke.session import EndpointServer, RuntimeExited, Session, exit_error_type
from lambent.invoke.variables import environment_variables
from lambent.model import loglines
from lambent.model.cage import EnvironmentSpec, ProcessExit, RuntimeInstallation
from lambent.model.errors import EntrypointError, LambentError, SandboxError, service_fault
from lambent.model.function import FunctionVersion
from lambent.model.invocation import Invocation, Outcome
from lambent.model.lifecycle import EnvironmentEvent, EnvironmentState, after
from lambent.model.limits import INIT_PHASE_S, LOG_TAIL_BYTES, MIB
from lambent.ports import Blobs, Cage, Clock, LogSink, Sandbox
from lambent.runtimeapi.api import EnvironmentApi
from lambent.runtimeapi.logframes import FrameDecoder, LineDecoder, LogRecord
from lambent.runtimeapi.runtime import PendingResponse
from lambent.runtimeapi.values import InitFailed, RuntimeCall, RuntimeResponse

log = logging.getLogger(__name__)

InstallationFor = Callable[[FunctionVersion], Awaitable[RuntimeInstallation]]
"""What runs this version. Raises AwsError when the machine has no such interpreter."""

Release = Callable[["Environment"], None]
Phase = Literal["init", "invoke"]
_PLATFORM_ERRORS: Final = frozenset(
    {"Runtime.ExitError", "Runtime.OutOfMemory", "Runtime.InvalidEntrypoint", "Sandbox.Timedout"}
)
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


@attrs.frozen
class Failure:
    """Why an invocation or an init did not succeed, as log and caller are told."""

    status: loglines.Status  # "error", "failure" or "timeout"
    error_type: str
    payload: bytes  # JSON: errorMessage, errorType …
    log_text: str | None = None  # said in the log before END


class Environment:
    """Made by the pool; `start`, then `run` any number of times, then `stop`."""

    def __init__(self, version: FunctionVersion, surroundings: Surroundings) -> None:
        self.version = version
        self.id = os.urandom(16).hex()
        self.state = EnvironmentState.LAUNCHING
        self.idle_since = 0.0  # monotonic seconds; kept by the pool
        self.finishing = False  # it has answered, and will be free in a moment
        self._around = surroundings
        self._clock = surroundings.clock
        self._format = loglines.LineFormat.of(version.logging)
        self._own_log = ApplicationLog(version.logging)
        self._log_stream = loglines.log_stream_name(self._now_ms(), version.version, self.id)
        self._spec: EnvironmentSpec | None = None
        self._session: Session | None = None
        self._init_duration_ms: float | None = None  # until the first REPORT has told it
        self._fatal: Failure | None = None  # what ended, or is ending, the invocation under way and this environment
        self._request_id = ""  # of the invocation under way
        self._tail: collections.deque[str] | None = None
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
                await self._initialise(INIT_PHASE_S, "init")
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
        if self.state is EnvironmentState.FROZEN and self._session is not None:
            self._session.cage.thaw()
        self._move(EnvironmentEvent.INVOKED)
        run = _Run(invocation, self._clock, release)
        self._request_id = invocation.request_id
        self._tail = collections.deque() if invocation.want_log_tail else None
        self._publish([loglines.started(invocation.request_id, self.version.version)])
        try:
            return await self._run(run)
        except asyncio.CancelledError:
            if not run.handed_over:
                await self._end_failed(run, Failure("failure", "Runtime.Unknown", b""))
            raise
        except (SandboxError, OSError) as error:
            log.error("an environment of %s broke: %s", self.version.qualified_arn, error)
            await self._end_failed(run, Failure("failure", "Sandbox.Failure", b""))
            raise service_fault(f"Lambent could not run the function: {error}") from error

    def freeze(self) -> None:
        if self.state is EnvironmentState.IDLE and self._session is not None:
            self._move(EnvironmentEvent.FROZE)
            self._session.cage.freeze()

    async def stop(self, reason: str) -> None:
        """Ends every process of it. Safe to call twice."""
        if self.state in (EnvironmentState.STOPPING, EnvironmentState.GONE):
            return
        self._move(EnvironmentEvent.STOP)
        session, self._session = self._session, None
        try:
            if session is not None:
                await session.close(reason, self._clock)
        finally:
            self._move(EnvironmentEvent.ENDED)

    # init

    async def describe(self) -> EnvironmentSpec:
        """What the sandbox is asked for. Raises AwsError, SandboxError."""
        version, around = self.version, self._around
        installation = await around.installation_for(version)
        if version.code_digest is None:
            raise service_fault(f"{version.qualified_arn} has no code that can be run here.")
        code_dir = await around.blobs.unpacked(version.code_digest)
        layers_dir = await around.blobs.merged_layers([layer.digest for layer in version.layers])
        variables = environment_variables(version, installation, self._log_stream, around.credentials_for(version))
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
        assert self._spec is not None
        begun = self._clock.monotonic()
        session = await Session.open(
            sandbox=self._around.sandbox,
            spec=self._spec,
            version=self.version,
            observer=self,
            pump_to=self._pump_to,
            serve_endpoint=self._around.serve_endpoint,
        )
        self._publish_init_start(session, phase)
        try:
            async with asyncio.timeout(limit_s):
                await session.initialise()
        except (TimeoutError, RuntimeExited, InitFailed, EntrypointError) as error:
            duration_ms = (self._clock.monotonic() - begun) * 1000
            session.pump.drain()
            failure = self._init_failure(error, limit_s)
            self._report_init(session, duration_ms, failure, phase)
            await session.close("timeout" if failure.status == "timeout" else "failure", self._clock)
            raise _InitFailure(failure) from error
        except BaseException:
            await session.close("failure")
            raise
        duration_ms = (self._clock.monotonic() - begun) * 1000
        session.pump.drain()
        session.on_runtime_exit = self._runtime_exited
        self._report_init(session, duration_ms, None, phase)
        self._session = session
        if phase == "init":
            self._init_duration_ms = duration_ms

    def _publish_init_start(self, session: Session, phase: Phase) -> None:
        installation = self.version.runtime
        assert self._spec is not None
        exact = self._spec.installation
        event = loglines.init_started(
            function_name=self.version.name,
            function_version=self.version.version,
            runtime_version=f"{exact.family}:{exact.version}" if exact.family != "provided" else None,
            runtime_version_arn=f"arn:aws:lambda:{self.version.region}::runtime:{installation}",
            phase=phase,
        )
        self._publish([event], session)

    def _report_init(self, session: Session, duration_ms: float, failure: Failure | None, phase: Phase) -> None:
        status = failure.status if failure else "success"
        error_type = failure.error_type if failure and failure.status != "timeout" else None
        done = loglines.init_runtime_done(status, error_type, phase=phase)
        self._publish([done, loglines.init_reported(duration_ms, status, error_type, phase=phase)], session)

    def _init_failure(self, error: Exception, limit_s: float) -> Failure:
        if isinstance(error, InitFailed):
            return Failure("error", error.error_type, error.payload)
        if isinstance(error, RuntimeExited):
            error_type = exit_error_type(error.process_exit)
            return Failure("error", error_type, _error_json(error_type, f"Error: {error}"))
        if isinstance(error, EntrypointError):
            text = f"Error: {error}"
            return Failure("error", "Runtime.InvalidEntrypoint", _error_json("Runtime.InvalidEntrypoint", text))
        message = f"Error: Task timed out after {limit_s:.2f} seconds"
        return Failure("timeout", "Sandbox.Timedout", _error_json("Sandbox.Timedout", message))

    def _failed_for(self, failure: Failure, request_id: str) -> Failure:
        """An exit or a timeout of the init names the request that had to wait for it; a posted error stays as it is."""
        body = msgspec.json.decode(failure.payload) if failure.error_type in _PLATFORM_ERRORS else None
        if not isinstance(body, dict):
            return failure
        message = f"RequestId: {request_id} {body['errorMessage']}"
        if failure.status == "timeout":
            text = loglines.timeout_line(request_id, self.version.timeout_s, self._format, self._now_ms())
        else:
            text = None if self._format.is_json else f"{message}\n{failure.error_type}"
        return attrs.evolve(failure, payload=_error_json(failure.error_type, message), log_text=text)

    # an invocation

    async def _run(self, run: _Run) -> Outcome:
        invocation, timeout_s = run.invocation, self.version.timeout_s
        if self._session is None:
            try:
                await self._initialise(timeout_s, "invoke")
            except _InitFailure as failed:
                return await self._end_failed(run, self._failed_for(failed.failure, invocation.request_id))
        session = self._session
        assert session is not None
        left_s = max(0.0, timeout_s - run.elapsed_ms() / 1000)
        pending = session.api.invoke(self._call(invocation, left_s))
        timer = asyncio.get_running_loop().call_later(left_s, self._time_out, invocation.request_id)
        try:
            response = await pending
        except asyncio.CancelledError:
            run.handed_over = True
            self._spawn(self._finish(run, session, pending, timer))
            raise
        if self._fatal is not None:
            timer.cancel()
            return await self._end_failed(run, self._fatal)
        if pending.finished:
            timer.cancel()
            self._finished(run, session, response)
        elif invocation.want_log_tail:  # the tail ends with REPORT, which needs the runtime to be done
            await self._finish(run, session, pending, timer)
        else:
            run.handed_over = self.finishing = True
            self._spawn(self._finish(run, session, pending, timer))
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

    def _time_out(self, request_id: str) -> None:
        text = f"Task timed out after {self.version.timeout_s:.2f} seconds"
        self._fail(
            Failure(
                "timeout",
                "Sandbox.Timedout",
                _error_json("Sandbox.Timedout", f"RequestId: {request_id} Error: {text}"),
                loglines.timeout_line(request_id, self.version.timeout_s, self._format, self._now_ms()),
            )
        )

    def _runtime_exited(self, process_exit: ProcessExit) -> None:
        """In an invocation its caller is told; between two of them nobody is, and the environment is replaced."""
        if self.state is not EnvironmentState.BUSY:
            self._spawn(self.stop("failure"))
            return
        request_id = self._request_id
        error_type = exit_error_type(process_exit)
        self._fail(
            Failure(
                "error",
                error_type,
                _error_json(error_type, loglines.exit_error_message(request_id, process_exit.of_runtime)),
                loglines.exit_error_line(request_id, process_exit.of_runtime, self._format, error_type),
            )
        )

    def _fail(self, failure: Failure) -> None:
        """Ends the invocation under way, whatever it waits for; whoever waits finds the failure."""
        if self._fatal is None and self._session is not None:
            self._fatal = failure
            self._session.api.fail_current(failure.error_type, failure.payload)

    async def _finish(self, run: _Run, session: Session, pending: PendingResponse, timer: asyncio.TimerHandle) -> None:
        """Waits until runtime and extensions ask for their next event; then the environment is free again.

        The caller may have its answer, or may have gone away; the function runs on in both cases, as at AWS.
        """
        await pending.runtime_done()
        timer.cancel()
        if self._fatal is not None:
            await self._end_failed(run, self._fatal)
            return
        self._finished(run, session, await pending)

    def _finished(self, run: _Run, session: Session, response: RuntimeResponse) -> None:
        self.finishing = False
        fault = response.error
        self._report(run, session, Failure("error", fault.error_type, b"") if fault else None)
        self._move(EnvironmentEvent.FINISHED)
        run.release(self)

    async def _end_failed(self, run: _Run, failure: Failure) -> Outcome:
        """Reports a failed invocation, ends the environment and builds the answer."""
        session = self._session
        if session is not None:
            session.pump.drain()
        if failure.log_text is not None:
            self._log(self._now_ms(), failure.log_text)
        self._report(run, session, failure)
        self._spawn(self._end_and_release(run, "timeout" if failure.status == "timeout" else "failure"))
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
        except (SandboxError, OSError) as error:
            log.error("an environment of %s did not end cleanly: %s", self.version.qualified_arn, error)
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
            max_memory_used_mib=_peak_mib(session),
            init_duration_ms=init_ms,
            status=failure.status if failure else "success",
            error_type=failure.error_type if failure and failure.status != "timeout" else None,
        )
        if session is not None:
            session.pump.drain()
        self._publish([loglines.runtime_done(report), loglines.reported(report)], session)
        if self._tail is not None:
            run.log_tail = _last_bytes(self._tail)
            self._tail = None

    def _publish(self, events: Sequence[loglines.PlatformEvent], session: Session | None = None) -> None:
        """Platform events, to the log and to those that subscribed to them."""
        now_ms = self._now_ms()
        lines = [loglines.line(event, now_ms, self._format) for event in events]
        self._append([(now_ms, text) for text in lines if text is not None])
        session = session or self._session
        if session is not None and session.api.wants_telemetry:
            for event in events:
                session.api.publish_platform(event.type, dict(event.record))

    def on_platform_event(self, event_type: str, record: dict[str, Any]) -> None:
        """What only the API sees: extensions and subscriptions. Implements EnvironmentObserver."""
        now_ms = self._now_ms()
        text = loglines.line(loglines.observed(event_type, record), now_ms, self._format)
        if text is not None:
            self._log(now_ms, text)

    def _pump_to(self, cage: Cage, api: EnvironmentApi, has_extensions: bool) -> LogPump:
        def emit(origin: Origin, records: Sequence[LogRecord]) -> None:
            now_ms = self._now_ms()
            if not self._format.is_json and not api.wants_telemetry:
                self._append([(record.timestamp_ms or now_ms, record.text) for record in records])
                return
            read = [(record.timestamp_ms or now_ms, record, self._own_log.document(record)) for record in records]
            self._append([(at_ms, r.text) for at_ms, r, document in read if self._own_log.wants(r, document)])
            if api.wants_telemetry:
                for at_ms, record, document in read:
                    api.publish_log(origin, at_ms / 1000, record.text if document is None else document)

        version, logs = self.version, self._around.logs
        sources: dict[int, tuple[Origin, LineDecoder | FrameDecoder]] = {
            cage.output_fd: ("function", LineDecoder()),
            cage.log_fd: ("function", FrameDecoder()),
        }
        if has_extensions:
            sources[cage.extension_output_fd] = ("extension", LineDecoder())
        return LogPump(
            sources,
            emit,
            lambda: logs.drained(version.account_id, version.region, version.log_group),
        )

    def _log(self, now_ms: int, text: str) -> None:
        self._append([(now_ms, text)])

    def _append(self, events: list[tuple[int, str]]) -> None:
        if not self._format.is_json:  # AWS's text events end with their newline, its JSON ones do not
            events = [(at_ms, text if text[-1:] == "\n" else text + "\n") for at_ms, text in events]
        version = self.version
        self._around.logs.append(version.account_id, version.region, version.log_group, self._log_stream, events)
        if self._tail is not None:
            self._tail.extend(text for _, text in events)
            _trim(self._tail)

    # small parts

    def _move(self, event: EnvironmentEvent) -> None:
        self.state = after(self.state, event)

    def _now_ms(self) -> int:
        return int(self._clock.now() * 1000)

    def _spawn(self, coroutine: collections.abc.Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


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


def _error_json(error_type: str, message: str) -> bytes:
    return msgspec.json.encode({"errorType": error_type, "errorMessage": message})


def _trace_header(incoming: str | None) -> str:
    """The trace that an invocation belongs to; a new, unsampled one where the caller has none."""
    if incoming:
        return incoming
    return f"Root=1-{int(time.time()):08x}-{random.getrandbits(96):024x};Parent={random.getrandbits(64):016x};Sampled=0"


def _peak_mib(session: Session | None) -> int:
    return math.ceil(session.cage.peak_memory_bytes() / MIB) if session is not None else 0


def _trim(tail: collections.deque[str]) -> None:
    size = sum(len(text) for text in tail)
    while len(tail) > 1 and size - len(tail[0]) > LOG_TAIL_BYTES:
        size -= len(tail.popleft())


def _last_bytes(tail: collections.deque[str]) -> bytes:
    text = "".join(line if line.endswith("\n") else line + "\n" for line in tail)
    return text.encode()[-LOG_TAIL_BYTES:]

"""The socket of one execution environment's API.

Whoever connects to the listener is inside that environment: there is no other way to it, so nobody needs to say who he is.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from lambent.http1.application import BodyReceiver
from lambent.http1.lobby import Lobby
from lambent.http1.request import HeaderList, Request
from lambent.http1.server import Server
from lambent.model.cage import ProcessExit
from lambent.model.limits import MIB
from lambent.runtimeapi.answers import Collected, method_not_allowed, not_found, refuse
from lambent.runtimeapi.credentials import CREDENTIALS_TARGET, IssuedForOne, answer_credentials
from lambent.runtimeapi.extensions import ExtensionEndpoints, FunctionMetadata
from lambent.runtimeapi.protocol import ExtensionState, RuntimeState
from lambent.runtimeapi.runtime import SMALL_BODY_MAX_BYTES, TOO_LARGE, PendingResponse, RuntimeEndpoints
from lambent.runtimeapi.telemetry import Connect, TelemetryEndpoints
from lambent.runtimeapi.values import EnvironmentObserver, InitFailed, RuntimeCall, RuntimeFault, RuntimeResponse

NEXT_TARGET: Final = b"/2018-06-01/runtime/invocation/next"
INVOCATION_PREFIX: Final = b"/2018-06-01/runtime/invocation/"
CONNECTIONS_MAX: Final = 64  # of one environment: a runtime, ten extensions, and room for careless ones
HELD_MAX_BYTES: Final = 16 * MIB  # of one environment: twice the largest event or response, and room

_READY, _GONE = RuntimeState.READY, RuntimeState.GONE  # every invocation asks; an Enum's own look-up is slow

Endpoint = Callable[[Request], None]


class EnvironmentApi:
    """One environment's Runtime, Extensions and Telemetry APIs, and the platform's hold on them.

    `arn` is the function's, unqualified. `connect(port)` opens a connection to a port inside the environment, for
    telemetry; without it subscriptions are answered as AWS answers where telemetry is not supported. `now()` is epoch seconds.
    `issued` are credentials for an environment that has none in its variables.
    """

    body_max_bytes = 1 << 50  # `body_receiver` takes whatever is not small, and bounds it

    def __init__(
        self,
        *,
        function_name: str,
        function_version: str,
        handler: str,
        account_id: str,
        arn: str,
        observer: EnvironmentObserver,
        connect: Connect | None = None,
        now: Callable[[], float] = time.time,
        issued: IssuedForOne | None = None,
    ) -> None:
        self.arn = arn
        self._issued = issued
        self._observer = observer
        self._server = Server(self, connections_max=CONNECTIONS_MAX, lobby=Lobby(bytes_max=HELD_MAX_BYTES))
        self._runtime = RuntimeEndpoints(function_version, self._progress, self._runtime_init_failed)
        metadata = FunctionMetadata(
            function_name=function_name, function_version=function_version, handler=handler, account_id=account_id
        )
        self._extensions = ExtensionEndpoints(metadata, self._progress, self._extension_failed, self._observed)
        self._telemetry = TelemetryEndpoints(self._extensions.identify, self._observed, connect, now)
        self._initialised = asyncio.Event()
        self._on_initialised: Callable[[], None] | None = None
        self._init_failure: InitFailed | None = None
        self._changed = asyncio.Event()
        # Called when an extension ends, or says that it does, after init and before `shutdown`: that ends the environment.
        self.on_extension_fault: Callable[[RuntimeFault], None] | None = None
        self._routes = self._table()

    # the platform's side

    async def serve(self, listener: socket.socket) -> None:
        """Answers on a listening socket, which it owns from now on."""
        await self._server.serve(listener)

    def expect_extensions(self, names: Sequence[str]) -> None:
        """External extensions that are about to be started, by their file names."""
        for name in names:
            self._extensions.registry.expect(name)

    async def extensions_registered(self) -> None:
        """Returns when every expected extension has registered; AWS starts the runtime then. Raises InitFailed."""
        await self._until(lambda: self._init_failure is not None or self._extensions.registry.all_registered)
        if self._init_failure is not None:
            raise self._init_failure

    async def initialised(self) -> None:
        """Returns at the runtime's first /next with every extension waiting in its own.

        Raises InitFailed when the runtime reports that it could not start, or an extension ends. Limits of time and the
        end of the runtime's process are the caller's.
        """
        await self._initialised.wait()
        if self._init_failure is not None:
            raise self._init_failure

    @property
    def is_initialised(self) -> bool:
        """Whether `initialised` would return, or raise, at once."""
        return self._initialised.is_set()

    def when_initialised(self, callback: Callable[[], None]) -> None:
        """Calls it then; a cold start waits for that, and for nothing that a task would have to be woken for."""
        self._on_initialised = callback
        if self._initialised.is_set():
            callback()

    def invoke(self, call: RuntimeCall) -> PendingResponse:
        """Hands an event to the runtime and to the extensions that asked for it.

        Only once the invocation before is done (`PendingResponse.runtime_done`); raises RuntimeError otherwise. A runtime
        that does not wait in /next right now gets it when it comes.
        """
        pending, state = self._runtime.pending, self._runtime.protocol.state
        if state is _GONE:
            raise RuntimeError("the runtime of this environment has ended")
        if pending is not None and not pending.finished:
            raise RuntimeError("an environment works on one invocation at a time")
        if self._extensions.registry.by_name:  # before the runtime's own, whose answer could otherwise come first
            self._extensions.announce(call)
        return self._runtime.offer(call)

    def fail_current(self, error_type: str, payload: bytes) -> None:
        """Ends the invocation under way with a fault: its process died, or its time is up.

        The runtime is refused everything from now on. Without an invocation only that happens.
        """
        self._runtime.fail(RuntimeFault(error_type, payload))

    def extension_exited(self, name: str, process_exit: ProcessExit | None = None) -> RuntimeFault | None:
        """The process of an external extension has ended.

        Unless it was told to shut down, that is the end of the environment, and its fault is returned: Extension.Crash,
        or Extension.InitError or Extension.ExitError if it said so before. The message does not name the request. During
        init `initialised` raises it; afterwards `on_extension_fault` is told, and it is for the caller to fail the
        invocation with it.
        """
        self._telemetry.unsubscribe(name)
        return self._extensions.exited(name, process_exit)

    def extension_not_started(self, name: str, error_type: str) -> None:
        """The executable of an expected extension could not be executed: says so in the log and to subscribers."""
        record = {"name": name, "state": "LaunchError", "events": [], "errorType": error_type}
        self._observed("platform.extension", record)

    @property
    def has_internal_extensions(self) -> bool:
        """Whether something inside the runtime's process has registered."""
        return any(not extension.external for extension in self._extensions.registry.by_name.values())

    async def shutdown(self, reason: str, deadline_ms: int) -> None:
        """Gives SHUTDOWN to the extensions that asked for it, and waits until each has called next again or has exited.

        `reason` is "spindown", "timeout" or "failure"; `deadline_ms` is epoch time. The caller bounds the wait.
        """
        told = self._extensions.announce_shutdown(reason, deadline_ms)
        await self._until(lambda: all(not e.alive or e.state is ExtensionState.READY for e in told))

    @property
    def wants_telemetry(self) -> bool:
        """Whether anybody has subscribed, or still may; if not, publishing can be left out."""
        return self._telemetry.is_wanted

    def publish_platform(self, event_type: str, record: dict[str, Any]) -> None:
        """A platform event ("platform.start") for the telemetry subscriptions."""
        self._telemetry.publish("platform", event_type, record, None)

    def publish_log(self, kind: str, timestamp_s: float, record: str | dict[str, Any]) -> None:
        """A log line of the "function" or an "extension"; `timestamp_s` is seconds since the epoch."""
        self._telemetry.publish(kind, kind, record, timestamp_s)

    @property
    def telemetry_is_pending(self) -> bool:
        """Whether something waits to be delivered, or is being delivered."""
        return self._telemetry.is_pending

    async def flush_telemetry(self) -> None:
        """Waits until the subscribers have what is buffered. The caller bounds the wait."""
        await self._telemetry.flush()

    def close(self) -> None:
        """Ends everything; an invocation still under way fails with Runtime.ExitError."""
        self._runtime.fail(RuntimeFault("Runtime.ExitError", b'{"errorType":"Runtime.ExitError"}'))
        self._telemetry.close()
        self._server.close()

    # Application

    def body_receiver(self, request: Request) -> BodyReceiver | None:
        if request.content_length is None:
            if request.header(b"transfer-encoding") is None:
                return None
        elif request.content_length <= SMALL_BODY_MAX_BYTES:
            return None
        endpoint = self._endpoint(request)
        if endpoint == self._runtime.response:
            return self._runtime.receiver(request, error=False)
        if endpoint == self._runtime.error:
            return self._runtime.receiver(request, error=True)
        return Collected(request, SMALL_BODY_MAX_BYTES, _whole(endpoint), _refuse_large, _nothing)

    def request(self, request: Request) -> None:
        if request.target == NEXT_TARGET and request.method == b"GET":
            self._runtime.next(request)
        else:
            self._endpoint(request)(request)

    def too_large(self, request: Request) -> None:
        refuse(request, TOO_LARGE)

    # inside

    def _table(self) -> dict[bytes, tuple[bytes, Endpoint]]:
        """The protocol's contents: path, method, endpoint. Besides these: invocation/{id}/response and …/error."""
        runtime, extensions, telemetry = self._runtime, self._extensions, self._telemetry
        return {
            NEXT_TARGET: (b"GET", runtime.next),
            b"/2018-06-01/runtime/init/error": (b"POST", runtime.init_error),
            b"/2018-06-01/runtime/restore/error": (b"POST", runtime.init_error),  # of an environment that is restored
            CREDENTIALS_TARGET: (b"GET", lambda request: answer_credentials(request, self._issued)),
            b"/2018-06-01/ping": (b"GET", _pong),
            b"/2020-01-01/extension/register": (b"POST", extensions.register),
            b"/2020-01-01/extension/event/next": (b"GET", extensions.next),
            b"/2020-01-01/extension/init/error": (b"POST", extensions.init_error),
            b"/2020-01-01/extension/exit/error": (b"POST", extensions.exit_error),
            b"/2022-07-01/telemetry": (b"PUT", telemetry.subscribe),
            b"/2020-08-15/logs": (b"PUT", telemetry.subscribe_logs),
        }

    def _endpoint(self, request: Request) -> Endpoint:
        path = request.target.partition(b"?")[0]
        found = self._routes.get(path)
        if found is None:
            found = self._invocation_route(path)
        if found is None:
            return not_found
        method, endpoint = found
        return endpoint if request.method == method else method_not_allowed

    def _invocation_route(self, path: bytes) -> tuple[bytes, Endpoint] | None:
        if not path.startswith(INVOCATION_PREFIX):
            return None
        request_id, _, verb = path[len(INVOCATION_PREFIX) :].partition(b"/")
        if not request_id:
            return None
        if verb == b"response":
            return b"POST", self._runtime.response
        return (b"POST", self._runtime.error) if verb == b"error" else None

    def _progress(self, response: RuntimeResponse | None = None) -> None:
        """Something came to its /next, or went: looks whether all are there. `response`: see `Ready`."""
        if self._runtime.protocol.state is _READY:
            # AWS lets nobody register once the runtime's own init is over.
            registry = self._extensions.registry
            registry.open = False
            if not registry.by_name or registry.all_ready:
                if not self._initialised.is_set():
                    self._init_is_over()
                    self._telemetry.close_subscriptions()
                pending = self._runtime.pending
                if pending is not None and (response is not None or pending.answered):
                    pending.finish(response)
        self._changed.set()

    def _runtime_init_failed(self, error_type: str, payload: bytes) -> None:
        self._fail_init(InitFailed(error_type, payload))

    def _extension_failed(self, fault: RuntimeFault) -> None:
        if self._initialised.is_set() and self.on_extension_fault is not None:
            self.on_extension_fault(fault)
        self._fail_init(InitFailed(fault.error_type, fault.payload, by_platform=True))

    def _fail_init(self, failure: InitFailed) -> None:
        if not self._initialised.is_set():
            self._init_failure = failure
            self._init_is_over()
        self._changed.set()

    def _init_is_over(self) -> None:
        self._initialised.set()
        if self._on_initialised is not None:
            self._on_initialised()

    def _observed(self, event_type: str, record: dict[str, Any]) -> None:
        self._observer.on_platform_event(event_type, record)
        self.publish_platform(event_type, record)

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()


def _pong(request: Request) -> None:
    request.respond(200, (), b"pong")


def _whole(endpoint: Endpoint) -> Callable[[Request, HeaderList], None]:
    return lambda request, trailers: endpoint(request)


def _refuse_large(request: Request) -> None:
    refuse(request, TOO_LARGE)


def _nothing() -> None:
    pass

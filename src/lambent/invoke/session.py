"""One cage with the API that its processes speak and the log that they write: a runtime from its start to its end.

An environment has one session at a time. When a runtime's init fails, Lambda starts it anew inside the first
invocation; that is a second session of the same environment.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from lambent.invoke.logpump import LogPump
from lambent.model.cage import EnvironmentSpec, ProcessExit
from lambent.model.errors import EntrypointError, LambentError, SandboxError
from lambent.model.function import FunctionVersion
from lambent.model.limits import (
    EXTENSIONS_MAX,
    SHUTDOWN_EXTERNAL_EXTENSION_MS,
    SHUTDOWN_INTERNAL_EXTENSION_MS,
    SHUTDOWN_NO_EXTENSION_MS,
)
from lambent.ports import Cage, Clock, Sandbox
from lambent.runtimeapi.api import EnvironmentApi
from lambent.runtimeapi.credentials import IssuedForOne
from lambent.runtimeapi.telemetry import Connect
from lambent.runtimeapi.values import EnvironmentObserver, InitFailed, RuntimeFault

log = logging.getLogger(__name__)

RUNTIME: Final = "runtime"
EXTENSIONS_DIR: Final = "/opt/extensions"
LAST_WORDS_S: Final = 0.1
# Of the Shutdown phase: how long a runtime that was told to end may take before extensions are told. The Runtime
# Interface Emulator's runtimeDeadlineShare.
RUNTIME_SHARE: Final = 0.3
LAST_TELEMETRY_S: Final = 0.5  # of the Shutdown phase: for subscribers to take what is buffered


class RuntimeExited(LambentError):
    """The runtime process ended while it was starting."""

    def __init__(self, process_exit: ProcessExit) -> None:
        super().__init__(process_exit.of_runtime)
        self.process_exit = process_exit


def exit_error_type(process_exit: ProcessExit) -> str:
    return "Runtime.OutOfMemory" if process_exit.out_of_memory else "Runtime.ExitError"


class Closable(Protocol):
    def close(self) -> None: ...


EndpointServer = Callable[[socket.socket, FunctionVersion], Awaitable[Closable]]
"""Serves Lambent's own endpoint on a listener inside a cage; the function version says who is calling."""

PumpTo = Callable[[Cage, EnvironmentApi, bool], LogPump]
"""Carries what a cage's processes print to the log; the last argument says whether there are external extensions."""


def external_extensions(layers_dir: Path | None) -> list[str]:
    """The files in a function's /opt/extensions, all of which Lambda tries to execute."""
    if layers_dir is None:
        return []
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(layers_dir / "extensions") as entries:
        return sorted(entry.name for entry in entries if entry.is_file())
    return []


class Session:
    """Made by `open`; ended by `close`, whatever happened between.

    Once `initialise` has returned, `on_runtime_exit` and `on_extension_fault` say what ended the environment.
    """

    def __init__(
        self, cage: Cage, api: EnvironmentApi, pump: LogPump, extensions: Sequence[str], began_s: float
    ) -> None:
        self.began_s = began_s  # monotonic: when the cage was there, and the runtime could begin in it
        self.cage = cage
        self.api = api
        self.pump = pump
        self.on_runtime_exit: Callable[[ProcessExit], None] | None = None
        self.on_extension_fault: Callable[[RuntimeFault], None] | None = None
        self._extensions = extensions
        self._endpoints: list[Closable] = []
        self._runtime_started = False
        self._exited: asyncio.Future[ProcessExit] = asyncio.get_running_loop().create_future()
        self._fault: RuntimeFault | None = None  # an extension's, after all were ready
        api.on_extension_fault = self._extension_faulted

    @classmethod
    async def open(
        cls,
        *,
        sandbox: Sandbox,
        clock: Clock,
        spec: EnvironmentSpec,
        version: FunctionVersion,
        observer: EnvironmentObserver,
        pump_to: PumpTo,
        serve_endpoint: EndpointServer | None,
        issued: IssuedForOne | None = None,
    ) -> Session:
        """Builds the cage and serves its listeners. Raises SandboxError.

        Without extensions, which come first, the runtime may run already, and waits for its listener to be served.
        """
        extensions = external_extensions(spec.layers_dir)
        cage = await sandbox.launch(spec, at_once=not extensions)
        began_s = clock.monotonic()
        served: list[Closable] = []
        try:
            api = EnvironmentApi(
                function_name=version.name,
                function_version=version.version,
                handler=version.handler or "",
                account_id=version.account_id,
                arn=version.arn,
                observer=observer,
                connect=_connect_to(cage),
                issued=issued,
            )
            served.append(api)
            await api.serve(cage.runtime_api)
            if serve_endpoint is not None and cage.endpoint is not None:
                served.append(await serve_endpoint(cage.endpoint, version))
            # Last, and then nothing is waited for: what has been printed already comes after INIT_START in the log.
            session = cls(cage, api, pump_to(cage, api, bool(extensions)), extensions, began_s)
        except BaseException:
            for server in served:
                server.close()
            await cage.destroy()
            raise
        session._endpoints = served[1:]
        cage.on_exit(session._process_exited)
        return session

    async def initialise(self) -> None:
        """Starts the extensions, then the runtime; returns when all of them ask for their first event.

        Raises RuntimeExited, InitFailed, EntrypointError, SandboxError. The caller bounds the time.
        """
        try:
            await self._start_extensions()
            self._runtime_started = True
            self.api.when_initialised(self.cage.runtime_has_spoken)
            await self.cage.start_runtime()
            await self._ready()
        finally:
            self.cage.end_boost()

    async def _start_extensions(self) -> None:
        if len(self._extensions) > EXTENSIONS_MAX:
            raise _init_failed("Extension.TooManyExtensions", f"Extension limit ({EXTENSIONS_MAX}) reached")
        self.api.expect_extensions(self._extensions)
        for name in self._extensions:
            try:
                await self.cage.start_extension(f"{EXTENSIONS_DIR}/{name}")
            except EntrypointError as error:
                self.api.extension_not_started(
                    name, "PermissionDenied" if error.reason == "permission denied" else "UnknownError"
                )
                raise _init_failed("Extension.LaunchError", str(error)) from error
        if self._extensions:
            await self.api.extensions_registered()

    async def _ready(self) -> None:
        settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def settle(_: object = None) -> None:
            if not settled.done():
                settled.set_result(None)

        self.api.when_initialised(settle)
        self._exited.add_done_callback(settle)
        await settled
        if not self.api.is_initialised:
            # What the runtime posted before it ended may still be on its way, and says more than its exit status.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORDS_S):
                    await self.api.initialised()
        if self.api.is_initialised:
            await self.api.initialised()
        # It may have ended since: from here on the owner is told, and until here nobody was.
        if self._exited.done():
            raise RuntimeExited(self._exited.result())
        if self._fault is not None:
            raise InitFailed(self._fault.error_type, self._fault.payload, by_platform=True)

    async def close(self, reason: str, clock: Clock | None = None) -> None:
        """Ends every process. With a clock, what AWS calls the Shutdown phase comes first.

        https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html, Shutdown phase
        """
        self.on_runtime_exit = self.on_extension_fault = None
        try:
            budget_ms = self._shutdown_budget_ms()
            if clock is not None and budget_ms:
                await self._shut_down(reason, int(clock.now() * 1000) + budget_ms, budget_ms / 1000)
            self.pump.drain()
        finally:
            for endpoint in self._endpoints:
                endpoint.close()
            self.api.close()
            self.pump.close()
            await self.cage.destroy()

    def _shutdown_budget_ms(self) -> int:
        if self._extensions:
            return SHUTDOWN_EXTERNAL_EXTENSION_MS
        return SHUTDOWN_INTERNAL_EXTENSION_MS if self.api.has_internal_extensions else SHUTDOWN_NO_EXTENSION_MS

    async def _shut_down(self, reason: str, deadline_ms: int, budget_s: float) -> None:
        """The runtime ends first, then the extensions are told. What has not ended when the time is up is killed."""
        try:
            self.cage.thaw()
            async with asyncio.timeout(budget_s):
                await self._end_runtime(budget_s * RUNTIME_SHARE if self._extensions else budget_s)
                self.pump.drain()
                await self.flush_telemetry(LAST_TELEMETRY_S)
                await self.api.shutdown(reason, deadline_ms)
        except TimeoutError:
            log.info("not everything in an environment of %s ended in time; it is killed", self.api.arn)
        except (SandboxError, OSError) as error:
            log.warning("an environment of %s could not be told of its end: %s", self.api.arn, error)

    async def _end_runtime(self, limit_s: float) -> None:
        if not self._runtime_started or self._exited.done():
            return
        await self.cage.terminate_runtime()
        await asyncio.wait({self._exited}, timeout=limit_s)
        if not self._exited.done():
            await self.cage.kill_runtime()

    async def flush_telemetry(self, limit_s: float) -> None:
        """Gives subscribers this long to take what is buffered."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self.api.flush_telemetry()

    def _process_exited(self, name: str, process_exit: ProcessExit) -> None:
        if name != RUNTIME:
            self.api.extension_exited(os.path.basename(name), process_exit)
            return
        if not self._exited.done():
            self._exited.set_result(process_exit)
        if self.on_runtime_exit is not None:
            self.on_runtime_exit(process_exit)

    def _extension_faulted(self, fault: RuntimeFault) -> None:
        self._fault = self._fault or fault
        if self.on_extension_fault is not None:
            self.on_extension_fault(fault)


def _connect_to(cage: Cage) -> Connect:
    async def connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            return await cage.connect(port)
        except SandboxError as error:
            raise ConnectionError(str(error)) from error

    return connect


def _init_failed(error_type: str, message: str) -> InitFailed:
    payload = json.dumps({"errorType": error_type, "errorMessage": f"Error: {message}"}).encode()
    return InitFailed(error_type, payload, by_platform=True)

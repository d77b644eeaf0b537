"""One cage with the API that its processes speak and the log that they write: a runtime from its start to its end.

An environment has one session at a time. When a runtime's init fails, Lambda starts it anew inside the first
invocation; that is a second session of the same environment.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from lambent.invoke.logpump import LogPump
from lambent.model.cage import EnvironmentSpec, ProcessExit
from lambent.model.errors import LambentError, SandboxError
from lambent.model.function import FunctionVersion
from lambent.model.limits import SHUTDOWN_EXTERNAL_EXTENSION_MS
from lambent.ports import Cage, Clock, Sandbox
from lambent.runtimeapi.api import EnvironmentApi
from lambent.runtimeapi.values import EnvironmentObserver

log = logging.getLogger(__name__)

RUNTIME: Final = "runtime"
EXTENSIONS_DIR: Final = "/opt/extensions"
LAST_WORDS_S: Final = 0.1


class RuntimeExited(LambentError):
    """The runtime process ended while it was starting."""

    def __init__(self, process_exit: ProcessExit) -> None:
        super().__init__(f"Runtime exited with error: {process_exit}")
        self.process_exit = process_exit


def exit_error_type(process_exit: ProcessExit) -> str:
    return "Runtime.OutOfMemory" if process_exit.out_of_memory else "Runtime.ExitError"


class Closable(Protocol):
    def close(self) -> None: ...


EndpointServer = Callable[[socket.socket, FunctionVersion], Awaitable[Closable]]
"""Serves Lambent's own endpoint on a listener inside a cage; the function version says who is calling."""


def external_extensions(layers_dir: Path | None) -> list[str]:
    """The executables in a function's /opt/extensions."""
    if layers_dir is None:
        return []
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(layers_dir / "extensions") as entries:
        return sorted(entry.name for entry in entries if entry.is_file() and os.access(entry.path, os.X_OK))
    return []


class Session:
    """Made by `open`; ended by `close`, whatever happened between."""

    def __init__(self, cage: Cage, api: EnvironmentApi, pump: LogPump, extensions: Sequence[str]) -> None:
        self.cage = cage
        self.api = api
        self.pump = pump
        self.on_runtime_exit: Callable[[ProcessExit], None] | None = None  # once it is ready
        self._extensions = extensions
        self._endpoint: Closable | None = None
        self._exited: asyncio.Future[ProcessExit] = asyncio.get_running_loop().create_future()

    @classmethod
    async def open(
        cls,
        *,
        sandbox: Sandbox,
        spec: EnvironmentSpec,
        version: FunctionVersion,
        observer: EnvironmentObserver,
        pump_to: Callable[[Cage, EnvironmentApi], LogPump],
        serve_endpoint: EndpointServer | None,
    ) -> Session:
        """Builds the cage and serves its listeners; the runtime has not been started. Raises SandboxError."""
        cage = await sandbox.launch(spec)
        session: Session | None = None
        try:
            api = EnvironmentApi(
                function_name=version.name,
                function_version=version.version,
                handler=version.handler or "",
                account_id=version.account_id,
                arn=version.arn,
                observer=observer,
            )
            session = cls(cage, api, pump_to(cage, api), external_extensions(spec.layers_dir))
            cage.on_exit(session._process_exited)
            await api.serve(cage.runtime_api)
            if serve_endpoint is not None and cage.endpoint is not None:
                session._endpoint = await serve_endpoint(cage.endpoint, version)
        except BaseException:
            await (session.close("failure") if session is not None else cage.destroy())
            raise
        return session

    async def initialise(self) -> None:
        """Starts the extensions, then the runtime; returns when all of them ask for their first event.

        Raises RuntimeExited, InitFailed, EntrypointError, SandboxError. The caller bounds the time.
        """
        self.api.expect_extensions(self._extensions)
        for name in self._extensions:
            await self.cage.start_extension(f"{EXTENSIONS_DIR}/{name}")
        if self._extensions:
            await self.api.extensions_registered()
        await self.cage.start_runtime()
        ready = asyncio.ensure_future(self.api.initialised())
        watched: set[asyncio.Future[Any]] = {ready, self._exited}
        try:
            await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            if not ready.done():
                # What the runtime posted before it ended may still be on its way, and says more than its exit status.
                await asyncio.wait({ready}, timeout=LAST_WORDS_S)
            if not ready.done():
                raise RuntimeExited(self._exited.result())
            ready.result()
        finally:
            ready.cancel()

    async def close(self, reason: str, clock: Clock | None = None) -> None:
        """Ends every process; extensions are told first and have their two seconds, as AWS gives them."""
        self.on_runtime_exit = None
        if self._extensions and clock is not None:
            await self._announce(reason, clock)
        self.pump.drain()
        if self._endpoint is not None:
            self._endpoint.close()
        self.api.close()
        self.pump.close()
        await self.cage.destroy()

    async def _announce(self, reason: str, clock: Clock) -> None:
        try:
            self.cage.thaw()
            async with asyncio.timeout(SHUTDOWN_EXTERNAL_EXTENSION_MS / 1000):
                await self.cage.terminate_runtime()
                await self.api.shutdown(reason, int(clock.now() * 1000) + SHUTDOWN_EXTERNAL_EXTENSION_MS)
                await self.api.flush_telemetry()
        except TimeoutError:
            log.info("extensions of %s did not finish in two seconds and are ended", self.api.arn)
        except (SandboxError, OSError) as error:
            log.warning("extensions of %s could not be told of the shutdown: %s", self.api.arn, error)

    def _process_exited(self, name: str, process_exit: ProcessExit) -> None:
        if name != RUNTIME:
            self.api.extension_exited(os.path.basename(name), process_exit)
            return
        if not self._exited.done():
            self._exited.set_result(process_exit)
        if self.on_runtime_exit is not None:
            self.on_runtime_exit(process_exit)

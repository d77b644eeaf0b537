"""The invocation's road, with what each environment is given."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Final

from lambent.app.preparing import Prepared, memory_reserve_mib
from lambent.app.stores import Stores
from lambent.config import Config
from lambent.control.credentials import SESSION_LIFETIME_S, IssuedCredentials
from lambent.control.vault import Vault
from lambent.front.gateway import Gateway
from lambent.http1.lobby import Lobby
from lambent.http1.server import Server
from lambent.invoke.admission import Admission, ReservedConcurrency
from lambent.invoke.bytecode import Bytecode
from lambent.invoke.environment import Environment
from lambent.invoke.invoker import Invoker
from lambent.invoke.original import Original
from lambent.invoke.pool import Pools
from lambent.invoke.provisioned import ProvisionedEnvironment, ProvisionedEnvironments
from lambent.invoke.restored import RestoredEnvironment
from lambent.invoke.room import Room
from lambent.invoke.session import Closable
from lambent.invoke.surroundings import Surroundings
from lambent.invoke.templates import Templates
from lambent.model.cage import RuntimeInstallation
from lambent.model.errors import AwsError, SandboxError
from lambent.model.function import FunctionVersion, State
from lambent.model.limits import MIB, TIMEOUT_MAX_S
from lambent.model.names import FunctionAddress
from lambent.ports import Clock, Sandbox, Telemetry
from lambent.runtimes.errors import RuntimeMissing, RuntimeNotUsable
from lambent.sandbox import descriptors
from lambent.sandbox.memory import MachineMemory, total_mib

log = logging.getLogger(__name__)

BUILD_POLL_S: Final = 0.05
ENDPOINT_CONNECTIONS_MAX: Final = 128  # of one environment to Lambent's own endpoint inside its cage
CONNECTIONS_SHARE: Final = 2  # of the files that may be open, this part is for clients and the rest for environments
HELD_SHARE: Final = 8  # of the machine's memory, this part is for requests and answers of clients who are slow


class Road:
    """The invocation's road, with what each environment is given."""

    def __init__(
        self,
        config: Config,
        prepared: Prepared,
        clock: Clock,
        stores: Stores,
        credentials: IssuedCredentials,
        sandbox: Sandbox,
        telemetry: Telemetry,
    ) -> None:
        self.gateway: Gateway | None = None
        self.lobby = Lobby(
            connections_max=descriptors.limit() // CONNECTIONS_SHARE, bytes_max=int(total_mib()) * MIB // HELD_SHARE
        )
        self.vault: Vault | None = None
        self._installations = prepared.installations
        self._builder = prepared.builder
        self._ready: dict[str, RuntimeInstallation] = {}  # by runtime id, complete
        self._catalog = catalog = stores.catalog
        self._sandbox = sandbox
        self._prepared: set[str] = set()  # runtime ids whose zygotes have been asked for
        self._preparing: set[asyncio.Task[None]] = set()
        catalog.subscribe(self._function_changed)
        self._around = around = Surroundings(
            sandbox=sandbox,
            blobs=stores.blobs,
            logs=stores.logs,
            clock=clock,
            installation_for=self._installation_for,
            credentials_for=credentials.for_function,
            variables_for=self._variables_for,
            serve_endpoint=self._serve_endpoint,
            internet=config.internet,
            telemetry=telemetry,
            initialised=lambda version, spec, duration_ms: self.bytecode.initialised(version, spec, duration_ms),
            environment_lifetime_s=SESSION_LIFETIME_S - TIMEOUT_MAX_S,
        )
        self.templates = Templates(
            catalog,
            lambda version: Original(version, around, config.snapstart_memory_mib),
            lambda version: self.pools.room_for(version),
            clock,
            config.snapstart_memory_mib,
        )
        self.pools = Pools(
            self._environment,
            clock,
            Room(MachineMemory(), reserve_mib=memory_reserve_mib(config), wait_s=float(config.memory_wait_s)),
            freeze_after_s=config.freeze_after_ms / 1000,
            idle_environment_s=float(config.idle_environment_s),
        )
        self.bytecode = Bytecode(around, self.pools.room_for, stores.blobs.add_bytecode)
        self.provisioned = ProvisionedEnvironments(
            catalog, self.pools, lambda version: ProvisionedEnvironment(version, around), clock
        )
        admission = Admission(ReservedConcurrency(catalog), config.account_concurrency, telemetry=telemetry)
        self.admission = admission
        self.invoker = Invoker(catalog, admission, self.pools)
        self.events_invoker = Invoker(catalog, admission.of_events(), self.pools)  # for what no client waits for

    def _environment(self, version: FunctionVersion) -> Environment:
        template = self.templates.find(version)
        if template is None:
            return Environment(version, self._around)
        return RestoredEnvironment(version, self._around, template, lambda: self.templates.drop(version))

    def _function_changed(self, account_id: str, region: str, name: str) -> None:
        """A new function's interpreter is made ready before anybody invokes it."""
        latest = self._catalog.latest(FunctionAddress(account_id, region, name))
        if latest is None or latest.state is not State.ACTIVE or latest.runtime is None:
            return
        if latest.runtime not in self._prepared:
            self._prepared.add(latest.runtime)
            task = asyncio.get_running_loop().create_task(self._prepare(latest))
            self._preparing.add(task)
            task.add_done_callback(self._preparing.discard)

    async def _prepare(self, version: FunctionVersion) -> None:
        try:
            await self._sandbox.prepare(await Environment(version, self._around).describe())
        except (AwsError, SandboxError, KeyError) as error:
            log.info("%s is not made ready ahead: %s", version.runtime, error)  # its first invocation will say it

    async def _installation_for(self, version: FunctionVersion) -> RuntimeInstallation:
        if version.runtime is None:
            raise AwsError(
                "InvalidRuntimeException", "Functions that are container images cannot be run here yet.", 502
            )
        known = self._ready.get(version.runtime)
        if known is not None:
            return known
        try:
            await self._until_built(version.runtime)
            known = await asyncio.to_thread(self._installations.for_runtime, version.runtime)
            self._ready[version.runtime] = known
            return known
        except (RuntimeMissing, RuntimeNotUsable) as error:
            raise AwsError("InvalidRuntimeException", str(error), 502, {"Type": "User"}) from error

    async def _variables_for(self, version: FunctionVersion) -> dict[str, str]:
        assert self.vault is not None
        return await self.vault.for_environment(version)

    async def _until_built(self, runtime: str) -> None:
        """While root's builder runs, waits for its turn; nobody else may build then."""
        found = self._installations.by_runtime.get(runtime)
        while self._builder is not None and found is not None and not self._installations.directories.is_built(found):
            if self._builder.poll() is not None:
                self._builder = None
                return
            await asyncio.sleep(BUILD_POLL_S)

    async def _serve_endpoint(self, listener: socket.socket, version: FunctionVersion) -> Closable:
        assert self.gateway is not None
        server = Server(self.gateway, version, ENDPOINT_CONNECTIONS_MAX, self.lobby)
        await server.serve(listener)
        return server

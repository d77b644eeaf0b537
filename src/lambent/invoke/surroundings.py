"""What every environment is made with, and what the sandbox is asked for in its name."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping

import attrs

from lambent.invoke.envlog import HeldStarts
from lambent.invoke.logpump import LogShare
from lambent.invoke.session import EndpointServer
from lambent.invoke.starts import Starts
from lambent.invoke.variables import environment_variables
from lambent.model.cage import EnvironmentSpec, RuntimeInstallation
from lambent.model.errors import service_fault
from lambent.model.function import FunctionVersion
from lambent.model.limits import INIT_PHASE_S, RESTORE_S, SNAPSHOT_INIT_S
from lambent.model.loglines import InitType
from lambent.ports import NO_TELEMETRY, Blobs, Clock, LogSink, Sandbox, Telemetry

Initialised = Callable[[FunctionVersion, EnvironmentSpec, float], None]
"""Is told of each init phase that went well, and its milliseconds."""

InstallationFor = Callable[[FunctionVersion], Awaitable[RuntimeInstallation]]
"""What runs this version. Raises AwsError when the machine has no such interpreter."""


@attrs.frozen(kw_only=True)
class Surroundings:
    """One for the whole program."""

    sandbox: Sandbox
    blobs: Blobs
    logs: LogSink
    clock: Clock
    installation_for: InstallationFor
    credentials_for: Callable[[FunctionVersion], Mapping[str, str]]  # AWS_ACCESS_KEY_ID and so on
    variables_for: Callable[[FunctionVersion], Awaitable[Mapping[str, str]]] | None = (
        None  # the function's own, decrypted
    )
    serve_endpoint: EndpointServer | None = None
    internet: bool = False
    init_phase_s: float = INIT_PHASE_S
    snapshot_init_s: float = SNAPSHOT_INIT_S  # of an init phase whose outcome is an image
    restore_s: float = RESTORE_S  # of what comes instead of it afterwards
    telemetry: Telemetry = NO_TELEMETRY
    initialised: Initialised | None = None
    log_share: LogShare = attrs.field(factory=LogShare)
    held_starts: HeldStarts = attrs.field(factory=HeldStarts)
    starts: Starts = attrs.field(factory=Starts)
    environment_lifetime_s: float = math.inf  # its credentials are good for so long, and for one invocation more

    async def describe(
        self,
        version: FunctionVersion,
        *,
        environment_id: str,
        log_stream: str,
        initialization_type: InitType,
        credentials: Callable[[], Mapping[str, str]],
    ) -> EnvironmentSpec:
        """What the sandbox is asked for. Raises AwsError, SandboxError."""
        installation = await self.installation_for(version)
        if version.code_digest is None:
            raise service_fault(f"{version.qualified_arn} has no code that can be run here.")
        code_dir = await self.blobs.unpacked(version.code_digest)
        layers_dir = await self.blobs.merged_layers([layer.digest for layer in version.layers])
        own = version.environment if self.variables_for is None else await self.variables_for(version)
        return EnvironmentSpec(
            environment_id=environment_id,
            installation=installation,
            code_dir=code_dir,
            layers_dir=layers_dir,
            variables=environment_variables(version, installation, own, log_stream, initialization_type),
            credentials=credentials,
            memory_mib=version.memory_mib,
            ephemeral_mib=version.ephemeral_mib,
            internet=self.internet,
        )

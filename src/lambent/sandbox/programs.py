"""Which program an environment's runtime is, and the variables that it and the extensions get."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from lambent.model.cage import EnvironmentSpec, StartMethod

TELEMETRY_FD: Final = 3  # the number in the runtime process; see privileged/init.py
# Where an OS-only runtime's program is looked for, in this order.
# https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html and the Runtime Interface Emulator
BOOTSTRAPS: Final = ("/var/runtime/bootstrap", "/var/task/bootstrap", "/opt/bootstrap")
EXTENSIONS_DIR: Final = "/opt/extensions"

# What an extension's process does not get.
# https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html, "Configuring extensions"
NOT_FOR_EXTENSIONS: Final = frozenset({
    "AWS_EXECUTION_ENV", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME", "AWS_XRAY_CONTEXT_MISSING",
    "AWS_XRAY_DAEMON_ADDRESS", "LAMBDA_RUNTIME_DIR", "LAMBDA_TASK_ROOT", "_AWS_XRAY_DAEMON_ADDRESS",
    "_AWS_XRAY_DAEMON_PORT", "_HANDLER", "_LAMBDA_TELEMETRY_LOG_FD",
})  # fmt: skip


def candidates(spec: EnvironmentSpec) -> list[tuple[str, ...]]:
    """The argument vectors to try in order; the next one only when a program is not there."""
    installation = spec.installation
    if not installation.argv:
        return [(path,) for path in BOOTSTRAPS]
    # Wrapper scripts work for managed runtimes, not for OS-only ones.
    # https://docs.aws.amazon.com/lambda/latest/dg/runtimes-modify.html
    wrapper = spec.variables.get("AWS_LAMBDA_EXEC_WRAPPER")
    if wrapper and installation.family != "provided":
        return [(wrapper, *spec.argv)]
    return [spec.argv]


def starts_by_fork(spec: EnvironmentSpec) -> bool:
    """A wrapper must be executed, so it turns a forking runtime into an executing one."""
    return spec.installation.start is StartMethod.FORK and not spec.variables.get("AWS_LAMBDA_EXEC_WRAPPER")


def starts_ahead(spec: EnvironmentSpec) -> bool:
    """Whether a process that was started with the installation's variables alone is as good as a new one."""
    pattern, given = spec.installation.read_at_start, spec.installation.environment
    if pattern is None or spec.variables.get("AWS_LAMBDA_EXEC_WRAPPER"):
        return False
    names = {name for name in (*given, *spec.variables) if pattern.fullmatch(name)}
    return all(spec.variables.get(name) == given.get(name) for name in names)


def runtime_variables(spec: EnvironmentSpec, runtime_api: str, endpoint_url: str | None) -> dict[str, str]:
    """`spec.variables`, credentials, and what only the sandbox knows."""
    variables = {**spec.variables, **spec.credentials()}
    variables["AWS_LAMBDA_RUNTIME_API"] = runtime_api
    variables["_LAMBDA_TELEMETRY_LOG_FD"] = str(TELEMETRY_FD)
    if endpoint_url is not None:
        variables.setdefault("AWS_ENDPOINT_URL", endpoint_url)
    return variables


def extension_variables(variables: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if name not in NOT_FOR_EXTENSIONS}


class PathMap:
    """At level `process` nothing is mounted, so paths of the cage are rewritten to the host's."""

    # Variables that hold paths or lists of paths.
    NAMES: Final = frozenset({
        "PATH", "LD_LIBRARY_PATH", "NODE_PATH", "PYTHONPATH", "PYTHONHOME", "GEM_PATH", "GEM_HOME", "RUBYLIB", "CLASSPATH",
        "JAVA_HOME", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR", "AWS_LAMBDA_EXEC_WRAPPER", "SSL_CERT_FILE",
    })  # fmt: skip

    def __init__(self, targets: Mapping[str, Path]) -> None:
        # The longest target first, so that a mount inside another one wins.
        self._targets = sorted(targets.items(), key=lambda pair: -len(pair[0]))

    @classmethod
    def of(cls, spec: EnvironmentSpec) -> PathMap:
        targets = {mount.target: mount.source for mount in spec.installation.host_mounts}
        targets["/var/task"] = spec.code_dir
        if spec.installation.runtime_dir is not None:
            targets["/var/runtime"] = spec.installation.runtime_dir
        if spec.layers_dir is not None:
            targets["/opt"] = spec.layers_dir
        return cls(targets)

    def path(self, path: str) -> str:
        for target, source in self._targets:
            if path == target or path.startswith(target + "/"):
                return str(source) + path[len(target) :]
        return path

    def variables(self, variables: Mapping[str, str], names: frozenset[str]) -> dict[str, str]:
        """Rewrites `names` and the well-known ones; the others are the function's own words."""
        return {
            name: ":".join(self.path(part) for part in value.split(":"))
            if name in names or name in self.NAMES
            else value
            for name, value in variables.items()
        }

"""What would be done to cage one environment, as values that can be printed, compared and stored.

The launcher carries out the same tables (`privileged/layout.py`, `privileged/cgroups.py`, `privileged/seccomp.py`).
"""

from __future__ import annotations

from typing import Any, Final

import attrs

from lambent.model.cage import EnvironmentSpec, IsolationLevel
from lambent.model.limits import FILE_DESCRIPTORS_MAX, MIB
from lambent.sandbox import programs
from lambent.sandbox.privileged import cgroups, layout, seccomp


@attrs.frozen(kw_only=True)
class MountStep:
    """One thing that the function finds in its file system."""

    target: str
    source: str  # a host path, or the kind of file system
    options: tuple[str, ...]  # "ro", "nosuid", "size=512m" …


@attrs.frozen(kw_only=True)
class CagePlan:
    """The cage of one environment. Empty tuples and None mean that this level does not do it."""

    level: IsolationLevel
    start: str  # "fork of the interpreter's zygote", "execution", "execution, perhaps before the function is known"
    programs: tuple[tuple[str, ...], ...]  # tried in this order
    mounts: tuple[MountStep, ...]
    namespaces: tuple[str, ...]
    user: str
    host_user: str
    memory_limit_bytes: int
    memory_by: str  # "control group", "watchdog"
    processor_share: float  # of one processor
    processes_max: int | None
    descriptors_max: int
    capabilities: tuple[str, ...] | None  # None: the server's own
    no_new_privileges: bool
    refused_system_calls: tuple[str, ...]
    devices: tuple[str, ...]
    listeners: tuple[str, ...]
    network: str

    def as_json(self) -> dict[str, Any]:
        return attrs.asdict(
            self, value_serializer=lambda _, __, value: str(value) if hasattr(value, "value") else value
        )

    def render(self) -> str:
        """Some forty lines for people."""
        width = max(len(mount.target) for mount in self.mounts) if self.mounts else 0
        return "\n".join([
            f"level       {self.level}",
            f"start       {self.start}",
            *(f"program     {' '.join(argv)}" for argv in self.programs),
            f"user        {self.user}; on the host {self.host_user}",
            f"namespaces  {', '.join(self.namespaces) or 'none'}",
            f"network     {self.network}",
            *(f"listener    {listener}" for listener in self.listeners),
            f"memory      {self.memory_limit_bytes // MIB} MiB, by {self.memory_by}",
            f"processor   {self.processor_share:.2f} of one",
            f"processes   {self.processes_max or 'not limited'}",
            f"descriptors {self.descriptors_max}",
            f"privileges  {self._privileges()}",
            f"devices     {', '.join(self.devices) or 'the host’s'}",
            f"refused     {', '.join(self.refused_system_calls) or 'no system calls'}",
            *(f"mount       {m.target:<{width}}  {m.source} ({', '.join(m.options)})" for m in self.mounts),
        ])  # fmt: skip

    def _privileges(self) -> str:
        if self.capabilities is None:
            return "the server's own"
        return (", ".join(self.capabilities) or "none") + ("; cannot gain any" if self.no_new_privileges else "")


def _start(spec: EnvironmentSpec) -> str:
    if programs.starts_by_fork(spec):
        return "fork of the interpreter's zygote"
    return "execution, perhaps before the function is known" if programs.starts_ahead(spec) else "execution"


_READ_ONLY: Final = ("ro", "nosuid", "nodev")


def plan_environment(
    spec: EnvironmentSpec,
    level: IsolationLevel,
    *,
    endpoint_port: int = 4566,
    cgroups_usable: bool = True,
    disks: bool = True,
) -> CagePlan:
    """Pure but for looking which of the system's directories this host has."""
    if level is IsolationLevel.PROCESS:
        return _process_plan(spec)
    root = level is IsolationLevel.ROOT
    on_disk = root and disks
    extra_mib = spec.ephemeral_mib if root and not on_disk else 0
    return CagePlan(
        level=level,
        start=_start(spec),
        programs=tuple(programs.candidates(spec)),
        mounts=tuple(_mounts(spec, on_disk=on_disk)),
        namespaces=layout.NAMESPACES,
        user=f"{layout.USER_NAME} ({layout.USER_ID}:{layout.GROUP_ID})",
        host_user=f"one of its own from {layout.HOST_IDS_FROM} on" if root else "the server's",
        memory_limit_bytes=(spec.memory_mib + extra_mib) * MIB,
        memory_by="control group" if cgroups_usable else "watchdog",
        processor_share=round(cgroups.quota_us(spec.memory_mib * MIB) / cgroups.PERIOD_US, 4),
        processes_max=layout.PROCESSES_MAX,
        descriptors_max=layout.DESCRIPTORS_MAX,
        capabilities=(),
        no_new_privileges=True,
        refused_system_calls=tuple(sorted(seccomp.refused())),
        devices=tuple(layout.DEVICES),
        listeners=(f"127.0.0.1:{layout.RUNTIME_API_PORT} Runtime API",
                   *((f"127.0.0.1:{endpoint_port} Lambent's endpoint",) if endpoint_port else ())),
        network="loopback of its own" + (
            " and a link to the internet, by its own rules" if spec.internet else ", nothing else"
        ),
    )  # fmt: skip


def _mounts(spec: EnvironmentSpec, *, on_disk: bool) -> list[MountStep]:
    steps = [MountStep(target="/", source="tmpfs", options=("ro", "nosuid"))]
    steps += [MountStep(target=target, source=source, options=_READ_ONLY) for source, target in layout.host_mounts()]
    installation = spec.installation
    steps += [MountStep(target=m.target, source=str(m.source), options=_READ_ONLY) for m in installation.host_mounts]
    shown = {"/var/runtime": installation.runtime_dir, "/var/task": spec.code_dir, "/opt": spec.layers_dir}
    steps += [MountStep(target=t, source=str(p), options=_READ_ONLY) for t, p in shown.items() if p is not None]
    steps += [MountStep(target=path, source="/dev/null", options=()) for path in layout.MASKED_FILES]
    steps.append(MountStep(target="/proc", source="proc", options=("nosuid", "nodev", "noexec")))
    steps.append(
        MountStep(target="/dev/shm", source="tmpfs", options=(f"size={layout.SHARED_MEMORY}", "nosuid", "nodev"))
    )
    steps.append(
        MountStep(target="/tmp", source="ext4" if on_disk else "tmpfs",
                  options=(f"size={spec.ephemeral_mib}m", "nosuid", "nodev"))
    )  # fmt: skip
    return steps


def _process_plan(spec: EnvironmentSpec) -> CagePlan:
    paths = programs.PathMap.of(spec)
    return CagePlan(
        level=IsolationLevel.PROCESS,
        start="execution",
        programs=tuple(tuple(paths.path(part) for part in argv) for argv in programs.candidates(spec)),
        mounts=(),
        namespaces=(),
        user="the server's",
        host_user="the server's",
        memory_limit_bytes=spec.memory_mib * MIB,
        memory_by="watchdog",
        processor_share=1.0,
        processes_max=None,
        descriptors_max=FILE_DESCRIPTORS_MAX,
        capabilities=None,
        no_new_privileges=False,
        refused_system_calls=(),
        devices=(),
        listeners=("127.0.0.1, any port: Runtime API",),
        network="the host's",
    )

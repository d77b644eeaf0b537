"""What this machine offers for cages, what is missing, and how to get it: the answer of `lambent doctor`."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import attrs

from lambent.model.cage import IsolationLevel
from lambent.sandbox.privileged import cgroups, seccomp, syscalls

PROBE_TIMEOUT_S: Final = 10.0
KERNEL_OLDEST: Final = (5, 12)  # mount_setattr; open_tree and close_range are older


@attrs.frozen(kw_only=True)
class Capability:
    """One thing that cages are made of."""

    name: str
    present: bool
    detail: str  # what was found, or what is lost without it
    remedy: str = ""  # how to get it; empty when present
    needed_for: tuple[IsolationLevel, ...] = ()  # levels that do not work without it


@attrs.frozen(kw_only=True)
class MachineReport:
    """`level` is the best one that works here for the present user."""

    level: IsolationLevel
    capabilities: tuple[Capability, ...]

    def missing(self, level: IsolationLevel) -> tuple[Capability, ...]:
        """What keeps a level from working."""
        return tuple(c for c in self.capabilities if not c.present and level in c.needed_for)

    def as_json(self) -> dict[str, Any]:
        return {"level": str(self.level), "capabilities": [
            {"name": c.name, "present": c.present, "detail": c.detail, "remedy": c.remedy,
             "needed_for": [str(level) for level in c.needed_for]} for c in self.capabilities]}  # fmt: skip

    def render(self) -> str:
        lines = [f"isolation level: {self.level}"]
        for capability in self.capabilities:
            lines.append(f"{'✓' if capability.present else '✗'} {capability.name}: {capability.detail}")
            if not capability.present and capability.remedy:
                lines.append(f"    {capability.remedy}")
        return "\n".join(lines)


def detect() -> MachineReport:
    """Asks the kernel by trying, in processes that end at once. Takes some tens of milliseconds."""
    works = _tried()
    capabilities = (
        _root(),
        _architecture(),
        _kernel(),
        *(_namespace(name, works) for name in _NAMESPACES),
        _user_namespace(works),
        _seccomp(works),
        _cgroups(),
        _loop_devices(),
        _program("mkfs.ext4", "e2fsprogs", "/tmp is held in memory and raises the memory's limit by its size"),
        _program("nft", "nftables", "functions cannot be given internet access"),
    )
    return MachineReport(level=_best(capabilities), capabilities=capabilities)


_BOTH: Final = (IsolationLevel.ROOT, IsolationLevel.ROOTLESS)
_NAMESPACES: Final = {
    "mount": syscalls.CLONE_NEWNS, "pid": syscalls.CLONE_NEWPID, "ipc": syscalls.CLONE_NEWIPC,
    "uts": syscalls.CLONE_NEWUTS, "network": syscalls.CLONE_NEWNET, "cgroup": syscalls.CLONE_NEWCGROUP,
}  # fmt: skip


def _best(capabilities: tuple[Capability, ...]) -> IsolationLevel:
    for level in (IsolationLevel.ROOT, IsolationLevel.ROOTLESS):
        if all(c.present for c in capabilities if level in c.needed_for):
            return level
    return IsolationLevel.PROCESS


def _root() -> Capability:
    present = os.geteuid() == 0
    return Capability(
        name="root", present=present, detail="running as root" if present else f"running as user {os.geteuid()}",
        remedy="start `lambent up` as root: the part that parses the network's bytes gives root up by itself",
        needed_for=(IsolationLevel.ROOT,),
    )  # fmt: skip


def _architecture() -> Capability:
    machine = platform.machine()
    try:
        seccomp.assemble(machine)
        present = sys.platform == "linux"
    except KeyError:
        present = False
    return Capability(
        name="architecture", present=present, detail=f"{sys.platform} on {machine}",
        remedy="cages need Linux on x86_64 or aarch64", needed_for=_BOTH,
    )  # fmt: skip


def _kernel() -> Capability:
    release = platform.release()
    numbers = tuple(int(part) for part in release.split("-")[0].split(".")[:2] if part.isdigit())
    return Capability(
        name="kernel", present=numbers >= KERNEL_OLDEST, detail=release,
        remedy="cages need Linux {}.{} or later".format(*KERNEL_OLDEST), needed_for=_BOTH,
    )  # fmt: skip


def _namespace(name: str, works: frozenset[str]) -> Capability:
    present = name in works
    return Capability(
        name=f"{name} namespace", present=present, detail="works" if present else "the kernel refuses it",
        remedy=f"run outside of a container that forbids it; the kernel needs CONFIG_{name.upper()[:3]}_NS or its like",
        needed_for=_BOTH,
    )  # fmt: skip


def _user_namespace(works: frozenset[str]) -> Capability:
    present = "user" in works
    return Capability(
        name="user namespace", present=present, detail="works" if present else "the kernel refuses it",
        remedy="sysctl user.max_user_namespaces=65536; on Debian also kernel.unprivileged_userns_clone=1, on Ubuntu "
        "kernel.apparmor_restrict_unprivileged_userns=0",
        needed_for=_BOTH,
    )  # fmt: skip


def _seccomp(works: frozenset[str]) -> Capability:
    present = "seccomp" in works
    return Capability(
        name="seccomp", present=present, detail="filters work" if present else "filters cannot be installed",
        remedy="the kernel needs CONFIG_SECCOMP_FILTER", needed_for=_BOTH,
    )  # fmt: skip


def _cgroups() -> Capability:
    mountinfo, own = Path("/proc/self/mountinfo").read_text(), Path("/proc/self/cgroup").read_text()
    found = cgroups.best(mountinfo, own, "doctor")
    usable = found is not None and os.geteuid() == 0
    detail = (
        "memory is watched instead of limited, and nothing is frozen" if found is None else f"version {found.version}"
    )
    return Capability(
        name="control groups", present=usable or (found is not None and found.version == 2), detail=detail,
        remedy="boot with the unified hierarchy (systemd.unified_cgroup_hierarchy=1); under systemd give the service "
        "Delegate=yes",
    )  # fmt: skip


def _loop_devices() -> Capability:
    present = os.access("/dev/loop-control", os.R_OK | os.W_OK)
    return Capability(
        name="loop devices", present=present,
        detail="each /tmp is a disk of its own" if present else "/tmp is held in memory and raises its limit by its size",
        remedy="modprobe loop; in a container pass /dev/loop-control and the loop devices",
    )  # fmt: skip


def _program(name: str, package: str, lost: str) -> Capability:
    path = shutil.which(name, path="/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/sbin:/usr/local/bin")
    return Capability(name=name, present=path is not None, detail=path or lost, remedy=f"install the package {package}")


_PROBE: Final = """\
import os, sys
sys.path.insert(0, sys.argv[1])
from privileged import seccomp, syscalls
for name, statements in zip(sys.argv[2::2], sys.argv[3::2]):
    child = os.fork()
    if not child:
        status = 1
        try:
            exec(statements)
            status = 0
        finally:
            os._exit(status)
    if os.waitpid(child, 0)[1] == 0:
        print(name, flush=True)
"""


def _tried() -> frozenset[str]:
    """The names of what works: one fresh process forks a child for each trial, so that none sees another's results."""
    alone = 0 if os.geteuid() == 0 else syscalls.CLONE_NEWUSER
    trials = {name: f"syscalls.unshare({flag | alone})" for name, flag in _NAMESPACES.items()}
    trials["user"] = f"syscalls.unshare({syscalls.CLONE_NEWUSER})"
    trials["seccomp"] = "syscalls.prctl(38, 1); syscalls.install_seccomp(seccomp.assemble())"
    command = [sys.executable, "-I", "-S", "-c", _PROBE, str(Path(__file__).parent)]
    command += [word for trial in trials.items() for word in trial]
    probe: Callable[..., subprocess.CompletedProcess[bytes]] = subprocess.run
    try:
        printed = probe(command, capture_output=True, timeout=PROBE_TIMEOUT_S, check=False).stdout
    except subprocess.TimeoutExpired as error:
        printed = error.stdout or b""
    return frozenset(printed.decode().split())

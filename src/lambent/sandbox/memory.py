"""How much memory new environments can take, as the kernel sees it."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Final

from lambent.model.limits import MIB
from lambent.sandbox.privileged import cgroups, meminfo

FRESH_S: Final = 0.02
FRESH_S_PER_GIB: Final = 0.2 / (os.cpu_count() or 1)  # a processor fills 5 GiB a second at most


class MachineMemory:
    """Implements `ports.Memory`: what the machine has, or what the control groups that this process is in allow.

    The latter counts where Lambent is run in a container or as a service with a limit. Asking takes up to half a
    millisecond, and every cold start asks: so an answer holds for 20 ms, or for as long as all processors together need to
    fill what is available, whichever is more.
    """

    def __init__(self, proc: Path = Path("/proc"), groups_root: Path | None = None) -> None:
        self._meminfo = str(proc / "meminfo")
        mountinfo, own = (proc / "self" / "mountinfo").read_text(), (proc / "self" / "cgroup").read_text()
        self._groups = _own_groups(mountinfo, own, groups_root or Path("/"))
        self._known_mib = 0.0
        self._fresh_until = -math.inf  # monotonic seconds

    def available_mib(self) -> float:
        now = time.monotonic()
        if now >= self._fresh_until:
            self._known_mib = self._ask_mib()
            self._fresh_until = now + max(FRESH_S, FRESH_S_PER_GIB * self._known_mib / 1024)
        return self._known_mib

    def _ask_mib(self) -> float:
        return min([meminfo.available_mib(self._meminfo), *(_left_mib(*group) for group in self._groups)])


def total_mib() -> float:
    """What the machine has in all."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / MIB


_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_V2 = ("memory.max", "memory.current", "inactive_file")
_NO_LIMIT = 1 << 62  # version 1 says so with a number near the largest


def _own_groups(mountinfo: str, own: str, root: Path) -> list[tuple[Path, tuple[str, str, str]]]:
    """This process's group and those above it, with the names of limit, usage and what can be dropped of it."""
    controllers, unified = cgroups.find(mountinfo, own)
    found: list[tuple[Path, tuple[str, str, str]]] = []
    if "memory" in controllers:
        mount = root / controllers["memory"].lstrip("/")
        path = next(
            (line.split(":", 2)[2] for line in own.splitlines() if "memory" in line.split(":")[1].split(",")), "/"
        )
        found += [(directory, _V1) for directory in _up(mount, mount / path.lstrip("/"))]
    elif unified is not None:
        mount = root / _unified_mount(mountinfo).lstrip("/")
        found += [(directory, _V2) for directory in _up(mount, root / unified.lstrip("/"))]
    return [(directory, names) for directory, names in found if (directory / names[0]).exists()]


def _unified_mount(mountinfo: str) -> str:
    return next(line.split()[4] for line in mountinfo.splitlines() if " - cgroup2 " in line)


def _up(mount: Path, directory: Path) -> list[Path]:
    """In a container the path may be the host's, and not be there: then the mount itself is our group."""
    if not directory.is_dir():
        return [mount]
    return [directory, *(parent for parent in directory.parents if parent.is_relative_to(mount))]


def _left_mib(directory: Path, names: tuple[str, str, str]) -> float:
    limit, usage, droppable = names
    try:
        text = meminfo.read_small(f"{directory}/{limit}").strip()
        if text == b"max" or int(text) >= _NO_LIMIT:
            return float("inf")  # and nothing more is read: a group's statistics take the kernel up to a millisecond
        stat = (directory / "memory.stat").read_text()
        dropped = next((int(line.split()[1]) for line in stat.splitlines() if line.startswith(f"{droppable} ")), 0)
        return (int(text) - int((directory / usage).read_text()) + dropped) / MIB
    except OSError:
        return float("inf")  # the group has gone, or was never one with a limit

"""What /proc says of a server's processes: which there are, their memory, processor time and descriptors.

Every function takes a process that has ended meanwhile for one that has nothing.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
CGROUPS: Final = Path("/sys/fs/cgroup")
UNLIMITED_BYTES: Final = 1 << 60  # version 1 says almost 2 ** 63
TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
PRIVATE: Final = ("Private_Clean", "Private_Dirty")
PROPORTIONAL: Final = ("Pss",)
# Places in /proc/PID/stat behind the name in brackets (proc_pid_stat(5) counts from 1, two of them before it).
PARENT, USER_TICKS, SYSTEM_TICKS = 1, 11, 12


def tree(root: int) -> set[int]:
    """The process ids of `root` and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir(PROC):
        if entry.isdigit() and (stat := _stat(int(entry))):
            children.setdefault(int(stat[PARENT]), []).append(int(entry))
    found, queue = set(), [root]
    while queue:
        pid = queue.pop()
        found.add(pid)
        queue += children.get(pid, [])
    return found


def memory_mib(pids: Iterable[int], fields: Iterable[str]) -> float:
    """The sum of these fields of smaps_rollup over the processes: `PRIVATE` is their own, `PROPORTIONAL` their share of all."""
    return sum(_memory_kib(pid, frozenset(fields)) for pid in pids) / 1024


def processor_s(pids: Iterable[int]) -> dict[int, float]:
    """What each process and its threads have had so far, in user and in system time; a clock tick exact (10 ms)."""
    return {
        pid: (int(stat[USER_TICKS]) + int(stat[SYSTEM_TICKS])) * TICK_S
        for pid in pids
        if (stat := _stat(pid)) is not None
    }


def spent_s(before: dict[int, float], after: dict[int, float], pids: Iterable[int]) -> float:
    """What these processes had between two answers of `processor_s`; one that was not there before began with nothing."""
    return sum(after[pid] - before.get(pid, 0.0) for pid in pids if pid in after)


def descriptors(pids: Iterable[int]) -> int:
    """How many files, sockets and the like they have open together."""
    count = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            count += len(os.listdir(PROC / str(pid) / "fd"))
    return count


def user_of(pid: int) -> int | None:
    with contextlib.suppress(OSError):
        return (PROC / str(pid)).stat().st_uid
    return None


def command_of(pid: int) -> str:
    """Its arguments, with spaces between them."""
    with contextlib.suppress(OSError):
        return (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def has_memory_limit(pid: int) -> bool:
    """Whether its control group has one, of version 1 or 2. A cage gets it with its function: those that wait for one have none."""
    with contextlib.suppress(OSError, ValueError):
        for line in (PROC / str(pid) / "cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if "memory" in controllers.split(","):
                return (
                    int((CGROUPS / "memory" / path.lstrip("/") / "memory.limit_in_bytes").read_text()) < UNLIMITED_BYTES
                )
            if not controllers and (limit := CGROUPS / path.lstrip("/") / "memory.max").exists():
                return limit.read_text().strip() != "max"
    return False


def _stat(pid: int) -> list[str] | None:
    with contextlib.suppress(OSError):
        return (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    return None


def _memory_kib(pid: int, fields: frozenset[str]) -> int:
    with contextlib.suppress(OSError):
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.partition(":")[0] in fields)
    return 0

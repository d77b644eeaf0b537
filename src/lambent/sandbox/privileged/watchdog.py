"""Where there is no memory cgroup: adds up what the environment's processes hold, and kills them beyond the limit.

It looks some twenty times a second, so a function that takes much at once can overshoot before it is stopped; a cgroup
cannot be overshot. Its findings are in a small shared memory, which the server reads.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import resource
import signal
import struct
from collections.abc import Callable

SHARED = struct.Struct("QQQ")  # peak of memory in bytes, how often it had to kill, processor time in ns
_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


class Watchdog:
    """`descendants(pid)` lists the processes below one. Never itself killed for what it counts: init does not count."""

    interval_ms = 50

    def __init__(self, shared_fd: int, limit_bytes: int, descendants: Callable[[int], list[int]]) -> None:
        self.limit_bytes = limit_bytes
        self.peak_bytes = 0
        self.kills = 0
        self.processor_ns = 0
        self._descendants = descendants
        self._shared = mmap.mmap(shared_fd, SHARED.size)

    @property
    def killed(self) -> bool:
        return self.kills > 0

    def look(self, roots: list[int]) -> None:
        """Counts what runs below this process; `roots` are its children (none: nothing to count)."""
        if not roots:
            return
        pids = self._descendants(os.getpid())
        held = [_resident_bytes(pid) for pid in pids]
        # What several share is in each one's account; the largest of those holds at least for itself.
        held_bytes = sum(own for own, _ in held) + max((shared for _, shared in held), default=0)
        self.peak_bytes = max(self.peak_bytes, held_bytes)
        self.processor_ns = _reaped_ns() + sum(_processor_ns(pid) for pid in pids)
        self._publish()
        if held_bytes > self.limit_bytes:
            self.kills += 1
            self._publish()
            for pid in pids:
                _kill(pid)

    def _publish(self) -> None:
        SHARED.pack_into(self._shared, 0, self.peak_bytes, self.kills, self.processor_ns)


def _resident_bytes(pid: int) -> tuple[int, int]:
    """What a process has for itself, and as shared memory; files' pages (libraries) are left out, as a cgroup charges them once."""
    try:
        with open(f"/proc/{pid}/status", "rb") as status:
            text = status.read()
    except OSError:
        return 0, 0
    return _bytes_of(text, b"\nRssAnon:"), _bytes_of(text, b"\nRssShmem:")


def _bytes_of(status: bytes, name: bytes) -> int:
    found = status.find(name)  # a process that has ended has no such line
    return int(status[found + len(name) :].split(None, 1)[0]) * 1024 if found >= 0 else 0


def _processor_ns(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            fields = stat.read().rpartition(b")")[2].split()
        return sum(int(ticks) for ticks in fields[11:15]) * _TICK_NS
    except OSError:
        return 0


def _reaped_ns() -> int:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return int((used.ru_utime + used.ru_stime) * 1e9)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)

"""A function that moves into a cell finds the memory there that its runtime is going to need."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest

from cage_census import CAGE_IDS, descendants
from lambent.bench import processes
from live_server import LiveServer, until

MINOR_FAULTS = 7  # place in /proc/PID/stat behind the name in brackets
# 420 where nothing is had ahead, 210 where only what was rehearsed is.
FEW = 120
HELLO = {"app.py": "def handler(event, context):\n    return 'hello'\n"}


def faults(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[MINOR_FAULTS])


def waiting(server: int) -> dict[int, int]:
    """Processes in cells without a function, and how many faults each has had."""
    found = {}
    for pid in descendants(server):
        try:
            if os.stat(f"/proc/{pid}").st_uid in CAGE_IDS and not processes.has_memory_limit(pid):
                found[pid] = faults(pid)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


@pytest.mark.skipif(
    tuple(int(part) for part in platform.release().split(".")[:2]) < (5, 14), reason="from Linux 5.14 on"
)
def test_init_and_runtime_of_a_function_that_moves_in_hardly_fault(live: LiveServer) -> None:
    if live.level != "root":
        pytest.skip("cells are told from other processes by their users")
    live.invoke(live.create(HELLO, "app.handler"))
    name = live.create(HELLO, "app.handler")
    seen: list[dict[int, int]] = [{}]

    def all_are_ready() -> dict[int, int] | None:
        """What is still being made has new processes, and new faults."""
        seen.append(waiting(live.process.pid))
        return seen[-1] if seen[-1] and seen[-1:] * 5 == seen[-5:] else None

    before = until(all_are_ready)
    assert live.invoke(name).value == "hello"
    after = {pid: faults(pid) for pid in before if processes.has_memory_limit(pid)}
    assert len(after) == 2, "init and runtime of one cell"
    assert sum(after.values()) - sum(before[pid] for pid in after) < FEW

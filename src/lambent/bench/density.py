"""What an idle environment keeps: many of one function, alive at once."""

from __future__ import annotations

import time
from typing import Any, Final

from lambent.bench import processes
from lambent.bench.burst import HOLDS, held
from lambent.bench.functions import create, python
from lambent.bench.interpreters import newest_python
from lambent.bench.server import Run

ENVIRONMENTS: Final = 500
HELD_S: Final = 12  # longer than starting them takes
MIB_IN_MB: Final = 2**20 / 1e6


def measure(run: Run) -> dict[str, Any]:
    with run.server() as server:
        create(server.client(), ["dense"], python(newest_python().runtime, HOLDS))
        before = server.environments()
        count = len(held(server, "dense", run.pick(ENVIRONMENTS, 50), run.pick(HELD_S, 3)))
        time.sleep(1)
        there = server.environments()
        # Cells that wait for a function are no environments. Where they cannot be told apart, as many are taken to wait as before.
        there = {pid for pid in there if processes.has_memory_limit(pid)} or there - before
        own_mib = processes.memory_mib(there, processes.PRIVATE)
        return {
            "python": newest_python().version,
            "environments": count,
            "processes": len(there),
            "own_mb_each": round(own_mib * MIB_IN_MB / count, 2),
            "proportional_mb_total": round(processes.memory_mib(there, processes.PROPORTIONAL) * MIB_IN_MB, 1),
        }

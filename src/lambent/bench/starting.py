"""The server itself: from `lambent up` until its health check answers, and its memory when nothing happens.

The first start of all, which finds interpreters and builds their directories, is over before.
"""

from __future__ import annotations

import time
from typing import Any, Final

from lambent.bench import processes
from lambent.bench.figures import spread
from lambent.bench.server import Run, serving

STARTS: Final = 5
SETTLE_S: Final = 3.0  # until cells have been made ahead, and their memory is there


def measure(run: Run) -> dict[str, Any]:
    starts, memory, isolation = [], [], ""
    with run.data() as data:
        for _ in range(run.pick(STARTS, 1)):
            with serving(data) as server:
                starts.append(server.start_s)
                time.sleep(SETTLE_S)
                isolation = server.health()["isolation"]
                memory.append(processes.memory_mib(server.tree(), processes.PROPORTIONAL))
    return {"isolation": isolation, "healthy_after_s": spread(starts), "idle_mib": spread(memory)}

"""The server itself: from `lambent up` until its health check answers, and its memory when nothing happens."""

from __future__ import annotations

from typing import Any, Final

from lambent.bench import processes
from lambent.bench.figures import spread
from lambent.bench.server import Run, serving

STARTS: Final = 5


def measure(run: Run) -> dict[str, Any]:
    starts, memory, isolation = [], [], ""
    with run.fresh() as directory:
        for number in range(run.pick(STARTS, 1) + 1):
            with serving(directory / "data") as server:
                if number == 0:
                    continue  # the first start looks for interpreters; what counts is every other one
                starts.append(server.start_s)
                isolation = server.health()["isolation"]
                memory.append(processes.memory_mib(server.tree(), processes.PROPORTIONAL))
    return {"isolation": isolation, "healthy_after_s": spread(starts), "idle_mib": spread(memory)}

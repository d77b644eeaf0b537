"""Cold starts: the first invocation of a function that does next to nothing, from the request until its answer over HTTP.

Interleaved with the yardstick, a bare interpreter of the same language that starts and ends; Python's is the newest that was found. With a pause before each, as cold starts come,
a cell waits that was made ahead (pool hit); one right after the other soon finds none (pool miss).
"""

from __future__ import annotations

import subprocess
import time
from typing import Any, Final

from lambent.bench.connection import Caller
from lambent.bench.errors import NotMeasured
from lambent.bench.figures import ratio, spread, timed_ms
from lambent.bench.functions import create, hello, newest
from lambent.bench.interpreters import newest_python, program_of
from lambent.bench.server import Run, Server

PAUSE_S: Final = 0.1  # time enough to make the next cell of Python ahead
SLOW_PAUSE_S: Final = 0.4  # of what cannot fork
WARM_UPS: Final = 3  # the zygote's own start is not a cold start's
# What an interpreter does that does nothing, and what it and the ratio to it are called among the figures.
YARDSTICKS: Final = {
    "nodejs": (("-e", "0"), "node_e_0_ms", "node_hit_ratio"),
    "java": (("-version",), "java_version_ms", "java_hit_ratio"),
}
RUNS, QUICK_RUNS = 60, 8
RUNS_OF_OTHERS, QUICK_RUNS_OF_OTHERS = 20, 4


def measure(run: Run) -> dict[str, Any]:
    """Python on a hit and on a miss, then each other runtime that is found on a hit."""
    with run.server() as server:
        figures = of_python(server, run.pick(RUNS, QUICK_RUNS))
        runtimes = server.health()["runtimes"]
        for family in ("nodejs", "java", "provided"):
            run.say(f"cold: {family}")
            figures |= _of_family(
                server, family, newest(runtimes, family), run.pick(RUNS_OF_OTHERS, QUICK_RUNS_OF_OTHERS)
            )
    return figures


def of_python(server: Server, runs: int) -> dict[str, Any]:
    measured = newest_python()
    create(server.client(), [f"cold-{number}" for number in range(2 * runs + WARM_UPS)], hello(measured.runtime))
    with Caller(server.port) as caller:
        for number in range(2 * runs, 2 * runs + WARM_UPS):
            caller.invoke(f"cold-{number}")
        hits, yardstick = interleaved(caller, [f"cold-{n}" for n in range(runs)], measured.does_nothing, PAUSE_S)
        misses, again = interleaved(caller, [f"cold-{n}" for n in range(runs, 2 * runs)], measured.does_nothing, 0.0)
    return {
        "python": measured.version,
        "python_hit_ms": spread(hits),
        "python_miss_ms": spread(misses),
        "python_c_pass_ms": spread(yardstick),
        "python_hit_ratio": ratio(hits, yardstick),
        "python_miss_ratio": ratio(misses, again),
    }


def _of_family(server: Server, family: str, runtime: str | None, runs: int) -> dict[str, Any]:
    """Why there are no figures stands in their place."""
    key = f"{family}_hit_ms"
    if runtime is None:
        return {key: "not measured: no interpreter found"}
    arguments, bare_key, ratio_key = YARDSTICKS.get(family, ((), "", ""))
    yardstick = (program_of(runtime), *arguments) if arguments else None
    names = [f"cold-{family}-{number}" for number in range(runs + 1)]
    try:
        create(server.client(), names, hello(runtime), MemorySize=512)
        with Caller(server.port) as caller:
            caller.invoke(names.pop())
            hits, bare = interleaved(caller, names, yardstick, SLOW_PAUSE_S)
    except NotMeasured as problem:
        return {key: f"not measured: {problem}"}
    if yardstick is None:
        return {key: spread(hits)}
    return {key: spread(hits), bare_key: spread(bare), ratio_key: ratio(hits, bare)}


def interleaved(
    caller: Caller, names: list[str], yardstick: tuple[str, ...] | None, pause_s: float
) -> tuple[list[float], list[float]]:
    """Milliseconds of the first invocation of each function, and of the yardstick run after each."""
    starts, bare = [], []
    for name in names:
        time.sleep(pause_s)
        starts.append(timed_ms(lambda name=name: caller.invoke(name)))  # type: ignore[misc]
        if yardstick:
            bare.append(timed_ms(lambda: subprocess.run(yardstick, stderr=subprocess.DEVNULL, check=True)))
    return starts, bare

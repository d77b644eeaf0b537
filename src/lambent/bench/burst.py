"""Many at once: the time until 200 requests to a function without any environment are answered, and environments a second beyond the pool."""

from __future__ import annotations

import json
import time
from typing import Any, Final

from lambent.bench.connection import path_of
from lambent.bench.figures import spread
from lambent.bench.functions import HELLO_PYTHON, create, python
from lambent.bench.interpreters import newest_python
from lambent.bench.load import own_once
from lambent.bench.server import Run, Server

AT_ONCE: Final = 200
BEYOND: Final = 300
REFILL_S: Final = 25  # for the stock to grow by a burst
HELD_S: Final = 3.0  # so that no environment is used twice
FROM_POOL: Final = 0.2  # part of BEYOND, so that what waited in the pool does not count
NAPS: Final = "import time\ndef handler(event, context):\n    time.sleep(0.1)\n    return {'message': 'hello'}\n"
# Its log stream is the environment's own.
HOLDS: Final = """
import time
def handler(event, context):
    began = time.time()
    time.sleep(event['s'])
    return {'began': began, 'environment': context.log_stream_name}
"""


def measure(run: Run) -> dict[str, Any]:
    """The first burst meets a server that has just started, the second one what it has made ahead since."""
    at_once, refill_s = run.pick(AT_ONCE, 50), run.pick(REFILL_S, 1)
    figures: dict[str, Any] = {"python": newest_python().version, "at_once": at_once}
    for name, source in (("hello", HELLO_PYTHON), ("naps_100_ms", NAPS)):
        run.say(f"burst: {name}")
        with run.server() as server:
            first, again = _bursts(server, source, at_once, refill_s)
            figures |= {f"{name}_first_s": round(first, 3), f"{name}_again_s": round(again, 3)}
    return figures


def _bursts(server: Server, source: str, at_once: int, refill_s: float) -> list[float]:
    """Seconds until all are answered; each burst is on a function of its own."""
    create(server.client(), ["zygote", "first", "again"], python(newest_python().runtime, source))
    own_once(server.port, path_of("zygote"), b"{}", 1)  # its own start is not an environment's
    first, _ = own_once(server.port, path_of("first"), b"{}", at_once)
    time.sleep(refill_s)
    again, _ = own_once(server.port, path_of("again"), b"{}", at_once)
    return [first, again]


def measure_beyond(run: Run) -> dict[str, Any]:
    """How many environments a second one function gets when it is asked for far more than wait in the pool."""
    count, rates = run.pick(BEYOND, 60), []
    for number in range(run.pick(3, 1)):
        with run.server() as server:
            name = f"holds-{number}"
            create(server.client(), ["first", name], python(newest_python().runtime, HOLDS))
            own_once(server.port, path_of("first"), b'{"s": 0}', 1)
            rates.append(rate_beyond(list(held(server, name, count, HELD_S).values())))
    return {"python": newest_python().version, "asked_for": count, "environments_per_s": spread(rates)}


def held(server: Server, name: str, count: int, seconds: float) -> dict[str, float]:
    """So many invocations of a `HOLDS` at once, each as long as this: when each environment began its first, by its log stream."""
    _, answers = own_once(server.port, path_of(name), json.dumps({"s": seconds}).encode(), count)
    began: dict[str, float] = {}
    for answer in map(json.loads, answers):
        environment = answer["environment"]
        began[environment] = min(answer["began"], began.get(environment, answer["began"]))
    return began


def rate_beyond(began_s: list[float]) -> float:
    """Starts a second, without the first part of them, which may have been made ahead."""
    ordered = sorted(began_s)
    first = int(len(ordered) * FROM_POOL)
    return (len(ordered) - 1 - first) / (ordered[-1] - ordered[first])

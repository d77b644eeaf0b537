"""SnapStart: what an environment costs that comes from its version's initialised image, beside the init that this saves.

Each function imports boto3 and makes a client, and nothing else. Interleaved: the first invocation of `$LATEST`, which runs that init, and the
first of version 1, which is restored. The ratio is of the function's own REPORT lines: Init Duration is without the making of the cage,
Restore Duration is with it.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Iterable
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from lambent.bench.errors import NotMeasured
from lambent.bench.figures import ratio, spread
from lambent.bench.functions import create, python, until_active
from lambent.bench.server import Run, Server

INIT: Final = """
import boto3
CLIENT = boto3.client("dynamodb")
def handler(event, context):
    return None
"""
OLDEST_MINOR: Final = 12  # of Python with SnapStart: docs.aws.amazon.com/lambda/latest/dg/snapstart.html
OPTIMIZED_TIMEOUT_S: Final = 10.0  # after the version is active
PAUSE_S: Final = 0.2  # time enough to make the next cell ahead


def measure(run: Run) -> dict[str, Any]:
    """Raises NotMeasured where no version becomes optimised."""
    with run.server() as server:
        runtime = oldest_usable(server.health()["runtimes"])
        if runtime is None:
            raise NotMeasured(f"it needs Python 3.{OLDEST_MINOR} or later")
        try:
            return _measured(server, runtime, run.pick(15, 3))
        except (ClientError, BotoCoreError) as error:
            raise NotMeasured(f"SnapStart of {runtime}: {error}") from error


def oldest_usable(runtimes: Iterable[str]) -> str | None:
    minors = [int(name.removeprefix("python3.")) for name in runtimes if re.fullmatch(r"python3\.\d+", name)]
    usable = [minor for minor in minors if minor >= OLDEST_MINOR]
    return f"python3.{min(usable)}" if usable else None


def _measured(server: Server, runtime: str, runs: int) -> dict[str, Any]:
    inits, restores, initialised, restored = [], [], [], []
    for number in range(runs + 1):
        name = f"snap-{number}"
        _publish(server.client(), name, runtime)
        init, init_answered = _first(server.client(), name, "$LATEST", "Init Duration")
        restore, restore_answered = _first(server.client(), name, "1", "Restore Duration")
        if number:  # the first one compiles what is imported
            inits.append(init)
            restores.append(restore)
            initialised.append(init_answered)
            restored.append(restore_answered)
    return {
        "init_ms": spread(inits),
        "restore_ms": spread(restores),
        "init_answered_ms": spread(initialised),
        "restore_answered_ms": spread(restored),
        "ratio": ratio(restores, inits),
    }


def _publish(client: Any, name: str, runtime: str) -> None:
    create(client, [name], python(runtime, INIT), MemorySize=1769, SnapStart={"ApplyOn": "PublishedVersions"})
    client.publish_version(FunctionName=name)
    deadline = time.monotonic() + OPTIMIZED_TIMEOUT_S
    while (found := until_active(client, name, Qualifier="1"))["SnapStart"]["OptimizationStatus"] != "On":
        if time.monotonic() > deadline:
            raise NotMeasured(f"the version's OptimizationStatus stays {found['SnapStart']['OptimizationStatus']}")
        time.sleep(0.1)


def _first(client: Any, name: str, qualifier: str, figure: str) -> tuple[float, float]:
    """(what REPORT says, from asked to answered), in milliseconds."""
    time.sleep(PAUSE_S)
    begun = time.perf_counter()
    answer = client.invoke(FunctionName=name, Qualifier=qualifier, LogType="Tail")
    answered_ms = (time.perf_counter() - begun) * 1000
    report = base64.b64decode(answer["LogResult"]).decode()
    found = re.search(rf"\t{figure}: ([\d.]+) ms", report)
    if found is None:
        raise NotMeasured(f"no {figure} in {report!r}")
    return float(found[1]), answered_ms

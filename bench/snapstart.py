"""SnapStart: what an environment costs when it is restored from its version's image, beside the init that it saves.

    python -m bench.snapstart [--quick]

Each function imports boto3 and makes a client, and nothing else. Interleaved: the first invocation of `$LATEST`, which runs
that init, and the first of version 1, which is restored. Compared are the figures of the function's own REPORT lines: Init
Duration is without the making of the cage, Restore Duration is with it.
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.road import Server, create, spread, urlopen_health

INIT = """
import boto3
CLIENT = boto3.client("dynamodb")
def handler(event, context):
    return None
"""
OLDEST_MINOR = 12  # of Python with SnapStart
PAUSE_S = 0.2  # between two starts: time enough to make the next cell ahead


def measure(quick: bool) -> dict[str, Any] | str:
    """A string says why it was left out."""
    directory = Path(tempfile.mkdtemp(prefix="lambent-bench-"))
    directory.chmod(0o755)
    server = Server(directory / "data")
    try:
        with urlopen_health(server.port) as health:
            runtime = _runtime(json.load(health)["runtimes"])
        if runtime is None:
            return f"left out: it needs Python 3.{OLDEST_MINOR} or later"
        return _measured(server, runtime, 5 if quick else 20)
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)


def _measured(server: Server, runtime: str, runs: int) -> dict[str, Any]:
    client = server.client()
    inits, restores = [], []
    for number in range(runs + 1):
        name = f"snap-{number}"
        create(client, name, INIT, runtime, MemorySize=1769, SnapStart={"ApplyOn": "PublishedVersions"})
        client.publish_version(FunctionName=name)
        client.get_waiter("published_version_active").wait(
            FunctionName=name, Qualifier="1", WaiterConfig={"Delay": 1, "MaxAttempts": 60}
        )
        init = _told(client, name, "$LATEST", "Init Duration")
        restore = _told(client, name, "1", "Restore Duration")
        if number:  # the first one compiles what is imported
            inits.append(init)
            restores.append(restore)
    return {
        "init_ms": spread(inits),
        "restore_ms": spread(restores),
        "ratio": round(statistics.median(restores) / statistics.median(inits), 4),
    }


def _told(client: Any, name: str, qualifier: str, figure: str) -> float:
    time.sleep(PAUSE_S)
    answer = client.invoke(FunctionName=name, Qualifier=qualifier, LogType="Tail")
    report = base64.b64decode(answer["LogResult"]).decode()
    found = re.search(rf"\t{figure}: ([\d.]+) ms", report)
    if found is None:
        raise SystemExit(f"no {figure} in {report!r}")
    return float(found[1])


def _runtime(found: list[str]) -> str | None:
    minors = [int(name.removeprefix("python3.")) for name in found if name.startswith("python3.")]
    usable = [minor for minor in minors if minor >= OLDEST_MINOR]
    return f"python3.{min(usable)}" if usable else None


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m bench.snapstart", description=__doc__)
    options.add_argument("--quick", action="store_true")
    print(json.dumps(measure(options.parse_args().quick), indent=2))


if __name__ == "__main__":
    main()

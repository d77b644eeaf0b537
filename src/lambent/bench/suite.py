"""The parts of a run, in their order, and running them: one that fails leaves a sentence in its place, and the others go on."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

import attrs
from botocore.exceptions import BotoCoreError, ClientError

from lambent.bench import (
    asynchronous,
    burst,
    cold,
    control_plane,
    density,
    imports,
    machine,
    noisy,
    polling,
    queues,
    snapstart,
    soak,
    starting,
    streams,
    warm,
)
from lambent.bench.errors import NotMeasured
from lambent.bench.peers import comparison
from lambent.bench.server import Run

EXPECTED: Final = (NotMeasured, ClientError, BotoCoreError, OSError, subprocess.SubprocessError, json.JSONDecodeError)


@attrs.frozen
class Part:
    title: str
    measure: Callable[[Run], dict[str, Any]]
    """Raises NotMeasured."""


PARTS: Final = {
    "start": Part("Starting the server", starting.measure),
    "cold": Part("Cold starts", cold.measure),
    "snapstart": Part("SnapStart", snapstart.measure),
    "imports": Part("Functions that import much", imports.measure),
    "warm": Part("Warm invocations", warm.measure),
    "burst": Part("A burst", burst.measure),
    "beyond": Part("Beyond the pool", burst.measure_beyond),
    "density": Part("Many environments at once", density.measure),
    "noisy": Part("Beside a noisy neighbour", noisy.measure),
    "peers": Part("Beside its peers", comparison.measure),
    "control": Part("The control plane", control_plane.measure),
    "asynchronous": Part("Asynchronous events", asynchronous.measure),
    "polling": Part("Event source mappings", polling.measure),
    "queues": Part("SQS queues", queues.measure),
    "streams": Part("Kinesis streams", streams.measure),
    "soak": Part("A long mixed load", soak.measure),
}
MAY_BE_MISSING: Final = frozenset({"soak", "peers", "snapstart"})
"""Parts that a machine or a server need not have."""


def measure(run: Run, names: Iterable[str]) -> dict[str, Any]:
    """The figures of these parts, by name, with `about`: the machine and the versions."""
    wanted = set(names)
    figures: dict[str, Any] = {"about": machine.about(run.quick)}
    for name, part in PARTS.items():
        if name not in wanted:
            continue
        run.say(f"{name}: {part.title.lower()}")
        begun_s = time.monotonic()
        try:
            figures[name] = part.measure(run)
        except EXPECTED as problem:
            figures[name] = f"not measured: {problem}"
            run.say(f"{name}: {figures[name]}")
        run.say(f"{name}: took {time.monotonic() - begun_s:.0f} s")
    return figures


def failures(figures: dict[str, Any]) -> dict[str, str]:
    """The parts of Lambent's own that were to be measured and were not, with the reason."""
    return {name: told for name, told in figures.items() if isinstance(told, str) and name not in MAY_BE_MISSING}

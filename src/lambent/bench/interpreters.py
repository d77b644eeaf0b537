"""Which Python is measured where starting and sharing matter: the newest that the server finds, and not the one that it runs on."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from typing import Final

import attrs

from lambent.bench.errors import NotMeasured
from lambent.bench.functions import newest

COMMAND: Final = (sys.executable, "-m", "lambent", "runtimes", "--json")


@attrs.frozen
class Python:
    runtime: str  # its id: python3.13
    version: str
    program: str

    @property
    def does_nothing(self) -> tuple[str, ...]:
        """The yardstick: it starts and ends."""
        return (self.program, "-S", "-E", "-c", "pass")


@functools.cache
def newest_python() -> Python:
    """As `lambent runtimes` says without anybody's settings, as the servers of the bench have none. Raises NotMeasured."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LAMBENT_")}
    done = subprocess.run(COMMAND, capture_output=True, check=True, cwd="/", env=environ)
    found = {one["runtime"]: one for one in json.loads(done.stdout)}
    runtime = newest(found, "python")
    if runtime is None:
        raise NotMeasured("no Python was found")
    return Python(runtime, str(found[runtime]["version"]), os.path.realpath(found[runtime]["path"]))

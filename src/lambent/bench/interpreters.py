"""Which interpreters are measured where starting and sharing matter: the newest that the server finds.

Python's too, and not the one that it runs on.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from typing import Any, Final

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


def newest_python() -> Python:
    """Raises NotMeasured."""
    found = _found()
    runtime = newest(found, "python")
    if runtime is None:
        raise NotMeasured("no Python was found")
    return Python(runtime, str(found[runtime]["version"]), program_of(runtime))


def program_of(runtime: str) -> str:
    """Of one that the server has found."""
    return os.path.realpath(str(_found()[runtime]["path"]))


@functools.cache
def _found() -> dict[str, dict[str, Any]]:
    """As `lambent runtimes` says without anybody's settings, as the servers of the bench have none."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LAMBENT_")}
    done = subprocess.run(COMMAND, capture_output=True, check=True, cwd="/", env=environ)
    return {one["runtime"]: one for one in json.loads(done.stdout)}

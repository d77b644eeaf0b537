"""What is asked of a peer, so that all of them, and Lambent, are measured in one way."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

import attrs

from lambent.bench.peers.tools import Tools

STOP_TIMEOUT_S: Final = 10.0
MANY: Final = 1_000_000  # functions: as many as are asked for


@attrs.frozen(kw_only=True)
class Serving:
    """A running server, and where each of its functions is invoked."""

    port: int
    paths: Sequence[str]
    version: str


@attrs.frozen(kw_only=True)
class Peer:
    """One server with functions of one language."""

    name: str
    language: str  # "Python" or "Node.js"
    start: Callable[[Tools, Path, int], AbstractContextManager[Serving]]
    """(tools, an empty directory, how many functions) → an echo function so many times. Raises NotMeasured."""
    functions: int = MANY  # that one process can serve
    connections: int = 8  # that it survives
    wrap: Callable[[bytes], bytes] = attrs.field(default=lambda body: body)  # an event as its door takes it

    @property
    def title(self) -> str:
        return f"{self.name}, {self.language}"


@contextlib.contextmanager
def process(command: Sequence[str], directory: Path, environ: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Runs in a process group of its own, which is ended by its id: peers have children."""
    with (directory / "output.log").open("wb") as log:
        running = subprocess.Popen(
            command, cwd=directory, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
            env={**os.environ, **environ},
        )  # fmt: skip
        try:
            yield running
        finally:
            _end(running)


def _end(running: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(STOP_TIMEOUT_S)

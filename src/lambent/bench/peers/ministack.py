"""MiniStack from PyPI. Without Docker it runs Python in worker processes of its own."""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lambent.bench.connection import path_of
from lambent.bench.functions import ECHO_PYTHON, create, python
from lambent.bench.peers.peer import Peer, Serving, process
from lambent.bench.peers.tools import Tools
from lambent.bench.server import RUNNING_PYTHON, client, free_port
from lambent.bench.yardsticks import until_listening

START_TIMEOUT_S: Final = 30.0


@contextlib.contextmanager
def _start(tools: Tools, directory: Path, count: int) -> Iterator[Serving]:
    program, port = tools.program("ministack"), free_port()
    environ = {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "LAMBDA_EXECUTOR": "local",
        "SFTP_PORT": str(free_port()),
    }
    with process([program], directory, environ) as running:
        until_listening(port, running, "ministack", START_TIMEOUT_S)
        names = [f"f{number}" for number in range(count)]
        create(client(port), names, python(RUNNING_PYTHON, ECHO_PYTHON))
        yield Serving(port=port, paths=[path_of(name) for name in names], version=_version(program))


def _version(program: str) -> str:
    """Of the installation that the program belongs to."""
    places = [str(place) for place in Path(program).resolve().parents[1].glob("lib/python3*/site-packages")]
    places += [str(place) for place in Path(program).parents[1].glob("lib/python3*/site-packages")]
    found = next(iter(importlib.metadata.distributions(name="ministack", path=places)), None)
    return found.version if found else "unknown"


PEERS: Final = (Peer(name="MiniStack", language="Python", start=_start),)

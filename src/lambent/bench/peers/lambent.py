"""Lambent itself, in the way in which the peers are measured."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import lambent
from lambent.bench.connection import Caller, path_of
from lambent.bench.errors import NotMeasured
from lambent.bench.functions import ECHO_NODE, ECHO_PYTHON, Code, create, newest, package, python
from lambent.bench.peers.peer import Peer, Serving
from lambent.bench.peers.tools import Tools
from lambent.bench.server import RUNNING_PYTHON, Server, serving

SETTLE_S: Final = 1.0  # until cells have been made ahead, which a server that has run for a while has


@contextlib.contextmanager
def _start(tools: Tools, directory: Path, count: int, language: str) -> Iterator[Serving]:
    assert tools.new_data is not None
    with tools.new_data() as data, serving(data) as server:
        names = [f"f{number}" for number in range(count)]
        create(server.client(), [*names, "first"], _code(server, language), MemorySize=1769)
        with Caller(server.port) as caller:
            caller.invoke("first")
        time.sleep(SETTLE_S)
        yield Serving(port=server.port, paths=[path_of(name) for name in names], version=lambent.__version__)


def _code(server: Server, language: str) -> Code:
    if language == "Python":
        return python(RUNNING_PYTHON, ECHO_PYTHON)
    runtime = newest(server.health()["runtimes"], "nodejs")
    if runtime is None:
        raise NotMeasured("no Node.js found")
    return Code(runtime=runtime, handler="index.handler", package=package({"index.js": ECHO_NODE}))


PEERS: Final = (
    Peer(
        name="Lambent",
        language="Python",
        start=lambda tools, directory, count: _start(tools, directory, count, "Python"),
    ),
    Peer(
        name="Lambent",
        language="Node.js",
        start=lambda tools, directory, count: _start(tools, directory, count, "Node.js"),
    ),
)

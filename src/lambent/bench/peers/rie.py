"""AWS's Runtime Interface Emulator with AWS's client for Python, as AWS's images have them. It crashes with more than one connection."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lambent.bench.connection import path_of
from lambent.bench.functions import ECHO_PYTHON
from lambent.bench.peers.peer import Peer, Serving, process
from lambent.bench.peers.tools import Tools
from lambent.bench.server import free_port
from lambent.bench.yardsticks import until_listening


@contextlib.contextmanager
def _start(tools: Tools, directory: Path, count: int) -> Iterator[Serving]:
    program, python, port = tools.program("aws-lambda-rie"), tools.python_with("awslambdaric"), free_port()
    (directory / "index.py").write_text(ECHO_PYTHON)
    command = [
        program, "--log-level", "error", "--runtime-interface-emulator-address", f"127.0.0.1:{port}",
        "--runtime-api-address", f"127.0.0.1:{free_port()}", python, "-m", "awslambdaric", "index.handler",
    ]  # fmt: skip
    with process(command, directory, {"AWS_LAMBDA_FUNCTION_TIMEOUT": "30"}) as running:
        until_listening(port, running, "aws-lambda-rie")
        yield Serving(port=port, paths=[path_of("function")], version="does not say")


PEERS: Final = (Peer(name="Runtime Interface Emulator", language="Python", start=_start, functions=1, connections=1),)

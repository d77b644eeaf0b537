"""lambda-local from npm, which listens with `--watch`. It runs Node.js alone, and one function in each process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lambent.bench.functions import ECHO_NODE
from lambent.bench.peers.peer import Peer, Serving, process
from lambent.bench.peers.tools import Tools, npm_version
from lambent.bench.server import free_port
from lambent.bench.yardsticks import until_listening


@contextlib.contextmanager
def _start(tools: Tools, directory: Path, count: int) -> Iterator[Serving]:
    program, port = tools.program("lambda-local"), free_port()
    (directory / "index.js").write_text(ECHO_NODE)
    command = [program, "-l", "index.js", "-h", "handler", "--verboselevel", "0", "--watch", str(port)]
    with process(command, directory, {}) as running:
        until_listening(port, running, "lambda-local")
        yield Serving(port=port, paths=["/"], version=npm_version(program, "lambda-local"))


PEERS: Final = (
    Peer(name="lambda-local", language="Node.js", start=_start, functions=1,
         wrap=lambda body: b'{"event": %b}' % body),
)  # fmt: skip

"""serverless-offline, a plugin of the Serverless Framework."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lambent.bench.connection import path_of
from lambent.bench.functions import ECHO_NODE, ECHO_PYTHON
from lambent.bench.peers.peer import Peer, Serving, process
from lambent.bench.peers.tools import Tools, npm_version
from lambent.bench.server import RUNNING_PYTHON, free_port
from lambent.bench.yardsticks import until_listening

START_TIMEOUT_S: Final = 60.0
NODE_RUNTIME: Final = "nodejs20.x"  # the newest that it knows; it runs on the node that runs it
ENVIRON: Final = {
    "SLS_TELEMETRY_DISABLED": "1",
    "SLS_NOTIFICATIONS_MODE": "off",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
}


def _service(runtime: str, handler: str, port: int, count: int) -> str:
    """JSON is YAML."""
    offline = {"host": "127.0.0.1", "httpPort": free_port(), "lambdaPort": port, "websocketPort": free_port()}
    return json.dumps(
        {
            "service": "bench",
            "frameworkVersion": "3",
            "provider": {"name": "aws", "region": "us-east-1", "timeout": 30},
            "plugins": ["serverless-offline"],
            "custom": {"serverless-offline": offline},
            "functions": {f"f{number}": {"handler": handler, "runtime": runtime} for number in range(count)},
        }
    )


@contextlib.contextmanager
def _start(tools: Tools, directory: Path, count: int, runtime: str, handler: str) -> Iterator[Serving]:
    serverless, port = tools.program("serverless"), free_port()
    (directory / "echo_python.py").write_text(ECHO_PYTHON)
    (directory / "echo_node.js").write_text(ECHO_NODE)
    (directory / "serverless.yml").write_text(_service(runtime, handler, port, count))
    if tools.node_modules:
        (directory / "node_modules").symlink_to(tools.node_modules)
    with process([serverless, "offline", "start"], directory, ENVIRON) as running:
        until_listening(port, running, "serverless offline", START_TIMEOUT_S)
        paths = [path_of(f"bench-dev-f{number}") for number in range(count)]
        yield Serving(port=port, paths=paths, version=npm_version(serverless, "serverless-offline"))


PEERS: Final = (
    Peer(
        name="serverless-offline",
        language="Python",
        start=lambda tools, directory, count: _start(tools, directory, count, RUNNING_PYTHON, "echo_python.handler"),
    ),
    Peer(
        name="serverless-offline",
        language="Node.js",
        start=lambda tools, directory, count: _start(tools, directory, count, NODE_RUNTIME, "echo_node.handler"),
    ),
)

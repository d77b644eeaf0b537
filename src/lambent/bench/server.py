"""`lambent up` in a directory of its own, and one run of the bench, whose parts start it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import attrs
import boto3
from botocore.config import Config

from lambent.bench import processes
from lambent.bench.errors import NotMeasured

START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 30.0
BUILD_TIMEOUT_S: Final = 120.0
BUILDER: Final = "lambent.runtimes.build"  # as it stands in the command of the process
LOG_TAIL_BYTES: Final = 500
RUNNING_PYTHON: Final = f"python{sys.version_info.major}.{sys.version_info.minor}"
# What is measured is the machine: an account's quotas (of requests 10,000 a second) are not to be in the way.
SETTINGS: Final = {"LAMBENT_ACCOUNT_CONCURRENCY": "1000000"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """Runs until `stop`. `start_s` is the time until its health check answered."""

    def __init__(self, data: Path) -> None:
        """Raises NotMeasured when it does not become healthy."""
        self.port = free_port()
        command = [sys.executable, "-m", "lambent", "up", "--port", str(self.port), "--data", str(data)]
        self._log_path = data.parent / "server.log"
        self._log = self._log_path.open("wb")
        begun = time.perf_counter()
        # Neither the settings of whoever asks nor a working directory of theirs that others may not read.
        environ = {name: value for name, value in os.environ.items() if not name.startswith("LAMBENT_")} | SETTINGS
        self.process = subprocess.Popen(command, stdout=self._log, stderr=self._log, env=environ, cwd=data.parent)
        try:
            self.start_s = self._until_healthy(begun)
        except NotMeasured:
            self.stop()
            raise
        self.baseline = processes.tree(self.process.pid)

    def _until_healthy(self, begun: float) -> float:
        while time.perf_counter() - begun < START_TIMEOUT_S:
            with contextlib.suppress(OSError):
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                connection.request("GET", "/_lambent/health")
                if connection.getresponse().status == 200:
                    return time.perf_counter() - begun
            if self.process.poll() is not None:
                break
            time.sleep(0.005)
        said = self._log_path.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")
        raise NotMeasured(f"the server did not become healthy; it said: {said}")

    def health(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/_lambent/health") as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def client(self, service: str = "lambda") -> Any:
        return client(self.port, service)

    def tree(self) -> set[int]:
        """The server and everything below it."""
        return processes.tree(self.process.pid)

    def environments(self) -> set[int]:
        """Processes in cages that came after the start. Cages have users of their own, where the server may make some."""
        own = {processes.user_of(pid) for pid in self.baseline}
        new = self.tree() - self.baseline
        if os.geteuid() != 0:
            return new
        return {pid for pid in new if processes.user_of(pid) not in {None, 0, *own}}

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._log.close()


def client(port: int, service: str = "lambda") -> Any:
    """A boto3 client that asks once."""
    return boto3.client(
        service,
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"max_attempts": 0}, read_timeout=120),
    )


@attrs.frozen(kw_only=True)
class Run:
    """What the parts of one run share."""

    quick: bool
    directory: Path  # of this run; it is removed afterwards
    say: Callable[[str], None]  # what is being done now
    soak_minutes: float = 0.0
    install_peers: bool = False

    def pick(self, full: int, quick: int) -> int:
        """How often, or how many."""
        return quick if self.quick else full

    @contextlib.contextmanager
    def fresh(self) -> Iterator[Path]:
        """A directory that only this part uses, open to the users that servers become."""
        directory = Path(tempfile.mkdtemp(dir=self.directory))
        directory.chmod(0o755)
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    @contextlib.contextmanager
    def data(self) -> Iterator[Path]:
        """A server's data directory without any function, in which everything is there that a first start makes."""
        prepared = self.directory / "prepared"
        if not prepared.exists():
            self.say("a first start: finding interpreters, building their directories")
            prepare(prepared)
        with self.fresh() as directory:
            subprocess.run(["cp", "-a", str(prepared), str(directory / "data")], check=True)
            yield directory / "data"

    @contextlib.contextmanager
    def server(self) -> Iterator[Server]:
        """One with empty state."""
        with self.data() as data, serving(data) as server:
            yield server


def prepare(data: Path) -> None:
    """Starts a server once, and stops it when it has built what every later one finds."""
    with serving(data) as server:
        deadline = time.monotonic() + BUILD_TIMEOUT_S
        while any(BUILDER in processes.command_of(pid) for pid in server.tree()) and time.monotonic() < deadline:
            time.sleep(0.1)


@contextlib.contextmanager
def serving(data: Path) -> Iterator[Server]:
    server = Server(data)
    try:
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def new_run(say: Callable[[str], None], **settings: Any) -> Iterator[Run]:
    directory = Path(tempfile.mkdtemp(prefix="lambent-bench-"))
    directory.chmod(0o755)
    try:
        yield Run(directory=directory, say=say, **settings)
    finally:
        shutil.rmtree(directory, ignore_errors=True)

"""A real server, started as users start it, and functions in it through boto3.

One serves a whole session of tests: see the fixture `live` in tests/conftest.py. Every function gets a name of its own.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import functools
import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import urllib.request
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs
import boto3
from botocore.config import Config

import lambent

T = TypeVar("T")

ROLE: Final = "arn:aws:iam::000000000000:role/any"
REGION: Final = "us-east-1"
RUNNING_PYTHON: Final = f"python3.{sys.version_info.minor}"  # certainly on this machine
START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 30.0
READ_TIMEOUT_S: Final = 60
LOOK_EVERY_S: Final = 0.02
EXECUTABLE: Final = 0o100755 << 16  # a regular file's mode, where zip archives keep it


def until(condition: Callable[[], T | None], timeout_s: float = 10.0) -> T:
    """The condition's first true value. Fails when there is none in time."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"still {value!r} after {timeout_s} s"
        time.sleep(LOOK_EVERY_S)
    return value


def package(files: Mapping[str, str | bytes]) -> bytes:
    """A deployment package; a `bootstrap` is executable in it."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = EXECUTABLE if name == "bootstrap" else 0o100644 << 16
            archive.writestr(info, textwrap.dedent(content) if isinstance(content, str) else content)
    return out.getvalue()


def folder(path: Path) -> bytes:
    """A deployment package of all that is below a directory."""
    return package({str(f.relative_to(path)): f.read_bytes() for f in sorted(path.rglob("*")) if f.is_file()})


@attrs.frozen
class Answer:
    """What Invoke gave back."""

    status: int
    payload: bytes
    function_error: str | None
    version: str
    log: str
    seconds: float

    @property
    def value(self) -> Any:
        """The decoded payload of an invocation that succeeded."""
        assert self.function_error is None, (self.payload, self.log)
        return json.loads(self.payload)

    @property
    def error(self) -> dict[str, Any]:
        """The decoded payload of a function that failed, which is a successful call all the same."""
        assert (self.status, self.function_error) == (200, "Unhandled"), (self.payload, self.log)
        error: dict[str, Any] = json.loads(self.payload)
        return error

    @property
    def max_memory_used_mb(self) -> int:
        found = re.search(r"Max Memory Used: (\d+) MB", self.log)
        assert found, self.log
        return int(found[1])


@attrs.define(eq=False)
class LiveServer:
    """A running server; `process` is `lambent up` itself."""

    process: subprocess.Popen[str]
    url: str
    level: str
    data: Path
    output: Path  # what the server prints
    _clients: dict[str, Any] = attrs.field(factory=dict, init=False)

    def client(self, service: str = "lambda") -> Any:
        if service not in self._clients:
            self._clients[service] = boto3.client(
                service,
                endpoint_url=self.url,
                region_name=REGION,
                aws_access_key_id="test",
                aws_secret_access_key="test",
                config=Config(retries={"total_max_attempts": 1}, read_timeout=READ_TIMEOUT_S, max_pool_connections=64),
            )
        return self._clients[service]

    def close_clients(self) -> None:
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    def create(
        self, code: Mapping[str, str | bytes] | bytes | str, handler: str = "app.handler", **members: Any
    ) -> str:
        """A new function that is ready: code is a Python module's text, files, or a package. Returns its name."""
        name = members.pop("FunctionName", None) or f"f-{uuid.uuid4().hex[:12]}"
        if isinstance(code, str):
            code = {"app.py": code}
        self.client().create_function(
            FunctionName=name,
            Handler=handler,
            Role=ROLE,
            Code={"ZipFile": code if isinstance(code, bytes) else package(code)},
            **{"Runtime": RUNNING_PYTHON, **members},
        )
        self.until_ready(name)
        return name

    def until_ready(self, name: str) -> None:
        """Returns when what was asked for last, creation or update, is what invocations use."""

        def settled() -> dict[str, Any] | None:
            found: dict[str, Any] = self.client().get_function_configuration(FunctionName=name)
            return None if found["State"] == "Pending" or found["LastUpdateStatus"] == "InProgress" else found

        found = until(settled)
        assert (found["State"], found["LastUpdateStatus"]) == ("Active", "Successful"), found

    def invoke(self, name: str, event: object = None, **members: Any) -> Answer:
        """With the log's tail, unless `LogType` says otherwise."""
        began = time.monotonic()
        members = {"LogType": "Tail", "Payload": json.dumps(event), **members}
        answer = self.client().invoke(FunctionName=name, **members)
        return Answer(
            status=answer["StatusCode"],
            payload=answer["Payload"].read(),
            function_error=answer.get("FunctionError"),
            version=answer.get("ExecutedVersion", ""),
            log=base64.b64decode(answer.get("LogResult", "")).decode(),
            seconds=time.monotonic() - began,
        )

    def installed(self, family: str) -> str | None:
        """A runtime of this family that the server has found."""
        with urllib.request.urlopen(f"{self.url}/_lambent/health") as answer:
            runtimes: list[str] = json.load(answer)["runtimes"]
        return next((runtime for runtime in runtimes if runtime.startswith(family)), None)

    def log_of(self, name: str) -> str:
        """All that the function's log group holds."""
        pages = self.client("logs").get_paginator("filter_log_events").paginate(logGroupName=f"/aws/lambda/{name}")
        return "".join(event["message"] for page in pages for event in page["events"])

    def resident_mib(self) -> float:
        """Memory that the server's process has now."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found
        return int(found[1]) / 1024

    def kill(self) -> None:
        """As a power cut would, but for its children: they must notice by themselves."""
        self.close_clients()
        self.process.kill()
        self.process.wait(STOP_TIMEOUT_S)

    def stop(self) -> None:
        self.close_clients()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_TIMEOUT_S)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()


def environ(**more: str) -> dict[str, str]:
    """This process's variables without any that would change what AWS clients or Lambent do."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "LAMBENT_"))}
    return {**kept, "PYTHONPATH": str(Path(lambent.__file__).parents[1]), **more}


@functools.cache
def built_runtimes() -> Path:
    """The runtimes' directories, built by what servers run for that, and once for all of them: it is ten seconds' work."""
    shared = Path(sys.prefix) / "data-of-tests"
    shared.mkdir(exist_ok=True)
    with (shared / "lock").open("w") as lock:  # other processes of this test run want the same
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run([sys.executable, "-m", "lambent.runtimes.build", str(shared)], env=environ(), check=True)
    return shared / "runtimes"


def launch(
    data: Path, *options: str, builds: bool = False, program: Sequence[str] = ("-m", "lambent")
) -> tuple[subprocess.Popen[str], Path]:
    """Starts `lambent up`, on a free port unless the options say otherwise; the process, and the file that it writes to.

    `builds`: a new data directory gets runtimes that are built for it, as those of users do. `program`: what Python runs.
    """
    data.mkdir(parents=True, exist_ok=True)
    if not builds and not (data / "runtimes").exists():
        (data / "runtimes").symlink_to(built_runtimes())
    output = Path(tempfile.mkstemp(dir=data.parent, prefix="server-", suffix=".log")[1])
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, *program, "up", "--port", "0", "--data", str(data), *options],
            env=environ(), stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
    return process, output


def start(data: Path, *options: str, builds: bool = False, program: Sequence[str] = ("-m", "lambent")) -> LiveServer:
    """Starts `lambent up` and waits until it is ready."""
    process, output = launch(data, *options, builds=builds, program=program)

    def ready() -> re.Match[str] | None:
        assert process.poll() is None, output.read_text()
        return re.search(r"is ready: (http://\S+) \(isolation (\w+)\)", output.read_text())

    try:
        found = until(ready, START_TIMEOUT_S)
    except BaseException:
        process.kill()
        process.wait()
        raise
    return LiveServer(process=process, url=found[1], level=found[2], data=data, output=output)


@contextlib.contextmanager
def running(data: Path, *options: str, program: Sequence[str] = ("-m", "lambent")) -> Iterator[LiveServer]:
    server = start(data, *options, program=program)
    try:
        yield server
    finally:
        server.stop()

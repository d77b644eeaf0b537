"""A Runtime API that follows a script: events in, what the runtime posted out. For testing clients of any language.

It is a thread with plain sockets, so that it can be driven from any test and can misbehave on purpose.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Self

import attrs

ARN = "arn:aws:lambda:us-east-1:000000000000:function:hello"
WAIT_S = 30.0


@attrs.frozen(kw_only=True)
class Posted:
    """One request that the runtime made, other than for the next event."""

    path: str
    headers: Mapping[str, str]  # lower-case names
    body: bytes

    @property
    def kind(self) -> str:
        """`response`, `error` or `init/error`."""
        return "init/error" if self.path.endswith("/init/error") else self.path.rsplit("/", 1)[1]

    def json(self) -> Any:
        return json.loads(self.body)


@attrs.frozen(kw_only=True)
class Event:
    body: bytes
    request_id: str
    headers: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Reply:
    """What the fake answers to a post: normally 202."""

    status: str = "202 Accepted"
    body: bytes = b'{"status":"OK"}'
    hang_up: bool = False


class FakeRuntimeApi:
    """Give it events with `send`, take what was posted with `posted`."""

    def __init__(self, listener: socket.socket | None = None) -> None:
        """`listener`: a cage's, in place of one of its own."""
        self._listener = listener or socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(True)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._events: queue.Queue[Event | None] = queue.Queue()
        self._posted: queue.Queue[Posted] = queue.Queue()
        self._connections: list[socket.socket] = []
        self.replies: Callable[[Posted], Reply] = lambda posted: Reply()
        self.connections_made = 0
        self._sent = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._events.put(None)
        for connection in (self._listener, *self._connections):
            connection.close()

    def send(self, payload: Any = None, *, raw: bytes | None = None, deadline_s: float = 3.0, **headers: str) -> str:
        """Queues an event and returns its request id. `aws_tenant_id="x"` becomes `Lambda-Runtime-Aws-Tenant-Id`."""
        self._sent += 1
        request_id = f"00000000-0000-4000-8000-{self._sent:012d}"
        named = {
            "Lambda-Runtime-Aws-Request-Id": request_id,
            "Lambda-Runtime-Deadline-Ms": str(int((time.time() + deadline_s) * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": ARN,
            "Lambda-Runtime-Trace-Id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1",
            **{"Lambda-Runtime-" + name.replace("_", "-").title(): value for name, value in headers.items()},
        }
        body = json.dumps(payload).encode() if raw is None else raw
        self._events.put(Event(body=body, request_id=request_id, headers={k: v for k, v in named.items() if v}))
        return request_id

    def posted(self) -> Posted:
        """The next thing that the runtime posts; fails after half a minute without one."""
        return self._posted.get(timeout=WAIT_S)

    def call(self, payload: Any = None, **options: Any) -> Posted:
        """One event and its answer."""
        self.send(payload, **options)
        return self.posted()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections_made += 1
            self._connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            reader = connection.makefile("rb")
            while True:
                request = _read_request(reader)
                if request is None or not self._answer(connection, request):
                    return
        except (OSError, ValueError):
            return
        finally:
            connection.close()

    def _next_event(self, connection: socket.socket) -> Event | None:
        """Waits for one; None when the test is over or the runtime has gone, so that another one gets the event."""
        while _is_open(connection):
            with contextlib.suppress(queue.Empty):
                event = self._events.get(timeout=0.05)
                if event is None or _is_open(connection):
                    return event
                self._events.put(event)
        return None

    def _answer(self, connection: socket.socket, request: Posted) -> bool:
        if request.path.endswith("/invocation/next"):
            event = self._next_event(connection)
            if event is None:
                return False
            headers = {"Content-Type": "application/json", **event.headers, "Content-Length": str(len(event.body))}
            head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            connection.sendall(f"HTTP/1.1 200 OK\r\n{head}\r\n".encode() + event.body)
            return True
        reply = self.replies(request)
        self._posted.put(request)
        connection.sendall(
            f"HTTP/1.1 {reply.status}\r\nContent-Length: {len(reply.body)}\r\n\r\n".encode() + reply.body
        )
        return not reply.hang_up


def _is_open(connection: socket.socket) -> bool:
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def _read_request(reader: Any) -> Posted | None:
    first = reader.readline()
    if not first:
        return None
    headers = {}
    for line in iter(reader.readline, b"\r\n"):
        if not line:
            return None
        name, _, value = line.decode().partition(":")
        headers[name.lower()] = value.strip()
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = b"".join(_read_chunks(reader, headers))
    else:
        body = reader.read(int(headers.get("content-length", 0)))
    return Posted(path=first.split()[1].decode(), headers=headers, body=body)


def _read_chunks(reader: Any, headers: dict[str, str]) -> Iterator[bytes]:
    while size := int(reader.readline().partition(b";")[0], 16):
        yield reader.read(size)
        reader.readline()
    for line in iter(reader.readline, b"\r\n"):  # trailers are put among the headers
        name, _, value = line.decode().partition(":")
        headers[name.lower()] = value.strip()


class Runtime:
    """A runtime's process that talks to a fake. Its outputs are read all the time, so that it never waits for a reader."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str], *, framed: bool = False) -> None:
        environment = dict(environment)
        self._outputs: dict[str, bytearray] = {}
        self._readers: list[threading.Thread] = []
        passed: tuple[int, ...] = ()
        if framed:
            log_read, log_write = os.pipe()
            environment["_LAMBDA_TELEMETRY_LOG_FD"] = str(log_write)
            passed = (log_write,)
            self._read("log", os.fdopen(log_read, "rb", buffering=0))
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            argv,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=pipe,
            stderr=pipe,
            pass_fds=passed,
            bufsize=0,
            start_new_session=True,
        )
        for descriptor in passed:
            os.close(descriptor)
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._read("stdout", self.process.stdout)
        self._read("stderr", self.process.stderr)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def wait(self) -> tuple[int, str, str]:
        """(exit status, stdout, stderr) once the process has ended by itself."""
        status = self.process.wait(timeout=WAIT_S)
        return status, *self.stop()

    def stop(self) -> tuple[str, str]:
        """Ends the process and those that it started; (stdout, stderr)."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for reader in self._readers:
            reader.join(WAIT_S)
        return self._outputs["stdout"].decode(), self._outputs["stderr"].decode()

    def log_frames(self) -> list[tuple[int, str]]:
        """Ends the process; (frame type, message) of everything that it logged in frames."""
        self.stop()
        data = bytes(self._outputs["log"])
        frames = []
        while data:
            length = int.from_bytes(data[4:8], "big")
            frames.append((int.from_bytes(data[:4], "big"), data[16 : 16 + length].decode()))
            data = data[16 + length :]
        return frames

    def _read(self, name: str, stream: IO[bytes]) -> None:
        collected = self._outputs[name] = bytearray()

        def pump() -> None:
            with stream:
                while data := stream.read(65536):
                    collected.extend(data)

        reader = threading.Thread(target=pump, daemon=True)
        reader.start()
        self._readers.append(reader)


def function_variables(api: FakeRuntimeApi, code: Path, handler: str, runtime: str) -> dict[str, str]:
    """The variables that every function has."""
    return {
        "AWS_LAMBDA_RUNTIME_API": api.address,
        "_HANDLER": handler,
        "LAMBDA_TASK_ROOT": str(code),
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{runtime}",
        "AWS_LAMBDA_FUNCTION_NAME": "hello",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/hello",
        "AWS_LAMBDA_LOG_STREAM_NAME": "2026/11/21/[$LATEST]0123456789abcdef0123456789abcdef",
        "AWS_REGION": "us-east-1",
        "TZ": ":UTC",
        "LANG": "C.UTF-8",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
    }

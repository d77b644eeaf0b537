"""One kept connection that invokes by raw HTTP, so that the client costs little and what is timed is the server."""

from __future__ import annotations

import socket
from typing import Any, Final

import httptools

from lambent.bench.errors import NotMeasured

TIMEOUT_S: Final = 120.0
READ_BYTES: Final = 64 * 1024
COPIED_BYTES: Final = 64 * 1024  # larger bodies are sent and read without a copy, as the bare socket beside them does
SIGNATURE: Final = (
    b"Authorization: AWS4-HMAC-SHA256 Credential=test/20261121/us-east-1/lambda/aws4_request, SignedHeaders=host;x-amz-date, "
    b"Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7\r\nX-Amz-Date: 20261121T080000Z\r\n"
)
"""As every AWS client sends one: reading it is part of the road."""


def path_of(name: str, qualifier: str | None = None) -> str:
    """Where a function is invoked."""
    return f"/2015-03-31/functions/{name}/invocations" + (f"?Qualifier={qualifier}" if qualifier else "")


def request(path: str, body: bytes, *headers: str) -> bytes:
    """A whole POST."""
    return _head(path, len(body), *headers) + body


def _head(path: str, body_bytes: int, *headers: str) -> bytes:
    extra = "".join(f"{header}\r\n" for header in headers).encode()
    head = b"POST %b HTTP/1.1\r\nHost: 127.0.0.1\r\n%bContent-Type: application/json\r\n" % (path.encode(), SIGNATURE)
    return b"%b%bContent-Length: %d\r\n\r\n" % (head, extra, body_bytes)


class Answers:
    """Bytes in, whole answers out. Raises httptools.HttpParserError for what is no HTTP."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes | bytearray] = []
        self._function_error = False
        self._missing_bytes = 0
        self.complete: list[tuple[int, bytes | bytearray]] = []
        """(status, body) of each answer that is whole; a function's own failure has status 0."""

    def feed(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def read_rest(self, connection: socket.socket) -> None:
        """Of an answer that has begun, if its length is known and much of it is missing. Raises OSError."""
        if self._missing_bytes <= COPIED_BYTES:
            return
        begun = b"".join(self._body)
        body = bytearray(len(begun) + self._missing_bytes)
        body[: len(begun)] = begun
        missing = memoryview(body)[len(begun) :]
        while missing:
            count = connection.recv_into(missing)
            if not count:
                raise ConnectionResetError("the server closed the connection")
            missing = missing[count:]
        self._body = [body]
        self.on_message_complete()
        self._parser = httptools.HttpResponseParser(self)

    # What httptools calls.
    def on_message_begin(self) -> None:
        self._body, self._function_error, self._missing_bytes = [], False, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        self._function_error |= name.lower() == b"x-amz-function-error"
        if name.lower() == b"content-length":
            self._missing_bytes = int(value)

    def on_body(self, data: bytes) -> None:
        self._body.append(data)
        self._missing_bytes -= len(data)

    def on_message_complete(self) -> None:
        status = 0 if self._function_error else self._parser.get_status_code()
        self.complete.append((status, self._body[0] if len(self._body) == 1 else b"".join(self._body)))


class Caller:
    """Asks and waits for the answer, one at a time."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answers = Answers()

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *reason: Any) -> None:
        self._socket.close()

    def invoke(self, name: str, body: bytes = b"{}", qualifier: str | None = None, *headers: str) -> bytes | bytearray:
        """The function's answer. Raises NotMeasured when it failed, or when the call did."""
        return self.post(path_of(name, qualifier), body, *headers)

    def post(self, path: str, body: bytes, *headers: str) -> bytes | bytearray:
        """The answer's body. Raises NotMeasured for a status other than 2xx."""
        try:
            if len(body) > COPIED_BYTES:
                self._socket.sendall(_head(path, len(body), *headers))
                self._socket.sendall(body)
            else:
                self._socket.sendall(request(path, body, *headers))
            while not self._answers.complete:
                data = self._socket.recv(READ_BYTES)
                if not data:
                    raise NotMeasured(f"{path}: the server closed the connection")
                self._answers.feed(data)
                self._answers.read_rest(self._socket)
        except (OSError, httptools.HttpParserError) as error:
            raise NotMeasured(f"{path}: {error}") from error
        status, content = self._answers.complete.pop(0)
        if not 200 <= status < 300:
            raise NotMeasured(f"{path} was answered {status or 'with a function error'}: {content[:300]!r}")
        return content

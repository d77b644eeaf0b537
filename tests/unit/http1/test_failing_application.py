"""A mistake in an application costs one connection, and is told in the log."""

from __future__ import annotations

import asyncio
import logging
import socket

import pytest

from lambent.http1.application import BodyReceiver
from lambent.http1.request import Request
from lambent.http1.server import Server


class Failing:
    body_max_bytes = 1000

    def body_receiver(self, request: Request) -> BodyReceiver | None:
        return None

    def request(self, request: Request) -> None:
        if request.target == b"/fail":
            raise KeyError("a mistake")
        request.respond(200, (), b"fine")

    def too_large(self, request: Request) -> None:
        request.respond(413, ())


async def _ask(port: int, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.mark.parametrize(
    ("request_bytes", "logged"), [(b"GET /fail HTTP/1.1\r\n\r\n", True), (b"nonsense\r\n\r\n", False)]
)
async def test_only_the_applications_mistakes_are_logged(
    request_bytes: bytes, logged: bool, caplog: pytest.LogCaptureFixture
) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    server = Server(Failing())
    await server.serve(listener)
    port = listener.getsockname()[1]
    with caplog.at_level(logging.ERROR):
        await _ask(port, request_bytes)
    assert ("its handler failed" in caplog.text) == logged
    assert (await _ask(port, b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n")).endswith(b"fine")
    server.close()

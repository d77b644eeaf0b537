"""Large bodies of known length are read into one piece of memory, and nobody notices."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import attrs
import pytest
import uvloop

from lambent.http1.application import BodyReceiver
from lambent.http1.large_body import LARGE_BYTES, LargeBody
from lambent.http1.request import HeaderList, Request
from lambent.http1.server import Server

LARGE = bytes(range(256)) * (3 * LARGE_BYTES // 256)


@attrs.define
class Receiver:
    wants_whole: bool
    application: Echo
    request: Request
    chunks: list[bytes] = attrs.field(factory=list)
    keeps: bool = True

    def data(self, chunk: bytes) -> None:
        self.chunks.append(chunk)
        self.application.changed.set()

    def complete(self, trailers: HeaderList) -> None:
        self.application.pieces.append(len(self.chunks))
        self.request.respond(200, [], b"".join(self.chunks))

    def aborted(self) -> None:
        self.application.aborted += 1
        self.application.changed.set()


@attrs.define
class Echo:
    """Answers with the body, which a receiver takes where `wants_whole` says how."""

    wants_whole: bool | None = None
    body_max_bytes: int = 64 * LARGE_BYTES
    fails: bool = False
    pieces: list[int] = attrs.field(factory=list)
    aborted: int = 0
    changed: asyncio.Event = attrs.field(factory=asyncio.Event)

    def body_receiver(self, request: Request) -> BodyReceiver | None:
        if self.wants_whole is None or request.content_length is None:
            return None
        return Receiver(self.wants_whole, self, request)

    def request(self, request: Request) -> None:
        assert type(request.body) is bytes
        if self.fails:
            raise RuntimeError("as an application does that has a fault")
        request.respond(200, [], request.body)

    def too_large(self, request: Request) -> None:
        request.respond(413, [])


every_loop = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
Run = Callable[[Coroutine[Any, Any, None]], None]


@contextlib.asynccontextmanager
async def connected(
    application: Echo,
) -> AsyncIterator[tuple[Server, asyncio.StreamReader, asyncio.StreamWriter]]:
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    server = Server(application)
    await server.serve(listener)
    reader, writer = await asyncio.open_connection(*address, limit=1 << 24)
    try:
        yield server, reader, writer
    finally:
        writer.close()
        server.close()


def post(body: bytes) -> bytes:
    return b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body


async def answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    return await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split()[0]))


@every_loop
@pytest.mark.parametrize("wants_whole", [None, True, False])
@pytest.mark.parametrize("piece_bytes", [70_001, 1 << 24])
def test_bodies_arrive_as_they_were_sent_and_so_does_what_follows_them(
    run: Run, wants_whole: bool | None, piece_bytes: int
) -> None:
    async def exchange() -> None:
        application = Echo(wants_whole)
        async with connected(application) as (server, reader, writer):
            sent = post(LARGE) + post(b"small") + post(LARGE[::-1]) + post(b"")

            async def send() -> None:
                for start in range(0, len(sent), piece_bytes):
                    writer.write(sent[start : start + piece_bytes])
                    await writer.drain()

            sending = asyncio.ensure_future(send())
            for body in (LARGE, b"small", LARGE[::-1], b""):
                assert await answer(reader) == body
            await sending
            assert server.lobby.held_bytes == 0
        if wants_whole:
            assert application.pieces[0] == application.pieces[2] == 1
        elif wants_whole is False:
            assert application.pieces[0] > 1

    run(exchange())


@every_loop
@pytest.mark.parametrize("wants_whole", [True, False])
def test_a_receiver_is_told_when_the_connection_breaks_inside(run: Run, wants_whole: bool) -> None:
    async def break_off() -> None:
        application = Echo(wants_whole)
        async with connected(application) as (server, _, writer):
            writer.write(post(LARGE)[:-1])
            await writer.drain()
            writer.transport.abort()
            while not application.aborted:
                application.changed.clear()
                await application.changed.wait()
            assert application.pieces == []
            assert not server.connections

    run(break_off())


@every_loop
def test_a_client_may_close_its_half_behind_the_body(run: Run) -> None:
    async def exchange() -> None:
        async with connected(Echo()) as (_, reader, writer):
            writer.write(post(LARGE))
            writer.write_eof()
            assert await answer(reader) == LARGE

    run(exchange())


@every_loop
def test_a_handler_that_fails_breaks_its_own_connection_only(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def exchange() -> None:
        async with connected(Echo(fails=True)) as (_, reader, writer):
            writer.write(post(LARGE))
            assert await reader.read() == b""

    run(exchange())
    assert "its handler failed" in caplog.text


class Owner:
    def __init__(self) -> None:
        self.body: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def body_grew(self, count: int) -> None: ...

    def body_ended(self) -> None: ...

    def body_is_whole(self, body: bytes) -> None:
        self.body.set_result(body)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None: ...

    pause_writing = resume_writing = body_ended


async def test_the_body_is_the_memory_that_was_read_into() -> None:
    owner = Owner()
    taker = LargeBody(owner, 4, [b"a"])
    buffer = taker.get_buffer(-1)
    buffer[:2] = b"bc"
    taker.buffer_updated(2)
    buffer = taker.get_buffer(-1)
    assert len(buffer) == 1
    buffer[:] = b"d"
    taker.buffer_updated(1)
    del buffer
    assert await owner.body == b"abcd"
    assert owner.body.result() is taker._memory.getvalue()

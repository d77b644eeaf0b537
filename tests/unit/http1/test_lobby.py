"""What silent and slow clients may cost: connections, bytes, time. Real sockets, and patience of a few moments."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import attrs
import pytest

from lambent.http1.application import BodyReceiver
from lambent.http1.lobby import Lobby, Patience
from lambent.http1.request import HeaderList, Request
from lambent.http1.server import Server

MIB = 1 << 20
ASK = b"GET / HTTP/1.1\r\n\r\n"
NEVER_S = 1000.0
PATIENT = Patience(head_s=NEVER_S, progress_s=NEVER_S, idle_s=NEVER_S)


@attrs.define
class Counting:
    """Answers with as many bytes as it was made with."""

    answer_bytes: int = 0
    body_max_bytes: int = 64 * MIB
    answered: int = 0
    broken: asyncio.Event = attrs.field(factory=asyncio.Event)
    tasks: list[asyncio.Task[None]] = attrs.field(factory=list)

    def body_receiver(self, request: Request) -> BodyReceiver | None:
        return None

    def request(self, request: Request) -> None:
        self.answered += 1
        if request.target == b"/stream":
            self.tasks.append(asyncio.get_running_loop().create_task(self._stream(request)))
        elif request.target != b"/never":
            request.respond(200, [], bytes(self.answer_bytes))

    async def _stream(self, request: Request) -> None:
        request.begin(200, [])
        try:
            while True:
                await request.write(bytes(65_536))
        except ConnectionError:
            self.broken.set()

    def too_large(self, request: Request) -> None:
        request.respond(413, [])


@attrs.define
class Front:
    application: Counting
    lobby: Lobby
    server: Server
    address: tuple[str, int]
    clients: list[Client] = attrs.field(factory=list)

    async def connect(self, first: bytes = b"") -> Client:
        before = len(self.server.connections)
        client = Client(*await asyncio.open_connection(*self.address, limit=1024))
        self.clients.append(client)
        client.writer.write(first)
        await until(lambda: len(self.server.connections) != before or self.lobby.is_full)
        return client

    async def ask(self) -> Client:
        client = await self.connect(ASK)
        await client.answer()
        return client

    async def until_stalled(self, condition: Callable[[], bool]) -> None:
        """Looks after the stalled ones until it is so."""

        def look() -> bool:
            self.lobby.close_stalled()
            return condition()

        await until(look)


@attrs.define
class Client:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def answer(self) -> bytes:
        async with asyncio.timeout(10):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def dropped(self) -> None:
        """Returns when the server has closed it."""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(20):
                assert await self.reader.read(1) == b""

    @property
    def is_open(self) -> bool:
        return not self.reader.at_eof() and self.reader.exception() is None


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def front(application: Counting | None = None, **bounds: Any) -> AsyncIterator[Front]:
    lobby = Lobby(**{"patience": PATIENT, **bounds})
    server = Server(application or Counting(), lobby=lobby)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    address = listener.getsockname()
    await server.serve(listener)
    made = Front(application or server.application, lobby, server, address)  # type: ignore[arg-type]
    try:
        yield made
    finally:
        for client in made.clients:
            client.writer.close()
        server.close()
        for task in made.application.tasks:
            task.cancel()
        await asyncio.sleep(0.01)


# connections


async def test_the_ones_that_never_spoke_go_first_and_the_oldest_of_them() -> None:
    async with front(connections_max=8) as it:
        kept = [await it.ask() for _ in range(2)]
        silent = [await it.connect(half) for half in (b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: h\r\nx-a", b"")]
        waiting = [await it.connect(b"GET /never HTTP/1.1\r\n\r\n") for _ in range(2)]
        await until(lambda: it.application.answered == 4)
        for number, oldest in enumerate(silent):
            newcomer = await it.ask()
            await oldest.dropped()
            assert all(other.is_open for other in [*silent[number + 1 :], *kept, *waiting, newcomer])
        assert len(it.server.connections) <= 8


async def test_a_byte_now_and_then_does_not_make_a_head_younger() -> None:
    async with front(connections_max=3) as it:
        dripping = await it.connect(b"G")
        silent = [await it.connect() for _ in range(2)]
        for byte in (b"E", b"T", b" "):
            dripping.writer.write(byte)
            await asyncio.sleep(0.01)
        await it.ask()
        await dripping.dropped()
        assert all(other.is_open for other in silent)


async def test_when_everybody_is_being_served_the_newcomer_is_refused() -> None:
    async with front(connections_max=2) as it:
        served = [await it.connect(b"GET /never HTTP/1.1\r\n\r\n") for _ in range(2)]
        await until(lambda: it.application.answered == 2)
        await (await it.connect()).dropped()
        assert all(other.is_open for other in served)


async def test_thousands_who_say_nothing_keep_nobody_out() -> None:
    async with front(connections_max=200) as it:
        for number in range(1000):
            await it.connect((b"", b"POST / HTTP/1.1\r\nContent-Le", b"P")[number % 3])
            if number % 100 == 99:
                await it.ask()
        assert len(it.server.connections) <= 200


async def test_servers_that_share_a_lobby_share_its_bounds() -> None:
    async with front(connections_max=4) as it, front() as other:
        other.server.lobby = it.lobby
        silent = [await it.connect() for _ in range(4)]
        await other.ask()
        await silent[0].dropped()
        assert all(client.is_open for client in silent[1:])


# time


@pytest.mark.parametrize("beginning", [b"", b"GE", ASK[:-2] + b"x-a: b\r\n"])
async def test_a_head_that_does_not_become_whole_is_given_up(beginning: bytes) -> None:
    async with front(patience=Patience(head_s=0.2, progress_s=NEVER_S, idle_s=NEVER_S)) as it:
        idle, slow = await it.ask(), await it.connect(beginning)
        while slow.is_open:
            it.lobby.close_stalled()
            if beginning:
                slow.writer.write(b"a")
            await asyncio.sleep(0.01)
        assert idle.is_open


async def test_a_body_of_which_nothing_comes_is_given_up() -> None:
    async with front(patience=Patience(head_s=NEVER_S, progress_s=0.1, idle_s=NEVER_S)) as it:
        client = await it.connect(b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\nx")
        served = await it.connect(b"GET /never HTTP/1.1\r\n\r\n")
        await it.until_stalled(lambda: not client.is_open)
        assert served.is_open


async def test_an_answer_of_which_nothing_is_taken_is_given_up_and_its_memory_too() -> None:
    application = Counting(answer_bytes=16 * MIB)
    async with front(application, patience=Patience(head_s=NEVER_S, progress_s=0.2, idle_s=NEVER_S)) as it:
        await it.connect(ASK)
        await until(lambda: it.lobby.held_bytes > MIB)
        await it.until_stalled(lambda: not it.server.connections)
        assert it.lobby.held_bytes == 0


async def test_an_answer_that_is_taken_slowly_is_not_given_up() -> None:
    application = Counting(answer_bytes=16 * MIB)
    async with front(application, patience=Patience(head_s=NEVER_S, progress_s=2.0, idle_s=0.0)) as it:
        client = await it.connect(ASK)
        got = 0
        while got < 16 * MIB:
            got += len(await client.reader.readexactly(min(MIB, 16 * MIB - got)))
            it.lobby.close_stalled()
            await asyncio.sleep(0.02)


async def test_a_stream_that_nobody_reads_is_given_up_and_its_writer_is_told() -> None:
    async with front(patience=Patience(head_s=NEVER_S, progress_s=0.2, idle_s=NEVER_S)) as it:
        await it.connect(b"GET /stream HTTP/1.1\r\n\r\n")
        await it.until_stalled(it.application.broken.is_set)


# bytes


async def test_who_does_not_read_its_answers_is_not_read_either() -> None:
    application = Counting(answer_bytes=MIB)
    async with front(application) as it:
        client = await it.connect()
        for _ in range(30):
            client.writer.write(ASK * 10)
            await asyncio.sleep(0.01)
        assert it.lobby.held_bytes < 2 * MIB
        assert application.answered < 20  # as many as the kernel's buffers take
        for _ in range(300):
            await client.answer()
            await client.reader.readexactly(MIB)
        assert application.answered == 300


async def test_thousands_of_requests_ahead_are_refused() -> None:
    async with front() as it:
        client = await it.connect(b"GET /never HTTP/1.1\r\n\r\n" + ASK * 3000)
        await until(client.reader.at_eof)


async def test_many_that_waited_are_answered_at_once_and_in_order() -> None:
    numbers = 1000

    class First(Counting):
        def request(self, request: Request) -> None:
            self.answered += 1
            if self.answered == 1:
                asyncio.get_running_loop().call_later(0.05, request.respond, 200, [], b"")
            else:
                request.respond(200, [(b"x-n", request.target[1:])], b"")

    async with front(First()) as it:
        client = await it.connect(ASK + b"".join(b"GET /%d HTTP/1.1\r\n\r\n" % n for n in range(numbers)))
        await client.answer()
        for number in range(numbers):
            assert b"\r\nx-n: %d\r\n" % number in await client.answer()


async def test_when_too_much_is_held_the_oldest_holder_goes_and_new_ones_are_served() -> None:
    async with front(bytes_max=10 * MIB) as it:
        head = b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (3 * MIB + 1)
        slow = [await it.connect(head + bytes(3 * MIB)) for _ in range(3)]
        await until(lambda: it.lobby.held_bytes > 9 * MIB)
        quick = await it.connect(head + bytes(3 * MIB))
        quick.writer.write(b"!")
        assert (await quick.answer()).startswith(b"HTTP/1.1 200")
        await slow[0].dropped()
        assert all(client.is_open for client in slow[1:])
        assert it.lobby.held_bytes <= 10 * MIB


@pytest.mark.parametrize("chunk_bytes", [2, 65_536])
async def test_what_a_receiver_keeps_is_held_too(chunk_bytes: int) -> None:
    @attrs.define
    class Keeping:
        request: Request
        keeps: bool = True
        wants_whole: bool = False

        def data(self, chunk: bytes) -> None: ...

        def complete(self, trailers: HeaderList) -> None:
            self.request.respond(200, [])

        def aborted(self) -> None: ...

    class Received(Counting):
        def body_receiver(self, request: Request) -> BodyReceiver | None:
            return Keeping(request)

    body = b"%x\r\n%b\r\n" % (chunk_bytes, b"a" * chunk_bytes) * (3 * MIB // 16 // chunk_bytes)
    async with front(Received(), bytes_max=10 * MIB // 16) as it:
        beginning = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + body
        slow = [await it.connect(beginning) for _ in range(3)]
        await until(lambda: it.lobby.held_bytes == 9 * MIB // 16)
        await it.connect(beginning)
        await slow[0].dropped()
        assert all(client.is_open for client in slow[1:])
        await until(lambda: it.lobby.held_bytes == 9 * MIB // 16)
        slow[1].writer.write(b"0\r\n\r\n")
        await slow[1].answer()
        assert it.lobby.held_bytes == 6 * MIB // 16


async def test_nothing_is_held_for_those_who_are_done() -> None:
    application = Counting(answer_bytes=4 * MIB)
    async with front(application) as it:
        for pieces in ([ASK[:5], ASK[5:]], [ASK * 3], [b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n", b"a", b"bc"]):
            client = await it.connect()
            for piece in pieces:
                client.writer.write(piece)
                await asyncio.sleep(0.01)
            for _ in range(b"".join(pieces).count(b" HTTP")):
                await client.answer()
                await client.reader.readexactly(4 * MIB)
        await until(lambda: it.lobby.held_bytes == 0)
        assert len(it.server.connections) == 3

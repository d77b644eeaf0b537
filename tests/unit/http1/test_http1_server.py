"""The HTTP/1.1 protocol: however the bytes arrive, the requests are the same, and garbage gets one refusal."""

from __future__ import annotations

import asyncio
import collections
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambent.http1.application import BodyReceiver
from lambent.http1.connection import LINES_MAX_BYTES, TAKEN_AT_ONCE, Connection
from lambent.http1.request import HeaderList, Request
from lambent.http1.server import Server


@attrs.define
class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    written: bytearray = attrs.field(factory=bytearray)
    closed: bool = False
    reading: bool = True

    def write(self, data: Any) -> None:
        self.written += data

    def writelines(self, list_of_data: Any) -> None:
        for data in list_of_data:
            self.write(data)

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...


Seen = tuple[bytes, bytes, HeaderList, bytes]


@attrs.define
class Echo:
    """Answers every request at once with its own body."""

    body_max_bytes: int = 1000
    seen: list[Seen] = attrs.field(factory=list)
    refused: int = 0

    def body_receiver(self, request: Request) -> BodyReceiver | None:
        return None

    def request(self, request: Request) -> None:
        self.seen.append((request.method, request.target, request.headers, request.body))
        request.respond(200, [(b"x-n", b"%d" % len(self.seen))], request.body)

    def too_large(self, request: Request) -> None:
        self.refused += 1
        request.respond(413, [], b"too large")


def feed(pieces: list[bytes], application: Echo | None = None) -> tuple[Echo, Wire]:
    application = application or Echo()
    connection, wire = Connection(Server(application)), Wire()
    connection.connection_made(wire)
    for piece in pieces:
        if not wire.closed:
            connection.data_received(piece)
    return application, wire


def without_dates(written: bytes) -> bytes:
    return b"\r\n".join(line for line in written.split(b"\r\n") if not line.startswith(b"date:"))


def message(method: str, path: str, headers: list[tuple[str, str]], body: bytes, chunk: int | None) -> bytes:
    lines = [f"{method} /{path} HTTP/1.1", "Host: h", *(f"{name}: {value}" for name, value in headers)]
    if chunk is None:
        lines.append(f"Content-Length: {len(body)}")
        content = body
    else:
        lines.append("Transfer-Encoding: chunked")
        pieces = [body[i : i + chunk] for i in range(0, len(body), chunk)]
        content = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


names = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=8).map(lambda name: f"x-{name}")
messages = st.builds(
    message,
    st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    st.text("abc/?=&%20", max_size=20).map(lambda text: text.replace(" ", "")),
    st.lists(st.tuples(names, st.text("abc 123;=,", max_size=12).map(str.strip)), max_size=5),
    st.binary(max_size=60),
    st.none() | st.integers(1, 20),
)


@given(st.lists(messages, min_size=1, max_size=4))
def test_byte_by_byte_is_the_same_as_all_at_once(requests: list[bytes]) -> None:
    data = b"".join(requests)
    whole, wire = feed([data])
    single, slow_wire = feed([data[i : i + 1] for i in range(len(data))])
    assert len(whole.seen) == len(requests)
    assert single.seen == whole.seen
    assert without_dates(bytes(slow_wire.written)) == without_dates(bytes(wire.written))


@settings(max_examples=300)
@given(st.lists(messages, max_size=2), st.binary(min_size=1, max_size=80), st.integers(1, 40))
def test_garbage_is_refused_with_at_most_one_400_and_never_an_exception(
    good: list[bytes], garbage: bytes, cut: int
) -> None:
    data = b"".join(good) + garbage
    application, wire = feed([data[i : i + cut] for i in range(0, len(data), cut)])
    assert bytes(wire.written).count(b"HTTP/1.1 400 ") <= 1
    assert len(application.seen) >= len(good)
    if b"HTTP/1.1 400 " in wire.written:
        assert wire.closed


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET  HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nBad Header: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nx: a\x00b\r\n\r\n",
        b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 300 + b"\r\n",
        b"GET / HTTP/1.1\r\nx: " + b"y" * 70_000 + b"\r\n\r\n",
    ],
)
def test_malformed_requests_get_one_400_and_a_closed_connection(data: bytes) -> None:
    application, wire = feed([data])
    assert bytes(wire.written).startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert (wire.closed, application.seen) == (True, [])


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_refused_once_and_the_rest_thrown_away(chunked: bool) -> None:
    body = b"x" * 5000
    data = message("POST", "", [], body, 100 if chunked else None) + message("GET", "next", [], b"", None)
    application, wire = feed([data[i : i + 64] for i in range(0, len(data), 64)])
    assert (application.refused, application.seen) == (1, [])
    assert b"HTTP/1.1 413 " in wire.written
    assert b"connection: close" in wire.written
    assert wire.closed


@pytest.mark.parametrize(
    "beginning",
    [
        b"GET / HTTP/1.1\r\nX: ",
        b"GET / HTTP/1.1\r\nHost: h\r\nX: ",
        b"GET / HTTP/1.1\r\nHost: h\r\nX",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: ",
        b"\r\n",
    ],
)
@pytest.mark.parametrize("is_received", [False, True])
def test_a_line_without_end_is_refused_before_it_has_become_long(beginning: bytes, is_received: bool) -> None:
    """The parser keeps it, and copies all of it for each piece more."""

    class Thrown:
        wants_whole = keeps = False

        def data(self, chunk: bytes) -> None: ...

        def complete(self, trailers: HeaderList) -> None: ...

        def aborted(self) -> None: ...

    class Receiving(Echo):
        def body_receiver(self, request: Request) -> BodyReceiver | None:
            return Thrown() if is_received else None

    piece = (b"a" if beginning.strip() else b"\r\n") * 10_000
    application, wire = feed([beginning, *([piece] * (LINES_MAX_BYTES // 10_000 + 2))], Receiving())
    assert (wire.closed, application.seen) == (True, [])


def test_pipelined_requests_are_answered_in_order() -> None:
    application, wire = feed([message("GET", "1", [], b"a", None) + message("GET", "2", [], b"b", None)])
    assert [seen[1] for seen in application.seen] == [b"/1", b"/2"]
    assert bytes(wire.written).index(b"x-n: 1") < bytes(wire.written).index(b"x-n: 2")


def test_an_answer_to_head_has_no_body_and_may_state_the_length_of_what_get_would_give() -> None:
    class Object(Echo):
        def request(self, request: Request) -> None:
            request.respond(200, [(b"Content-Length", b"12345")] if request.target == b"/o" else [], b"gone")

    _, wire = feed([b"HEAD /o HTTP/1.1\r\n\r\nHEAD /p HTTP/1.1\r\n\r\n"], Object())
    written = bytes(wire.written)
    assert written.count(b"gone") == 0
    assert written.count(b"Content-Length: 12345") == 1
    assert written.count(b"content-length: 4") == 1


@pytest.mark.parametrize("cut", [1, 7, 1000])
def test_an_offer_to_upgrade_is_ignored_and_the_body_is_not(cut: int) -> None:
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAA\r\n"
    data = b"POST /x HTTP/1.1\r\n" + offer + b"Content-Length: 2\r\n\r\nhi" + message("GET", "y", [], b"", None)
    application, wire = feed([data[i : i + cut] for i in range(0, len(data), cut)])
    assert [(seen[0], seen[1], seen[3]) for seen in application.seen] == [(b"POST", b"/x", b"hi"), (b"GET", b"/y", b"")]
    assert bytes(wire.written).count(b"HTTP/1.1 200 ") == 2


async def test_however_many_offer_to_upgrade_in_one_piece_all_are_answered(address: Callable[[Any], Any]) -> None:
    offer = b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    reader, writer = await asyncio.open_connection(*await address(Echo()))
    writer.write(offer * 1000 + b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
    async with asyncio.timeout(20):
        assert (await reader.read()).count(b"HTTP/1.1 200 ") == 1001
    writer.close()


async def test_who_sends_many_requests_at_once_leaves_the_others_their_turns(address: Callable[[Any], Any]) -> None:
    turn = 0
    taken = collections.Counter[int]()

    class InTurns(Echo):
        def request(self, request: Request) -> None:
            taken[turn] += 1
            super().request(request)

    reader, writer = await asyncio.open_connection(*await address(InTurns()))
    writer.write(b"GET / HTTP/1.1\r\n\r\n" * 1000)
    async with asyncio.timeout(20):
        while taken.total() < 1000:
            await asyncio.sleep(0)
            turn += 1
    assert max(taken.values()) <= 2 * TAKEN_AT_ONCE  # what comes in the turn in which others are being answered
    writer.write(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
    numbers = [int(line.split()[1]) for line in (await reader.read()).split(b"\r\n") if line.startswith(b"x-n: ")]
    assert numbers == list(range(1, 1002))
    writer.close()


def test_a_tunnel_is_refused() -> None:
    application, wire = feed([b"CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n"])
    assert bytes(wire.written).startswith(b"HTTP/1.1 400 ")
    assert (wire.closed, application.seen) == (True, [])


def test_expect_continue_is_answered_before_the_body() -> None:
    _, wire = feed([b"POST / HTTP/1.1\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n"])
    assert bytes(wire.written) == b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.fixture
async def address() -> AsyncIterator[Callable[[Any], Any]]:
    servers: list[Server] = []

    async def start(application: Any) -> tuple[str, int]:
        listener = socket.create_server(("127.0.0.1", 0))
        server = Server(application)
        servers.append(server)
        host: tuple[str, int] = listener.getsockname()
        await server.serve(listener)
        return host

    yield start
    for server in servers:
        server.close()


async def test_a_streamed_answer_waits_for_a_slow_reader(address: Callable[[Any], Any]) -> None:
    progress: list[int] = []
    tasks: set[asyncio.Task[None]] = set()

    class Flood(Echo):
        def request(self, request: Request) -> None:
            tasks.add(asyncio.get_running_loop().create_task(self._flood(request)))

        async def _flood(self, request: Request) -> None:
            request.begin(200, [])
            for number in range(400):
                await request.write(b"x" * 65_536)
                progress.append(number)
            request.end()

    reader, writer = await asyncio.open_connection(*await address(Flood()), limit=4096)
    writer.write(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    while not progress or progress[-1] != (await _settled(progress)):
        continue
    assert len(progress) < 400
    rest = await reader.read()
    assert len(rest) > 400 * 65_536
    assert len(progress) == 400
    writer.close()


async def _settled(progress: list[int]) -> int:
    """The last entry, once a few turns of the loop add nothing."""
    for _ in range(50):
        await asyncio.sleep(0)
    return progress[-1] if progress else -1


async def test_a_reader_that_leaves_ends_the_stream_with_an_error(address: Callable[[Any], Any]) -> None:
    ended = asyncio.get_running_loop().create_future()
    tasks: set[asyncio.Task[None]] = set()

    class Endless(Echo):
        def request(self, request: Request) -> None:
            tasks.add(asyncio.get_running_loop().create_task(self._stream(request)))

        async def _stream(self, request: Request) -> None:
            request.begin(200, [])
            try:
                while True:
                    await request.write(b"x" * 65_536)
                    await asyncio.sleep(0)
            except ConnectionError as error:
                ended.set_result(error)

    reader, writer = await asyncio.open_connection(*await address(Endless()))
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    writer.close()
    assert isinstance(await ended, ConnectionError)

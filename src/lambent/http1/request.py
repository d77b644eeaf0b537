"""One request, and the ways to answer it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from lambent.http1.connection import Connection

HeaderList = list[tuple[bytes, bytes]]

APPLICATION: Final = 1  # why a connection is not read: the application is behind with the body

STATUS_LINES: Final = {s.value: b"HTTP/1.1 %d %s\r\n" % (s.value, s.phrase.encode()) for s in HTTPStatus}


class Request:
    """One request and the way to answer it. `headers` has lower-case names; `body` is whole when `request` is called."""

    __slots__ = ("_began", "_connection", "answered", "body", "content_length", "eof_is_disconnect", "fields",
                 "headers", "keep_alive", "method", "on_disconnect", "target")  # fmt: skip

    def __init__(
        self,
        connection: Connection,
        method: bytes,
        target: bytes,
        headers: HeaderList,
        keep_alive: bool = True,
    ) -> None:
        self._connection = connection
        self.method = method
        self.target = target  # path and query, as sent
        self.headers = headers
        self.fields = dict(headers)
        if len(self.fields) != len(headers):
            self.fields = dict(headers[::-1])  # the first value of each
        length = self.fields.get(b"content-length")  # the parser has seen that it is one number
        self.content_length = None if length is None else int(length)  # of the body, in bytes; None when it is chunked
        self.body = b""
        self.keep_alive = keep_alive
        self.answered = False  # the last byte of the answer has been handed to the transport
        self.on_disconnect: Callable[[], None] | None = None  # called when the peer is gone before the answer is whole
        self.eof_is_disconnect = False  # a peer that closes its half while it waits for the answer counts as gone
        self._began = False

    @property
    def peer_address(self) -> str | None:
        """The IP address that it came from; None for one that came by a socket without addresses."""
        transport = self._connection.transport
        peer = transport.get_extra_info("peername") if transport is not None else None
        return str(peer[0]) if isinstance(peer, tuple) and peer else None

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header; `name` in lower case."""
        return self.fields.get(name)

    @property
    def connected(self) -> bool:
        return self._connection.transport is not None

    @property
    def application_data(self) -> Any:
        """What the server was given for the listener this came in by: says which environment is calling."""
        return self._connection.server.data

    def pause_reading(self) -> None:
        """Takes no more of the body from the network until `resume_reading`; for a receiver that is behind."""
        self._connection.pause_reading(APPLICATION)

    def resume_reading(self) -> None:
        self._connection.resume_reading(APPLICATION)

    def respond(
        self, status: int, headers: Collection[tuple[bytes, bytes]] | bytes, body: bytes = b"", *, hold: bool = False
    ) -> None:
        """Sends a whole answer. Quietly does nothing when the peer is gone.

        `headers` are pairs, or whole header lines as `header_lines` makes them.

        The length is the body's; only an answer to HEAD may state another in its own headers. `hold` lets the answer
        travel with the next one on this connection, when the peer has already asked for that: one system call less.
        """
        if self.answered or self._began:
            raise RuntimeError("a request is answered once")
        self.answered = True
        if isinstance(headers, bytes) and self.keep_alive and status != 204 and self.method != b"HEAD":
            self._connection.last_progress = now_s = time.monotonic()
            date = _date_line if now_s < _date_until_s else date_header(now_s)
            lines = b"%b%b%bcontent-length: %d\r\n\r\n" % (STATUS_LINES[status], date, headers, len(body))
            self._connection.answer(self, lines, body, hold)
            return
        head = self._head(status, headers)
        if status != 204 and not (self.method == b"HEAD" and not isinstance(headers, bytes) and _has_length(headers)):
            head.append(b"content-length: %d\r\n" % len(body))
        head.append(b"\r\n")
        if self.method == b"HEAD":
            body = b""
        self._connection.answer(self, b"".join(head), body, hold and self.keep_alive)

    def set_shortcut(self, shortcut: Callable[[bytes], bool]) -> None:
        """`shortcut` sees bytes that begin a message on this connection first, and says whether it took them all."""
        self._connection.shortcut = shortcut

    def ask_again(self, answers: bytes) -> None:
        """For a shortcut that took the same request anew: it is to be answered once more, after `answers`.

        `answers` are sent together with that.
        """
        self.answered = False
        self._connection.ask_again(self, answers)

    def begin(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Starts a chunked answer."""
        self._began = True
        head = self._head(status, headers)
        head.append(b"transfer-encoding: chunked\r\n\r\n")
        self._connection.send(head)

    async def write(self, chunk: bytes) -> None:
        """A piece of a chunked answer; waits while the peer reads slowly. Raises ConnectionError when it is gone."""
        if self._connection.transport is None:
            raise ConnectionResetError("the peer closed the connection")
        if chunk:
            self._connection.send([b"%x\r\n" % len(chunk), chunk, b"\r\n"])
            await self._connection.drained()

    def end(self, trailers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self.answered = True
        self._connection.send([b"0\r\n", *(b"%b: %b\r\n" % pair for pair in trailers), b"\r\n"])
        self._connection.finished(self)

    def abort(self) -> None:
        """Breaks the connection: the only honest end of a chunked answer that cannot be finished."""
        self.answered = True
        self._connection.abort()

    def _head(self, status: int, headers: Iterable[tuple[bytes, bytes]] | bytes) -> list[bytes]:
        head = [STATUS_LINES[status], date_header(time.monotonic())]
        if isinstance(headers, bytes):
            head.append(headers)
        else:
            for pair in headers:
                head.append(b"%b: %b\r\n" % pair)  # noqa: PERF401 - a generator costs twice as much
        if not self.keep_alive:
            head.append(b"connection: close\r\n")
        return head


def _has_length(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(name.lower() == b"content-length" for name, _ in headers)


def header_lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Headers as they are sent; for those that are sent often."""
    return b"".join(b"%b: %b\r\n" % pair for pair in headers)


_date_line = b""
_date_until_s = -math.inf  # monotonic


def date_header(now_s: float) -> bytes:
    """The Date header's line, made once a second. `now_s`: the monotonic time."""
    global _date_line, _date_until_s
    if now_s >= _date_until_s:
        time_s = time.time()
        _date_line = b"date: %b\r\n" % formatdate(time_s // 1, usegmt=True).encode()
        _date_until_s = now_s + 1 - time_s % 1
    return _date_line

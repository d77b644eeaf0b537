"""One client's connection: bytes in, requests for the application, answers out, one at a time."""

from __future__ import annotations

import asyncio
import collections
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

import httptools

from lambent.http1.application import BodyReceiver
from lambent.http1.large_body import LARGE_BYTES, LargeBody
from lambent.http1.lobby import Patience
from lambent.http1.request import APPLICATION, STATUS_LINES, HeaderList, Request

if TYPE_CHECKING:
    from lambent.http1.server import Server

_log = logging.getLogger(__name__)

TARGET_MAX_BYTES: Final = 32 * 1024
HEADERS_MAX_BYTES: Final = 64 * 1024
HEADERS_MAX_COUNT: Final = 200
# Come since a head began, or since the last of a body: lines that have no end.
LINES_MAX_BYTES: Final = 2 * HEADERS_MAX_BYTES
WRITE_HIGH_WATER_BYTES: Final = 256 * 1024
WAITING_MAX: Final = 16  # requests that were pipelined
WAITING_MAX_BYTES: Final = 256 * 1024  # of their bodies
TAKEN_AT_ONCE: Final = 32  # requests of one connection, before all the others of the loop have their turn
REFUSED_WAITING: Final = (
    1024  # no honest client sends so many ahead; one reading of a socket may bring ten times as many
)
COPIED_BYTES: Final = (
    16_384  # a body of so many is sent in one piece with its head; a larger one is not copied for that
)
HOLD_S: Final = 0.002  # how long an answer may wait for company

# Why a connection is not read, besides APPLICATION.
_PIPELINE: Final = 2  # enough requests wait already
_ANSWERS: Final = 4  # the peer does not read them
_BODY: Final = 8  # it is whole, and is being taken over


class Connection(asyncio.Protocol):
    """One client's connection."""

    __slots__ = ("_asked", "_between", "_big_input", "_body", "_body_bytes", "_current", "_fed_bytes", "_head_since", "_headers",
                 "_held", "_is_large", "_is_serving", "_line_bytes", "_lines", "_mid_head", "_parser", "_paused", "_receiver",
                 "_refused", "_release", "_request", "_taken", "_taken_since", "_target", "_trailers", "_untaken_bytes",
                 "_waiting", "_writable", "application", "held_bytes", "last_progress", "server", "shortcut",
                 "transport")  # fmt: skip

    def __init__(self, server: Server) -> None:
        self.server = server
        self.application = server.application
        self.transport: asyncio.Transport | None = None
        self.last_progress = time.monotonic()
        self.held_bytes = 0  # see `Lobby.hold`
        self._head_since = self.last_progress  # when the head that we wait for began; or the connection
        self._asked = False  # at least one head has been whole
        self._paused = 0  # why it is not read
        self._taken_since = self.last_progress  # when the peer took some of the answer last, as far as was seen
        self._untaken_bytes = 0
        # Takes bytes that begin a message, if it knows them: says whether it did. What it leaves goes to the parser.
        self.shortcut: Callable[[bytes], bool] | None = None
        self._parser: Any = httptools.HttpRequestParser(self)
        self._between = True  # no message has begun
        self._target = b""
        self._headers: HeaderList = []
        self._lines: HeaderList = self._headers  # where the next line goes: the headers, or the trailers
        self._trailers: HeaderList | None = None
        self._big_input = False  # what is being fed may hold too large a head
        self._mid_head = False  # the last input ended inside a head
        self._line_bytes = 0  # the parser keeps a line until it is whole, and says nothing of it
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._taken = 0  # requests, of the last input
        self._fed_bytes = 0  # of bodies, in the last input: chunks may be small, and what is around them is not kept
        self._is_large = False  # the body is, and to be gathered
        self._request: Request | None = None  # whose head is in
        self._receiver: BodyReceiver | None = None
        self._refused = False  # the rest of this connection's input is thrown away
        self._current: Request | None = None  # being answered
        self._waiting: collections.deque[Request] = collections.deque()
        self._is_serving = False  # those who wait
        self._writable: asyncio.Event | None = None
        self._held = b""  # an answer that waits a moment for the next one
        self._release: asyncio.TimerHandle | None = None

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=WRITE_HIGH_WATER_BYTES)
        limit = self.server.connections_max
        if limit is not None and len(self.server.connections) >= limit:
            self.transport.abort()
        self.server.connections.add(self)
        self.server.lobby.enter(self)

    def data_received(self, data: bytes) -> None:
        self.last_progress = time.monotonic()
        if self._refused:
            return
        is_free = self._between and self._current is None and not self._waiting
        if is_free and self.shortcut is not None and self.shortcut(data):
            return
        # The bytes of a head that came whole in one small piece need no counting.
        self._big_input = self._mid_head or len(data) > HEADERS_MAX_BYTES
        self._line_bytes += len(data)
        self._fed_bytes = self._taken = 0
        try:
            self._feed(data)
            if self._line_bytes > LINES_MAX_BYTES:
                raise ValueError("a line of the request is too long")
            self._mid_head = (bool(self._headers) and self._trailers is None) or bool(self._trailers)
            if self._mid_head:
                self._check_headers()
        except httptools.HttpParserCallbackError as error:
            # A ValueError is our own word for too much; anything else is a mistake in the application.
            if not isinstance(error.__context__, ValueError):
                _log.error("a request was dropped: its handler failed", exc_info=error.__context__)
            self._malformed()
        except (httptools.HttpParserError, ValueError):
            self._malformed()
        if (not self._between and self._is_kept) or self._waiting:
            self.server.lobby.hold(self, len(data) if self._receiver is None else self._fed_bytes)
        elif self.held_bytes:
            self._let_go()
        if self._is_large and not self._between:
            self._take_large_body()
        if self._current is None:
            if self._held:
                self.send([])
            if self._waiting and self._writable is None:
                self._serve_soon()

    def _feed(self, data: bytes | memoryview) -> None:
        """Takes a request as if it had not offered another protocol, which some clients (Java's, curl's) do with every one."""
        while True:
            try:
                self._parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                taken = upgrade.args[0]
            data = memoryview(data)[taken:]
            self._ignore_upgrade()

    def _ignore_upgrade(self) -> None:
        """The parser would leave out the body; so another one gets the same head without the offer. Raises ValueError."""
        method = self._parser.get_method()
        if method == b"CONNECT":
            raise ValueError("nothing is connected to")
        offer = (b"connection", b"upgrade", b"http2-settings")
        lines = [b"%b: %b\r\n" % pair for pair in self._headers if pair[0] not in offer]
        self._parser = httptools.HttpRequestParser(self)
        self._parser.feed_data(b"%b %b HTTP/1.1\r\n%b\r\n" % (method, self._target, b"".join(lines)))

    def eof_received(self) -> bool:
        # A client may close its half once it has sent its request; keep the other half while an answer is owed.
        return self._current is not None and not self._refused and not self._current.eof_is_disconnect

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self._release is not None:
            self._release.cancel()
        self.server.connections.discard(self)
        self.server.lobby.leave(self)
        if self._writable is not None:
            self._writable.set()
        if self._receiver is not None:
            receiver, self._receiver = self._receiver, None
            receiver.aborted()
        current, self._current = self._current, None
        self._waiting.clear()
        if current is not None and not current.answered and current.on_disconnect is not None:
            current.on_disconnect()

    def pause_writing(self) -> None:
        self._writable = asyncio.Event()
        self.pause_reading(_ANSWERS)
        if self.transport is not None:
            self.server.lobby.hold(self, self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        if self._writable is not None:
            self._writable.set()
            self._writable = None
        self.resume_reading(_ANSWERS)
        self._serve_waiting()

    # httptools callbacks

    def on_message_begin(self) -> None:
        self._between = False
        self._line_bytes = 0
        self._head_since = self.last_progress
        self._target = b""
        self._headers = self._lines = []
        self._trailers = None
        self._body = []
        self._body_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._target += url
        if len(self._target) > TARGET_MAX_BYTES:
            raise ValueError("the request target is too long")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._lines.append((name.lower(), value))

    def _check_headers(self) -> None:
        """Once a head is whole, and after each piece of one that is not. Raises ValueError."""
        headers = self._trailers or self._headers
        if len(headers) > HEADERS_MAX_COUNT or sum(len(n) + len(v) for n, v in headers) > HEADERS_MAX_BYTES:
            raise ValueError("the request's headers are too large")

    def on_headers_complete(self) -> None:
        if self._parser.should_upgrade():
            return  # the parser stops here; see _ignore_upgrade
        if self._big_input or len(self._headers) > HEADERS_MAX_COUNT:
            self._check_headers()
        self._lines = self._trailers = []
        self._line_bytes = 0
        parser = self._parser
        request = Request(self, parser.get_method(), self._target, self._headers, parser.should_keep_alive())
        self._request = request
        self._asked = True
        self._is_large = False
        if request.content_length is not None and request.content_length > self.application.body_max_bytes:
            self._refuse(request)
            return
        receiver = self._receiver = self.application.body_receiver(request)
        if request.content_length is not None and request.content_length > LARGE_BYTES:
            self._is_large = receiver is None or receiver.wants_whole
        if request.fields.get(b"expect") == b"100-continue" and self.transport is not None:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, chunk: bytes) -> None:
        self._line_bytes = 0
        self._fed_bytes += len(chunk)
        if self._refused:
            return
        if self._receiver is not None and not self._is_large:
            self._receiver.data(chunk)
            return
        self._body_bytes += len(chunk)
        if self._body_bytes > self.application.body_max_bytes:
            assert self._request is not None
            self._refuse(self._request)
            return
        self._body.append(chunk)

    def on_message_complete(self) -> None:
        self._between = True
        request, self._request = self._request, None
        if request is None or self._refused:
            return
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body = []
        if self._receiver is not None:
            receiver, self._receiver = self._receiver, None
            if self._current is None:
                self._current = request
            if self._is_large:
                receiver.data(body)
            receiver.complete(self._trailers or [])
            return
        request.body = body
        self._taken += 1
        if self._current is None and self._writable is None and not self._waiting and self._taken <= TAKEN_AT_ONCE:
            self._current = request
            self.application.request(request)
        else:
            self._wait(request)

    # large bodies

    def _take_large_body(self) -> None:
        """From here on without the parser, of which the next message gets another."""
        request = self._request
        if request is None or request.content_length is None or not self._is_open or self.transport is None:
            return
        begun, self._body = self._body, []
        self._parser = httptools.HttpRequestParser(self)
        self.transport.set_protocol(LargeBody(self, request.content_length, begun))

    def body_grew(self, count: int) -> None:
        self.last_progress = time.monotonic()
        if self._is_kept:
            self.server.lobby.hold(self, count)

    @property
    def _is_kept(self) -> bool:
        """Whether what comes of this message is."""
        return self._receiver is None or self._receiver.keeps

    def body_ended(self) -> None:
        self.pause_reading(_BODY)

    def body_is_whole(self, body: bytes) -> None:
        if self.transport is None:
            return
        self.transport.set_protocol(self)
        self.resume_reading(_BODY)
        self._body = [body]
        try:
            self.on_message_complete()
        except ValueError:
            self._malformed()
        except Exception:
            _log.exception("a request was dropped: its handler failed")
            self._malformed()
        self._let_go()

    def _wait(self, request: Request) -> None:
        """Until those before it have been answered, and the answers read. Raises ValueError."""
        self._waiting.append(request)
        if len(self._waiting) > REFUSED_WAITING:
            raise ValueError("too many requests were sent ahead")
        if len(self._waiting) > WAITING_MAX or sum(len(r.body) for r in self._waiting) > WAITING_MAX_BYTES:
            self.pause_reading(_PIPELINE)

    # answers

    def answer(self, request: Request, head: bytes, body: bytes, hold: bool) -> None:
        """A whole answer to the request whose turn it is."""
        if hold:
            self.hold(head + body)
        elif len(body) > COPIED_BYTES or self._writable is not None or self.transport is None:
            self.send([head, body])
        else:  # as `send`, for nearly all of them
            self.transport.write(self._take_held() + head + body if self._held else head + body)
        if self._waiting or not request.keep_alive or self._refused:
            self.finished(request)
        else:
            self._current = None

    def ask_again(self, request: Request, answers: bytes) -> None:
        self._held += answers
        self._current = request

    def send(self, pieces: list[bytes]) -> None:
        if self.transport is None:
            return
        self.last_progress = time.monotonic()
        if self._held:
            pieces = [self._take_held(), *pieces]
        if self._writable is not None:
            self.server.lobby.hold(self, sum(map(len, pieces)))
        if len(pieces) > 1 and len(pieces[-1]) > COPIED_BYTES:
            self.transport.writelines(pieces)
        else:
            self.transport.write(b"".join(pieces))

    def _take_held(self) -> bytes:
        held, self._held = self._held, b""
        if self._release is not None:
            self._release.cancel()
            self._release = None
        return held

    def hold(self, answer: bytes) -> None:
        """Sends with whatever is sent next, which a pipelined request may bring about; or in a moment."""
        self._held += answer
        if self._release is None:
            self._release = asyncio.get_running_loop().call_later(HOLD_S, self.send, [])

    async def drained(self) -> None:
        if self._writable is not None:
            await self._writable.wait()
        if self.transport is None:
            raise ConnectionResetError("the peer closed the connection")

    def finished(self, request: Request) -> None:
        if self.transport is None:
            return
        if not request.keep_alive or self._refused:
            self.transport.close()
            return
        if self._current is request:
            self._current = None
            self._serve_waiting()

    def _serve_waiting(self) -> None:
        """One after the other. An answer that comes at once calls this again, which must not go deeper each time."""
        if self._is_serving:
            return
        self._is_serving = True
        taken = 0
        try:
            while self._waiting and self._current is None and self._writable is None and self._is_open:
                if taken == TAKEN_AT_ONCE:
                    self._serve_soon()
                    break
                taken += 1
                self._current = self._waiting.popleft()
                self.application.request(self._current)
        finally:
            self._is_serving = False
        if len(self._waiting) <= WAITING_MAX:
            self.resume_reading(_PIPELINE)
        self._let_go()

    def _serve_soon(self) -> None:
        asyncio.get_running_loop().call_soon(self._serve_waiting)

    @property
    def _is_open(self) -> bool:
        return self.transport is not None and not self.transport.is_closing()

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def pause_reading(self, reason: int) -> None:
        if self.transport is not None and self._is_open and not self._paused:
            self.transport.pause_reading()
        self._paused |= reason

    def resume_reading(self, reason: int) -> None:
        was_paused, self._paused = self._paused, self._paused & ~reason
        if was_paused and not self._paused and self.transport is not None and self._is_open:
            self.last_progress = time.monotonic()
            self.transport.resume_reading()

    def _let_go(self) -> None:
        if self._between and not self._waiting and self._writable is None:
            self.server.lobby.let_go(self)

    # time

    @property
    def silence(self) -> tuple[int, float] | None:
        """None while it waits for us. Else: has it ever asked, is it between two requests; and since when (monotonic)."""
        if self._current is not None and self._request is None:
            return None
        if not self._asked:
            return 0, self._head_since
        return (1, self.last_progress) if self._between else (2, self._head_since)

    def is_stalled(self, now: float, patience: Patience) -> bool:
        """Whether nothing has moved for so long that the connection may be closed."""
        if self._is_unread(now):
            return now - self._taken_since > patience.progress_s
        if (self._current is not None and self._request is None) or self._paused & APPLICATION:
            return False  # it waits for us
        if self._request is not None:
            return now - self.last_progress > patience.progress_s
        if not self._asked or not self._between:
            return now - self._head_since > patience.head_s
        return now - self.last_progress > patience.idle_s

    def _is_unread(self, now: float) -> bool:
        """Whether some of what was sent still waits here, and notes when that became less."""
        untaken_bytes = self.transport.get_write_buffer_size() if self.transport is not None else 0
        if not untaken_bytes or untaken_bytes < self._untaken_bytes or not self._untaken_bytes:
            self._taken_since = now
        self._untaken_bytes = untaken_bytes
        return untaken_bytes > 0

    def _refuse(self, request: Request) -> None:
        self._refused = True
        self._body = []
        request.keep_alive = False
        self._current = request
        self.application.too_large(request)

    def _malformed(self) -> None:
        if self._held:
            self.send([])
        self._refused = True
        if self._receiver is not None:
            receiver, self._receiver = self._receiver, None
            receiver.aborted()
        if self.transport is not None:
            if self._current is None:
                self.transport.write(STATUS_LINES[400] + b"content-length: 0\r\nconnection: close\r\n\r\n")
            self.transport.close()

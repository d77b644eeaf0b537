"""The Runtime API's endpoints: next, response, error, init error.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Generator
from typing import Any, Final, Protocol

from msgspec.structs import replace

from lambent.http1.application import BodyReceiver
from lambent.http1.request import HeaderList, Request
from lambent.model.limits import SYNC_RESPONSE_MAX_BYTES
from lambent.runtimeapi.answers import Collected, Discarded, accept, accept_with_next, refuse
from lambent.runtimeapi.headers import (
    ERROR_TYPE_HEADER,
    RESPONSE_MODE_HEADER,
    content_type,
    error_body,
    event_headers,
    header_text,
    too_large_fault,
    trailing_error,
)
from lambent.runtimeapi.protocol import (
    INVALID_REQUEST_ID,
    INVALID_RESPONSE_MODE,
    Refusal,
    RuntimeMove,
    RuntimeProtocol,
    RuntimeState,
)
from lambent.runtimeapi.streaming import StreamedBody
from lambent.runtimeapi.values import RuntimeCall, RuntimeFault, RuntimeResponse

SMALL_BODY_MAX_BYTES: Final = 64 * 1024  # the connection may gather as much by itself
_LENGTH_DIGITS: Final = 5  # of a small body's length
_RUNNING: Final = RuntimeState.RUNNING  # every invocation asks; an Enum's own look-up is slow
_EXCHANGE, _EVENT = RuntimeMove.EXCHANGE, RuntimeMove.EVENT
TOO_LARGE: Final = Refusal(
    413, "RequestEntityTooLarge", f"Exceeded maximum allowed payload size ({SYNC_RESPONSE_MAX_BYTES} bytes)."
)


class PendingResponse:
    """An invocation under way. Awaiting it gives the `RuntimeResponse` when the runtime's answer is complete.

    `notify` is called when that is so, and again when `finished` is true; once only if both come together.
    """

    __slots__ = ("_done", "_waiters", "call", "notify", "response")

    def __init__(self, call: RuntimeCall) -> None:
        self.call = call
        self.response: RuntimeResponse | None = None
        self.notify: Callable[[], None] | None = None
        self._done = False
        # One for each waiter, so that a waiter who is cancelled takes nothing from the others.
        self._waiters: list[asyncio.Future[None]] = []

    def __await__(self) -> Generator[Any, None, RuntimeResponse]:
        while self.response is None:
            yield from self._waiter()
        return self.response

    async def runtime_done(self) -> None:
        """Returns when the runtime, and each extension that got the event, is back in its /next.

        AWS ends the invocation there, and only then may the environment be frozen or used again. Returns as well when
        the invocation was failed by `EnvironmentApi.fail_current`.
        """
        while not self._done:
            await self._waiter()

    @property
    def answered(self) -> bool:
        return self.response is not None

    @property
    def finished(self) -> bool:
        return self._done

    def resolve(self, response: RuntimeResponse) -> None:
        """The first answer counts."""
        if self.response is None:
            self.response = response
            self._wake()

    def finish(self, response: RuntimeResponse | None = None) -> None:
        """Nothing more comes; `response` is the answer, if there has been none yet."""
        if not self._done:
            self._done = True
            if self.response is None:
                self.response = response
            self._wake()

    def _waiter(self) -> asyncio.Future[None]:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        return waiter

    def _wake(self) -> None:
        if self.notify is not None:
            self.notify()
        if self._waiters:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)


class Ready(Protocol):
    def __call__(self, response: RuntimeResponse | None = None) -> None:
        """The runtime waits in /next; `response` came with that, and nobody has been told of it."""


class RuntimeEndpoints:
    """What the runtime process may ask, and the invocation that it works on."""

    def __init__(self, function_version: str, ready: Ready, init_failed: Callable[[str, bytes], None]) -> None:
        self._function_version = function_version
        self._ready = ready
        self._init_failed = init_failed
        self._waiting: Request | None = None  # parked in /next
        self._lean: Request | None = None  # the /next of a client that speaks as Lambent's own do: see `_exchange`
        self._lean_next = b""  # the bytes of that request
        self._lean_head = b""  # what its answers begin with, from the path's end on
        self._event: tuple[bytes, bytes] | None = None  # headers and payload, until answered
        self._stream: StreamedBody | None = None  # a response that is being passed on
        self.protocol = RuntimeProtocol()
        self.pending: PendingResponse | None = None
        self._request_id: bytes | None = None  # of the invocation that the runtime must answer; None between two

    # the platform's side

    def offer(self, call: RuntimeCall) -> PendingResponse:
        """Hands an event to the runtime, now if it waits, else when it asks next."""
        self.pending = PendingResponse(call)
        self._event = (event_headers(call), call.payload)
        self._request_id = call.request_id.encode()
        if self._waiting is not None:
            self._deliver()
        return self.pending

    def fail(self, fault: RuntimeFault) -> None:
        """Ends the invocation under way; the runtime is not spoken to any more."""
        self.protocol.move(RuntimeMove.GONE)
        self._event = None
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.cancel()
        if self.pending is not None:
            response = replace(_failed(fault), by_platform=True)
            if stream is not None:
                broken = (fault.error_type, fault.payload)
                response = replace(response, payload=b"", streamed=True, stream_error=broken)
            self.pending.finish(response)

    # endpoints

    def next(self, request: Request) -> None:
        if (refusal := self.protocol.move(RuntimeMove.NEXT)) is not None:
            refuse(request, refusal)
            return
        if self.protocol.state is RuntimeState.RUNNING:  # asked again while it has an event
            assert self._event is not None
            request.respond(200, *self._event)
            return
        if self.pending is not None and self.pending.answered:
            self._request_id = None
        if len(request.headers) == 1 and request is not self._lean:
            self._learn(request)
        self._park(request)
        if self._event is not None:
            self._deliver()
        else:
            self._ready()

    def _park(self, request: Request) -> None:
        self._waiting = request
        request.on_disconnect = self._wait_lost
        request.eof_is_disconnect = True

    def _learn(self, request: Request) -> None:
        """From a client whose /next has one header, Host, comes the rest in few forms; `_exchange` knows one of them."""
        name, host = request.headers[0]
        if name != b"host":
            return
        self._lean = request
        self._lean_next = b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (request.target, host)
        self._lean_head = b" HTTP/1.1\r\nHost: %b\r\nContent-Type: application/json\r\nContent-Length: " % host
        request.set_shortcut(functools.partial(self._exchange, request))

    def _exchange(self, lean: Request, data: bytes) -> bool:
        """Takes a small response and the next /next, which Lambent's own clients send in one piece, without a parser.

        Whatever is not exactly that, byte for byte, is left to the parser.
        """
        pending, request_id = self.pending, self._request_id
        if pending is None or request_id is None or lean is not self._lean:
            return False
        if self.protocol.state is not _RUNNING:
            return False
        head = b"POST /2018-06-01/runtime/invocation/%b/response%b" % (request_id, self._lean_head)
        if not (data.startswith(head) and data.endswith(self._lean_next)):
            return False
        begin, end = len(head), len(data) - len(self._lean_next)
        at = data.find(b"\r\n\r\n", begin, begin + _LENGTH_DIGITS + 4)
        digits = data[begin:at]
        if at < 0 or not digits.isdigit() or at + 4 + int(digits) != end:
            return False
        self.protocol.move(_EXCHANGE)
        self._event = self._request_id = None
        response = RuntimeResponse(
            payload=data[at + 4 : end], content_type="application/json", response_bytes=end - at - 4
        )
        accept_with_next(lean)
        self._park(lean)
        self._ready(response)
        pending.resolve(response)
        return True

    def response(self, request: Request) -> None:
        """A whole small response."""
        if (refusal := self._begin(request, RuntimeMove.RESPONSE)) is not None:
            refuse(request, refusal)
        elif request.header(RESPONSE_MODE_HEADER) is None:
            self._answered(request, [])
        else:
            receiver = self._receiver_for(request)
            if request.body:
                receiver.data(request.body)
            receiver.complete([])

    def error(self, request: Request) -> None:
        if (refusal := self._begin(request, RuntimeMove.ERROR)) is not None:
            refuse(request, refusal)
        else:
            self._failed(request, [])

    def init_error(self, request: Request) -> None:
        error_type = header_text(request.header(ERROR_TYPE_HEADER), "Runtime.Unknown")
        if (refusal := self.protocol.move(RuntimeMove.INIT_ERROR)) is not None:
            refuse(request, refusal)
            return
        accept(request)
        self._init_failed(error_type, request.body)

    def receiver(self, request: Request, error: bool) -> BodyReceiver:
        """For a response or error that is large, or of unknown length."""
        refusal = self._begin(request, RuntimeMove.ERROR if error else RuntimeMove.RESPONSE)
        if refusal is not None:
            return Discarded(request, lambda r: refuse(r, refusal))
        if error:
            return Collected(request, SYNC_RESPONSE_MAX_BYTES, self._failed, self._too_large, self._body_lost)
        return self._receiver_for(request)

    # inside

    def _begin(self, request: Request, move: RuntimeMove) -> Refusal | None:
        """Whether this request may answer the invocation under way; then it is the only one that may."""
        verb = b"response" if move is RuntimeMove.RESPONSE else b"error"
        request_id = self._request_id
        if request_id is None or request.target != b"/2018-06-01/runtime/invocation/%b/%b" % (request_id, verb):
            return INVALID_REQUEST_ID
        return self.protocol.move(move)

    def _receiver_for(self, request: Request) -> BodyReceiver:
        """For a response whose turn it is."""
        mode = request.header(RESPONSE_MODE_HEADER)
        if mode is None:
            return Collected(request, SYNC_RESPONSE_MAX_BYTES, self._answered, self._too_large, self._body_lost)
        if mode.lower() != b"streaming":
            return Discarded(request, self._invalid_mode)
        assert self.pending is not None
        sink = self.pending.call.sink
        if sink is None:
            return Collected(request, SYNC_RESPONSE_MAX_BYTES, self._answered, self._too_large, self._body_lost)
        sink.begin(content_type(request), self._function_version, self.pending.call.request_id)
        self._stream = StreamedBody(request, sink, self._streamed)
        return self._stream

    def _deliver(self) -> None:
        request, self._waiting = self._waiting, None
        assert request is not None
        assert self._event is not None
        self.protocol.move(_EVENT)
        request.on_disconnect = None
        request.eof_is_disconnect = False
        request.respond(200, *self._event)

    def _wait_lost(self) -> None:
        self._waiting = None
        self.protocol.move(RuntimeMove.WAIT_LOST)

    def _body_lost(self) -> None:
        # Either its process is dying, which the platform hears of by itself, or it may try again.
        self.protocol.move(RuntimeMove.BODY_LOST)

    def _answered(self, request: Request, trailers: HeaderList) -> None:
        body = request.body
        error = trailing_error(trailers)
        response = RuntimeResponse(
            payload=body,
            content_type=content_type(request),
            response_bytes=len(body),
            error=None if error is None else RuntimeFault(*error),
            stream_error=error,
        )
        self._resolve(response)
        accept(request)

    def _failed(self, request: Request, trailers: HeaderList) -> None:
        error_type = header_text(request.header(ERROR_TYPE_HEADER), "Runtime.Unknown")
        self._resolve(_failed(RuntimeFault(error_type, error_body(request))))
        accept(request)

    def _too_large(self, request: Request) -> None:
        self._resolve(_failed(too_large_fault(SYNC_RESPONSE_MAX_BYTES)))
        refuse(request, TOO_LARGE)

    def _invalid_mode(self, request: Request) -> None:
        self._resolve(_failed(RuntimeFault("Runtime.InvalidResponseModeHeader", b"")))
        refuse(request, INVALID_RESPONSE_MODE)

    def _streamed(self, request: Request, body: StreamedBody, trailers: HeaderList) -> None:
        """A streamed response has ended, well or not."""
        self._stream = None
        error = body.error or trailing_error(trailers)
        self._resolve(
            RuntimeResponse(
                payload=b"",
                content_type=content_type(request),
                streamed=True,
                response_bytes=body.passed_bytes,
                error=None if error is None else RuntimeFault(*error),
                stream_error=error,
            )
        )

    def _resolve(self, response: RuntimeResponse) -> None:
        self.protocol.move(RuntimeMove.SENT)
        self._event = None
        assert self.pending is not None
        self.pending.resolve(response)


def _failed(fault: RuntimeFault) -> RuntimeResponse:
    return RuntimeResponse(
        payload=fault.payload, content_type="application/json", error=fault, response_bytes=len(fault.payload)
    )

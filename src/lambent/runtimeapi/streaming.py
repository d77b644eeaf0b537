"""A response that is passed on while it is still being produced."""

from __future__ import annotations

import asyncio
import collections
import logging
from collections.abc import Callable
from typing import Final

from lambent.http1.request import HeaderList, Request
from lambent.model.invocation import ResponseSink
from lambent.model.limits import STREAMED_RESPONSE_MAX_BYTES
from lambent.runtimeapi.answers import DISCARDED_BODY_MAX_BYTES, accept, refuse
from lambent.runtimeapi.headers import too_large_fault
from lambent.runtimeapi.protocol import Refusal

WAITING_MAX_BYTES: Final = 256 * 1024  # between the runtime and a reader who is slow; then the runtime is held up
TOO_LARGE: Final = Refusal(
    413, "RequestEntityTooLarge", f"Exceeded maximum allowed payload size ({STREAMED_RESPONSE_MAX_BYTES} bytes)."
)
TRUNCATED: Final = (
    "Runtime.TruncatedResponse",
    b'{"errorType":"Runtime.TruncatedResponse","errorMessage":"HTTP request detected as truncated"}',
)

_log = logging.getLogger(__name__)


class StreamedBody:
    """Hands a body to a sink, chunk by chunk, and says once when and how it ended.

    `ended(request, body, trailers)` is called when the sink has every byte, when the connection broke, or when the limit
    was passed; `passed_bytes` and `error` hold then.
    """

    wants_whole = False
    keeps = False  # little: see WAITING_MAX_BYTES

    def __init__(
        self, request: Request, sink: ResponseSink, ended: Callable[[Request, StreamedBody, HeaderList], None]
    ) -> None:
        self.passed_bytes = 0  # given to the sink, or thrown away because its reader has gone
        self.error: tuple[str, bytes] | None = None  # type and details of what broke the stream
        self._request = request
        self._sink = sink
        self._ended = ended
        self._chunks: collections.deque[bytes] = collections.deque()
        self._waiting_bytes = 0
        self._seen_bytes = 0
        self._trailers: HeaderList | None = None
        self._reader_gone = False
        self._wake = asyncio.Event()
        self._pump = asyncio.get_running_loop().create_task(self._pump_chunks())

    # BodyReceiver

    def data(self, chunk: bytes) -> None:
        self._seen_bytes += len(chunk)
        if self._seen_bytes > STREAMED_RESPONSE_MAX_BYTES:
            self._over_the_limit()
            return
        self._chunks.append(chunk)
        self._waiting_bytes += len(chunk)
        if self._waiting_bytes > WAITING_MAX_BYTES:
            self._request.pause_reading()
        self._wake.set()

    def complete(self, trailers: HeaderList) -> None:
        self._trailers = trailers
        self._wake.set()
        if self._pump.done():  # it stopped at the limit; the rest has been read and thrown away
            self._answer()

    def aborted(self) -> None:
        if self.error is None:
            self.error = TRUNCATED
        self._wake.set()

    def cancel(self) -> None:
        """The invocation has been given up."""
        self._pump.cancel()

    # inside

    def _over_the_limit(self) -> None:
        if self.error is None:
            fault = too_large_fault(STREAMED_RESPONSE_MAX_BYTES)
            self.error = (fault.error_type, fault.payload)
            self._wake.set()
        if self._seen_bytes > STREAMED_RESPONSE_MAX_BYTES + DISCARDED_BODY_MAX_BYTES and not self._request.answered:
            self._request.abort()

    async def _pump_chunks(self) -> None:
        while True:
            while self._chunks:
                await self._pass_on(self._chunks.popleft())
            if self._trailers is not None or self.error is not None:
                break
            self._wake.clear()
            await self._wake.wait()
        self._ended(self._request, self, self._trailers or [])
        if self._trailers is not None:
            self._answer()

    async def _pass_on(self, chunk: bytes) -> None:
        if not self._reader_gone:
            try:
                await self._sink.write(chunk)
            except ConnectionError:
                self._reader_gone = True  # the function runs to its end all the same
            except Exception:
                _log.exception("a streamed response's reader failed; the rest of the stream is thrown away")
                self._reader_gone = True
        self.passed_bytes += len(chunk)
        was_held_up = self._waiting_bytes > WAITING_MAX_BYTES
        self._waiting_bytes -= len(chunk)
        if was_held_up and self._waiting_bytes <= WAITING_MAX_BYTES:
            self._request.resume_reading()

    def _answer(self) -> None:
        if self._request.answered:
            return
        if self._seen_bytes > STREAMED_RESPONSE_MAX_BYTES:
            refuse(self._request, TOO_LARGE)
        else:
            accept(self._request)

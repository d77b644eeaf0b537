"""Answers that several endpoints give, made once, and what becomes of a body that nobody wants."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

from lambent.http1.gathered import Gathered
from lambent.http1.request import HeaderList, Request, header_lines
from lambent.runtimeapi.protocol import Refusal

JSON: Final = ((b"content-type", b"application/json"),)
_TEXT: Final = ((b"content-type", b"text/plain; charset=utf-8"),)
_JSON_LINE: Final = header_lines(JSON)
_OK: Final = b'{"status":"OK"}\n'
_ACCEPTED: Final = b"HTTP/1.1 202 Accepted\r\n%bcontent-length: %d\r\n\r\n%b" % (_JSON_LINE, len(_OK), _OK)

DISCARDED_BODY_MAX_BYTES: Final = 64 * 1024 * 1024  # of a refused body; then the connection is broken


def accept(request: Request) -> None:
    """Our clients ask for the next event in the same breath; then this travels with it."""
    request.respond(202, _JSON_LINE, _OK, hold=True)


def accept_with_next(request: Request) -> None:
    """Accepts an answer that came in one piece with `request`, the next /next, which is not answered yet.

    The client reads nothing between the two, so this goes out with the event.
    """
    request.ask_again(_ACCEPTED)


def refuse(request: Request, refusal: Refusal) -> None:
    body = {"errorMessage": refusal.message, "errorType": refusal.error_type}
    request.respond(refusal.status, JSON, json.dumps(body).encode() + b"\n")


def not_found(request: Request) -> None:
    request.respond(404, _TEXT, b"404 page not found\n")


def method_not_allowed(request: Request) -> None:
    request.respond(405, ())


class Discarded:
    """Reads a body to its end, keeps none of it, and then answers.

    A client that is still sending rarely looks for an answer, so breaking the connection would tell it nothing.
    """

    wants_whole = keeps = False

    def __init__(self, request: Request, answer: Callable[[Request], None]) -> None:
        self._request = request
        self._answer = answer
        self._seen_bytes = 0

    def data(self, chunk: bytes) -> None:
        self._seen_bytes += len(chunk)
        if self._seen_bytes > DISCARDED_BODY_MAX_BYTES and not self._request.answered:
            self._answer(self._request)
            self._request.abort()

    def complete(self, trailers: HeaderList) -> None:
        if not self._request.answered:
            self._answer(self._request)

    def aborted(self) -> None:
        """Nothing was kept, nothing is to be undone."""


class Collected:
    """Reads a body of at most `limit_bytes` and hands it on; of a larger one the rest is thrown away."""

    def __init__(
        self,
        request: Request,
        limit_bytes: int,
        whole: Callable[[Request, HeaderList], None],
        too_large: Callable[[Request], None],
        lost: Callable[[], None],
    ) -> None:
        self.wants_whole = request.content_length is not None and request.content_length <= limit_bytes
        self._request = request
        self._limit_bytes = limit_bytes
        self._whole = whole
        self._too_large = too_large
        self._lost = lost
        self._gathered = Gathered()
        self._seen_bytes = 0

    @property
    def keeps(self) -> bool:
        return self._seen_bytes <= self._limit_bytes

    def data(self, chunk: bytes) -> None:
        self._seen_bytes += len(chunk)
        if self._seen_bytes <= self._limit_bytes:
            self._gathered.add(chunk)
            return
        self._gathered.clear()
        if self._seen_bytes > self._limit_bytes + DISCARDED_BODY_MAX_BYTES and not self._request.answered:
            self._too_large(self._request)  # for those who wait for what it was to be
            self._request.abort()

    def complete(self, trailers: HeaderList) -> None:
        if self._request.answered:
            return
        if self._seen_bytes > self._limit_bytes:
            self._too_large(self._request)
            return
        self._request.body = self._gathered.take()
        self._whole(self._request, trailers)

    def aborted(self) -> None:
        self._gathered.clear()
        if not self._request.answered:
            self._lost()

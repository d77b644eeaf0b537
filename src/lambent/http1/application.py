"""What a server serves."""

from __future__ import annotations

from typing import Protocol

from lambent.http1.request import HeaderList, Request


class BodyReceiver(Protocol):
    """Takes a request's body as it arrives, instead of having it buffered."""

    wants_whole: bool  # a large body of known length is to come in one piece

    @property
    def keeps(self) -> bool:
        """Whether what it is given stays in memory until the body is whole."""

    def data(self, chunk: bytes) -> None: ...

    def complete(self, trailers: HeaderList) -> None: ...

    def aborted(self) -> None:
        """The connection broke, or the body was malformed, before its end."""


class Application(Protocol):
    """What a server serves. Called on the event loop; must not block, may start tasks."""

    body_max_bytes: int

    def body_receiver(self, request: Request) -> BodyReceiver | None:
        """Called when the headers are in. None: the body is buffered and `request` is called when it is whole."""

    def request(self, request: Request) -> None:
        """A whole request has arrived. Answer now or later, once, with `request.respond` or begin/write/end."""

    def too_large(self, request: Request) -> None:
        """The body exceeds `body_max_bytes`; answer it. The connection is closed afterwards."""

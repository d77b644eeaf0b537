"""A large body of known length: the socket is read straight into the memory in which the body stays."""

from __future__ import annotations

import asyncio
import functools
import io
from collections.abc import Iterable
from typing import Final, Protocol

LARGE_BYTES: Final = 256 * 1024  # smaller ones come in a few pieces, which cost less than this
KEPT_BYTES: Final = 16 * 1024 * 1024


class Owner(Protocol):
    """The connection, whose place this takes meanwhile."""

    def body_grew(self, count: int) -> None: ...

    def body_ended(self) -> None:
        """Nothing more is to be read until `body_is_whole`."""

    def body_is_whole(self, body: bytes) -> None:
        """It has to be the transport's protocol again."""

    def eof_received(self) -> bool: ...

    def connection_lost(self, exc: Exception | None) -> None: ...

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...


@functools.cache
def _keep_memory() -> None:
    """The C library gives back to the kernel what is free beyond twice the largest block that it has seen freed.

    Payloads would be taken from it page by page each time.
    """
    bytes(KEPT_BYTES)


class LargeBody(asyncio.BufferedProtocol):
    """Its transport's protocol until the body is whole."""

    def __init__(self, owner: Owner, size_bytes: int, begun: Iterable[bytes]) -> None:
        """`begun`: what has come already, which is not all."""
        self._owner = owner
        _keep_memory()
        # Nobody else has these bytes, and in the end nobody else has this memory: so neither is ever copied.
        self._memory = io.BytesIO(bytes(size_bytes))
        self._missing = self._memory.getbuffer()
        for piece in begun:
            self._missing[: len(piece)] = piece
            self._missing = self._missing[len(piece) :]

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._missing

    def buffer_updated(self, nbytes: int) -> None:
        self._missing = self._missing[nbytes:]
        self._owner.body_grew(nbytes)
        if not self._missing:
            self._owner.body_ended()
            asyncio.get_running_loop().call_soon(
                self._hand_over
            )  # until this returns the loop has a hold on the memory

    def _hand_over(self) -> None:
        self._missing.release()
        self._owner.body_is_whole(self._memory.getvalue())

    def eof_received(self) -> bool:
        return self._owner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._owner.connection_lost(exc)

    def pause_writing(self) -> None:
        self._owner.pause_writing()

    def resume_writing(self) -> None:
        self._owner.resume_writing()

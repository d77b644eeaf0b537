"""The pieces of a body, in about as much memory as they have bytes, however small the pieces are."""

from __future__ import annotations

import io


class Gathered:
    """Mostly there is one piece, and then it is never copied."""

    __slots__ = ("_first", "_more")

    def __init__(self) -> None:
        self._first = b""
        self._more: io.BytesIO | None = None

    def add(self, piece: bytes) -> None:
        if self._more is not None:
            self._more.write(piece)
        elif not self._first:
            self._first = piece
        else:
            self._more = io.BytesIO()
            self._more.write(self._first)
            self._more.write(piece)

    def take(self) -> bytes:
        """All of it; nothing is kept."""
        whole = self._first if self._more is None else self._more.getvalue()
        self.clear()
        return whole

    def clear(self) -> None:
        self._first, self._more = b"", None

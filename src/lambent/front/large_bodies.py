"""Bodies that are larger than anything their request could want: read to their end, kept nowhere, then refused.

A client that is refused while it still sends sees a broken connection instead of the error, so it may finish.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from lambent.http1.gathered import Gathered
from lambent.http1.request import Request
from lambent.model.limits import MIB

DISCARD_MAX_BYTES: Final = 1024 * MIB  # ours: who sends more than this is cut off


class BoundedBody:
    """A `http1.application.BodyReceiver` that keeps at most `limit_bytes`.

    `whole` is called with a request whose body is all there, `too_large` with one whose body was thrown away.
    """

    def __init__(
        self, request: Request, limit_bytes: int, whole: Callable[[Request], None], too_large: Callable[[Request], None]
    ) -> None:
        self._request = request
        self._limit_bytes = limit_bytes
        self._whole = whole
        self._too_large = too_large
        self._gathered = Gathered()
        self._bytes = 0
        self._is_over = (request.content_length or 0) > limit_bytes
        self.wants_whole = request.content_length is not None and not self._is_over

    @property
    def keeps(self) -> bool:
        return not self._is_over

    def data(self, chunk: bytes) -> None:
        before, self._bytes = self._bytes, self._bytes + len(chunk)
        if not self._is_over and self._bytes <= self._limit_bytes:
            self._gathered.add(chunk)
            return
        self._is_over = True
        self._gathered.clear()
        if before <= DISCARD_MAX_BYTES < self._bytes:
            self._request.keep_alive = False
            self._too_large(self._request)

    def complete(self, trailers: Sequence[tuple[bytes, bytes]]) -> None:
        if self._request.answered:
            return
        if self._is_over:
            self._too_large(self._request)
            return
        self._request.body = self._gathered.take()
        self._whole(self._request)

    def aborted(self) -> None:
        self._gathered.clear()

"""What the protocols read and write: one HTTP request and one HTTP response, without a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import attrs

Headers = list[tuple[str, str]]


@attrs.frozen(kw_only=True)
class WireRequest:
    """A whole HTTP request. Path and query are as sent, still percent-encoded."""

    method: str
    path: str  # begins with "/"
    query: str = ""  # without the question mark
    headers: Mapping[str, str] = attrs.field(factory=dict)  # lower-case names; repeated ones joined by ","
    body: bytes = b""


@attrs.frozen(kw_only=True)
class WireResponse:
    """A whole HTTP response; `stream`, when set, is the body instead of `body`."""

    status: int
    headers: Headers = attrs.field(factory=list)
    body: bytes = b""
    stream: AsyncIterator[bytes] | None = None

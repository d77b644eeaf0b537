"""Browsers: pages of this machine may call us, pages from elsewhere may not.

A server on a well-known local port is open to every web page that its user visits; so a request that a browser marks
with a foreign origin is refused before it does anything.
"""

from __future__ import annotations

import re
from typing import Final

from lambent.http1.request import HeaderList

_LOCAL: Final = re.compile(rb"https?://(?:[a-z0-9-]+\.)*(?:localhost|127\.0\.0\.1|\[::1\])(?::\d{1,5})?")

_EXPOSED: Final = (
    b"x-amzn-requestid,x-amzn-errortype,x-amzn-query-error,x-amz-request-id,x-amz-id-2,x-amz-function-error,"
    b"x-amz-log-result,x-amz-executed-version,x-amzn-trace-id,etag,x-amz-version-id"
)


def is_allowed(origin: bytes, more: frozenset[bytes] = frozenset()) -> bool:
    return origin in more or _LOCAL.fullmatch(origin) is not None


def preflight(origin: bytes, requested_headers: bytes | None) -> HeaderList:
    return [
        *answer(origin),
        (b"access-control-allow-methods", b"HEAD,GET,PUT,POST,DELETE,OPTIONS,PATCH"),
        (b"access-control-allow-headers", requested_headers or b"*"),
        (b"access-control-allow-private-network", b"true"),
        (b"access-control-max-age", b"600"),
    ]


def answer(origin: bytes) -> HeaderList:
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-expose-headers", _EXPOSED),
        (b"vary", b"Origin"),
    ]

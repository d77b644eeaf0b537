"""Which invocations are held against the model: those with something that the short road does not look at, or not closely."""

from __future__ import annotations

from typing import Final

from lambent.http1.request import Request

STREAM_PREFIX: Final = "/2021-11-15/"
# A target this short has no qualifier, nor a name, of more characters than the model allows.
USUAL_TARGET_MAX_BYTES: Final = 160
_USUAL_TYPES: Final = frozenset((None, b"RequestResponse", b"Event"))
_HEADERS: Final = frozenset(
    (b"x-amz-invocation-type", b"x-amz-log-type", b"x-amz-tenant-id", b"x-amz-durable-execution-name")
)
_USUAL_LOGS: Final = frozenset((None, b"None", b"Tail"))


def is_unusual(request: Request) -> bool:
    """Costs nothing worth naming: it is asked of every invocation."""
    if _HEADERS.isdisjoint(request.fields):
        return len(request.target) > USUAL_TARGET_MAX_BYTES
    get = request.fields.get
    kind = get(b"x-amz-invocation-type")
    return (
        kind not in _USUAL_TYPES
        or get(b"x-amz-log-type") not in _USUAL_LOGS
        or len(request.target) > USUAL_TARGET_MAX_BYTES
        or b"x-amz-tenant-id" in request.fields
        or b"x-amz-durable-execution-name" in request.fields
        or (kind == b"Event" and request.target.startswith(STREAM_PREFIX.encode()))
    )

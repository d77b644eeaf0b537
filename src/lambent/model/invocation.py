"""One invocation, as it travels the road, and what came of it.

These values are made for every request, so they are msgspec structs: made in a tenth of the time that attrs takes.
"""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

FunctionError = Literal["Handled", "Unhandled"]


class ResponseSink(Protocol):
    """Where a streamed response goes while the function still runs."""

    def begin(self, content_type: str, executed_version: str, request_id: str) -> None:
        """The first byte is about to come; called once, before `write`."""

    async def write(self, chunk: bytes) -> None:
        """Takes some bytes; waits while the reader is slow. Raises ConnectionError once the reader is gone."""


class Invocation(msgspec.Struct, frozen=True, kw_only=True):
    """A request to run one function once."""

    request_id: str  # UUID; the same for every attempt of one event
    account_id: str  # twelve digits: whose function
    region: str
    function_name: str  # the bare name, without account or qualifier
    qualifier: str | None = None  # version, alias or None for $LATEST
    payload: bytes  # JSON text; validated, never parsed
    client_context: str | None = None  # JSON text, already decoded from Base64
    cognito_identity: str | None = None  # JSON text
    trace_header: str | None = None  # X-Amzn-Trace-Id as it came in
    tenant_id: str | None = None
    want_log_tail: bool = False
    sink: ResponseSink | None = None  # set: stream the response there


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an invocation that ran. `function_error` set means that the function failed; that is a 200 at AWS."""

    payload: bytes  # empty when it was streamed to the sink
    executed_version: str  # "$LATEST" or a number
    request_id: str
    function_error: FunctionError | None = None
    log_tail: bytes | None = None  # the last 4 KB of its log, when asked for
    content_type: str = "application/json"
    stream_error: tuple[str, bytes] | None = None  # a streamed response that broke: error type, details as JSON

"""Who asks for a control operation, and where the answer's addresses should point."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class RequestContext:
    """What every operation of every service may know about its request."""

    account_id: str  # twelve digits
    region: str
    request_id: str  # UUID, given back as x-amzn-RequestId
    base_url: str  # "http://127.0.0.1:4566": how this client reached us, for addresses in answers
    access_key_id: str | None = None
    principal_arn: str | None = None  # known when the signature was verified
    source_ip: str | None = None  # of the client's connection
    trace_header: str | None = None  # X-Amzn-Trace-Id as it came in

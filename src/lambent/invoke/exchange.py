"""What an invocation is to the Runtime API, and what comes of it to its caller."""

from __future__ import annotations

import random
import time

from lambent.invoke.failures import Failure
from lambent.invoke.run import Run
from lambent.model.function import FunctionVersion
from lambent.model.invocation import Invocation, Outcome
from lambent.runtimeapi.values import RuntimeCall, RuntimeResponse


def call_of(invocation: Invocation, arn: str, deadline_s: float) -> RuntimeCall:
    """`arn` is the function's, unqualified; the deadline in seconds since the epoch."""
    return RuntimeCall(
        request_id=invocation.request_id,
        deadline_ms=int(deadline_s * 1000),
        invoked_function_arn=f"{arn}:{invocation.qualifier}" if invocation.qualifier else arn,
        trace_id=invocation.trace_header or _new_trace_header(),
        client_context=invocation.client_context,
        cognito_identity=invocation.cognito_identity,
        tenant_id=invocation.tenant_id,
        payload=invocation.payload,
        sink=invocation.sink,
    )


def outcome_of(run: Run, version: FunctionVersion, response: RuntimeResponse) -> Outcome:
    fault = response.error
    return Outcome(
        payload=fault.payload if fault else response.payload,
        executed_version=version.version,
        request_id=run.invocation.request_id,
        function_error="Unhandled" if fault else None,
        log_tail=run.log_tail,
        content_type=response.content_type,
        stream_error=response.stream_error,
    )


def failed_outcome_of(run: Run, version: FunctionVersion, failure: Failure) -> Outcome:
    return Outcome(
        payload=failure.payload,
        executed_version=version.version,
        request_id=run.invocation.request_id,
        function_error="Unhandled",
        log_tail=run.log_tail,
    )


def _new_trace_header() -> str:
    """A trace for an invocation whose caller has none: not sampled."""
    digits = random.getrandbits(160).to_bytes(20, "big").hex()
    return f"Root=1-{int(time.time()):08x}-{digits[:24]};Parent={digits[24:]};Sampled=0"

"""What goes in and out of one environment's API."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from lambent.model.errors import LambentError
from lambent.model.invocation import ResponseSink


class RuntimeCall(msgspec.Struct, frozen=True, kw_only=True):
    """One event on its way to the runtime."""

    request_id: str
    deadline_ms: int  # milliseconds since the epoch
    invoked_function_arn: str
    trace_id: str | None = None  # the X-Amzn-Trace-Id header's value
    client_context: str | None = None  # JSON text
    cognito_identity: str | None = None  # JSON text
    tenant_id: str | None = None
    payload: bytes
    sink: ResponseSink | None = None  # where a streamed response goes while the function runs


class RuntimeFault(msgspec.Struct, frozen=True):
    """An invocation that failed, as it was reported."""

    error_type: str  # the Lambda-Runtime-Function-Error-Type header, or the platform's own ("Runtime.ExitError")
    payload: bytes  # the body as posted; what the caller is given


class RuntimeResponse(msgspec.Struct, frozen=True, kw_only=True):
    """What the runtime answered."""

    payload: bytes  # empty when it went to the sink
    content_type: str
    error: RuntimeFault | None = None
    streamed: bool = False  # the sink has been given every byte; `payload` is empty
    response_bytes: int = 0  # platform.runtimeDone's producedBytes
    stream_error: tuple[str, bytes] | None = None  # a streamed response that broke: error type, details as posted
    by_platform: bool = False  # the runtime did not answer; `error` is what `EnvironmentApi.fail_current` was given


class InitFailed(LambentError):
    """The runtime or an extension could not start. `payload` is the body it posted, or one of the platform's making."""

    def __init__(self, error_type: str, payload: bytes, *, by_platform: bool = False) -> None:
        super().__init__(f"initialisation failed: {error_type}")
        self.error_type = error_type
        self.payload = payload
        self.by_platform = by_platform


class EnvironmentObserver(Protocol):
    """Is told of the platform events that only this API can see: extensions, subscriptions, dropped logs."""

    def on_platform_event(self, event_type: str, record: dict[str, Any]) -> None:
        """`event_type` is the Telemetry API's ("platform.extension"), `record` its record. Called on the event loop."""

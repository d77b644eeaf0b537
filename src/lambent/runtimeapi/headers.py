"""The Runtime API's headers: what an event comes with, what an answer says of itself."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Final

from lambent.http1.request import HeaderList, Request
from lambent.runtimeapi.values import RuntimeCall, RuntimeFault

ERROR_TYPE_HEADER: Final = b"lambda-runtime-function-error-type"
ERROR_BODY_TRAILER: Final = b"lambda-runtime-function-error-body"
RESPONSE_MODE_HEADER: Final = b"lambda-runtime-function-response-mode"
ERROR_TYPE_MAX_CHARACTERS: Final = 1024
_ERROR_MEMBERS: Final = ("errorMessage", "errorType", "stackTrace")


def event_headers(call: RuntimeCall) -> bytes:
    """The header lines that an event comes with."""
    lines = (
        f"Content-Type: application/json\r\nLambda-Runtime-Aws-Request-Id: {call.request_id}\r\n"
        f"Lambda-Runtime-Deadline-Ms: {call.deadline_ms}\r\n"
        f"Lambda-Runtime-Invoked-Function-Arn: {call.invoked_function_arn}\r\n"
    )
    if call.trace_id:
        lines += f"Lambda-Runtime-Trace-Id: {_one_line(call.trace_id)}\r\n"
    if call.client_context:
        lines += f"Lambda-Runtime-Client-Context: {_one_line(call.client_context)}\r\n"
    if call.cognito_identity:
        lines += f"Lambda-Runtime-Cognito-Identity: {_one_line(call.cognito_identity)}\r\n"
    if call.tenant_id:
        lines += f"Lambda-Runtime-Aws-Tenant-Id: {_one_line(call.tenant_id)}\r\n"
    return lines.encode()


def content_type(request: Request) -> str:
    value = request.header(b"content-type")
    return "application/json" if value is None else value.decode("latin-1")


def trailing_error(trailers: HeaderList) -> tuple[str, bytes] | None:
    """The error that a streamed response ended in: its type, and its details as they were before Base64."""
    found = dict(trailers)
    error_type = found.get(ERROR_TYPE_HEADER)
    if error_type is None:
        return None
    return header_text(error_type, "Runtime.Unknown"), _decoded(found.get(ERROR_BODY_TRAILER, b""))


def error_body(request: Request) -> bytes:
    """The body of a posted error as the caller is given it: less the cause that AWS's clients add for X-Ray."""
    if request.header(b"content-type") != b"application/vnd.aws.lambda.error.cause+json":
        return request.body
    try:
        posted = json.loads(request.body)
    except (ValueError, RecursionError):
        posted = None
    if not isinstance(posted, dict):
        return b'"Invalid error body"'
    return json.dumps({name: posted[name] for name in _ERROR_MEMBERS if name in posted}).encode()


def too_large_fault(limit_bytes: int) -> RuntimeFault:
    message = f"Response payload size exceeded maximum allowed payload size ({limit_bytes} bytes)."
    body = {"errorType": "Function.ResponseSizeTooLarge", "errorMessage": message}
    return RuntimeFault("Function.ResponseSizeTooLarge", json.dumps(body).encode())


def header_text(value: bytes | None, otherwise: str) -> str:
    """A header's value as bounded text; `otherwise` when it is absent or empty."""
    if not value:
        return otherwise
    return value[:ERROR_TYPE_MAX_CHARACTERS].decode("utf-8", "replace")


def _one_line(value: str) -> str:
    # A client context is JSON text and may hold line ends, which must not begin a header of their own.
    if value.isprintable():
        return value
    return value.replace("\r", " ").replace("\n", " ").replace("\0", " ")


def _decoded(trailer: bytes) -> bytes:
    try:
        return base64.b64decode(trailer, validate=True)
    except binascii.Error:
        return trailer

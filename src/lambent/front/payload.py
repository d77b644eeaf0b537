"""Is an invocation's payload JSON? Answered without parsing it into anything, and refused in the words of AWS's parser."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from lambent.model.errors import AwsError, invalid_request_content

_DECODER: Final = msgspec.json.Decoder(msgspec.Raw)
_TOKEN: Final = re.compile(rb"\s*([A-Za-z$_][A-Za-z0-9$_]*)")
_POSITION: Final = re.compile(r"\(byte (\d+)\)")
_LITERALS: Final = (b"true", b"false", b"null", b"NaN")
_ANY_VALUE: Final = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')"


def check(payload: bytes) -> bytes:
    """The payload, or `{}` for none. Raises AwsError InvalidRequestContentException."""
    if not payload:
        return b"{}"
    try:
        _DECODER.decode(payload)
        if not payload.isascii():
            payload.decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _refusal(payload, error) from error
    return payload


def _refusal(payload: bytes, error: Exception) -> AwsError:
    detail, position = _explanation(payload, error)
    before = payload[:position]
    line = before.count(b"\n") + 1
    column = len(before) - (before.rfind(b"\n") + 1) + 1
    place = f"at [Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: {line}, column: {column}]"
    return invalid_request_content(
        f"Could not parse request body into json: Could not parse payload into json: {detail}\n {place}"
    )


def _explanation(payload: bytes, error: Exception) -> tuple[str, int]:
    """What is wrong, and at which byte."""
    if isinstance(error, UnicodeDecodeError):
        part = "start" if "start" in error.reason else "middle"
        position = error.start if part == "start" else min(error.end, len(payload) - 1)
        return f"Invalid UTF-8 {part} byte 0x{payload[position]:02x}", position
    token = _TOKEN.match(payload)
    if token is not None and token[1] not in _LITERALS:
        return f"Unrecognized token '{token[1].decode()}': was expecting {_ANY_VALUE}", token.end()
    found = _POSITION.search(str(error))
    if found is None or int(found[1]) >= len(payload):
        return "Unexpected end-of-input: was expecting closing quote, bracket or a value", len(payload)
    position = int(found[1])
    byte = payload[position]
    shown = chr(byte) if 32 <= byte < 127 else f"\\u{byte:04x}"
    return f"Unexpected character ('{shown}' (code {byte})): was expecting a valid value {_ANY_VALUE}", position

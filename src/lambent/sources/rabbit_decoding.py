"""Makes pamqp read whatever RabbitMQ lets through.

The broker looks at neither texts nor times of the messages that it carries. pamqp refuses a text that is no UTF-8 and a time beyond the
year 9999 (milli- or microseconds where seconds belong), and the connection ends with it. Then one such message, which is delivered
again and again, would block its queue for ever.
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from typing import Any, Final

_LATEST: Final = datetime.max.replace(tzinfo=UTC)


def install() -> None:
    """Safe to call twice."""
    from pamqp import decode

    decode.METHODS["shortstr"] = short_text
    decode.METHODS["timestamp"] = decode.TABLE_MAPPING[b"T"] = time
    decode.METHODS["table"] = decode.TABLE_MAPPING[b"F"] = table


def short_text(data: bytes) -> tuple[int, str]:
    """Bytes read, and the value, as all decoders of pamqp. Raises ValueError for what ends too early."""
    if not data or len(data) <= data[0]:
        raise ValueError("a short string ends too early")
    end = data[0] + 1
    return end, data[1:end].decode(errors="replace")


def time(data: bytes) -> tuple[int, datetime]:
    """As pamqp does, numbers that can be no seconds yet are taken for milliseconds."""
    try:
        (number,) = struct.unpack_from(">Q", data)
    except struct.error as error:
        raise ValueError("a timestamp ends too early") from error
    seconds = number / 1000 if number > 0xFFFFFFFF else number
    try:
        return 8, datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return 8, _LATEST


def table(data: bytes) -> tuple[int, dict[str, Any]]:
    from pamqp import decode

    if len(data) < 4 or (end := 4 + int.from_bytes(data[:4], "big")) > len(data):
        raise ValueError("a table ends too early")
    found: dict[str, Any] = {}
    at = 4
    while at < end:
        length, name = short_text(data[at:end])
        at += length
        length, value = decode.embedded_value(data[at:end])
        at += length
        found[name] = value
    return end, found

"""AWS event streams (`application/vnd.amazon.eventstream`): framed messages with typed headers and two checksums.

Format: https://smithy.io/2.0/aws/amazon-eventstream.html
"""

from __future__ import annotations

import datetime
import struct
import uuid
from binascii import crc32
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from typing import Any, Final, Protocol

import attrs

from lambent.model.errors import AwsError
from lambent.wire import values
from lambent.wire.shapes import Shape

CONTENT_TYPE: Final = "application/vnd.amazon.eventstream"
MESSAGE_MAX_BYTES: Final = 24 * 1024 * 1024  # the format's bound: 24 MB of payload
HEADERS_MAX_BYTES: Final = 128 * 1024

HeaderValue = bool | int | bytes | str | datetime.datetime | uuid.UUID


class BodyCodec(Protocol):
    """How the protocol around the stream writes structures: json_body, cbor_body or xml_body."""

    def write(self, shape: Shape, value: Any) -> Any: ...

    def encode(self, value: Any) -> bytes: ...


@attrs.frozen
class Message:
    headers: Mapping[str, HeaderValue]
    payload: bytes


def encode_message(headers: Iterable[tuple[str, HeaderValue]], payload: bytes) -> bytes:
    """One frame: lengths, their checksum, headers, payload, checksum of it all."""
    block = b"".join(_encode_header(name, value) for name, value in headers)
    prelude = struct.pack(">II", 16 + len(block) + len(payload), len(block))
    prelude += struct.pack(">I", crc32(prelude))
    checksum = crc32(payload, crc32(block, crc32(prelude)))
    return b"".join((prelude, block, payload, struct.pack(">I", checksum)))


def event(name: str, payload: bytes, content_type: str | None) -> bytes:
    """An event of a stream, with the headers that every SDK expects."""
    headers: list[tuple[str, HeaderValue]] = [(":event-type", name)]
    if content_type is not None:
        headers.append((":content-type", content_type))
    headers.append((":message-type", "event"))
    return encode_message(headers, payload)


def exception(name: str, payload: bytes, content_type: str) -> bytes:
    """A modelled error in the middle of a stream."""
    headers: list[tuple[str, HeaderValue]] = [
        (":exception-type", name),
        (":content-type", content_type),
        (":message-type", "exception"),
    ]
    return encode_message(headers, payload)


async def encoded(
    stream: Shape,
    events: AsyncIterable[Mapping[str, Any]],
    codec: BodyCodec,
    content_type: str,
    initial_response: bytes | None = None,
) -> AsyncIterator[bytes]:
    """The frames of an operation's event stream. Each event is a mapping of one member, as botocore hands them out.

    An AwsError raised by `events` becomes the stream's last message.
    """
    if initial_response is not None:
        yield event("initial-response", initial_response, content_type)
    try:
        async for item in events:
            ((name, members),) = item.items()
            yield _modelled_event(name, stream.members[name], members, codec, content_type)
    except AwsError as error:
        shape = stream.members.get(error.code)
        body = {"message": error.message, "Message": error.message}
        payload = codec.encode(codec.write(shape, body)) if shape is not None else error.message.encode()
        yield exception(error.code, payload, content_type)


def _modelled_event(name: str, shape: Shape, members: Mapping[str, Any], codec: BodyCodec, content_type: str) -> bytes:
    headers: list[tuple[str, HeaderValue]] = []
    body: dict[str, Any] = {}
    payload: bytes | None = None
    payload_type: str | None = content_type
    for member_name, member in shape.members.items():
        value = members.get(member_name)
        if value is None:
            continue
        if member.is_event_header:
            headers.append((member_name, value))
        elif member.is_event_payload:
            payload, payload_type = _explicit_payload(member, value, codec, content_type)
        else:
            body[member_name] = value
    if payload is None:
        payload = codec.encode(codec.write(shape, body))
    start: list[tuple[str, HeaderValue]] = [(":event-type", name)]
    if payload_type is not None:
        start.append((":content-type", payload_type))
    return encode_message([*start, (":message-type", "event"), *headers], payload)


def _explicit_payload(member: Shape, value: Any, codec: BodyCodec, content_type: str) -> tuple[bytes, str]:
    if member.type == "blob":
        return bytes(value), "application/octet-stream"
    if member.type == "string":
        return value.encode(), "text/plain"
    return codec.encode(codec.write(member, value)), content_type


def _encode_header(name: str, value: HeaderValue) -> bytes:
    encoded_name = name.encode()
    return struct.pack(">B", len(encoded_name)) + encoded_name + _encode_header_value(value)


def _encode_header_value(value: HeaderValue) -> bytes:
    match value:
        case bool():
            return b"\x00" if value else b"\x01"
        case int():
            return struct.pack(">Bi", 4, value) if -(2**31) <= value < 2**31 else struct.pack(">Bq", 5, value)
        case bytes():
            return struct.pack(">BH", 6, len(value)) + value
        case str():
            text = value.encode()
            return struct.pack(">BH", 7, len(text)) + text
        case datetime.datetime():
            return struct.pack(">Bq", 8, round(values.timestamp_to_number(value) * 1000))
        case _:
            return b"\x09" + value.bytes


def decode_message(data: bytes) -> tuple[Message, int] | None:
    """The first message of `data` and its length; None when it is not all there. Raises ValueError.

    The server only sends streams; this other half is what tests hold `encode_message` against.
    """
    if len(data) < 12:
        return None
    total, header_length, checksum = struct.unpack_from(">III", data)
    if crc32(data[:8]) != checksum:
        raise ValueError("the prelude's checksum is wrong")
    if header_length > HEADERS_MAX_BYTES or not 16 + header_length <= total <= MESSAGE_MAX_BYTES:
        raise ValueError("impossible lengths")
    if len(data) < total:
        return None
    if crc32(data[: total - 4]) != struct.unpack_from(">I", data, total - 4)[0]:
        raise ValueError("the message's checksum is wrong")
    headers = dict(_decode_headers(data[12 : 12 + header_length]))
    return Message(headers, data[12 + header_length : total - 4]), total


_FIXED: Final = {2: (">b", 1), 3: (">h", 2), 4: (">i", 4), 5: (">q", 8), 8: (">q", 8)}


def _decode_headers(block: bytes) -> Iterable[tuple[str, HeaderValue]]:
    position = 0

    def take(length: int) -> bytes:
        nonlocal position
        taken = block[position : position + length]
        if len(taken) != length:
            raise ValueError("a header is cut short")
        position += length
        return taken

    while position < len(block):
        name = take(take(1)[0]).decode()
        kind = take(1)[0]
        yield name, _decode_header_value(kind, take)


def _decode_header_value(kind: int, take: Callable[[int], bytes]) -> HeaderValue:
    if kind in (0, 1):
        return kind == 0
    if kind in _FIXED:
        layout, length = _FIXED[kind]
        number: int = struct.unpack(layout, take(length))[0]
        return values.timestamp_from_number(number / 1000) if kind == 8 else number
    if kind in (6, 7):
        raw = take(int.from_bytes(take(2), "big"))
        return raw if kind == 6 else raw.decode()
    if kind == 9:
        return uuid.UUID(bytes=take(16))
    raise ValueError("an unknown type of header")

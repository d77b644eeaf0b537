"""What the server and the neighbours' process say to each other: one request and one answer at a time on a connection.

A frame is two lengths (head, body), the head as MessagePack, and the body's bytes. Bodies are never copied into heads, so
an object of S3 passes in pieces.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import msgspec

from lambent.model.object_event import ObjectEvent

LENGTHS: Final = struct.Struct("!IQ")
CHUNK_BYTES: Final = 1024 * 1024


class Wire(msgspec.Struct, frozen=True, tag="wire"):
    """A client's request as it came, its signature already checked. The frame's body is the request's."""

    service: str  # botocore's name
    operation: str
    account_id: str
    region: str
    request_id: str
    access_key_id: str | None
    root_key: tuple[str, str]  # the account's own: id and secret
    method: str
    path: str
    query: str
    headers: list[tuple[str, str]]


class Call(msgspec.Struct, frozen=True, tag="call"):
    """An operation by botocore's names. `request` holds members as Python has them: bytes, datetimes with a zone.

    `as_sent`: members are those of a request and an answer on the wire, without what boto3 makes of some for its users
    (decoded policies, listings without URL encoding, quoted sources of copies).
    """

    service: str
    operation: str
    account_id: str
    region: str
    request_id: str
    access_key_id: str | None
    root_key: tuple[str, str]  # the account's own: id and secret
    request: dict[str, Any]
    as_sent: bool = False


class Ask(msgspec.Struct, frozen=True, tag="ask"):
    """A question of the server's own, about identities or about the process."""

    about: str
    account_id: str = ""
    name: str = ""


Question = Wire | Call | Ask


class Served(msgspec.Struct, frozen=True, tag="served"):
    """The answer to Wire; the frame's body is the response's. `keys_changed`: read the access keys again."""

    status: int
    headers: list[tuple[str, str]]
    identities_changed: bool = False
    happened: list[ObjectEvent] = []  # to S3's objects, in order


class Result(msgspec.Struct, frozen=True, tag="result"):
    """The answer to Call and Ask."""

    value: Any
    identities_changed: bool = False
    happened: list[ObjectEvent] = []


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """AWS's error, or that the operation is not offered."""

    code: str
    message: str
    status: int
    fields: dict[str, Any] = {}


Answer = Served | Result | Failed

encode = msgspec.msgpack.Encoder().encode
decode_question = msgspec.msgpack.Decoder(Question).decode
decode_answer = msgspec.msgpack.Decoder(Answer).decode


def frame(head: Question | Answer, body_bytes: int = 0) -> bytes:
    """The beginning of a frame; its body follows."""
    packed = encode(head)
    return LENGTHS.pack(len(packed), body_bytes) + packed

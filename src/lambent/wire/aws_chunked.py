"""Bodies in S3's own chunks (`aws-chunked`), signed or not, with trailing checksums.

https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Final

import attrs

from lambent.model.errors import AwsError
from lambent.wire.messages import WireRequest
from lambent.wire.sigv4 import Problem, Signature, SignatureProblem, signing_key

_EMPTY_HASH: Final = hashlib.sha256(b"").hexdigest()
_CHUNK: Final = re.compile(rb"([0-9a-fA-F]{1,16})(?:;chunk-signature=([0-9a-f]{64}))?")
_SIGNED: Final = ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER")


@attrs.frozen
class Decoded:
    body: bytes
    trailers: Mapping[str, str]


def is_chunked(request: WireRequest) -> bool:
    return request.headers.get("x-amz-content-sha256", "").startswith(
        "STREAMING-"
    ) or "aws-chunked" in request.headers.get("content-encoding", "")


def decode(request: WireRequest, signature: Signature | None, secret: str | None) -> Decoded:
    """The body without its chunks. With a secret, signed chunks are checked.

    Raises AwsError IncompleteBody for a body that is malformed, SignatureProblem for a wrong signature.
    """
    payload_kind = request.headers.get("x-amz-content-sha256", "")
    chain = None
    if signature is not None and secret is not None and payload_kind in _SIGNED:
        chain = _Chain(signature, secret)
    body, position = _chunks(request.body, chain)
    expected = request.headers.get("x-amz-decoded-content-length", "")
    if expected.isdecimal() and int(expected) != len(body):
        raise _incomplete()
    trailer_block = request.body[position:]
    trailers = _trailers(trailer_block)
    if chain is not None and payload_kind.endswith("-TRAILER"):
        chain.check_trailers(trailers)
    trailers.pop("x-amz-trailer-signature", None)
    return Decoded(body, trailers)


def _chunks(data: bytes, chain: _Chain | None) -> tuple[bytes, int]:
    """The content, and where the trailers begin."""
    pieces: list[bytes] = []
    position = 0
    while True:
        line_end = data.find(b"\r\n", position, position + 256)
        head = _CHUNK.fullmatch(data[position:line_end]) if line_end >= 0 else None
        if head is None:
            raise _incomplete()
        start = line_end + 2
        end = start + int(head[1], 16)
        piece = data[start:end]
        if len(piece) != end - start:
            raise _incomplete()
        if chain is not None:
            chain.check_chunk(piece, (head[2] or b"").decode())
        if not piece:
            return b"".join(pieces), start
        if data[end : end + 2] != b"\r\n":
            raise _incomplete()
        pieces.append(piece)
        position = end + 2


def _trailers(block: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in block.split(b"\r\n"):
        name, colon, value = line.decode("latin-1").partition(":")
        if colon:
            found[name.strip().lower()] = value.strip()
    return found


class _Chain:
    """Each chunk's signature covers the one before it; the first covers the request's."""

    def __init__(self, signature: Signature, secret: str) -> None:
        self._previous = signature.signature
        self._key = signing_key(secret, signature.date, signature.region, signature.service)
        self._prefix = f"{signature.timestamp}\n{signature.scope}\n"

    def check_chunk(self, piece: bytes, claimed: str) -> None:
        digest = f"{_EMPTY_HASH}\n{hashlib.sha256(piece).hexdigest()}"
        self._check(f"AWS4-HMAC-SHA256-PAYLOAD\n{self._prefix}{self._previous}\n{digest}", claimed)

    def check_trailers(self, trailers: Mapping[str, str]) -> None:
        lines = "".join(f"{name}:{value}\n" for name, value in trailers.items() if name != "x-amz-trailer-signature")
        text = f"AWS4-HMAC-SHA256-TRAILER\n{self._prefix}{self._previous}\n{hashlib.sha256(lines.encode()).hexdigest()}"
        self._check(text, trailers.get("x-amz-trailer-signature", ""))

    def _check(self, text: str, claimed: str) -> None:
        expected = hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected.encode(), claimed.encode()):
            raise SignatureProblem(Problem.MISMATCH)
        self._previous = claimed


def _incomplete() -> AwsError:
    message = "You did not provide the number of bytes specified by the Content-Length HTTP header"
    return AwsError("IncompleteBody", message, 400)

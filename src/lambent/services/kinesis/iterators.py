"""Shard iterators and page tokens: what they say is sealed, so that nobody makes one for what is not theirs.

https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetShardIterator.html
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct
import time
from typing import Final

import attrs
import msgspec

from lambent.model.errors import AwsError
from lambent.services.kinesis.errors import invalid_argument

LIFETIME_MS: Final = 300_000  # five minutes: GetShardIterator's and ListShards' pages
_VERSION: Final = bytes(7) + b"\x01"
_SEAL_BYTES: Final = 16
_HEAD: Final = struct.Struct(">QQQQI")  # made at, stream's id, shard's number, position, length of the account


@attrs.frozen(kw_only=True)
class ShardIterator:
    made_ms: int
    stream_id: int
    shard: int
    position: int
    account_id: str
    stream_name: str


class Sealer:
    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def _seal(self, payload: bytes) -> bytes:
        return hashlib.blake2b(payload, digest_size=_SEAL_BYTES, key=self._secret).digest()

    def iterator(self, iterator: ShardIterator) -> str:
        account = iterator.account_id.encode()
        payload = _VERSION + _HEAD.pack(
            iterator.made_ms, iterator.stream_id, iterator.shard, iterator.position, len(account)
        )
        payload += account + iterator.stream_name.encode()
        return base64.b64encode(payload + self._seal(payload)).decode()

    def read_iterator(self, text: str, now_ms: int) -> ShardIterator:
        """Raises AwsError InvalidArgumentException, ExpiredIteratorException."""
        payload = self._opened(text)
        if payload is None or not payload.startswith(_VERSION):
            raise invalid_argument("Invalid ShardIterator.")
        made_ms, stream_id, shard, position, length = _HEAD.unpack_from(payload, len(_VERSION))
        texts = payload[len(_VERSION) + _HEAD.size :]
        if now_ms - made_ms > LIFETIME_MS:
            raise AwsError(
                "ExpiredIteratorException",
                f"Iterator expired. The iterator was created at time {_as_java(made_ms)} while right now it is "
                f"{_as_java(now_ms)} which is further in the future than the tolerated delay of {LIFETIME_MS} "
                "milliseconds.",
            )
        return ShardIterator(
            made_ms=made_ms, stream_id=stream_id, shard=shard, position=position,
            account_id=texts[:length].decode(), stream_name=texts[length:].decode(),
        )  # fmt: skip

    def token(self, kind: str, made_ms: int, *values: object) -> str:
        """Of a next page."""
        payload = msgspec.json.encode([kind, made_ms, *values])
        return base64.b64encode(payload + self._seal(payload)).decode()

    def read_token(self, kind: str, text: str, now_ms: int) -> list[object]:
        """Raises AwsError InvalidArgumentException, ExpiredNextTokenException."""
        payload = self._opened(text)
        if payload is None or payload.startswith(_VERSION):
            raise invalid_argument("Invalid NextToken.")
        found_kind, made_ms, *values = msgspec.json.decode(payload)
        if found_kind != kind:
            raise invalid_argument("Invalid NextToken.")
        if now_ms - made_ms > LIFETIME_MS:
            raise AwsError(
                "ExpiredNextTokenException", "The pagination token has expired: it is valid for 300 seconds."
            )
        return list(values)

    def _opened(self, text: str) -> bytes | None:
        try:
            sealed = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            return None
        payload, seal = sealed[:-_SEAL_BYTES], sealed[-_SEAL_BYTES:]
        return payload if payload and hmac.compare_digest(self._seal(payload), seal) else None


def stream_in(text: str, region: str) -> str | None:
    """The ARN of the stream that an iterator or a page of shards says to be of; whether it is true, the seal tells later.

    For whoever has to decide before the stream is looked at. None when it says nothing.
    """
    try:
        payload = base64.b64decode(text, validate=True)[:-_SEAL_BYTES]
        if payload.startswith(_VERSION):
            length = _HEAD.unpack_from(payload, len(_VERSION))[-1]
            texts = payload[len(_VERSION) + _HEAD.size :]
            return f"arn:aws:kinesis:{region}:{texts[:length].decode()}:stream/{texts[length:].decode()}"
        kind, _, _, arn, *_ = msgspec.json.decode(payload)
    except (ValueError, TypeError, struct.error, msgspec.DecodeError):
        return None
    return arn if kind == "shards" and isinstance(arn, str) else None


def _as_java(moment_ms: int) -> str:
    """Thu Jan 22 01:22:02 UTC 2015"""
    return time.strftime("%a %b %d %H:%M:%S UTC %Y", time.gmtime(moment_ms / 1000))

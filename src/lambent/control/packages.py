"""Uploaded code: where it comes from, how it is kept, and the addresses under which it can be fetched again."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import attrs

from lambent.model.errors import AwsError, invalid_parameter, request_too_large
from lambent.model.limits import UNZIPPED_MAX_BYTES, ZIP_UPLOAD_MAX_BYTES
from lambent.model.request import RequestContext
from lambent.ports import Blobs, Catalog, Clock

LINK_LIFETIME_S: Final = 600  # GetFunction, Code.Location: valid for ten minutes
LINK_PATH: Final = "/_lambent/code/"
_SECRET_NAME: Final = "code-links"

FetchObject = Callable[[RequestContext, str, str, str | None], Awaitable[bytes]]
"""(context, bucket, key, version) → the object's bytes. Raises AwsError."""


@attrs.frozen
class Package:
    """A package that has been stored and found good."""

    digest: str  # hex SHA-256
    code_sha256: str  # Base64 of the same
    size_bytes: int
    unpacked_bytes: int


class Packages:
    """Takes uploads in and hands them out."""

    def __init__(self, catalog: Catalog, blobs: Blobs, clock: Clock, fetch_object: FetchObject | None) -> None:
        self._catalog = catalog
        self._blobs = blobs
        self._clock = clock
        self._fetch_object = fetch_object

    async def take(self, context: RequestContext, code: dict[str, Any]) -> Package:
        """Stores what `code` names (`ZipFile`, or a place in S3) and unpacks it once, so that bad archives are refused now.

        Raises AwsError, in AWS's words.
        """
        data = await self._data(context, code)
        digest = await self._blobs.put(data)
        unpacked_bytes = await self._blobs.unpacked_bytes(digest)
        sha256 = base64.b64encode(bytes.fromhex(digest)).decode()
        return Package(digest, sha256, len(data), unpacked_bytes)

    async def _data(self, context: RequestContext, code: dict[str, Any]) -> bytes:
        if code.get("S3ObjectStorageMode", "COPY") != "COPY":
            raise invalid_parameter(
                "S3ObjectStorageMode REFERENCE is not available in this version of Lambent; code is copied."
            )
        zip_file: bytes | None = code.get("ZipFile")
        bucket, key = code.get("S3Bucket"), code.get("S3Key")
        if zip_file is not None:
            if bucket or key or code.get("S3ObjectVersion"):
                raise invalid_parameter("Please do not provide other FunctionCode parameters when providing a ZipFile.")
            if len(zip_file) > ZIP_UPLOAD_MAX_BYTES:
                raise request_too_large(f"Zipped size must be smaller than {ZIP_UPLOAD_MAX_BYTES} bytes")
            if not zip_file:
                raise invalid_parameter("Uploaded file must be a non-empty zip")
            return bytes(zip_file)
        if not (bucket and key):
            raise invalid_parameter("Please provide a source for function code.")
        if self._fetch_object is None:
            raise invalid_parameter("Code from Amazon S3 is not available on this server; use ZipFile.")
        return await self._fetch_object(context, bucket, key, code.get("S3ObjectVersion"))

    async def check_total(self, code_bytes: int, layer_digests: Sequence[str]) -> None:
        """Raises AwsError when code and layers are too large together."""
        total = code_bytes
        for digest in layer_digests:
            total += await self._blobs.unpacked_bytes(digest)
        if layer_digests and total > UNZIPPED_MAX_BYTES:
            raise invalid_parameter(
                f"Function code combined with layers exceeds the maximum allowed size of {UNZIPPED_MAX_BYTES} bytes. "
                f"The actual size is {total} bytes."
            )

    async def unpacked_bytes(self, digest: str) -> int:
        return await self._blobs.unpacked_bytes(digest)

    async def location(self, context: RequestContext, digest: str | None) -> str:
        """An address that downloads the package, without a signature of AWS's kind, for ten minutes."""
        if digest is None:
            return ""
        expires = int(self._clock.now()) + LINK_LIFETIME_S
        token = await self._sign(f"{expires}-{digest}")
        return f"{context.base_url.rstrip('/')}{LINK_PATH}{token}"

    async def download(self, token: str) -> bytes:
        """What `location` promised. Raises AwsError AccessDenied for a token that is not ours or too old."""
        content, _, _ = token.rpartition("-")
        expires, _, digest = content.partition("-")
        genuine = hmac.compare_digest((await self._sign(content)).encode(), token.encode())
        if genuine and int(expires) >= self._clock.now():
            try:
                return await self._blobs.get(digest)
            except KeyError:
                raise AwsError("NoSuchKey", "The specified key does not exist.", 404) from None
        raise AwsError("AccessDenied", "Request has expired", 403)

    async def _sign(self, content: str) -> str:
        """`content` with its signature behind it; only characters that stand in an address as they are."""
        secret = await self._catalog.secret(_SECRET_NAME)
        return f"{content}-{hmac.new(secret, content.encode(), hashlib.sha256).hexdigest()}"

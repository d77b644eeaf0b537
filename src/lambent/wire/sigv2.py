"""Signature Version 2 in S3's presigned addresses: what boto3 makes in us-east-1 unless it is told otherwise.

https://docs.aws.amazon.com/AmazonS3/latest/API/RESTAuthentication.html says how it is made. Everywhere else AWS takes
Version 4 only, and so does Lambent.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

import attrs

from lambent.wire.messages import WireRequest
from lambent.wire.sigv4 import Problem, SignatureProblem

_OWN: Final = frozenset({"AWSAccessKeyId", "Signature", "Expires"})

# Same page, "Constructing the CanonicalizedResource element", and what botocore signs besides.
_SIGNED: Final = frozenset((
    "accelerate", "acl", "analytics", "cors", "delete", "inventory", "lifecycle", "location", "logging", "metrics",
    "notification", "object-lock", "partNumber", "policy", "replication", "requestPayment", "restore", "select",
    "select-type", "tagging", "torrent", "uploadId", "uploads", "versionId", "versioning", "versions", "website",
    "response-cache-control", "response-content-disposition", "response-content-encoding", "response-content-language",
    "response-content-type", "response-expires",
))  # fmt: skip
# What narrows a list down; AWS does not sign it. Whatever else stands in a query could name another operation.
_UNSIGNED: Final = frozenset((
    "continuation-token", "delimiter", "encoding-type", "fetch-owner", "key-marker", "list-type", "marker", "max-keys",
    "max-parts", "max-uploads", "part-number-marker", "prefix", "start-after", "upload-id-marker", "version-id-marker",
    "x-id",
))  # fmt: skip
_HEADERS: Final = ("content-md5", "content-type")


@attrs.frozen(kw_only=True)
class Presigned:
    access_key_id: str
    signature: str  # Base64
    expires: str  # as it was written: seconds since the epoch
    session_token: str | None
    parameters: Mapping[str, str]  # of the query, decoded

    @property
    def expires_s(self) -> int:
        return int(self.expires)


def is_presigned(request: WireRequest) -> bool:
    return "AWSAccessKeyId=" in request.query and "Signature=" in request.query


def parse(request: WireRequest) -> Presigned:
    """Raises SignatureProblem INCOMPLETE, and MISMATCH for parameters given twice."""
    pairs = [pair.partition("=")[::2] for pair in request.query.split("&") if pair]
    parameters = {unquote(name): unquote(value) for name, value in pairs}
    if len(parameters) != len(pairs):
        raise SignatureProblem(Problem.MISMATCH)
    if any(not parameters.get(name) for name in _OWN) or not parameters["Expires"].isdecimal():
        raise SignatureProblem(
            Problem.INCOMPLETE, "Query-string authentication requires the Signature, Expires and AWSAccessKeyId."
        )
    return Presigned(
        access_key_id=parameters["AWSAccessKeyId"], signature=parameters["Signature"], expires=parameters["Expires"],
        session_token=parameters.get("x-amz-security-token"), parameters=parameters,
    )  # fmt: skip


def verify(presigned: Presigned, request: WireRequest, secret: str, now_s: float, bucket: str | None) -> None:
    """`bucket` is the one that the host names, if it does. Raises SignatureProblem."""
    if now_s > presigned.expires_s:
        raise SignatureProblem(Problem.LAPSED)
    known = _OWN | _SIGNED | _UNSIGNED
    names = (name for name in presigned.parameters if name not in known)
    if any(name not in _HEADERS and not name.startswith("x-amz-") for name in names):
        raise SignatureProblem(Problem.MISMATCH)
    text = string_to_sign(presigned, request, bucket)
    expected = base64.b64encode(hmac.new(secret.encode(), text.encode(), hashlib.sha1).digest())
    if not hmac.compare_digest(expected, presigned.signature.encode()):
        raise SignatureProblem(Problem.MISMATCH)


def string_to_sign(presigned: Presigned, request: WireRequest, bucket: str | None) -> str:
    """Headers may come in the query as well, under their names in lower case."""
    given = {**{name: value for name, value in presigned.parameters.items() if name == name.lower()}, **request.headers}
    standard = [given.get(name, "").strip() for name in _HEADERS]
    amazon = sorted(f"{name}:{value.strip()}" for name, value in given.items() if name.startswith("x-amz-"))
    path = request.path if bucket is None else f"/{bucket}{request.path}"
    path = (
        path if path == "/" or "/" in path[1:] else f"{path}/"
    )  # a bucket's own address ends so, however it was written
    pairs = [pair.partition("=") for pair in request.query.split("&") if pair]
    signed = sorted(f"{unquote(name)}{sign}{unquote(value)}" for name, sign, value in pairs if unquote(name) in _SIGNED)
    resource = f"{path}?{'&'.join(signed)}" if signed else path
    return "\n".join((request.method, *standard, presigned.expires, *amazon, resource))

"""Signature Version 4: reading it from a request, and checking it.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html says how it is made. What
goes wrong is a `SignatureProblem`; `sigv4_errors` turns it into the words that each kind of service uses.
"""

from __future__ import annotations

import datetime
import enum
import functools
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import parse_qsl, quote, unquote

import attrs

from lambent.wire.messages import WireRequest

ALGORITHM: Final = "AWS4-HMAC-SHA256"
UNSIGNED_PAYLOAD: Final = "UNSIGNED-PAYLOAD"
STREAMING_PREFIX: Final = "STREAMING-"
SKEW_S: Final = 300  # "Signature expired": five minutes either way
S3_SKEW_S: Final = 900  # RequestTimeTooSkewed: fifteen
PRESIGNED_MAX_S: Final = 604_800  # X-Amz-Expires: seven days
_TIMESTAMP_FORMAT: Final = "%Y%m%dT%H%M%SZ"
_CREDENTIAL: Final = re.compile(r"([^/].*)/(\d{8})/([^/]+)/([^/]+)/aws4_request")
_SPACES: Final = re.compile(r" +")


class Problem(enum.Enum):
    """Why a signature is refused."""

    MISSING = "no signature"
    INCOMPLETE = "a part of the signature is missing"
    UNKNOWN_KEY = "the access key is not known"
    MISMATCH = "the signature is another"
    EXPIRED = "signed too long ago"
    NOT_YET = "signed in the future"
    LAPSED = "a presigned address is past its time"
    PAYLOAD_MISMATCH = "the body is not the one that was signed"
    UNSIGNED_HEADERS = "headers that must be signed are not"
    SCOPE = "the credential is for something else"


class SignatureProblem(Exception):
    """The request is refused; `detail` is what AWS adds."""

    def __init__(self, problem: Problem, detail: str = "") -> None:
        super().__init__(f"{problem.value}: {detail}" if detail else problem.value)
        self.problem = problem
        self.detail = detail


@attrs.frozen(kw_only=True)
class Signature:
    """What a request says about its signature."""

    access_key_id: str
    date: str  # 20260731
    region: str
    service: str  # signing name
    signed_headers: tuple[str, ...]
    signature: str  # 64 hex digits
    timestamp: str  # 20260731T120000Z
    session_token: str | None = None
    expires_s: int | None = None  # set for presigned addresses

    @property
    def is_presigned(self) -> bool:
        return self.expires_s is not None

    @property
    def scope(self) -> str:
        return f"{self.date}/{self.region}/{self.service}/aws4_request"


def parse(request: WireRequest) -> Signature:
    """From the Authorization header or from a presigned query. Raises SignatureProblem MISSING or INCOMPLETE."""
    header = request.headers.get("authorization")
    if header is not None:
        return _from_header(header, request.headers)
    if "X-Amz-Signature=" in request.query or "X-Amz-Algorithm=" in request.query:
        return _from_query(dict(parse_qsl(request.query, keep_blank_values=True)))
    raise SignatureProblem(Problem.MISSING)


def _from_header(header: str, headers: Mapping[str, str]) -> Signature:
    algorithm, _, rest = header.strip().partition(" ")
    if algorithm != ALGORITHM:
        raise SignatureProblem(Problem.INCOMPLETE, f"Unsupported AWS 'algorithm': '{algorithm}'.")
    parameters = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    absent = [name for name in ("Credential", "Signature", "SignedHeaders") if not parameters.get(name)]
    details = [f"Authorization header requires '{name}' parameter." for name in absent]
    timestamp = headers.get("x-amz-date") or _basic_date(headers.get("date", ""))
    if not timestamp:
        details.append("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
    if details:
        raise SignatureProblem(Problem.INCOMPLETE, " ".join(details))
    return _signature(parameters["Credential"], parameters["SignedHeaders"], parameters["Signature"], timestamp,
                      headers.get("x-amz-security-token"))  # fmt: skip


def _from_query(query: Mapping[str, str]) -> Signature:
    names = ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", "X-Amz-SignedHeaders", "X-Amz-Date")
    absent = [f"AWS query-string parameters must include '{name}'." for name in names if not query.get(name)]
    if absent:
        raise SignatureProblem(Problem.INCOMPLETE, " ".join(absent))
    if query["X-Amz-Algorithm"] != ALGORITHM:
        raise SignatureProblem(Problem.INCOMPLETE, f"Unsupported AWS 'algorithm': '{query['X-Amz-Algorithm']}'.")
    # S3 demands the lifetime; the other services take five minutes when it is not there.
    expires = query.get("X-Amz-Expires", str(SKEW_S))
    if not expires.isdecimal() or not 0 < int(expires) <= PRESIGNED_MAX_S:
        raise SignatureProblem(Problem.INCOMPLETE, "X-Amz-Expires must be between 1 and 604800 seconds.")
    signature = _signature(query["X-Amz-Credential"], query["X-Amz-SignedHeaders"], query["X-Amz-Signature"],
                           query["X-Amz-Date"], query.get("X-Amz-Security-Token"))  # fmt: skip
    return attrs.evolve(signature, expires_s=int(expires))


def _signature(credential: str, signed_headers: str, signature: str, timestamp: str, token: str | None) -> Signature:
    found = _CREDENTIAL.fullmatch(credential)
    if found is None:
        detail = (
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, "
            f"got '{credential}'"
        )
        raise SignatureProblem(Problem.INCOMPLETE, detail)
    moment_of(timestamp)
    access_key_id, date, region, service = found.groups()
    return Signature(
        access_key_id=access_key_id, date=date, region=region, service=service,
        signed_headers=tuple(signed_headers.split(";")), signature=signature, timestamp=timestamp, session_token=token,
    )  # fmt: skip


def _basic_date(date_header: str) -> str:
    """An HTTP date in ISO 8601's basic format; empty when there is none."""
    for layout in ("%a, %d %b %Y %H:%M:%S GMT", _TIMESTAMP_FORMAT):
        try:
            return datetime.datetime.strptime(date_header, layout).strftime(_TIMESTAMP_FORMAT)
        except ValueError:
            continue
    return ""


def moment_of(timestamp: str) -> float:
    """Seconds since the epoch. Raises SignatureProblem INCOMPLETE."""
    try:
        return datetime.datetime.strptime(timestamp, _TIMESTAMP_FORMAT).replace(tzinfo=datetime.UTC).timestamp()
    except ValueError as error:
        detail = (
            f"Date must be in ISO-8601 'basic format'. Got '{timestamp}'. See http://en.wikipedia.org/wiki/ISO_8601"
        )
        raise SignatureProblem(Problem.INCOMPLETE, detail) from error


def verify(
    signature: Signature, request: WireRequest, secret: str, now_s: float, *, unsigned_payload: bool = False
) -> None:
    """Raises SignatureProblem unless the request was signed with this secret, and lately.

    `unsigned_payload` says that the operation takes bodies that are not signed; S3 always does. Bodies that come in
    signed chunks are checked by `aws_chunked.decode`.
    """
    is_s3 = signature.service in ("s3", "s3express", "s3-object-lambda", "s3-outposts")
    _check_time(signature, now_s, S3_SKEW_S if is_s3 else SKEW_S)
    _check_headers(signature, request, is_s3)
    payload_hash = _payload_hash(signature, request, is_s3, unsigned_payload or is_s3)
    for canonical_query in _canonical_queries(request.query):
        digest = _hash(_canonical_request(signature, request, canonical_query, payload_hash, is_s3))
        if hmac.compare_digest(sign(signature, secret, digest).encode(), signature.signature.encode()):
            return
    raise SignatureProblem(Problem.MISMATCH)


def sign(signature: Signature, secret: str, digest: str) -> str:
    """The signature over a canonical request's digest."""
    text = f"{ALGORITHM}\n{signature.timestamp}\n{signature.scope}\n{digest}"
    key = signing_key(secret, signature.date, signature.region, signature.service)
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


@functools.lru_cache(maxsize=1024)
def signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def _check_time(signature: Signature, now_s: float, skew_s: int) -> None:
    signed_s = moment_of(signature.timestamp)
    if not signature.timestamp.startswith(signature.date):
        detail = (
            f"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
            f"'{signature.date}' != '{signature.timestamp[:8]}', from '{signature.timestamp}'."
        )
        raise SignatureProblem(Problem.SCOPE, detail)
    now, minutes = _basic(now_s), skew_s // 60
    if signed_s > now_s + skew_s:
        limit = _basic(now_s + skew_s)
        detail = (
            f"Signature not yet current: {signature.timestamp} is still later than {limit} ({now} + {minutes} min.)"
        )
        raise SignatureProblem(Problem.NOT_YET, detail)
    if signature.expires_s is not None:
        if now_s > signed_s + signature.expires_s:
            ended = _basic(signed_s + signature.expires_s)
            raise SignatureProblem(Problem.LAPSED, f"Signature expired: {ended} is now earlier than {now}")
    elif signed_s < now_s - skew_s:
        limit = _basic(now_s - skew_s)
        detail = f"Signature expired: {signature.timestamp} is now earlier than {limit} ({now} - {minutes} min.)"
        raise SignatureProblem(Problem.EXPIRED, detail)


def _basic(moment_s: float) -> str:
    return datetime.datetime.fromtimestamp(moment_s, datetime.UTC).strftime(_TIMESTAMP_FORMAT)


def _check_headers(signature: Signature, request: WireRequest, is_s3: bool) -> None:
    absent = [name for name in signature.signed_headers if name not in request.headers]
    if "host" not in signature.signed_headers:
        detail = "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."
        raise SignatureProblem(Problem.UNSIGNED_HEADERS, detail)
    if absent:
        raise SignatureProblem(Problem.MISMATCH)
    unsigned = [n for n in request.headers if n.startswith("x-amz-") and n not in signature.signed_headers]
    always = ("x-amz-target", "x-amz-security-token")
    unsigned = [name for name in unsigned if is_s3 or name in always]
    # A presigned address may be used with the hash that clients add on their own.
    unsigned = [name for name in unsigned if not (signature.is_presigned and name == "x-amz-content-sha256")]
    if unsigned:
        raise SignatureProblem(Problem.UNSIGNED_HEADERS, ", ".join(sorted(unsigned)))


def _payload_hash(signature: Signature, request: WireRequest, is_s3: bool, may_be_unsigned: bool) -> str:
    declared = request.headers.get("x-amz-content-sha256")
    if signature.is_presigned and is_s3:
        return (
            declared
            if declared is not None and "x-amz-content-sha256" in signature.signed_headers
            else UNSIGNED_PAYLOAD
        )
    if (
        declared is not None
        and may_be_unsigned
        and (declared == UNSIGNED_PAYLOAD or declared.startswith(STREAMING_PREFIX))
    ):
        return declared
    actual = hashlib.sha256(request.body).hexdigest()
    if declared is not None and declared != actual:
        raise SignatureProblem(Problem.PAYLOAD_MISMATCH if is_s3 else Problem.MISMATCH)
    return actual


def _canonical_request(signature: Signature, request: WireRequest, query: str, payload_hash: str, is_s3: bool) -> str:
    path = request.path if is_s3 else quote(_without_dots(request.path), safe="/~")
    headers = "".join(f"{name}:{_trimmed(request.headers[name])}\n" for name in signature.signed_headers)
    return "\n".join((request.method, path, query, headers, ";".join(signature.signed_headers), payload_hash))


def _trimmed(value: str) -> str:
    return _SPACES.sub(" ", value.strip())


def _without_dots(path: str) -> str:
    """RFC 3986's removal of `.` and `..`, and of doubled slashes, as every signer but S3's does it."""
    kept: list[str] = []
    for part in path.split("/"):
        if part == "..":
            kept[-1:] = []
        elif part not in ("", "."):
            kept.append(part)
    trailing = "/" if path.endswith("/") and kept else ""
    return f"/{'/'.join(kept)}{trailing}"


def _canonical_queries(query: str) -> Iterable[str]:
    """The query as most signers see it, and the same with every character encoded anew, for those that decode first."""
    pairs = [pair.partition("=")[::2] for pair in query.split("&") if pair]
    pairs = [(key, value) for key, value in pairs if key != "X-Amz-Signature"]
    as_sent = "&".join(f"{key}={value}" for key, value in sorted(pairs))
    yield as_sent
    anew = sorted((_encoded(key), _encoded(value)) for key, value in pairs)
    again = "&".join(f"{key}={value}" for key, value in anew)
    if again != as_sent:
        yield again


def _encoded(text: str) -> str:
    return quote(unquote(text), safe="-_.~")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()

"""Signatures made by botocore are verified; the slightest change is noticed."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import urlsplit

import attrs
import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from lambent.wire import aws_chunked, sigv4, sigv4_errors
from lambent.wire.messages import WireRequest
from lambent.wire.sigv4 import Problem, SignatureProblem

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
KEYS = Credentials("AKIDEXAMPLE", SECRET)
SESSION_KEYS = Credentials("ASIDEXAMPLE", SECRET, "the+session/token==")

texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=20)


def signed(
    signer: type, service: str, method: str, url: str, body: bytes = b"", headers: Mapping[str, str] | None = None,
    keys: Credentials = KEYS, **options: object,
) -> WireRequest:  # fmt: skip
    request = AWSRequest(method, url, data=body, headers={"Host": urlsplit(url).netloc, **(headers or {})})
    if issubclass(signer, S3SigV4Auth):
        request.context["payload_signing_enabled"] = True
    signer(keys, service, "eu-west-1", **options).add_auth(request)
    prepared = request.prepare()
    parts = urlsplit(prepared.url)
    sent = {k.lower(): v.decode() if isinstance(v, bytes) else str(v) for k, v in prepared.headers.items()}
    return WireRequest(method=method, path=parts.path or "/", query=parts.query, headers=sent, body=body)


def verify(request: WireRequest, secret: str = SECRET, after_s: float = 1.0) -> sigv4.Signature:
    signature = sigv4.parse(request)
    sigv4.verify(signature, request, secret, sigv4.moment_of(signature.timestamp) + after_s)
    return signature


@given(
    path=st.lists(texts, max_size=3),
    query=st.lists(st.tuples(texts, texts), max_size=4),
    body=st.binary(max_size=200),
    header=st.text("abc  xyz,;=", max_size=20),
)
def test_every_request_that_botocore_signs_is_verified(
    path: list[str], query: list[tuple[str, str]], body: bytes, header: str
) -> None:
    from urllib.parse import quote

    encoded = "/".join(quote(part, safe="-_.~") for part in path)
    asked = "&".join(f"{quote(key, safe='-_.~')}={quote(value, safe='-_.~')}" for key, value in query)
    url = f"http://localhost:4566/{encoded}" + (f"?{asked}" if asked else "")
    for signer, service in ((SigV4Auth, "lambda"), (S3SigV4Auth, "s3")):
        signature = verify(signed(signer, service, "POST", url, body, {"X-Amz-Meta": header}))
        assert (signature.service, signature.region, signature.access_key_id) == (service, "eu-west-1", "AKIDEXAMPLE")


@pytest.mark.parametrize(("signer", "service"), [(SigV4QueryAuth, "sts"), (S3SigV4QueryAuth, "s3")])
@pytest.mark.parametrize("keys", [KEYS, SESSION_KEYS])
def test_presigned_addresses_are_verified_for_as_long_as_they_say(
    signer: type, service: str, keys: Credentials
) -> None:
    request = signed(signer, service, "GET", "http://localhost/b/k%20k?x=1&a=ü", keys=keys, expires=1000)
    signature = verify(request, after_s=999)
    assert (signature.expires_s, signature.session_token) == (1000, keys.token)
    with pytest.raises(SignatureProblem) as caught:
        verify(request, after_s=1001)
    assert caught.value.problem is Problem.LAPSED


def sample() -> WireRequest:
    return signed(
        SigV4Auth, "lambda", "POST", "http://localhost/2015-03-31/functions/f%3A1/x?Qualifier=a%20b", b'{"a":1}',
        {"X-Amz-Log-Type": "Tail"}, SESSION_KEYS,
    )  # fmt: skip


def flipped(text: str, at: int) -> str:
    return text[:at] + ("0" if text[at] != "0" else "1") + text[at + 1 :]


def test_any_change_to_what_was_signed_is_noticed() -> None:
    request = sample()
    verify(request)
    changed = [attrs.evolve(request, method="PUT"), attrs.evolve(request, body=request.body + b" ")]
    changed += [attrs.evolve(request, path=flipped(request.path, i)) for i in range(1, len(request.path))]
    changed += [attrs.evolve(request, query=flipped(request.query, i)) for i in range(len(request.query))]
    for name in ("host", "x-amz-log-type", "x-amz-security-token"):
        value = request.headers[name]
        changed += [
            attrs.evolve(request, headers={**request.headers, name: flipped(value, i)}) for i in range(len(value))
        ]
    authorization = request.headers["authorization"]
    for i in range(authorization.index("Signature=") + 10, len(authorization)):
        changed.append(attrs.evolve(request, headers={**request.headers, "authorization": flipped(authorization, i)}))
    for other in changed:
        with pytest.raises(SignatureProblem):
            verify(other)
    with pytest.raises(SignatureProblem):
        verify(request, secret=SECRET + "x")


@given(st.binary(max_size=40), st.integers(0, 10_000))
def test_garbage_in_the_header_is_one_kind_of_refusal(garbage: bytes, at: int) -> None:
    request = sample()
    authorization = request.headers["authorization"]
    at %= len(authorization)
    mangled = authorization[:at] + garbage.decode("latin-1") + authorization[at + 1 :]
    changed = attrs.evolve(request, headers={**request.headers, "authorization": mangled})
    with contextlib.suppress(SignatureProblem):
        found = attrs.evolve(verify(changed), access_key_id="ASIDEXAMPLE")  # it only chooses the secret
        assert found == sigv4.parse(request)  # a blank more or less says the same


@pytest.mark.parametrize(
    ("service", "signer", "after_s", "problem"),
    [
        ("lambda", SigV4Auth, 299, None),
        ("lambda", SigV4Auth, 301, Problem.EXPIRED),
        ("lambda", SigV4Auth, -299, None),
        ("lambda", SigV4Auth, -301, Problem.NOT_YET),
        ("s3", S3SigV4Auth, 899, None),
        ("s3", S3SigV4Auth, 901, Problem.EXPIRED),
    ],
)
def test_clocks_may_differ_by_five_minutes_and_for_s3_by_fifteen(
    service: str, signer: type, after_s: float, problem: Problem | None
) -> None:
    request = signed(signer, service, "GET", "http://localhost/")
    if problem is None:
        verify(request, after_s=after_s)
        return
    with pytest.raises(SignatureProblem) as caught:
        verify(request, after_s=after_s)
    assert caught.value.problem is problem


def test_an_expired_signature_is_told_in_aws_words() -> None:
    request = sample()
    signature = attrs.evolve(sigv4.parse(request), timestamp="20260731T120000Z", date="20260731")
    now_s = datetime.datetime(2026, 7, 31, 12, 10, tzinfo=datetime.UTC).timestamp()
    with pytest.raises(SignatureProblem) as caught:
        sigv4.verify(signature, request, SECRET, now_s)
    error = sigv4_errors.aws_error(caught.value, "rest-json", "lambda")
    assert (error.code, error.status) == ("InvalidSignatureException", 403)
    assert error.message == (
        "Signature expired: 20260731T120000Z is now earlier than 20260731T120500Z (20260731T121000Z - 5 min.)"
    )


def test_what_an_authorization_header_lacks_is_listed() -> None:
    with pytest.raises(SignatureProblem) as caught:
        sigv4.parse(WireRequest(method="GET", path="/", headers={"authorization": "AWS4-HMAC-SHA256 x=y"}))
    assert caught.value.detail == (
        "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. "
        "Authorization header requires 'SignedHeaders' parameter. Authorization header requires existence of either a "
        "'X-Amz-Date' or a 'Date' header."
    )


def test_an_unsigned_target_header_is_refused() -> None:
    request = signed(SigV4Auth, "logs", "POST", "http://localhost/", b"{}")
    changed = attrs.evolve(request, headers={**request.headers, "x-amz-target": "Logs_20140328.DeleteLogGroup"})
    with pytest.raises(SignatureProblem) as caught:
        verify(changed)
    assert caught.value.problem is Problem.UNSIGNED_HEADERS


# Chunks, signed as AWS's documentation shows


def chunked(pieces: list[bytes], trailers: dict[str, str] | None = None) -> WireRequest:
    kind = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" + ("-TRAILER" if trailers is not None else "")
    seed = attrs.evolve(
        signed(SigV4Auth, "s3", "PUT", "http://localhost/b/k", b"", {"X-Amz-Content-SHA256": kind}), body=b"",
    )  # fmt: skip
    signature = sigv4.parse(seed)
    key = sigv4.signing_key(SECRET, signature.date, "eu-west-1", "s3")
    previous, body = signature.signature, b""
    empty = hashlib.sha256(b"").hexdigest()

    def link(algorithm: str, digests: str) -> str:
        text = f"{algorithm}\n{signature.timestamp}\n{signature.scope}\n{previous}\n{digests}"
        return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()

    for piece in [*pieces, b""]:
        previous = link("AWS4-HMAC-SHA256-PAYLOAD", f"{empty}\n{hashlib.sha256(piece).hexdigest()}")
        body += b"%x;chunk-signature=%s\r\n%s" % (len(piece), previous.encode(), piece)
        body += b"\r\n" if piece or trailers is None else b""
    if trailers is not None:
        lines = "".join(f"{name}:{value}\n" for name, value in trailers.items())
        final = link("AWS4-HMAC-SHA256-TRAILER", hashlib.sha256(lines.encode()).hexdigest())
        body += b"".join(f"{name}:{value}\r\n".encode() for name, value in trailers.items())
        body += f"x-amz-trailer-signature:{final}\r\n\r\n".encode()
    headers = {**seed.headers, "content-encoding": "aws-chunked"}
    return attrs.evolve(seed, body=body, headers=headers)


@pytest.mark.parametrize("trailers", [None, {"x-amz-checksum-crc32c": "sOO8/Q=="}])
def test_signed_chunks_are_verified_one_by_one(trailers: dict[str, str] | None) -> None:
    request = chunked([b"a" * 66_000, b"", b"b" * 10][::2], trailers)
    decoded = aws_chunked.decode(request, verify(request), SECRET)
    assert decoded.body == b"a" * 66_000 + b"b" * 10
    assert decoded.trailers == (trailers or {})
    for at in (70, 66_200, len(request.body) - (40 if trailers else 90)):
        changed = request.body[:at] + bytes([request.body[at] ^ 1]) + request.body[at + 1 :]
        with pytest.raises((SignatureProblem, Exception), match=r"signature|number of bytes"):
            aws_chunked.decode(attrs.evolve(request, body=changed), verify(request), SECRET)


@given(st.binary(max_size=60))
def test_malformed_chunks_are_one_kind_of_error(data: bytes) -> None:
    from lambent.model.errors import AwsError

    request = WireRequest(method="PUT", path="/b/k", headers={"content-encoding": "aws-chunked"}, body=data)
    with contextlib.suppress(AwsError):
        assert len(aws_chunked.decode(request, None, None).body) < len(data)

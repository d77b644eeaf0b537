"""Who may come in: signatures are checked when they are to be, and bodies taken out of their signed chunks."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final, Literal

import attrs

from lambent.front.identify import Asked, virtual_bucket
from lambent.model.errors import AwsError
from lambent.model.identity import KnownKey
from lambent.wire import aws_chunked, sigv2, sigv4, sigv4_errors
from lambent.wire.messages import WireRequest
from lambent.wire.shapes import Operation

AuthMode = Literal["open", "enforce"]
SecretFor = Callable[[str], str | None]
"""The secret of an access key id; None when there is no such key."""

KeyFor = Callable[[str, str | None], KnownKey | None]
"""Whose an access key id is, with the session token that came along; None when there is no such key or session."""

_LINKED: Final = frozenset({("sns", "ConfirmSubscription"), ("sns", "Unsubscribe")})
_INFLATED_MAX_BYTES: Final = 256 * 1024 * 1024


@attrs.frozen(kw_only=True)
class Admitted:
    """A request that may come in. `key` is known where signatures are checked, and the request has one."""

    request: WireRequest
    key: KnownKey | None


@attrs.frozen(kw_only=True)
class Access:
    """The policy of one gateway. `open` reads signatures for account and region only."""

    mode: AuthMode
    secret_for: SecretFor
    now_s: Callable[[], float]
    key_for: KeyFor | None = None  # says more than `secret_for`, and is asked instead of it

    def admit(self, asked: Asked, request: WireRequest) -> WireRequest:
        """The request with its body as the service should see it. Raises AwsError in the asked service's words."""
        return self.admit_known(asked, request).request

    def admit_known(self, asked: Asked, request: WireRequest) -> Admitted:
        """The same, with whose key it was signed with."""
        service_name = asked.service.name if asked.service is not None else None
        signature, secret, key = None, None, None
        try:
            if self.mode == "enforce":
                signature, secret, key = self._verified(asked, request)
            if aws_chunked.is_chunked(request):
                request = _without_chunks(request, signature, secret)
        except sigv4.SignatureProblem as refused:
            raise sigv4_errors.aws_error(refused, asked.protocol, service_name) from refused
        if service_name != "s3":  # S3 keeps what it gets
            request = _inflated(request)
        return Admitted(request=request, key=key)

    def _verified(
        self, asked: Asked, request: WireRequest
    ) -> tuple[sigv4.Signature | None, str | None, KnownKey | None]:
        operation = asked.operation
        if asked.service is not None and asked.service.name == "s3" and sigv2.is_presigned(request):
            return None, None, self._verified_old(asked, request)
        try:
            signature = sigv4.parse(request)
        except sigv4.SignatureProblem as refused:
            if refused.problem is sigv4.Problem.MISSING and operation is not None and _may_be_unsigned(operation):
                return None, None, None
            raise
        key, secret = self._key(asked, signature)
        if asked.service is not None and signature.service != asked.service.signing_name:
            detail = f"Credential should be scoped to correct service: '{asked.service.signing_name}'."
            raise sigv4.SignatureProblem(sigv4.Problem.SCOPE, detail)
        unsigned = operation is not None and operation.allows_unsigned_payload
        sigv4.verify(signature, request, secret, self.now_s(), unsigned_payload=unsigned)
        return signature, secret, key

    def _verified_old(self, asked: Asked, request: WireRequest) -> KnownKey | None:
        """Of an address of S3's that was presigned with Version 2. Raises SignatureProblem."""
        presigned = sigv2.parse(request)
        key, secret = self._key(asked, presigned)
        sigv2.verify(presigned, request, secret, self.now_s(), virtual_bucket(request.headers.get("host", "")))
        return key

    def _key(self, asked: Asked, signature: sigv4.Signature | sigv2.Presigned) -> tuple[KnownKey | None, str]:
        """Whose key it is, where that is known, and its secret. Raises SignatureProblem; AwsError when a session is over."""
        key = self.key_for(signature.access_key_id, signature.session_token) if self.key_for is not None else None
        if key is not None and key.expires_s is not None and key.expires_s <= self.now_s():
            raise _expired(asked)
        secret = key.secret_access_key if key is not None else self.secret_for(signature.access_key_id)
        if secret is None or (key is None and self.key_for is not None):
            raise sigv4.SignatureProblem(sigv4.Problem.UNKNOWN_KEY)
        return key, secret


def _may_be_unsigned(operation: Operation) -> bool:
    """By the model, or because a link that was sent leads to it: who confirms a subscription has a token instead."""
    return operation.is_unsigned or (operation.service.name, operation.name) in _LINKED


def _expired(asked: Asked) -> AwsError:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html,
    https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
    """
    if asked.service is not None and asked.service.name == "s3":
        return AwsError("ExpiredToken", "The provided token has expired.", 400)
    code = "ExpiredToken" if asked.protocol in ("query", "ec2", "rest-xml") else "ExpiredTokenException"
    return AwsError(code, "The security token included in the request is expired", 403)


def _without_chunks(request: WireRequest, signature: sigv4.Signature | None, secret: str | None) -> WireRequest:
    decoded = aws_chunked.decode(request, signature, secret)
    headers = {**request.headers, **decoded.trailers}
    encodings = [e.strip() for e in headers.get("content-encoding", "").split(",")]
    kept = ",".join(e for e in encodings if e and e != "aws-chunked")
    headers["content-encoding"] = kept
    if not kept:
        del headers["content-encoding"]
    headers["content-length"] = str(len(decoded.body))
    return attrs.evolve(request, headers=headers, body=decoded.body)


def _inflated(request: WireRequest) -> WireRequest:
    """Clients compress large requests of some services. Raises AwsError SerializationException."""
    if request.headers.get("content-encoding") != "gzip":
        return request
    inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        body = inflater.decompress(request.body, _INFLATED_MAX_BYTES)
    except zlib.error as error:
        raise AwsError("SerializationException", f"The body is not what its Content-Encoding says: {error}") from error
    if inflater.unconsumed_tail or not inflater.eof:
        raise AwsError("SerializationException", "The compressed body is too large or cut short.", 413)
    return attrs.evolve(request, body=body)

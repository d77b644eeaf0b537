"""Who may come in: signatures are checked when they are to be, and bodies taken out of their signed chunks."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final, Literal

import attrs

from lambent.front.identify import Asked
from lambent.model.errors import AwsError
from lambent.wire import aws_chunked, sigv4, sigv4_errors
from lambent.wire.messages import WireRequest

AuthMode = Literal["open", "enforce"]
SecretFor = Callable[[str], str | None]
"""The secret of an access key id; None when there is no such key."""

_INFLATED_MAX_BYTES: Final = 256 * 1024 * 1024


@attrs.frozen(kw_only=True)
class Access:
    """The policy of one gateway. `open` reads signatures for account and region only."""

    mode: AuthMode
    secret_for: SecretFor
    now_s: Callable[[], float]

    def admit(self, asked: Asked, request: WireRequest) -> WireRequest:
        """The request with its body as the service should see it. Raises AwsError in the asked service's words."""
        service_name = asked.service.name if asked.service is not None else None
        try:
            signature, secret = self._verified(asked, request) if self.mode == "enforce" else (None, None)
            if aws_chunked.is_chunked(request):
                request = _without_chunks(request, signature, secret)
        except sigv4.SignatureProblem as refused:
            raise sigv4_errors.aws_error(refused, asked.protocol, service_name) from refused
        return request if service_name == "s3" else _inflated(request)  # S3 keeps what it gets

    def _verified(self, asked: Asked, request: WireRequest) -> tuple[sigv4.Signature | None, str | None]:
        operation = asked.operation
        try:
            signature = sigv4.parse(request)
        except sigv4.SignatureProblem as refused:
            if refused.problem is sigv4.Problem.MISSING and operation is not None and operation.is_unsigned:
                return None, None
            raise
        secret = self.secret_for(signature.access_key_id)
        if secret is None:
            raise sigv4.SignatureProblem(sigv4.Problem.UNKNOWN_KEY)
        if asked.service is not None and signature.service != asked.service.signing_name:
            detail = f"Credential should be scoped to correct service: '{asked.service.signing_name}'."
            raise sigv4.SignatureProblem(sigv4.Problem.SCOPE, detail)
        unsigned = operation is not None and operation.allows_unsigned_payload
        sigv4.verify(signature, request, secret, self.now_s(), unsigned_payload=unsigned)
        return signature, secret


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

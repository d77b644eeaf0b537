"""A refused signature in the words of the service that was asked.

Codes: https://docs.aws.amazon.com/lambda/latest/api/CommonErrors.html,
https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html and
https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html.
"""

from __future__ import annotations

from typing import Final

from lambent.model.errors import AwsError
from lambent.wire.sigv4 import Problem, SignatureProblem

_MISMATCH: Final = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and "
    "signing method. Consult the service documentation for details."
)
_UNKNOWN_KEY: Final = "The security token included in the request is invalid."

_S3: Final[dict[Problem, tuple[str, int, str]]] = {
    Problem.MISSING: ("AccessDenied", 403, "Access Denied"),
    Problem.INCOMPLETE: ("AuthorizationHeaderMalformed", 400, "The authorization header you provided is invalid."),
    Problem.UNKNOWN_KEY: (
        "InvalidAccessKeyId",
        403,
        "The AWS Access Key Id you provided does not exist in our records.",
    ),
    Problem.MISMATCH: (
        "SignatureDoesNotMatch",
        403,
        "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
    ),
    Problem.EXPIRED: (
        "RequestTimeTooSkewed",
        403,
        "The difference between the request time and the current time is too large.",
    ),
    Problem.NOT_YET: (
        "RequestTimeTooSkewed",
        403,
        "The difference between the request time and the current time is too large.",
    ),
    Problem.LAPSED: ("AccessDenied", 403, "Request has expired"),
    Problem.PAYLOAD_MISMATCH: (
        "XAmzContentSHA256Mismatch",
        400,
        "The provided 'x-amz-content-sha256' header does not match what was computed.",
    ),
    Problem.UNSIGNED_HEADERS: ("AccessDenied", 403, "There were headers present in the request which were not signed"),
    Problem.SCOPE: (
        "AuthorizationHeaderMalformed",
        400,
        "The authorization header is malformed; the credential is wrong.",
    ),
}


def aws_error(refused: SignatureProblem, protocol: str, service: str | None) -> AwsError:
    """`protocol` is botocore's name of it."""
    problem, detail = refused.problem, refused.detail
    if service == "s3":
        code, status, message = _S3[problem]
        if problem is Problem.SCOPE:
            message = f"The authorization header is malformed; {detail}"
        return AwsError(code, message, status)
    is_query = protocol in ("query", "ec2", "rest-xml")
    match problem:
        case Problem.MISSING:
            if is_query:
                return AwsError("MissingAuthenticationToken", "Request is missing Authentication Token", 403)
            return AwsError("MissingAuthenticationTokenException", "Missing Authentication Token", 403)
        case Problem.INCOMPLETE:
            return AwsError("IncompleteSignature" if is_query else "IncompleteSignatureException", detail, 400)
        case Problem.UNKNOWN_KEY:
            code = "InvalidClientTokenId" if is_query else "UnrecognizedClientException"
            return AwsError(code, _UNKNOWN_KEY, 403)
        case Problem.MISMATCH | Problem.PAYLOAD_MISMATCH:
            detail = _MISMATCH
        case Problem.UNSIGNED_HEADERS if "SignedHeader" not in detail:
            detail = " ".join(
                f"'{name}' must be a 'SignedHeader' in the AWS Authorization." for name in detail.split(", ")
            )
    return AwsError("SignatureDoesNotMatch" if is_query else "InvalidSignatureException", detail, 403)

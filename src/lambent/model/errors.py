"""The errors a caller can see.

    LambentError                 anything that Lambent raises on purpose
    ├── AwsError                 an answer in AWS's own words: code, message, HTTP status
    └── SandboxError             our own fault: an environment could not be built or kept
        └── EntrypointError      the function's: the program that it should run cannot be executed

A function that fails is not an error here: it is a successful invocation whose `Outcome` has `function_error`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lambent.model.limits import SYNC_PAYLOAD_MAX_BYTES


class LambentError(Exception):
    """Anything that Lambent raises on purpose."""


class AwsError(LambentError):
    """An answer that AWS itself would give.

    `code` is the wire name (`ResourceNotFoundException`), `status` the HTTP status, `fields` further members of the
    modelled error shape (`Type`, `Reason`, `retryAfterSeconds`), as the service's model names them.
    """

    def __init__(self, code: str, message: str, status: int = 400, fields: Mapping[str, Any] | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.fields: dict[str, Any] = dict(fields or {})

    @property
    def is_server_fault(self) -> bool:
        return self.status >= 500


class SandboxError(LambentError):
    """An execution environment could not be built or kept: our own fault, or the machine's; says what to do next."""


class OutOfDescriptors(SandboxError):
    """This process has as many files open as it may: an environment that ends would leave room for another one."""


class EntrypointError(SandboxError):
    """The runtime's program or an extension cannot be executed. `path` is as the function sees it."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"fork/exec {path}: {reason}")
        self.path = path
        self.reason = reason  # the kernel's words in lower case: "no such file or directory", "permission denied"


# Lambda's modelled errors. Codes, statuses and the `Type` member are those of botocore's `lambda` model.


def _lambda_error(code: str, message: str, status: int, **fields: Any) -> AwsError:
    return AwsError(code, message, status, {"Type": "User" if status < 500 else "Service", **fields})


def invalid_parameter(message: str) -> AwsError:
    return _lambda_error("InvalidParameterValueException", message, 400)


def validation(message: str) -> AwsError:
    return AwsError("ValidationException", message, 400)


def not_found(message: str) -> AwsError:
    return _lambda_error("ResourceNotFoundException", message, 404)


def conflict(message: str) -> AwsError:
    return _lambda_error("ResourceConflictException", message, 409)


def precondition_failed(message: str) -> AwsError:
    return _lambda_error("PreconditionFailedException", message, 412)


def invalid_request_content(message: str) -> AwsError:
    return _lambda_error("InvalidRequestContentException", message, 400)


def request_too_large(message: str) -> AwsError:
    return _lambda_error("RequestEntityTooLargeException", message, 413)


def payload_too_large() -> AwsError:
    """Of a synchronous invocation: what AWS says whatever the size was."""
    return request_too_large(
        f"Request must be smaller than {SYNC_PAYLOAD_MAX_BYTES} bytes for the InvokeFunction operation"
    )


def too_many_requests(message: str, reason: str, retry_after_s: int | None = None) -> AwsError:
    fields: dict[str, Any] = {"Reason": reason}
    if retry_after_s is not None:
        fields["retryAfterSeconds"] = str(retry_after_s)
    return _lambda_error("TooManyRequestsException", message, 429, **fields)


def recursive_invocation() -> AwsError:
    """The sentence is that of the exception in Lambda's model."""
    return _lambda_error(
        "RecursiveInvocationException",
        "Lambda has detected your function being invoked in a recursive loop with other Amazon Web Services resources "
        "and stopped your function's invocation.",
        400,
    )


def snap_start_failed() -> AwsError:
    return _lambda_error(
        "SnapStartException",
        "The afterRestore() runtime hook encountered an error. For more information, check the Amazon CloudWatch logs.",
        400,
    )


def snap_start_timed_out() -> AwsError:
    """https://docs.aws.amazon.com/lambda/latest/dg/snapstart-troubleshooting.html"""
    return _lambda_error(
        "SnapStartTimeoutException", "Lambda couldn't restore the snapshot within the timeout limit.", 408
    )


def snap_start_not_ready() -> AwsError:
    """The same page."""
    return _lambda_error(
        "SnapStartNotReadyException",
        "Lambda is initializing your function. It will be ready to invoke once your function state becomes ACTIVE.",
        409,
    )


def service_fault(message: str) -> AwsError:
    return _lambda_error("ServiceException", message, 500)

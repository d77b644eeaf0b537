"""What becomes of a delivery that a target did not take: another try, or its dead letters. Without a clock.

Sources: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-retry-policy.html (24 hours, 185 tries,
exponential backoff with jitter) and https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html (error codes,
errors that are not repeated).
"""

from __future__ import annotations

from typing import Final, Literal

import attrs

from lambent.model.errors import AwsError

RETRIES_MOST: Final = 185
AGE_MOST_S: Final = 86_400
BACKOFF_FIRST_S: Final = 1.0  # ours, as the doubling and the longest wait: AWS only says that it is exponential
BACKOFF_LONGEST_S: Final = 600.0

Exhausted = Literal["MaximumRetryAttempts", "MaximumEventAgeInSeconds"]

_GONE: Final = ("NotFound", "DoesNotExist", "NonExistent", "NoSuch")
_THROTTLED: Final = ("Throttl", "TooManyRequests", "LimitExceeded", "ProvisionedThroughputExceeded", "OverLimit")
_NEVER: Final = frozenset({"NotImplemented", "UnknownOperationException"})  # this server has no such service


@attrs.frozen(kw_only=True)
class RetryPolicy:
    retries: int = RETRIES_MOST
    age_s: int = AGE_MOST_S


@attrs.frozen(kw_only=True)
class Failure:
    """One try that failed, as dead letters tell of it."""

    code: str  # NO_PERMISSIONS, NO_RESOURCE, THROTTLING, ERROR_FROM_TARGET, SDK_CLIENT_ERROR
    message: str
    is_final: bool  # trying again would change nothing until somebody has put it right


@attrs.frozen
class Again:
    due_ms: int


@attrs.frozen
class Over:
    """No more tries. `exhausted` is None when the failure itself was final."""

    exhausted: Exhausted | None


def failure_of(error: AwsError) -> Failure:
    message = f"{error.code}: {error.message}"
    if error.code in _NEVER:
        return Failure(code="SDK_CLIENT_ERROR", message=message, is_final=True)
    if error.status == 429 or any(part in error.code for part in _THROTTLED):
        return Failure(code="THROTTLING", message=message, is_final=False)
    if error.status >= 500:
        return Failure(code="ERROR_FROM_TARGET", message=message, is_final=False)
    if error.status in (401, 403) or "AccessDenied" in error.code:
        return Failure(code="NO_PERMISSIONS", message=message, is_final=True)
    if error.status == 404 or any(part in error.code for part in _GONE):
        return Failure(code="NO_RESOURCE", message=message, is_final=True)
    return Failure(code="SDK_CLIENT_ERROR", message=message, is_final=True)


def after_failure(
    failure: Failure, policy: RetryPolicy, accepted_ms: int, tries: int, now_ms: int, draw: float
) -> Again | Over:
    """`tries` counts the one that just failed; `draw` in [0, 1) is the jitter."""
    if failure.is_final:
        return Over(None)
    if tries > policy.retries:
        return Over("MaximumRetryAttempts")
    wait_s = min(BACKOFF_FIRST_S * 2.0 ** min(tries - 1, 30), BACKOFF_LONGEST_S) * (0.5 + draw / 2)
    due_ms = now_ms + int(wait_s * 1000)
    if due_ms - accepted_ms > policy.age_s * 1000:
        return Over("MaximumEventAgeInSeconds")
    return Again(due_ms)

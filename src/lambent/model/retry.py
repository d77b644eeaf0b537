"""What becomes of an asynchronous event after an attempt: again later, or the end of it. Without a clock.

Sources: https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html (waits, ages, throttles);
the condition of zero reserved concurrency and the words of its dead letter are what AWS's own records say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import attrs

Condition = Literal["Success", "RetriesExhausted", "EventAgeExceeded", "ZeroReservedConcurrency", "RecursiveInvocation"]

MAXIMUM_RETRIES: Final = 2  # PutFunctionEventInvokeConfig, MaximumRetryAttempts: 0-2, by default 2
MAXIMUM_AGE_S: Final = 21_600  # the same, MaximumEventAgeInSeconds: 60-21,600, by default six hours
FUNCTION_ERROR_WAITS_S: Final = (60, 120)  # before the second and before the third attempt
BACKOFF_FIRST_S: Final = 1  # after a throttle or a system error; doubled each time
BACKOFF_LONGEST_S: Final = 300

DELIVERY_BACKOFF_FIRST_S: Final = 1  # ours: AWS does not say how it repeats what a destination did not take
DELIVERY_BACKOFF_LONGEST_S: Final = 300
DELIVERY_PATIENCE_S: Final = 21_600  # ours: as long as an event may live


@attrs.frozen(kw_only=True)
class EventInvokeConfig:
    """What `PutFunctionEventInvokeConfig` says of one function, version or alias."""

    maximum_retries: int = MAXIMUM_RETRIES
    maximum_age_s: int = MAXIMUM_AGE_S
    on_success: str | None = None  # ARN
    on_failure: str | None = None  # ARN

    @classmethod
    def from_document(cls, document: Mapping[str, Any] | None) -> EventInvokeConfig:
        """From AWS's own shape; what it leaves out has AWS's defaults."""
        if not document:
            return cls()
        destinations = document.get("DestinationConfig") or {}
        retries, age_s = document.get("MaximumRetryAttempts"), document.get("MaximumEventAgeInSeconds")
        return cls(
            maximum_retries=MAXIMUM_RETRIES if retries is None else int(retries),
            maximum_age_s=MAXIMUM_AGE_S if age_s is None else int(age_s),
            on_success=(destinations.get("OnSuccess") or {}).get("Destination") or None,
            on_failure=(destinations.get("OnFailure") or {}).get("Destination") or None,
        )


@attrs.frozen(kw_only=True)
class Progress:
    """What an event has been through, the attempt that has just ended included."""

    accepted_s: float  # seconds since the epoch
    function_errors: int = 0
    refusals: int = 0  # throttles and system errors since it last ran


@attrs.frozen
class Again:
    """It waits, and is attempted at this time (seconds since the epoch)."""

    at_s: float


@attrs.frozen
class Over:
    """No more attempts."""

    condition: Condition


Decision = Again | Over


def is_too_old(accepted_s: float, config: EventInvokeConfig, at_s: float) -> bool:
    return at_s - accepted_s > config.maximum_age_s


def after_function_error(progress: Progress, config: EventInvokeConfig, now_s: float) -> Decision:
    """`progress.function_errors` counts this one too."""
    if progress.function_errors > config.maximum_retries:
        return Over("RetriesExhausted")
    waits = FUNCTION_ERROR_WAITS_S
    return _again(now_s + waits[min(progress.function_errors, len(waits)) - 1], progress, config)


def after_refusal(progress: Progress, config: EventInvokeConfig, now_s: float) -> Decision:
    """After a throttle (429) or a system error (5xx): these do not count as retries; only the age ends them."""
    return _again(now_s + _backoff_s(progress.refusals, BACKOFF_FIRST_S, BACKOFF_LONGEST_S), progress, config)


def after_failed_delivery(tries: int, first_s: float, now_s: float) -> Again | None:
    """When a record is sent again that its destination did not take; None: never, too long has been tried."""
    at_s = now_s + _backoff_s(tries, DELIVERY_BACKOFF_FIRST_S, DELIVERY_BACKOFF_LONGEST_S)
    return Again(at_s) if at_s - first_s <= DELIVERY_PATIENCE_S else None


def _again(at_s: float, progress: Progress, config: EventInvokeConfig) -> Decision:
    """An attempt that would come too late is not waited for."""
    return Over("EventAgeExceeded") if is_too_old(progress.accepted_s, config, at_s) else Again(at_s)


def _backoff_s(count: int, first_s: float, longest_s: float) -> float:
    """`count` is 1 after the first time."""
    return min(first_s * 2.0 ** min(max(count, 1) - 1, 30), longest_s)

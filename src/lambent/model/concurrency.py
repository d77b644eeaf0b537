"""Who may run how much at once: the account's arithmetic, without locks.

Source of the rules: https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from lambent.model.errors import AwsError, too_many_requests
from lambent.model.limits import ACCOUNT_CONCURRENCY, UNRESERVED_CONCURRENCY_MIN

FunctionKey = tuple[str, str, str]  # account, region, function name
REQUESTS_PER_CONCURRENCY: Final = 10  # same page: ten times the concurrency limit, each second
RETRY_AFTER_S: Final = 1


def unreserved_minimum(account_limit: int) -> int:
    """What an account must keep unreserved; one with a lower limit than that keeps all of it."""
    return min(UNRESERVED_CONCURRENCY_MIN, account_limit)


def check_reserve(account_limit: int, others_reserved: int, wanted: int) -> None:
    """May a function reserve so much, beside what other functions have reserved? Raises AwsError."""
    minimum = unreserved_minimum(account_limit)
    if wanted and account_limit - others_reserved - wanted < minimum:
        raise _account_refuses(
            "Specified ReservedConcurrentExecutions for function decreases account's "
            f"UnreservedConcurrentExecution below its minimum value of [{minimum}]."
        )


def check_provisioned(account_limit: int, reserved: int, own_reserve: int | None, others: int, wanted: int) -> None:
    """May so much be provisioned for one version or alias?

    `reserved` is what all functions of the account reserve, `own_reserve` what this one does, and `others` what its
    other versions and aliases have provisioned. Raises AwsError InvalidParameterValueException.
    """
    if own_reserve is not None:
        if own_reserve < others + wanted:
            raise AwsError(
                "InvalidParameterValueException",
                "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function",
                400,
                {"Type": "User"},
            )
        return
    unreserved, minimum = account_limit - reserved, unreserved_minimum(account_limit)
    if wanted > unreserved:
        raise _account_refuses(
            f"Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [{unreserved}]."
        )
    if unreserved - others - wanted < minimum:
        raise _account_refuses(
            "Specified ConcurrentExecutions for function decreases account's "
            f"UnreservedConcurrentExecution below its minimum value of [{minimum}]."
        )


def _account_refuses(message: str) -> AwsError:
    """AWS names no culprit (`Type`) in these."""
    return AwsError("InvalidParameterValueException", message, 400)


@attrs.define
class _Rate:
    """Requests in seconds that begin with their first one. As cheap as can be: every invocation asks."""

    limit: int  # requests in a second
    left: int
    ends_at_s: float = 0.0  # of the second under way

    def take(self, now_s: float) -> bool:
        if now_s >= self.ends_at_s:
            self.ends_at_s = now_s + 1.0
            self.left = self.limit
        if not self.left:
            return False
        self.left -= 1
        return True


class ConcurrencyLedger:
    """Counts running invocations against an account's and its functions' limits, in one account and region.

    A function with reserved concurrency draws from its own reserve only; the others share what is unreserved. Neither may
    begin more than ten invocations a second for each that it may run at once.
    """

    def __init__(self, limit: int = ACCOUNT_CONCURRENCY) -> None:
        self.limit = limit
        self.running: dict[str, int] = {}
        self._unreserved_running = 0
        self._account_rate = _full(limit * REQUESTS_PER_CONCURRENCY)
        self._rates: dict[str, _Rate] = {}  # of functions with a reserve

    def take(self, function_name: str, reserved: Mapping[str, int], reserved_total: int, now_s: float) -> bool:
        """Counts one more invocation; returns whether it was counted as unreserved. Raises AwsError 429.

        `reserved_total` is the sum of `reserved`; `now_s` are seconds that never go back.
        """
        running = self.running.get(function_name, 0)
        own = reserved.get(function_name)
        if own is not None:
            if running >= own:
                raise _throttled("ReservedFunctionConcurrentInvocationLimitExceeded")
            if not self._rate_of(function_name, own).take(now_s):
                raise _throttled("ReservedFunctionInvocationRateLimitExceeded")
        elif self._unreserved_running >= self.limit - reserved_total:
            raise _throttled("ConcurrentInvocationLimitExceeded")
        elif not self._account_rate.take(now_s):
            raise too_many_requests("Rate exceeded", "CallerRateLimitExceeded", retry_after_s=RETRY_AFTER_S)
        else:
            self._unreserved_running += 1
        self.running[function_name] = running + 1
        return own is None

    def give_back(self, function_name: str, was_unreserved: bool) -> None:
        left = self.running[function_name] - 1
        if left:
            self.running[function_name] = left
        else:
            del self.running[function_name]
        if was_unreserved:
            self._unreserved_running -= 1

    def _rate_of(self, function_name: str, reserve: int) -> _Rate:
        limit = reserve * REQUESTS_PER_CONCURRENCY
        rate = self._rates.get(function_name)
        if rate is None or rate.limit != limit:
            rate = self._rates[function_name] = _full(limit)
        return rate


def _full(limit: int) -> _Rate:
    return _Rate(limit=limit, left=limit)


def _throttled(reason: str) -> AwsError:
    return too_many_requests("Rate Exceeded.", reason, retry_after_s=RETRY_AFTER_S)

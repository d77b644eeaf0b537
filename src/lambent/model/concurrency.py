"""Who may run how much at once: the account's arithmetic, without locks.

Source of the rules: https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

import attrs

from lambent.model.errors import AwsError, too_many_requests
from lambent.model.limits import (
    ACCOUNT_CONCURRENCY,
    SCALING_ENVIRONMENTS,
    SCALING_PERIOD_S,
    UNRESERVED_CONCURRENCY_MIN,
)

FunctionKey = tuple[str, str, str]  # account, region, function name
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html: an environment serves up to ten synchronous
# requests a second, and any number of asynchronous ones.
REQUESTS_PER_CONCURRENCY: Final = 10
RETRY_AFTER_S: Final = 1


def unreserved_minimum(account_limit: int) -> int:
    """What an account must keep unreserved; one with a lower limit than that keeps all of it."""
    return min(UNRESERVED_CONCURRENCY_MIN, account_limit)


def check_reserve(account_limit: int, others_aside: int, wanted: int) -> None:
    """May a function reserve so much, beside what other functions have reserved or provisioned? Raises AwsError."""
    minimum = unreserved_minimum(account_limit)
    if wanted and account_limit - others_aside - wanted < minimum:
        raise _account_refuses(
            "Specified ReservedConcurrentExecutions for function decreases account's "
            f"UnreservedConcurrentExecution below its minimum value of [{minimum}]."
        )


def check_provisioned(account_limit: int, aside: int, own_reserve: int | None, others: int, wanted: int) -> None:
    """May so much be provisioned for one version or alias?

    `aside` is what functions of the account have reserved, or provisioned without a reserve; of this one only
    `own_reserve`, which it is part of, and not `others`: what its other versions and aliases have provisioned. Raises
    AwsError InvalidParameterValueException.
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
    unreserved, minimum = account_limit - aside, unreserved_minimum(account_limit)
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


class ScalingRate:
    """How fast one function may get more environments: a thousand in ten seconds, refilled all the time, never more saved.

    https://docs.aws.amazon.com/lambda/latest/dg/scaling-behavior.html. AWS does not say which Reason its throttle has.
    """

    def __init__(self, now_s: float, most: int = SCALING_ENVIRONMENTS, period_s: float = SCALING_PERIOD_S) -> None:
        self._most = most
        self._per_s = most / period_s
        self._left = float(most)
        self._at_s = now_s

    def take(self, now_s: float) -> None:
        """One more environment. `now_s` are seconds that never go back. Raises AwsError 429."""
        self._left = min(float(self._most), self._left + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._left < 1:
            raise throttled("ConcurrentInvocationLimitExceeded")
        self._left -= 1

    def is_full(self, now_s: float) -> bool:
        """Nothing of it is used, so that it need not be kept."""
        return self._left + (now_s - self._at_s) * self._per_s >= self._most


class Share(enum.Enum):
    """What an invocation that runs was counted against."""

    RESERVED = "reserved"  # its function's own reserve
    PROVISIONED = "provisioned"  # what its version has provisioned
    UNRESERVED = "unreserved"  # what the account has for all


_RESERVED, _PROVISIONED, _UNRESERVED = Share  # every invocation asks; an Enum's own look-up is slow


@attrs.define
class Shares:
    """What the functions of one account and region have set aside for themselves."""

    reserved: dict[str, int] = attrs.field(factory=dict)  # by function
    provisioned: dict[tuple[str, str], int] = attrs.field(factory=dict)  # by function and version
    on_demand: dict[str, int] = attrs.field(factory=dict)  # what a reserve that is partly provisioned leaves
    total: int = 0

    def put(self, function_name: str, reserved: int | None, provisioned: Mapping[str, int]) -> None:
        """What a function has now, `provisioned` by version. What is provisioned lies within a reserve where there is one."""
        self.on_demand.pop(function_name, None)
        before = [self.provisioned.pop(key) for key in list(self.provisioned) if key[0] == function_name]
        self.total -= self.reserved.pop(function_name, sum(before))
        for version, count in provisioned.items():
            self.provisioned[function_name, version] = count
        all_provisioned = sum(provisioned.values())
        if reserved is not None:
            self.reserved[function_name] = reserved
            if all_provisioned:
                self.on_demand[function_name] = max(0, reserved - all_provisioned)
        self.total += all_provisioned if reserved is None else reserved


@attrs.define
class Peaks:
    """The most that ran at the same time, since somebody asked the last time."""

    functions: dict[str, int] = attrs.field(factory=dict)
    provisioned: dict[tuple[str, str], int] = attrs.field(factory=dict)  # by function and version
    unreserved: int = 0
    all: int = 0


class ConcurrencyLedger:
    """Counts running invocations against an account's and its functions' limits, in one account and region.

    Versions with provisioned concurrency use that first. Beyond it a function with reserved concurrency draws from its
    own reserve only, and there from what is not provisioned; the others share what nobody has set aside. None may begin
    more than ten synchronous invocations a second for each that it may run at once.
    """

    def __init__(self, limit: int = ACCOUNT_CONCURRENCY) -> None:
        self.limit = limit
        self.running: dict[str, int] = {}
        self._all_running = 0
        self._unreserved_running = 0
        self._peaks = Peaks()
        self._provisioned_running: dict[tuple[str, str], int] = {}
        self._account_rate = _full(limit * REQUESTS_PER_CONCURRENCY)
        self._rates: dict[str, _Rate] = {}  # of functions with a reserve

    def take(self, function_name: str, version: str, shares: Shares, now_s: float | None) -> Share:
        """Counts one more invocation. Raises AwsError 429.

        `now_s` are seconds that never go back; None for an invocation for which nobody waits.
        """
        running = self.running.get(function_name, 0)
        own = shares.reserved.get(function_name)
        share = _UNRESERVED
        if own is not None:
            share = _RESERVED
            if running >= own:
                raise throttled("ReservedFunctionConcurrentInvocationLimitExceeded")
            if now_s is not None and not self._rate_of(function_name, own).take(now_s):
                raise throttled("ReservedFunctionInvocationRateLimitExceeded")
            if function_name in shares.on_demand:
                if self._takes_provisioned(function_name, version, shares):
                    share = _PROVISIONED
                elif running - self._provisioned_of(function_name) >= shares.on_demand[function_name]:
                    raise throttled("ReservedFunctionConcurrentInvocationLimitExceeded")
        elif shares.provisioned and self._takes_provisioned(function_name, version, shares):
            share = _PROVISIONED
        elif self._unreserved_running >= self.limit - shares.total:
            raise throttled("ConcurrentInvocationLimitExceeded")
        elif now_s is not None and not self._account_rate.take(now_s):
            raise too_many_requests("Rate exceeded", "CallerRateLimitExceeded", retry_after_s=RETRY_AFTER_S)
        else:
            self._unreserved_running += 1
        self.running[function_name] = running = running + 1
        self._all_running += 1
        peaks = self._peaks
        if running > peaks.functions.get(function_name, 0):
            peaks.functions[function_name] = running
        if self._all_running > peaks.all:
            peaks.all = self._all_running
        if self._unreserved_running > peaks.unreserved:
            peaks.unreserved = self._unreserved_running
        return share

    def take_peaks(self) -> Peaks:
        """From now on they are counted anew, beginning with what runs now."""
        taken = self._peaks
        self._peaks = Peaks(
            functions=dict(self.running), provisioned={k: n for k, n in self._provisioned_running.items() if n},
            unreserved=self._unreserved_running, all=self._all_running,
        )  # fmt: skip
        return taken

    def keep(self, shares: Shares) -> None:
        """Forgets what it knows of functions and versions that have nothing set aside any more."""
        self._rates = {name: rate for name, rate in self._rates.items() if name in shares.reserved}
        self._provisioned_running = {
            key: running for key, running in self._provisioned_running.items() if running or key in shares.provisioned
        }

    def _takes_provisioned(self, function_name: str, version: str, shares: Shares) -> bool:
        key = (function_name, version)
        running = self._provisioned_running.get(key, 0)
        if running >= shares.provisioned.get(key, 0):
            return False
        self._provisioned_running[key] = running + 1
        self._peaks.provisioned[key] = max(self._peaks.provisioned.get(key, 0), running + 1)
        return True

    def _provisioned_of(self, function_name: str) -> int:
        return sum(running for (name, _), running in self._provisioned_running.items() if name == function_name)

    def give_back(self, function_name: str, version: str, share: Share) -> None:
        left = self.running[function_name] - 1
        if left:
            self.running[function_name] = left
        else:
            del self.running[function_name]
        self._all_running -= 1
        if share is _UNRESERVED:
            self._unreserved_running -= 1
        elif share is _PROVISIONED:
            self._provisioned_running[function_name, version] -= 1

    def _rate_of(self, function_name: str, reserve: int) -> _Rate:
        limit = reserve * REQUESTS_PER_CONCURRENCY
        rate = self._rates.get(function_name)
        if rate is None or rate.limit != limit:
            rate = self._rates[function_name] = _full(limit)
        return rate


def _full(limit: int) -> _Rate:
    return _Rate(limit=limit, left=limit)


def throttled(reason: str) -> AwsError:
    """AWS's TooManyRequestsException, 429, with its `Reason`."""
    return too_many_requests("Rate Exceeded.", reason, retry_after_s=RETRY_AFTER_S)

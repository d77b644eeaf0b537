"""Who may run how much at once: the account's arithmetic, without a clock and without locks.

Source of the rules: https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html
"""

from __future__ import annotations

from collections.abc import Mapping

from lambent.model.errors import AwsError, too_many_requests
from lambent.model.limits import ACCOUNT_CONCURRENCY

FunctionKey = tuple[str, str, str]  # account, region, function name


class ConcurrencyLedger:
    """Counts running invocations against an account's and its functions' limits, in one account and region.

    A function with reserved concurrency draws from its own reserve only; the others share what is unreserved.
    """

    def __init__(self, limit: int = ACCOUNT_CONCURRENCY) -> None:
        self.limit = limit
        self.running: dict[str, int] = {}
        self._unreserved_running = 0

    def take(self, function_name: str, reserved: Mapping[str, int]) -> bool:
        """Counts one more invocation; returns whether it was counted as unreserved. Raises AwsError 429."""
        running = self.running.get(function_name, 0)
        own = reserved.get(function_name)
        if own is not None:
            if running >= own:
                raise _throttled("ReservedFunctionConcurrentInvocationLimitExceeded")
        elif self._unreserved_running >= self.limit - sum(reserved.values()):
            raise _throttled("ConcurrentInvocationLimitExceeded")
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


def _throttled(reason: str) -> AwsError:
    return too_many_requests("Rate Exceeded.", reason, retry_after_s=1)

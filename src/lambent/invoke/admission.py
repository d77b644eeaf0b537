"""A lease on concurrency, or a throttle."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lambent.model.concurrency import ConcurrencyLedger
from lambent.model.function import FunctionVersion

ReservedConcurrency = Callable[[str, str], Mapping[str, int]]
"""(account, region) → function name → its reserved concurrency."""


class Lease:
    """The right to run one invocation, given back once."""

    __slots__ = ("_function_name", "_ledger", "_unreserved", "held")

    def __init__(self, ledger: ConcurrencyLedger, function_name: str, unreserved: bool) -> None:
        self._ledger = ledger
        self._function_name = function_name
        self._unreserved = unreserved
        self.held = True

    def release(self) -> None:
        if self.held:
            self.held = False
            self._ledger.give_back(self._function_name, self._unreserved)


class Admission:
    """One ledger for each account and region; see `model/concurrency`."""

    def __init__(self, reserved: ReservedConcurrency, account_limit: int) -> None:
        self._reserved = reserved
        self._account_limit = account_limit
        self._ledgers: dict[tuple[str, str], ConcurrencyLedger] = {}

    def admit(self, version: FunctionVersion) -> Lease:
        """Raises AwsError TooManyRequestsException with its Reason."""
        key = (version.account_id, version.region)
        ledger = self._ledgers.get(key)
        if ledger is None:
            ledger = self._ledgers[key] = ConcurrencyLedger(self._account_limit)
        unreserved = ledger.take(version.name, self._reserved(*key))
        return Lease(ledger, version.name, unreserved)

"""A lease on concurrency, or a throttle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from lambent.model.concurrency import ConcurrencyLedger
from lambent.model.function import FunctionVersion
from lambent.model.names import FunctionAddress
from lambent.ports import Catalog


class ReservedConcurrency:
    """What each function has reserved, followed as the catalog changes, so that asking costs a dictionary access."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._known: dict[tuple[str, str], dict[str, int]] = {}
        catalog.subscribe(self._changed)

    def of(self, account_id: str, region: str) -> Mapping[str, int]:
        """Function name → its reserve, in one account and region."""
        known = self._known.get((account_id, region))
        if known is None:
            known = self._known[account_id, region] = {}
            for name in self._catalog.function_names(account_id, region):
                self._changed(account_id, region, name)
        return known

    def _changed(self, account_id: str, region: str, name: str) -> None:
        known = self._known.get((account_id, region))
        if known is None:
            return
        settings = self._catalog.settings(FunctionAddress(account_id, region, name))
        if settings is None or settings.reserved_concurrency is None:
            known.pop(name, None)
        else:
            known[name] = settings.reserved_concurrency


class Reserves(Protocol):
    def of(self, account_id: str, region: str) -> Mapping[str, int]:
        """Function name → its reserved concurrency."""


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

    def __init__(self, reserved: Reserves, account_limit: int) -> None:
        self._reserved = reserved
        self._account_limit = account_limit
        self._ledgers: dict[tuple[str, str], ConcurrencyLedger] = {}

    def admit(self, version: FunctionVersion) -> Lease:
        """Raises AwsError TooManyRequestsException with its Reason."""
        key = (version.account_id, version.region)
        ledger = self._ledgers.get(key)
        if ledger is None:
            ledger = self._ledgers[key] = ConcurrencyLedger(self._account_limit)
        unreserved = ledger.take(version.name, self._reserved.of(*key))
        return Lease(ledger, version.name, unreserved)

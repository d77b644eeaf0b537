"""A lease on concurrency, or a throttle."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import attrs

from lambent.model.concurrency import ConcurrencyLedger
from lambent.model.function import FunctionVersion
from lambent.model.names import FunctionAddress
from lambent.ports import Catalog


@attrs.define
class Reserve:
    """What the functions of one account and region have reserved."""

    by_function: dict[str, int] = attrs.field(factory=dict)
    total: int = 0

    def put(self, name: str, reserved: int | None) -> None:
        """`None`: the function shares what is unreserved."""
        self.total -= self.by_function.pop(name, 0)
        if reserved is not None:
            self.by_function[name] = reserved
            self.total += reserved


class ReservedConcurrency:
    """What each function has reserved, followed as the catalog changes, so that asking costs a dictionary access."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._known: dict[tuple[str, str], Reserve] = {}
        catalog.subscribe(self._changed)

    def of(self, account_id: str, region: str) -> Reserve:
        """Not to be changed."""
        known = self._known.get((account_id, region))
        if known is None:
            known = self._known[account_id, region] = Reserve()
            for name in self._catalog.function_names(account_id, region):
                self._changed(account_id, region, name)
        return known

    def _changed(self, account_id: str, region: str, name: str) -> None:
        known = self._known.get((account_id, region))
        if known is None:
            return
        settings = self._catalog.settings(FunctionAddress(account_id, region, name))
        known.put(name, settings.reserved_concurrency if settings is not None else None)


class Reserves(Protocol):
    def of(self, account_id: str, region: str) -> Reserve: ...


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

    def __init__(
        self, reserved: Reserves, account_limit: int, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._reserved = reserved
        self._account_limit = account_limit
        self._monotonic_s = monotonic_s
        self._ledgers: dict[tuple[str, str], ConcurrencyLedger] = {}

    def admit(self, version: FunctionVersion) -> Lease:
        """Raises AwsError TooManyRequestsException with its Reason."""
        key = (version.account_id, version.region)
        ledger = self._ledgers.get(key)
        if ledger is None:
            ledger = self._ledgers[key] = ConcurrencyLedger(self._account_limit)
        reserve = self._reserved.of(*key)
        unreserved = ledger.take(version.name, reserve.by_function, reserve.total, self._monotonic_s())
        return Lease(ledger, version.name, unreserved)

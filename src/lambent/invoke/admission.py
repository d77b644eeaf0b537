"""A lease on concurrency, or a throttle."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from lambent.model.concurrency import ConcurrencyLedger, Peaks, Share, Shares
from lambent.model.errors import AwsError
from lambent.model.function import LATEST, FunctionVersion
from lambent.model.names import FunctionAddress, is_version
from lambent.model.provisioned import FAMILY, by_version
from lambent.ports import NO_TELEMETRY, Catalog, CatalogView, Telemetry


class ReservedConcurrency:
    """What functions have reserved and provisioned, followed as the catalog changes, so that asking costs a look-up."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._known: dict[tuple[str, str], Shares] = {}
        catalog.subscribe(self._changed)

    def of(self, account_id: str, region: str) -> Shares:
        """Not to be changed."""
        known = self._known.get((account_id, region))
        if known is None:
            known = self._known[account_id, region] = Shares()
            for name in self._catalog.function_names(account_id, region):
                self._changed(account_id, region, name)
        return known

    def _changed(self, account_id: str, region: str, name: str) -> None:
        known = self._known.get((account_id, region))
        if known is None:
            return
        address = FunctionAddress(account_id, region, name)
        settings = self._catalog.settings(address)
        if settings is None:
            known.put(name, None, {})
            return
        known.put(name, settings.reserved_concurrency, provisioned_of(self._catalog, address))


def provisioned_of(catalog: CatalogView, address: FunctionAddress) -> dict[str, int]:
    """How many environments a function has provisioned, by version."""
    settings = catalog.settings(address)
    found: dict[str, int] = {}
    for qualifier, config in ((settings.extra.get(FAMILY) or {}) if settings is not None else {}).items():
        for version, count in provisioned_versions(catalog, address, qualifier, config["Requested"]).items():
            found[version] = found.get(version, 0) + count
    return found


def provisioned_versions(
    catalog: CatalogView, address: FunctionAddress, qualifier: str, requested: int
) -> dict[str, int]:
    """How many environments of which version that means; none for an alias that is gone or is of no version."""
    if is_version(qualifier):
        return {qualifier: requested}
    alias = catalog.alias(address, qualifier)
    if alias is None or alias.function_version == LATEST:
        return {}
    return by_version(requested, alias.function_version, alias.additional_weights)


class Reserves(Protocol):
    def of(self, account_id: str, region: str) -> Shares: ...


class Lease:
    """The right to run one invocation, given back once."""

    __slots__ = ("_function_name", "_ledger", "_share", "_version", "held")

    def __init__(self, ledger: ConcurrencyLedger, function_name: str, version: str, share: Share) -> None:
        self._ledger = ledger
        self._function_name = function_name
        self._version = version
        self._share = share
        self.held = True

    def release(self) -> None:
        if self.held:
            self.held = False
            self._ledger.give_back(self._function_name, self._version, self._share)


class Admission:
    """One ledger for each account and region; see `model/concurrency`."""

    def __init__(
        self,
        reserved: Reserves,
        account_limit: int,
        monotonic_s: Callable[[], float] = time.monotonic,
        telemetry: Telemetry = NO_TELEMETRY,
    ) -> None:
        self._telemetry = telemetry
        self._reserved = reserved
        self._account_limit = account_limit
        self._monotonic_s: Callable[[], float | None] = monotonic_s
        self._ledgers: dict[tuple[str, str], ConcurrencyLedger] = {}

    def of_events(self) -> Admission:
        """The same limits of concurrency, without those of requests a second: for what nobody waits for."""
        other = Admission(self._reserved, self._account_limit, telemetry=self._telemetry)
        other._monotonic_s = lambda: None
        other._ledgers = self._ledgers
        return other

    def take_peaks(self) -> dict[tuple[str, str], Peaks]:
        """By account and region: the most that ran at once since the last call."""
        for key, ledger in self._ledgers.items():
            ledger.keep(self._reserved.of(*key))
        return {key: ledger.take_peaks() for key, ledger in self._ledgers.items()}

    def admit(self, version: FunctionVersion, qualifier: str | None = None) -> Lease:
        """`qualifier` is what was called. Raises AwsError TooManyRequestsException with its Reason."""
        key = (version.account_id, version.region)
        ledger = self._ledgers.get(key)
        if ledger is None:
            ledger = self._ledgers[key] = ConcurrencyLedger(self._account_limit)
        try:
            share = ledger.take(version.name, version.version, self._reserved.of(*key), self._monotonic_s())
        except AwsError:
            self.throttled(version, qualifier)
            raise
        return Lease(ledger, version.name, version.version, share)

    def throttled(self, version: FunctionVersion, qualifier: str | None) -> None:
        """Counts an invocation that was refused, here or for want of an environment."""
        address = FunctionAddress(version.account_id, version.region, version.name, qualifier)
        self._telemetry.of_function(address, "Throttles")

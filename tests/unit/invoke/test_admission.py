"""Leases: what clients wait for and what nobody waits for share the limits of concurrency, and only the first is paced."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from lambent.invoke.admission import Admission, ReservedConcurrency
from lambent.model.concurrency import Shares
from lambent.model.errors import AwsError
from lambent.model.function import LATEST, Alias, FunctionSettings, FunctionVersion
from lambent.model.names import FunctionAddress
from lambent.model.provisioned import FAMILY
from lambent.store.catalog import SqliteCatalog

VERSION = FunctionVersion(
    account_id="123456789012", region="eu-west-1", name="f", version="1", role="r", runtime="python3.13", handler="h"
)
ADDRESS = FunctionAddress("123456789012", "eu-west-1", "f")


class Reserved:
    def of(self, account_id: str, region: str) -> Shares:
        shares = Shares()
        shares.put("f", 1, {})
        return shares


def reason_of(admission: Admission) -> str:
    with pytest.raises(AwsError) as caught:
        admission.admit(VERSION)
    return str(caught.value.fields["Reason"])


def test_only_what_a_client_waits_for_is_counted_by_the_second() -> None:
    clients = Admission(Reserved(), 1000, lambda: 5.0)
    events = clients.of_events()
    for _ in range(10):
        clients.admit(VERSION).release()
    assert reason_of(clients) == "ReservedFunctionInvocationRateLimitExceeded"
    for _ in range(100):
        events.admit(VERSION).release()


def test_events_and_clients_share_what_may_run_at_once() -> None:
    clients = Admission(Reserved(), 1000, lambda: 5.0)
    events = clients.of_events()
    lease = events.admit(VERSION)
    assert reason_of(clients) == reason_of(events) == "ReservedFunctionConcurrentInvocationLimitExceeded"
    lease.release()
    lease.release()  # once is enough, twice no harm
    clients.admit(VERSION).release()


def test_a_function_that_is_made_anew_does_not_pay_for_the_requests_of_the_one_before() -> None:
    @attrs.define
    class Changing:
        shares: Shares = attrs.field(factory=Shares)

        def of(self, account_id: str, region: str) -> Shares:
            return self.shares

    reserves = Changing()
    admission = Admission(reserves, 1000, lambda: 5.0)
    for _ in range(2):
        reserves.shares.put("f", 1, {})
        for _ in range(10):
            admission.admit(VERSION).release()
        assert reason_of(admission) == "ReservedFunctionInvocationRateLimitExceeded"
        reserves.shares.put("f", None, {})  # it is deleted
        admission.take_peaks()


async def test_what_is_set_aside_follows_the_catalog(tmp_path: Path) -> None:
    catalog = SqliteCatalog.open(tmp_path / "catalog.db")
    reserved = ReservedConcurrency(catalog)
    alias = Alias(
        account_id=ADDRESS.account_id, region=ADDRESS.region, function_name="f", name="a", function_version="1"
    )
    await catalog.transact(
        lambda tx: tx.create_function(attrs.evolve(VERSION, version=LATEST), FunctionSettings(reserved_concurrency=7))
    )
    shares = reserved.of(ADDRESS.account_id, ADDRESS.region)
    assert (shares.reserved, shares.total) == ({"f": 7}, 7)
    configs = FunctionSettings(extra={FAMILY: {"a": {"Requested": 3}, "2": {"Requested": 2}, "gone": {"Requested": 9}}})
    await catalog.transact(lambda tx: tx.put_alias(alias))
    await catalog.transact(lambda tx: tx.put_settings(ADDRESS, configs))
    assert (shares.reserved, shares.provisioned, shares.total) == ({}, {("f", "1"): 3, ("f", "2"): 2}, 5)
    await catalog.transact(lambda tx: tx.put_alias(attrs.evolve(alias, function_version=LATEST)))
    assert shares.provisioned == {("f", "2"): 2}
    await catalog.transact(lambda tx: tx.delete_function(ADDRESS))
    assert shares == Shares()
    await catalog.close()

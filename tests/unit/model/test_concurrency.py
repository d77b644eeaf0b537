"""The account's arithmetic holds whatever the order of takes and returns."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.model.concurrency import ConcurrencyLedger
from lambent.model.errors import AwsError

NAMES = ["a", "b", "c"]
RESERVED = st.dictionaries(st.sampled_from(NAMES[:2]), st.integers(0, 4))


@given(limit=st.integers(4, 20), reserved=RESERVED, steps=st.lists(st.tuples(st.sampled_from(NAMES), st.booleans())))
def test_leases_never_exceed_a_limit_and_each_is_returned_once(
    limit: int, reserved: dict[str, int], steps: list[tuple[str, bool]]
) -> None:
    limit = max(limit, sum(reserved.values()))
    ledger = ConcurrencyLedger(limit)
    held: list[tuple[str, bool]] = []
    for name, take in steps:
        if take:
            refused: AwsError | None = None
            try:
                held.append((name, ledger.take(name, reserved)))
            except AwsError as error:
                refused = error
            if refused is not None:
                assert refused.status == 429
                own = sum(1 for other, _ in held if other == name)
                unreserved = sum(1 for _, was_unreserved in held if was_unreserved)
                full = own >= reserved[name] if name in reserved else unreserved >= limit - sum(reserved.values())
                assert full, "throttled although there was room"
        elif held:
            ledger.give_back(*held.pop())
        assert sum(ledger.running.values()) == len(held) <= limit
        for function, most in reserved.items():
            assert ledger.running.get(function, 0) <= most
    while held:
        ledger.give_back(*held.pop())
    assert ledger.running == {}


def test_zero_reserved_concurrency_stops_a_function() -> None:
    with pytest.raises(AwsError) as caught:
        ConcurrencyLedger().take("stopped", {"stopped": 0})
    assert caught.value.code == "TooManyRequestsException"
    assert caught.value.fields["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"


def test_what_others_reserved_is_not_shared() -> None:
    ledger = ConcurrencyLedger(limit=3)
    ledger.take("free", {"other": 2})
    with pytest.raises(AwsError) as caught:
        ledger.take("free", {"other": 2})
    assert caught.value.fields["Reason"] == "ConcurrentInvocationLimitExceeded"

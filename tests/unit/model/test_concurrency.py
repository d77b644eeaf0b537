"""The account's arithmetic holds whatever the order of takes and returns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.model.concurrency import ConcurrencyLedger, check_provisioned, check_reserve
from lambent.model.errors import AwsError

NAMES = ["a", "b", "c"]
RESERVED = st.dictionaries(st.sampled_from(NAMES[:2]), st.integers(0, 4))


class Ledger(ConcurrencyLedger):
    """One whose clock is turned by hand; unless it is, a minute passes between takes and no rate is reached."""

    now_s = 0.0
    pause_s = 60.0

    def begin(self, name: str, reserved: dict[str, int]) -> bool:
        self.now_s += self.pause_s
        return self.take(name, reserved, sum(reserved.values()), self.now_s)


def reason_of(ledger: Ledger, name: str, reserved: dict[str, int]) -> str:
    with pytest.raises(AwsError) as caught:
        ledger.begin(name, reserved)
    error = caught.value
    assert (error.code, error.status, error.fields["Type"]) == ("TooManyRequestsException", 429, "User")
    assert error.fields["retryAfterSeconds"] == "1"
    return str(error.fields["Reason"])


@given(limit=st.integers(4, 20), reserved=RESERVED, steps=st.lists(st.tuples(st.sampled_from(NAMES), st.booleans())))
def test_leases_never_exceed_a_limit_and_each_is_returned_once(
    limit: int, reserved: dict[str, int], steps: list[tuple[str, bool]]
) -> None:
    limit = max(limit, sum(reserved.values()))
    ledger = Ledger(limit)
    held: list[tuple[str, bool]] = []
    for name, take in steps:
        if take:
            refused: AwsError | None = None
            try:
                held.append((name, ledger.begin(name, reserved)))
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
    assert reason_of(Ledger(), "stopped", {"stopped": 0}) == "ReservedFunctionConcurrentInvocationLimitExceeded"


def test_what_others_reserved_is_not_shared() -> None:
    ledger = Ledger(limit=3)
    ledger.begin("free", {"other": 2})
    assert reason_of(ledger, "free", {"other": 2}) == "ConcurrentInvocationLimitExceeded"


@pytest.mark.parametrize(
    ("reserved", "reason"),
    [({}, "CallerRateLimitExceeded"), ({"a": 2}, "ReservedFunctionInvocationRateLimitExceeded")],
)
def test_ten_times_the_concurrency_begin_each_second_and_no_more(reserved: dict[str, int], reason: str) -> None:
    ledger = Ledger(limit=2)
    ledger.pause_s = 0.0
    ledger.now_s = 1000.0
    for second in range(3):
        for _ in range(20):
            ledger.give_back("a", ledger.begin("a", reserved))
        assert reason_of(ledger, "a", reserved) == reason, second
        ledger.now_s += 1.0


@given(limit=st.integers(1, 2000), others=st.integers(0, 2000), wanted=st.integers(0, 2000))
def test_what_is_reserved_leaves_the_account_its_minimum(limit: int, others: int, wanted: int) -> None:
    minimum = min(100, limit)
    try:
        check_reserve(limit, others, wanted)
        fits = True
    except AwsError:
        fits = False
    assert fits == (wanted == 0 or limit - others - wanted >= minimum)


@pytest.mark.parametrize(
    ("wanted", "own_reserve", "message"),
    [
        (800, None, None),
        (801, None, "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [100]."),
        (901, None, "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [900]."),
        (99, 100, "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function"),
        (90, 100, None),
    ],
)  # fmt: skip
def test_what_is_provisioned_fits_the_functions_reserve_or_the_account(
    wanted: int, own_reserve: int | None, message: str | None
) -> None:
    others = 10 if own_reserve is not None else 0
    if message is None:
        check_provisioned(1000, 100, own_reserve, others, wanted)
    else:
        with pytest.raises(AwsError) as caught:
            check_provisioned(1000, 100, own_reserve, others, wanted)
        assert (caught.value.code, caught.value.message) == ("InvalidParameterValueException", message)

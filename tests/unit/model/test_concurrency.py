"""The account's arithmetic holds whatever the order of takes and returns."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.model.concurrency import ConcurrencyLedger, ScalingRate, Share, Shares, check_provisioned, check_reserve
from lambent.model.errors import AwsError

NAMES = ["a", "b", "c"]
RESERVED = st.dictionaries(st.sampled_from(NAMES[:2]), st.integers(0, 4))


class Ledger(ConcurrencyLedger):
    """One whose clock is turned by hand; unless it is, a minute passes between takes and no rate is reached."""

    now_s = 0.0
    pause_s = 60.0

    def later(self) -> float:
        self.now_s += self.pause_s
        return self.now_s

    def begin(self, name: str, reserved: dict[str, int], **provisioned: int) -> Share:
        """`provisioned` is of the function's versions, `v1` for version 1, which is what runs."""
        shares = Shares()
        for function, count in reserved.items():
            shares.put(function, count, {})
        if provisioned:
            by_version = {version.removeprefix("v"): count for version, count in provisioned.items()}
            shares.put(name, reserved.get(name), by_version)
        return self.take(name, "1", shares, self.later())


def reason_of(ledger: Ledger, name: str, reserved: dict[str, int], **provisioned: int) -> str:
    with pytest.raises(AwsError) as caught:
        ledger.begin(name, reserved, **provisioned)
    error = caught.value
    assert (error.code, error.status, error.fields["Type"]) == ("TooManyRequestsException", 429, "User")
    assert error.fields["retryAfterSeconds"] == "1"
    return str(error.fields["Reason"])


@given(
    limit=st.integers(4, 20),
    reserved=RESERVED,
    provisioned=st.integers(0, 3),
    steps=st.lists(st.tuples(st.sampled_from(NAMES), st.booleans())),
)
def test_leases_never_exceed_a_limit_and_each_is_returned_once(
    limit: int, reserved: dict[str, int], provisioned: int, steps: list[tuple[str, bool]]
) -> None:
    set_aside = sum(reserved.values()) + provisioned
    limit = max(limit, set_aside)
    ledger, shares = Ledger(limit), Shares()
    for function, most in reserved.items():
        shares.put(function, most, {})
    shares.put("c", None, {"1": provisioned})
    held: list[tuple[str, Share]] = []
    for name, take in steps:
        if take:
            refused: AwsError | None = None
            try:
                held.append((name, ledger.take(name, "1", shares, ledger.later())))
            except AwsError as error:
                refused = error
            if refused is not None:
                assert refused.status == 429
                own = sum(1 for other, _ in held if other == name)
                full = held_of(held, Share.UNRESERVED) >= limit - set_aside
                assert own >= reserved[name] if name in reserved else full, "throttled although there was room"
        elif held:
            last, share = held.pop()
            ledger.give_back(last, "1", share)
        assert sum(ledger.running.values()) == len(held) <= limit
        assert held_of(held, Share.PROVISIONED) <= provisioned
        for function, most in reserved.items():
            assert ledger.running.get(function, 0) <= most
    for name, share in held:
        ledger.give_back(name, "1", share)
    assert ledger.running == {}


def held_of(held: list[tuple[str, Share]], share: Share) -> int:
    return sum(1 for _, its in held if its is share)


def test_nothing_is_kept_of_functions_that_have_gone() -> None:
    ledger = Ledger(100)
    running = ledger.begin("running", {}, v1=1)
    for name in ("a", "b", "c"):
        ledger.give_back(name, "1", ledger.begin(name, {name: 1}))
        ledger.give_back(name, "1", ledger.begin(name, {}, v1=1))
    ledger.keep(Shares())
    ledger.give_back("running", "1", running)
    ledger.keep(Shares())
    ledger.take_peaks()
    assert [held for held in vars(ledger).values() if isinstance(held, dict) and held] == []


def test_zero_reserved_concurrency_stops_a_function() -> None:
    assert reason_of(Ledger(), "stopped", {"stopped": 0}) == "ReservedFunctionConcurrentInvocationLimitExceeded"


def test_what_others_reserved_is_not_shared() -> None:
    ledger = Ledger(limit=3)
    ledger.begin("free", {"other": 2})
    assert reason_of(ledger, "free", {"other": 2}) == "ConcurrentInvocationLimitExceeded"


def test_what_is_provisioned_is_set_aside_and_used_first() -> None:
    ledger = Ledger(limit=3)
    assert [ledger.begin("a", {}, v1=2) for _ in range(3)] == [Share.PROVISIONED, Share.PROVISIONED, Share.UNRESERVED]
    assert reason_of(ledger, "a", {}, v1=2) == "ConcurrentInvocationLimitExceeded"
    ledger.give_back("a", "1", Share.PROVISIONED)
    assert ledger.begin("a", {}, v1=2) is Share.PROVISIONED
    others = Ledger(limit=3)
    assert others.begin("a", {}, v2=2) is Share.UNRESERVED, "another version's"
    assert reason_of(others, "a", {}, v2=2) == "ConcurrentInvocationLimitExceeded"


def test_what_is_provisioned_lies_within_a_reserve() -> None:
    shares = Shares()
    shares.put("a", 5, {"1": 3})
    assert (shares.total, shares.on_demand) == (5, {"a": 2})
    shares.put("a", None, {"1": 3, "2": 1})
    assert (shares.total, shares.on_demand) == (4, {})
    shares.put("a", None, {})
    assert shares == Shares()


def test_of_a_reserve_others_than_the_provisioned_version_have_what_is_not_provisioned() -> None:
    ledger, full = Ledger(), "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert ledger.begin("a", {"a": 3}, v2=2) is Share.RESERVED
    assert reason_of(ledger, "a", {"a": 3}, v2=2) == full, "version 2 has the rest"
    shares = Shares()
    shares.put("a", 3, {"2": 2})
    assert [ledger.take("a", "2", shares, None) for _ in range(2)] == [Share.PROVISIONED] * 2
    ledger.give_back("a", "1", Share.RESERVED)
    assert ledger.take("a", "2", shares, None) is Share.RESERVED, "beyond what is provisioned"
    ledger.give_back("a", "2", Share.PROVISIONED)
    assert reason_of(ledger, "a", {"a": 3}, v2=2) == full
    assert ledger.take("a", "2", shares, None) is Share.PROVISIONED


def test_a_reserve_that_is_all_provisioned_stops_every_other_version() -> None:
    ledger = Ledger()
    assert reason_of(ledger, "a", {"a": 1}, v2=1) == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert ledger.begin("a", {"a": 1}, v1=1) is Share.PROVISIONED


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
            ledger.give_back("a", "1", ledger.begin("a", reserved))
        assert reason_of(ledger, "a", reserved) == reason, second
        shares = Shares()
        for function, count in reserved.items():
            shares.put(function, count, {})
        ledger.give_back("a", "1", ledger.take("a", "1", shares, None))  # nobody waits for it
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


def takes(rate: ScalingRate, now_s: float) -> bool:
    with contextlib.suppress(AwsError):
        rate.take(now_s)
        return True
    return False


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(0, 900)), max_size=20))
def test_a_function_gets_a_thousand_environments_at_once_and_a_hundred_a_second(
    steps: list[tuple[float, int]],
) -> None:
    rate, now_s, granted = ScalingRate(0.0), 0.0, [(0.0, 0)]
    for pause_s, wanted in steps:
        now_s += pause_s
        granted.append((now_s, sum(takes(rate, now_s) for _ in range(wanted))))
        for at, (begun_s, _) in enumerate(granted):  # in every stretch of time that ends now
            assert sum(count for _, count in granted[at:]) <= 1000 + 100 * (now_s - begun_s) + 1e-6
    later_s = now_s + 10.0
    assert rate.is_full(later_s)
    for _ in range(1000):
        rate.take(later_s)
    with pytest.raises(AwsError) as caught:
        rate.take(later_s)
    assert (caught.value.code, caught.value.status) == ("TooManyRequestsException", 429)
    assert caught.value.fields["Reason"] == "ConcurrentInvocationLimitExceeded"

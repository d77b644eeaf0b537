"""What becomes of an event after an attempt, as a table and as properties."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.model.retry import (
    Again,
    EventInvokeConfig,
    Over,
    Progress,
    after_failed_delivery,
    after_function_error,
    after_refusal,
)

NOW = 1_000_000.0


@pytest.mark.parametrize(
    ("errors", "retries", "expected"),
    [
        (1, 2, Again(NOW + 60)),
        (2, 2, Again(NOW + 120)),
        (3, 2, Over("RetriesExhausted")),
        (1, 1, Again(NOW + 60)),
        (2, 1, Over("RetriesExhausted")),
        (1, 0, Over("RetriesExhausted")),
    ],
)
def test_failures_are_repeated_after_one_and_two_minutes(errors: int, retries: int, expected: Again | Over) -> None:
    progress = Progress(accepted_s=NOW, function_errors=errors)
    assert after_function_error(progress, EventInvokeConfig(maximum_retries=retries), NOW) == expected


def test_an_attempt_that_would_come_too_late_is_not_waited_for() -> None:
    config = EventInvokeConfig(maximum_age_s=60)
    assert after_function_error(Progress(accepted_s=NOW - 1, function_errors=1), config, NOW) == Over(
        "EventAgeExceeded"
    )
    assert after_refusal(Progress(accepted_s=NOW - 58, refusals=2), config, NOW) == Again(NOW + 2)
    assert after_refusal(Progress(accepted_s=NOW - 58, refusals=3), config, NOW) == Over("EventAgeExceeded")


@given(st.floats(0, 21_600), st.integers(1, 10_000), st.integers(60, 21_600))
def test_waits_grow_to_five_minutes_and_never_beyond_the_age(age_s: float, refusals: int, maximum_age_s: int) -> None:
    config = EventInvokeConfig(maximum_age_s=maximum_age_s)
    decision = after_refusal(Progress(accepted_s=NOW - age_s, refusals=refusals), config, NOW)
    if isinstance(decision, Again):
        assert 1 <= decision.at_s - NOW <= 300
        assert decision.at_s - (NOW - age_s) <= maximum_age_s
    else:
        assert decision == Over("EventAgeExceeded")
        assert age_s + 300 > maximum_age_s


@given(st.integers(1, 10_000), st.floats(0, 30_000))
def test_deliveries_are_repeated_for_six_hours(tries: int, since_s: float) -> None:
    again = after_failed_delivery(tries, NOW - since_s, NOW)
    assert (again is None) == (since_s + min(2.0 ** min(tries - 1, 30), 300) > 21_600)


def test_awss_document_is_read_with_its_defaults() -> None:
    assert EventInvokeConfig.from_document(None) == EventInvokeConfig(maximum_retries=2, maximum_age_s=21_600)
    assert EventInvokeConfig.from_document({"DestinationConfig": {"OnSuccess": {}}}) == EventInvokeConfig()
    document = {
        "MaximumRetryAttempts": 0,
        "MaximumEventAgeInSeconds": 60,
        "DestinationConfig": {"OnSuccess": {"Destination": "s"}, "OnFailure": {"Destination": "f"}},
    }
    assert EventInvokeConfig.from_document(document) == EventInvokeConfig(
        maximum_retries=0, maximum_age_s=60, on_success="s", on_failure="f"
    )

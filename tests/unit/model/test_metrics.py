"""Summaries: exact in what they say is exact, and close in the rest."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.model.metrics import DISTINCT_MAX, ERROR_MAX, ROUNDED_MAX, Summary

numbers = st.floats(min_value=-1e6, max_value=1e6, allow_nan=False).map(lambda x: 0.0 if abs(x) < 1e-2 else x)
samples = st.lists(st.tuples(numbers, st.integers(1, 5)), min_size=1, max_size=400)


def summary_of(values: list[tuple[float, int]]) -> Summary:
    summary = Summary()
    for value, count in values:
        summary.add(value, count)
    return summary


def restored(summary: Summary) -> Summary:
    return Summary.restored(summary.count, summary.total, summary.least, summary.greatest, summary.stored())


@given(samples)
def test_the_four_numbers_are_exact(values: list[tuple[float, int]]) -> None:
    summary = summary_of(values)
    assert summary.count == sum(n for _, n in values)
    assert summary.total == pytest.approx(math.fsum(v * n for v, n in values), rel=1e-9, abs=1e-6)
    assert (summary.least, summary.greatest) == (min(v for v, _ in values), max(v for v, _ in values))


@given(samples)
def test_values_are_exact_while_few_and_close_when_many(values: list[tuple[float, int]]) -> None:
    summary = summary_of(values)
    assert summary.values is not None
    distinct = {value for value, _ in values}
    if len(distinct) <= DISTINCT_MAX:
        assert summary.values.keys() == distinct
    assert len(summary.values) <= ROUNDED_MAX
    assert sum(summary.values.values()) == summary.count
    for value in distinct:
        nearest = min(summary.values, key=lambda kept: abs(kept - value))
        assert abs(nearest - value) <= abs(value) * ERROR_MAX * 1.02


@given(samples, samples)
def test_merging_is_the_same_as_adding(some: list[tuple[float, int]], others: list[tuple[float, int]]) -> None:
    merged = summary_of(some)
    merged.merge(summary_of(others))
    added = summary_of([*some, *others])
    assert (merged.count, merged.least, merged.greatest) == (added.count, added.least, added.greatest)
    assert merged.values is not None
    assert added.values is not None
    if len(added.values) <= DISTINCT_MAX:
        assert merged.values == added.values
    assert sum(merged.values.values()) == added.count


@given(samples)
def test_what_was_stored_comes_back(values: list[tuple[float, int]]) -> None:
    summary = summary_of(values)
    again = restored(summary)
    assert again.stored() == summary.stored()
    again.add(17.25)
    summary.add(17.25)
    assert again.values == summary.values


def test_values_over_many_decades_take_wider_steps_instead_of_more_room() -> None:
    summary = Summary()
    for exponent in range(-300, 300):
        for mantissa in range(1, 8):
            summary.add(mantissa * 2.0**exponent)
    assert summary.values is not None
    assert len(summary.values) <= ROUNDED_MAX


def test_nothing_is_made_up_of_values_that_nobody_told() -> None:
    summary = Summary.aggregated(4, 10, 1, 5)
    assert summary.values is None
    summary.merge(Summary.of(3.0))
    assert (summary.count, summary.total, summary.values) == (5, 13, None)
    assert Summary.aggregated(4, 8, 2, 2).values == {2: 4}

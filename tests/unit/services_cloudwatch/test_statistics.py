"""Statistics by their names, by the definitions of CloudWatch's guide."""

from __future__ import annotations

import pytest

from lambent.model.metrics import Summary
from lambent.services.cloudwatch.statistics import SIMPLE, extended


def of(*values: float) -> Summary:
    summary = Summary()
    for value in values:
        summary.add(value)
    return summary


TEN = of(*range(1, 11))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("p0", 1), ("p50", 5), ("p90", 9), ("p95.5", 10), ("p100", 10),
        ("tm90", 5), ("TM(10%:90%)", 5.5), ("TM(2:4)", 3), ("TM(:80%)", 4.5), ("TM(9:)", 9.5),
        ("tc90", 9), ("TC(3:5)", 3), ("ts90", 45), ("TS(80%:)", 19),
        ("wm90", 5.4), ("WM(3:8)", 5.5), ("PR(:3)", 30), ("PR(3:5)", 30), ("IQM", 5.5),
    ],
)  # fmt: skip
def test_extended_statistics(name: str, value: float) -> None:
    evaluate = extended(name)
    assert evaluate is not None
    assert evaluate(TEN) == pytest.approx(value)


@pytest.mark.parametrize(
    "name", ["p", "p101", "p-1", "q99", "TM(:)", "TM(10%:90)", "PR(10%:90%)", "TM(10%:190%)", "IQR", "Sum", "p99 ", ""]
)
def test_what_is_no_extended_statistic(name: str) -> None:
    assert extended(name) is None


def test_simple_statistics() -> None:
    assert {name: evaluate(TEN) for name, evaluate in SIMPLE.items()} == {
        "SampleCount": 10, "Average": 5.5, "Sum": 55, "Minimum": 1, "Maximum": 10,
    }  # fmt: skip


def test_percentiles_need_the_values() -> None:
    evaluate = extended("p99")
    assert evaluate is not None
    assert evaluate(Summary.aggregated(10, 55, 1, 10)) is None
    assert evaluate(Summary.aggregated(10, 50, 5, 5)) == 5


def test_percentiles_of_many_values_are_within_a_hundredth() -> None:
    many = of(*(float(n) for n in range(1, 5001)))
    for percent in (1, 25, 50, 90, 99, 99.9):
        evaluate = extended(f"p{percent}")
        assert evaluate is not None
        assert evaluate(many) == pytest.approx(percent * 50, rel=0.011)
    last, nothing_above = extended("p100"), extended("PR(5001:)")
    assert last is not None
    assert last(many) == pytest.approx(5000, rel=0.011)
    assert nothing_above is not None
    assert nothing_above(many) == 0

"""How many cells wait: grows with what was missing, shrinks by what was never needed."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from lambent.sandbox.privileged.demand import MOST, PERIOD_S, Demand

LEAST = 4


def burst(demand: Demand, size: int, stock: int, now_s: float) -> int:
    """So many are asked for at once. Returns how many were not there."""
    missed = max(0, size - stock)
    for number in range(min(size, stock)):
        demand.took(stock - number - 1, now_s)
    for _ in range(missed):
        demand.missed(now_s)
    return missed


def test_a_burst_is_met_by_the_next_one() -> None:
    demand = Demand(LEAST, math.inf, 0.0)
    assert burst(demand, 200, demand.target, 1.0) == 196
    assert burst(demand, 200, demand.target, 2.0) == 0


def test_what_nobody_needs_any_more_is_given_up_step_by_step() -> None:
    demand = Demand(LEAST, math.inf, 0.0)
    burst(demand, 200, demand.target, 1.0)
    targets = []
    for period in range(1, 12):
        demand.look(1.0 + period * (PERIOD_S + 1))
        targets.append(demand.target)
    assert targets[0] == 200  # the burst lay in the first period
    assert targets[1] == 100
    assert targets == sorted(targets, reverse=True)
    assert targets[-1] == LEAST


def test_steady_demand_keeps_its_stock() -> None:
    demand = Demand(LEAST, math.inf, 0.0)
    burst(demand, 50, demand.target, 0.0)
    for second in range(1, 300):
        demand.look(float(second))
        if second % 10 == 0:
            assert burst(demand, 50, demand.target, float(second)) == 0


def test_one_that_is_kept_for_a_time_is_given_up_entirely_after_it() -> None:
    demand = Demand(2, 3600.0, 0.0)
    now_s = 0.0
    while now_s < 3500.0:
        now_s += PERIOD_S
        demand.look(now_s)
        assert demand.target == 2
        assert not demand.is_idle(now_s)
    for _ in range(10):
        now_s += PERIOD_S
        demand.look(now_s)
    assert demand.target == 0
    assert demand.is_idle(now_s)
    demand.missed(now_s)
    assert demand.target == 1
    assert not demand.is_idle(now_s)


@given(st.lists(st.tuples(st.floats(0, 100), st.sampled_from(["took", "missed", "look"]), st.integers(0, 600))))
def test_the_target_is_always_within_its_bounds(steps: list[tuple[float, str, int]]) -> None:
    demand, now_s, missed = Demand(LEAST, math.inf, 0.0), 0.0, 0
    for pause_s, what, left in steps:
        now_s += pause_s
        before = demand.target
        if what == "took":
            demand.took(left, now_s)
            assert demand.target == before
        elif what == "missed":
            missed += 1
            demand.missed(now_s)
            assert before <= demand.target <= before + 1
        else:
            demand.look(now_s)
            assert demand.target <= before
        assert LEAST <= demand.target <= min(MOST, LEAST + missed)

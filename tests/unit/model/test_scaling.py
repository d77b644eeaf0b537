"""Target tracking's decisions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.model.scaling import (
    PERIODS_LOW,
    Bounds,
    Change,
    Points,
    Scale,
    Situation,
    Stay,
    Tracking,
    decide,
    is_high,
    is_low,
)

HALF = Tracking(name="half", target=0.5)
NOW = Situation(capacity=4, bounds=Bounds(least=1, most=20), now_s=1000.0)
HIGH: Points = [0.9, 0.9, 0.9]
LOW: Points = [0.1] * PERIODS_LOW
SO_SO: Points = [0.48] * PERIODS_LOW  # below the target, but not below nine tenths of it


@pytest.mark.parametrize(
    ("points", "high"),
    [
        ([0.9, 0.9], False),
        ([0.9, 0.9, 0.9], True),
        ([0.9, 0.9, 0.9, 0.5], False),
        ([0.1, 0.9, 0.9, 0.9], True),
        ([0.9, None, None], True),
        ([None, 0.9, 0.9], False),
        ([0.9, None, 0.4], False),
        ([None, None, None], False),
    ],
)
def test_three_minutes_above_the_target_raise_the_alarm(points: Points, high: bool) -> None:
    assert is_high(HALF, points) is high


@pytest.mark.parametrize(
    ("points", "low"),
    [
        (LOW, True),
        (LOW[1:], False),
        ([0.1] + [None] * (PERIODS_LOW - 1), True),
        ([None] * PERIODS_LOW, False),
        (SO_SO, False),
        ([*LOW[1:], 0.45], False),
        ([0.9, *LOW], True),
    ],
)
def test_fifteen_minutes_below_nine_tenths_of_it_raise_the_other(points: Points, low: bool) -> None:
    assert is_low(HALF, points) is low


def out(capacity: int, policy: str = "half") -> Scale:
    return Scale(policy=policy, alarm="High", capacity=capacity)


def scale_in(capacity: int, policy: str = "half") -> Scale:
    return Scale(policy=policy, alarm="Low", capacity=capacity)


@pytest.mark.parametrize(
    ("points", "changed", "decision"),
    [
        ([1.0, 0.6, 1.0], {}, out(8)),
        ([1.0, 1.0, 0.6], {}, out(5)),
        (HIGH, {"capacity": 19}, out(20)),
        (HIGH, {"capacity": 20}, Stay(policy="half", alarm="High", reason="AlreadyAtMaxCapacity")),
        (HIGH, {"capacity": 0}, None),
        (HIGH, {"out_suspended": True}, None),
        (HIGH, {"in_suspended": True}, out(8)),
        (LOW, {}, scale_in(1)),
        ([0.3, *LOW[1:]], {"capacity": 5}, scale_in(3)),
        (LOW, {"capacity": 1}, Stay(policy="half", alarm="Low", reason="AlreadyAtMinCapacity")),
        ([0.44] * 15, {"capacity": 2}, Stay(policy="half", alarm="Low", reason="AlreadyAtDesiredCapacity")),
        (LOW, {"in_suspended": True}, None),
        (SO_SO, {}, None),
        ([0.5] * 15, {}, None),
    ],
)
def test_the_capacity_follows_the_metric(points: Points, changed: Mapping[str, Any], decision: Any) -> None:
    assert decide({HALF: points}, attrs.evolve(NOW, **changed)) == decision


def test_any_policy_scales_out_and_all_of_them_scale_in() -> None:
    other = Tracking(name="other", target=10.0)
    assert decide({HALF: HIGH, other: [1.0] * PERIODS_LOW}, NOW) == out(8)
    assert decide({HALF: HIGH, other: [50.0] * 3}, NOW) == out(20, "other")
    assert decide({HALF: LOW, other: [9.5] * PERIODS_LOW}, NOW) is None
    assert decide({HALF: LOW, other: [5.0] * PERIODS_LOW}, NOW) == scale_in(2, "other")
    stays = attrs.evolve(other, scales_in=False)
    assert decide({HALF: LOW, stays: [9.5] * PERIODS_LOW}, NOW) == scale_in(1)
    assert decide({stays: [1.0] * PERIODS_LOW}, NOW) is None


def test_during_its_cooldown_what_was_added_counts_as_part_of_what_is_asked_for() -> None:
    slow = attrs.evolve(HALF, out_cooldown_s=60.0)
    changed = attrs.evolve(NOW, capacity=8, last_out=Change(ended_s=950.0, before=4))
    assert decide({slow: [1.0] * 3}, changed) == Stay(policy="half", alarm="High", reason="AlreadyAtDesiredCapacity")
    steep = attrs.evolve(slow, target=0.25)
    assert decide({steep: [1.0] * 3}, changed) == out(16)
    assert decide({slow: [1.0] * 3}, attrs.evolve(changed, now_s=1010.0)) == out(16)


def test_during_its_cooldown_nothing_is_taken_away() -> None:
    slow = attrs.evolve(HALF, in_cooldown_s=60.0)
    changed = attrs.evolve(NOW, last_in=Change(ended_s=950.0, before=8))
    assert decide({slow: LOW}, changed) is None
    assert decide({slow: HIGH}, changed) == out(8)
    assert decide({slow: LOW}, attrs.evolve(changed, now_s=1010.0)) == scale_in(1)


POINT = st.none() | st.floats(0.0, 1.0)


@given(
    st.lists(POINT, max_size=20), st.integers(0, 50), st.integers(0, 20), st.integers(0, 40), st.floats(0.05, 1.0)
)  # fmt: skip
def test_a_change_lies_within_the_bounds_and_in_the_direction_of_its_alarm(
    points: list[float | None], capacity: int, least: int, more: int, target: float
) -> None:
    bounds = Bounds(least=least, most=least + more)
    tracking = Tracking(name="any", target=target)
    decision = decide({tracking: points}, attrs.evolve(NOW, capacity=capacity, bounds=bounds))
    if not isinstance(decision, Scale):
        return
    assert bounds.hold(decision.capacity) == decision.capacity
    assert (decision.capacity > capacity) is (decision.alarm == "High")
    if decision.alarm == "Low":  # and it will not be raised again by what was measured
        most = max(value for value in points[-PERIODS_LOW:] if value is not None)
        needed = capacity * most / target
        assert decision.capacity >= math.floor(needed) or decision.capacity == bounds.most

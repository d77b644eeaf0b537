"""Application Auto Scaling's target tracking: what capacity a metric asks for, as a decision without I/O.

Sources: https://docs.aws.amazon.com/autoscaling/application/userguide/target-tracking-scaling-policy-overview.html (what
scales, when, and how several policies agree), the alarms that AWS makes for a policy (3 minutes above its target, 15
below nine tenths of it), and for minutes without data
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/AlarmThatSendsEmail.html#alarms-and-missing-data
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

import attrs

PERIOD_S: Final = 60
PERIODS_HIGH: Final = 3
PERIODS_LOW: Final = 15
LOW_SHARE: Final = 0.9  # of the target

Alarm = Literal["High", "Low"]
Points = Sequence[float | None]
"""The metric's value in each period, the latest last; None where nothing was measured."""


@attrs.frozen(kw_only=True)
class Tracking:
    """One policy that keeps a metric at its target."""

    name: str
    target: float
    out_cooldown_s: float = 0.0
    in_cooldown_s: float = 0.0
    scales_in: bool = True


@attrs.frozen(kw_only=True)
class Bounds:
    least: int
    most: int

    def hold(self, capacity: int) -> int:
        """The capacity nearest to it that is allowed."""
        return min(max(capacity, self.least), self.most)


@attrs.frozen(kw_only=True)
class Change:
    """The last change in one direction that a policy has brought about."""

    ended_s: float  # since the epoch
    before: int  # the capacity until then


@attrs.frozen(kw_only=True)
class Situation:
    """A scalable target as it is now."""

    capacity: int
    bounds: Bounds
    now_s: float
    last_out: Change | None = None
    last_in: Change | None = None  # unless there was one out since
    out_suspended: bool = False
    in_suspended: bool = False


@attrs.frozen(kw_only=True)
class Scale:
    """Change the capacity, because of this policy's alarm."""

    policy: str
    alarm: Alarm
    capacity: int


@attrs.frozen(kw_only=True)
class Stay:
    """The alarm is raised, and nothing can be done. `reason` is a code of AWS's NotScaledReason."""

    policy: str
    alarm: Alarm
    reason: Literal["AlreadyAtMaxCapacity", "AlreadyAtMinCapacity", "AlreadyAtDesiredCapacity"]


def decide(policies: Mapping[Tracking, Points], situation: Situation) -> Scale | Stay | None:
    """What the policies of one target ask for together; None when no alarm is raised, or its cooldown is not over.

    It scales out when any policy asks for it, to the most that one does; and in when all that may ask for it do, to the
    most that one needs.
    """
    if situation.capacity == 0:  # of nothing there is no part to measure
        return None
    outs = {tracking: points for tracking, points in policies.items() if is_high(tracking, points)}
    if outs:
        return None if situation.out_suspended else _out(outs, situation)
    ins = {tracking: points for tracking, points in policies.items() if tracking.scales_in}
    if ins and not situation.in_suspended and all(is_low(tracking, points) for tracking, points in ins.items()):
        return _in(ins, situation)
    return None


def is_high(tracking: Tracking, points: Points) -> bool:
    return _is_raised(points, PERIODS_HIGH, lambda value: value > tracking.target)


def is_low(tracking: Tracking, points: Points) -> bool:
    return _is_raised(points, PERIODS_LOW, lambda value: value < tracking.target * LOW_SHARE)


def _is_raised(points: Points, periods: int, breaches: Callable[[float], bool]) -> bool:
    """CloudWatch's rule for alarms that treat missing data as missing: the oldest period has to breach, later ones may
    have no data."""
    if len(points) < periods:
        return False
    latest = points[-periods:]
    return latest[0] is not None and all(value is None or breaches(value) for value in latest)


def _out(policies: Mapping[Tracking, Points], situation: Situation) -> Scale | Stay | None:
    wanted: list[tuple[int, Tracking]] = []
    for tracking, points in policies.items():
        metric = next(value for value in reversed(points) if value is not None)
        last, base = situation.last_out, situation.capacity
        is_cooling = last is not None and situation.now_s < last.ended_s + tracking.out_cooldown_s
        if is_cooling:  # what was added counts as part of what is asked for now
            assert last is not None
            base = last.before
        wanted.append((_needed(base, metric, tracking.target), tracking))
    most, tracking = max(wanted, key=lambda each: each[0])
    capacity = situation.bounds.hold(most)
    if capacity > situation.capacity:
        return Scale(policy=tracking.name, alarm="High", capacity=capacity)
    at_most = situation.capacity >= situation.bounds.most
    reason: Literal["AlreadyAtMaxCapacity", "AlreadyAtDesiredCapacity"]
    reason = "AlreadyAtMaxCapacity" if at_most else "AlreadyAtDesiredCapacity"
    return Stay(policy=tracking.name, alarm="High", reason=reason)


def _in(policies: Mapping[Tracking, Points], situation: Situation) -> Scale | Stay | None:
    last = situation.last_in
    if last is not None and any(situation.now_s < last.ended_s + tracking.in_cooldown_s for tracking in policies):
        return None
    most, tracking = max(
        (
            (_needed(situation.capacity, max(v for v in points[-PERIODS_LOW:] if v is not None), tracking.target), tracking)
            for tracking, points in policies.items()
        ),
        key=lambda each: each[0],
    )  # fmt: skip
    capacity = situation.bounds.hold(most)
    if capacity < situation.capacity:
        return Scale(policy=tracking.name, alarm="Low", capacity=capacity)
    at_least = situation.capacity <= situation.bounds.least
    reason: Literal["AlreadyAtMinCapacity", "AlreadyAtDesiredCapacity"]
    reason = "AlreadyAtMinCapacity" if at_least else "AlreadyAtDesiredCapacity"
    return Stay(policy=tracking.name, alarm="Low", reason=reason)


def _needed(capacity: int, metric: float, target: float) -> int:
    """The capacity at which the metric would be at its target."""
    return math.ceil(round(capacity * metric / target, 6))

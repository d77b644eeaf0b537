"""Statistics by CloudWatch's names, and what they make of a summary.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Statistics-definitions.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import attrs

from lambent.model.metrics import Summary

Evaluate = Callable[[Summary], float | None]
"""None: it cannot be said, because the values themselves are not known or none are within the bounds."""

SIMPLE: Final[Mapping[str, Evaluate]] = {
    "SampleCount": lambda summary: summary.count,
    "Average": lambda summary: summary.total / summary.count if summary.count else None,
    "Sum": lambda summary: summary.total,
    "Minimum": lambda summary: summary.least,
    "Maximum": lambda summary: summary.greatest,
}
_SHORT: Final = re.compile(r"(p|tm|wm|tc|ts)(\d{1,3}(?:\.\d{1,10})?)")
_LONG: Final = re.compile(r"(TM|WM|TC|TS|PR)\((?:(\d+(?:\.\d+)?)(%?))?:(?:(\d+(?:\.\d+)?)(%?))?\)")


@attrs.frozen
class _Bounds:
    """Of what is looked at: parts of the values in their order (0 to 1), or values themselves."""

    low: float | None
    high: float | None
    are_parts: bool

    def of(self, values: Sequence[tuple[float, float]]) -> tuple[float, float]:
        """The least and the greatest value within."""
        if not self.are_parts:
            return (-float("inf") if self.low is None else self.low, float("inf") if self.high is None else self.high)
        return percentile(values, self.low or 0.0), percentile(values, 1.0 if self.high is None else self.high)

    def kept(self, values: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
        """Values and how much of each is within, in order."""
        if not self.are_parts:
            low, high = self.of(values)
            return [(value, count) for value, count in values if low <= value <= high]
        total = sum(count for _, count in values)
        begin, end = (self.low or 0.0) * total, (1.0 if self.high is None else self.high) * total
        found: list[tuple[float, float]] = []
        passed = 0.0
        for value, count in values:
            part = min(passed + count, end) - max(passed, begin)
            passed += count
            if part > 0:
                found.append((value, part))
        return found


def extended(name: str) -> Evaluate | None:
    """`p99`, `tm90`, `TM(10%:90%)`, `PR(:300)`, `IQM`; None for what is no statistic."""
    if name == "IQM":
        return _over("tm", _Bounds(0.25, 0.75, True))
    if short := _SHORT.fullmatch(name):
        kind, percent = short[1], float(short[2])
        if percent > 100:
            return None
        return _over(kind, _Bounds(None, percent / 100, True))
    if long := _LONG.fullmatch(name):
        kind, low, low_percent, high, high_percent = long.groups()
        signs = {sign for number, sign in ((low, low_percent), (high, high_percent)) if number is not None}
        if len(signs) != 1 or (kind == "PR" and signs == {"%"}):
            return None
        are_parts = signs == {"%"}
        scale = 100 if are_parts else 1
        bounds = [None if number is None else float(number) / scale for number in (low, high)]
        if are_parts and any(bound is not None and bound > 1 for bound in bounds):
            return None
        return _over(kind.lower(), _Bounds(bounds[0], bounds[1], are_parts))
    return None


def percentile(values: Sequence[tuple[float, float]], part: float) -> float:
    """The least of the values that at least this part of all is not greater than. `values`: in order, with counts."""
    rank = part * sum(count for _, count in values)
    passed = 0.0
    for value, count in values:
        passed += count
        if passed >= rank * (1 - 1e-12):
            return value
    return values[-1][0]


def _over(kind: str, bounds: _Bounds) -> Evaluate:
    def evaluate(summary: Summary) -> float | None:
        if not summary.values:
            return None
        # Values that were rounded stay between the two that are known exactly.
        values = sorted((min(max(v, summary.least), summary.greatest), n) for v, n in summary.values.items())
        return _KINDS[kind](values, bounds)

    return evaluate


def _mean(values: Sequence[tuple[float, float]]) -> float | None:
    count = sum(n for _, n in values)
    return sum(v * n for v, n in values) / count if count else None


def _winsorized(values: Sequence[tuple[float, float]], bounds: _Bounds) -> float | None:
    low, high = bounds.of(values)
    return _mean([(min(max(v, low), high), n) for v, n in values])


def _percent_within(values: Sequence[tuple[float, float]], bounds: _Bounds) -> float:
    return 100 * sum(n for _, n in bounds.kept(values)) / sum(n for _, n in values)


_KINDS: Final[Mapping[str, Callable[[Sequence[tuple[float, float]], _Bounds], float | None]]] = {
    "p": lambda values, bounds: percentile(values, bounds.high or 0.0),
    "tm": lambda values, bounds: _mean(bounds.kept(values)),
    "wm": _winsorized,
    "tc": lambda values, bounds: sum(n for _, n in bounds.kept(values)),
    "ts": lambda values, bounds: sum(v * n for v, n in bounds.kept(values)),
    "pr": _percent_within,
}

"""Figures: which one is meant (a series), and what is kept of many values (a summary).

A summary knows count, sum, least and greatest value exactly. Its values themselves are exact as long as there are few
different ones; beyond that they are rounded, so that percentiles stay within `ERROR_MAX` of the truth and memory small.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

Dimensions = tuple[tuple[str, str], ...]
"""Names and values, sorted."""

DISTINCT_MAX: Final = 150  # values that are kept as they are: as many as one datum of PutMetricData may have
ROUNDED_MAX: Final = 1_000  # different values of those that are rounded; wider steps are taken beyond that
ERROR_MAX: Final = 0.01  # relative, of rounded values, while they span no more than eight decades
_STEP: Final = 2 * ERROR_MAX


class Subject(NamedTuple):
    """What metrics are of: a function, a queue, …, as its dimensions name it; without any, all of a place together."""

    account_id: str
    region: str
    namespace: str
    dimensions: Dimensions


class Series(NamedTuple):
    """One metric of one account and region, in one unit."""

    account_id: str
    region: str
    namespace: str
    name: str
    dimensions: Dimensions
    unit: str  # of CloudWatch's: "Count", "Milliseconds", …, "None"


class Summary:
    """Many values, added up in place."""

    __slots__ = ("_coarseness", "_log_step", "count", "greatest", "least", "total", "values")

    def __init__(self) -> None:
        self.count = 0.0
        self.total = 0.0
        self.least = math.inf
        self.greatest = -math.inf
        self.values: dict[float, float] | None = {}  # value → how often; None: not known
        self._coarseness = (
            0  # 0: values are exact; else they are rounded in steps of 2 %, doubled with each further one
        )
        self._log_step = 0.0

    @classmethod
    def of(cls, value: float, count: float = 1.0) -> Summary:
        summary = cls()
        summary.add(value, count)
        return summary

    @classmethod
    def aggregated(cls, count: float, total: float, least: float, greatest: float) -> Summary:
        """One whose values are not known, unless they can only be one."""
        if least == greatest:
            summary = cls.of(least, count)
            summary.total = total
            return summary
        summary = cls()
        summary.count, summary.total, summary.least, summary.greatest = count, total, least, greatest
        summary.values = None
        return summary

    def add(self, value: float, count: float = 1.0) -> None:
        self.count += count
        self.total += value * count
        if value < self.least:
            self.least = value
        if value > self.greatest:
            self.greatest = value
        values = self.values
        if values is not None:
            if self._coarseness:
                value = self._rounded(value)
            values[value] = values.get(value, 0.0) + count
            if len(values) > (ROUNDED_MAX if self._coarseness else DISTINCT_MAX):
                self._bound(values)

    def merge(self, other: Summary) -> None:
        """Adds what the other one has."""
        self.count += other.count
        self.total += other.total
        self.least = min(self.least, other.least)
        self.greatest = max(self.greatest, other.greatest)
        if self.values is None or other.values is None:
            self.values = None
            return
        if other._coarseness > self._coarseness:
            self._coarsen(other._coarseness)
        values = self.values
        for value, count in other.values.items():
            key = self._rounded(value) if self._coarseness else value
            values[key] = values.get(key, 0.0) + count
        self._bound(values)

    def stored(self) -> list[Any] | None:
        """What `restored` needs of the values beside the four numbers; None when they are not known."""
        return None if self.values is None else [self._coarseness, list(self.values.items())]

    @classmethod
    def restored(cls, count: float, total: float, least: float, greatest: float, values: list[Any] | None) -> Summary:
        summary = cls()
        summary.count, summary.total, summary.least, summary.greatest = count, total, least, greatest
        if values is None:
            summary.values = None
        else:
            summary._set_coarseness(values[0])
            summary.values = dict(values[1])
        return summary

    def _bound(self, values: Mapping[float, float]) -> None:
        """Rounds as much as is needed to keep few of them."""
        most = ROUNDED_MAX if self._coarseness else DISTINCT_MAX
        while len(self.values or values) > most:
            self._coarsen(self._coarseness + 1)
            most = ROUNDED_MAX

    def _coarsen(self, coarseness: int) -> None:
        self._set_coarseness(coarseness)
        rounded: dict[float, float] = {}
        for value, count in (self.values or {}).items():
            key = self._rounded(value)
            rounded[key] = rounded.get(key, 0.0) + count
        self.values = rounded

    def _set_coarseness(self, coarseness: int) -> None:
        self._coarseness = coarseness
        self._log_step = math.log1p(_STEP * 2 ** (coarseness - 1)) if coarseness else 0.0

    def _rounded(self, value: float) -> float:
        if value > 0.0:
            return math.exp(round(math.log(value) / self._log_step) * self._log_step)
        if value == 0.0:
            return 0.0
        return math.copysign(math.exp(round(math.log(abs(value)) / self._log_step) * self._log_step), value)

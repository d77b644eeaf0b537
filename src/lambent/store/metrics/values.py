"""What the metric store takes and gives."""

from __future__ import annotations

from typing import NamedTuple

from lambent.model.metrics import Dimensions, Series, Summary


class MetricKey(NamedTuple):
    """One metric; its points may be in several units."""

    account_id: str
    region: str
    namespace: str
    name: str
    dimensions: Dimensions


class Point(NamedTuple):
    """To be added to what there is for the same series, period and time."""

    series: Series
    at_s: int  # since the epoch, a multiple of `period_s`
    period_s: int
    summary: Summary


class StoredPoint(NamedTuple):
    at_s: int
    period_s: int
    unit: str
    summary: Summary


class Listed(NamedTuple):
    namespace: str
    name: str
    dimensions: Dimensions

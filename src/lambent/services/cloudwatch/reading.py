"""GetMetricStatistics, and what it has in common with GetMetricData: points of a metric, put together by period.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricStatistics.html
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from lambent.model.metrics import Summary
from lambent.model.request import RequestContext
from lambent.services.cloudwatch.errors import (
    in_the_words_of_aws,
    invalid_combination,
    invalid_value,
    missing,
)
from lambent.services.cloudwatch.putting import (
    check_namespace,
    dimension_problems,
    dimensions_of,
    name_problems,
)
from lambent.services.cloudwatch.statistics import SIMPLE, Evaluate, extended
from lambent.store.metrics import MetricKey, MetricStore

Members = dict[str, Any]

HOUR_S: Final = 3_600
DAY_S: Final = 24 * HOUR_S
SHORT_PERIODS_S: Final = (1, 5, 10, 20, 30)  # beside whole minutes
DATAPOINTS_MAX: Final = 1_440  # GetMetricStatistics
EXTENDED_MAX: Final = 10


@attrs.frozen
class Window:
    start_s: int
    end_s: int  # excluded
    period_s: int

    def begin_of(self, at_s: int) -> int:
        return at_s - (at_s - self.start_s) % self.period_s


class Reader:
    def __init__(self, store: MetricStore) -> None:
        self._store = store

    # ── GetMetricStatistics ───────────────────────────────────────────────────────────────────────────────────────────

    async def statistics(self, context: RequestContext, members: Members, now_s: float) -> Members:
        for name in ("Namespace", "MetricName", "StartTime", "EndTime", "Period"):
            if members.get(name) is None:
                raise missing(name)
        window = window_of(members["StartTime"], members["EndTime"], checked_period(members["Period"], "Period"), now_s)
        if window.start_s >= window.end_s or members["StartTime"] >= members["EndTime"]:
            raise invalid_value("The parameter StartTime must be less than the parameter EndTime.")
        asked_for = int((members["EndTime"] - members["StartTime"]).total_seconds()) // window.period_s
        if asked_for > DATAPOINTS_MAX:
            raise invalid_combination(
                f"You have requested up to {asked_for} datapoints, which exceeds the limit of {DATAPOINTS_MAX}. "
                "You may reduce the datapoints requested by increasing Period, or decreasing the time range."
            )
        simple, percentiles = _wanted(members)
        found = await buckets(self._store, context, members, "", window, with_values=bool(percentiles))
        unit = members.get("Unit")
        datapoints = [
            point
            for (at_s, of_unit), summary in found.items()
            if unit in (None, of_unit)
            and (point := _datapoint(at_s, of_unit, summary, simple, percentiles)) is not None
        ]
        return {"Label": members["MetricName"], "Datapoints": datapoints}


async def buckets(
    store: MetricStore, context: RequestContext, metric: Members, path: str, window: Window, *, with_values: bool
) -> dict[tuple[int, str], Summary]:
    """By the time at which a period begins, and unit. Points that are longer than the period say nothing of it.

    `path` is where the metric stands in the request, for errors. Raises AwsError.
    """
    check_namespace(metric.get("Namespace"), f"{path}Namespace")
    problems = [
        *name_problems(f"{path}MetricName", metric.get("MetricName")),
        *dimension_problems(f"{path}Dimensions", metric.get("Dimensions") or ()),
    ]
    if problems:
        raise problems[0]
    key = MetricKey(
        context.account_id, context.region, metric["Namespace"], metric["MetricName"],
        dimensions_of(metric.get("Dimensions")),
    )  # fmt: skip
    with in_the_words_of_aws():
        points = await store.points(key, window.start_s, window.end_s, window.period_s, with_values=with_values)
    found: dict[tuple[int, str], Summary] = {}
    for point in points:
        found.setdefault((window.begin_of(point.at_s), point.unit), Summary()).merge(point.summary)
    return found


def checked_period(period_s: int, name: str) -> int:
    if period_s not in SHORT_PERIODS_S and (period_s < 1 or period_s % 60):
        raise invalid_value(f"The parameter {name} must be 1, 5, 10, 20, 30 or a multiple of 60.")
    return period_s


def window_of(start: datetime.datetime, end: datetime.datetime, period_s: int, now_s: float) -> Window:
    """Rounds the start as GetMetricStatistics' page says: the further back, the more."""
    start_s, age_s = int(start.timestamp()), now_s - start.timestamp()
    if age_s < 3 * HOUR_S and period_s < 60:
        step_s = period_s
    elif age_s < 15 * DAY_S:
        step_s = 60
    else:
        step_s = 300 if age_s < 63 * DAY_S else HOUR_S
    return Window(start_s - start_s % step_s, -(-int(end.timestamp() * 1000) // 1000), period_s)


def _wanted(members: Members) -> tuple[Sequence[str], Mapping[str, Evaluate]]:
    """GetMetricStatistics' statistics by name. Raises AwsError."""
    simple, names = members.get("Statistics") or (), members.get("ExtendedStatistics") or ()
    if not simple and not names:
        raise invalid_combination("Must specify either Statistics or ExtendedStatistics")
    for name in simple:
        if name not in SIMPLE:
            raise invalid_value(f"The parameter Statistics must be a value in the set [ {', '.join(SIMPLE)} ].")
    if len(names) > EXTENDED_MAX:
        raise invalid_value(f"The collection ExtendedStatistics must not have a size greater than {EXTENDED_MAX}.")
    evaluations: dict[str, Evaluate] = {}
    for name in names:
        evaluate = extended(name)
        if evaluate is None:
            raise invalid_value(f"The value {name} for parameter ExtendedStatistics is not supported.")
        evaluations[name] = evaluate
    return simple, evaluations


def _datapoint(
    at_s: int, unit: str, summary: Summary, simple: Sequence[str], percentiles: Mapping[str, Evaluate]
) -> Members | None:
    found: Members = {name: value for name in simple if (value := SIMPLE[name](summary)) is not None}
    more = {name: value for name, evaluate in percentiles.items() if (value := evaluate(summary)) is not None}
    if more:
        found["ExtendedStatistics"] = more
    return {"Timestamp": time_of(at_s), "Unit": unit, **found} if found else None


def time_of(at_s: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(at_s, datetime.UTC)

"""GetMetricStatistics and GetMetricData: points of a metric, put together by period.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricStatistics.html and API_GetMetricData.html
"""

from __future__ import annotations

import base64
import binascii
import datetime
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from lambent.model.errors import AwsError
from lambent.model.metrics import Summary
from lambent.model.request import RequestContext
from lambent.services.cloudwatch.errors import (
    in_the_words_of_aws,
    invalid_combination,
    invalid_token,
    invalid_value,
    missing,
    not_offered,
    validation,
)
from lambent.services.cloudwatch.putting import (
    UNITS,
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
QUERIES_MAX: Final = 500  # GetMetricData
QUERIED_MAX: Final = 100_800  # its data points in one answer
EXTENDED_MAX: Final = 10
_ID: Final = re.compile(r"[a-z][a-zA-Z0-9_]{0,254}")


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
        window = _window(members["StartTime"], members["EndTime"], _period(members["Period"], "Period"), now_s)
        if window.start_s >= window.end_s or members["StartTime"] >= members["EndTime"]:
            raise invalid_value("The parameter StartTime must be less than the parameter EndTime.")
        asked_for = int((members["EndTime"] - members["StartTime"]).total_seconds()) // window.period_s
        if asked_for > DATAPOINTS_MAX:
            raise invalid_combination(
                f"You have requested up to {asked_for} datapoints, which exceeds the limit of {DATAPOINTS_MAX}. "
                "You may reduce the datapoints requested by increasing Period, or decreasing the time range."
            )
        simple, percentiles = _wanted(members)
        found = await self._buckets(context, members, "", window, with_values=bool(percentiles))
        unit = members.get("Unit")
        datapoints = [
            point
            for (at_s, of_unit), summary in found.items()
            if unit in (None, of_unit)
            and (point := _datapoint(at_s, of_unit, summary, simple, percentiles)) is not None
        ]
        return {"Label": members["MetricName"], "Datapoints": datapoints}

    # ── GetMetricData ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def data(self, context: RequestContext, members: Members, now_s: float) -> Members:
        for name in ("MetricDataQueries", "StartTime", "EndTime"):
            if not members.get(name):
                raise validation(f"The parameter {name} is required.\n")
        start, end = members["StartTime"], members["EndTime"]
        if start == end:
            raise validation("The parameter StartTime must not equal parameter EndTime.")
        if start > end:
            raise validation("The parameter EndTime must be greater than StartTime.")
        most = members.get("MaxDatapoints") or QUERIED_MAX
        if not 1 <= most <= QUERIED_MAX:
            raise validation(f"The parameter MaxDatapoints must be between 1 and {QUERIED_MAX}.")
        queries = members["MetricDataQueries"]
        _check_queries(context, queries)
        is_ascending = members.get("ScanBy") == "TimestampAscending"
        results = []
        for position, query in enumerate(queries, 1):
            if query.get("ReturnData") is not False:
                results.append(await self._result(context, query, position, (start, end, now_s), is_ascending))
        return _page(results, most, members.get("NextToken"))

    async def _result(
        self,
        context: RequestContext,
        query: Members,
        position: int,
        times: tuple[datetime.datetime, datetime.datetime, float],
        is_ascending: bool,
    ) -> Members:
        stat = query["MetricStat"]
        path = f"MetricDataQueries.member.{position}.MetricStat"
        for name in ("Metric", "Period", "Stat"):
            if stat.get(name) is None:
                raise validation(f"The parameter {path}.{name} is required.\n")
        evaluate = SIMPLE.get(stat["Stat"]) or extended(stat["Stat"])
        if evaluate is None:
            raise validation(f"The value {stat['Stat']} for parameter {path}.Stat is not supported.")
        try:
            window = _window(times[0], times[1], _period(stat["Period"], f"{path}.Period"), times[2])
            with_values = stat["Stat"] not in SIMPLE
            found = await self._buckets(context, stat["Metric"], f"{path}.Metric.", window, with_values=with_values)
        except AwsError as error:
            if error.is_server_fault:
                raise
            raise validation(f"{error.message}\n") from error
        unit = stat.get("Unit") or next((unit for unit in UNITS if any(key[1] == unit for key in found)), None)
        values = [
            (at_s, value)
            for (at_s, of_unit), summary in found.items()
            if of_unit == unit and (value := evaluate(summary)) is not None
        ]
        values.sort(reverse=not is_ascending)
        return {
            "Id": query["Id"],
            "Label": query.get("Label") or stat["Metric"]["MetricName"],
            "Timestamps": [_time(at_s) for at_s, _ in values],
            "Values": [value for _, value in values],
        }

    # ── both ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _buckets(
        self, context: RequestContext, metric: Members, path: str, window: Window, *, with_values: bool
    ) -> dict[tuple[int, str], Summary]:
        """By the time at which a period begins, and unit. Points that are longer than the period say nothing of it."""
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
            points = await self._store.points(
                key, window.start_s, window.end_s, window.period_s, with_values=with_values
            )
        found: dict[tuple[int, str], Summary] = {}
        for point in points:
            found.setdefault((window.begin_of(point.at_s), point.unit), Summary()).merge(point.summary)
        return found


def _period(period_s: int, name: str) -> int:
    if period_s not in SHORT_PERIODS_S and (period_s < 1 or period_s % 60):
        raise invalid_value(f"The parameter {name} must be 1, 5, 10, 20, 30 or a multiple of 60.")
    return period_s


def _window(start: datetime.datetime, end: datetime.datetime, period_s: int, now_s: float) -> Window:
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
    return {"Timestamp": _time(at_s), "Unit": unit, **found} if found else None


def _check_queries(context: RequestContext, queries: Sequence[Members]) -> None:
    """Raises AwsError."""
    if len(queries) > QUERIES_MAX:
        raise validation(f"The collection MetricDataQueries must not have a size greater than {QUERIES_MAX}.")
    seen = set()
    for position, query in enumerate(queries, 1):
        path = f"MetricDataQueries.member.{position}"
        name = query.get("Id")
        if not name:
            raise validation(f"The parameter {path}.Id is required.\n")
        if _ID.fullmatch(name) is None:
            raise validation(
                f"The value {name} for parameter {path}.Id is not matching the expected pattern {_ID.pattern}."
            )
        if name in seen:
            raise validation(f"The values for parameter id in MetricDataQueries are not unique: {name}.")
        seen.add(name)
        if query.get("Expression") is not None:
            if query.get("MetricStat") is not None:
                raise validation(
                    f"The parameters {path}.Expression and {path}.MetricStat are mutually exclusive and you have specified both."
                )
            raise not_offered("Metric math (Expression)")
        if query.get("MetricStat") is None:
            raise validation(f"The parameter {path}.MetricStat is required.\n")
        if query.get("AccountId") not in (None, context.account_id):
            raise not_offered("Reading another account's metrics (AccountId)")


def _page(results: Sequence[Members], most: int, token: str | None) -> Members:
    """The results' data points, counted through in order, from where the token says on."""
    begin = _position(token)
    end = begin + most
    total = sum(len(result["Values"]) for result in results)
    page: list[Members] = []
    first = 0  # the number of the result's first point
    for result in results:
        count = len(result["Values"])
        part = slice(max(0, begin - first), max(0, end - first))
        is_here = begin < first + count and first < end if count else begin <= first and (first < end or end >= total)
        if is_here:
            status = "Complete" if first + count <= end else "PartialData"
            values = {name: result[name][part] for name in ("Timestamps", "Values")}
            page.append({**result, **values, "StatusCode": status})
        first += count
    answer: Members = {"MetricDataResults": page, "Messages": []}
    if end < total:
        answer["NextToken"] = base64.b64encode(str(end).encode()).decode()
    return answer


def _position(token: str | None) -> int:
    if not token:
        return 0
    try:
        text = base64.b64decode(token, validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise invalid_token() from error
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        raise invalid_token()
    return int(text)


def _time(at_s: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(at_s, datetime.UTC)

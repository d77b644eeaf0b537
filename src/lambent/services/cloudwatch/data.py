"""GetMetricData: statistics of many metrics at once, and what expressions make of them.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html
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
from lambent.model.request import RequestContext
from lambent.services.cloudwatch.errors import invalid_token, not_offered, validation
from lambent.services.cloudwatch.expressions import Expression, Line, Value, compile_expression
from lambent.services.cloudwatch.putting import UNITS
from lambent.services.cloudwatch.reading import buckets, checked_period, time_of, window_of
from lambent.services.cloudwatch.statistics import SIMPLE, extended
from lambent.store.metrics import MetricStore

Members = dict[str, Any]

QUERIES_MAX: Final = 500
QUERIED_MAX: Final = 100_800  # data points in one answer
_ID: Final = re.compile(r"[a-z][a-zA-Z0-9_]{0,254}")


@attrs.frozen
class _Times:
    start: datetime.datetime
    end: datetime.datetime
    now_s: float


async def metric_data(store: MetricStore, context: RequestContext, members: Members, now_s: float) -> Members:
    """Raises AwsError."""
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
    begin = _position(members.get("NextToken"))
    expressions = _expressions(queries)
    lines: dict[str, Line] = {}
    for position, query in enumerate(queries, 1):
        if query["Id"] not in expressions:
            lines[query["Id"]] = await _queried(store, context, query, position, _Times(start, end, now_s))
    values = _evaluated(expressions, lines)
    is_ascending = members.get("ScanBy") == "TimestampAscending"
    results = [
        _result(query, line, is_ascending)
        for query in queries
        if query.get("ReturnData") is not False
        for line in _lines(query["Id"], values[query["Id"]])
    ]
    return _page(results, most, begin)


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
        if query.get("Expression") is not None and query.get("MetricStat") is not None:
            raise validation(
                f"The parameters {path}.Expression and {path}.MetricStat are mutually exclusive and you have specified "
                "both."
            )
        if query.get("Expression") is None and query.get("MetricStat") is None:
            raise validation(f"The parameter {path}.MetricStat is required.\n")
        if query.get("AccountId") not in (None, context.account_id):
            raise not_offered("Reading another account's metrics (AccountId)")


# ── expressions ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _expressions(queries: Sequence[Members]) -> dict[str, Expression]:
    """By id. Raises AwsError for one that speaks of an id that there is not, or of itself."""
    found = {q["Id"]: compile_expression(q["Expression"]) for q in queries if q.get("Expression") is not None}
    known = {query["Id"] for query in queries}
    for name, expression in found.items():
        for other in sorted(expression.names - known):
            raise validation(f"Error in expression '{name}': the id {other} is not known.")
    return found


def _evaluated(expressions: Mapping[str, Expression], lines: Mapping[str, Line]) -> Mapping[str, Value]:
    """Every id's value. Raises AwsError."""
    values: dict[str, Value] = dict(lines)
    left = dict(expressions)
    while left:
        ready = [name for name, expression in left.items() if expression.names <= values.keys()]
        if not ready:
            raise validation(f"Error in expression '{min(left)}': it depends on itself.")
        for name in ready:
            values[name] = left.pop(name).evaluate(values, lines)
    return values


def _lines(name: str, value: Value) -> list[Line]:
    if isinstance(value, list):
        return value
    if not isinstance(value, Line):
        raise validation(f"Error in expression '{name}': it must give a time series, and gives one number.")
    return [value]


# ── metrics ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def _queried(store: MetricStore, context: RequestContext, query: Members, position: int, times: _Times) -> Line:
    stat = query["MetricStat"]
    path = f"MetricDataQueries.member.{position}.MetricStat"
    for name in ("Metric", "Period", "Stat"):
        if stat.get(name) is None:
            raise validation(f"The parameter {path}.{name} is required.\n")
    evaluate = SIMPLE.get(stat["Stat"]) or extended(stat["Stat"])
    if evaluate is None:
        raise validation(f"The value {stat['Stat']} for parameter {path}.Stat is not supported.")
    try:
        period_s = checked_period(stat["Period"], f"{path}.Period")
        window = window_of(times.start, times.end, period_s, times.now_s)
        with_values = stat["Stat"] not in SIMPLE
        found = await buckets(store, context, stat["Metric"], f"{path}.Metric.", window, with_values=with_values)
    except AwsError as error:
        if error.is_server_fault:
            raise
        raise validation(f"{error.message}\n") from error
    unit = stat.get("Unit") or next((unit for unit in UNITS if any(key[1] == unit for key in found)), None)
    points = {
        at_s: value
        for (at_s, of_unit), summary in found.items()
        if of_unit == unit and (value := evaluate(summary)) is not None
    }
    return Line(points, range(window.start_s, window.end_s, period_s), period_s, stat["Metric"]["MetricName"])


def _result(query: Members, line: Line, is_ascending: bool) -> Members:
    points = sorted(line.points.items(), reverse=not is_ascending)
    is_array = query.get("Expression") is not None and line.name
    label = query.get("Label") or (line.name if query.get("Expression") is None or is_array else query["Id"])
    return {
        "Id": query["Id"],
        "Label": label,
        "Timestamps": [time_of(at_s) for at_s, _ in points],
        "Values": [value for _, value in points],
    }


# ── pages ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _page(results: Sequence[Members], most: int, begin: int) -> Members:
    """The results' data points, counted through in order, from that number on."""
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

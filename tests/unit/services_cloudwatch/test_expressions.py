"""Metric math, as GetMetricData answers it."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudwatch_harness import CloudWatch
from lambent.model.errors import AwsError
from lambent.services.cloudwatch.expressions import Line, compile_expression

TIMES = range(0, 240, 60)
A = Line({0: 1.0, 60: 2.0, 180: 4.0}, TIMES, 60, "a")
B = Line({0: 10.0, 60: 0.0, 120: 30.0}, TIMES, 60, "b")


def value(text: str) -> Any:
    found = compile_expression(text).evaluate({"a": A, "b": B}, {"a": A, "b": B})
    if isinstance(found, list):
        return [line.points for line in found]
    return found.points if isinstance(found, Line) else found


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("1 + 2 * 3", 7), ("(1 + 2) * -3", -9), ("2 ^ 3 - 1e1", -2), ("1 < 2 && 3 >= 4 || 1 == 1", 1),
        ("a * 2", {0: 2, 60: 4, 180: 8}), ("100 * a / b", {0: 10}), ("a - b", {0: -9, 60: 2}),
        ("a > 1", {0: 0, 60: 1, 180: 1}),
        ("FILL(a, 0)", {0: 1, 60: 2, 120: 0, 180: 4}), ("FILL(a, REPEAT) + 0", {0: 1, 60: 2, 120: 2, 180: 4}),
        ("FILL(a, b)", {0: 1, 60: 2, 120: 30, 180: 4}),
        ("SUM(METRICS())", {0: 11, 60: 2, 120: 30, 180: 4}), ("MAX([a, b])", {0: 10, 60: 2, 120: 30, 180: 4}),
        ("AVG(METRICS('a'))", {0: 1, 60: 2, 180: 4}), ("a / SUM(a)", {0: 1 / 7, 60: 2 / 7, 180: 4 / 7}),
        ("METRICS() * 2", [{0: 2, 60: 4, 180: 8}, {0: 20, 60: 0, 120: 60}]), ("METRIC_COUNT(METRICS()) * a", {0: 2, 60: 4, 180: 8}),
        ("CEIL(a / 3)", {0: 1, 60: 1, 180: 2}), ("ABS(0 - a)", {0: 1, 60: 2, 180: 4}), ("FLOOR(2.5)", 2),
        ("RUNNING_SUM(a)", {0: 1, 60: 3, 180: 7}), ("DIFF(a)", {60: 1, 180: 2}), ("RATE(a)", {60: 1 / 60, 180: 2 / 120}),
        ("a / PERIOD(a)", {0: 1 / 60, 60: 2 / 60, 180: 4 / 60}), ("IF(a > 1, a, 0)", {0: 0, 60: 2, 180: 4}),
        ("IF(a > 1, b)", AwsError), ("a +", AwsError), ("a b", AwsError), ("(a", AwsError), ("", AwsError), ("a $ b", AwsError),
        ("METRICS() + METRICS()", AwsError), ("SELECT AVG(x) FROM y", AwsError), ("SEARCH('{x}', 'Sum')", AwsError),
        ("(" * 60 + "a" + ")" * 60, AwsError),
    ],
)  # fmt: skip
def test_expressions(text: str, result: Any) -> None:
    if result is AwsError:
        with pytest.raises(AwsError):
            value(text)
    elif isinstance(result, list):
        assert value(text) == result
    else:
        assert value(text) == pytest.approx(result)


@given(st.text(alphabet="ab 0123456789.+-*/^()[],<>=!&|\"'SUMFILMETRC_", max_size=60))
def test_whatever_is_written_is_answered(text: str) -> None:
    with contextlib.suppress(AwsError):
        expression = compile_expression(text)
        if expression.names <= {"a", "b"}:  # whoever compiles looks for other ids before
            expression.evaluate({"a": A, "b": B}, {"a": A, "b": B})


async def test_expressions_are_answered_beside_metrics(cloudwatch: CloudWatch) -> None:
    await cloudwatch.put(
        {"MetricName": "errors", "Value": 1.0}, {"MetricName": "calls", "Value": 4.0},
        {"MetricName": "calls", "Value": 5.0, "Timestamp": cloudwatch.ago(60)},
    )  # fmt: skip
    answer = await cloudwatch.data(
        {"Id": "percent", "Expression": "rate * 100", "Label": "errors, %"},
        {"Id": "rate", "Expression": "FILL(errors, 0) / calls", "ReturnData": False},
        cloudwatch.query(name="errors", metric="errors", ReturnData=False),
        cloudwatch.query(name="calls", metric="calls", ReturnData=False),
        {"Id": "all", "Expression": "METRICS()"},
    )
    found = [(r["Id"], r["Label"], r["Values"]) for r in answer["MetricDataResults"]]
    assert found == [("percent", "errors, %", [25, 0]), ("all", "errors", [1]), ("all", "calls", [4, 5])]


@pytest.mark.parametrize(
    ("expressions", "words"),
    [
        ({"a": "b"}, "the id b is not known"),
        ({"a": "b + 1", "b": "a + q"}, "it depends on itself"),
        ({"a": "SUM(q)"}, "it must give a time series"),
        ({"a": "q +"}, "unexpected"),
    ],
)
async def test_what_is_wrong_with_expressions_is_told(
    cloudwatch: CloudWatch, expressions: dict[str, str], words: str
) -> None:
    await cloudwatch.put({"Value": 1.0})
    queries = [{"Id": name, "Expression": text} for name, text in expressions.items()]
    with pytest.raises(AwsError, match=words) as caught:
        await cloudwatch.data(*queries, cloudwatch.query())
    assert caught.value.code == "ValidationError"

"""PutMetricData, GetMetricStatistics, GetMetricData, ListMetrics: what they do, and what they refuse in AWS's words."""

from __future__ import annotations

import math
from typing import Any

import pytest

from cloudwatch_harness import CloudWatch
from lambent.model.errors import AwsError

DAY_S = 86_400


async def test_values_come_back_as_every_statistic(cloudwatch: CloudWatch) -> None:
    await cloudwatch.put(
        {"Value": 3.0, "Unit": "Count"},
        {"Values": [1.0, 2.0], "Counts": [5.0, 1.0], "Unit": "Count"},
        {"StatisticValues": {"SampleCount": 1.0, "Sum": 9.0, "Minimum": 9.0, "Maximum": 9.0}, "Unit": "Count"},
    )
    (point,) = await cloudwatch.statistics(
        "Sum", "SampleCount", "Average", "Minimum", "Maximum", ExtendedStatistics=["p50", "p100"]
    )
    assert point.pop("Timestamp").timestamp() % 60 == 0
    assert point == {
        "Sum": 19, "SampleCount": 8, "Average": 19 / 8, "Minimum": 1, "Maximum": 9, "Unit": "Count",
        "ExtendedStatistics": {"p50": 1, "p100": 9},
    }  # fmt: skip


async def test_percentiles_of_aggregates_are_left_out(cloudwatch: CloudWatch) -> None:
    await cloudwatch.put({"StatisticValues": {"SampleCount": 2.0, "Sum": 4.0, "Minimum": 1.0, "Maximum": 3.0}})
    (point,) = await cloudwatch.statistics("Average", ExtendedStatistics=["p50"])
    assert point["Average"] == 2
    assert "ExtendedStatistics" not in point
    assert await cloudwatch.statistics(Statistics=None, ExtendedStatistics=["p50"]) == []


async def test_each_unit_is_a_point_of_its_own(cloudwatch: CloudWatch) -> None:
    await cloudwatch.put({"Value": 1.0, "Unit": "Seconds"}, {"Value": 1000.0, "Unit": "Milliseconds"})
    both = await cloudwatch.statistics("Sum")
    assert [(p["Unit"], p["Sum"]) for p in both] == [("Milliseconds", 1000), ("Seconds", 1)]
    assert [p["Sum"] for p in await cloudwatch.statistics("Sum", Unit="Seconds")] == [1]
    assert await cloudwatch.statistics("Sum", Unit="Bytes") == []
    (result,) = (await cloudwatch.data(cloudwatch.query()))["MetricDataResults"]
    assert result["Values"] == [1]  # of several units the first in AWS's order


async def test_periods_begin_at_the_rounded_start(cloudwatch: CloudWatch) -> None:
    for ago_s in (1, 61, 121, 181):
        await cloudwatch.put({"Value": 1.0, "Timestamp": cloudwatch.ago(ago_s)})
    points = await cloudwatch.statistics("Sum", period_s=120, since_s=300)
    assert [p["Sum"] for p in points] == [2, 2]
    first = int(cloudwatch.ago(300).timestamp()) // 60 * 60
    assert all((p["Timestamp"].timestamp() - first) % 120 == 0 for p in points)


async def test_seconds_are_only_told_of_metrics_that_have_them(cloudwatch: CloudWatch) -> None:
    now = cloudwatch.ago(-1)
    await cloudwatch.put(
        {"Value": 1.0, "StorageResolution": 1}, {"Value": 2.0, "StorageResolution": 1, "Timestamp": cloudwatch.ago(5)}
    )
    assert [p["Sum"] for p in await cloudwatch.statistics("Sum", period_s=1, since_s=20, EndTime=now)] == [2, 1]
    await cloudwatch.put({"MetricName": "coarse", "Value": 1.0})
    coarse: dict[str, Any] = {"MetricName": "coarse", "since_s": 120, "EndTime": now}
    assert await cloudwatch.statistics("Sum", period_s=10, **coarse) == []
    assert len(await cloudwatch.statistics("Sum", period_s=60, **coarse)) == 1


async def test_old_points_answer_only_for_periods_that_are_long_enough(cloudwatch: CloudWatch) -> None:
    await cloudwatch.put({"Value": 7.0})
    cloudwatch.clock.now_s += 20 * DAY_S
    await cloudwatch.store.sweep()
    times: dict[str, Any] = {"since_s": 20 * DAY_S + 3600, "EndTime": cloudwatch.ago(20 * DAY_S - 3600)}
    assert await cloudwatch.statistics("Sum", period_s=60, **times) == []
    assert [p["Sum"] for p in await cloudwatch.statistics("Sum", period_s=300, **times)] == [7]


@pytest.mark.parametrize(
    ("datum", "code", "words"),
    [
        ({"Value": math.nan}, "InvalidParameterValueException", "The value NaN for parameter MetricData.member.1.Value is invalid."),
        ({"Value": 2.0**361}, "InvalidParameterValueException", "for parameter MetricData.member.1.Value is invalid."),
        ({"Value": 1.0, "Values": [1.0]}, "InvalidParameterValueException",
         "The parameters MetricData.member.1.Value and MetricData.member.1.Values are mutually exclusive and you have specified both."),
        ({"Value": 1.0, "StatisticValues": {}}, "InvalidParameterCombinationException",
         "The parameters MetricData.member.1.Value and MetricData.member.1.StatisticValues are mutually exclusive and you have specified both."),
        ({"Values": [1.0, 2.0], "Counts": [1.0]}, "InvalidParameterValueException",
         "The parameters MetricData.member.1.Values and MetricData.member.1.Counts must be of the same size."),
        ({"Values": [1.0] * 151}, "InvalidParameterValueException", "must not have a size greater than 150."),
        ({"Values": [1.0], "Counts": [0.0]}, "InvalidParameterValueException", "must be greater than 0."),
        ({}, "MissingRequiredParameterException", "The parameter MetricData.member.1.Value is required."),
        ({"MetricName": None, "Value": 1.0}, "MissingRequiredParameterException", "The parameter MetricData.member.1.MetricName is required."),
        ({"Value": 1.0, "Unit": "Furlongs"}, "InvalidParameterValueException",
         "The parameter MetricData.member.1.Unit must be a value in the set [ Seconds, Microseconds, "),
        ({"Value": 1.0, "StorageResolution": 5}, "InvalidParameterValueException", "StorageResolution must be a value in the set [ 1, 60 ]."),
        ({"StatisticValues": {"SampleCount": 1.0, "Sum": 1.0, "Minimum": 2.0, "Maximum": 1.0}}, "InvalidParameterValueException",
         "The parameter MetricData.member.1.StatisticValues.Maximum must be greater than MetricData.member.1.StatisticValues.Minimum."),
        ({"StatisticValues": {"SampleCount": 1.0, "Sum": 1.0, "Minimum": 2.0}}, "MissingRequiredParameterException", "StatisticValues.Maximum is required."),
        ({"Value": 1.0, "Dimensions": [{"Name": f"d{n}", "Value": "v"} for n in range(31)]}, "InvalidParameterValueException",
         "The collection MetricData.member.1.Dimensions must not have a size greater than 30."),
        ({"Value": 1.0, "Dimensions": [{"Name": "d", "Value": ""}]}, "MissingRequiredParameterException",
         "The parameter MetricData.member.1.Dimensions.member.1.Value is required."),
        ({"Value": 1.0, "Dimensions": [{"Name": "d", "Value": "v" * 1025}]}, "InvalidParameterValueException", "must be shorter than 1025 characters."),
        ({"Value": 1.0, "Dimensions": [{"Name": "d", "Value": "v"}] * 2}, "InvalidParameterValueException", "of the same name"),
        ({"Value": 1.0, "MetricName": "m" * 256}, "InvalidParameterValueException", "must be shorter than 256 characters."),
    ],
)  # fmt: skip
async def test_what_is_refused_changes_nothing(
    cloudwatch: CloudWatch, datum: dict[str, Any], code: str, words: str
) -> None:
    good = {"MetricName": "good", "Value": 1.0}
    error = await cloudwatch.refused("PutMetricData", Namespace="App", MetricData=[{"MetricName": "m", **datum}, good])
    assert (error.code, error.status) == (code, 400)
    assert words in error.message
    assert (await cloudwatch("ListMetrics"))["Metrics"] == []


async def test_every_time_that_is_wrong_is_told(cloudwatch: CloudWatch) -> None:
    data = [
        {"MetricName": "m", "Value": 1.0, "Timestamp": cloudwatch.ago(15 * DAY_S)},
        {"MetricName": "m", "Value": 1.0, "Timestamp": cloudwatch.ago(-3 * 3600)},
        {"MetricName": "m", "Value": 1.0, "Timestamp": cloudwatch.ago(13 * DAY_S)},
    ]
    error = await cloudwatch.refused("PutMetricData", Namespace="App", MetricData=data)
    assert error.message == (
        "The parameter MetricData.member.1.Timestamp must specify a time within the past two weeks.\n"
        "The parameter MetricData.member.2.Timestamp must specify a time no more than two hours in the future."
    )


async def test_namespaces_and_collections_have_bounds(cloudwatch: CloudWatch) -> None:
    one = [{"MetricName": "m", "Value": 1.0}]
    told = [
        await cloudwatch.refused("PutMetricData", MetricData=one),
        await cloudwatch.refused("PutMetricData", Namespace="AWS/Mine", MetricData=one),
        await cloudwatch.refused("PutMetricData", Namespace=":x", MetricData=one),
        await cloudwatch.refused("PutMetricData", Namespace="App"),
        await cloudwatch.refused("PutMetricData", Namespace="App", MetricData=one * 1001),
    ]
    assert [error.message for error in told] == [
        "The parameter Namespace is required.",
        "The value AWS/ for parameter Namespace is invalid.",
        "The value :x for parameter Namespace is invalid.",
        "The parameter MetricData is required.",
        "The collection MetricData must not have a size greater than 1000.",
    ]
    await cloudwatch("PutMetricData", Namespace="App", MetricData=one * 1000)
    assert [p["Sum"] for p in await cloudwatch.statistics("Sum")] == [1000]


async def test_what_get_metric_statistics_refuses(cloudwatch: CloudWatch) -> None:
    good = {
        "Namespace": "App", "MetricName": "m", "StartTime": cloudwatch.ago(DAY_S), "EndTime": cloudwatch.ago(0),
        "Period": 60, "Statistics": ["Sum"],
    }  # fmt: skip

    async def refused(**changes: Any) -> tuple[str, str]:
        error = await cloudwatch.refused("GetMetricStatistics", **{**good, **changes})
        return error.code.removesuffix("Exception"), error.message

    assert await refused(MetricName=None) == ("MissingRequiredParameter", "The parameter MetricName is required.")
    order = "The parameter StartTime must be less than the parameter EndTime."
    assert await refused(EndTime=good["StartTime"]) == ("InvalidParameterValue", order)
    assert await refused(StartTime=cloudwatch.ago(-60)) == ("InvalidParameterValue", order)
    many = await refused(StartTime=cloudwatch.ago(60 * DAY_S))
    assert many[0] == "InvalidParameterCombination"
    assert "which exceeds the limit of 1440. You may reduce the datapoints requested by increasing Period" in many[1]
    assert (await refused(Statistics=[]))[1] == "Must specify either Statistics or ExtendedStatistics"
    assert (await refused(Period=61))[0] == (await refused(Statistics=["Median"]))[0] == "InvalidParameterValue"
    assert (await refused(ExtendedStatistics=["p101"]))[0] == "InvalidParameterValue"


async def test_what_get_metric_data_refuses(cloudwatch: CloudWatch) -> None:
    async def refused(*queries: dict[str, Any], **changes: Any) -> str:
        with pytest.raises(AwsError) as caught:
            await cloudwatch.data(*queries, **changes)
        return str(caught.value)

    query = cloudwatch.query()
    now = cloudwatch.ago(0)
    assert await refused(query, StartTime=now, EndTime=now) == (
        "ValidationError: The parameter StartTime must not equal parameter EndTime."
    )
    assert "The parameter EndTime must be greater than StartTime." in await refused(
        query, EndTime=cloudwatch.ago(DAY_S)
    )
    assert "The parameter MetricDataQueries.member.1.MetricStat is required.\n" in await refused({"Id": "a"})
    assert "are not unique" in await refused(query, query)
    assert "is not matching" in await refused({**query, "Id": "Q"})
    assert "is not supported" in await refused(cloudwatch.query("Median"))
    nameless = cloudwatch.query()
    del nameless["MetricStat"]["Metric"]["Namespace"]
    assert await refused(nameless) == (
        "ValidationError: The parameter MetricDataQueries.member.1.MetricStat.Metric.Namespace is required.\n"
    )
    assert "ValidationError" in await refused(cloudwatch.query(period_s=61))
    assert "InvalidNextToken" in await refused(query, NextToken="nonsense")


async def test_data_come_in_pages_newest_first(cloudwatch: CloudWatch) -> None:
    for minutes in range(5):
        at = cloudwatch.ago(60 * minutes)
        await cloudwatch.put(
            {"Value": float(minutes), "Timestamp": at}, {"MetricName": "n", "Value": 9.0, "Timestamp": at}
        )
    queries = (
        cloudwatch.query(name="a"), cloudwatch.query(name="b", metric="n", Label="nine"),
        cloudwatch.query(name="c", ReturnData=False), cloudwatch.query(name="d", metric="none"),
    )  # fmt: skip
    answer = await cloudwatch.data(*queries)
    assert [(r["Id"], r["Label"], r["Values"], r["StatusCode"]) for r in answer["MetricDataResults"]] == [
        ("a", "m", [0, 1, 2, 3, 4], "Complete"), ("b", "nine", [9] * 5, "Complete"), ("d", "none", [], "Complete"),
    ]  # fmt: skip
    pages, token = [], None
    while True:
        page = await cloudwatch.data(*queries, MaxDatapoints=4, NextToken=token)
        pages.append([(r["Id"], len(r["Values"]), r["StatusCode"]) for r in page["MetricDataResults"]])
        token = page.get("NextToken")
        if token is None:
            break
    assert pages == [
        [("a", 4, "PartialData")], [("a", 1, "Complete"), ("b", 3, "PartialData")], [("b", 2, "Complete"), ("d", 0, "Complete")],
    ]  # fmt: skip
    ascending = await cloudwatch.data(queries[0], ScanBy="TimestampAscending")
    assert ascending["MetricDataResults"][0]["Values"] == [4, 3, 2, 1, 0]


async def test_metrics_are_listed_by_name_dimension_and_age(cloudwatch: CloudWatch) -> None:
    await cloudwatch.put(
        {"Value": 1.0, "Dimensions": [{"Name": "b", "Value": "2"}, {"Name": "a", "Value": "1"}]},
        {"Value": 1.0, "Dimensions": [{"Name": "a", "Value": "other"}]},
        {"MetricName": "old", "Value": 1.0, "Timestamp": cloudwatch.ago(4 * 3600)},
    )

    async def listed(**members: Any) -> list[tuple[str, list[str]]]:
        found = (await cloudwatch("ListMetrics", **members))["Metrics"]
        return [(m["MetricName"], [f"{d['Name']}={d['Value']}" for d in m["Dimensions"]]) for m in found]

    assert await listed() == [("m", ["a=1", "b=2"]), ("m", ["a=other"]), ("old", [])]
    assert await listed(Dimensions=[{"Name": "a"}]) == [("m", ["a=1", "b=2"]), ("m", ["a=other"])]
    assert await listed(Dimensions=[{"Name": "a", "Value": "1"}, {"Name": "b"}]) == [("m", ["a=1", "b=2"])]
    assert await listed(RecentlyActive="PT3H") == [("m", ["a=1", "b=2"]), ("m", ["a=other"])]
    assert await listed(Namespace="Other") == []
    cloudwatch.clock.now_s += 15 * DAY_S
    assert await listed() == []


async def test_the_list_comes_in_pages_of_500(cloudwatch: CloudWatch) -> None:
    await cloudwatch.put(*({"MetricName": f"m{n:04d}", "Value": 1.0} for n in range(600)))
    first = await cloudwatch("ListMetrics")
    rest = await cloudwatch("ListMetrics", NextToken=first["NextToken"])
    names = [m["MetricName"] for m in [*first["Metrics"], *rest["Metrics"]]]
    assert (len(first["Metrics"]), names, rest.get("NextToken")) == (500, [f"m{n:04d}" for n in range(600)], None)
    assert (await cloudwatch.refused("ListMetrics", NextToken="x")).code == "InvalidNextToken"

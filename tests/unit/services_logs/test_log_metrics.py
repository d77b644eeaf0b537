"""Metrics out of log lines: filters, and the embedded format."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.model.metrics import Series
from lambent.services.logs import metrics as log_metrics
from lambent.services.logs.metrics import LogMetrics
from lambent.store.logs import LogStore
from queue_clock import HandClock

GROUP = ("1", "r", "g")
STREAM = (*GROUP, "s")


@attrs.define
class Lines:
    clock: HandClock
    store: LogStore
    metrics: LogMetrics
    told: list[tuple[str, float]]

    async def filter(self, pattern: str, value: str = "1", **more: Any) -> None:
        to = {"metricName": "m", "metricNamespace": "App", "metricValue": value, **more}
        document = {"filterPattern": pattern, "metricTransformations": [to], "creationTime": 0}
        await self.store.put_filter(GROUP, "metric", "f", document, 100)

    async def put(self, *messages: str, ago_s: float = 0.0) -> list[tuple[str, float]]:
        """What the lines have told: `name{dimensions} unit` and values."""
        self.told.clear()
        at_ms = int((self.clock.now() - ago_s) * 1000)
        await self.store.put(STREAM, [(at_ms, message) for message in messages])
        return list(self.told)


@pytest.fixture
async def lines(tmp_path: Path) -> AsyncIterator[Lines]:
    clock = HandClock()
    store = await LogStore.open(tmp_path / "logs.db", clock)
    await store.create_group(GROUP)
    await store.create_stream(STREAM)
    told: list[tuple[str, float]] = []

    def tell(series: Series, at_s: int, value: float, period_s: int) -> None:
        assert series[:2] == GROUP[:2]
        dimensions = ",".join("=".join(pair) for pair in series.dimensions)
        told.append((f"{series.namespace}/{series.name}{{{dimensions}}} {series.unit} {period_s}", value))

    metrics = LogMetrics(store, clock.now, tell)
    store.on_stored = metrics.stored
    yield Lines(clock, store, metrics, told)
    await store.close()


async def test_a_filter_counts_what_matches(lines: Lines) -> None:
    await lines.filter("ERROR")
    assert await lines.put("an ERROR", "fine", "ERROR again") == [("App/m{} None 60", 1), ("App/m{} None 60", 1)]
    await lines.store.delete_filter(GROUP, "metric", "f")
    assert await lines.put("ERROR") == []


async def test_values_and_dimensions_come_out_of_the_line(lines: Lines) -> None:
    await lines.filter("{ $.ms > 0 }", "$.ms", dimensions={"path": "$.request.path"}, unit="Milliseconds")
    line = {"ms": 12.5, "request": {"path": "/a"}}
    assert await lines.put(json.dumps(line)) == [("App/m{path=/a} Milliseconds 60", 12.5)]
    assert await lines.put(json.dumps({"ms": 3})) == []  # without its dimension
    await lines.filter("[ip, user, size]", "$size")
    assert await lines.put("127.0.0.1 ada 42", "127.0.0.1 ada many") == [("App/m{} None 60", 42)]


async def test_a_minute_with_lines_of_which_none_matches_has_the_default(lines: Lines) -> None:
    await lines.filter("ERROR", defaultValue=0.0)
    assert await lines.put("fine", "fine") == []
    lines.metrics.settle()
    assert lines.told == []  # the minute is not over
    lines.clock.now_s += 60
    lines.metrics.settle()
    assert lines.told == [("App/m{} None 60", 0.0)]
    assert await lines.put("ERROR") == [("App/m{} None 60", 1)]
    lines.told.clear()
    lines.clock.now_s += 120
    lines.metrics.settle()
    assert lines.told == []


async def test_filters_are_there_after_a_restart(lines: Lines, tmp_path: Path) -> None:
    await lines.filter("ERROR")
    await lines.store.close()
    again = await LogStore.open(tmp_path / "logs.db", lines.clock)
    assert set(again.metric_filters) == {GROUP}
    await again.delete_group(GROUP)
    assert again.metric_filters == {}
    await again.close()


def embedded(at_ms: float, **changes: Any) -> dict[str, Any]:
    directive = {
        "Namespace": "App", "Dimensions": [["service"], ["service", "stage"], []],
        "Metrics": [{"Name": "time", "Unit": "Milliseconds"}, {"Name": "n", "StorageResolution": 1}],
        **changes,
    }  # fmt: skip
    about = {"Timestamp": at_ms, "CloudWatchMetrics": [directive]}
    return {"_aws": about, "service": "s", "stage": "p", "time": [1, 2.5], "n": 7, "other": "x"}


async def test_the_embedded_format(lines: Lines) -> None:
    told = await lines.put(json.dumps(embedded(lines.clock.now() * 1000)))
    assert told == [
        (f"App/time{{{dimensions}}} Milliseconds 60" if name == "time" else f"App/n{{{dimensions}}} None 1", value)
        for dimensions in ("service=s", "service=s,stage=p", "")
        for name, value in (("time", 1.0), ("time", 2.5), ("n", 7.0))
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"Namespace": 5}, {"Namespace": "AWS/Lambda"}, {"Metrics": 3}, {"Metrics": [{"Name": "other"}]},
        {"Dimensions": [["missing"]]}, {"Dimensions": [["n"]]}, {"Metrics": [{"Name": ["time"]}]},
    ],
)  # fmt: skip
async def test_what_is_no_embedded_metric_is_only_a_line(lines: Lines, changes: dict[str, Any]) -> None:
    assert await lines.put(json.dumps(embedded(lines.clock.now() * 1000, **changes))) == []


async def test_old_times_are_not_taken(lines: Lines) -> None:
    assert await lines.put(json.dumps(embedded((lines.clock.now() - 15 * 86_400) * 1000))) == []
    assert await lines.put('{"_aws": ', '{"_aws": {}}', '{"_aws": 1}', "{}") == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(["Timestamp", "CloudWatchMetrics"]),
        json_values | st.lists(st.dictionaries(st.sampled_from(["Namespace", "Dimensions", "Metrics"]), json_values)),
    )
)
def test_no_line_breaks_the_store(about: dict[str, Any]) -> None:
    @attrs.define
    class Store:
        metric_filters: dict[Any, Any] = attrs.field(factory=dict)

    fake: Any = Store()
    metrics = LogMetrics(fake, lambda: 0.0, lambda *_: None)
    metrics.stored(STREAM, [(0, 1, json.dumps({"_aws": about}))])


async def test_a_group_makes_only_so_many_metrics(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_metrics, "METRICS_OF_GROUP_MAX", 3)
    now_ms = int(lines.clock.now() * 1000)

    def named(number: int) -> str:
        directive = {"Namespace": "shop", "Metrics": [{"Name": f"m{number}"}]}
        about = {"Timestamp": now_ms, "CloudWatchMetrics": [directive]}
        return json.dumps({"_aws": about, f"m{number}": number})

    told = await lines.put(*(named(number) for number in range(6)), *(named(number) for number in range(6)))
    assert [value for _, value in told] == [0, 1, 2, 0, 1, 2], "those that were there before go on"
    lines.clock.advance(log_metrics.FORGET_S + 1)
    now_ms = int(lines.clock.now() * 1000)
    lines.metrics.settle()
    told = await lines.put(*(named(number) for number in range(9, 3, -1)))
    assert [value for _, value in told] == [9, 8, 7], "after an hour without any it begins anew"


async def test_nothing_is_kept_of_a_group_that_has_been_silent(lines: Lines) -> None:
    await lines.filter("ERROR")
    await lines.put("ERROR")
    await lines.store.delete_filter(GROUP, "metric", "f")
    lines.clock.advance(log_metrics.FORGET_S + 1)
    lines.metrics.settle()
    assert [held for held in vars(lines.metrics).values() if isinstance(held, dict | set) and held] == []

"""Lambent's own figures: what functions do under every name that AWS has for it, and the page for Prometheus."""

from __future__ import annotations

from typing import Any

import attrs

from lambent.model.function import FunctionVersion
from lambent.model.metrics import Series, Summary
from lambent.model.names import FunctionAddress
from lambent.telemetry.exposition import exposition
from lambent.telemetry.metrics import Metrics

PLACE = ("1", "r")
BY_NAME = ("FunctionName", "f")


@attrs.frozen
class Version:
    account_id: str = "1"
    region: str = "r"
    name: str = "f"
    version: str = "$LATEST"


def ran(metrics: Metrics, *, version: str = "$LATEST", qualifier: str | None = None, **what: Any) -> None:
    fake: Any = Version(version=version)
    real: FunctionVersion = fake
    metrics.ran(real, qualifier, what.get("ms", 2.0), what.get("status", "success"), what.get("kind", "on-demand"))


def found(taken: dict[Series, Summary], name: str) -> dict[tuple[str, ...], tuple[float, float]]:
    """By the dimensions' values: count and sum."""
    return {
        tuple(value for _, value in series.dimensions): (summary.count, summary.total)
        for series, summary in taken.items()
        if series.name == name
    }


def test_an_invocation_counts_for_its_function_its_alias_and_everybody() -> None:
    metrics = Metrics()
    ran(metrics, ms=3.0)
    ran(metrics, version="7", qualifier="prod", ms=5.0, status="timeout")
    ran(metrics, version="7", qualifier="7", ms=1.0, status="error")
    ran(metrics, status="failure")  # the machine's: no invocation
    taken = metrics.take()
    assert found(taken, "Invocations") == {
        (): (3, 3), ("f",): (3, 3), ("f", "f"): (1, 1), ("f", "f:prod"): (1, 1), ("7", "f", "f:prod"): (1, 1),
        ("f", "f:7"): (1, 1),
    }  # fmt: skip
    assert found(taken, "Errors")["f",] == (3, 2)
    assert found(taken, "Throttles")["f",] == (3, 0)
    assert found(taken, "Duration")["f",] == (3, 9.0)
    assert metrics.take() == {}


def test_a_throttle_counts_where_nothing_ran() -> None:
    metrics = Metrics()
    metrics.of_function(FunctionAddress(*PLACE, "f", "prod"), "Throttles")
    ran(metrics)
    taken = metrics.take()
    assert found(taken, "Throttles") == {(): (2, 1), ("f",): (2, 1), ("f", "f:prod"): (1, 1), ("f", "f"): (1, 0)}
    assert ("f", "f:prod") not in found(taken, "Invocations")


def test_what_was_provisioned_and_what_spilled_over() -> None:
    metrics = Metrics(lambda version: 1 if version.qualifier == "7" else 0)
    ran(metrics, version="7", qualifier="prod", kind="provisioned-concurrency")
    ran(metrics, version="7", qualifier="prod")
    ran(metrics)
    taken = metrics.take()
    assert found(taken, "ProvisionedConcurrencyInvocations")["f", "f:prod"] == (1, 1)
    assert found(taken, "ProvisionedConcurrencySpilloverInvocations")["f", "f:prod"] == (1, 1)
    assert ("f", "f") not in found(taken, "ProvisionedConcurrencySpilloverInvocations")


def test_totals_go_on_while_figures_are_taken() -> None:
    metrics = Metrics()
    series = Series(*PLACE, "AWS/SQS", "NumberOfMessagesSent", (("QueueName", "q"),), "Count")
    metrics.observe(series, 1.0, 3)
    assert metrics.totals()[series] == (3, 3)
    metrics.take()
    metrics.observe(series, 1.0, 2)
    assert metrics.totals()[series] == (5, 5)


def test_totals_of_what_is_gone_stay_until_the_second_look() -> None:
    metrics = Metrics()
    here = Series(*PLACE, "AWS/SQS", "NumberOfMessagesSent", (("QueueName", "here"),), "Count")
    gone = Series(*PLACE, "AWS/SQS", "NumberOfMessagesSent", (("QueueName", "gone"),), "Count")
    there = {here.dimensions}
    for _ in range(2):  # the second time as what comes late: a message on its way to a queue that was deleted
        metrics.observe(here)
        metrics.observe(gone)
        metrics.take()
        metrics.forget(lambda subject: subject.dimensions in there)
        assert metrics.totals().keys() == {here, gone}  # whoever reads between two looks sees the last of it
        metrics.forget(lambda subject: subject.dimensions in there)
        assert metrics.totals().keys() == {here}
    assert metrics.totals()[here] == (2, 2)


def test_totals_of_what_comes_back_between_two_looks_go_on() -> None:
    metrics = Metrics()
    series = Series(*PLACE, "AWS/SQS", "NumberOfMessagesSent", (("QueueName", "q"),), "Count")
    metrics.observe(series)
    metrics.take()
    for is_there in (False, True, False):
        metrics.forget(lambda _, is_there=is_there: is_there)  # type: ignore[misc] # mypy does not infer the default's type
    assert metrics.totals() == {series: (1, 1)}


def test_the_page_for_prometheus() -> None:
    metrics = Metrics()
    ran(metrics, ms=2.5)
    level = Series(*PLACE, "AWS/SQS", "ApproximateNumberOfMessagesVisible", (("QueueName", 'q"\\\n'),), "Count")
    gone = Series(*PLACE, "AWS/SQS", "ApproximateNumberOfMessagesVisible", (("QueueName", "gone"),), "Count")
    metrics.gauge(gone, 9)
    metrics.gauge(level, 4)
    metrics.gauge(gone, None)
    metrics.take()
    here = 'account_id="1",region="r"'
    assert exposition(metrics.totals(), metrics.gauges()) == (
        "# TYPE lambent_lambda_duration_milliseconds summary\n"
        f'lambent_lambda_duration_milliseconds_sum{{{here},function_name="f"}} 2.5\n'
        f'lambent_lambda_duration_milliseconds_count{{{here},function_name="f"}} 1\n'
        "# TYPE lambent_lambda_errors_total counter\n"
        f'lambent_lambda_errors_total{{{here},function_name="f"}} 0\n'
        "# TYPE lambent_lambda_invocations_total counter\n"
        f'lambent_lambda_invocations_total{{{here},function_name="f"}} 1\n'
        "# TYPE lambent_lambda_throttles_total counter\n"
        f'lambent_lambda_throttles_total{{{here},function_name="f"}} 0\n'
        "# TYPE lambent_sqs_approximate_number_of_messages_visible gauge\n"
        f'lambent_sqs_approximate_number_of_messages_visible{{{here},queue_name="q\\"\\\\\\n"}} 4\n'
    )

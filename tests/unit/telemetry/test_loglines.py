"""Lambda's own log lines, compared with what real log streams show."""

from __future__ import annotations

import json

import pytest

from lambent.model import loglines
from lambent.model.function import LoggingConfig
from lambent.model.loglines import JSON, TEXT, InvocationReport, LineFormat, PlatformEvent, TraceContext, line

REQUEST_ID = "79b5e81f-9cdd-4145-b1f6-7c50ef8a2a36"
AT_MS = 1_795_246_123_456.7  # 2026-11-21T07:28:43.456Z
ARN = "arn:aws:lambda:eu-central-1::runtime:775dab0d220a0b97f3ec34fe1692d7a07b5d13049153b00f03204c9543bd69e4"


def report(**changes: object) -> InvocationReport:
    values: dict[str, object] = {
        "request_id": REQUEST_ID,
        "duration_ms": 2.456,
        "memory_mib": 128,
        "max_memory_used_mib": 35,
        **changes,
    }
    return InvocationReport(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "Duration: 2.46 ms\tBilled Duration: 3 ms\tMemory Size: 128 MB\tMax Memory Used: 35 MB\t"),
        (
            {"init_duration_ms": 413.61},
            "Duration: 2.46 ms\tBilled Duration: 417 ms\tMemory Size: 128 MB\tMax Memory Used: 35 MB"
            "\tInit Duration: 413.61 ms\t",
        ),
        (
            {"duration_ms": 3000.0, "status": "timeout"},
            "Duration: 3000.00 ms\tBilled Duration: 3000 ms\tMemory Size: 128 MB\tMax Memory Used: 35 MB"
            "\tStatus: timeout",
        ),
        (
            {"status": "error", "error_type": "Runtime.OutOfMemory", "max_memory_used_mib": 128},
            "Duration: 2.46 ms\tBilled Duration: 3 ms\tMemory Size: 128 MB\tMax Memory Used: 128 MB"
            "\tStatus: error\tError Type: Runtime.OutOfMemory",
        ),
        (
            {"restore_duration_ms": 218.5},
            "Duration: 2.46 ms\tBilled Duration: 3 ms\tMemory Size: 128 MB\tMax Memory Used: 35 MB"
            "\tRestore Duration: 218.50 ms\tBilled Restore Duration: 219 ms\t",
        ),
        (
            {"trace": TraceContext("Root=1-6ac7c67a-1c0aa43118a5d54708c0da61;Sampled=1", "2d54219895e821dd")},
            "Duration: 2.46 ms\tBilled Duration: 3 ms\tMemory Size: 128 MB\tMax Memory Used: 35 MB\t"
            "\nXRAY TraceId: 1-6ac7c67a-1c0aa43118a5d54708c0da61\tSegmentId: 2d54219895e821dd\tSampled: true\t",
        ),
    ],
)
def test_the_report_line_reads_as_at_aws(changes: dict[str, object], expected: str) -> None:
    assert line(loglines.reported(report(**changes)), AT_MS, TEXT) == f"REPORT RequestId: {REQUEST_ID}\t{expected}"


def test_the_text_format_has_start_end_and_no_more() -> None:
    assert (
        line(loglines.started(REQUEST_ID, "$LATEST"), AT_MS, TEXT) == f"START RequestId: {REQUEST_ID} Version: $LATEST"
    )
    assert line(loglines.runtime_done(report()), AT_MS, TEXT) == f"END RequestId: {REQUEST_ID}"
    assert line(loglines.init_runtime_done(), AT_MS, TEXT) is None
    assert line(loglines.init_reported(12.3), AT_MS, TEXT) is None


def test_a_failed_init_is_reported_in_text_with_its_phase() -> None:
    event = loglines.init_reported(150.789, "error", "Runtime.UserCodeSyntaxError")
    assert line(event, AT_MS, TEXT) == (
        "INIT_REPORT Init Duration: 150.79 ms\tPhase: init\tStatus: error\tError Type: Runtime.UserCodeSyntaxError"
    )
    late = loglines.init_reported(10_009.13, "timeout", phase="invoke")
    assert line(late, AT_MS, TEXT) == "INIT_REPORT Init Duration: 10009.13 ms\tPhase: invoke\tStatus: timeout"


def init_started(runtime_version: str | None = "nodejs:22.mainline.v122") -> PlatformEvent:
    return loglines.init_started(
        function_name="notifier",
        function_version="$LATEST",
        runtime_version=runtime_version,
        runtime_version_arn=ARN if runtime_version else None,
    )


def test_init_start_names_the_runtime_version_and_is_silent_for_images() -> None:
    assert line(init_started(), AT_MS, TEXT) == (
        f"INIT_START Runtime Version: nodejs:22.mainline.v122\tRuntime Version ARN: {ARN}"
    )
    assert line(init_started(None), AT_MS, TEXT) is None
    assert line(init_started(None), AT_MS, JSON) is None


def test_json_lines_have_the_members_and_the_order_of_aws() -> None:
    assert line(loglines.started(REQUEST_ID, "$LATEST"), AT_MS, JSON) == (
        '{"time":"2026-11-21T07:28:43.456Z","type":"platform.start",'
        f'"record":{{"requestId":"{REQUEST_ID}","version":"$LATEST"}}}}'
    )
    values = report(duration_ms=1233.96, init_duration_ms=463.512, memory_mib=256, max_memory_used_mib=123)
    assert line(loglines.reported(values), AT_MS, JSON) == (
        '{"time":"2026-11-21T07:28:43.456Z","type":"platform.report",'
        f'"record":{{"requestId":"{REQUEST_ID}",'
        '"metrics":{"durationMs":1233.96,"billedDurationMs":1698,"memorySizeMB":256,"maxMemoryUsedMB":123,'
        '"initDurationMs":463.512},"status":"success"}}'
    )


@pytest.mark.parametrize(
    ("event", "level"),
    [
        (init_started(), "INFO"),
        (init_started(None), "DEBUG"),
        (loglines.init_runtime_done(), "DEBUG"),
        (loglines.init_runtime_done("error", "Runtime.ExitError"), "WARN"),
        (loglines.init_reported(1.0), "DEBUG"),
        (loglines.init_reported(1.0, init_type="provisioned-concurrency"), "INFO"),
        (loglines.init_reported(1.0, "timeout"), "WARN"),
        (loglines.restore_runtime_done(), "DEBUG"),
        (loglines.restore_reported(1.0), "INFO"),
        (loglines.restore_reported(1.0, "error"), "WARN"),
        (loglines.started(REQUEST_ID, "7"), "INFO"),
        (loglines.runtime_done(report()), "DEBUG"),
        (loglines.runtime_done(report(status="failure")), "WARN"),
        (loglines.reported(report()), "INFO"),
        (loglines.reported(report(status="timeout")), "WARN"),
    ],
)
def test_json_lines_below_the_system_log_level_are_left_out(event: PlatformEvent, level: str) -> None:
    levels = ["DEBUG", "INFO", "WARN"]
    for threshold in levels:
        shown = line(event, AT_MS, LineFormat("JSON", threshold)) is not None
        assert shown == (levels.index(level) >= levels.index(threshold))


def test_the_system_log_level_means_nothing_in_text() -> None:
    fmt = LineFormat.of(LoggingConfig(log_format="Text", system_log_level="WARN"))
    assert line(loglines.started(REQUEST_ID, "1"), AT_MS, fmt) is not None


def test_a_timeout_has_a_line_of_its_own_in_text_only() -> None:
    assert loglines.timeout_line(REQUEST_ID, 3, TEXT, AT_MS) == (
        f"2026-11-21T07:28:43.456Z {REQUEST_ID} Task timed out after 3.00 seconds\n"
    )
    assert loglines.timeout_line(REQUEST_ID, 3, JSON, AT_MS) is None


def test_tracing_and_spans_travel_in_the_record() -> None:
    trace = TraceContext(
        "Root=1-62e900b2-710d76f009d6e7785905449a;Parent=0efbd19962d95b05;Sampled=1", "54565fb41ac79632"
    )
    values = report(trace=trace, produced_bytes=16, spans=[loglines.Span("responseLatency", AT_MS, 80.0)])
    record = json.loads(loglines.envelope(loglines.runtime_done(values), AT_MS))["record"]
    assert record["tracing"] == {"spanId": "54565fb41ac79632", "type": "X-Amzn-Trace-Id", "value": trace.header}
    assert record["spans"] == [{"name": "responseLatency", "start": "2026-11-21T07:28:43.456Z", "durationMs": 80.0}]
    assert record["metrics"] == {"durationMs": 2.456, "producedBytes": 16}


def test_streams_are_named_by_day_version_and_environment() -> None:
    environment_id = "22be53a8cfde4e68b844f8ec293b2543"
    assert loglines.log_stream_name(AT_MS, "$LATEST", environment_id) == f"2026/11/21/[$LATEST]{environment_id}"

"""The lines that Lambda itself writes into a function's log, word for word as AWS writes them.

Each thing that happens is a `PlatformEvent`. It has a text form (the Text log format), a record (the JSON log format and
the Telemetry API) and a level. `line` picks what a function's logging configuration asks for, or None for silence.

    event = started(request_id, version)
    text = line(event, at_ms, LineFormat.of(function.logging))

SCHEMA = https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html
LEVELS = https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html, event mapping
Text forms, their tabs included, are those that real log streams show.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal

import attrs
import msgspec

from lambent.model.function import LoggingConfig

Status = Literal["success", "error", "failure", "timeout"]
InitType = Literal["on-demand", "provisioned-concurrency", "snap-start"]
Phase = Literal["init", "invoke", "snap-start"]
Level = Literal["DEBUG", "INFO", "WARN"]

_RANKS: Final[Mapping[str, int]] = {"DEBUG": 0, "INFO": 1, "WARN": 2}
_encode = msgspec.json.Encoder().encode


@attrs.frozen
class LineFormat:
    """How a function wants its system log lines."""

    log_format: str = "Text"  # "Text" or "JSON"
    system_log_level: str = "INFO"  # only with JSON: events below it are not logged

    @classmethod
    def of(cls, config: LoggingConfig) -> LineFormat:
        return cls(config.log_format, config.system_log_level or "INFO")

    @property
    def is_json(self) -> bool:
        return self.log_format == "JSON"

    def wants(self, level: Level) -> bool:
        return not self.is_json or _RANKS[level] >= _RANKS.get(self.system_log_level, 1)


TEXT: Final = LineFormat()
JSON: Final = LineFormat("JSON")


@attrs.frozen
class TraceContext:
    """The trace an invocation belongs to."""

    header: str  # Root=1-…;Parent=…;Sampled=1
    segment_id: str  # 16 hex digits: the function's own segment
    sampled: bool = True

    @property
    def trace_id(self) -> str:
        """`1-6ac7c67a-1c0aa43118a5d54708c0da61`, or "" when the header has none."""
        fields = dict(part.partition("=")[::2] for part in self.header.split(";"))
        return fields.get("Root", "")

    def record(self) -> dict[str, Any]:
        return {"spanId": self.segment_id, "type": "X-Amzn-Trace-Id", "value": self.header}


@attrs.frozen
class Span:
    """A named stretch of time inside an event: responseLatency, responseDuration, runtimeOverhead, extensionOverhead."""

    name: str
    start_ms: float  # milliseconds since the epoch
    duration_ms: float

    def record(self) -> dict[str, Any]:
        return {"name": self.name, "start": timestamp(self.start_ms), "durationMs": _milliseconds(self.duration_ms)}


class InvocationReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one invocation took."""

    request_id: str
    duration_ms: float  # from the event's hand-over to the runtime being ready again; the timeout when it timed out
    memory_mib: int
    max_memory_used_mib: int
    init_duration_ms: float | None = None  # only of the first invocation after an init
    restore_duration_ms: float | None = None  # only of the first invocation after a restore from a snapshot
    status: Status = "success"
    error_type: str | None = None  # Runtime.OutOfMemory, Runtime.ExitError …
    trace: TraceContext | None = None  # set when tracing is active
    produced_bytes: int | None = None  # of the response
    spans: Sequence[Span] = ()  # of the runtimeDone event
    report_spans: Sequence[Span] = ()  # of the report event

    @property
    def billed_duration_ms(self) -> int:
        """Whole milliseconds, rounded up; the init is billed since August 2025
        (https://aws.amazon.com/blogs/compute/aws-lambda-standardizes-billing-for-init-phase/)."""
        return max(1, math.ceil(self.duration_ms + (self.init_duration_ms or 0.0)))

    @property
    def billed_restore_duration_ms(self) -> int | None:
        return None if self.restore_duration_ms is None else math.ceil(self.restore_duration_ms)


class PlatformEvent(msgspec.Struct, frozen=True):
    """Something that Lambda tells about a function."""

    type: str  # platform.start, platform.report …: the Telemetry API's name
    make_record: Callable[[], Mapping[str, Any]]  # made when somebody reads it: mostly only the text is
    level: Level
    text: str | None  # its line in the Text format; None: that format does not show it

    @property
    def record(self) -> Mapping[str, Any]:
        return self.make_record()


def line(event: PlatformEvent, at_ms: float, fmt: LineFormat) -> str | None:
    """The event as a log line without its final newline; None when the function's log does not show it.

    `at_ms` is milliseconds since the epoch.
    """
    if not fmt.is_json:
        return event.text
    return envelope(event, at_ms).decode() if fmt.wants(event.level) else None


def envelope(event: PlatformEvent, at_ms: float) -> bytes:
    """The event as the Telemetry API and the JSON log format print it."""
    return _encode({"time": timestamp(at_ms), "type": event.type, "record": event.record})


def timestamp(at_ms: float) -> str:
    """`2026-11-21T08:00:00.123Z`."""
    whole_s, rest_ms = divmod(int(at_ms), 1000)
    return f"{datetime.fromtimestamp(whole_s, UTC):%Y-%m-%dT%H:%M:%S}.{rest_ms:03d}Z"


def log_stream_name(at_ms: float, version: str, environment_id: str) -> str:
    """`2026/11/21/[$LATEST]<32 hex digits>`, one for each execution environment."""
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y/%m/%d}/[{version}]{environment_id}"


# ── the phases of an environment ──────────────────────────────────────────────────────────────────────────────────────


def init_started(
    *,
    function_name: str,
    function_version: str,
    runtime_version: str | None,
    runtime_version_arn: str | None,
    init_type: InitType = "on-demand",
    phase: Phase = "init",
    instance_id: str | None = None,
    instance_max_memory_bytes: int | None = None,
) -> PlatformEvent:
    """`runtime_version` is like `python:3.13.v50`, `provided:al2023.v97`; None for images."""

    def record() -> Mapping[str, Any]:
        return _some(
            initializationType=init_type,
            phase=phase,
            runtimeVersion=runtime_version,
            runtimeVersionArn=runtime_version_arn,
            functionName=function_name,
            functionVersion=function_version,
            instanceId=instance_id,
            instanceMaxMemory=instance_max_memory_bytes,
        )

    return PlatformEvent(
        "platform.initStart",
        record,
        "INFO" if runtime_version else "DEBUG",
        _starting("INIT_START", runtime_version, runtime_version_arn),
    )


def init_runtime_done(
    status: Status = "success",
    error_type: str | None = None,
    init_type: InitType = "on-demand",
    phase: Phase = "init",
    spans: Sequence[Span] = (),
) -> PlatformEvent:
    def record() -> Mapping[str, Any]:
        return _some(
            initializationType=init_type,
            phase=phase,
            status=status,
            errorType=error_type,
            spans=_spans(spans),
        )

    return PlatformEvent("platform.initRuntimeDone", record, _level(status, "DEBUG"), None)


def init_reported(
    duration_ms: float,
    status: Status = "success",
    error_type: str | None = None,
    init_type: InitType = "on-demand",
    phase: Phase = "init",
    spans: Sequence[Span] = (),
) -> PlatformEvent:
    """The Text format shows it when the init failed or was not on demand; else REPORT has its duration."""

    def record() -> Mapping[str, Any]:
        return _some(
            initializationType=init_type,
            phase=phase,
            status=status,
            errorType=error_type,
            metrics={"durationMs": _milliseconds(duration_ms)},
            spans=_spans(spans),
        )

    quiet = status == "success" and init_type == "on-demand"
    text = f"INIT_REPORT Init Duration: {duration_ms:.2f} ms\tPhase: {phase}{_outcome(status, error_type)}"
    level = _level(status, "DEBUG" if init_type == "on-demand" else "INFO")
    return PlatformEvent("platform.initReport", record, level, None if quiet else text)


def restore_started(
    *, function_name: str, function_version: str, runtime_version: str | None, runtime_version_arn: str | None
) -> PlatformEvent:
    """`runtime_version` as in `init_started`."""

    def record() -> Mapping[str, Any]:
        return _some(
            runtimeVersion=runtime_version,
            runtimeVersionArn=runtime_version_arn,
            functionName=function_name,
            functionVersion=function_version,
        )

    text = _starting("RESTORE_START", runtime_version, runtime_version_arn)
    return PlatformEvent("platform.restoreStart", record, "INFO" if runtime_version else "DEBUG", text)


def restore_runtime_done(status: Status = "success", error_type: str | None = None) -> PlatformEvent:
    def record() -> Mapping[str, Any]:
        return _some(status=status, errorType=error_type)

    return PlatformEvent("platform.restoreRuntimeDone", record, _level(status, "DEBUG"), None)


def restore_reported(duration_ms: float, status: Status = "success", error_type: str | None = None) -> PlatformEvent:
    def record() -> Mapping[str, Any]:
        return _some(status=status, errorType=error_type, metrics={"durationMs": _milliseconds(duration_ms)})

    text = f"RESTORE_REPORT Restore Duration: {duration_ms:.2f} ms{_outcome(status, error_type)}"
    return PlatformEvent("platform.restoreReport", record, _level(status, "INFO"), text)


# ── an invocation ─────────────────────────────────────────────────────────────────────────────────────────────────────


def started(
    request_id: str, version: str, trace: TraceContext | None = None, function_arn: str | None = None
) -> PlatformEvent:
    def record() -> Mapping[str, Any]:
        return _some(
            requestId=request_id,
            functionArn=function_arn,
            version=version,
            tracing=trace.record() if trace else None,
        )

    return PlatformEvent("platform.start", record, "INFO", start_text(request_id, version))


def start_text(request_id: str, version: str) -> str:
    return f"START RequestId: {request_id} Version: {version}"


def runtime_done(report: InvocationReport) -> PlatformEvent:
    """END in the Text format."""

    def record() -> Mapping[str, Any]:
        return _some(
            requestId=report.request_id,
            status=report.status,
            errorType=report.error_type,
            tracing=report.trace.record() if report.trace else None,
            spans=_spans(report.spans),
            metrics=_some(durationMs=_milliseconds(report.duration_ms), producedBytes=report.produced_bytes),
        )

    return PlatformEvent("platform.runtimeDone", record, _level(report.status, "DEBUG"), end_text(report))


def end_text(report: InvocationReport) -> str:
    return f"END RequestId: {report.request_id}"


def reported(report: InvocationReport) -> PlatformEvent:
    """REPORT."""

    def record() -> Mapping[str, Any]:
        return _some(
            requestId=report.request_id,
            metrics=_some(
                durationMs=_milliseconds(report.duration_ms),
                billedDurationMs=report.billed_duration_ms,
                memorySizeMB=report.memory_mib,
                maxMemoryUsedMB=report.max_memory_used_mib,
                initDurationMs=_optional_milliseconds(report.init_duration_ms),
                restoreDurationMs=_optional_milliseconds(report.restore_duration_ms),
                billedRestoreDurationMs=report.billed_restore_duration_ms,
            ),
            tracing=report.trace.record() if report.trace else None,
            spans=_spans(report.report_spans),
            status=report.status,
            errorType=report.error_type,
        )

    return PlatformEvent("platform.report", record, _level(report.status, "INFO"), report_text(report))


def report_text(report: InvocationReport) -> str:
    # Written out whole: it is made once for each invocation.
    text = (
        f"REPORT RequestId: {report.request_id}\tDuration: {report.duration_ms:.2f} ms\t"
        f"Billed Duration: {report.billed_duration_ms} ms\tMemory Size: {report.memory_mib} MB\t"
        f"Max Memory Used: {report.max_memory_used_mib} MB"
    )
    if report.init_duration_ms is not None:
        text += f"\tInit Duration: {report.init_duration_ms:.2f} ms"
    if report.restore_duration_ms is not None:
        text += f"\tRestore Duration: {report.restore_duration_ms:.2f} ms"
        text += f"\tBilled Restore Duration: {report.billed_restore_duration_ms} ms"
    # A successful report ends with a tab, one with a status does not; both as AWS has them.
    text += _outcome(report.status, report.error_type) or "\t"
    if report.trace is not None:
        text += f"\nXRAY TraceId: {report.trace.trace_id}\tSegmentId: {report.trace.segment_id}\t"
        text += "Sampled: true\t" if report.trace.sampled else ""
    return text


# ── extensions and subscriptions, which the Extensions and Telemetry APIs tell of ────────────────────────────────────────


def observed(event_type: str, record: Mapping[str, Any]) -> PlatformEvent:
    """`platform.extension`, `platform.telemetrySubscription`, `platform.logsSubscription`, `platform.logsDropped`."""
    if event_type == "platform.extension":
        events = ", ".join(record.get("events", ()))
        text = f"EXTENSION\tName: {record.get('name')}\tState: {record.get('state')}\tEvents: [{events}]"
        if "errorType" in record:
            text += f"\tError Type: {record['errorType']}"
    elif event_type in ("platform.telemetrySubscription", "platform.logsSubscription"):
        word = "TELEMETRY" if event_type == "platform.telemetrySubscription" else "LOGS"
        types = ", ".join(record.get("types", ()))
        text = f"{word}\tName: {record.get('name')}\tState: {record.get('state')}\tTypes: [{types}]"
    else:
        return PlatformEvent(event_type, lambda: record, "WARN", None)
    return PlatformEvent(event_type, lambda: record, "INFO", text)


def timeout_line(request_id: str, timeout_s: float, fmt: LineFormat, at_ms: float) -> str | None:
    """The log line before END. None in JSON format: there the status of runtimeDone and report says it."""
    return None if fmt.is_json else f"{timestamp(at_ms)} {request_id} Task timed out after {timeout_s:.2f} seconds\n"


# ── small parts ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _some(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _spans(spans: Sequence[Span]) -> list[dict[str, Any]] | None:
    return [span.record() for span in spans] or None


def _optional_milliseconds(value: float | None) -> float | None:
    return None if value is None else _milliseconds(value)


def _milliseconds(value: float) -> float:
    """AWS prints microseconds' precision in JSON."""
    return round(value, 3)


def _level(status: Status, success: Level) -> Level:
    return success if status == "success" else "WARN"


def _outcome(status: Status, error_type: str | None) -> str:
    if status == "success":
        return ""
    # Text knows "error" and "timeout" only.
    word = "timeout" if status == "timeout" else "error"
    return f"\tStatus: {word}" + (f"\tError Type: {error_type}" if error_type else "")


def _starting(word: str, runtime_version: str | None, runtime_version_arn: str | None) -> str | None:
    # Images have no runtime version, and their logs no such line.
    if runtime_version is None:
        return None
    return f"{word} Runtime Version: {runtime_version}\tRuntime Version ARN: {runtime_version_arn}"

"""What one environment writes: its log stream, and the telemetry that its extensions subscribed to."""

from __future__ import annotations

import asyncio
import collections
import functools
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVarTuple

from lambent.invoke.applog import ApplicationLog
from lambent.invoke.logpump import LogPump, LogShare, Origin
from lambent.model import loglines
from lambent.model.function import FunctionVersion
from lambent.model.limits import LOG_TAIL_BYTES
from lambent.ports import Cage, Clock, LogSink
from lambent.runtimeapi.api import EnvironmentApi
from lambent.runtimeapi.logframes import FrameDecoder, LineDecoder, LogRecord

Ts = TypeVarTuple("Ts")
SHOW_START_S: Final = 0.05  # a START line waits no longer for company


class HeldStarts:
    """START lines of all environments that wait for company. One timer serves them, at most so many times a second."""

    def __init__(self) -> None:
        self._logs: list[EnvironmentLog] = []

    def add(self, log: EnvironmentLog) -> None:
        """Has it shown soon."""
        if not self._logs:
            asyncio.get_running_loop().call_later(SHOW_START_S, self._show)
        self._logs.append(log)

    def _show(self) -> None:
        logs, self._logs = self._logs, []
        for log in logs:
            log.show()


class EnvironmentLog:
    """Platform events, and the function's and its extensions' own lines."""

    def __init__(
        self,
        version: FunctionVersion,
        sink: LogSink,
        clock: Clock,
        environment_id: str,
        share: LogShare,
        held_starts: HeldStarts,
    ) -> None:
        self.format = loglines.LineFormat.of(version.logging)
        self._is_json = self.format.is_json
        self._version = version
        self._sink = sink
        self._clock = clock
        self._share = share
        self._own = ApplicationLog(version.logging)
        self.stream = loglines.log_stream_name(self.now_ms(), version.version, environment_id)
        self._place = version.account_id, version.region, version.log_group, self.stream
        self._tail: collections.deque[str] | None = None
        self._held: list[tuple[int, str]] = []  # a START line that waits for company
        self._held_starts = held_starts
        self._is_to_be_shown = False
        self._pump: LogPump | None = None

    def now_ms(self) -> int:
        return int(self._clock.now() * 1000)

    def begin_tail(self) -> None:
        """From now on the last 4 KB are kept for `take_tail`."""
        self._tail = collections.deque()

    def take_tail(self) -> bytes | None:
        """What was kept since `begin_tail`; None when nobody had asked."""
        if self._tail is not None and self._pump is not None:
            self._pump.catch_up()
        tail, self._tail = self._tail, None
        return None if tail is None else _last_bytes(tail)

    def publish(self, events: Sequence[loglines.PlatformEvent], api: EnvironmentApi | None) -> None:
        """Platform events, to the log and to those that subscribed to them."""
        now_ms = self.now_ms()
        lines = [loglines.line(event, now_ms, self.format) for event in events]
        self._tell([(now_ms, text) for text in lines if text is not None])
        if api is not None and api.wants_telemetry:
            self._in_turn(_publish, events, api)

    def started(self, request_id: str, api: EnvironmentApi | None) -> None:
        """START."""
        if self._is_json or (api is not None and api.wants_telemetry):
            self.publish([loglines.started(request_id, self._version.version)], api)
        else:  # the text alone, which is what nearly every invocation needs
            text = loglines.start_text(request_id, self._version.version)
            line = (int(self._clock.now() * 1000), f"{text}\n")
            self._in_turn(self._hold, line)

    def _hold(self, line: tuple[int, str]) -> None:
        self._held.append(line)
        if not self._is_to_be_shown:  # else another invocation's was held a moment ago
            self._is_to_be_shown = True
            self._held_starts.add(self)

    def show(self) -> None:
        """Hands on the START line that is held, if the invocation has said nothing else yet."""
        self._is_to_be_shown = False
        if self._held:
            self._append([])

    def reported(self, report: loglines.InvocationReport, api: EnvironmentApi | None) -> None:
        """END and REPORT."""
        if self._is_json or (api is not None and api.wants_telemetry):
            self.publish([loglines.runtime_done(report), loglines.reported(report)], api)
        else:
            now_ms = int(self._clock.now() * 1000)
            lines = [(now_ms, f"{loglines.end_text(report)}\n"), (now_ms, f"{loglines.report_text(report)}\n")]
            self._in_turn(self._append_lines, lines)

    def on_platform_event(self, event_type: str, record: dict[str, Any]) -> None:
        """What only the API sees: extensions and subscriptions. Implements EnvironmentObserver."""
        now_ms = self.now_ms()
        text = loglines.line(loglines.observed(event_type, record), now_ms, self.format)
        if text is not None:
            self._tell([(now_ms, text)])

    def say(self, text: str) -> None:
        """A line of the platform's that is no event."""
        self._tell([(self.now_ms(), text)])

    def pump_to(self, cage: Cage, api: EnvironmentApi, has_extensions: bool) -> LogPump:
        """Carries what the cage's processes print into this log. Implements session.PumpTo."""

        def emit(origin: Origin, records: Sequence[LogRecord]) -> None:
            now_ms = self.now_ms()
            if not self.format.is_json and not api.wants_telemetry:
                self._append([(record.timestamp_ms or now_ms, record.text) for record in records])
                return
            read = [(record.timestamp_ms or now_ms, record, self._own.document(record)) for record in records]
            self._append([(at_ms, r.text) for at_ms, r, document in read if self._own.wants(r, document)])
            if api.wants_telemetry:
                for at_ms, record, document in read:
                    api.publish_log(origin, at_ms / 1000, record.text if document is None else document)

        version, sink = self._version, self._sink
        sources: dict[int, tuple[Origin, LineDecoder | FrameDecoder]] = {
            cage.output_fd: ("function", LineDecoder()),
            cage.log_fd: ("function", FrameDecoder()),
        }
        if has_extensions:
            sources[cage.extension_output_fd] = ("extension", LineDecoder())
        place = version.account_id, version.region, version.log_group
        self._pump = LogPump(sources, emit, lambda: sink.drained(*place), self._share)
        return self._pump

    def _tell(self, events: list[tuple[int, str]]) -> None:
        self._in_turn(self._append, events)

    def _in_turn(self, say: Callable[[*Ts], None], *what: *Ts) -> None:
        """After what the function has printed, when the pump is behind with that."""
        if self._pump is not None and self._pump.is_behind:
            self._pump.then(functools.partial(say, *what))
        else:
            say(*what)

    def _append(self, events: list[tuple[int, str]]) -> None:
        if not self._is_json:  # AWS's text events end with their newline, its JSON ones do not
            events = [(at_ms, text if text[-1:] == "\n" else text + "\n") for at_ms, text in events]
        self._append_lines(events)

    def _append_lines(self, events: list[tuple[int, str]]) -> None:
        """Events that end as they should."""
        if self._held:
            events, self._held = self._held + events, []
        self._sink.append(*self._place, events)
        if self._tail is not None:
            self._tail.extend(text for _, text in events)
            _trim(self._tail)


def _publish(events: Sequence[loglines.PlatformEvent], api: EnvironmentApi) -> None:
    for event in events:
        api.publish_platform(event.type, dict(event.record))


def _trim(tail: collections.deque[str]) -> None:
    size = sum(len(text) for text in tail)
    while len(tail) > 1 and size - len(tail[0]) > LOG_TAIL_BYTES:
        size -= len(tail.popleft())


def _last_bytes(tail: collections.deque[str]) -> bytes:
    text = "".join(line if line.endswith("\n") else line + "\n" for line in tail)
    return text.encode()[-LOG_TAIL_BYTES:]

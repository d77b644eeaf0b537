"""Metrics out of log lines: metric filters, and lines in CloudWatch's embedded metric format.

FILTERS = https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/MonitoringPolicyExamples.html
FORMAT = https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import attrs
import msgspec

from lambent.model.errors import AwsError
from lambent.model.metrics import Dimensions, Series
from lambent.services.cloudwatch.putting import (
    DIMENSION_VALUE_MAX_CHARACTERS,
    DIMENSIONS_MAX,
    FUTURE_MAX_S,
    NAME_MAX_CHARACTERS,
    PAST_MAX_S,
    RESERVED,
    UNITS,
    VALUE_MAX,
)
from lambent.services.logs.pattern import Match, compile_pattern
from lambent.services.logs.pattern.extracting import extract, select
from lambent.store.logs import GroupKey, LogStore, StreamKey
from lambent.store.logs.chunks import Event

log = logging.getLogger(__name__)

Tell = Callable[[Series, int, float, int], None]
"""`tell(series, at_s, value, period_s)`: takes one value of a metric, by the time that it belongs to."""

MINUTE_S: Final = 60
# Ours. AWS takes any number, and bills for each; here they would fill the disk, and a function's lines are not to be trusted.
METRICS_OF_GROUP_MAX: Final = 10_000
FORGET_S: Final = 3_600.0  # after so long without any, a group begins anew: most belong to functions that are long gone
VALUES_MAX: Final = 100  # FORMAT: of a metric in one line, metrics in a directive
_DIRECTIVE: Final = '"_aws"'


@attrs.define
class _Filter:
    """A metric filter, compiled, with what it has to say of the minute under way when nothing matches in it."""

    document: Mapping[str, Any]
    match: Match
    minute: int = 0  # in which lines came last
    has_matched: bool = True  # in that minute

    @property
    def transformation(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.document["metricTransformations"][0]
        return found


@attrs.define
class _Made:
    """What a group's lines have made, until they make nothing for a while."""

    digests: set[int] = attrs.field(factory=set)  # of metrics
    is_full: bool = False
    last_s: float = 0.0


class LogMetrics:
    def __init__(self, store: LogStore, now_s: Callable[[], float], tell: Tell) -> None:
        self._store = store
        self._now_s = now_s
        self._tell = tell
        self._compiled: dict[tuple[GroupKey, str], _Filter] = {}
        self._made: dict[GroupKey, _Made] = {}

    def stored(self, key: StreamKey, events: Sequence[Event]) -> None:
        """Lines of one stream are on disk. Bad lines and filters say nothing."""
        group = key[:3]
        for message in [
            message for _, _, message in events if message[:1] == "{"
        ]:  # few are: this is to cost nothing else
            if _DIRECTIVE in message:
                self._embedded(group, message)
        for name, document in self._store.metric_filters.get(group, {}).items():
            found = self._filter(group, name, document)
            for timestamp_ms, _, message in events:
                self._filtered(group, found, timestamp_ms // 1000, message)

    def settle(self) -> None:
        """Tells the default values of minutes that are over and had lines, and none that matched. Forgets what rests."""
        now_s = self._now_s()
        for group in [group for group, made in self._made.items() if made.last_s < now_s - FORGET_S]:
            del self._made[group]
        minute = int(now_s) // MINUTE_S
        for (group, name), found in list(self._compiled.items()):
            if name not in self._store.metric_filters.get(group, {}):
                del self._compiled[group, name]
            elif found.minute < minute:
                self._tell_default(group, found)

    # ── filters ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _filter(self, group: GroupKey, name: str, document: Mapping[str, Any]) -> _Filter:
        found = self._compiled.get((group, name))
        if found is None or found.document is not document:
            found = self._compiled[group, name] = _Filter(document, _compiled(group, document["filterPattern"]))
        return found

    def _filtered(self, group: GroupKey, found: _Filter, at_s: int, message: str) -> None:
        minute = at_s // MINUTE_S
        if minute != found.minute:
            self._tell_default(group, found)
            found.minute, found.has_matched = minute, False
        if not found.match(message):
            return
        found.has_matched = True
        values = _Values(found.document["filterPattern"], message)
        value = values.number(found.transformation["metricValue"])
        dimensions = values.dimensions(found.transformation.get("dimensions") or {})
        if value is not None and dimensions is not None:
            self._report(group, found, at_s, value, dimensions)

    def _tell_default(self, group: GroupKey, found: _Filter) -> None:
        default = found.transformation.get("defaultValue")
        if not found.has_matched and default is not None:
            self._report(group, found, found.minute * MINUTE_S, default, ())
        found.has_matched = True

    def _report(self, group: GroupKey, found: _Filter, at_s: int, value: float, dimensions: Dimensions) -> None:
        to = found.transformation
        series = Series(*group[:2], to["metricNamespace"], to["metricName"], dimensions, to.get("unit") or "None")
        self._tell_in_time(group, series, at_s, value, MINUTE_S)

    # ── embedded ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _embedded(self, group: GroupKey, message: str) -> None:
        try:
            line = msgspec.json.decode(message)
            about = line["_aws"]
            at_s = int(about["Timestamp"]) // 1000
            for directive in about["CloudWatchMetrics"]:
                for series, value, period_s in _of_directive(group, line, directive):
                    self._tell_in_time(group, series, at_s, value, period_s)
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
            return  # it is no such line, whatever it looks like: AWS drops those too

    def _tell_in_time(self, group: GroupKey, series: Series, at_s: int, value: float, period_s: int) -> None:
        now_s = self._now_s()
        in_time = now_s - PAST_MAX_S <= at_s <= now_s + FUTURE_MAX_S
        if in_time and not series.namespace.startswith(RESERVED) and self._has_room(group, series, now_s):
            self._tell(series, at_s, value, period_s)

    def _has_room(self, group: GroupKey, series: Series, now_s: float) -> bool:
        made = self._made.get(group)
        if made is None:
            made = self._made[group] = _Made()
        made.last_s, digest = now_s, hash(series)
        if digest not in made.digests and len(made.digests) >= METRICS_OF_GROUP_MAX:
            if not made.is_full:
                made.is_full = True
                log.error(
                    "lines of %s have made %d metrics, and make no others until they have made none at all for an hour; use fewer names and dimensions",
                    group[2], METRICS_OF_GROUP_MAX,
                )  # fmt: skip
            return False
        made.digests.add(digest)
        return True


class _Values:
    """What a line that matched has for a transformation's selectors."""

    def __init__(self, pattern: str, message: str) -> None:
        self._pattern = pattern.strip()
        self._message = message

    def text(self, selector: str) -> str | None:
        try:
            if self._pattern.startswith("{"):
                return select(self._message, selector)
            return extract(self._pattern, self._message).get(selector)
        except (AwsError, msgspec.DecodeError, RecursionError):
            return None

    def number(self, value: str) -> float | None:
        """A number itself, or what a selector finds; None for what is no number."""
        text = self.text(value) if value.startswith("$") else value
        try:
            number = float(text) if text is not None else math.nan
        except ValueError:
            return None
        return number if abs(number) <= VALUE_MAX else None

    def dimensions(self, selectors: Mapping[str, str]) -> Dimensions | None:
        """None when one of them finds nothing: AWS reports no value then."""
        found = {name: self.text(selector) for name, selector in selectors.items()}
        if not all(_is_text(value, DIMENSION_VALUE_MAX_CHARACTERS) for value in found.values()):
            return None
        return tuple(sorted((name, str(value)) for name, value in found.items()))


def _compiled(group: GroupKey, pattern: str) -> Match:
    try:
        return compile_pattern(pattern) if pattern.strip() else lambda message: True
    except AwsError as error:  # accepted by an older version
        log.error("a metric filter of %s is not understood and matches nothing; put it anew: %s", group[2], error)
        return lambda message: False


def _is_text(value: object, max_characters: int) -> bool:
    """What CloudWatch takes for names and dimensions."""
    return isinstance(value, str) and 0 < len(value) <= max_characters and value.isascii() and value.isprintable()


def _of_directive(
    group: GroupKey, line: Mapping[str, Any], directive: Mapping[str, Any]
) -> Iterator[tuple[Series, float, int]]:
    """Every value for every set of dimensions. Raises LookupError and so on for what is none."""
    namespace = directive["Namespace"]
    if not _is_text(namespace, NAME_MAX_CHARACTERS):
        return
    for names in directive.get("Dimensions") or [[]]:
        texts = [line[name] for name in names[: DIMENSIONS_MAX + 1]]
        dimensions = tuple(sorted(zip(names, texts, strict=False)))
        if len(names) > DIMENSIONS_MAX or not all(
            _is_text(name, NAME_MAX_CHARACTERS) and _is_text(text, DIMENSION_VALUE_MAX_CHARACTERS)
            for name, text in dimensions
        ):
            continue
        for metric in directive["Metrics"][:VALUES_MAX]:
            if _is_text(metric["Name"], NAME_MAX_CHARACTERS):
                unit = metric.get("Unit") if metric.get("Unit") in UNITS else "None"
                series = Series(*group[:2], namespace, metric["Name"], dimensions, unit)
                period_s = 1 if metric.get("StorageResolution") == 1 else MINUTE_S
                yield from ((series, value, period_s) for value in _numbers(line[metric["Name"]]))


def _numbers(given: object) -> Iterator[float]:
    for value in given[:VALUES_MAX] if isinstance(given, list) else [given]:
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= VALUE_MAX:
            yield float(value)

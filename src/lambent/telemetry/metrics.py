"""Lambent's own figures, added up until somebody takes them. Implements `ports.Telemetry`, on the event loop, without locks.

https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypeVar

from lambent.model.function import FunctionVersion
from lambent.model.metrics import Dimensions, Series, Subject, Summary
from lambent.model.names import FunctionAddress, is_version
from lambent.ports import Telemetry
from lambent.telemetry.exposition import is_told

K = TypeVar("K")

AllocatedTo = Callable[[FunctionAddress], int]
"""How much concurrency is provisioned for a version, which the address's qualifier is."""

LAMBDA: Final = "AWS/Lambda"
PROVISIONED: Final = "provisioned-concurrency"

_Totals = dict[tuple[str, str], tuple[float, float]]  # by name and unit: count and sum
_Called = tuple[str, str, str, str | None, str]  # account, region, function, qualifier, the version that ran or ""


class _Tally:
    """What a function's invocations by one qualifier come to."""

    __slots__ = ("durations", "errors", "invocations", "others", "provisioned")

    def __init__(self) -> None:
        self.invocations = 0
        self.errors = 0
        self.provisioned = 0
        self.durations = Summary()  # milliseconds
        self.others: dict[tuple[str, str], Summary] = {}  # by name and unit

    def figures(self, is_allocated: bool) -> Iterator[tuple[str, str, Summary]]:
        """Name, unit, values. Every invocation is told of as no error and no throttle too, so that averages are rates.

        `is_allocated`: its version has provisioned concurrency, so that what ran elsewhere has spilled over.
        """
        ran, failed = self.invocations, self.errors
        if ran:
            yield "Invocations", "Count", Summary.of(1.0, ran)
            yield "Errors", "Count", _of_some(failed, ran)
            yield "Duration", "Milliseconds", self.durations
            if self.provisioned:
                yield "ProvisionedConcurrencyInvocations", "Count", Summary.of(1.0, self.provisioned)
            if is_allocated and ran > self.provisioned:
                yield "ProvisionedConcurrencySpilloverInvocations", "Count", Summary.of(1.0, ran - self.provisioned)
        throttles = self.others.pop(("Throttles", "Count"), None)
        if ran or throttles is not None:
            throttled = throttles.count if throttles is not None else 0.0
            yield "Throttles", "Count", _of_some(throttled, ran + throttled)
        for (name, unit), summary in self.others.items():
            yield name, unit, summary


class Metrics(Telemetry):
    def __init__(self, allocated_to: AllocatedTo = lambda version: 0) -> None:
        self._allocated_to = allocated_to
        self._called: dict[_Called, _Tally] = {}
        self._series: dict[Series, Summary] = {}
        self._totals: dict[Subject, _Totals] = {}  # since the server's start
        self._gone: set[Subject] = set()  # those that were not there any more at the last look
        self._gauges: dict[Series, float] = {}
        self._standing: set[tuple[str, str]] = set()  # namespaces and names of metrics that are gauges

    # ports.Telemetry

    def ran(self, version: FunctionVersion, qualifier: str | None, duration_ms: float, status: str, kind: str) -> None:
        if status == "failure":
            return
        key = (version.account_id, version.region, version.name, qualifier, version.version)
        tally = self._called.get(key)
        if tally is None:
            tally = self._called[key] = _Tally()
        tally.invocations += 1
        tally.durations.add(duration_ms)
        if status != "success":
            tally.errors += 1
        if kind == PROVISIONED:
            tally.provisioned += 1

    def of_function(self, function: FunctionAddress, name: str, value: float = 1.0, *, unit: str = "Count") -> None:
        key = (*function.key, function.qualifier, "")
        tally = self._called.get(key)
        if tally is None:
            tally = self._called[key] = _Tally()
        _add(tally.others, (name, unit), value, 1.0)

    def observe(self, series: Series, value: float = 1.0, times: float = 1.0) -> None:
        _add(self._series, series, value, times)

    # for who reads

    def gauge(self, series: Series, value: float | None) -> None:
        """A figure as it is now; None when there is nothing any more that it could be of."""
        if value is None:
            self._gauges.pop(series, None)
            return
        self._standing.add((series.namespace, series.name))
        self._gauges[series] = value
        self.observe(series, value)

    def take(self) -> dict[Series, Summary]:
        """What was told since the last time."""
        self._add_up()
        for series, summary in self._counted():
            account_id, region, namespace, name, dimensions, unit = series
            totals = self._totals.setdefault(Subject(account_id, region, namespace, dimensions), {})
            count, total = totals.get((name, unit), (0.0, 0.0))
            totals[name, unit] = (count + summary.count, total + summary.total)
        taken, self._series = self._series, {}
        return taken

    def totals(self) -> Mapping[Series, tuple[float, float]]:
        """Count and sum since the start of each series that the page for Prometheus has, but for those of `gauges`."""
        self._add_up()
        found = {
            Series(subject.account_id, subject.region, subject.namespace, name, subject.dimensions, unit): numbers
            for subject, totals in self._totals.items()
            for (name, unit), numbers in totals.items()
        }
        for series, summary in self._counted():
            count, total = found.get(series, (0.0, 0.0))
            found[series] = (count + summary.count, total + summary.total)
        return found

    def forget(self, is_there: Callable[[Subject], bool]) -> None:
        """Drops the totals of what was gone at the last call already: between two of them they can be read to the end."""
        gone = {subject for subject in self._totals if not is_there(subject)}
        for subject in gone & self._gone:
            del self._totals[subject]
        self._gone = gone - self._gone

    def _counted(self) -> Iterator[tuple[Series, Summary]]:
        """What is not in the totals yet and belongs there."""
        for series, summary in self._series.items():
            if is_told(series) and (series.namespace, series.name) not in self._standing:
                yield series, summary

    def gauges(self) -> Mapping[Series, float]:
        return self._gauges

    def _add_up(self) -> None:
        called, self._called = self._called, {}
        for (account_id, region, function, qualifier, version), tally in called.items():
            kinds = list(_dimensions(function, qualifier, version))
            is_allocated = bool(self._allocated_to(FunctionAddress(account_id, region, function, version)))
            for name, unit, summary in tally.figures(is_allocated):
                for dimensions in kinds:
                    series = Series(account_id, region, LAMBDA, name, dimensions, unit)
                    self._series.setdefault(series, Summary()).merge(summary)


def _dimensions(function: str, qualifier: str | None, version: str) -> Iterator[Dimensions]:
    """Across all functions, by function, by resource, and for aliases by version too."""
    by_name = ("FunctionName", function)
    resource = ("Resource", f"{function}:{qualifier}" if qualifier else function)
    yield ()
    yield (by_name,)
    yield (by_name, resource)
    if version and qualifier and not is_version(qualifier) and not qualifier.startswith("$"):
        yield (("ExecutedVersion", version), by_name, resource)


def _of_some(some: float, of: float) -> Summary:
    """As many ones as `some`, and zeros for the rest."""
    summary = Summary()
    if some:
        summary.add(1.0, some)
    if of > some:
        summary.add(0.0, of - some)
    return summary


def _add(summaries: dict[K, Summary], key: K, value: float, times: float) -> None:
    summary = summaries.get(key)
    if summary is None:
        summary = summaries[key] = Summary()
    summary.add(value, times)

"""Figures as pages: docs/benchmarks.md, and the table of figures in docs/promises.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

BEGIN: Final = "<!-- figures: `make bench` writes what is between these lines -->"
END: Final = "<!-- end of figures -->"


@attrs.frozen(kw_only=True)
class Goal:
    """One promised figure, and where the file of the bench puts what it measured."""

    promise: str
    part: str
    figure: str  # within the part; "p99_ms.median" goes one deeper
    limit: float
    unit: str = ""
    at_least: bool = False  # else at most
    part_of_code: str  # what measures it
    file: str = "road.py"

    @property
    def wanted(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}{self.unit}"

    def measured(self, figures: Mapping[str, Any]) -> float | None:
        """None when it was left out."""
        found: Any = figures.get(self.part)
        for name in self.figure.split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
        return float(found) if isinstance(found, int | float) else None

    def is_kept(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit

    def told(self, figures: Mapping[str, Any]) -> str:
        value = self.measured(figures)
        if value is None:
            return "not measured"
        return f"{value:g}{self.unit}" + ("" if self.is_kept(value) else " **(missed)**")


GOALS: Final = (
    Goal(promise="Cold start of a Python hello over HTTP at level `root`, against `python3 -S -E -c pass`",
         part="cold", figure="ratio", limit=1.0, unit=" ×", part_of_code="cold"),
    Goal(promise="Restoring an environment with SnapStart, against the init that it saves: boto3 and a client",
         part="snapstart", figure="ratio", limit=0.025, unit=" ×", part_of_code="measure", file="snapstart.py"),
    Goal(promise="Warm invocations a second, 8 connections, a Python echo, against nginx answering 200",
         part="warm", figure="ratio", limit=0.15, unit=" ×", at_least=True, part_of_code="warm"),
    Goal(promise="The same, 99th percentile",
         part="warm", figure="p99_ms.median", limit=10, unit=" ms", part_of_code="warm"),
    Goal(promise="Memory of its own that an idle Python environment keeps",
         part="density", figure="own_mib_each", limit=5, unit=" MiB", part_of_code="density"),
    Goal(promise="Environments alive at once",
         part="density", figure="environments", limit=300, at_least=True, part_of_code="density"),
    Goal(promise="`lambent up` until its health check answers",
         part="start", figure="healthy_after_s", limit=1, unit=" s", part_of_code="Server"),
    Goal(promise="Memory of the idle server, all its processes",
         part="start", figure="idle_mib", limit=120, unit=" MiB", part_of_code="Server"),
    Goal(promise="Processor time of the server for `GetFunction`",
         part="control", figure="get_ms", limit=2, unit=" ms", part_of_code="_first", file="control_plane.py"),
    Goal(promise="The same for `CreateFunction` with a package of 1 KB",
         part="control", figure="create_ms", limit=15, unit=" ms", part_of_code="_first", file="control_plane.py"),
    Goal(promise="The same for a page of `ListFunctions` of 10,000 functions, against one of 10",
         part="control", figure="list_ratio", limit=2, unit=" ×", part_of_code="_listed", file="control_plane.py"),
    Goal(promise="Memory for 10,000 functions, each looked at",
         part="control", figure="many_mib", limit=200, unit=" MiB", part_of_code="_listed", file="control_plane.py"),
    Goal(promise="What 10,000 functions add to the time of a start",
         part="control", figure="many_start_s", limit=0.5, unit=" s", part_of_code="_start_s", file="control_plane.py"),
    Goal(promise="Asynchronous events accepted a second, each on disk when it is answered, from 16 connections",
         part="asynchronous", figure="accepted_per_s", limit=5_000, at_least=True, part_of_code="over_http",
         file="asynchronous.py"),
    Goal(promise="The same, against the bare store in groups",
         part="asynchronous", figure="ratio", limit=0.5, unit=" ×", at_least=True, part_of_code="into_the_store",
         file="asynchronous.py"),
    Goal(promise="Messages a second from a full queue through a function that does nothing, in tens",
         part="polling", figure="queue_messages_per_s", limit=3_000, at_least=True,
         part_of_code="queue_messages_per_s", file="polling.py"),
    Goal(promise="Records a second from a full stream of two shards through the same, in hundreds",
         part="polling", figure="stream_records_per_s", limit=5_000, at_least=True,
         part_of_code="stream_records_per_s", file="polling.py"),
    Goal(promise="From sending a message to an idle queue until its handler has it, median",
         part="polling", figure="send_to_handler_p50_ms", limit=20, unit=" ms", part_of_code="ways_ms", file="polling.py"),
    Goal(promise="Part of a core that 200 idle mappings take",
         part="polling", figure="idle_core_share", limit=0.05, part_of_code="idle_core_share", file="polling.py"),
    Goal(promise="Records that a Kinesis stream takes a second, in `PutRecords` of 500 from 4 connections",
         part="streams", figure="put_per_s", limit=3_800, at_least=True, part_of_code="put", file="streams.py"),
    Goal(promise="The same into an empty stream, against one ten times as deep",
         part="streams", figure="depth_ratio", limit=1.5, unit=" ×", part_of_code="measure", file="streams.py"),
)  # fmt: skip


def goals_table(figures: Mapping[str, Any]) -> str:
    """What docs/promises.md has between its two marks."""
    lines = ["| promise | figure | measured | by |", "|---|---|---|---|"]
    lines += [
        f"| {goal.promise} | {goal.wanted} | {goal.told(figures)} | [`{goal.part_of_code}`](../bench/{goal.file}) |"
        for goal in GOALS
    ]
    return "\n".join(lines) + "\n"


def with_figures(page: str, figures: Mapping[str, Any]) -> str:
    """`page` with a new table between the marks. Raises ValueError when it has no such place."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no place for figures: {BEGIN} … {END}")
    return f"{head}{BEGIN}\n\n{goals_table(figures)}\n{END}{tail}"


def benchmarks_page(figures: Mapping[str, Any]) -> str:
    """docs/benchmarks.md."""
    about = figures["about"]
    parts = [
        "# Benchmarks",
        f"Measured on {about['date']} by `make bench`, which writes this page and [benchmarks.json](benchmarks.json)"
        + (" (a quick run: rough figures)." if about["quick"] else ".")
        + " Absolute figures are this machine's; the ratios, each taken within one run, are what is promised.",
        _table("machine and versions", {name: about[name] for name in about if name not in ("date", "quick")}),
        "## Against the goals\n\n" + goals_table(figures),
    ]
    for title, part in (
        ("Starting the server", "start"),
        ("Cold starts", "cold"),
        ("SnapStart", "snapstart"),
        ("Warm invocations", "warm"),
        ("Many environments at once", "density"),
        ("The control plane", "control"),
        ("Asynchronous events", "asynchronous"),
        ("Event source mappings", "polling"),
        ("Kinesis streams", "streams"),
    ):
        parts.append(f"## {title}\n\n{_figures(figures.get(part, 'not measured'))}")
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _figures(part: Any) -> str:
    if not isinstance(part, Mapping):
        return f"{part}\n"
    spreads = {name: value for name, value in part.items() if isinstance(value, Mapping)}
    singles = {name: value for name, value in part.items() if name not in spreads}
    text = ""
    if spreads:
        columns = list(next(iter(spreads.values())))
        text += f"| figure | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}\n"
        for name, values in spreads.items():
            text += f"| `{name}` | {' | '.join(f'{values[column]:,}' for column in columns)} |\n"
        text += "\n" if singles else ""
    return text + (_table("figure", singles) if singles else "")


def _table(title: str, values: Mapping[str, Any]) -> str:
    lines = [f"| {title} | |", "|---|---|", *(f"| `{name}` | {value} |" for name, value in values.items())]
    return "\n".join(lines) + "\n"

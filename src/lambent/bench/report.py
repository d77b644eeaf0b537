"""Figures as pages: docs/benchmarks.md, and the tables in docs/promises.md and README.md between two marks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from lambent.bench.goals import GOALS, Goal
from lambent.bench.plots import peers_of
from lambent.bench.suite import PARTS

BEGIN: Final = "<!-- figures: `make bench` writes what is between these lines -->"
END: Final = "<!-- end of figures -->"
MODULES: Final = "../src/lambent/bench"
# What, its place among the figures, unit, and yardsticks with theirs.
README_ROWS: Final[tuple[tuple[str, str, str, Mapping[str, str]], ...]] = (
    ("cold start, Python, over HTTP, caged", "cold.python_hit_ms.median", "ms",
     {"`python3 -S -E -c pass`": "cold.python_c_pass_ms.median"}),
    ("cold start, Node.js", "cold.nodejs_hit_ms.median", "ms", {"`node -e 0`": "cold.node_e_0_ms.median"}),
    ("cold start, Java", "cold.java_hit_ms.median", "ms", {"`java -version`": "cold.java_version_ms.median"}),
    ("restored by SnapStart: boto3 and a client", "snapstart.restore_ms.median", "ms",
     {"their init": "snapstart.init_ms.median"}),
    ("init of a function that imports 100 modules, not its first", "imports.later_ms.median", "ms",
     {"its first": "imports.first_ms.median"}),
    ("warm invocations, 8 connections", "warm.invokes_per_s.median", "a second",
     {"nginx answering 200": "warm.nginx_per_s.median"}),
    ("200 requests at once, no environment yet, until all are answered", "burst.hello_first_s", "s", {}),
    ("memory of its own that an idle environment keeps", "density.own_mb_each", "MB", {}),
    ("messages from a queue through a function", "polling.queue_messages_per_s", "a second", {}),
    ("`lambent up` until it is ready", "start.healthy_after_s.median", "s", {}),
)  # fmt: skip


def goals_table(figures: Mapping[str, Any]) -> str:
    """What docs/promises.md has between its two marks."""
    lines = ["| promise | figure | measured | by |", "|---|---|---|---|"]
    lines += [
        f"| {goal.promise} | {goal.wanted} | {goal.told(figures)} | [`{goal.by}`]({MODULES}/{goal.file}) |"
        for goal in GOALS
    ]
    missed = [_missed(goal, factor) for goal in GOALS if (factor := goal.missed_by(figures)) is not None]
    if missed:
        lines += ["", "Missed, by how much, and what holds it back where that is known:", "", *missed]
    return "\n".join(lines) + "\n"


def _missed(goal: Goal, factor: float) -> str:
    because = f": {goal.holds_back}" if goal.holds_back else ""
    return f"- {goal.promise}: by a factor of {_number(factor)}{because}"


def with_figures(page: str, table: str) -> str:
    """`page` with a new table between the marks. Raises ValueError when it has no such place."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no place for figures: {BEGIN} … {END}")
    return f"{head}{BEGIN}\n\n{table}\n{END}{tail}"


def readme_table(figures: Mapping[str, Any]) -> str:
    """A few figures for README.md, with what they stand beside."""
    lines = ["| median | Lambent | beside it |", "|---|---|---|"]
    for what, own, unit, yardsticks in README_ROWS:
        value = _at(figures, own)
        if value is not None:
            lines.append(
                f"| {what} | {_number(value)} {unit} | {', '.join(_yardsticks(figures, yardsticks, unit)) or '–'} |"
            )
    return "\n".join([*lines, *_peer_rows(figures)]) + "\n"


def _yardsticks(figures: Mapping[str, Any], places: Mapping[str, str], unit: str) -> Iterable[str]:
    for name, place in places.items():
        value = _at(figures, place)
        if value is not None:
            yield f"{name}: {_number(value)} {unit}"


def _peer_rows(figures: Mapping[str, Any]) -> Iterable[str]:
    """Peers beside Lambent as it was measured with them."""
    part = figures.get("peers")
    if not isinstance(part, Mapping):
        return
    ours = {row["language"]: row for row in part["servers"] if row["server"] == "Lambent"}
    for language, own in ours.items():
        others = [row for row in peers_of(figures) if row["language"] == language]
        if others:
            beside = ", ".join(f"{row['server']}: {_number(row['cold_ms']['median'])} ms" for row in others)
            yield f"| the same cold echo by peers, {language} | {_number(own['cold_ms']['median'])} ms | {beside} |"
        warm = [
            (row["server"], row["warm"]["8"]["per_s"]) for row in others if isinstance(row["warm"].get("8"), Mapping)
        ]
        if warm and isinstance(own["warm"].get("8"), Mapping):
            beside = ", ".join(f"{name}: {_number(per_s)}" for name, per_s in warm)
            yield f"| warm by peers, {language}, 8 connections, a second | {_number(own['warm']['8']['per_s'])} | {beside} |"


def _at(figures: Mapping[str, Any], place: str) -> float | None:
    found: Any = figures
    for name in place.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return float(found) if isinstance(found, int | float) else None


def _number(value: float) -> str:
    """Three digits that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def benchmarks_page(figures: Mapping[str, Any], pictures: Mapping[str, str] | None = None) -> str:
    """docs/benchmarks.md. `pictures`: title → where it is, from the page."""
    about = figures["about"]
    parts = [
        "# Benchmarks",
        f"Measured on {about['date']} by `lambent bench`"
        + (" (a quick run: rough figures)." if about["quick"] else ".")
        + " Absolute figures are this machine's; the ratios, each taken within one run, are what is promised.",
        *(f"![{title}]({place})" for title, place in (pictures or {}).items()),
        _table("machine and versions", {name: about[name] for name in about if name not in ("date", "quick")}),
        "## Against the goals\n\n" + goals_table(figures),
    ]
    for name, part in PARTS.items():
        measured = figures.get(name, "not measured in this run")
        told = _peers(measured) if name == "peers" and isinstance(measured, Mapping) else _figures(measured)
        parts.append(f"## {part.title}\n\n{told}")
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _figures(part: Any) -> str:
    """A table of spreads, one of single values, and one for each list of rows."""
    if not isinstance(part, Mapping):
        return f"{part}\n"
    spreads = {name: value for name, value in part.items() if isinstance(value, Mapping) and "median" in value}
    groups = {name: value for name, value in part.items() if isinstance(value, Mapping) and name not in spreads}
    lists = {name: value for name, value in part.items() if isinstance(value, list)}
    singles = {name: value for name, value in part.items() if name not in {*spreads, *groups, *lists}}
    singles |= {f"{name}.{inner}": value for name, group in groups.items() for inner, value in group.items()}
    rows = [
        {"figure": f"`{name}`"} | {column: f"{figure:,}" for column, figure in value.items()}
        for name, value in spreads.items()
    ]
    tables = [_rows(rows), _table("figure", singles)]
    return "\n".join(table for table in (*tables, *(_rows(rows) for rows in lists.values())) if table)


def _peers(part: Mapping[str, Any]) -> str:
    rows = []
    for row in part["servers"]:
        told = {"server": row["server"], "version": row["version"], "language": row["language"]}
        told["cold start, ms"] = row["cold_ms"]["median"]
        for connections, warm in row["warm"].items():
            is_there = isinstance(warm, Mapping)
            told[f"{connections} conn., 1/s"] = f"{warm['per_s']:,}" if is_there else "–"
            told[f"{connections} conn., p99 ms"] = warm["p99_ms"] if is_there else "–"
        rows.append(told)
    reasons = [f"- {name}: {reason}" for name, reason in part["not_measured"].items()]
    reasons += [
        f"- {row['server']}, {row['language']}, {connections} connections: {warm}"
        for row in part["servers"]
        for connections, warm in row["warm"].items()
        if isinstance(warm, str)
    ]
    ratios = {name: value for name, value in part.items() if isinstance(value, float)}
    text = _rows(rows) + ("\nNot measured, and why:\n\n" + "\n".join(reasons) + "\n" if reasons else "")
    return text + ("\nHow often Lambent is faster:\n\n" + _table("figure", ratios) if ratios else "")


def _rows(rows: list[dict[str, Any]]) -> str:
    """Columns are all that any row has, in the order of their first appearance; long lists (samples) are left to the JSON."""
    if not rows or len(rows) > 20:
        return ""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    lines += [f"| {' | '.join(str(row.get(column, '–')) for column in columns)} |" for row in rows]
    return "\n".join(lines) + "\n"


def _table(title: str, values: Mapping[str, Any]) -> str:
    if not values:
        return ""
    lines = [f"| {title} | |", "|---|---|", *(f"| `{name}` | {value} |" for name, value in values.items())]
    return "\n".join(lines) + "\n"

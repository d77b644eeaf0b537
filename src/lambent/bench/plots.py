"""Figures as SVG: bars beside one another on a logarithmic scale, and lines over time. Plain text in, plain text out.

A page of code instead of a plotting library, which would bring numpy and fonts for three pictures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final
from xml.sax.saxutils import escape

import attrs

WIDTH: Final = 720
LABEL_WIDTH: Final = 250
VALUE_WIDTH: Final = 90
ROW_HEIGHT: Final = 24
TOP: Final = 44
LINES_HEIGHT: Final = 240
OURS: Final = "#d2622a"
OTHERS: Final = "#8a95a5"
YARDSTICK: Final = "#c4ccd6"
# Readable on light pages and on dark ones.
STYLE: Final = (
    "text{font-family:sans-serif;font-size:13px;fill:#1f2933}.t{font-weight:600;font-size:15px}.n{fill:#52606d;font-size:12px}"
    "@media(prefers-color-scheme:dark){text{fill:#e4e7eb}.n{fill:#a3aebb}}"
)


@attrs.frozen(kw_only=True)
class Bar:
    label: str
    value: float
    colour: str = OTHERS


def bars(title: str, unit: str, rows: Sequence[Bar]) -> str:
    """Horizontal bars with a logarithmic axis, which begins a power of ten below the least value."""
    values = [row.value for row in rows if row.value > 0]
    low = math.floor(math.log10(min(values))) if values else 0
    span = max(math.log10(max(values)) - low, 0.1) if values else 1.0
    room = WIDTH - LABEL_WIDTH - VALUE_WIDTH
    parts = [_text(12, 22, f"{title} ({unit}, logarithmic)", "t")]
    for number, row in enumerate(rows):
        y = TOP + number * ROW_HEIGHT
        length = max(2.0, (math.log10(row.value) - low) / span * room) if row.value > 0 else 2.0
        parts.append(_text(LABEL_WIDTH - 8, y + 15, row.label, anchor="end"))
        parts.append(
            f'<rect x="{LABEL_WIDTH}" y="{y + 3}" width="{length:.1f}" height="{ROW_HEIGHT - 8}" fill="{row.colour}"/>'
        )
        parts.append(_text(LABEL_WIDTH + length + 6, y + 15, f"{row.value:,.4g}", "n"))
    return _svg(TOP + len(rows) * ROW_HEIGHT + 10, parts)


def line(title: str, x_unit: str, y_unit: str, points: Sequence[tuple[float, float]]) -> str:
    """One line from zero upwards, so that growth shows in proportion."""
    most_x = max((x for x, _ in points), default=1.0) or 1.0
    most_y = (max((y for _, y in points), default=1.0) or 1.0) * 1.1
    left, bottom, room = 60, TOP + LINES_HEIGHT, WIDTH - 80
    places = [(left + x / most_x * room, bottom - y / most_y * LINES_HEIGHT) for x, y in points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return _svg(
        bottom + 34,
        [
            _text(12, 22, title, "t"),
            f'<path d="M{left},{TOP}V{bottom}H{left + room}" fill="none" stroke="{OTHERS}"/>',
            f'<polyline points="{path}" fill="none" stroke="{OURS}" stroke-width="2"/>',
            _text(left - 6, TOP + 10, f"{most_y:,.4g}", "n", "end"),
            _text(left - 6, bottom, f"0 {y_unit}", "n", "end"),
            _text(left + room, bottom + 18, f"{most_x:,.4g} {x_unit}", "n", "end"),
        ],
    )


def _text(x: float, y: float, content: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(content)}</text>'


def _svg(height: int, parts: Sequence[str]) -> str:
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">\n'
        f"<style>{STYLE}</style>\n{body}\n</svg>\n"
    )


def plots(figures: Mapping[str, Any]) -> dict[str, str]:
    """The pictures that these figures allow, by file name."""
    found = {
        "cold.svg": _plot("Cold start, asked to answered", "ms", _cold(figures)),
        "warm.svg": _plot("Warm invocations a second, 8 connections", "1/s", _warm(figures)),
        "soak.svg": _soak(figures.get("soak")),
    }
    return {name: picture for name, picture in found.items() if picture}


def _plot(title: str, unit: str, rows: Sequence[Bar]) -> str:
    return bars(title, unit, sorted(rows, key=lambda row: row.value)) if rows else ""


def _cold(figures: Mapping[str, Any]) -> list[Bar]:
    """Lambent's, the yardsticks' and the peers'."""
    part = figures.get("cold")
    own = {
        "python_hit_ms": ("Lambent, Python", OURS),
        "python_miss_ms": ("Lambent, Python, no cell waiting", OURS),
        "nodejs_hit_ms": ("Lambent, Node.js", OURS),
        "java_hit_ms": ("Lambent, Java", OURS),
        "provided_hit_ms": ("Lambent, bootstrap in bash", OURS),
        "python_c_pass_ms": ("python3 -S -E -c pass", YARDSTICK),
        "node_e_0_ms": ("node -e 0", YARDSTICK),
        "java_version_ms": ("java -version", YARDSTICK),
    }
    rows = [
        Bar(label=label, value=part[name]["median"], colour=colour)
        for name, (label, colour) in own.items()
        if isinstance(part, Mapping) and isinstance(part.get(name), Mapping)
    ]
    return rows + [Bar(label=_named(row), value=row["cold_ms"]["median"]) for row in peers_of(figures)]


def _warm(figures: Mapping[str, Any]) -> list[Bar]:
    part = figures.get("warm")
    own = {"invokes_per_s": ("Lambent, Python", OURS), "nginx_per_s": ("nginx answering 200, one worker", YARDSTICK)}
    rows = [
        Bar(label=label, value=part[name]["median"], colour=colour)
        for name, (label, colour) in own.items()
        if isinstance(part, Mapping) and isinstance(part.get(name), Mapping)
    ]
    for row in peers_of(figures):
        most = next((c for c in ("8", "1") if isinstance(row["warm"].get(c), Mapping)), None)
        if most:
            label = _named(row) + (" (1 connection)" if most == "1" else "")
            rows.append(Bar(label=label, value=row["warm"][most]["per_s"]))
    return rows


def _soak(part: Any) -> str:
    if not isinstance(part, Mapping):
        return ""
    points = [(sample["at_s"] / 60, sample["memory_mib"]) for sample in part["samples"]]
    return line("Memory of the server under a mixed load", "minutes", "MiB", points)


def peers_of(figures: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Rows of the comparison without Lambent's own."""
    part = figures.get("peers")
    return [row for row in part["servers"] if row["server"] != "Lambent"] if isinstance(part, Mapping) else []


def _named(row: Mapping[str, Any]) -> str:
    return f"{row['server']}, {row['language']}"

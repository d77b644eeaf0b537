"""Figures are written down as they were measured, and a missed goal is not hidden."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.__main__ import about, write
from bench.report import BEGIN, END, GOALS, benchmarks_page, goals_table, with_figures

DOCS = Path(__file__).parents[3] / "docs"


def figures() -> dict[str, Any]:
    spread = {"min": 1.0, "median": 12.5, "p95": 2000.0}
    return {
        "about": about(quick=True),
        "start": {"healthy_after_s": 0.4, "idle_mib": 150.0},
        "cold": {"cold_ms": spread, "ratio": 0.8},
        "warm": {"invokes_per_s": spread, "p99_ms": spread, "ratio": 0.15},
    }


def row(promise: str) -> str:
    return next(line for line in goals_table(figures()).splitlines() if promise in line)


@pytest.mark.parametrize(
    ("promise", "said"),
    [
        ("Cold start", "| ≤ 1 × | 0.8 × |"),
        ("Warm invocations", "| ≥ 0.15 × | 0.15 × |"),
        ("99th percentile", "| ≤ 10 ms | 12.5 ms **(missed)** |"),
        ("Memory of the idle server", "150 MiB **(missed)** |"),
        ("Environments alive", "| ≥ 300 | not measured |"),
    ],
)
def test_each_goal_is_told_with_what_was_measured(promise: str, said: str) -> None:
    assert said in row(promise)


def test_the_page_has_every_part_even_one_that_was_left_out() -> None:
    page = benchmarks_page({**figures(), "warm": "left out: it needs nginx"})
    assert "(a quick run: rough figures)" in page
    assert "| `cold_ms` | 1.0 | 12.5 | 2,000.0 |" in page
    assert "left out: it needs nginx" in page
    assert page.count("not measured") >= 2


def test_the_promises_page_has_a_place_for_figures_and_keeps_the_rest(tmp_path: Path) -> None:
    page = (DOCS / "promises.md").read_text(encoding="utf-8")
    (tmp_path / "promises.md").write_text(page, encoding="utf-8")
    write(figures(), tmp_path)
    written = (tmp_path / "promises.md").read_text(encoding="utf-8")
    assert goals_table(figures()) in written
    assert written.partition(BEGIN)[0] == page.partition(BEGIN)[0]
    assert written.partition(END)[2] == page.partition(END)[2]
    assert all(goal.promise in page for goal in GOALS)
    assert json.loads((tmp_path / "benchmarks.json").read_text(encoding="utf-8")) == figures()
    with pytest.raises(ValueError, match="no place for figures"):
        with_figures("# Promises", figures())

"""Files that a run leaves behind."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from lambent.bench.plots import plots
from lambent.bench.report import benchmarks_page, goals_table, readme_table, with_figures

TITLES: Final = {
    "cold.svg": "Cold starts of Lambent, of bare interpreters and of peers",
    "warm.svg": "Warm invocations a second of Lambent, of nginx and of peers",
    "soak.svg": "Memory of the server under a mixed load",
}


def write_json(figures: Mapping[str, Any], file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_plots(figures: Mapping[str, Any], directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, picture in plots(figures).items():
        (directory / name).write_text(picture, encoding="utf-8")


def write_page(figures: Mapping[str, Any], file: Path, pictures: Path | None) -> None:
    """The page, with the pictures of this directory in it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    shown = {TITLES[name]: os.path.relpath(pictures / name, file.parent) for name in plots(figures)} if pictures else {}
    file.write_text(benchmarks_page(figures, shown), encoding="utf-8")


def write_checkout(figures: Mapping[str, Any], root: Path) -> None:
    """docs/benchmarks.{json,md}, pictures in docs/benchmarks/, and the tables in docs/promises.md and README.md.

    Raises ValueError, before anything is written, when one of these pages has no place for its table.
    """
    docs = root / "docs"
    pages = {
        file: with_figures(file.read_text(encoding="utf-8"), table(figures))
        for file, table in ((docs / "promises.md", goals_table), (root / "README.md", readme_table))
    }
    write_json(figures, docs / "benchmarks.json")
    write_plots(figures, docs / "benchmarks")
    write_page(figures, docs / "benchmarks.md", docs / "benchmarks")
    for file, page in pages.items():
        file.write_text(page, encoding="utf-8")

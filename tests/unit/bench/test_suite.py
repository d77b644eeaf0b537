"""A run: which parts it has, and what becomes of one that fails."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lambent.bench import suite
from lambent.bench.errors import NotMeasured
from lambent.bench.server import Run, new_run
from lambent.bench.suite import PARTS, Part
from lambent.cli import main


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["bench", *arguments])


def fails(run: Run) -> dict[str, Any]:
    raise NotMeasured("the server ended")


def works(run: Run) -> dict[str, Any]:
    with run.fresh() as directory:
        return {"value": run.pick(10, 1), "others_may_read": bool(directory.stat().st_mode & 0o005)}


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        suite, "PARTS", {"cold": Part("Cold", fails), "warm": Part("Warm", works), "soak": PARTS["soak"]}
    )


@pytest.mark.usefixtures("parts")
def test_a_part_that_fails_leaves_a_sentence_and_the_others_go_on(tmp_path: Path) -> None:
    result = run("--quick", "--json", str(tmp_path / "a" / "figures.json"), "--markdown", str(tmp_path / "page.md"))
    assert result.exit_code == 1
    assert "cold: not measured: the server ended" in result.stderr
    figures = json.loads((tmp_path / "a" / "figures.json").read_text(encoding="utf-8"))
    assert figures["cold"] == "not measured: the server ended"
    assert figures["warm"] == {"value": 1, "others_may_read": True}
    assert figures["soak"] == "not measured: it takes long: --soak MINUTES asks for it"
    assert (tmp_path / "page.md").read_text(encoding="utf-8").startswith("# Benchmarks")


@pytest.mark.usefixtures("parts")
def test_what_may_be_missing_is_no_failure() -> None:
    result = run("--only", "warm,soak")
    assert result.exit_code == 0, result.stderr
    assert "| `value` | 10 |" in result.stdout
    assert "--soak MINUTES asks for it" in result.stdout


def test_a_run_leaves_no_directory_behind() -> None:
    with new_run(print, quick=True) as made:
        assert made.directory.is_dir()
    assert not made.directory.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--only", "cold,wram"], "there is no wram; parts are start, cold"),
        (["--quick", "--checkout", "."], "it takes a whole run"),
        (["--soak", "-1"], "-1"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_before_anything_starts(arguments: list[str], words: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert words in result.stderr


@pytest.mark.usefixtures("parts")
def test_a_place_that_cannot_be_written_to_is_told() -> None:
    result = run("--only", "warm", "--json", os.path.join(os.devnull, "x"))
    assert result.exit_code == 1
    assert "the figures could not be written" in result.stderr

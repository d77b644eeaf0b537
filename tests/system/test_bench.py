"""`lambent bench` in full, with every part as short as it can be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

import pytest

from lambent.bench.suite import MAY_BE_MISSING, PARTS

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]


def test_a_quick_run_measures_every_part_and_writes_it_down(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lambent", "bench", "--quick", "--soak", "0.2", "--json", "figures.json"]
    with tempfile.TemporaryDirectory(
        prefix="lambent-test-"
    ) as scratch:  # pytest's own is closed to the users of servers
        Path(scratch).chmod(0o755)
        done = subprocess.run(
            [*command, "--markdown", "page.md", "--plots", "plots"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, "TMPDIR": scratch},
        )
        assert os.listdir(scratch) == []
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert all(isinstance(figures[name], dict) for name in PARTS if name not in MAY_BE_MISSING)
    assert figures["cold"]["python_hit_ms"]["median"] > 0
    assert len({figures[name]["python"] for name in ("cold", "burst", "beyond", "density")}) == 1
    assert all(row.get("failed", 0) == 0 for row in figures["warm"]["loads"])
    assert figures["warm"]["processor_us_a_request"] > 0
    assert figures["density"]["own_mb_each"] > 0
    assert figures["soak"]["done"]["echo"] > 0
    assert {row["server"] for row in figures["peers"]["servers"]} >= {"Lambent"}
    assert all(figures["peers"]["not_measured"].values())
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert all(part.title in page for part in PARTS.values())
    for name in ("cold.svg", "warm.svg", "soak.svg"):
        ElementTree.parse(tmp_path / "plots" / name)

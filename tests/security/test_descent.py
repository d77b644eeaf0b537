"""The server keeps nothing of root, and sees of closed directories only what it needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

UID = 64_601

PROGRAM = """
import json, os, sys
from pathlib import Path
from lambent.sandbox.descent import become
needed, closed = [Path(p) for p in json.loads(sys.argv[1])], Path(sys.argv[2])
become({uid}, {uid}, needed)
def attempt(action):
    try:
        action()
    except OSError as error:
        return type(error).__name__
    return "succeeded"
status = Path("/proc/self/status").read_text()
print(json.dumps({{
    "ids": [os.getresuid(), os.getresgid(), os.getgroups()],
    "capabilities": next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff")),
    "no_new_privileges": next(line.split()[1] for line in status.splitlines() if line.startswith("NoNewPrivs")),
    "closed": sorted(os.listdir(closed)),
    "secret": attempt(lambda: (closed / "secret").read_text()),
    "shadow": attempt(lambda: Path("/etc/shadow").read_text()),
    "back": attempt(lambda: os.setuid(0)),
    "readable": [sorted(os.listdir(p)) for p in needed],
    "write": attempt(lambda: (needed[0] / "new").write_text("x")),
}}))
"""


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """Where everybody may go; pytest's own directories are closed, and are not this test's to open."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory


def descend(needed: list[Path], closed: Path) -> dict[str, Any]:
    arguments = [json.dumps([str(path) for path in needed]), str(closed)]
    program = PROGRAM.format(uid=UID)
    run = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=60, check=True
    )
    answer: dict[str, Any] = json.loads(run.stdout)
    return answer


def test_root_is_gone_for_good_and_a_closed_directory_shows_only_what_is_needed(open_directory: Path) -> None:
    closed = open_directory / "home"
    needed = closed / "program" / "data"
    needed.mkdir(parents=True)
    os.chown(needed, UID, UID)
    (needed / "file").write_text("kept")
    (closed / "secret").write_text("hidden")
    closed.chmod(0o700)
    seen = descend([needed], closed)
    assert seen["ids"] == [[UID] * 3, [UID] * 3, []]
    assert int(seen["capabilities"], 16) == 0
    assert seen["no_new_privileges"] == "1"
    assert seen["closed"] == ["program"]
    assert seen["secret"] == "FileNotFoundError"
    assert seen["shadow"] == "PermissionError"
    assert seen["back"] == "PermissionError"
    assert seen["readable"] == [["file"]]
    assert seen["write"] == "succeeded"
    assert (needed / "new").read_text() == "x", "the needed directory is the real one"
    assert sorted(path.name for path in closed.iterdir()) == ["program", "secret"], "only that process has the view"

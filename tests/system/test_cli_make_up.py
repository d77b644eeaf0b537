"""`make up` in a fresh copy of the sources, as a stranger would run it. Installs from the network, so it is a long test."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAKE_TIMEOUT_S = 110

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not (ROOT / ".git").exists() or not shutil.which("git"), reason="needs a git checkout"),
]


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[Path]:
    """What a clone would have: neither .venv nor .lambent. Whatever was started is stopped at the end."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tmp_path / name)
    yield tmp_path
    make(tmp_path, "down", 0)


def make(where: Path, target: str, port: int) -> str:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "LAMBENT_", "PYTHON"))}
    done = subprocess.run(
        ["make", target], cwd=where, env={**environ, "LAMBENT_PORT": str(port)}, text=True, timeout=MAKE_TIMEOUT_S,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_make_up_shows_a_thumbnail_and_the_second_time_only_calls_the_function(copy: Path) -> None:
    port = free_port()
    said = make(copy, "up", port)
    picture = copy / ".lambent" / "thumbnail.jpg"
    assert str(picture) in said
    assert picture.read_bytes().startswith(b"\xff\xd8\xff")
    picture.unlink()
    again = make(copy, "up", port)
    assert "Unchanged thumbnail" in again
    assert "Installing" not in again
    assert picture.exists()
    assert "Stopped" in make(copy, "down", port)
    assert "not running" in make(copy, "down", port)

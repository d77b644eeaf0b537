"""The contract at level `rootless`, asked by a user without rights when the tests themselves run as root."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import lambent

NOBODY = 65534
SITE_PACKAGES = Path(pytest.__file__).parents[1]


def _interpreter() -> str | None:
    """One of the same version that everybody may execute; the tests' own may lie in root's home."""
    version = "{}.{}".format(*sys.version_info[:2])
    for candidate in (os.path.realpath(sys.executable), f"/usr/bin/python{version}", f"/usr/local/bin/python{version}"):
        if os.path.exists(candidate) and all(p.stat().st_mode & 0o001 for p in Path(candidate).resolve().parents):
            return candidate
    return None


@pytest.fixture
def public_tmp_path() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="lambent-rootless-"))
    os.chown(directory, NOBODY, NOBODY)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="without root the contract's own run is rootless already")
def test_the_contract_holds_for_a_user_without_rights(public_tmp_path: Path) -> None:
    interpreter = _interpreter()
    assert interpreter is not None, "no interpreter of this version that other users may execute"
    here = Path(__file__).parent
    command = [interpreter, "-m", "pytest", str(here / "test_sandbox_contract.py"), "-q", "-k", "rootless", "-p",
               "no:cacheprovider", "--rootdir", str(here.parents[2]), "--basetemp", str(public_tmp_path / "t")]  # fmt: skip
    variables = {"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1",
                 "PYTHONPATH": f"{Path(lambent.__file__).parents[1]}:{SITE_PACKAGES}"}  # fmt: skip
    result = subprocess.run(
        command,
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        env=variables,
        cwd=here.parents[2],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]
    assert "passed" in result.stdout.splitlines()[-1]

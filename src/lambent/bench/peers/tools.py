"""The peers' programs: those on PATH, or installed by npm and pip into a directory of this run that is removed afterwards."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

import attrs

from lambent.bench.errors import NotMeasured

# The last version of serverless that runs without an account, and the plugin that goes with it.
NPM_PACKAGES: Final = ("serverless@3.40.0", "serverless-offline@13.10.1", "lambda-local@2.2.0")
PYTHON_PACKAGES: Final = ("ministack==1.5.33", "awslambdaric==4.2.2")
INSTALL_TIMEOUT_S: Final = 300.0


@attrs.frozen
class Tools:
    """Where to look."""

    directory: Path | None = None  # what was installed for this run
    problems: tuple[str, ...] = ()  # of installing
    new_data: Callable[[], AbstractContextManager[Path]] | None = (
        None  # of Lambent: a data directory without any function
    )

    @property
    def node_modules(self) -> Path | None:
        found = self.directory / "node_modules" if self.directory else None
        return found if found and found.is_dir() else None

    def program(self, name: str) -> str:
        """Its path. Raises NotMeasured."""
        own = [str(self.directory / part) for part in ("node_modules/.bin", "venv/bin")] if self.directory else []
        for path in (os.pathsep.join(own) or os.devnull, None):  # None: PATH
            if found := shutil.which(name, path=path):
                return found
        hint = "neither npm nor PyPI has it" if own else "`lambent bench --peers` installs what npm and PyPI have"
        raise NotMeasured(f"{name} is not on PATH: {'; '.join(self.problems) or hint}")

    def python_with(self, module: str) -> str:
        """An interpreter that can import it. Raises NotMeasured."""
        own = [str(self.directory / "venv/bin/python")] if self.directory else []
        for python in (*own, sys.executable, "python3"):
            asked = [python, "-c", f"import {module}"]
            if shutil.which(python) and subprocess.run(asked, capture_output=True).returncode == 0:
                return python
        raise NotMeasured(f"no interpreter has {module}")


def installed(directory: Path) -> Tools:
    """Installs what it can, and says what it could not."""
    commands: list[Sequence[str]] = [
        ["npm", "install", "--prefix", str(directory), "--no-audit", "--no-fund", "--ignore-scripts", *NPM_PACKAGES],
        [sys.executable, "-m", "venv", str(directory / "venv")],
        [str(directory / "venv/bin/python"), "-m", "pip", "install", "-q", *PYTHON_PACKAGES],
    ]
    return Tools(directory, tuple(problem for command in commands if (problem := _failed(command, directory))))


def _failed(command: Sequence[str], directory: Path) -> str:
    try:
        done = subprocess.run(
            command, cwd=directory, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{' '.join(command[:3])}: {error}"
    last = (done.stderr or done.stdout).strip().splitlines()
    return f"{' '.join(command[:3])}: {last[-1] if last else done.returncode}" if done.returncode else ""


def npm_version(program: str, package: str) -> str:
    """Of a package beside the one that this program belongs to, or of that one."""
    for parent in Path(os.path.realpath(program)).parents:
        description = parent / "node_modules" / package / "package.json"
        if description.is_file():
            return str(json.loads(description.read_text(encoding="utf-8"))["version"])
    return "unknown"

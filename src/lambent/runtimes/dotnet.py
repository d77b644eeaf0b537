"""C# and PowerShell. Lambent has no client for .NET yet, so nothing is ever found; functions fail with the reason."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from lambent.model.cage import RuntimeInstallation
from lambent.runtimes.family import Family
from lambent.runtimes.search import SearchPaths, is_binary

_RUNTIME_LINE: Final = re.compile(r"^Microsoft\.NETCore\.App (\d+)\.(\d+)\.\S+ ", re.MULTILINE)


def find(_search: SearchPaths) -> list[RuntimeInstallation]:
    """None: a .NET that is installed cannot run a handler without AWS's `Amazon.Lambda.RuntimeSupport`."""
    return []


def versions(search: SearchPaths) -> list[str]:
    """The .NET runtimes of this machine ("8.0"), for `lambent doctor`."""
    found: set[str] = set()
    for directory in search.executables():
        executable = Path(os.path.realpath(directory / "dotnet"))
        if is_binary(executable):
            listed = search.ask(executable, "--list-runtimes") or ""
            found.update(f"{major}.{minor}" for major, minor in _RUNTIME_LINE.findall(listed))
    return sorted(found, key=lambda version: [int(number) for number in version.split(".")])


def _interpreter(runtime: str) -> str:
    number = runtime.removeprefix("dotnetcore").removeprefix("dotnet")
    return f".NET {number} with a client for it"


def _hint(_runtime: str) -> str:
    return (
        "Lambent has no client for .NET yet: build the function as an executable assembly with "
        "Amazon.Lambda.RuntimeSupport, name it `bootstrap`, and deploy it on provided.al2023."
    )


FAMILY: Final = Family(name="dotnet", prefixes=("dotnet",), interpreter=_interpreter, hint=_hint, find=find, fill=None)

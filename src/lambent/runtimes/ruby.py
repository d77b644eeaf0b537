"""Ruby: how it is found, and what its runtime directory holds."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from lambent.model.cage import HostMount, RuntimeInstallation, StartMethod
from lambent.runtimes.family import Family
from lambent.runtimes.search import SearchPaths, base_variables, is_binary

# Lambda's runtime ids. Another minor version is left alone: a function never runs on a Ruby that it did not ask for.
# https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html
MINORS: Final = ("3.2", "3.3", "3.4", "4.0")

_QUESTION: Final = (
    "require 'json'; require 'rbconfig'; puts JSON.generate({engine: RUBY_ENGINE, version: RUBY_VERSION, "
    "api: RbConfig::CONFIG['ruby_version'], prefix: RbConfig::CONFIG['prefix']})"
)


def find(search: SearchPaths) -> list[RuntimeInstallation]:
    """Every Ruby of a version that Lambda knows."""
    found = []
    for executable in _interpreters(search):
        facts = _ask(search, executable)
        if facts is not None and facts["engine"] == "ruby" and _minor(facts["version"]) in MINORS:
            found.append(_installation(executable, facts))
    return found


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _interpreters(search: SearchPaths) -> Iterator[Path]:
    seen: set[Path] = set()
    for directory in search.executables():
        for name in ("ruby", *(f"ruby{minor}" for minor in MINORS)):
            executable = Path(os.path.realpath(directory / name))
            if executable not in seen and is_binary(executable):
                seen.add(executable)
                yield executable


def _ask(search: SearchPaths, executable: Path) -> dict[str, Any] | None:
    answer = search.ask(executable, "-e", _QUESTION)
    if answer is None:
        return None
    try:
        facts: dict[str, Any] = json.loads(answer)
    except ValueError:
        return None
    return facts


def _installation(executable: Path, facts: dict[str, Any]) -> RuntimeInstallation:
    prefix = Path(facts["prefix"])
    of_the_system = prefix == Path("/usr")
    inside = executable if of_the_system else Path("/var/lang") / executable.relative_to(prefix)
    api = facts["api"]
    # Ruby finds its library relative to its executable, wherever it is mounted; AWS's GEM_PATH comes on top.
    # https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
    own_gems = () if of_the_system else (f"/var/lang/lib/ruby/gems/{api}",)
    gems = ":".join((f"/var/task/vendor/bundle/ruby/{api}", f"/opt/ruby/gems/{api}", *own_gems))
    return RuntimeInstallation(
        runtime=f"ruby{_minor(facts['version'])}",
        family="ruby",
        version=facts["version"],
        start=StartMethod.EXEC,
        executable=executable,
        argv=(str(inside), "/var/runtime/bootstrap.rb"),
        host_mounts=() if of_the_system else (HostMount(source=prefix, target="/var/lang"),),
        runtime_dir=None,
        environment={
            **base_variables(),
            "GEM_PATH": gems,
            "RUBYLIB": "/var/runtime/lib:/var/task:/opt/ruby/lib",
        },
    )


def _interpreter(runtime: str) -> str:
    return f"Ruby {runtime.removeprefix('ruby')}"


def _hint(runtime: str) -> str:
    minor = runtime.removeprefix("ruby")
    return (
        f"Install it where `ruby` of version {minor} is on PATH (a system package, `rbenv install {minor}`), or unpack it "
        f"anywhere and run `lambent runtimes add DIRECTORY`; then restart Lambent."
    )


FAMILY: Final = Family(name="ruby", prefixes=("ruby",), interpreter=_interpreter, hint=_hint, find=find)

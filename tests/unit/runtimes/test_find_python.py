"""Interpreters are found where they are, by exact version, and never taken for one another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lambent.model.cage import HostMount, RuntimeInstallation, StartMethod
from lambent.runtimes import find, python
from lambent.runtimes.errors import RuntimeMissing, RuntimeNotUsable
from lambent.runtimes.search import (
    AnswerCache,
    SearchPaths,
    added_prefixes,
    base_variables,
    is_binary,
    remember_prefix,
    standard_paths,
    version_key,
)

OWN = "python{}.{}".format(*sys.version_info[:2])
BASE = Path(sys.base_prefix)


def search(*prefixes: Path, path: tuple[Path, ...] = ()) -> SearchPaths:
    return SearchPaths(path=path, prefixes=prefixes, system=())


class Canned(AnswerCache):
    """Interpreters that answer what their file's name says, so that versions that nobody has can be tried."""

    def __init__(self) -> None:
        super().__init__(None)

    def ask(self, executable: Path, arguments: object) -> str | None:
        version = executable.parent.parent.name
        minor = [int(part.split("rc")[0]) for part in version.split(".")[:2]]
        prefix = str(executable.parent.parent)
        return json.dumps({"version": version, "minor": minor, "name": "cpython", "prefix": prefix, "gil": True})


def pretend(root: Path, version: str) -> Path:
    """A prefix with a file that looks like a program."""
    executable = root / version / "bin" / "python{}.{}".format(*version.split("."))
    executable.parent.mkdir(parents=True)
    executable.write_bytes(b"\x7fELF")
    executable.chmod(0o755)
    return root / version


def test_the_interpreter_of_a_prefix_is_shown_where_aws_has_it() -> None:
    found = {i.runtime: i for i in python.find(search(BASE))}[OWN]

    assert found.version == sys.version.split()[0]
    assert found.start is StartMethod.FORK
    assert found.runtime_dir is None
    if Path("/usr") != BASE:
        assert found.argv == (f"/var/lang/bin/{OWN}", "/var/runtime/bootstrap.py")
        assert found.host_mounts == (HostMount(source=BASE, target="/var/lang"),)


def test_a_virtual_environment_leads_to_its_interpreter(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)

    found = python.find(search(path=(tmp_path / "venv" / "bin",)))

    assert [str(i.executable) for i in found] == [str(Path(sys.executable).resolve())]


def test_shims_and_other_scripts_are_never_taken(tmp_path: Path) -> None:
    shim = tmp_path / "bin" / "python3.13"
    shim.parent.mkdir()
    shim.write_text("#!/bin/sh\necho '{}'\n")
    shim.chmod(0o755)

    assert not is_binary(shim)
    assert python.find(search(tmp_path)) == []


def test_a_program_that_is_not_python_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3.13").symlink_to("/bin/true")

    assert python.find(search(tmp_path)) == []


def test_the_newest_patch_serves_a_runtime_and_a_preview_never_wins_over_a_release(tmp_path: Path) -> None:
    prefixes = tuple(pretend(tmp_path, version) for version in ("3.13.9", "3.13.10", "3.13.2", "3.12.1"))
    looking = SearchPaths(path=(), prefixes=prefixes, system=(), answers=Canned())

    found = find.discover(looking, (python.FAMILY,))

    assert {runtime: i.version for runtime, i in found.items()} == {"python3.13": "3.13.10", "python3.12": "3.12.1"}
    assert version_key("3.15.0") > version_key("3.15.0rc1") > version_key("3.14.9")
    assert version_key("24.1.0") > version_key("22.19.3")


def test_a_runtime_that_is_missing_is_named_with_the_way_to_add_it(tmp_path: Path) -> None:
    installations = find.Installations({}, find.Installations.find(tmp_path).directories)

    with pytest.raises(RuntimeMissing, match=r"python3\.14 needs CPython 3\.14, which was not found") as raised:
        installations.for_runtime("python3.14")

    assert "lambent runtimes add DIRECTORY" in str(raised.value)
    with pytest.raises(RuntimeMissing, match="Lambent has no client"):
        installations.for_runtime("cobol1")


def test_answers_are_remembered_until_the_file_changes(tmp_path: Path) -> None:
    program = tmp_path / "program"
    asked = tmp_path / "asked"
    program.write_text(f"#!/bin/sh\necho x >> {asked}\necho one\n")
    program.chmod(0o755)
    memory = tmp_path / "found.json"

    for _ in range(2):
        answers = AnswerCache(memory)
        assert answers.ask(program, ("--version",)) == "one\n"
        answers.save()
    assert asked.read_text() == "x\n"

    program.write_text("#!/bin/sh\necho another\n")
    assert AnswerCache(memory).ask(program, ("--version",)) == "another\n"
    memory.write_text("not JSON")
    assert AnswerCache(memory).ask(program, ("--version",)) == "another\n"


def test_looking_again_starts_no_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = find.discover(standard_paths(tmp_path))

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError(f"started {arguments}")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    assert find.discover(standard_paths(tmp_path)) == found


def test_a_prefix_that_was_added_is_found_from_then_on(tmp_path: Path) -> None:
    brought = find.add(tmp_path, BASE / "bin")

    assert OWN in [i.runtime for i in brought]
    assert added_prefixes(tmp_path) == [BASE.resolve()]
    assert BASE.resolve() == standard_paths(tmp_path, {}).prefixes[0]
    remember_prefix(tmp_path, Path("/second"))
    remember_prefix(tmp_path, BASE.resolve())
    assert added_prefixes(tmp_path) == [BASE.resolve(), Path("/second")]


def test_a_directory_without_an_interpreter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RuntimeNotUsable, match="No interpreter that Lambent knows is in"):
        find.add(tmp_path, tmp_path)

    assert added_prefixes(tmp_path) == []


def test_pyenv_and_the_path_are_searched(tmp_path: Path) -> None:
    versions = tmp_path / "pyenv" / "versions"
    versions.mkdir(parents=True)
    (versions / "mine").symlink_to(BASE)

    looking = standard_paths(
        tmp_path / "data", {"PYENV_ROOT": str(tmp_path / "pyenv"), "PATH": f"/a{os.pathsep}relative"}
    )

    assert versions / "mine" in looking.prefixes
    assert looking.path == (Path("/a"),)
    assert OWN in [i.runtime for i in python.find(looking)]


def test_the_functions_environment_is_that_of_aws() -> None:
    variables = base_variables()

    assert variables["PATH"] == "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin"
    assert variables["LD_LIBRARY_PATH"].startswith("/var/lang/lib:")
    assert variables["TZ"] == ":UTC"
    assert variables["LANG"] in ("en_US.UTF-8", "C.UTF-8")


def test_the_sdk_goes_to_the_interpreters_that_it_supports() -> None:
    def installation(runtime: str) -> RuntimeInstallation:
        return RuntimeInstallation(
            runtime=runtime,
            family="python",
            version="",
            start=StartMethod.FORK,
            executable=None,
            argv=(),
            host_mounts=(),
            runtime_dir=None,
        )

    assert python.sdk_fits(installation(OWN))
    assert python.sdk_fits(installation("python3.14"))
    assert not python.sdk_fits(installation("python3.8"))

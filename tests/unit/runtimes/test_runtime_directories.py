"""What a function sees at /var/runtime is built whole, once, readable by everybody, and again when it changes."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs
import pytest

import lambent
from lambent.model.cage import RuntimeInstallation
from lambent.runtimes import python
from lambent.runtimes.build import build_all, finish_all, missing
from lambent.runtimes.errors import RuntimeNotUsable
from lambent.runtimes.family import Family
from lambent.runtimes.find import Installations
from lambent.runtimes.half_built import half_built
from lambent.runtimes.layers import RuntimeDirectories
from lambent.runtimes.search import SearchPaths

OWN = "python{}.{}".format(*sys.version_info[:2])


@pytest.fixture(scope="module")
def own() -> RuntimeInstallation:
    """The interpreter that runs the tests."""
    looking = SearchPaths(path=(), prefixes=(Path(sys.base_prefix),), system=())
    return next(found for found in python.find(looking) if found.runtime == OWN)


def directories(data_dir: Path, family: Family = python.FAMILY) -> RuntimeDirectories:
    return RuntimeDirectories(data_dir, {"python": family})


def built(data_dir: Path, own: RuntimeInstallation, family: Family = python.FAMILY) -> Path:
    runtime_dir = directories(data_dir, family).complete(own).runtime_dir
    assert runtime_dir is not None
    return runtime_dir


def test_client_and_sdk_can_be_imported_from_it_alone(tmp_path: Path, own: RuntimeInstallation) -> None:
    runtime_dir = built(tmp_path, own)

    program = (
        "import boto3, botocore, lambent_runtime; print(boto3.__file__); boto3.client('s3', region_name='us-east-1')"
    )
    shown = subprocess.run(
        [str(own.executable), "-S", "-W", "ignore", "-c", program],
        env={"PYTHONPATH": str(runtime_dir)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert shown.stdout.startswith(str(runtime_dir))


def test_everybody_may_read_what_a_strict_umask_built(tmp_path: Path, own: RuntimeInstallation) -> None:
    before = os.umask(0o077)
    try:
        runtime_dir = built(tmp_path, own)
        directories(tmp_path).finish(own)
    finally:
        os.umask(before)

    for parent, _, names in os.walk(runtime_dir):
        assert Path(parent).stat().st_mode & 0o555 == 0o555, parent
        for name in names:
            assert Path(parent, name).stat().st_mode & 0o444 == 0o444, name


def test_the_clients_bytecode_is_there_from_the_start_and_the_sdks_when_it_is_finished(
    tmp_path: Path, own: RuntimeInstallation
) -> None:
    ours = directories(tmp_path)
    runtime_dir = built(tmp_path, own)

    assert list((runtime_dir / "__pycache__").glob("lambent_runtime.*.pyc"))
    assert not ours.is_finished(own)
    ours.finish(own)
    assert ours.is_finished(own)
    assert list((runtime_dir / "boto3" / "__pycache__").glob("session.*.pyc"))


def test_it_is_built_once_also_when_many_ask_at_the_same_time(tmp_path: Path, own: RuntimeInstallation) -> None:
    with ThreadPoolExecutor(4) as threads:
        found = set(threads.map(lambda _: built(tmp_path, own), range(4)))

    (runtime_dir,) = found
    assert os.listdir(runtime_dir.parent) == [runtime_dir.name]


def test_a_change_of_the_guest_builds_another_one_and_the_sweep_removes_the_old(
    tmp_path: Path, own: RuntimeInstallation
) -> None:
    first = built(tmp_path, own)
    changed = attrs.evolve(python.FAMILY, fingerprint=lambda installation: "changed")

    second = built(tmp_path, own, changed)

    assert first != second
    assert first.is_dir(), "environments may still show it"
    directories(tmp_path, changed).sweep(own)
    assert not first.exists()
    assert second.is_dir()


def test_a_directory_that_cannot_be_built_says_why_and_leaves_nothing(tmp_path: Path, own: RuntimeInstallation) -> None:
    def fail(installation: RuntimeInstallation, directory: Path) -> None:
        (directory / "half").write_text("")
        raise OSError(28, "No space left on device")

    with pytest.raises(RuntimeNotUsable, match=r"No space left on device.*disk is not full"):
        built(tmp_path, own, attrs.evolve(python.FAMILY, fill=fail))

    assert os.listdir(tmp_path / "runtimes" / OWN) == []


def test_an_interpreter_too_old_for_the_sdk_has_the_client_and_what_pip_brought(
    tmp_path: Path, own: RuntimeInstallation
) -> None:
    old = attrs.evolve(own, runtime="python3.8", version="3.8.0")

    alone = built(tmp_path, old)
    fetched = tmp_path / "runtimes" / python.FETCHED / "python3.8"
    (fetched / "boto3-1.37.0.dist-info").mkdir(parents=True)
    (fetched / "boto3").mkdir()
    (fetched / "boto3" / "__init__.py").write_text("")
    (fetched / "bin").mkdir()
    (fetched / "bin" / "command").write_text("")
    after = built(tmp_path, old)

    assert not (alone / "boto3").exists()
    assert (after / "boto3" / "__init__.py").exists()
    assert not (after / "bin").exists()


def test_the_builder_builds_what_is_missing_and_then_finishes_it(tmp_path: Path, own: RuntimeInstallation) -> None:
    installations = Installations({OWN: own}, directories(tmp_path))

    assert missing(installations) == [own]
    assert build_all(installations) == 0
    assert missing(installations) == [own], "not finished yet"
    finish_all(installations)
    assert missing(installations) == []


def test_an_sdk_that_was_added_makes_another_directory_and_the_old_one_is_not_current_any_more(
    tmp_path: Path, own: RuntimeInstallation
) -> None:
    family = attrs.evolve(python.FAMILY, shared_state=lambda runtimes_dir: "added")
    without = built(tmp_path, own)
    assert directories(tmp_path).current(own) == without
    assert directories(tmp_path, family).current(own) is None
    assert built(tmp_path, own, family) == directories(tmp_path, family).current(own) != without


def test_what_a_killed_builder_left_goes_and_what_another_one_builds_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lambent.runtimes.half_built.LOCKED_WITHIN_S", -1.0)
    script = """
        import sys
        from pathlib import Path
        from lambent.runtimes.half_built import half_built
        with half_built(Path(sys.argv[1])) as building:
            print(building.name, flush=True)
            sys.stdin.read()
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)]
    environ = {**os.environ, "PYTHONPATH": str(Path(lambent.__file__).parents[1])}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ) as other:
        assert other.stdout is not None
        others = other.stdout.readline().strip()
        with half_built(tmp_path) as mine:
            assert set(os.listdir(tmp_path)) == {others, mine.name}
        assert os.listdir(tmp_path) == [others]
        other.kill()
        other.wait()
    with half_built(tmp_path) as mine:
        assert os.listdir(tmp_path) == [mine.name]

from __future__ import annotations

import io
import os
import stat
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.cli.contents import read_contents
from lambent.cli.problems import Problem


def folder(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def unpacked(archive: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


NAMES = st.text(alphabet="abcXYZ09_-é", min_size=1, max_size=12)


@given(st.dictionaries(NAMES, st.binary(max_size=200), min_size=1, max_size=6))
def test_a_folder_gives_back_its_files_and_the_same_bytes_whenever_it_was_written(files: dict[str, bytes]) -> None:
    files = {f"pkg/{name}.py": data for name, data in files.items()}
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        first = read_contents(folder(Path(one), files)).packed()
        other = folder(Path(two), dict(reversed(files.items())))
        for path in other.rglob("*.py"):
            os.utime(path, (1, 1))
            path.chmod(0o600)
        assert read_contents(other).packed() == first
    assert unpacked(first) == files


def test_caches_version_control_and_virtual_environments_stay_out(tmp_path: Path) -> None:
    kept = {"app.py": b"1", "lib/git.py": b"2", "node_modules/x/index.js": b"3"}
    left = [".git/config", "__pycache__/app.pyc", "lib/__pycache__/x.pyc", ".venv/bin/python", "env3/pyvenv.cfg"]
    left += ["env3/lib/x.py", ".DS_Store", "old.pyc", "app.py~"]
    folder(tmp_path, kept | dict.fromkeys(left, b"no"))
    assert unpacked(read_contents(tmp_path).packed()) == kept


def test_executable_bits_are_kept_and_other_modes_are_not(tmp_path: Path) -> None:
    folder(tmp_path, {"bootstrap": b"#!/bin/sh\n", "data": b"x"})
    (tmp_path / "bootstrap").chmod(0o700)
    (tmp_path / "data").chmod(0o640)
    with zipfile.ZipFile(io.BytesIO(read_contents(tmp_path).packed())) as archive:
        modes = {info.filename: stat.filemode(info.external_attr >> 16) for info in archive.infolist()}
    assert modes == {"bootstrap": "-rwxr-xr-x", "data": "-rw-r--r--"}


def test_links_within_the_folder_stay_links_and_files_outside_are_copied(tmp_path: Path) -> None:
    outside = folder(tmp_path / "elsewhere", {"shared.py": b"shared"})
    root = folder(tmp_path / "code", {"real.py": b"real", "sub/x.py": b"x"})
    (root / "same.py").symlink_to("real.py")
    (root / "alias").symlink_to("sub")
    (root / "shared.py").symlink_to(outside / "shared.py")
    contents = read_contents(root)
    assert {e.name: (e.data, stat.S_ISLNK(e.mode)) for e in contents.entries} == {
        "real.py": (b"real", False),
        "sub/x.py": (b"x", False),
        "same.py": (b"real.py", True),
        "alias": (b"sub", True),
        "shared.py": (b"shared", False),
    }


def test_a_link_to_a_folder_outside_is_refused_with_advice(tmp_path: Path) -> None:
    outside = folder(tmp_path / "elsewhere", {"a.py": b""})
    root = folder(tmp_path / "code", {"app.py": b""})
    (root / "lib").symlink_to(outside)
    with pytest.raises(Problem, match="copy it in"):
        read_contents(root)


def test_a_zip_is_sent_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "code.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("app.py", "def handler(event, context): ...")
    contents = read_contents(path)
    assert contents.packed() == path.read_bytes()
    assert contents.names() == ["app.py"]


def test_a_single_file_is_the_package(tmp_path: Path) -> None:
    path = folder(tmp_path, {"hello.py": b"x"}) / "hello.py"
    assert unpacked(read_contents(path).packed()) == {"hello.py": b"x"}


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="nothing in it"):
        read_contents(tmp_path)


def test_a_pipe_among_the_files_is_refused(tmp_path: Path) -> None:
    folder(tmp_path, {"app.py": b""})
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Problem, match="neither a file nor a folder"):
        read_contents(tmp_path)

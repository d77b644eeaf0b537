"""Compiled modules are put beside their sources and nowhere else, whatever they are called."""

from __future__ import annotations

import io
import os
import stat
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.store.blobs import FileBlobs
from lambent.store.bytecode import write_bytecode

TAG = "cpython-312"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Read-only, as unpacked ones are; besides it lies what nobody may touch."""
    root = tmp_path / "package"
    (root / "inner").mkdir(parents=True)
    (root / "app.py").write_text("1")
    (root / "inner" / "deep.py").write_text("2")
    (root / "link.py").symlink_to("app.py")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.py").write_text("3")
    (root / "away").symlink_to(outside)
    for folder in (root / "inner", root):
        folder.chmod(0o555)
    return root


def everything(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): oct(stat.S_IMODE(path.lstat().st_mode))
        for path in root.rglob("*")
        if not path.is_symlink()
    }


def test_it_lies_where_python_looks_and_is_read_only(package: Path) -> None:
    assert write_bytecode(package, TAG, {"app.py": b"one", "inner/deep.py": b"two"}) == 2
    assert (package / "__pycache__" / "app.cpython-312.pyc").read_bytes() == b"one"
    assert (package / "inner" / "__pycache__" / "deep.cpython-312.pyc").read_bytes() == b"two"
    assert {mode for path, mode in everything(package).items() if "__pycache__" in path} == {"0o555", "0o444"}
    assert stat.S_IMODE(package.stat().st_mode) == 0o555


def test_what_does_not_fit_any_more_is_replaced_and_what_is_another_interpreters_stays(package: Path) -> None:
    write_bytecode(package, TAG, {"app.py": b"old"})
    write_bytecode(package, "cpython-313", {"app.py": b"other"})
    assert write_bytecode(package, TAG, {"app.py": b"new"}) == 1
    found = {path.name: path.read_bytes() for path in (package / "__pycache__").iterdir()}
    assert found == {"app.cpython-312.pyc": b"new", "app.cpython-313.pyc": b"other"}


@pytest.mark.parametrize(
    "path",
    [
        "away/secret.py", "../outside/secret.py", "inner/../../outside/secret.py", "/etc/passwd.py", "link.py", "app.py/x.py",
        "none.py", "none/app.py", "inner", "inner/", ".py", "", "./app.py", "app.py\0", "a\0b/app.py", "\udcff.py",
        "x" * 300 + ".py",
    ],
)  # fmt: skip
def test_a_path_that_is_no_sources_own_is_passed_over(package: Path, path: str) -> None:
    before = everything(package.parent)
    assert write_bytecode(package, TAG, {path: b"bad"}) == 0
    assert everything(package.parent) == before


@given(st.dictionaries(st.text("./\0apyink-deo_cher", max_size=20), st.just(b"x"), max_size=5))
def test_no_path_leads_out_of_the_package(tmp_path_factory: pytest.TempPathFactory, modules: dict[str, bytes]) -> None:
    around = tmp_path_factory.mktemp("around")
    (around / "package").mkdir()
    (around / "app.py").write_text("")
    write_bytecode(around / "package", TAG, modules)
    assert everything(around).keys() == {"package", "app.py"}


def test_a_package_that_has_something_else_by_those_names_keeps_it(tmp_path: Path) -> None:
    (tmp_path / "a" / "__pycache__" / "app.cpython-312.pyc").mkdir(parents=True)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "__pycache__").write_text("a file")
    for folder in "ab":
        (tmp_path / folder / "app.py").write_text("")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "app.py").write_text("")
    (tmp_path / "c" / "__pycache__").symlink_to(tmp_path / "b")
    before = everything(tmp_path)
    assert write_bytecode(tmp_path, TAG, {f"{folder}/app.py": b"x" for folder in "abc"}) == 0
    assert everything(tmp_path).keys() == before.keys()


def test_a_tag_is_not_a_way_out_either(package: Path) -> None:
    with pytest.raises(ValueError, match=r"\.\./x"):
        write_bytecode(package, "../x", {"app.py": b"bad"})


@pytest.fixture
async def blobs(tmp_path: Path) -> AsyncIterator[FileBlobs]:
    blobs = FileBlobs(tmp_path / "data")
    yield blobs
    await blobs.close()


async def test_a_package_with_bytecode_is_removed_as_any_other(blobs: FileBlobs) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("app.py", "1")
    directory = await blobs.unpacked(await blobs.put(content.getvalue()))
    assert await blobs.add_bytecode(directory, TAG, {"app.py": b"one"}) == 1
    await blobs.collect(set(), grace_s=-1.0)
    assert not directory.exists()
    with pytest.raises(FileNotFoundError):
        await blobs.add_bytecode(directory, TAG, {"app.py": b"one"})


async def test_what_is_being_filled_is_not_removed(blobs: FileBlobs, monkeypatch: pytest.MonkeyPatch) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("app.py", "1")
    directory = await blobs.unpacked(await blobs.put(content.getvalue()))

    def collect_in_between(at: Path, tag: str, modules: dict[str, bytes]) -> int:
        blobs._collect(set(), set(), float("inf"))
        return write_bytecode(at, tag, modules)

    monkeypatch.setattr("lambent.store.blobs.write_bytecode", collect_in_between)
    assert await blobs.add_bytecode(directory, TAG, {"app.py": b"one"}) == 1
    assert os.listdir(directory / "__pycache__") == ["app.cpython-312.pyc"]

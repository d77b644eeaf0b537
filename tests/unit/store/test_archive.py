"""Unpacking what strangers send: all of it lands inside, or the whole archive is refused in AWS's words."""

from __future__ import annotations

import io
import os
import stat
import struct
import tempfile
import warnings
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambent.model.errors import AwsError
from lambent.store.archive import unpack
from lambent.store.blobs import remove_tree

UNREADABLE = "Could not unzip uploaded file. Please check your file, then try to upload again."


def entry(name: str, mode: int = stat.S_IFREG | 0o644, system: int = 3) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = system
    info.external_attr = mode << 16
    return info


def zipped(*entries: tuple[zipfile.ZipInfo | str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # zipfile warns of duplicate names, which are meant here
        for name, content in entries:
            archive.writestr(name, content, compress_type=compression)
    return out.getvalue()


def link(name: str, target: str) -> tuple[zipfile.ZipInfo, bytes]:
    return entry(name, stat.S_IFLNK | 0o777), target.encode()


def unpack_bytes(folder: Path, data: bytes, max_bytes: int = 1_000_000) -> Path:
    (folder / "package.zip").write_bytes(data)
    target = folder / "out"
    target.mkdir()
    unpack(folder / "package.zip", target, max_bytes)
    return target


def refusal(folder: Path, data: bytes, max_bytes: int = 1_000_000) -> str:
    with pytest.raises(AwsError) as raised:
        unpack_bytes(folder, data, max_bytes)
    assert raised.value.code == "InvalidParameterValueException"
    return raised.value.message


def test_files_directories_and_executables_come_out_read_only_and_readable_by_everybody(tmp_path: Path) -> None:
    out = unpack_bytes(
        tmp_path,
        zipped(
            (entry("app.py", stat.S_IFREG | 0o600), b"code"),
            (entry("bin/run", stat.S_IFREG | 0o4711), b"#!/bin/sh"),
            (entry("empty/", stat.S_IFDIR | 0o700), b""),
            (entry("windows.txt", 0, system=0), b"w"),
            ("./dot/./file", b"d"),
        ),
    )
    assert (out / "app.py").read_bytes() == b"code"
    assert (out / "dot" / "file").read_bytes() == b"d"
    modes = {p.relative_to(out).as_posix(): stat.S_IMODE(p.stat().st_mode) for p in out.rglob("*")}
    assert modes == {
        "app.py": 0o444, "bin": 0o555, "bin/run": 0o555, "empty": 0o555, "windows.txt": 0o444,
        "dot": 0o555, "dot/file": 0o444,
    }  # fmt: skip


def test_links_inside_the_archive_are_made(tmp_path: Path) -> None:
    out = unpack_bytes(
        tmp_path,
        zipped(link("lib/libz.so", "libz.so.1"), ("lib/libz.so.1", b"elf"), link("bin/x", "../lib/libz.so")),
    )
    assert (out / "bin" / "x").read_bytes() == b"elf"


@pytest.mark.parametrize(
    "hostile",
    [
        pytest.param(zipped(("../evil", b"x")), id="parent"),
        pytest.param(zipped(("a/../../evil", b"x")), id="parent further down"),
        pytest.param(zipped((entry("/etc/evil"), b"x")), id="absolute"),
        pytest.param(zipped(link("out", "/etc")), id="absolute link"),
        pytest.param(zipped(link("out", "..")), id="link to the parent"),
        pytest.param(zipped(link("a/out", "../..")), id="link two up"),
        pytest.param(zipped(link("s", "."), link("t", "s/s/../..")), id="link through links"),
        pytest.param(zipped(link("d", "sub"), ("d/file", b"x"), ("sub/x", b"")), id="file through a link"),
        pytest.param(zipped(("a", b"x"), ("a/b", b"x")), id="a file that is a directory"),
        pytest.param(zipped((entry("pipe", stat.S_IFIFO | 0o644), b"")), id="pipe"),
        pytest.param(zipped((entry("sda", stat.S_IFBLK | 0o644), b"")), id="device"),
        pytest.param(zipped(("n" * 256, b"x")), id="long name"),
        pytest.param(zipped(("d/" * 1200 + "x", b"x")), id="deep path"),
        pytest.param(zipped(("a", b"x" * 100), compression=zipfile.ZIP_BZIP2), id="bzip2"),
        pytest.param(zipped(("a", b"x" * 100))[:-30], id="truncated"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"def handler(event, context): pass", id="not a zip"),
        pytest.param(zipped(("a", b"hello world"), compression=zipfile.ZIP_STORED).replace(b"hello", b"jello"), id="crc"),
        pytest.param(
            zipped((entry("a"), b"x")).replace(b"PK\x01\x02\x14\x03\x14\0\0\0", b"PK\x01\x02\x14\x03\x14\0\x01\0"),
            id="encrypted",
        ),
    ],
)  # fmt: skip
def test_hostile_archives_are_refused_in_awss_words(tmp_path: Path, hostile: bytes) -> None:
    assert refusal(tmp_path, hostile) == UNREADABLE
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "package.zip"]


def test_an_empty_archive_is_named_as_such(tmp_path: Path) -> None:
    assert refusal(tmp_path, zipped()) == "Uploaded file must be a non-empty zip"


def test_a_bomb_is_stopped_at_the_limit_and_not_after_it(tmp_path: Path) -> None:
    bomb = zipped(("zeros", bytes(50_000_000)))
    assert len(bomb) < 100_000
    assert refusal(tmp_path, bomb) == "Unzipped size must be smaller than 262144000 bytes"
    assert (tmp_path / "out" / "zeros").stat().st_size <= 1_000_000


def test_a_bomb_that_lies_about_its_size_is_stopped_all_the_same(tmp_path: Path) -> None:
    bomb = bytearray(zipped(("zeros", bytes(5_000_000))))
    for signature, offset in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        struct.pack_into("<L", bomb, bomb.index(signature) + offset, 10)
    refusal(tmp_path, bytes(bomb))


def test_the_sum_counts_and_exactly_the_limit_is_too_much(tmp_path: Path) -> None:
    data = zipped(("a", bytes(500)), ("b", bytes(500)))
    (tmp_path / "one").mkdir()
    assert refusal(tmp_path / "one", data, 1_000) == "Unzipped size must be smaller than 262144000 bytes"
    (tmp_path / "two").mkdir()
    unpack_bytes(tmp_path / "two", data, 1_001)


def test_too_many_entries_are_refused_before_they_cost_memory(tmp_path: Path) -> None:
    central = b"".join(struct.pack("<4s4B4HL2L5H2L", b"PK\x01\x02", 20, 3, 20, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0)
                       + b"a" for _ in range(100_001))  # fmt: skip
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, len(central), 0, 0)
    assert refusal(tmp_path, central + end) == UNREADABLE


def test_of_two_entries_with_one_name_the_later_stays(tmp_path: Path) -> None:
    out = unpack_bytes(tmp_path, zipped(("a", b"first"), ("a", b"second")))
    assert (out / "a").read_bytes() == b"second"


def test_names_in_utf8_without_the_mark_are_read_as_utf8(tmp_path: Path) -> None:
    data = zipped(("\u00fcber.txt", b"x"))
    unmarked = bytearray(data)
    for signature, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        struct.pack_into("<H", unmarked, unmarked.index(signature) + offset, 0)
    out = unpack_bytes(tmp_path, bytes(unmarked))
    assert [p.name for p in out.iterdir()] == ["\u00fcber.txt"]


def test_zip64_archives_unpack(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, archive.open("big", "w", force_zip64=True) as file:
        file.write(b"x" * 10)
    assert (unpack_bytes(tmp_path, buffer.getvalue()) / "big").read_bytes() == b"x" * 10


PIECES = st.sampled_from(["..", ".", "a", "b", "", "c\\d", "é", "\0", "~", "x" * 300])
NAMES = st.one_of(st.lists(PIECES, min_size=1, max_size=5).map("/".join), st.text(max_size=12))
KINDS = st.sampled_from([0, stat.S_IFREG, stat.S_IFLNK, stat.S_IFDIR, stat.S_IFCHR])
ENTRIES = st.lists(st.tuples(NAMES, KINDS, NAMES), max_size=6)
A_ZIP = zipped(("app.py", b"code" * 50), ("lib/x", b"y"), link("lib/z", "x"))


def stays_inside(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        around = Path(name) / "a" / "b"
        around.mkdir(parents=True)
        try:
            unpack_bytes(around, data)
        except AwsError as error:
            assert error.code == "InvalidParameterValueException"  # noqa: PT017 - both outcomes are right
        out = around / "out"
        assert os.listdir(name) == ["a"]
        assert os.listdir(Path(name) / "a") == ["b"]
        assert sorted(os.listdir(around)) == ["out", "package.zip"]
        for found in out.rglob("*"):
            assert found.is_symlink() or found.is_file() or found.is_dir()
            assert Path(os.path.realpath(found)).is_relative_to(os.path.realpath(out))
        remove_tree(out)


@settings(max_examples=200)
@given(st.binary(max_size=300))
def test_whatever_the_bytes_nothing_lands_outside(data: bytes) -> None:
    stays_inside(data)


@settings(max_examples=300)
@given(ENTRIES)
def test_whatever_the_names_and_links_nothing_lands_outside(entries: list[tuple[str, int, str]]) -> None:
    made = []
    for name, kind, target in entries:
        info = entry("placeholder", kind | 0o755)
        info.filename = info.orig_filename = name
        made.append((info, target.encode("utf-8", "surrogatepass")))
    try:
        data = zipped(*made, compression=zipfile.ZIP_STORED)
    except (UnicodeEncodeError, ValueError):
        return
    stays_inside(data)


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(0, len(A_ZIP) - 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_whatever_is_flipped_in_a_good_archive_nothing_lands_outside(flips: list[tuple[int, int]]) -> None:
    data = bytearray(A_ZIP)
    for position, value in flips:
        data[position] = value
    stays_inside(bytes(data))

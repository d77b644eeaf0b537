"""Unpacks a deployment package into a directory, and nowhere else, however hostile it is.

The rules are `model/zip_rules`; here they are carried out. Sizes are counted while inflating, whatever the archive
says of itself. Files come first and links last, so nothing is ever written through a link.
"""

from __future__ import annotations

import errno
import os
import struct
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Final

import attrs

from lambent.model.limits import UNZIPPED_MAX_BYTES
from lambent.model.zip_rules import (
    ENTRIES_MAX,
    LINK_TARGET_MAX_BYTES,
    EntryKind,
    check_link,
    empty,
    entry_kind,
    entry_parts,
    is_executable,
    too_large,
    unreadable,
)

CHUNK_BYTES: Final = 256 * 1024
FILE_MODE: Final = 0o444
EXECUTABLE_MODE: Final = 0o555
DIRECTORY_MODE: Final = 0o555
_WRITABLE_DIRECTORY: Final = 0o755  # while it is being filled

_END: Final = b"PK\x05\x06"  # end of central directory: 22 bytes and a comment of at most 65,535
_LOCATOR: Final = b"PK\x06\x07"  # right before it: this archive is zip64
_LOCATOR_BYTES: Final = 20
_CENTRAL: Final = b"PK\x01\x02"  # begins each entry of the central directory
# What a seek to an impossible offset gives, and names that the file system does not take.
_ARCHIVES_FAULT: Final = (None, errno.EINVAL, errno.ENAMETOOLONG)
_ENCRYPTED: Final = 0x1
_NAMES_ARE_UTF8: Final = 0x800
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what AWS documents

Parts = tuple[str, ...]


@attrs.frozen
class Unpacked:
    """What came out of an archive."""

    size_bytes: int
    entries: int


@attrs.define
class _Plan:
    """What will be made, with every path already found harmless."""

    directories: dict[Parts, None] = attrs.field(factory=dict)  # parents before children
    files: dict[Parts, zipfile.ZipInfo] = attrs.field(factory=dict)
    links: dict[Parts, zipfile.ZipInfo] = attrs.field(factory=dict)

    @property
    def entries(self) -> int:
        return len(self.directories) + len(self.files) + len(self.links)


def unpack(archive: Path, target: Path, max_bytes: int = UNZIPPED_MAX_BYTES) -> Unpacked:
    """Fills `target`, an empty directory, and makes all in it read-only. Blocks.

    Raises AwsError InvalidParameterValueException, in AWS's words, for an archive that is not acceptable; `target`
    then holds anything. Raises OSError when this machine is at fault (a full disk).
    """
    try:
        with archive.open("rb") as file:
            _refuse_too_many(file)
            with zipfile.ZipFile(file) as opened:
                plan = _plan(opened.infolist())
                return _carry_out(opened, plan, target, max_bytes)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
        ValueError,
        struct.error,
    ) as error:
        # What zipfile raises for damage, for unknown compression and encryption, and for nonsense in its fields.
        raise unreadable() from error
    except OSError as error:
        if error.errno in _ARCHIVES_FAULT:
            raise unreadable() from error
        raise


def _refuse_too_many(file: IO[bytes]) -> None:
    """Counts entries before zipfile makes an object of a kilobyte for each."""
    size = file.seek(0, os.SEEK_END)
    tail_bytes = min(size, 22 + 65_535)
    file.seek(size - tail_bytes)
    tail = file.read(tail_bytes)
    end = tail.rfind(_END)
    if end < 0 or len(tail) - end < 22:
        raise unreadable()
    if size == 22:
        raise empty()
    (directory_bytes,) = struct.unpack_from("<L", tail, end + 12)
    is_zip64 = tail[max(0, end - _LOCATOR_BYTES) : end].startswith(_LOCATOR)
    if is_zip64:  # then zipfile goes by a record elsewhere, which cannot exceed the file either
        directory_bytes = size
    allowed = 2 * ENTRIES_MAX if is_zip64 else ENTRIES_MAX  # archives stored in a zip64 one are counted along
    file.seek(max(0, size - tail_bytes + end - directory_bytes))
    found, carried = 0, b""
    while chunk := file.read(CHUNK_BYTES):
        found += (carried + chunk).count(_CENTRAL)
        carried = chunk[-3:]
        if found > allowed:
            raise unreadable()
    file.seek(0)


def _plan(infos: Iterable[zipfile.ZipInfo]) -> _Plan:
    plan = _Plan()
    any_entry = False
    for info in infos:
        any_entry = True
        _add(plan, info)
        if plan.entries > ENTRIES_MAX:
            raise unreadable()
    if not any_entry:
        raise empty()
    taken = plan.files.keys() | plan.links.keys()
    if plan.files.keys() & plan.links.keys() or taken & plan.directories.keys():
        raise unreadable()  # one name that is two things
    return plan


def _add(plan: _Plan, info: zipfile.ZipInfo) -> None:
    if info.flag_bits & _ENCRYPTED or info.compress_type not in _METHODS or "\0" in info.orig_filename:
        raise unreadable()
    parts = entry_parts(_true_name(info))
    kind = entry_kind(info.filename, info.create_system, info.external_attr)
    if not parts:
        if kind is not EntryKind.DIRECTORY:
            raise unreadable()
        return
    parents = parts if kind is EntryKind.DIRECTORY else parts[:-1]
    for depth in range(1, len(parents) + 1):
        plan.directories.setdefault(parents[:depth])
    if kind is EntryKind.FILE:
        plan.files[parts] = info  # of two with one name the later stays, as with unzip
    elif kind is EntryKind.LINK:
        plan.links[parts] = info


def _true_name(info: zipfile.ZipInfo) -> str:
    """Names without the UTF-8 mark are read as code page 437; macOS and Info-ZIP put UTF-8 there all the same."""
    if info.flag_bits & _NAMES_ARE_UTF8 or info.filename.isascii():
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def _carry_out(opened: zipfile.ZipFile, plan: _Plan, target: Path, max_bytes: int) -> Unpacked:
    root = os.fspath(target)
    for parts in plan.directories:
        os.mkdir(os.path.join(root, *parts), _WRITABLE_DIRECTORY)
    total = 0
    for parts, info in plan.files.items():
        total += _write_file(opened, info, os.path.join(root, *parts), max_bytes - total)
    for parts, info in plan.links.items():
        destination = _link_target(opened, info)
        check_link(len(parts) - 1, destination)
        os.symlink(destination, os.path.join(root, *parts))
    for parts in reversed(plan.directories):
        os.chmod(os.path.join(root, *parts), DIRECTORY_MODE)
    os.chmod(root, DIRECTORY_MODE)
    return Unpacked(total, plan.entries)


def _write_file(opened: zipfile.ZipFile, info: zipfile.ZipInfo, path: str, room_bytes: int) -> int:
    """Returns the file's size, and refuses one that is larger than `room_bytes` (which AWS's limit excludes)."""
    mode = EXECUTABLE_MODE if is_executable(info.create_system, info.external_attr) else FILE_MODE
    written = 0
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb", buffering=0) as out, opened.open(info) as source:
        while chunk := source.read(CHUNK_BYTES):
            written += len(chunk)
            if written >= room_bytes:
                raise too_large()
            out.write(chunk)
        os.fchmod(fd, mode)
    return written


def _link_target(opened: zipfile.ZipFile, info: zipfile.ZipInfo) -> str:
    with opened.open(info) as source:
        raw = source.read(LINK_TARGET_MAX_BYTES + 1)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise unreadable() from None

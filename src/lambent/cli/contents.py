"""The files of a deployment: read from a file, a folder or a zip, and packed so that the same files give the same bytes."""

from __future__ import annotations

import io
import os
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs

from lambent.cli.problems import Problem

SKIPPED_DIRECTORIES: Final = frozenset(
    {".git", ".hg", ".svn", "__pycache__", ".venv", "venv", ".lambent", ".mypy_cache", ".pytest_cache", ".ruff_cache",
     ".tox", ".nox", ".idea", ".vscode", ".aws-sam"}
)  # fmt: skip
SKIPPED_FILES: Final = frozenset({".DS_Store", ".gitignore", "Thumbs.db"})
SKIPPED_SUFFIXES: Final = (".pyc", ".pyo", ".swp", "~")
EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can say


@attrs.frozen
class Entry:
    """One file or symbolic link of a package."""

    name: str  # with slashes, relative to the package's root
    data: bytes  # a link's data is its target
    mode: int  # permission and type bits of stat.st_mode

    @property
    def executable(self) -> bool:
        return bool(self.mode & 0o111)


@attrs.frozen
class Contents:
    """What will be deployed. `origin` is what the user named."""

    origin: Path
    entries: tuple[Entry, ...]
    archive: bytes | None = None  # a zip that came as one is sent as it is

    def names(self) -> list[str]:
        return [entry.name for entry in self.entries]

    def read(self, name: str) -> bytes | None:
        return next((entry.data for entry in self.entries if entry.name == name), None)

    def under(self, prefix: str) -> Contents:
        """The same files one directory further down; `prefix` without a final slash."""
        return Contents(self.origin, tuple(attrs.evolve(e, name=f"{prefix}/{e.name}") for e in self.entries))

    def packed(self) -> bytes:
        """The zip. Sorted, with fixed times and modes: it depends on names, contents and executable bits alone."""
        if self.archive is not None:
            return self.archive
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for entry in sorted(self.entries, key=lambda e: e.name):
                info = zipfile.ZipInfo(entry.name, EPOCH)
                info.compress_type = zipfile.ZIP_DEFLATED
                info.create_system = 3  # Unix, whatever this machine is: the modes below mean something
                info.external_attr = _plain_mode(entry.mode) << 16
                archive.writestr(info, entry.data)
        return buffer.getvalue()


def read_contents(path: Path) -> Contents:
    """A folder's files, a zip's, or the one file. Raises Problem."""
    try:
        if path.is_dir():
            contents = Contents(path, tuple(_folder(path)))
        elif zipfile.is_zipfile(path):
            contents = _zip(path)
        else:
            contents = Contents(path, (_file(path, path.name),))
    except OSError as error:
        raise Problem(f"{error.filename or path}: {error.strerror}; give a file, a folder or a zip") from error
    if not contents.entries:
        raise Problem(f"{path}: there is nothing in it to deploy")
    return contents


def is_skipped(path: Path) -> bool:
    """True for what never belongs in a package: caches, version control, virtual environments."""
    return (
        any(part in SKIPPED_DIRECTORIES for part in path.parts)
        or path.name in SKIPPED_FILES
        or path.name.endswith(SKIPPED_SUFFIXES)
    )


def _folder(root: Path) -> Iterator[Entry]:
    for directory, subdirectories, files in os.walk(root):
        here = Path(directory)
        links = [name for name in subdirectories if (here / name).is_symlink() and name not in SKIPPED_DIRECTORIES]
        subdirectories[:] = sorted(name for name in subdirectories if _wanted(here / name))
        for name in sorted([*files, *links]):
            path = here / name
            relative = path.relative_to(root)
            if not is_skipped(relative):
                yield _link(root, path) if path.is_symlink() else _file(path, relative.as_posix())


def _wanted(directory: Path) -> bool:
    return (
        directory.name not in SKIPPED_DIRECTORIES
        and not directory.is_symlink()
        and not (directory / "pyvenv.cfg").exists()
    )


def _file(path: Path, name: str) -> Entry:
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        raise Problem(f"{path}: neither a file nor a folder; take it out of what you deploy")
    return Entry(name, path.read_bytes(), mode)


def _link(root: Path, path: Path) -> Entry:
    """A link within the folder stays one; a link out of it to a file becomes that file."""
    name = path.relative_to(root).as_posix()
    target = path.readlink()
    if not target.is_absolute() and path.resolve().is_relative_to(root.resolve()):
        return Entry(name, str(target).encode(), stat.S_IFLNK | 0o777)
    if path.is_dir():
        raise Problem(f"{path} links to a folder outside of {root}; copy it in, or deploy a folder that holds both")
    return _file(path, name)


def _zip(path: Path) -> Contents:
    data = path.read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = tuple(
                Entry(info.filename, _peek(archive, info), info.external_attr >> 16)
                for info in archive.infolist()
                if not info.is_dir()
            )
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as error:
        raise Problem(f"{path}: {error}; is the zip whole and not encrypted?") from error
    return Contents(path, entries, data)


PEEK_SUFFIXES: Final = (".py", ".js", ".mjs", ".cjs", ".rb", ".class")


def _peek(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """What a guess may look into; the archive itself is sent as it is."""
    small = info.file_size <= 1024 * 1024
    return archive.read(info) if small and info.filename.endswith(PEEK_SUFFIXES) else b""


def _plain_mode(mode: int) -> int:
    if stat.S_ISLNK(mode):
        return stat.S_IFLNK | 0o777
    return stat.S_IFREG | (0o755 if mode & 0o111 else 0o644)

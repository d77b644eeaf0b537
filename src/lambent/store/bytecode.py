"""Puts compiled modules beside their sources in an unpacked package. What they are called and hold is hostile."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import secrets
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from lambent.store.archive import DIRECTORY_MODE, FILE_MODE

_FOLDER: Final = "__pycache__"
_WRITABLE: Final = 0o755
_TAG: Final = re.compile(r"[a-z]+-\d+")
# Of a file: the package has a folder there, or the tag is too much.
_NOT_A_NAME: Final = (errno.EISDIR, errno.ENAMETOOLONG)
_OPEN: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def write_bytecode(directory: Path, tag: str, modules: Mapping[str, bytes]) -> int:
    """For each source below `directory` by its path its bytecode, where Python looks for it; says how many. Blocks.

    `tag` is the interpreter's, "cpython-312": https://peps.python.org/pep-3147/. Paths that lead elsewhere, through
    links or to no source are passed over. Raises OSError.
    """
    if not _TAG.fullmatch(tag):
        raise ValueError(tag)
    written = 0
    for folder, paths in itertools.groupby(sorted(modules), key=os.path.dirname):
        sources = {name: path for path in paths if (name := os.path.basename(path)).endswith(".py")}
        with contextlib.suppress(_Elsewhere), _opened(directory, folder) as folder_fd:
            names = [name for name in sources if _is_source(name, folder_fd)]
            if names:
                with _cache(folder_fd) as cache_fd:
                    for name in names:
                        written += _write(f"{name[:-3]}.{tag}.pyc", modules[sources[name]], cache_fd)
    return written


class _Elsewhere(Exception):
    """A path that is not below the directory, or not that of a folder in it."""


@contextlib.contextmanager
def _opened(directory: Path, folder: str) -> Iterator[int]:
    """Raises _Elsewhere; OSError when `directory` itself is gone."""
    parts = folder.split("/") if folder else []
    if any(part in ("", ".", "..") for part in parts):
        raise _Elsewhere
    descriptor = os.open(directory, _OPEN)
    try:
        for part in parts:
            try:
                inner = os.open(part, _OPEN, dir_fd=descriptor)
            except (OSError, ValueError) as error:  # a link, a file, nothing, no name
                raise _Elsewhere from error
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)


def _is_source(name: str, folder_fd: int) -> bool:
    try:
        return stat.S_ISREG(os.stat(name, dir_fd=folder_fd, follow_symlinks=False).st_mode)
    except (OSError, ValueError):
        return False


@contextlib.contextmanager
def _cache(folder_fd: int) -> Iterator[int]:
    """The folder for bytecode, made where it is missing, and writable meanwhile. Raises _Elsewhere, OSError."""
    try:
        descriptor = os.open(_FOLDER, _OPEN, dir_fd=folder_fd)
    except FileNotFoundError:
        with _writable(folder_fd):
            os.mkdir(_FOLDER, dir_fd=folder_fd)
        descriptor = os.open(_FOLDER, _OPEN, dir_fd=folder_fd)
    except OSError as error:  # the package has something else by that name
        raise _Elsewhere from error
    try:
        with _writable(descriptor):
            yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _writable(descriptor: int) -> Iterator[None]:
    os.fchmod(descriptor, _WRITABLE)
    try:
        yield
    finally:
        os.fchmod(descriptor, DIRECTORY_MODE)


def _write(name: str, content: bytes, cache_fd: int) -> bool:
    """Whole or not at all: an environment may be reading. False for what cannot be called so. Raises OSError."""
    temporary = f".{secrets.token_hex(8)}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE, dir_fd=cache_fd)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, FILE_MODE)
            file.write(content)
        os.replace(temporary, name, src_dir_fd=cache_fd, dst_dir_fd=cache_fd)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=cache_fd)
        if isinstance(error, OSError) and error.errno in _NOT_A_NAME:
            return False
        raise
    return True

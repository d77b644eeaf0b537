"""Directories that are built under a name of their own and renamed when they are whole.

Whoever builds one holds a lock on it, which ends with the process: so what a killed one has left can be told from what another
one is building just now.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PREFIX: Final = ".new-"
LOCKED_WITHIN_S: Final = 10.0  # of its making, by whoever made it


@contextlib.contextmanager
def half_built(parent: Path) -> Iterator[Path]:
    """A directory to build in; rename it before the end. What killed processes have left beside it goes. Raises OSError."""
    parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(parent)
    building = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    try:
        with _opened(building) as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield building
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _remove_abandoned(parent: Path) -> None:
    for directory in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError), _opened(directory) as descriptor:  # another one may be removing it
            if time.time() - os.fstat(descriptor).st_ctime > LOCKED_WITHIN_S:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def _opened(directory: Path) -> Iterator[int]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)

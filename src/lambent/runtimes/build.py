"""`python -m lambent.runtimes.build DATA_DIR`: builds the directory of every interpreter that was found, and ends.

A server that was started as root runs this before it gives root up: zygotes execute what is in these directories as
root, so they must belong to root and not to the user that serves the network. It ends when its standard input does,
that is with the server: then another may start in the same directory, and a half-built one has no name yet.
"""

from __future__ import annotations

import logging
import os
import signal
import stat
import sys
import threading
from pathlib import Path
from typing import Final

from lambent.model.cage import RuntimeInstallation
from lambent.runtimes.errors import RuntimeNotUsable
from lambent.runtimes.find import Installations

log = logging.getLogger(__name__)

# Those that take a compiler come last, so that nobody waits for them who does not use them.
_LATE_FAMILIES: Final = ("java",)


def missing(installations: Installations) -> list[RuntimeInstallation]:
    """What `build_all` would build, in its order."""
    directories = installations.directories
    wanted = [
        i for i in installations.by_runtime.values() if not (directories.is_built(i) and directories.is_finished(i))
    ]
    return sorted(wanted, key=lambda i: (i.family in _LATE_FAMILIES, i.runtime), reverse=False)


def build_all(installations: Installations) -> int:
    """Builds what is missing; returns how many could not be built, each of which has been logged."""
    failed = 0
    for installation in missing(installations):
        try:
            installations.directories.complete(installation)
        except RuntimeNotUsable as error:
            log.error("%s", error)
            failed += 1
    return failed


def finish_all(installations: Installations) -> None:
    """The second round, for which nobody waits: it only makes directories faster."""
    directories = installations.directories
    for installation in installations.by_runtime.values():
        if directories.is_built(installation) and not directories.is_finished(installation):
            try:
                directories.finish(installation)
            except OSError as error:
                log.warning("The directory of %s stays slower than it could be: %s", installation.runtime, error)


def _end_with_input() -> None:
    """With the compilers that it has started; the server makes it the leader of its own group."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.killpg(0, signal.SIGKILL)


def main(data_dir: Path) -> int:
    if stat.S_ISFIFO(os.fstat(sys.stdin.fileno()).st_mode) and os.getpid() == os.getpgrp():
        threading.Thread(target=_end_with_input, daemon=True).start()
    installations = Installations.find(data_dir)
    failed = build_all(installations)
    os.nice(10)
    finish_all(installations)
    return min(1, failed)


if __name__ == "__main__":
    logging.basicConfig(format="%(levelname)s %(message)s")
    sys.exit(main(Path(sys.argv[1])))

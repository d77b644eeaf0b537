"""Deploying again on every save."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import click

from lambent.cli.contents import is_skipped
from lambent.cli.problems import Problem

QUIET_MS: Final = 50  # changes closer together than this are one save
GATHER_MS: Final = 300  # a save that goes on for longer is deployed in parts
ROUND_MS: Final = 200  # without a change; the first round says that the watch stands


def watch_and(path: Path, deploy: Callable[[], None]) -> None:
    """Calls `deploy` once the watch stands, so that no save falls between, and then after each save, until interrupted.

    Raises the first one's Problem; a later one is printed, and watching goes on.
    """
    import watchfiles

    root = path.resolve()
    watched = root if root.is_dir() else root.parent  # editors replace files, so a file itself cannot be watched

    def matters(_change: watchfiles.Change, changed: str) -> bool:
        if root.is_dir():
            return not is_skipped(Path(changed).relative_to(root))
        return Path(changed) == root

    rounds = watchfiles.watch(
        watched, watch_filter=matters, debounce=GATHER_MS, step=QUIET_MS, recursive=root.is_dir(),
        rust_timeout=ROUND_MS, yield_on_timeout=True, raise_interrupt=False,
    )  # fmt: skip
    for number, changes in enumerate(rounds):
        if number == 0:
            deploy()
            click.echo(f"Watching {path}; Ctrl-C ends it.", err=True)
        elif changes:
            try:
                deploy()
            except Problem as problem:
                problem.show()

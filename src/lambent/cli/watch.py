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


def watch_and(path: Path, again: Callable[[], None]) -> None:
    """Calls `again` after each save under `path`, until interrupted. A Problem is printed, and watching goes on."""
    import watchfiles

    root = path.resolve()
    watched = root if root.is_dir() else root.parent  # editors replace files, so a file itself cannot be watched

    def matters(_change: watchfiles.Change, changed: str) -> bool:
        if root.is_dir():
            return not is_skipped(Path(changed).relative_to(root))
        return Path(changed) == root

    click.echo(f"Watching {path}; Ctrl-C ends it.", err=True)
    saves = watchfiles.watch(
        watched, watch_filter=matters, debounce=GATHER_MS, step=QUIET_MS, recursive=root.is_dir(), raise_interrupt=False
    )
    for _ in saves:
        try:
            again()
        except Problem as problem:
            problem.show()

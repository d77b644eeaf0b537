"""Says on standard error what is being waited for, once that takes longer than a second."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from typing import Final

import click

PATIENCE_S: Final = 1.0
TICK_S: Final = 0.25


@contextlib.contextmanager
def progress(doing: str) -> Iterator[None]:
    """Shows `doing` and the seconds that passed; on a terminal one line that is wiped afterwards, else one line once."""
    done = threading.Event()
    thread = threading.Thread(target=_show, args=(doing, done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _show(doing: str, done: threading.Event) -> None:
    began = time.monotonic()
    if done.wait(PATIENCE_S):
        return
    stream = sys.stderr
    if not stream.isatty():
        click.echo(f"{doing} …", file=stream)
        return
    while not done.wait(TICK_S):
        click.echo(f"\r{doing} … {time.monotonic() - began:.0f} s", nl=False, file=stream)
    click.echo("\r\x1b[K", nl=False, file=stream)

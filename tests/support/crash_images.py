"""What a new server finds on the disk when the old one was killed right after a commit: for each commit of a test."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import attrs
import pytest

from lambent.store import database

T = TypeVar("T")


@attrs.frozen
class Image(Generic[T]):
    folder: Path
    known: T  # what the test knew then


def images_of(folder: Path, into: Path, monkeypatch: pytest.MonkeyPatch, known: Callable[[], T]) -> list[Image[T]]:
    """Grows with each commit of any database, until the patch is undone."""
    taken: list[Image[T]] = []
    run_batch: Callable[..., None] = database.run_batch

    one_at_a_time = threading.Lock()  # databases have a writer each, and an image shows all of them

    def run_and_copy(connection: sqlite3.Connection, batch: list[Any]) -> None:
        with one_at_a_time:
            run_batch(connection, batch)
            image = into / f"image-{len(taken)}"
            shutil.copytree(folder, image, ignore=shutil.ignore_patterns("*-shm"))  # SQLite makes it anew
            taken.append(Image(image, known()))

    monkeypatch.setattr(database, "run_batch", run_and_copy)
    return taken


def room(store: database.Database, pages: int) -> None:
    """The database may have so many more pages than it has now. Call it while nobody writes."""
    connection = store._writer_connection
    (now,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {now + pages}").fetchone()

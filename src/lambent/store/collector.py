"""Removes packages that no function and no layer names any more, and unpacked directories that nobody shows."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Set
from pathlib import Path
from typing import Final

from lambent.ports import Clock
from lambent.store.blobs import FileBlobs
from lambent.store.catalog import SqliteCatalog

log = logging.getLogger(__name__)

FIRST_AFTER_S: Final = 60.0  # a server has better things to do when it starts
EVERY_S: Final = 3_600.0


async def collect_now_and_then(
    catalog: SqliteCatalog, blobs: FileBlobs, in_use: Callable[[], Set[Path]], clock: Clock
) -> None:
    """Runs until cancelled. `in_use` gives the directories that live environments show."""
    await clock.sleep(FIRST_AFTER_S)
    while True:
        try:
            removed = await blobs.collect(await catalog.referenced_digests(), in_use())
        except (OSError, sqlite3.Error) as error:
            log.warning("packages that nothing needs could not be removed: %s", error)
        else:
            if removed:
                log.info("removed %d packages that nothing refers to", len(removed))
        await clock.sleep(EVERY_S)

"""`LastProcessingResult`: written when it changes, not with every batch."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable

from lambent.control.event_source_mappings import KIND
from lambent.ports import Catalog, CatalogTransaction
from lambent.sources.supervisor import Key
from lambent.store.database import StoreError

log = logging.getLogger(__name__)


class Results:
    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._latest: dict[Key, str] = {}  # what is to be written
        self._writing: set[asyncio.Task[None]] = set()

    def reporter(self, key: Key) -> Callable[[str], None]:
        """Takes the result of each batch of a mapping."""

        def report(result: str) -> None:
            if key in self._latest:
                self._latest[key] = result
                return
            mapping = self._catalog.document(KIND, *key)
            if mapping is None or mapping.get("LastProcessingResult") == result:
                return
            self._latest[key] = result
            task = asyncio.get_running_loop().create_task(self._write(key))
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)

        return report

    async def _write(self, key: Key) -> None:
        result = self._latest[key]

        def work(tx: CatalogTransaction) -> None:
            mapping = tx.document(KIND, *key)
            if mapping is not None:
                tx.put_document(KIND, *key, mapping | {"LastProcessingResult": result})

        try:
            await self._catalog.transact(work)
        except (sqlite3.Error, StoreError) as error:
            log.warning("the result of mapping %s cannot be written: %s", key[2], error)
        finally:
            last = self._latest.pop(key)
        if last != result:
            self.reporter(key)(last)

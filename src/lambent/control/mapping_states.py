"""Moves event source mappings on from the states in which operations leave them: Creating → Enabled, Deleting → gone."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from lambent.control.event_source_mappings import KIND, SETTLED_STATES
from lambent.ports import Catalog, CatalogTransaction, Clock

log = logging.getLogger(__name__)

RETRY_S: Final = 5.0  # after a fault of this machine's, which may pass (a full disk)


class MappingStates:
    """One task for the catalog's life. Start it with `run`; it ends when it is cancelled."""

    def __init__(self, catalog: Catalog, clock: Clock) -> None:
        self._catalog = catalog
        self._clock = clock
        self._changed: set[tuple[str, str, str]] = set()  # account, region, UUID
        self._wake = asyncio.Event()
        catalog.subscribe_documents(KIND, self._note)

    def _note(self, account_id: str, region: str, mapping_id: str) -> None:
        self._changed.add((account_id, region, mapping_id))
        self._wake.set()

    async def run(self) -> None:
        for account_id, region in self._catalog.document_places(KIND):
            for mapping_id in self._catalog.documents(KIND, account_id, region):
                self._note(account_id, region, mapping_id)
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._changed:
                key = self._changed.pop()
                try:
                    await self._settle(*key)
                except Exception:  # the task's outermost edge: nobody awaits it, and other mappings must not hang
                    log.exception("cannot settle the event source mapping %s; trying again in %s s", key[2], RETRY_S)
                    self._changed.add(key)
                    await self._clock.sleep(RETRY_S)

    async def _settle(self, account_id: str, region: str, mapping_id: str) -> None:
        seen = self._catalog.document(KIND, account_id, region, mapping_id)
        if seen is None or seen["State"] in SETTLED_STATES:
            return

        def work(tx: CatalogTransaction) -> None:
            current = tx.document(KIND, account_id, region, mapping_id)
            if current is None or current["State"] in SETTLED_STATES:
                return
            if current["State"] == "Deleting":
                tx.delete_document(KIND, account_id, region, mapping_id)
                return
            settled: dict[str, Any] = current | {"State": current["Wanted"], "LastModified": self._clock.now()}
            tx.put_document(KIND, account_id, region, mapping_id, settled)

        await self._catalog.transact(work)

"""Makes mappings what their documents say: each has a keeper of its own, so that a slow one delays nobody.

Creating, Enabling, Updating → Enabled     once its poller runs with these settings
Disabling → Disabled, Deleting → gone      once its poller has ended, with the batches that it had begun
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import attrs

from lambent.control.event_source_mappings import KIND, SETTLED_STATES
from lambent.ports import Catalog, CatalogTransaction, Clock
from lambent.sources.poller import RESULT_NOT_POLLED, Poller

log = logging.getLogger(__name__)

Key = tuple[str, str, str]  # account, region, UUID
Make = Callable[[Key, Mapping[str, Any]], Poller | None]
"""A poller for a stored mapping, not started; None for a kind of source that is not polled."""
Forget = Callable[[str], Awaitable[None]]
"""Takes away what is kept beside a mapping's document, by its UUID."""

PATIENCE_S: Final = 2.0
RETRY_S: Final = 5.0  # after a fault of this machine's, which may pass (a full disk)
# Members that say how it goes, and not what is wanted.
_CONDITION: Final = frozenset(
    {"State", "StateTransitionReason", "LastModified", "LastProcessingResult", "Wanted", "Tags"}
)


@attrs.define
class _Keeper:
    changed: asyncio.Event
    task: asyncio.Task[None] | None = None
    settings: Mapping[str, Any] | None = None  # of the poller
    poller: Poller | None = None
    ending: dict[Poller, asyncio.Task[None]] = attrs.field(factory=dict)  # pollers that begin nothing more


class Supervisor:
    """Start it with `run`, which ends when it is cancelled; then `close`."""

    def __init__(
        self, catalog: Catalog, clock: Clock, make: Make, forget: Forget | None = None, patience_s: float = PATIENCE_S
    ) -> None:
        """`patience_s`, of real time: how long a server that stops waits for batches that had begun."""
        self._catalog = catalog
        self._clock = clock
        self._make = make
        self._forget = forget
        self._patience_s = patience_s
        self._keepers: dict[Key, _Keeper] = {}
        self._noted: set[Key] = set()
        self._wake = asyncio.Event()
        catalog.subscribe_documents(KIND, self._note)

    async def run(self) -> None:
        for account_id, region in self._catalog.document_places(KIND):
            for mapping_id in self._catalog.documents(KIND, account_id, region):
                self._note(account_id, region, mapping_id)
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._noted:
                self._tell(self._noted.pop())

    async def close(self) -> None:
        """Ends every poller: gives back what was not begun, waits a little for the rest, which else comes again."""
        keepers = list(self._keepers.values())
        self._keepers.clear()
        pollers = [poller for keeper in keepers for poller in (keeper.poller, *keeper.ending) if poller is not None]
        tasks = [keeper.task for keeper in keepers if keeper.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(self._end(poller) for poller in pollers))

    async def _end(self, poller: Poller) -> None:
        try:
            async with asyncio.timeout(self._patience_s):
                await poller.stop_reading()
                await poller.finished()
        except TimeoutError:
            pass
        finally:
            await poller.abandon()

    def _note(self, account_id: str, region: str, mapping_id: str) -> None:
        self._noted.add((account_id, region, mapping_id))
        self._wake.set()

    def _tell(self, key: Key) -> None:
        keeper = self._keepers.get(key)
        if keeper is not None:
            keeper.changed.set()
        elif self._catalog.document(KIND, *key) is not None:
            keeper = self._keepers[key] = _Keeper(asyncio.Event())
            keeper.task = asyncio.get_running_loop().create_task(self._keep(key, keeper), name=f"mapping {key[2]}")

    async def _keep(self, key: Key, keeper: _Keeper) -> None:
        """Until the mapping is gone. There is no waiting between its last look and its leaving `_keepers`."""
        while True:
            keeper.changed.clear()
            try:
                await self._follow(key, keeper)
            except Exception:  # the task's outermost edge: nobody awaits it, and the mapping must not hang for ever
                log.exception("cannot settle the event source mapping %s; trying again in %s s", key[2], RETRY_S)
                await self._clock.sleep(RETRY_S)
                continue
            if keeper.poller is None and self._catalog.document(KIND, *key) is None:
                del self._keepers[key]
                return
            await keeper.changed.wait()

    async def _follow(self, key: Key, keeper: _Keeper) -> None:
        mapping = self._catalog.document(KIND, *key)
        is_wanted = mapping is not None and mapping["State"] != "Deleting" and mapping["Wanted"] == "Enabled"
        settings = _settings(mapping) if mapping is not None else None
        if keeper.poller is not None and (not is_wanted or settings != keeper.settings):
            await self._retire(keeper, keeper.poller)
        if keeper.ending and not (is_wanted and all(poller.may_overlap for poller in keeper.ending)):
            await asyncio.gather(*keeper.ending.values())
        if mapping is None:
            return
        problem = None
        if is_wanted and keeper.poller is None:
            keeper.poller, keeper.settings = self._make(key, mapping), settings
            if keeper.poller is not None:
                keeper.poller.start()
            else:
                problem = RESULT_NOT_POLLED
        if mapping["State"] == "Deleting" and self._forget is not None:
            await self._forget(key[2])
        if mapping["State"] not in SETTLED_STATES:
            await self._catalog.transact(lambda tx: self._settle(tx, key, mapping, problem))

    async def _retire(self, keeper: _Keeper, poller: Poller) -> None:
        await poller.stop_reading()
        keeper.poller = None
        ending = keeper.ending[poller] = asyncio.get_running_loop().create_task(poller.finished())
        ending.add_done_callback(lambda _: keeper.ending.pop(poller, None))

    def _settle(self, tx: CatalogTransaction, key: Key, seen: Mapping[str, Any], problem: str | None) -> None:
        current = tx.document(KIND, *key)
        if current != seen:  # changed meanwhile: the keeper was told and comes again
            return
        if current["State"] == "Deleting":
            tx.delete_document(KIND, *key)
            return
        told = {"LastProcessingResult": problem} if problem is not None else {}
        now_s = round(self._clock.now(), 3)
        tx.put_document(KIND, *key, current | told | {"State": current["Wanted"], "LastModified": now_s})


def _settings(mapping: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in mapping.items() if name not in _CONDITION}

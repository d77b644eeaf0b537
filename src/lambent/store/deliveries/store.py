"""The delivery store: what a rule or a schedule owes to a target, from the moment it is accepted until the target has it.

Whatever a method here returns from is durable. One server has the file at a time. Used on one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Final

from lambent.ports import Clock
from lambent.store.ascending_clock import AscendingClock
from lambent.store.database import Database
from lambent.store.deliveries import rows
from lambent.store.deliveries.rows import Accepted, Archived, Delivery, NewArchived, NewDelivery
from lambent.store.events.batches import Batches

FORGET_CHUNK: Final = 500  # archived events that are taken away in one transaction


class DeliveryStore:
    """One data directory's. Every method raises sqlite3.Error for a disk that fails."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = AscendingClock(clock, database.read_now(rows.last_written_ms) / 1000)
        self._accepting = Batches[Accepted](database, rows.accept, lambda each: each.weight)
        self.marks = database.read_now(rows.marks)  # as they are on disk

    @classmethod
    async def open(cls, path: Path, clock: Clock) -> DeliveryStore:
        """Opens or creates the file. Raises StoreError."""
        migrations = resources.files("lambent.store.deliveries") / "migrations"
        return cls(await asyncio.to_thread(Database.open, path, migrations), clock)

    async def close(self) -> None:
        """Safe to call twice."""
        await self._accepting.drained()
        await self._database.close()

    def now_ms(self) -> int:
        return int(self._clock.now() * 1000)

    # deliveries

    async def accept(
        self,
        deliveries: Sequence[NewDelivery],
        archived: Sequence[NewArchived] = (),
        marks: Mapping[str, int] | None = None,
    ) -> None:
        """Returns when all of it is durable, or nothing is."""
        accepted = Accepted(at_ms=self.now_ms(), deliveries=deliveries, archived=archived, marks=marks or {})
        await self._accepting.add(accepted)
        self.marks.update(accepted.marks)

    async def lanes(self) -> list[str]:
        """Those to which something is owed."""
        return await self._database.read(rows.lanes)

    async def due(self, lane: str, limit: int) -> tuple[list[Delivery], int | None]:
        """Oldest first; and when the next one is due (ms), if none is."""
        now_ms = self.now_ms()
        return await self._database.read(lambda c: rows.due(c, lane, now_ms, limit))

    async def end(self, delivery: Delivery, instead: NewDelivery | None = None) -> None:
        """It was taken, or is given up and `instead` is owed."""
        now_ms = self.now_ms()
        await self._database.write(lambda c: rows.end(c, delivery.id, instead, now_ms))

    async def postpone(self, delivery: Delivery, due_ms: int) -> None:
        await self._database.write(lambda c: rows.postpone(c, delivery.id, due_ms))

    # archives

    async def archived(self, archive: str, span_ms: tuple[int, int], after_id: int, limit: int) -> list[Archived]:
        """In the order in which they came; from the first millisecond, to before the second."""
        return await self._database.read(lambda c: rows.archived(c, archive, span_ms, after_id, limit))

    async def totals(self, archive: str) -> tuple[int, int]:
        """Events, and their bytes."""
        return await self._database.read(lambda c: rows.totals(c, archive))

    async def forget_archived(self, archive: str, before_ms: int | None = None) -> None:
        """Those that are older, or all."""
        while await self._database.write(lambda c: rows.forget_archived(c, archive, before_ms, FORGET_CHUNK)):
            pass

    # marks

    async def forget_mark(self, owner: str) -> None:
        if self.marks.pop(owner, None) is not None:
            await self._database.write(lambda c: rows.forget_mark(c, owner))

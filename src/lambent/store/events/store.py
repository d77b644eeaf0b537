"""The event store: takes asynchronous events, gives them out for attempts, remembers what happened to each.

Whatever a method here returns from is durable. One server has the file at a time, so a claim needs no time limit:
events that were being attempted when a server ended are free again when the next one opens the file.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Mapping, Sequence
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, Final

from lambent.model.invocation import Invocation
from lambent.ports import Clock
from lambent.store.ascending_clock import AscendingClock
from lambent.store.database import Database, StoreError
from lambent.store.events import reading, rows
from lambent.store.events.batches import Batches, Done
from lambent.store.events.reading import EventView, StepView
from lambent.store.events.rows import Accepted, Claim, Claimed, Delivery, Finished, FunctionKey, NewDelivery, NewStep

# How long the timeline reaches back, all of them ours; AWS has none.
KEEP_AGE_S: Final = 7 * 86_400
KEEP_EVENTS: Final = 1_000  # of each function, that are over
KEEP_BYTES: Final = 256 * 1024 * 1024  # of payloads of all events that are over
FORGET_EVERY_S: Final = 30.0

_log = logging.getLogger(__name__)


class EventStore:
    """One data directory's events. Used on one event loop. Every method raises sqlite3.Error for a disk that fails."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = AscendingClock(clock, database.read_now(rows.last_step_ms) / 1000)
        self._to_trim: set[FunctionKey] = set()  # functions that ended events since they were last looked at
        self._housekeeping: asyncio.Task[None] | None = None
        self._last_id = database.read_now(rows.last_id)
        self._changes = Batches[Accepted | Claim | Finished](
            database, rows.change, lambda each: each.weight, atomic=True
        )

    @classmethod
    async def open(cls, path: Path, clock: Clock) -> EventStore:
        """Opens or creates the file. Raises StoreError."""
        migrations = resources.files("lambent.store.events") / "migrations"
        store = cls(await asyncio.to_thread(Database.open, path, migrations), clock)
        interrupted = await store._database.write(lambda c: rows.recover(c, store.now_ms()))
        if interrupted:
            _log.info("%d asynchronous events were being attempted when the server ended: they go on", interrupted)
        store._housekeeping = asyncio.get_running_loop().create_task(store._forget_regularly(), name="events to forget")
        return store

    async def close(self) -> None:
        """Safe to call twice."""
        if self._housekeeping is not None:
            self._housekeeping.cancel()
            await asyncio.gather(self._housekeeping, return_exceptions=True)
        await self._changes.drained()
        await self._database.close()

    def now_ms(self) -> int:
        return int(self._clock.now() * 1000)

    # the queue

    async def accept(self, invocation: Invocation, detail: Mapping[str, Any] | None = None) -> None:
        """Returns when the event is durable. `detail` says how it came, for the timeline. The payload must be UTF-8."""
        await self._changes.add(self._new(invocation, detail or {}))

    def accept_soon(self, invocation: Invocation, detail: Mapping[str, Any], done: Done) -> None:
        """The same for callers who need no future: see `Batches.put`."""
        self._changes.put(self._new(invocation, detail), done)

    def _new(self, invocation: Invocation, detail: Mapping[str, Any]) -> Accepted:
        self._last_id += 1
        return Accepted(id=self._last_id, invocation=invocation, at_ms=self.now_ms(), detail=detail)

    async def waiting(self) -> tuple[list[FunctionKey], list[str]]:
        """Functions that have events which wait, and targets that something is to be sent to."""
        return await self._database.read(lambda c: (reading.functions_with_events(c), reading.targets(c)))

    async def claim(self, key: FunctionKey, limit: int) -> tuple[Sequence[Claimed], int | None]:
        """Begins attempts of due events, oldest first; if that were less than `limit`, also when the next one is due (ms)."""
        claim = Claim(key=key, now_ms=self.now_ms(), limit=limit)
        await self._changes.add(claim)
        return claim.claimed, claim.next_due_ms

    async def postpone(self, event: Claimed, due_ms: int, *, failed: bool, steps: Sequence[NewStep]) -> None:
        """The event waits again: `failed` when the function did, else it was refused and did not run."""
        await self._database.write(lambda c: rows.postpone(c, event, due_ms, failed=failed, steps=steps))

    async def finish(
        self, event: Claimed, attempts: int, steps: Sequence[NewStep], deliveries: Sequence[NewDelivery] = ()
    ) -> None:
        """The event is over; what is to be sent because of it is kept with that, or neither is."""
        at_ms = self.now_ms()
        finished = Finished(event_id=event.id, at_ms=at_ms, attempts=attempts, steps=steps, deliveries=deliveries)
        await self._changes.add(finished)
        invocation = event.invocation
        self._to_trim.add((invocation.account_id, invocation.region, invocation.function_name))

    async def note(
        self, invocation: Invocation, detail: Mapping[str, Any], attempts: int, steps: Sequence[NewStep]
    ) -> None:
        """Keeps in the timeline what was no asynchronous event, and is over: a batch of a queue or a stream."""
        accepted = self._new(invocation, detail)
        finished = Finished(event_id=accepted.id, at_ms=accepted.at_ms, attempts=attempts, steps=steps, deliveries=())

        await self._database.write(lambda c: rows.change(c, [accepted, finished]), atomic=True)
        self._to_trim.add((invocation.account_id, invocation.region, invocation.function_name))

    async def due_deliveries(self, target: str, limit: int) -> tuple[list[Delivery], int | None]:
        """Oldest first; also when the first that is not among them is due (ms), if there is one."""
        now_ms = self.now_ms()
        return await self._database.read(lambda c: reading.due_deliveries(c, target, now_ms, limit))

    async def end_delivery(self, delivery: Delivery, step: NewStep) -> None:
        """It was taken, or is given up: `step` says which."""
        await self._database.write(lambda c: rows.delivered(c, delivery, step))

    async def postpone_delivery(self, delivery: Delivery, due_ms: int, step: NewStep) -> None:
        await self._database.write(lambda c: rows.postpone_delivery(c, delivery, due_ms, step))

    # the timeline

    async def events(self, key: FunctionKey, limit: int) -> list[EventView]:
        """The newest events of a function, the newest last, without payloads."""
        return await self._database.read(lambda c: reading.events(c, key, limit))

    async def event(self, key: FunctionKey, request_id: str) -> EventView | None:
        """One event with its payload; None when it was never there or is forgotten."""
        return await self._database.read(lambda c: reading.event(c, key, request_id))

    async def invocation(self, key: FunctionKey, request_id: str) -> Invocation | None:
        """What was asked for with an event."""
        return await self._database.read(lambda c: reading.invocation(c, key, request_id))

    async def steps_after(self, key: FunctionKey, after: int, limit: int) -> list[StepView]:
        """What happened since the step of that id (0: ever), in order."""
        return await self._database.read(lambda c: reading.steps_after(c, key, after, limit))

    # housekeeping

    async def forget(self) -> None:
        """Forgets what the timeline need not show any more."""
        before_ms = self.now_ms() - KEEP_AGE_S * 1000
        while await self._database.write(lambda c: rows.forget_older(c, before_ms)):
            pass
        while self._to_trim:
            key = self._to_trim.pop()
            while await self._database.write(partial(rows.forget_beyond, key=key, keep=KEEP_EVENTS)):
                pass
        while await self._database.write(lambda c: rows.forget_heavier(c, KEEP_BYTES)):
            pass

    async def _forget_regularly(self) -> None:
        self._to_trim.update(await self._database.read(_functions))
        while True:
            try:
                await self.forget()
            except (sqlite3.Error, StoreError) as error:
                _log.error("events that are over could not be forgotten (%s); trying again later", error)
            await self._clock.sleep(FORGET_EVERY_S)


def _functions(connection: sqlite3.Connection) -> list[FunctionKey]:
    return connection.execute("SELECT DISTINCT account_id, region, name FROM events WHERE state = 2").fetchall()

"""The queue store: what it has taken is on disk before it says so, and stays there until its receiver says it is done.

Writing is one transaction for many callers at a time (`store.database`). Messages are chosen on disk by index, so
memory holds only the queues themselves and those who wait. Used on one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, Final, TypeVar

from lambent.model.errors import LambentError
from lambent.ports import NO_TELEMETRY, Clock, Telemetry
from lambent.store.ascending_clock import AscendingClock
from lambent.store.database import Database, StoreError
from lambent.store.queues import groups, moving, queues, receiving, sending, settling
from lambent.store.queues.arrivals import Arrivals
from lambent.store.queues.figures import QueueFigures
from lambent.store.queues.values import (
    IN_FLIGHT_MAX,
    Counts,
    DeadLetters,
    Ids,
    MoveTask,
    MoveTaskMissing,
    NewMessage,
    Queue,
    QueueKey,
    QueueMissing,
    Receipt,
    Received,
    Sent,
)
from lambent.store.sweeping import sweep_regularly

T = TypeVar("T")

CHUNK: Final = 500  # rows that are taken away in one transaction
LOOKED_AT: Final = 100  # queues that a reader looks at before others have their turn
SWEEP_EVERY_S: Final = 60.0
MOVE_CHUNK: Final = 100  # messages of a move task in one transaction, and so the most that are moved at once
RETRY_S: Final = 1.0  # after a write that failed

_log = logging.getLogger(__name__)


class QueueStore:
    """All queues of all accounts. Operations raise sqlite3.Error when the disk refuses, and nothing has happened then."""

    def __init__(self, database: Database, clock: Clock, telemetry: Telemetry = NO_TELEMETRY) -> None:
        self._database = database
        self._clock = AscendingClock(clock, database.read_now(queues.last_sent_ms) / 1000)
        self.figures = QueueFigures(telemetry, clock)
        self._ids = Ids(database.read_now(queues.last_id))
        self._queues = {queue.key: queue for queue in database.read_now(queues.all_queues)}
        self._by_id = {queue.id: queue for queue in self._queues.values()}
        self._arrivals: dict[int, Arrivals] = {}  # by the queue's id
        self._background: set[asyncio.Task[None]] = set()

    @classmethod
    async def open(cls, path: Path, clock: Clock, telemetry: Telemetry = NO_TELEMETRY) -> QueueStore:
        """Opens or creates the file, and goes on with what was interrupted. Raises StoreError."""
        migrations = resources.files("lambent.store.queues") / "migrations"
        store = cls(await asyncio.to_thread(Database.open, path, migrations), clock, telemetry)
        for task in await store._database.read(moving.running):
            store._spawn(store._move(task))
        for bucket in await store._database.read(queues.rubbish):
            store._spawn(store._clear(bucket))
        store._spawn(
            sweep_regularly(store.sweep, store._clock, SWEEP_EVERY_S, _log, "old messages cannot be taken away")
        )
        return store

    async def close(self) -> None:
        """Safe to call twice. Who waits for messages is told that there are none."""
        for task in list(self._background):
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        for arrivals in self._arrivals.values():
            arrivals.close()
        await self._database.close()

    # ── queues ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def queue(self, key: QueueKey) -> Queue:
        """Raises QueueMissing."""
        try:
            return self._queues[key]
        except KeyError:
            raise QueueMissing(key[2]) from None

    def by_arn(self, arn: str) -> Queue | None:
        parts = arn.split(":")
        if len(parts) != 6 or parts[0] != "arn" or parts[2] != "sqs":
            return None
        return self._queues.get((parts[4], parts[3], parts[5]))

    def queues_of(self, account_id: str, region: str) -> list[Queue]:
        """By name."""
        found = [q for q in self._queues.values() if q.account_id == account_id and q.region == region]
        return sorted(found, key=lambda q: q.name)

    def all_queues(self) -> list[Queue]:
        return list(self._queues.values())

    async def create(self, key: QueueKey, attributes: Mapping[str, str], tags: Mapping[str, str]) -> Queue:
        """Raises QueueExists, QueueDeletedRecently."""
        return await self._database.write(
            lambda c: queues.create(c, key, attributes, tags, self._now_ms()), self._remember
        )

    async def set_attributes(self, key: QueueKey, attributes: Mapping[str, str | None]) -> Queue:
        """Adds to what there is; None takes away. Raises QueueMissing."""
        return await self._database.write(
            lambda c: queues.set_attributes(c, key, attributes, self._now_ms()), self._remember
        )

    async def set_tags(self, key: QueueKey, tags: Mapping[str, str | None]) -> Queue:
        """The same for tags. Raises QueueMissing."""
        return await self._database.write(lambda c: queues.set_tags(c, key, tags), self._remember)

    async def delete(self, key: QueueKey) -> None:
        """With its messages. Raises QueueMissing."""
        gone = await self._database.write(lambda c: queues.delete(c, key, self._now_ms()), self._forget)
        self._spawn(self._clear(gone.bucket))

    async def purge(self, key: QueueKey) -> None:
        """Takes all messages away, at once. Raises QueueMissing, PurgeInProgress."""
        before = self.queue(key).bucket
        await self._database.write(lambda c: queues.purge(c, key, self._now_ms()), self._remember)
        self._spawn(self._clear(before))

    async def counts(self, queue: Queue) -> Counts:
        return await self._database.read(lambda c: queues.counts(c, queue.bucket, self._now_ms()))

    def oldest_ms(self) -> AsyncIterator[tuple[Queue, int | None]]:
        """When the oldest message of each queue was sent; None without any."""
        return self._of_each(lambda c, queue: queues.oldest_ms(c, queue.bucket))

    async def _of_each(self, look: Callable[[sqlite3.Connection, Queue], T]) -> AsyncIterator[tuple[Queue, T]]:
        """What a look at every queue finds. There may be many, and the way to a reader costs more than its look at one."""

        def work(connection: sqlite3.Connection) -> list[tuple[Queue, T]]:
            return [(queue, look(connection, queue)) for queue in some]

        all_queues = self.all_queues()
        for first in range(0, len(all_queues), LOOKED_AT):
            some = all_queues[first : first + LOOKED_AT]
            for found in await self._database.read(work):
                yield found

    def _remember(self, queue: Queue) -> None:
        self._queues[queue.key] = queue
        self._by_id[queue.id] = queue
        if queue.id in self._arrivals:
            self._arrivals[queue.id].expect(0.0)

    def _forget(self, queue: Queue) -> None:
        del self._queues[queue.key]
        del self._by_id[queue.id]
        self.figures.forget(queue)
        if queue.id in self._arrivals:
            self._arrivals.pop(queue.id).close()

    # ── messages ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def send(self, queue: Queue, messages: Sequence[NewMessage]) -> list[Sent]:
        """Returns when they are on disk; a duplicate is answered as the first was. Raises QueueMissing."""

        def arrived(result: sending.Arrived) -> None:
            if result.count:
                self._expect(queue.id, result.earliest_ms, result.count)

        result = await self._database.write(
            lambda c: sending.send(c, self._ids, queue, messages, self._now_ms()), arrived
        )
        self.figures.sent(queue, messages)
        return result.sent

    async def receive(
        self, queue: Queue, count: int, *, invisible_s: float, wait_s: float = 0.0, attempt_id: str | None = None
    ) -> list[Received]:
        """Up to `count` messages, hidden from others for `invisible_s`; waits up to `wait_s` for the first of them.

        Of FIFO queues at most ten. Raises QueueMissing, TooManyInFlight.
        """
        until_s = self._clock.now() + wait_s
        while True:
            queue = self._current(queue)
            arrivals = self._arrivals_of(queue.id)
            if arrivals.may_have or attempt_id is not None:
                received = await self._take(queue, arrivals, count, int(invisible_s * 1000), attempt_id)
                if received:
                    self.figures.received(queue, len(received))
                    return received
            left_s = until_s - self._clock.now()
            if left_s <= 0:
                self.figures.received(queue, 0)
                return []
            if not arrivals.may_have:
                await arrivals.wait(left_s)

    async def _take(
        self, queue: Queue, arrivals: Arrivals, count: int, invisible_ms: int, attempt_id: str | None
    ) -> list[Received]:
        wanted = receiving.Wanted(
            count=count,
            invisible_ms=invisible_ms,
            attempt_id=attempt_id,
            counts_in_flight=arrivals.in_flight_most + count > IN_FLIGHT_MAX,
        )
        dead_letters = self._dead_letters(queue)

        def looked(taken: receiving.Taken) -> None:
            if taken.in_flight is not None:
                arrivals.in_flight_most = taken.in_flight
            arrivals.in_flight_most += len(taken.received)
            if invisible_ms == 0 and taken.received:
                arrivals.expect(0.0)
            else:
                arrivals.looked(taken.earliest_ms)
            if taken.given_up and dead_letters is not None:
                self._expect(dead_letters.queue.id, 0.0, taken.given_up)

        work = lambda c: receiving.receive(c, self._ids, queue, wanted, dead_letters, self._now_ms())  # noqa: E731
        return (await self._database.write(work, looked)).received

    async def delete_messages(self, queue: Queue, receipts: Sequence[Receipt]) -> list[LambentError | None]:
        """For each receipt None, or ReceiptExpired. Raises QueueMissing."""
        problems = await self._settle(
            queue, lambda c: settling.delete(c, queue, receipts, self._now_ms()), deletes=True
        )
        self.figures.deleted(queue, problems.count(None))
        return problems

    async def hide_messages(self, queue: Queue, receipts: Sequence[tuple[Receipt, float]]) -> list[LambentError | None]:
        """Invisible for so many seconds from now. For each None, or NotInFlight, ReceiptExpired, InvisibleTooLong.

        Raises QueueMissing.
        """
        in_ms = [(receipt, int(for_s * 1000)) for receipt, for_s in receipts]
        return await self._settle(queue, lambda c: settling.hide(c, queue, in_ms, self._now_ms()))

    async def _settle(
        self, queue: Queue, work: Callable[[sqlite3.Connection], settling.Settled], deletes: bool = False
    ) -> list[LambentError | None]:
        def settled(result: settling.Settled) -> None:
            arrivals = self._arrivals_of(queue.id)
            if deletes:
                arrivals.in_flight_most = max(0, arrivals.in_flight_most - result.deleted)
            if result.earliest_ms != settling.NEVER_MS:
                arrivals.expect(result.earliest_ms)

        return (await self._database.write(work, settled)).problems

    def _dead_letters(self, queue: Queue) -> DeadLetters | None:
        target = queue.redrive_target
        found = self.by_arn(target[0]) if target is not None else None
        return DeadLetters(found, target[1]) if found is not None and target is not None else None

    # ── move tasks ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def start_move(self, source: Queue, destination_arn: str | None, per_second: int | None) -> MoveTask:
        """Raises MoveTaskRunning."""
        task = await self._database.write(
            lambda c: moving.start(c, self._current(source), destination_arn, per_second, self._now_ms())
        )
        self._spawn(self._move(task))
        return task

    async def cancel_move(self, task_id: str) -> MoveTask:
        """Raises MoveTaskMissing when it does not run."""
        return await self._database.write(lambda c: moving.cancel(c, task_id))

    async def move_tasks(self, source: Queue, limit: int) -> list[MoveTask]:
        """Newest first."""
        return await self._database.read(lambda c: moving.tasks(c, source.id, limit))

    async def _move(self, task: MoveTask) -> None:
        limit = min(task.per_second or MOVE_CHUNK, MOVE_CHUNK)
        while task.status == "RUNNING" and task.source_id in self._by_id:
            try:
                moved = await self._database.write(partial(self._move_step, task=task, limit=limit))
            except MoveTaskMissing:
                return
            except sqlite3.Error as error:
                _log.error("messages of %s cannot be moved (%s): trying again", task.source_arn, error)
                await self._clock.sleep(RETRY_S)
                continue
            for queue_id, count in moved.into.items():
                self._expect(queue_id, 0.0, count)
            task = moved.task
            if task.per_second is not None and task.status == "RUNNING":
                await self._clock.sleep(limit / task.per_second)

    def _move_step(self, connection: sqlite3.Connection, task: MoveTask, limit: int) -> moving.Moved:
        """On the writer's thread, where queues are looked up on disk."""

        def find(arn: str) -> Queue | None:
            parts = arn.split(":")
            with contextlib.suppress(QueueMissing, IndexError):
                return queues.queue(connection, (parts[4], parts[3], parts[5]))
            return None

        source = find(task.source_arn)
        if source is None or source.id != task.source_id:
            raise MoveTaskMissing(task.id)
        return moving.step(connection, self._ids, task.id, source, find, limit, self._now_ms())

    # ── what is done beside ───────────────────────────────────────────────────────────────────────────────────────────

    async def sweep(self) -> None:
        """Takes away what is older than it may be: messages, deduplication ids, attempts."""
        while await self._database.write(lambda c: queues.forget(c, self._now_ms(), CHUNK)):
            pass
        now_ms = self._now_ms()
        async for queue, expired in self._of_each(
            lambda c, queue: queues.expired(c, queue.bucket, now_ms, now_ms - 1000 * queue.retention_s, 1)
        ):
            while expired and await self._expire(queue.bucket, now_ms - 1000 * queue.retention_s):
                pass

    async def _expire(self, bucket: int, before_ms: int) -> bool:
        now_ms = self._now_ms()

        def work(connection: sqlite3.Connection) -> bool:
            rows = queues.expired(connection, bucket, now_ms, before_ms, CHUNK)
            queues.remove(connection, rows)
            for group_id in {row[1] for row in rows if row[1] is not None}:
                groups.refresh(connection, bucket, group_id, now_ms)
            return len(rows) == CHUNK

        return await self._database.write(work)

    async def _clear(self, bucket: int) -> None:
        with contextlib.suppress(StoreError):  # closed meanwhile: the next start goes on
            while True:
                try:
                    if not await self._database.write(lambda c: queues.clear(c, bucket, CHUNK)):
                        return
                except sqlite3.Error as error:
                    _log.error("messages of a queue that is gone cannot be taken away (%s): trying again", error)
                    await self._clock.sleep(RETRY_S)

    def _arrivals_of(self, queue_id: int) -> Arrivals:
        arrivals = self._arrivals.get(queue_id)
        if arrivals is None:
            arrivals = Arrivals(self._clock)
            if queue_id in self._by_id:
                self._arrivals[queue_id] = arrivals
        return arrivals

    def _expect(self, queue_id: int, visible_ms: float, count: int) -> None:
        arrivals = self._arrivals.get(queue_id)
        if arrivals is not None:
            arrivals.expect(visible_ms, count)

    def _current(self, queue: Queue) -> Queue:
        """As it is now. Raises QueueMissing."""
        try:
            return self._by_id[queue.id]
        except KeyError:
            raise QueueMissing(queue.name) from None

    def _now_ms(self) -> int:
        return int(self._clock.now() * 1000)

    def _spawn(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

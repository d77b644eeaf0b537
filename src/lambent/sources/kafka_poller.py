"""Kafka → function: a runner for each partition, and what is done committed to the mapping's consumer group.

A batch is of one partition, which keeps its order; partitions do not wait for each other.
https://docs.aws.amazon.com/lambda/latest/dg/with-kafka.html
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Coroutine
from typing import Any, Final
from weakref import WeakKeyDictionary

from lambent.model.event_source import NO_RECORDS_YET
from lambent.model.kafka_records import partition_name
from lambent.model.stream_records import StreamRecord
from lambent.ports import Clock
from lambent.sources.brokers import Brokers
from lambent.sources.kafka_session import CLOSE_S, READ_WAIT_MS, KafkaSession
from lambent.sources.poller import RESULT_OK, BackOff
from lambent.sources.problem import SourceProblem
from lambent.sources.shard_runner import ShardRunner, Task
from lambent.sources.shards import Page
from lambent.sources.stream_poller import BEGINNING
from lambent.store.checkpoints import CheckpointStore
from lambent.store.database import StoreError
from lambent.telemetry.waiting import first_of

log = logging.getLogger(__name__)

CHECK_EVERY_S: Final = 15.0  # whether the cluster still answers, for a consumer that is cut off only falls silent
BROKEN_FIRST_S: Final = 1.0
BROKEN_LONGEST_S: Final = 60.0
REVOKE_PATIENCE_S: Final = (
    30.0  # for batches that run while others are to have their partitions; real time, as the broker's
)


class KafkaPoller:
    """One mapping's. Implements `poller.Poller`."""

    may_overlap = False  # both would be the same member of the group

    def __init__(self, task: Task, brokers: Brokers, checkpoints: CheckpointStore, clock: Clock) -> None:
        mapping = task.mapping
        self._task = task
        self._mapping = mapping
        self._mapping_id: str = mapping["UUID"]
        self._topic: str = mapping["Topics"][0]  # AWS's model: there is one
        self._group_id: str = mapping["SelfManagedKafkaEventSourceConfig"]["ConsumerGroupId"]
        self._name = f"mapping {self._mapping_id} of {task.form.source}"
        self._brokers = brokers
        self._checkpoints = checkpoints
        self._clock = clock
        self._session: KafkaSession | None = None
        self._runners: dict[int, ShardRunner] = {}  # by partition
        self._running: dict[int, asyncio.Task[None]] = {}
        self._coordinator: asyncio.Task[None] | None = None
        self._committed: WeakKeyDictionary[ShardRunner, str] = WeakKeyDictionary()  # what each is known to have done
        self._broken = BackOff(BROKEN_FIRST_S, BROKEN_LONGEST_S)
        self._has_read = False

    # ── its life ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        self._coordinator = asyncio.get_running_loop().create_task(self._coordinate(), name=self._name)

    async def stop_reading(self) -> None:
        if self._coordinator is not None:
            self._coordinator.cancel()
            await asyncio.gather(self._coordinator, return_exceptions=True)
        self._stop_runners(set(self._runners))

    async def finished(self) -> None:
        await self._all_ended()
        await self._close()

    async def abandon(self) -> None:
        tasks = [*self._running.values(), *([self._coordinator] if self._coordinator is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._close()

    async def _close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    # ── the member ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _coordinate(self) -> None:
        while True:
            try:
                await self._serve()
            except SourceProblem as problem:
                self._task.report(problem.result)
                await self._pause(str(problem))
            except (sqlite3.Error, StoreError) as error:
                await self._pause(f"the disk refuses ({error}); make room.")
            except Exception:  # the task's outermost edge: nobody awaits it
                log.exception("%s broke: report it with this traceback", self._name)
                await self._pause("see above.")

    async def _pause(self, why: str) -> None:
        if not self._broken.failures:
            log.warning("%s cannot go on: %s Trying again", self._name, why)
        self._stop_runners(set(self._runners))
        await self._all_ended()
        await self._close()
        await self._clock.sleep(self._broken.next_s())

    async def _serve(self) -> None:
        """Raises SourceProblem, sqlite3.Error, StoreError."""
        cluster = await self._brokers.kafka(self._mapping)
        session = self._session = KafkaSession(cluster, self._topic, self._group_id, self._mapping_id, self._revoke)
        if BEGINNING not in await self._checkpoints.positions(self._mapping_id):
            since_s = self._mapping.get("StartingPositionTimestamp")
            await _in_one_piece(session.begin_at(self._mapping["StartingPosition"], since_s))
            await self._checkpoints.save(self._mapping_id, BEGINNING, {"since": self._clock.now()})
        await _in_one_piece(session.open())
        while True:
            await first_of(session.changed.wait(), self._clock.sleep(CHECK_EVERY_S))
            if session.problem is not None:
                raise session.problem
            if session.changed.is_set():
                session.changed.clear()
                self._works()
                for partition in session.assigned - self._runners.keys():
                    self._start_runner(session, partition)
            else:
                await session.check()

    def _works(self) -> None:
        if self._broken.failures:
            self._task.report(RESULT_OK if self._has_read else NO_RECORDS_YET)
        self._broken.worked()

    async def _revoke(self, partitions: set[int]) -> None:
        self._stop_runners(partitions)
        running = [task for partition, task in self._running.items() if partition in partitions]
        if running:
            await asyncio.wait(running, timeout=REVOKE_PATIENCE_S)

    # ── partitions ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _start_runner(self, session: KafkaSession, partition: int) -> None:
        moved = asyncio.Event()
        reader = _Reader(session, partition)
        runner = ShardRunner(self._task, partition_name(self._topic, partition), reader, {}, moved)
        self._runners[partition] = runner
        run = self._run(session, partition, reader, runner, moved, after=self._running.get(partition))
        task = self._running[partition] = asyncio.get_running_loop().create_task(run, name=f"{self._name} {partition}")
        task.add_done_callback(lambda done: self._ended(partition, done))

    def _stop_runners(self, partitions: set[int]) -> None:
        for partition in partitions & self._runners.keys():
            self._runners.pop(partition).stop()

    def _ended(self, partition: int, task: asyncio.Task[None]) -> None:
        if self._running.get(partition) is task:
            del self._running[partition]

    async def _all_ended(self) -> None:
        while self._running:
            await asyncio.wait(self._running.values())

    async def _run(
        self,
        session: KafkaSession,
        partition: int,
        reader: _Reader,
        runner: ShardRunner,
        moved: asyncio.Event,
        after: asyncio.Task[None] | None,
    ) -> None:
        if after is not None:  # the partition went and came again while a batch of it ran on
            await asyncio.wait({after})
        saver = asyncio.ensure_future(self._commit_whenever(session, partition, runner, moved))
        try:
            await runner.run()
        except Exception:  # the task's outermost edge: nobody awaits it
            log.exception("%s of %s broke: report it with this traceback", runner.shard, self._name)
            await self._clock.sleep(BROKEN_LONGEST_S)
        finally:
            saver.cancel()
            await asyncio.gather(saver, return_exceptions=True)
        await self._commit(session, partition, runner)
        if self._runners.get(partition) is runner:  # it broke, and is begun anew
            del self._runners[partition]
            if (done := runner.position.get("after")) is not None:
                session.rewind(partition, int(done) + 1)
            elif reader.first is not None:
                session.rewind(partition, int(reader.first))
            session.changed.set()

    async def _commit_whenever(
        self, session: KafkaSession, partition: int, runner: ShardRunner, moved: asyncio.Event
    ) -> None:
        while True:
            await moved.wait()
            moved.clear()
            self._has_read = True
            await self._commit(session, partition, runner)

    async def _commit(self, session: KafkaSession, partition: int, runner: ShardRunner) -> None:
        done = runner.position.get("after")
        if done is None or self._committed.get(runner) == done:
            return
        try:
            await session.commit(partition, int(done) + 1)
            self._committed[runner] = done
        except SourceProblem as problem:
            log.info(
                "%s: what is done of %s is not committed, and may come again: %s", self._name, runner.shard, problem
            )


async def _in_one_piece(work: Coroutine[Any, Any, None]) -> None:
    """Lets it end, if that does not take long, before it is cancelled: aiokafka forgets connections that it is just making."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task}, timeout=CLOSE_S)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise


class _Reader:
    """One partition's. Implements `shards.ShardReader`."""

    def __init__(self, session: KafkaSession, partition: int) -> None:
        self._session = session
        self._partition = partition
        self._waited_for: list[StreamRecord] = []
        self.first: str | None = None  # offset of the first record that was given

    async def read(self, limit: int) -> Page:
        records, self._waited_for = self._waited_for, []
        records = records or await self._session.read(self._partition, limit)
        if self.first is None and records:
            self.first = records[0].sequence
        return Page(records, False)

    async def wait(self) -> None:
        while not self._waited_for:
            if self._session.problem is not None or self._partition not in self._session.assigned:
                await asyncio.Event().wait()  # until the runner is stopped
            self._waited_for = await self._session.read(self._partition, 1, READ_WAIT_MS)

"""Kinesis and DynamoDB Streams → function: a runner for each shard, children after their parents, checkpoints on disk.

https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html, with-ddb.html
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Mapping
from typing import Any, Final

from lambent.model.errors import AwsError
from lambent.ports import Clock
from lambent.sources.poller import BackOff
from lambent.sources.shard_runner import ShardRunner, Task
from lambent.sources.shards import Shard, Stream
from lambent.store.checkpoints import CheckpointStore
from lambent.store.database import StoreError
from lambent.store.rewriting import until_written
from lambent.telemetry.waiting import first_of

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 60.0  # at the stream's shards, when none has ended
BROKEN_FIRST_S: Final = 1.0
BROKEN_LONGEST_S: Final = 60.0
BEGINNING: Final = ""  # the checkpoint of no shard: when the mapping began


class StreamPoller:
    """One mapping's. Implements `poller.Poller`."""

    may_overlap = False  # both would read behind the same checkpoints

    def __init__(self, task: Task, stream: Stream, checkpoints: CheckpointStore, clock: Clock) -> None:
        self._task = task
        self._mapping_id: str = task.mapping["UUID"]
        self._stream = stream
        self._checkpoints = checkpoints
        self._clock = clock
        self._began_s = 0.0
        self._known: dict[str, dict[str, Any]] = {}  # checkpoints by shard, as they are on disk
        # Shards that are done, and up to which sequence number: one that begins behind it is another stream's of the same name.
        self._over: dict[str, str | None] = {}
        self._firsts: dict[str, str] = {}  # where each begins
        self._runners: dict[str, ShardRunner] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._ended = asyncio.Event()  # a shard has
        self._coordinator: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._began_s = self._clock.now()
        self._coordinator = asyncio.get_running_loop().create_task(
            self._coordinate(), name=f"mapping {self._mapping_id} of {self._stream.arn}"
        )

    async def stop_reading(self) -> None:
        if self._coordinator is not None:
            self._coordinator.cancel()
            await asyncio.gather(self._coordinator, return_exceptions=True)
        for runner in self._runners.values():
            runner.stop()

    async def finished(self) -> None:
        while self._running:
            await asyncio.wait(self._running)

    async def abandon(self) -> None:
        tasks = [*self._running, *([self._coordinator] if self._coordinator is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ── shards ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _coordinate(self) -> None:
        back_off = BackOff(BROKEN_FIRST_S, BROKEN_LONGEST_S)
        while True:
            self._ended.clear()
            try:
                if not self._known:
                    await self._begin()
                self._start_runners(await self._stream.shards())
            except (AwsError, sqlite3.Error, StoreError) as error:
                if not back_off.failures:
                    log.warning("%s cannot be read (%s); trying again", self._stream.arn, error)
                await self._clock.sleep(back_off.next_s())
                continue
            except Exception:  # the task's outermost edge: nobody awaits it
                log.exception("reading %s broke: report it with this traceback", self._stream.arn)
                await self._clock.sleep(back_off.next_s())
                continue
            back_off.worked()
            await first_of(self._ended.wait(), self._clock.sleep(LOOK_EVERY_S))

    async def _begin(self) -> None:
        """Reads the checkpoints; when there are none, the moment at which the mapping began is kept first."""
        known = await self._checkpoints.positions(self._mapping_id)
        if BEGINNING not in known:
            known[BEGINNING] = {"since": self._began_s}
            await self._checkpoints.save(self._mapping_id, BEGINNING, known[BEGINNING])
        self._over = {shard: position.get("after") for shard, position in known.items() if position.get("over")}
        self._known = known

    def _start_runners(self, shards: list[Shard]) -> None:
        """For every shard whose parents are done or gone."""
        self._firsts = {shard.name: shard.first for shard in shards}
        waited_for = {shard.name for shard in shards if not self._is_over(shard)}
        for shard in shards:
            if shard.name in waited_for and shard.name not in self._runners and waited_for.isdisjoint(shard.parents):
                position = self._known.get(shard.name)
                if position is None or position.get("over"):
                    position = self._starting_position(self._known[BEGINNING]["since"])
                self._start_runner(shard.name, position)

    def _is_over(self, shard: Shard) -> bool:
        done = self._over.get(shard.name, "")
        return done is None or (done != "" and int(shard.first) <= int(done))

    def _starting_position(self, began_s: float) -> dict[str, Any]:
        """Shards that were split off since hold nothing older, so it is right for them too."""
        mapping = self._task.mapping
        match mapping.get("StartingPosition"):
            case "LATEST":
                return {"since": began_s}
            case "AT_TIMESTAMP":
                return {"since": mapping["StartingPositionTimestamp"]}
            case _:
                return {"type": "TRIM_HORIZON"}

    def _start_runner(self, shard: str, position: Mapping[str, Any]) -> None:
        moved = asyncio.Event()
        reader = self._stream.reader(shard, position)
        runner = ShardRunner(self._task, shard, reader, position, moved)
        self._runners[shard] = runner
        task = asyncio.get_running_loop().create_task(self._run(runner, moved), name=f"{self._stream.arn} {shard}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _run(self, runner: ShardRunner, moved: asyncio.Event) -> None:
        saver = asyncio.ensure_future(self._save_whenever(runner, moved))
        try:
            await runner.run()
        except Exception:  # the task's outermost edge: nobody awaits it
            log.exception("%s of %s broke: report it with this traceback", runner.shard, self._stream.arn)
            await self._clock.sleep(BROKEN_LONGEST_S)
        finally:
            saver.cancel()
            await asyncio.gather(saver, return_exceptions=True)
        await self._save(runner)
        del self._runners[runner.shard]
        if runner.is_over:
            self._over[runner.shard] = self._known[runner.shard].get("after")
        self._ended.set()

    async def _save_whenever(self, runner: ShardRunner, moved: asyncio.Event) -> None:
        while True:
            await moved.wait()
            moved.clear()
            await self._save(runner)

    async def _save(self, runner: ShardRunner) -> None:
        position = runner.position
        if position.get("over") and "after" not in position and runner.shard in self._firsts:
            position["after"] = self._firsts[runner.shard]
        with contextlib.suppress(StoreError):  # the server is stopping
            await until_written(
                "a checkpoint", lambda: self._checkpoints.save(self._mapping_id, runner.shard, position)
            )
            self._known[runner.shard] = position

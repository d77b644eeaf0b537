"""The stream store: what it has taken is on disk before it says so, and stays for as long as the stream retains it.

Writing is one transaction for many callers at a time (`store.database`). Memory holds streams, shards and where each
ends, never records. Used on one event loop.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, Final

from lambent.ports import NO_TELEMETRY, Clock, Telemetry
from lambent.store.database import Database, StoreError
from lambent.store.streams import records, rows
from lambent.store.streams.figures import StreamFigures
from lambent.store.streams.values import (
    NewRecord,
    Page,
    Placed,
    Shard,
    Stream,
    StreamExists,
    StreamKey,
    StreamMissing,
)
from lambent.store.streams.waiting import Waiting
from lambent.store.sweeping import sweep_regularly

CHUNK: Final = 500  # records that are taken away in one transaction
SWEEP_EVERY_S: Final = 60.0

_log = logging.getLogger(__name__)


class StreamStore:
    """All streams of all accounts. Operations raise sqlite3.Error when the disk refuses, and nothing has happened then."""

    def __init__(self, database: Database, clock: Clock, telemetry: Telemetry = NO_TELEMETRY) -> None:
        self._figures = StreamFigures(telemetry)
        self._database = database
        self._clock = clock
        self._writer = records.Writer()
        self._waiting = Waiting(clock)
        self._background: set[asyncio.Task[None]] = set()
        self.secret = database.read_now(rows.secret)
        self._streams: dict[StreamKey, Stream] = {}
        self._by_id: dict[int, Stream] = {}
        for stream in database.read_now(rows.all_streams):
            self._remember(stream)
        for shard_id, position in database.read_now(self._ends):
            self._waiting.reached(shard_id, position)

    def _ends(self, connection: sqlite3.Connection) -> list[tuple[int, int]]:
        shards = [shard for stream in self._streams.values() for shard in stream.shards]
        return [(shard.id, records.end(connection, shard)[0]) for shard in shards]

    @classmethod
    async def open(cls, path: Path, clock: Clock, telemetry: Telemetry = NO_TELEMETRY) -> StreamStore:
        """Opens or creates the file, and goes on with what was interrupted. Raises StoreError."""
        migrations = resources.files("lambent.store.streams") / "migrations"
        store = cls(await asyncio.to_thread(Database.open, path, migrations), clock, telemetry)
        store._clear_later(await store._database.read(rows.rubbish))
        store._spawn(
            sweep_regularly(store.sweep, store._clock, SWEEP_EVERY_S, _log, "old records cannot be taken away")
        )
        return store

    async def close(self) -> None:
        """Safe to call twice."""
        for task in list(self._background):
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        self._waiting.close()
        await self._database.close()

    # ── streams ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def stream(self, key: StreamKey) -> Stream:
        """Raises StreamMissing."""
        try:
            return self._streams[key]
        except KeyError:
            raise StreamMissing(key[2]) from None

    def by_id(self, stream_id: int) -> Stream:
        """Raises StreamMissing."""
        try:
            return self._by_id[stream_id]
        except KeyError:
            raise StreamMissing(str(stream_id)) from None

    def streams_of(self, account_id: str, region: str) -> list[Stream]:
        """By name."""
        found = [s for s in self._streams.values() if s.account_id == account_id and s.region == region]
        return sorted(found, key=lambda stream: stream.name)

    async def create(self, stream: Stream) -> Stream:
        """Its id and its shards' are chosen here. Raises StreamExists."""
        if stream.key in self._streams:
            raise StreamExists(stream.name)
        return await self._database.write(lambda c: rows.create(c, stream), self._remember)

    async def change(self, key: StreamKey, decide: Callable[[Stream], Stream]) -> Stream:
        """`decide` makes of the stream what it shall be: on the writer's thread, in turn with all other writing.

        It may close shards and add some without an id. Raises StreamMissing, and what it raises.
        """
        return await self._database.write(lambda c: rows.change(c, key, decide), self._remember)

    async def delete(self, key: StreamKey, check: Callable[[Stream], None]) -> None:
        """With its records. Raises StreamMissing, and what `check` raises."""

        def work(connection: sqlite3.Connection) -> Stream:
            gone = rows.delete(connection, key, check)
            self._writer.forget(gone)
            return gone

        gone = await self._database.write(work, self._forget)
        self._clear_later([shard.id for shard in gone.shards])

    def _remember(self, stream: Stream) -> None:
        known = self._by_id.get(stream.id)
        self._streams[stream.key] = stream
        self._by_id[stream.id] = stream
        if known is not None and known.shards != stream.shards:
            for shard in known.shards:
                self._waiting.wake(shard.id)  # it may have been closed

    def _forget(self, stream: Stream) -> None:
        del self._streams[stream.key]
        del self._by_id[stream.id]
        for shard in stream.shards:
            self._waiting.forget(shard.id)

    # ── records ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def put(self, stream: Stream, new: Sequence[NewRecord]) -> list[Placed]:
        """Returns when they are on disk. Raises StreamMissing."""

        def arrived(placed: list[Placed]) -> None:
            last = {place.shard.id: place.position for place in placed}
            for shard_id, position in last.items():
                self._waiting.reached(shard_id, position)

        placed = await self._database.write(lambda c: self._writer.put(c, stream.id, new, self.now_ms()), arrived)
        self._figures.put(stream, new)
        return placed

    async def read(self, stream: Stream, shard: Shard, position: int, limit: int, max_bytes: int) -> Page:
        """At most `limit` records from `position` on, of `max_bytes` together unless the first one is larger.

        Records that are older than the stream retains are passed over.
        """
        page = await self._page(stream, shard, position, limit, max_bytes)
        self._figures.read(stream, page, self.now_ms())
        return page

    async def _page(self, stream: Stream, shard: Shard, position: int, limit: int, max_bytes: int) -> Page:
        end = self._waiting.end(shard.id)
        if position > end:
            return Page((), position, 0)
        now_ms = self.now_ms()
        since_ms = now_ms - stream.retention_ms
        page = await self._database.read(lambda c: records.read(c, shard, position, limit, max_bytes, since_ms, now_ms))
        if page.records:
            return page
        return Page((), max(page.next_position, end + 1), 0)  # all that there was has expired

    async def position_at(self, shard: Shard, since_ms: int) -> int:
        """Where the records begin that arrived at that time or later."""
        return await self._database.read(lambda c: records.first_since(c, shard, since_ms))

    def end(self, shard: Shard) -> int:
        """The position of the last record that was acknowledged; 0 when there never was one."""
        return self._waiting.end(shard.id)

    async def wait(self, shard: Shard, position: int, most_s: float) -> None:
        """Returns when there may be a record at `position`, when the shard or its stream changed, or after `most_s`."""
        if position > self._waiting.end(shard.id):
            await self._waiting.wait(shard.id, most_s)

    def wake(self, shard: Shard) -> None:
        """Lets whoever waits for its records look around."""
        self._waiting.wake(shard.id)

    # ── what is done beside ───────────────────────────────────────────────────────────────────────────────────────────

    async def sweep(self) -> None:
        """Takes away what is older than its stream retains: records, and shards that were closed before."""
        for stream in list(self._streams.values()):
            before_ms = self.now_ms() - stream.retention_ms
            for shard in stream.shards:
                while self._waiting.end(shard.id) and await self._trim(shard, before_ms):
                    pass
            await self._drop_closed(stream, before_ms)

    async def _trim(self, shard: Shard, before_ms: int) -> bool:
        oldest_ms = await self._database.read(lambda c: records.oldest_ms(c, shard))
        if oldest_ms is None or oldest_ms >= before_ms:
            return False
        return await self._database.write(lambda c: records.trim(c, shard, before_ms, CHUNK))

    async def _drop_closed(self, stream: Stream, before_ms: int) -> None:
        if not any(shard.closed_ms is not None and shard.closed_ms < before_ms for shard in stream.shards):
            return

        def dropped(left: Stream | None) -> None:
            if left is not None:
                kept = {shard.id for shard in left.shards}
                self._remember(left)
                gone = [shard.id for shard in stream.shards if shard.id not in kept]
                for shard_id in gone:
                    self._waiting.forget(shard_id)
                self._clear_later(gone)

        try:
            await self._database.write(lambda c: rows.drop_closed(c, stream.id, before_ms), dropped)
        except StreamMissing:
            return

    def _clear_later(self, shard_ids: Sequence[int]) -> None:
        if shard_ids:
            self._spawn(self._clear(shard_ids))

    async def _clear(self, shard_ids: Sequence[int]) -> None:
        try:
            for shard_id in shard_ids:
                while await self._database.write(partial(rows.clear, shard_id=shard_id, limit=CHUNK)):
                    pass
        except (sqlite3.Error, StoreError) as error:
            _log.error("records of a deleted shard cannot be taken away (%s); the next start tries again", error)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def now_ms(self) -> int:
        return int(self._clock.now() * 1000)

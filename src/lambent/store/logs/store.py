"""The log store: takes lines without ever waiting, keeps them on disk, reads them back in order.

Lines are collected in memory and written as compressed chunks a few times a second; a line is on disk at most
`FLUSH_S` after it was taken in, and a reader sees everything that was taken in before it asked. Who must know that
lines are on disk before going on (PutLogEvents) uses `put`.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, Final, TypeVar

from lambent.model.limits import LOG_EVENT_MAX_BYTES
from lambent.ports import Clock
from lambent.store.database import Database, StoreError
from lambent.store.logs import filters, rows
from lambent.store.logs.chunks import Event, next_id
from lambent.store.logs.filters import Kind, Lane, Owed
from lambent.store.logs.reading import ChunkCache, Page, Query, read_page
from lambent.store.logs.rows import Group, GroupKey, Stream, StreamKey
from lambent.store.logs.tails import Tail, TailedEvent

T = TypeVar("T")

FLUSH_S: Final = 0.2  # the longest that a line waits for its chunk
FLUSH_BYTES: Final = 3 * 1024 * 1024  # of memory; then it does not wait at all
GROUP_BUFFER_BYTES: Final = 4 * 1024 * 1024  # beyond it `drained` makes that group wait
TOTAL_BUFFER_BYTES: Final = 32 * 1024 * 1024  # beyond it `drained` makes everybody wait
LOST_BUFFER_BYTES: Final = 64 * 1024 * 1024  # beyond it lines are dropped: only a disk that is full comes to this
RETRY_S: Final = 1.0  # after a write that failed
FLUSH_PATIENCE_S: Final = 5.0  # a reader then sees what there is
EXPIRE_EVERY_S: Final = 3600.0

_LINE_MEMORY_BYTES: Final = 200  # what Python spends on a line besides its characters
_SPLIT_CHARACTERS: Final = LOG_EVENT_MAX_BYTES // 4 - 26  # no UTF-8 of so many characters is over the limit

_log = logging.getLogger(__name__)


class LogStore:
    """`ports.LogSink` and `ports.LogReader`, and what the `logs` service needs besides. Used on one event loop."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._cache = ChunkCache()
        self._last_id = database.read_now(rows.last_event_id)
        self.metric_filters = database.read_now(filters.metric_filters)  # by group and name; not to be changed
        self.on_stored: Callable[[StreamKey, Sequence[Event]], None] = lambda key, events: None
        self._pending: dict[StreamKey, list[Event]] = {}
        self._pending_bytes = 0
        self._pending_of: dict[GroupKey, int] = {}  # the same, of each group
        self._group_bytes: dict[GroupKey, int] = {}  # pending and being written
        self._total_bytes = 0
        self._lost_events = 0
        self._timer: asyncio.TimerHandle | None = None
        self._writes: set[asyncio.Task[None]] = set()
        self._in_turn = asyncio.Lock()  # no lines come to the disk, and to subscriptions, before ones that it refused
        self._waiting: list[asyncio.Future[None]] = []
        self._background: set[asyncio.Task[None]] = set()
        self._crowded: dict[int, None] = {}  # streams to compact, in order
        self._tails: dict[GroupKey, list[Tail]] = {}
        self._closed = False
        self.written = asyncio.Event()  # set whenever lines have come to the disk, for those who owe them to others

    @classmethod
    async def open(cls, path: Path, clock: Clock) -> LogStore:
        """Opens or creates the file. Raises StoreError."""
        migrations = resources.files("lambent.store.logs") / "migrations"
        store = cls(await asyncio.to_thread(Database.open, path, migrations), clock)
        store._spawn(store._purge())
        store._spawn(store._expire_regularly())
        return store

    async def close(self) -> None:
        """Writes what is buffered and closes the file. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        for tails in list(self._tails.values()):
            for tail in tails:
                tail.end()
        try:
            await self.flush()
        finally:
            for task in list(self._background):
                task.cancel()
            await asyncio.gather(*self._background, return_exceptions=True)
            await self._database.close()

    # ── taking lines ──────────────────────────────────────────────────────────────────────────────────────────────────

    def append(self, account_id: str, region: str, group: str, stream: str, events: Iterable[tuple[int, str]]) -> None:
        """Events are (milliseconds since the epoch, message). Never blocks; group and stream are made as needed."""
        if self._total_bytes >= LOST_BUFFER_BYTES:
            self._lose(events)
            return
        key = (account_id, region, group, stream)
        pending = self._pending.get(key)
        if pending is None:
            pending = self._pending[key] = []
        event_id = next_id(self._last_id, int(self._clock.now() * 1000))
        first, taken_bytes = len(pending), 0
        for timestamp_ms, message in events:
            if len(message) <= _SPLIT_CHARACTERS:
                pending.append((timestamp_ms, event_id, message))
                event_id += 1
                taken_bytes += len(message) + _LINE_MEMORY_BYTES
                continue
            for part in _split(message):
                pending.append((timestamp_ms, event_id, part))
                event_id += 1
                taken_bytes += len(part) + _LINE_MEMORY_BYTES
        if not taken_bytes:
            if not pending:
                del self._pending[key]
            return
        self._last_id = event_id - 1
        group_key = key[:3]
        if group_key in self._tails:
            self._tell(group_key, stream, pending[first:])
        self._group_bytes[group_key] = self._group_bytes.get(group_key, 0) + taken_bytes
        self._total_bytes += taken_bytes
        self._pending_bytes += taken_bytes
        self._pending_of[group_key] = self._pending_of.get(group_key, 0) + taken_bytes
        if self._pending_bytes >= FLUSH_BYTES:
            self._begin_write()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_S, self._begin_write)

    async def drained(self, account_id: str = "", region: str = "", group: str = "") -> None:
        """Waits while too much is buffered: for everybody, or for this group.

        Whoever names its group is not made to wait for another one that prints too fast, until all are too much.
        """
        key = (account_id, region, group)
        while self._total_bytes > TOTAL_BUFFER_BYTES or self._group_bytes.get(key, 0) > GROUP_BUFFER_BYTES:
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter

    async def flush(self) -> None:
        """Returns when everything taken in so far is on disk, or after FLUSH_PATIENCE_S when the disk does not take it."""
        self._begin_write()
        if self._writes:
            await asyncio.wait(self._writes, timeout=FLUSH_PATIENCE_S)

    async def put(self, key: StreamKey, events: Sequence[tuple[int, str]]) -> None:
        """Returns when the events are on disk. Raises LogGroupMissing, LogStreamMissing, sqlite3.Error."""
        now_ms = self._now_ms()
        first_id = next_id(self._last_id, now_ms)
        self._last_id = first_id + len(events)
        numbered = [(timestamp_ms, first_id + n, message) for n, (timestamp_ms, message) in enumerate(events)]
        self._compact(await self._database.write(lambda c: rows.store_acknowledged(c, key, numbered, now_ms)))
        self.written.set()
        self.on_stored(key, numbered)
        if key[:3] in self._tails:
            self._tell(key[:3], key[3], numbered)

    def _begin_write(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._pending:
            return
        batch, self._pending, self._pending_bytes = self._pending, {}, 0
        sizes, self._pending_of = self._pending_of, {}
        task = asyncio.get_running_loop().create_task(self._write(batch, sizes))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)

    async def _write(self, batch: dict[StreamKey, list[Event]], sizes: Mapping[GroupKey, int]) -> None:
        """`sizes`: how much memory the batch takes of each group."""
        try:
            async with self._in_turn:
                while True:
                    try:
                        crowded = await self._store(batch)
                        break
                    except sqlite3.Error as error:
                        _log.error("log lines cannot be written (%s); make room on the disk: trying again", error)
                        if self._closed:
                            return
                        await asyncio.sleep(RETRY_S)
            self._compact(crowded)
            self.written.set()
            for key, events in batch.items():
                self.on_stored(key, events)
        except StoreError as error:
            _log.error("log lines were lost: %s", error)
        finally:
            self._release(sizes)

    async def _store(self, batch: dict[StreamKey, list[Event]]) -> list[int]:
        now_ms = self._now_ms()
        return await self._database.write(lambda c: rows.store_batch(c, batch, now_ms))

    def _release(self, sizes: Mapping[GroupKey, int]) -> None:
        for key, size in sizes.items():
            self._total_bytes -= size
            rest = self._group_bytes[key] - size
            if rest:
                self._group_bytes[key] = rest
            else:
                del self._group_bytes[key]
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    def _lose(self, events: Iterable[tuple[int, str]]) -> None:
        before = self._lost_events
        self._lost_events += sum(1 for _ in events)
        if before // 10_000 != self._lost_events // 10_000 or not before:
            _log.error("%d log lines were dropped: the disk does not take them", self._lost_events)

    # ── groups and streams ────────────────────────────────────────────────────────────────────────────────────────────

    async def create_group(
        self, key: GroupKey, attributes: Mapping[str, Any] | None = None, tags: Mapping[str, str] | None = None
    ) -> None:
        """Raises LogGroupExists."""
        await self.flush()
        now_ms = self._now_ms()
        await self._database.write(lambda c: rows.create_group(c, key, now_ms, attributes or {}, tags or {}))

    async def delete_group(self, key: GroupKey) -> None:
        """Raises LogGroupMissing."""
        await self.flush()
        await self._database.write(lambda c: rows.delete_group(c, key))
        self.metric_filters.pop(key, None)
        self._spawn(self._purge())

    async def group(self, key: GroupKey) -> Group:
        """Raises LogGroupMissing."""
        return await self._read(lambda c: rows.group(c, key))

    async def groups(
        self, account_id: str, region: str, *, prefix: str = "", containing: str = "", after: str = "", limit: int = 50
    ) -> list[Group]:
        return await self._read(
            lambda c: rows.groups(c, account_id, region, prefix=prefix, containing=containing, after=after, limit=limit)
        )

    async def set_retention(self, key: GroupKey, days: int | None) -> None:
        """None: for ever. Raises LogGroupMissing."""
        await self.flush()
        await self._database.write(lambda c: rows.set_retention(c, key, days))
        self._spawn(self._expire())

    async def set_attributes(self, key: GroupKey, attributes: Mapping[str, Any]) -> None:
        """Members that are stored and given back. Raises LogGroupMissing."""
        await self.flush()
        await self._database.write(lambda c: rows.set_attributes(c, key, attributes))

    async def change_tags(self, key: GroupKey, add: Mapping[str, str], remove: Iterable[str] = ()) -> Mapping[str, str]:
        """Returns the tags as they are now. Raises LogGroupMissing."""
        await self.flush()
        return await self._database.write(lambda c: rows.change_tags(c, key, add, remove))

    # ── filters ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def put_filter(self, key: GroupKey, kind: Kind, name: str, document: Mapping[str, Any], most: int) -> None:
        """Makes it or replaces it; what was taken in before is not its own. Raises LogGroupMissing, FiltersFull."""
        await self.flush()
        await self._database.write(lambda c: filters.put(c, rows.group(c, key).id, kind, name, document, most))
        if kind == "metric":
            self.metric_filters.setdefault(key, {})[name] = dict(document)

    async def delete_filter(self, key: GroupKey, kind: Kind, name: str) -> None:
        """With what it is owed. Raises LogGroupMissing, FilterMissing."""
        await self._database.write(lambda c: filters.delete(c, rows.group(c, key).id, kind, name))
        if kind == "metric":
            self.metric_filters.get(key, {}).pop(name, None)

    async def filters_of(self, key: GroupKey, kind: Kind) -> dict[str, dict[str, Any]]:
        """By name. Raises LogGroupMissing."""
        return await self._read(lambda c: filters.of_group(c, rows.group(c, key).id, kind))

    async def filters_in(self, account_id: str, region: str, kind: Kind) -> list[tuple[str, str, dict[str, Any]]]:
        """(group, name, document) in order."""
        return await self._read(lambda c: filters.of_place(c, account_id, region, kind))

    async def lanes(self) -> list[Lane]:
        """Of the subscriptions that are owed something."""
        return await self._database.read(filters.lanes)

    async def owed(self, lane: Lane) -> list[Owed]:
        """What is to be handed to a subscription, in order, a bounded amount of it."""
        return await self._database.read(lambda c: filters.owed(c, lane))

    async def settle(self, owed: Owed) -> None:
        """It was handed over, or given up."""
        await self._database.write(lambda c: filters.settle(c, owed.id))

    async def tried(self, owed: Owed) -> None:
        """It was not taken, and is tried again."""
        await self._database.write(lambda c: filters.tried(c, owed.id))

    # ── streams ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def create_stream(self, key: StreamKey) -> None:
        """Raises LogGroupMissing, LogStreamExists."""
        await self.flush()
        now_ms = self._now_ms()
        await self._database.write(lambda c: rows.create_stream(c, key, now_ms))

    async def delete_stream(self, key: StreamKey) -> None:
        """Raises LogGroupMissing, LogStreamMissing."""
        await self.flush()
        await self._database.write(lambda c: rows.delete_stream(c, key))
        self._spawn(self._purge())

    async def stream(self, key: StreamKey) -> Stream:
        """Raises LogGroupMissing, LogStreamMissing."""
        return await self._read(lambda c: rows.stream(c, key))

    async def streams(
        self, group_id: int, *, prefix: str = "", after: str | None = None, descending: bool = False, limit: int = 50
    ) -> list[Stream]:
        """By name."""
        return await self._read(
            lambda c: rows.streams_by_name(c, group_id, prefix=prefix, after=after, descending=descending, limit=limit)
        )

    async def streams_by_last_event(
        self, group_id: int, *, after: tuple[int, str] | None = None, descending: bool = False, limit: int = 50
    ) -> list[Stream]:
        return await self._read(
            lambda c: rows.streams_by_last_event(c, group_id, after=after, descending=descending, limit=limit)
        )

    # ── events ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def page(self, query: Query) -> Page:
        """Everything that was taken in before this call can be on the page."""
        return await self._read(lambda c: read_page(c, self._cache, query))

    async def tail(self, account_id: str, region: str, group: str) -> AsyncIterator[TailedEvent]:
        """New events as they come: (stream, milliseconds, message). Ends when the store closes.

        A reader that falls behind by TAIL_EVENTS misses the oldest; it is told so by an event of the stream "".
        """
        key = (account_id, region, group)
        tail = Tail()
        self._tails.setdefault(key, []).append(tail)
        try:
            while await tail.arrived():
                for event in tail.take(self._now_ms()):
                    yield event
        finally:
            self._tails[key].remove(tail)
            if not self._tails[key]:
                del self._tails[key]

    def _tell(self, key: GroupKey, stream: str, events: Iterable[Event]) -> None:
        told = [(stream, timestamp_ms, message) for timestamp_ms, _, message in events]
        for tail in self._tails.get(key, ()):
            tail.add(told)

    # ── housekeeping ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        await self.flush()
        return await self._database.read(work)

    def _now_ms(self) -> int:
        return int(self._clock.now() * 1000)

    def _compact(self, stream_ids: Iterable[int]) -> None:
        idle = not self._crowded
        self._crowded.update(dict.fromkeys(stream_ids))
        if idle and self._crowded and not self._closed:
            self._spawn(self._compact_crowded())

    async def _compact_crowded(self) -> None:
        """One stream at a time, so that new lines never wait for more than one."""
        try:
            while self._crowded:
                stream_id = next(iter(self._crowded))
                await self._database.write(partial(_compact_stream, stream_id))
                del self._crowded[stream_id]
        finally:
            self._crowded.clear()  # after a failure the streams come again when more is written to them

    async def _purge(self) -> None:
        while await self._database.write(rows.purge):
            pass

    async def _expire(self) -> None:
        now_ms = self._now_ms()
        while await self._database.write(lambda c: rows.expire(c, now_ms)):
            pass

    async def _expire_regularly(self) -> None:
        while True:
            try:
                await self._expire()
            except sqlite3.Error as error:
                _log.error("old log lines could not be deleted (%s); trying again later", error)
            await self._clock.sleep(EXPIRE_EVERY_S)

    def _spawn(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("housekeeping of the logs failed (%r); it is tried again when more is written", error)


def _split(message: str) -> Iterable[str]:
    """Parts that fit into CloudWatch's largest event, as Lambda splits longer lines."""
    return (message[start : start + _SPLIT_CHARACTERS] for start in range(0, len(message), _SPLIT_CHARACTERS))


def _compact_stream(stream_id: int, connection: sqlite3.Connection) -> None:
    rows.compact(connection, stream_id)

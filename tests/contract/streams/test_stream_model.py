"""Any sequence of putting, waiting, reading and resharding: each shard gives what was put into it, once, in order."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lambent.services.kinesis.resharding import Resharding, new_stream
from lambent.store.streams import HASHES, NewRecord, Settings, Stream, StreamStore
from queue_clock import HandClock

T = TypeVar("T")

KEY = ("111122223333", "eu-west-1", "s")
MEMORY = "/dev/shm"  # nothing here is about disks, and waiting for one takes longer than the tests
RETENTION_S = 24 * 3600
HASH = st.integers(0, HASHES - 1)


class Streams(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None)
        self.clock = HandClock()
        self.path = Path(self.folder.name) / "streams.db"
        self.store = self.wait(StreamStore.open(self.path, self.clock))
        self.wait(self.store.create(new_stream(KEY, Settings(), 2, self.store.now_ms())))
        self.expected: dict[int, list[tuple[float, str]]] = {}  # by the shard's number: when it arrived, and what
        self.count = 0

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    @property
    def stream(self) -> Stream:
        return self.store.stream(KEY)

    @rule(hashes=st.lists(HASH, min_size=1, max_size=5))
    def put(self, hashes: list[int]) -> None:
        texts = [f"{self.count + n}" for n in range(len(hashes))]
        self.count += len(hashes)
        records = [NewRecord(h, "k", text.encode()) for h, text in zip(hashes, texts, strict=True)]
        placed = self.wait(self.store.put(self.stream, records))
        for place, text, hash_key in zip(placed, texts, hashes, strict=True):
            assert place.shard.first_hash <= hash_key <= place.shard.last_hash
            self.expected.setdefault(place.shard.number, []).append((self.clock.now_s, text))

    @rule(seconds=st.sampled_from([1, 3600, RETENTION_S // 2, RETENTION_S + 1]))
    def pass_time(self, seconds: int) -> None:
        self.clock.now_s += seconds

    @rule()
    def sweep(self) -> None:
        self.wait(self.store.sweep())

    @rule()
    def open_again(self) -> None:
        self.wait(self.store.close())
        self.store = self.wait(StreamStore.open(self.path, self.clock))

    @rule(at=HASH)
    @precondition(lambda self: len(self.stream.shards) < 12)
    def split(self, at: int) -> None:
        shard = self.stream.shard_for(at)
        if shard.first_hash < at:
            self.reshard(lambda change: change.split(shard, at))

    @rule(at=HASH)
    @precondition(lambda self: len(self.stream.open_shards) > 1)
    def merge(self, at: int) -> None:
        place = min(self.stream.open_shards.index(self.stream.shard_for(at)), len(self.stream.open_shards) - 2)
        shard, adjacent = self.stream.open_shards[place : place + 2]
        self.reshard(lambda change: change.merge(shard, adjacent))

    def reshard(self, decide: Any) -> None:
        def change(stream: Stream) -> Stream:
            resharding = Resharding(stream, self.store.now_ms())
            decide(resharding)
            return resharding.stream

        self.wait(self.store.change(KEY, change))

    @rule(ago_s=st.sampled_from([0, 1, 3600, RETENTION_S // 2]))
    def read_since(self, ago_s: int) -> None:
        since_s = self.clock.now_s - ago_s
        for shard in self.stream.shards:
            start = self.wait(self.store.position_at(shard, int(since_s * 1000)))
            page = self.wait(self.store.read(self.stream, shard, start, 10_000, 1 << 30))
            expected = [text for at_s, text in self.expected.get(shard.number, ()) if at_s >= since_s]
            assert [record.data.decode() for record in page.records] == expected

    @invariant()
    def each_shard_gives_what_is_retained_in_small_pages(self) -> None:
        oldest_s = self.clock.now_s - RETENTION_S
        for shard in self.stream.shards:
            found: list[str] = []
            position = 0
            while True:
                page = self.wait(self.store.read(self.stream, shard, position, 2, 1 << 30))
                if not page.records:
                    break
                found += [record.data.decode() for record in page.records]
                position = page.next_position
            assert found == [text for at_s, text in self.expected.get(shard.number, ()) if at_s >= oldest_s]

    def teardown(self) -> None:
        self.wait(self.store.close())
        self.loop.close()
        self.folder.cleanup()


TestStreams = Streams.TestCase
TestStreams.settings = settings(max_examples=25, stateful_step_count=25)

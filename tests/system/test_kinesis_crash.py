"""kill -9 at any moment: every record that was accepted is there after the restart, once, in its shard's order."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
from botocore.exceptions import BotoCoreError, ClientError

from live_server import LiveServer, start, until

KEYS = ("a", "b", "c")
SOON_S = 60.0


@attrs.define
class Told:
    """What the server said, over all of its lives."""

    accepted: dict[str, tuple[str, str]] = attrs.field(factory=dict)  # data → shard and sequence number
    doubtful: set[str] = attrs.field(factory=set)  # sent when the server was killed
    count: int = 0


class Producer(threading.Thread):
    """Puts records with a key of its own until the server is gone, and splits or merges shards between."""

    def __init__(self, kinesis: Any, key: str, told: Told, reshards: bool) -> None:
        super().__init__(daemon=True)
        self._kinesis, self._key, self._told, self._reshards = kinesis, key, told, reshards
        self.problem: BaseException | None = None

    def run(self) -> None:
        try:
            while True:
                self._put()
                if self._reshards and self._told.count % 5 == 0:
                    self._reshard()
        except BotoCoreError:
            return  # the server is gone
        except (ClientError, AssertionError) as problem:
            self.problem = problem

    def _put(self) -> None:
        told = self._told
        texts = [f"{self._key}-{told.count}-{n}" for n in range(5)]
        told.count += 1
        told.doubtful |= set(texts)
        records = [{"Data": text.encode(), "PartitionKey": self._key} for text in texts]
        answer = self._kinesis.put_records(StreamName="s", Records=records)
        assert answer["FailedRecordCount"] == 0
        for text, record in zip(texts, answer["Records"], strict=True):
            told.accepted[text] = (record["ShardId"], record["SequenceNumber"])
        told.doubtful -= set(texts)

    def _reshard(self) -> None:
        shards = self._kinesis.list_shards(StreamName="s", ShardFilter={"Type": "AT_LATEST"})["Shards"]
        ordered = sorted(shards, key=lambda shard: int(shard["HashKeyRange"]["StartingHashKey"]))
        if len(ordered) > 2:
            one, other = ordered[0]["ShardId"], ordered[1]["ShardId"]
            self._kinesis.merge_shards(StreamName="s", ShardToMerge=one, AdjacentShardToMerge=other)
        else:
            keys = ordered[0]["HashKeyRange"]
            middle = (int(keys["StartingHashKey"]) + int(keys["EndingHashKey"])) // 2
            self._kinesis.split_shard(
                StreamName="s", ShardToSplit=ordered[0]["ShardId"], NewStartingHashKey=str(middle)
            )


@contextlib.contextmanager
def served(data: Path) -> Iterator[LiveServer]:
    server = start(data, "--isolation", "process")
    try:
        yield server
    finally:
        server.stop()


def test_records_survive_kills(tmp_path: Path) -> None:
    data, told = tmp_path / "data", Told()
    for life, requests in enumerate((1, 15, 60)):
        with served(data) as server:
            kinesis = server.client("kinesis")
            if life == 0:
                kinesis.create_stream(StreamName="s", ShardCount=2)
            enough = told.count + requests
            producers = [Producer(kinesis, key, told, reshards=key == "a") for key in KEYS]
            for producer in producers:
                producer.start()
            until(lambda enough=enough: told.count > enough, SOON_S)  # type: ignore[misc]
            server.kill()
            for producer in producers:
                producer.join(SOON_S)
                assert producer.problem is None, producer.problem
    with served(data) as server:
        compare(server.client("kinesis"), told)


def compare(kinesis: Any, told: Told) -> None:
    shards = kinesis.list_shards(StreamName="s")["Shards"]
    found: dict[str, tuple[str, str]] = {}
    for shard in shards:
        assert shard.get("ParentShardId", "") < shard["ShardId"]
        records = list(records_of(kinesis, shard["ShardId"]))
        numbers = [int(number) for number, _ in records]
        assert numbers == sorted(set(numbers))
        for number, text in records:
            assert text not in found, f"{text} is there twice"
            found[text] = (shard["ShardId"], number)
    assert {text: found.get(text) for text in told.accepted} == told.accepted
    assert set(found) - set(told.accepted) <= told.doubtful
    for key in KEYS:  # a key's records rise through shards and their children
        of_key = [text for text, _ in sorted(found.items(), key=lambda item: int(item[1][1])) if text[0] == key]
        steps = [tuple(int(part) for part in text.split("-")[1:]) for text in of_key]
        assert steps == sorted(steps)


def records_of(kinesis: Any, shard_id: str) -> Iterator[tuple[str, str]]:
    """Sequence numbers and data, to the shard's end or its tip."""
    asked = {"StreamName": "s", "ShardId": shard_id, "ShardIteratorType": "TRIM_HORIZON"}
    iterator = kinesis.get_shard_iterator(**asked)["ShardIterator"]
    while iterator is not None:
        page = kinesis.get_records(ShardIterator=iterator, Limit=40)
        yield from ((record["SequenceNumber"], record["Data"].decode()) for record in page["Records"])
        iterator = page.get("NextShardIterator") if page["Records"] else None

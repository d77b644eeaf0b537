"""Clients that send without a pause, and note what the server has accepted and what it may have."""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import attrs
from botocore.exceptions import BotoCoreError

from killing.functions import POISON
from killing.lives import Lives
from killing.setup import Setup, topic_arn

KEYS: Final = 16  # of each sender: message groups and partition keys
PAUSE_S: Final = 0.004
POISON_PART: Final = {"q": 0.02, "f.fifo": 0.02, "s": 0.01, "async": 0.1}
SHARDS_MOST: Final = 4


@attrs.define
class Ledger:
    """By places: queues, `s` the stream, `async`, and `sns` for the function behind a topic."""

    accepted: dict[str, set[str]] = attrs.field(factory=dict)
    doubtful: set[str] = attrs.field(factory=set)  # of requests that were not answered
    requests: dict[str, str] = attrs.field(factory=dict)  # of asynchronous invocations: token → request id
    records: dict[str, tuple[str, str]] = attrs.field(factory=dict)  # of the stream: token → shard, sequence number

    def is_known(self, token: str, place: str) -> bool:
        return token in self.accepted.get(place, ()) or token in self.doubtful


class Worker(threading.Thread):
    """Does `step` while there is a server to ask."""

    def __init__(self, name: str, lives: Lives) -> None:
        super().__init__(name=name, daemon=True)
        self.lives = lives
        self.problem: BaseException | None = None
        self._stopping = threading.Event()

    def step(self) -> None:
        raise NotImplementedError

    def run(self) -> None:
        try:
            while not self._stopping.is_set():
                if self.lives.up.wait(0.1):
                    self._try()
        except BaseException as problem:  # of another thread than pytest's: `finish` tells
            self.problem = problem

    def _try(self) -> None:
        try:
            self.step()
            self.lives.answered += 1
        except BotoCoreError:
            if self.lives.up.is_set():
                time.sleep(PAUSE_S)  # the kill is just being noticed

    def stop(self) -> None:
        self._stopping.set()

    def finish(self) -> None:
        self.stop()
        self.join(60)
        assert not self.is_alive(), f"{self.name} does not end"
        if self.problem is not None:
            raise self.problem


class Sender(Worker):
    """One of several; each has groups and keys of its own, so that it knows their order."""

    def __init__(self, name: str, lives: Lives, setup: Setup, ledger: Ledger, choices: random.Random) -> None:
        super().__init__(name, lives)
        self._setup, self._ledger, self._choices = setup, ledger, choices
        self._numbers = itertools.count()
        self._server = lives.server
        self._kinds: list[Callable[[], None]] = [
            lambda: self._to_queue("q"), lambda: self._to_queue("f.fifo"), lambda: self._to_queue("own"),
            lambda: self._to_queue("own.fifo"), self._to_stream, self._to_stream, lambda: self._to_topic("t", "own", "q", "sns"),
            lambda: self._to_topic("t.fifo", "own.fifo", "f.fifo"), self._to_bus, self._to_function, self._to_function,
        ]  # fmt: skip

    def step(self) -> None:
        if self._choices.random() < 0.01:
            self._reshard()
        self._choices.choice(self._kinds)()
        time.sleep(PAUSE_S)

    def _tokens(self, road: str, most: int = 4) -> list[str]:
        """A few new ones, as `key:number`; doubtful until the server has answered. A key's order is that of one road."""
        count = self._choices.randint(1, most)
        keys = [f"{self.name}-{road}-{self._choices.randrange(KEYS)}" for _ in range(count)]
        tokens = [f"{key}:{number}" for key, number in zip(keys, itertools.islice(self._numbers, count), strict=True)]
        part = POISON_PART.get(road, 0.0)
        tokens = [token + POISON * (self._choices.random() < part) for token in tokens]
        self._ledger.doubtful.update(tokens)
        return tokens

    def _accepted(self, tokens: list[str], *places: str) -> None:
        for place in places:
            self._ledger.accepted.setdefault(place, set()).update(tokens)
        self._ledger.doubtful.difference_update(tokens)

    def _to_queue(self, name: str) -> None:
        tokens = self._tokens(name)
        entries = [{"Id": str(n), "MessageBody": token, **_fifo(name, token)} for n, token in enumerate(tokens)]
        answer = self._server.client("sqs").send_message_batch(QueueUrl=self._setup.urls[name], Entries=entries)
        assert "Failed" not in answer, answer
        self._accepted(tokens, name)

    def _to_topic(self, name: str, *places: str) -> None:
        tokens = self._tokens(name)
        entries = [{"Id": str(n), "Message": token, **_fifo(name, token)} for n, token in enumerate(tokens)]
        answer = self._server.client("sns").publish_batch(TopicArn=topic_arn(name), PublishBatchRequestEntries=entries)
        assert answer["Failed"] == [], answer
        self._accepted(tokens, *places)

    def _to_bus(self) -> None:
        tokens = self._tokens("bus")
        entries = [{"Source": "load", "DetailType": "t", "Detail": json.dumps({"token": token})} for token in tokens]
        answer = self._server.client("events").put_events(Entries=entries)
        assert answer["FailedEntryCount"] == 0, answer
        self._accepted(tokens, "own")

    def _to_stream(self) -> None:
        tokens = self._tokens("s")
        records = [{"Data": token.encode(), "PartitionKey": key_of(token)} for token in tokens]
        answer = self._server.client("kinesis").put_records(StreamName="s", Records=records)
        assert answer["FailedRecordCount"] == 0, answer
        for token, record in zip(tokens, answer["Records"], strict=True):
            self._ledger.records[token] = (record["ShardId"], record["SequenceNumber"])
        self._accepted(tokens, "s")

    def _to_function(self) -> None:
        tokens = self._tokens("async", most=1)
        payload = json.dumps({"token": tokens[0]})
        answer = self._server.client().invoke(FunctionName="run", InvocationType="Event", Payload=payload)
        assert (answer["StatusCode"], answer["Payload"].read()) == (202, b"")
        self._ledger.requests[tokens[0]] = answer["ResponseMetadata"]["RequestId"]
        self._accepted(tokens, "async")

    def _reshard(self) -> None:
        """One sender alone does: two would split the same shard."""
        if self.name != "a":
            return
        kinesis: Any = self._server.client("kinesis")
        shards = kinesis.list_shards(StreamName="s", ShardFilter={"Type": "AT_LATEST"})["Shards"]
        ordered = sorted(shards, key=lambda shard: int(shard["HashKeyRange"]["StartingHashKey"]))
        if len(ordered) >= SHARDS_MOST:
            kinesis.merge_shards(
                StreamName="s", ShardToMerge=ordered[0]["ShardId"], AdjacentShardToMerge=ordered[1]["ShardId"]
            )
        else:
            keys = ordered[0]["HashKeyRange"]
            middle = (int(keys["StartingHashKey"]) + int(keys["EndingHashKey"])) // 2
            kinesis.split_shard(StreamName="s", ShardToSplit=ordered[0]["ShardId"], NewStartingHashKey=str(middle))


def key_of(token: str) -> str:
    return token.split(":")[0]


def number_of(token: str) -> int:
    return int(token.split(":")[1].removesuffix(POISON))


def _fifo(name: str, token: str) -> dict[str, str]:
    if not name.endswith(".fifo"):
        return {}
    return {"MessageGroupId": key_of(token), "MessageDeduplicationId": token}

"""What must be true in the end, however often the server was killed."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, Final

from killing.functions import POISON, QUEUE_RECEIVES_MOST, Traces
from killing.load import Ledger, key_of, number_of
from killing.receivers import OWN, Collected, Seen
from killing.setup import (
    ASYNC_DONE,
    ASYNC_FAILED,
    ASYNC_LETTERS,
    ASYNC_RETRIES,
    DEAD,
    STREAM_BATCH,
    STREAM_RETRIES,
)

MAPPED_QUEUES: Final = ("q", "f.fifo")


def missing(ledger: Ledger, traces: Traces, seen: Seen, collected: Collected) -> dict[str, set[str]]:
    """By place: what was accepted and has neither been delivered nor come to its dead letters yet."""
    arrived = {name: set(seen.first[name]) for name in OWN}
    for name in MAPPED_QUEUES:
        arrived[name] = traces.done(name) | set(collected.bodies[DEAD[name]])
    arrived["s"] = traces.done("s") | set(_given_up(ledger, collected))
    arrived["sns"] = traces.done("sns")
    succeeded = _tokens(collected.bodies[ASYNC_DONE], "requestPayload")
    failed = _tokens(collected.bodies[ASYNC_FAILED], "requestPayload") & _tokens(collected.bodies[ASYNC_LETTERS])
    arrived["async"] = (traces.done("async") & succeeded) | failed
    left = {place: tokens - arrived[place] for place, tokens in ledger.accepted.items()}
    return {place: tokens for place, tokens in left.items() if tokens}


def _tokens(bodies: Iterable[str], member: str | None = None) -> set[str]:
    values = [json.loads(body) for body in bodies]
    return {(value if member is None else value[member])["token"] for value in values}


def _given_up(ledger: Ledger, collected: Collected) -> Iterator[str]:
    """The stream's records that its destination was told of: positions alone, as at AWS."""
    told = [json.loads(body)["KinesisBatchInfo"] for body in collected.bodies[DEAD["s"]]]
    ranges: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for batch in told:
        ranges[batch["shardId"]].append((int(batch["startSequenceNumber"]), int(batch["endSequenceNumber"])))
    for token, (shard, sequence) in ledger.records.items():
        if any(first <= int(sequence) <= last for first, last in ranges[shard]):
            yield token


def check(ledger: Ledger, traces: Traces, seen: Seen, collected: Collected, kills: int) -> None:
    """Raises AssertionError."""
    _nothing_was_invented(ledger, traces, collected)
    _groups_and_keys_kept_their_order(traces, seen)
    _attempts_are_within_their_limits(traces, kills)
    _request_ids_stayed(ledger, traces)
    _what_is_not_poison_was_not_given_up(collected)


def _nothing_was_invented(ledger: Ledger, traces: Traces, collected: Collected) -> None:
    found = {(line.place, line.token) for line in traces.lines}
    found |= {(name, token) for name in MAPPED_QUEUES for token in collected.bodies[DEAD[name]]}
    invented = [(place, token) for place, token in found if not ledger.is_known(token, place)]
    assert not invented, invented


def _groups_and_keys_kept_their_order(traces: Traces, seen: Seen) -> None:
    """As they came first: in all, and to the functions of each life."""
    orders: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for token in seen.first["own.fifo"]:
        orders["own.fifo", key_of(token)].append(token)
    for line in traces.lines:
        if line.what == "begun" and line.place in ("f.fifo", "s"):
            orders[line.place, key_of(line.token)].append(line.token)
            orders[line.place, key_of(line.token), line.life].append(line.token)
    for what, tokens in orders.items():
        first_times = [number_of(token) for token in dict.fromkeys(tokens)]
        assert first_times == sorted(first_times), (what, first_times)


def _attempts_are_within_their_limits(traces: Traces, kills: int) -> None:
    by_life: dict[str, Counter[tuple[str, int]]] = defaultdict(Counter)
    for line in traces.lines:
        if line.what == "begun":
            by_life[line.place][line.token, line.life] += 1
    for place in MAPPED_QUEUES:  # every receive is counted on disk before it is answered
        for token, count in _over_all_lives(by_life[place]).items():
            assert count <= QUEUE_RECEIVES_MOST, (place, token, count)
    # A batch is halved until the poison is alone, which takes no retry; a kill begins again at the checkpoint.
    in_one_life = math.ceil(math.log2(STREAM_BATCH)) + 1 + STREAM_RETRIES
    for (token, life), count in by_life["s"].items():
        assert count <= in_one_life, (token, life, count)
    lives = Counter(token for token, _ in by_life["async"])
    for token, count in _over_all_lives(by_life["async"]).items():
        allowed = 1 + ASYNC_RETRIES if token.endswith(POISON) else 1
        assert count <= allowed + lives[token] - 1, (token, count)  # each kill cuts off one attempt at most
    # Killed between handing it over and writing that down, a topic hands it over again: with the same request id.
    assert max(Counter(token for token, _ in by_life["sns"]).values(), default=0) <= kills + 1
    attempts = {(line.token, line.attempt) for line in traces.lines if line.place == "sns"}
    assert len(attempts) == len({token for token, _ in attempts}), "one request id for each message"


def _over_all_lives(counts: Counter[tuple[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for (token, _), count in counts.items():
        total[token] += count
    return total


def _request_ids_stayed(ledger: Ledger, traces: Traces) -> None:
    for line in traces.lines:
        if line.place == "async" and line.token in ledger.requests:
            assert line.attempt == ledger.requests[line.token], line


def _what_is_not_poison_was_not_given_up(collected: Collected) -> None:
    """Asynchronous events and streams are not charged for kills; queues are, for each receive."""
    for name in (ASYNC_FAILED, ASYNC_LETTERS):
        tokens = _tokens(collected.bodies[name], "requestPayload" if name == ASYNC_FAILED else None)
        assert all(token.endswith(POISON) for token in tokens), (
            name,
            [b for b in collected.bodies[name] if "!" not in b],
        )
    for body in collected.bodies[DEAD["s"]]:
        assert json.loads(body)["KinesisBatchInfo"]["batchSize"] == 1, body


def check_stream(kinesis: Any, ledger: Ledger) -> None:
    """Every record that was accepted is in its shard, once, where the answer said; keys rise through shards and their children."""
    found: dict[str, tuple[str, str]] = {}
    for shard in kinesis.list_shards(StreamName="s")["Shards"]:
        assert shard.get("ParentShardId", "") < shard["ShardId"]
        records = list(_records_of(kinesis, shard["ShardId"]))
        numbers = [int(number) for number, _ in records]
        assert numbers == sorted(set(numbers))
        for number, token in records:
            assert token not in found, f"{token} is there twice"
            found[token] = (shard["ShardId"], number)
    assert {token: found.get(token) for token in ledger.records} == ledger.records
    assert set(found) - set(ledger.records) <= ledger.doubtful
    by_key: dict[str, list[int]] = defaultdict(list)
    for token, _ in sorted(found.items(), key=lambda item: int(item[1][1])):
        by_key[key_of(token)].append(number_of(token))
    assert all(numbers == sorted(numbers) for numbers in by_key.values())


def _records_of(kinesis: Any, shard_id: str) -> Iterator[tuple[str, str]]:
    """Sequence numbers and data, to the shard's end or its tip."""
    asked = {"StreamName": "s", "ShardId": shard_id, "ShardIteratorType": "TRIM_HORIZON"}
    iterator = kinesis.get_shard_iterator(**asked)["ShardIterator"]
    while iterator is not None:
        page = kinesis.get_records(ShardIterator=iterator)
        yield from ((record["SequenceNumber"], record["Data"].decode()) for record in page["Records"])
        iterator = page.get("NextShardIterator") if page["Records"] else None

"""Lanes of a shard, what becomes of batches that fail, and windows' states."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.model.shard_lanes import Lanes
from lambent.model.stream_failures import Portion, RetryRules, after_failure
from lambent.model.stream_records import StreamRecord, dynamodb_record
from lambent.model.tumbling import STATE_MAX_BYTES, restored, window_of


def record(number: int, key: str = "k") -> StreamRecord:
    return StreamRecord(f"{number:05}", key, float(number), {}, {})


@given(st.lists(st.tuples(st.sampled_from("abcdefg"), st.booleans()), max_size=40), st.integers(1, 10), st.randoms())
def test_a_checkpoint_never_passes_a_record_that_is_not_done(
    arrivals: list[tuple[str, bool]], count: int, chance: Any
) -> None:
    lanes = Lanes(count)
    placed: dict[str, int] = {}
    for number, (key, wanted) in enumerate(arrivals):
        lane = lanes.add(record(number, key), wanted=wanted)
        assert (lane is not None) == wanted
        if lane is not None:
            assert placed.setdefault(key, lane) == lane, "one key in two lanes"
    open_ones = [each for waiting in lanes.waiting for each in waiting]
    assert sorted(each.sequence for each in open_ones) == [
        f"{n:05}" for n, (_, wanted) in enumerate(arrivals) if wanted
    ]
    left = {each.sequence for each in open_ones}
    chance.shuffle(open_ones)
    for each in open_ones:
        lanes.done([each.sequence])
        left.discard(each.sequence)
        assert lanes.checkpoint is None or all(lanes.checkpoint < sequence for sequence in left)
    assert len(lanes) == 0
    assert lanes.checkpoint == (f"{len(arrivals) - 1:05}" if arrivals else None)


def portion(size: int, attempts: int) -> Portion:
    return Portion(records=[record(n) for n in range(size)], attempts=attempts)


@pytest.mark.parametrize(
    ("rules", "size", "attempts", "expected"),
    [
        (RetryRules(), 4, 1000, [(4, 1000)]),
        (RetryRules(maximum_retries=0), 4, 1, None),
        (RetryRules(maximum_retries=2), 4, 2, [(4, 2)]),
        (RetryRules(maximum_retries=2), 4, 3, None),
        (RetryRules(maximum_retries=0, bisects=True), 5, 1, [(2, 0), (3, 0)]),
        (RetryRules(maximum_retries=0, bisects=True), 1, 1, None),
        (RetryRules(maximum_retries=1, bisects=True), 1, 1, [(1, 1)]),
    ],
)
def test_splits_are_no_retries(
    rules: RetryRules, size: int, attempts: int, expected: list[tuple[int, int]] | None
) -> None:
    left = after_failure(portion(size, attempts), rules)
    assert (None if left is None else [(len(each.records), each.attempts) for each in left]) == expected
    if left:
        assert [r.sequence for each in left for r in each.records] == [f"{n:05}" for n in range(size)]


def test_rules_are_those_of_the_mapping() -> None:
    mapping = {
        "MaximumRetryAttempts": 3, "MaximumRecordAgeInSeconds": 60, "BisectBatchOnFunctionError": True,
        "DestinationConfig": {"OnFailure": {"Destination": "arn"}},
    }  # fmt: skip
    rules = RetryRules.of(mapping)
    assert rules == RetryRules(maximum_retries=3, maximum_age_s=60, bisects=True, destination="arn")
    assert (rules.too_old(record(0), 60.0), rules.too_old(record(0), 60.5)) == (False, True)
    assert RetryRules.of({"DestinationConfig": {"OnFailure": {}}}) == RetryRules()
    assert not RetryRules().too_old(record(0), 1e9)


def test_a_state_that_is_too_large_ends_its_window_early() -> None:
    window = window_of(125.0, 60)
    assert (window.start_s, window.end_s) == (120, 180)
    small = window.after(json.dumps({"state": {"n": 1}}).encode())
    assert (small.state, small.ends_early) == ({"n": 1}, False)
    assert attrs.evolve(small) == restored(small.stored(), 60)
    large = small.after(json.dumps({"state": {"x": "x" * STATE_MAX_BYTES}}).encode())
    assert large.event(shard="s", stream_arn="a", is_final=True)["isWindowTerminatedEarly"]


@pytest.mark.parametrize("response", [b"", b"null", b"{}", b'{"state":null}', b'"text"', b"[]", b"{"])
def test_no_state_is_an_empty_one(response: bytes) -> None:
    window = window_of(0.0, 60).after(b'{"state":{"n":1}}').after(response)
    assert window.state == {}


def test_a_tables_record_is_shown_as_aws_shows_it() -> None:
    arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/t/stream/2026-01-01T00:00:00.000"
    given_ = {
        "eventID": "1", "eventName": "REMOVE", "eventVersion": "1.1", "eventSource": "aws:dynamodb", "awsRegion": "eu-west-1",
        "userIdentity": {"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"},
        "dynamodb": {
            "ApproximateCreationDateTime": datetime(2026, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC), "Keys": {"k": {"S": "1"}},
            "SequenceNumber": "7", "SizeBytes": 3, "StreamViewType": "KEYS_ONLY",
        },
    }  # fmt: skip
    shown = dynamodb_record(given_, arn)
    assert (shown.sequence, shown.arrived_s) == ("7", 1767225601.5)
    assert shown.event["dynamodb"]["ApproximateCreationDateTime"] == 1767225601
    assert shown.event["userIdentity"] == {"principalId": "dynamodb.amazonaws.com", "type": "Service"}
    assert shown.event["eventSourceARN"] == arn

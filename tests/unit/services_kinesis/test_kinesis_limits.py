"""Shards that are throttled as AWS's are, and tokens that nobody can make."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinesis_harness import ACCOUNT, SHARD, Kinesis
from lambent.model.errors import AwsError
from lambent.services.kinesis import KinesisService
from lambent.services.kinesis.iterators import Sealer, ShardIterator, stream_in

KIB = 1024
RATE = (
    "ProvisionedThroughputExceededException",
    f"Rate exceeded for shard {SHARD} in stream s under account {ACCOUNT}.",
)


@pytest.fixture
def limited(kinesis: Kinesis) -> Kinesis:
    return Kinesis(KinesisService(kinesis.store, kinesis.clock, has_limits=True), kinesis.clock, kinesis.store)


async def test_what_a_shard_cannot_take_fails_record_by_record(limited: Kinesis) -> None:
    await limited.stream(shards=2)
    records: list[dict[str, Any]] = [
        {"Data": bytes(600 * KIB), "PartitionKey": key} for key in ("a", "b", "a")
    ]  # a: the first, b: the second

    answer = await limited.call("PutRecords", StreamName="s", Records=records)

    assert answer["FailedRecordCount"] == 1
    assert answer["Records"][2] == {"ErrorCode": RATE[0], "ErrorMessage": RATE[1]}
    assert [record["ShardId"][-1] for record in answer["Records"][:2]] == ["0", "1"]
    assert await limited.refused("PutRecord", StreamName="s", **records[0]) == RATE
    limited.clock.advance(1)
    await limited.call("PutRecord", StreamName="s", **records[0])


async def test_a_shard_takes_a_thousand_records_a_second(limited: Kinesis) -> None:
    await limited.stream()
    records = [{"Data": b"x", "PartitionKey": "k"}] * 400

    failed = [(await limited.call("PutRecords", StreamName="s", Records=records))["FailedRecordCount"] for _ in "abcd"]

    assert failed == [0, 0, 200, 400]


async def test_a_shard_is_read_five_times_a_second_and_large_readings_are_paid_off(limited: Kinesis) -> None:
    await limited.stream(MaxRecordSizeInKiB=10_240)
    await limited.call("PutRecord", StreamName="s", Data=bytes(8 * KIB * KIB), PartitionKey="k")
    latest, oldest = await limited.iterator("LATEST"), await limited.iterator()

    for _ in range(5):
        await limited.get(latest)
    assert await limited.refused("GetRecords", ShardIterator=latest) == RATE
    limited.clock.advance(1)
    await limited.get(oldest)
    limited.clock.advance(2.9)
    assert await limited.refused("GetRecords", ShardIterator=latest) == RATE
    limited.clock.advance(0.2)
    await limited.get(latest)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_whatever_is_sent_as_an_iterator_is_refused_in_one_way(sent: bytes) -> None:
    sealer = Sealer(b"k" * 32)
    for text in (
        sent.decode("latin-1"),
        base64.b64encode(sent).decode(),
        base64.b64encode(bytes(7) + b"\x01" + sent).decode(),
    ):
        stream_in(text, "eu-west-1")
        with pytest.raises(AwsError) as caught:
            sealer.read_iterator(text, 0)
        assert caught.value.code == "InvalidArgumentException"
        with pytest.raises(AwsError) as caught:
            sealer.read_token("shards", text, 0)
        assert caught.value.code == "InvalidArgumentException"


@given(st.integers(0, 2**40), st.integers(0, 2**63), st.integers(0, 2**31), st.text("ab._-", min_size=1, max_size=128))
def test_an_iterator_says_what_was_put_into_it_and_only_to_its_own_server(
    stream_id: int, position: int, shard: int, name: str
) -> None:
    made = ShardIterator(
        made_ms=5, stream_id=stream_id, shard=shard, position=position, account_id=ACCOUNT, stream_name=name
    )
    text = Sealer(b"k" * 32).iterator(made)

    assert len(text) <= 512
    assert Sealer(b"k" * 32).read_iterator(text, 5) == made
    assert stream_in(text, "eu-west-1") == f"arn:aws:kinesis:eu-west-1:{ACCOUNT}:stream/{name}"
    with pytest.raises(AwsError, match=r"Invalid ShardIterator"):
        Sealer(b"x" * 32).read_iterator(text, 5)

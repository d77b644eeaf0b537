"""What is decided about messages of RabbitMQ and records of Kafka; that real ones become what AWS sends is tested with brokers."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.model.batch_response import BadResponse
from lambent.model.batching import encoded
from lambent.model.kafka_records import KafkaFormat, kafka_record, partition_name
from lambent.model.rabbit_records import RabbitFrame, RabbitMessage, filtered_record, rabbit_record
from lambent.model.stream_records import StreamRecord

FORM = KafkaFormat(topic="lines", bootstrap_servers="a.example:9092,b.example:9092")
SHARD = partition_name("lines", 0)

# Every type of a field that AMQP has, as pamqp gives it.
SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=5)
    | st.binary(max_size=5) | st.binary(max_size=5).map(bytearray) | st.decimals(allow_nan=False, allow_infinity=False)
    | st.datetimes(timezones=st.just(UTC))
)  # fmt: skip
FIELDS: st.SearchStrategy[Any] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3), max_leaves=6
)  # fmt: skip


@given(
    st.dictionaries(st.text(max_size=3), FIELDS, max_size=4),
    st.binary(max_size=9),
    st.datetimes(timezones=st.just(UTC)),
)
def test_any_message_becomes_an_event(headers: dict[str, Any], body: bytes, time: datetime) -> None:
    message = RabbitMessage(1, False, {"headers": headers, "timestamp": time}, body)
    record = rabbit_record(message)
    frame = RabbitFrame("arn", 'queue "q"', "/ö")
    event = json.loads(frame.payload([encoded(message, record)] * 2))
    (key,) = event["rmqMessagesByQueue"]
    assert key == 'queue "q"::/ö'
    assert len(event["rmqMessagesByQueue"][key]) == 2
    assert set(event["rmqMessagesByQueue"][key][0]["basicProperties"]["headers"]) == set(headers)
    assert filtered_record(record, body)["data"] in (None, body.decode(errors="replace"))


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (datetime(1970, 1, 1, 0, 33, 41, tzinfo=UTC), "Jan 1, 1970, 12:33:41 AM"),
        (datetime(2026, 12, 31, 12, 0, 5, tzinfo=UTC), "Dec 31, 2026, 12:00:05 PM"),
        (datetime(2026, 2, 3, 23, 59, 59, tzinfo=UTC), "Feb 3, 2026, 11:59:59 PM"),
    ],
)
def test_times_are_written_as_java_does(time: datetime, expected: str) -> None:
    record = rabbit_record(RabbitMessage(1, False, {"timestamp": time, "headers": {"price": Decimal("0.5")}}, b""))
    assert record["basicProperties"]["timestamp"] == expected
    assert record["basicProperties"]["headers"] == {"price": 0.5}


def records(count: int) -> list[StreamRecord]:
    return [
        kafka_record("lines", 0, n, timestamp_ms=n, timestamp_type=1, key=None, value=b"v", headers=[("h", None)])
        for n in range(count)
    ]


@given(st.integers(1, 5))
def test_the_frame_is_what_is_around_the_records(count: int) -> None:
    payload = FORM.payload(SHARD, records(count))
    inner = sum(encoded(None, record.event).size_bytes for record in records(count))
    assert len(payload) == FORM.frame_bytes(SHARD) + inner - 1  # no comma behind the last
    (found,) = json.loads(payload)["records"].values()
    assert [each["offset"] for each in found] == list(range(count))
    assert found[0]["timestampType"] == "LOG_APPEND_TIME"


def reported(identifier: object) -> frozenset[str]:
    response = json.dumps({"batchItemFailures": [{"itemIdentifier": identifier}]}).encode()
    return FORM.failed(SHARD, response, records(3))


def test_reports_name_partition_and_offset() -> None:
    assert reported({"partition": SHARD, "offset": 2}) == {"2"}
    assert FORM.failed(SHARD, b"null", records(3)) == frozenset()


@pytest.mark.parametrize(
    "identifier",
    [
        "2", None, 2, {"partition": "lines-1", "offset": 2}, {"partition": 0, "offset": 2}, {"offset": 2}, {"partition": SHARD},
        {"partition": SHARD, "offset": 99}, {"partition": SHARD, "offset": "2"}, {"partition": SHARD, "offset": True},
    ],
)  # fmt: skip
def test_a_report_that_names_nothing_of_the_batch_is_none(identifier: object) -> None:
    with pytest.raises(BadResponse):
        reported(identifier)

"""Batches of records, what functions report of them, what filters let through, and how pollers scale."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.model.batch_response import BadResponse, failed_items
from lambent.model.batching import encoded, payload, portions
from lambent.model.poller_scaling import Scale, bounds
from lambent.model.record_filter import compile_filter


@given(st.lists(st.integers(0, 400), max_size=60), st.integers(1, 12), st.integers(120, 900))
def test_portions_keep_order_count_and_size(sizes: list[int], batch_size: int, max_bytes: int) -> None:
    records = [encoded(n, {"body": "x" * size}) for n, size in enumerate(sizes)]
    batches = portions(records, batch_size, max_bytes)
    assert [record.item for batch in batches for record in batch] == list(range(len(sizes)))
    for batch in batches:
        assert 0 < len(batch) <= batch_size
        assert len(batch) == 1 or len(payload(batch)) <= max_bytes
    for batch, following in itertools.pairwise(batches):
        more = [*batch, following[0]]
        assert len(more) > batch_size or len(payload(more)) + 1 > max_bytes, "it would have had room"


def test_a_payload_is_the_event() -> None:
    records = [encoded(n, {"n": n, "text": "é\n"}) for n in range(3)]
    assert json.loads(payload(records)) == {"Records": [{"n": n, "text": "é\n"} for n in range(3)]}
    assert json.loads(payload([], {"state": {}, "final": True})) == {"Records": [], "state": {}, "final": True}


@pytest.mark.parametrize(
    "response",
    [b"", b"null", b"{}", b'{"batchItemFailures":null}', b'{"batchItemFailures":[]}', b'{"other":[{"itemIdentifier":"a"}]}'],
)  # fmt: skip
def test_a_report_without_failures_is_success(response: bytes) -> None:
    assert failed_items(response, {"a", "b"}) == frozenset()


def test_a_report_names_what_failed() -> None:
    response = b'{"batchItemFailures":[{"itemIdentifier":"a"},{"itemIdentifier":"c"},{"itemIdentifier":"a"}]}'
    assert failed_items(response, {"a", "b", "c"}) == {"a", "c"}


@pytest.mark.parametrize(
    "failures",
    [[{"itemIdentifier": ""}], [{"itemIdentifier": None}], [{"identifier": "a"}], [{"itemIdentifier": "z"}], ["a"], [None],
     [{"itemIdentifier": "a"}, {"itemIdentifier": "z"}], "a", {"itemIdentifier": "a"}, 7, True],
)  # fmt: skip
def test_a_wrong_report_is_none(failures: Any) -> None:
    with pytest.raises(BadResponse):
        failed_items(json.dumps({"batchItemFailures": failures}).encode(), {"a", "b"})


@pytest.mark.parametrize("response", [b"{", b'"text"', b"[]", b"7", b"\xff", b"[" * 100_000])
def test_what_is_no_object_is_no_report(response: bytes) -> None:
    with pytest.raises(BadResponse):
        failed_items(response, {"a"})


def lets_through(pattern: dict[str, Any] | None, record: dict[str, Any], data_member: str | None) -> bool:
    criteria = {"FilterCriteria": {"Filters": [{"Pattern": json.dumps(pattern)}]}} if pattern is not None else {}
    return compile_filter(criteria, data_member).lets_through(record)


JSON_BODY = {"body": '{"kind": "order", "total": 12}', "attributes": {"SenderId": "me"}}
TEXT_BODY = {"body": "order", "attributes": {"SenderId": "me"}}


@pytest.mark.parametrize(
    ("pattern", "of_json", "of_text"),
    [
        (None, True, True),
        ({"body": {"kind": ["order"]}}, True, False),
        ({"body": {"kind": ["bill"]}}, False, False),
        ({"body": {"absent": [{"exists": False}]}}, True, False),
        ({"body": ["order"]}, False, True),
        ({"body": [{"anything-but": ["bill"]}]}, False, True),
        ({"attributes": {"SenderId": ["me"]}}, True, True),
        ({"attributes": {"SenderId": ["you"]}}, False, False),
        ({"$or": [{"body": {"total": [{"numeric": [">", 10]}]}}, {"attributes": {"SenderId": ["you"]}}]}, True, False),
    ],
)
def test_patterns_match_data_of_their_own_form(pattern: dict[str, Any] | None, of_json: bool, of_text: bool) -> None:
    assert (lets_through(pattern, JSON_BODY, "body"), lets_through(pattern, TEXT_BODY, "body")) == (of_json, of_text)


def test_records_that_are_json_throughout_are_matched_as_they_are() -> None:
    record = {"eventName": "INSERT", "dynamodb": {"NewImage": {"n": {"N": "7"}}}}
    assert lets_through({"dynamodb": {"NewImage": {"n": {"N": ["7"]}}}}, record, None)
    assert not lets_through({"eventName": ["REMOVE"]}, record, None)


@pytest.mark.parametrize(
    ("mapping", "expected"),
    [
        ({}, (5, 1250)),
        ({"ScalingConfig": {"MaximumConcurrency": 2}}, (2, 2)),
        ({"ScalingConfig": {"MaximumConcurrency": 100}}, (5, 100)),
        ({"ProvisionedPollerConfig": {"MinimumPollers": 2, "MaximumPollers": 20}}, (20, 200)),
    ],
)
def test_bounds_are_those_of_the_mapping(mapping: dict[str, Any], expected: tuple[int, int]) -> None:
    assert bounds(mapping) == expected


def test_a_full_poller_grows_by_300_a_minute_up_to_1250() -> None:
    scale = Scale(*bounds({}), 0.0)
    bounds_seen = []
    for second in range(1, 301):
        scale.crowded(float(second))
        bounds_seen.append(scale.bound)
    assert (bounds_seen[0], bounds_seen[59], bounds_seen[-1]) == (10, 305, 1250)


def test_a_poller_with_room_does_not_grow() -> None:
    scale = Scale(*bounds({}), 0.0)
    for second in range(100):
        scale.easy(float(second))
    assert scale.bound == 5


def test_failures_leave_one_batch_and_successes_bring_the_others_back() -> None:
    scale = Scale(*bounds({}), 0.0)
    for _ in range(20):
        scale.failed()
    assert scale.bound == 1
    for _ in range(20):
        scale.succeeded()
    assert scale.bound == 5

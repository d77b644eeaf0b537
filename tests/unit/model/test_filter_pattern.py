"""Event filters: what is a pattern and what is none."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.model.errors import AwsError
from lambent.model.filter_pattern import check_pattern

PATTERNS = [
    {"body": {"status": ["paid"]}},
    {"body": ["plain"]},
    {"a": [None, True, 1.5, "", {"exists": False}]},
    {"a": [{"prefix": "re"}, {"suffix": ".png"}, {"prefix": {"equals-ignore-case": "RE"}}]},
    {"a": [{"equals-ignore-case": "yes"}, {"wildcard": "a*b"}, {"cidr": "10.0.0.0/8"}]},
    {"a": [{"numeric": ["=", 1]}], "b": [{"numeric": [">", 0, "<=", 5]}]},
    {"a": [{"anything-but": ["x", "y"]}], "b": [{"anything-but": 3}], "c": [{"anything-but": {"prefix": "tmp"}}]},
    {"$or": [{"a": ["1"]}, {"b": {"c": ["2"]}}], "d": [4]},
    {"$or": ["a field may have this name, too"]},
]
NOT_PATTERNS = [
    "",
    "{",
    "[]",
    '"text"',
    "null",
    "{}",
    '{"a": {}}',
    '{"a": []}',
    '{"a": "text"}',
    '{"a": [["nested"]]}',
    '{"a": [{"prefix": 1}]}',
    '{"a": [{"prefix": "x", "suffix": "y"}]}',
    '{"a": [{"unknown": "x"}]}',
    '{"a": [{"exists": "yes"}]}',
    '{"a": [{"numeric": [">"]}]}',
    '{"a": [{"numeric": ["<", 5, ">", 1]}]}',
    '{"a": [{"numeric": [">", 5, "<", 5]}]}',
    '{"a": [{"numeric": ["=", true]}]}',
    '{"a": [{"anything-but": []}]}',
    '{"a": [{"anything-but": [1, "x"]}]}',
    '{"a": [{"anything-but": {"exists": true}}]}',
    '{"$or": [{"a": ["1"]}]}',
    '{"$or": [{"a": ["1"]}, "b"]}',
    '{"a":' * 200 + "[1]" + "}" * 200,
]


@pytest.mark.parametrize("pattern", PATTERNS, ids=json.dumps)
def test_every_rule_of_the_documentation_is_a_pattern(pattern: dict[str, object]) -> None:
    check_pattern(json.dumps(pattern))


@pytest.mark.parametrize(
    ("pattern", "is_taken"),
    [
        ({"data": {"kind": ["x"]}}, True),
        ({"data": {"data": ["x"]}}, True),
        ({"partitionKey": ["data"]}, True),
        ({"data": ["x"]}, False),
        ({"$or": [{"partitionKey": ["1"]}, {"data": [{"exists": True}]}]}, False),
    ],
    ids=json.dumps,
)
def test_what_is_always_json_is_not_filtered_as_text(pattern: dict[str, object], is_taken: bool) -> None:
    with contextlib.nullcontext() if is_taken else pytest.raises(AwsError, match="Invalid filter pattern definition"):
        check_pattern(json.dumps(pattern), "data")
    check_pattern(json.dumps(pattern))


@pytest.mark.parametrize("text", NOT_PATTERNS, ids=lambda text: text[:40])
def test_what_is_no_pattern_is_refused_in_awss_words(text: str) -> None:
    with pytest.raises(AwsError) as caught:
        check_pattern(text)
    assert (caught.value.code, caught.value.message) == (
        "InvalidParameterValueException",
        "Invalid filter pattern definition.",
    )


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.text() | st.sampled_from(["$or", "numeric", "prefix", "anything-but"]), inner)
        ),
    )
)
def test_no_json_makes_the_check_fail_in_another_way(value: object) -> None:
    with contextlib.suppress(AwsError):
        check_pattern(json.dumps(value))

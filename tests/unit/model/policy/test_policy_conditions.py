"""Every condition operator, with keys that are there, missing, and of several values."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.model.policy import Context, Policies, Request, context_of, evaluate, parse_policy, user

ADA = user("arn:aws:iam::111111111111:user/ada")


def allowed(condition: dict[str, Any], context: Context, effect: str = "Allow") -> bool:
    """Whether a request passes a statement with this condition, or for `Deny` whether it is refused by it."""
    statements = [{"Effect": effect, "Action": "*", "Resource": "*", "Condition": condition}]
    if effect == "Deny":
        statements.append({"Effect": "Allow", "Action": "*", "Resource": "*"})
    policy = parse_policy({"Version": "2012-10-17", "Statement": statements})
    request = Request(
        principal=ADA, action="s3:GetObject", resource="arn:aws:s3:::b/k", resource_account_id="111111111111",
        context=context,
    )  # fmt: skip
    return evaluate(request, Policies(identity=(policy,))).is_allowed


ARN = "arn:aws:sns:us-east-1:111111111111:topic"

# operator, the policy's value, the request's value, whether it holds
TABLE = [
    ("StringEquals", "a", "a", True),
    ("StringEquals", "a", "A", False),
    ("StringEquals", "a*", "ab", False),
    ("StringEquals", ["a", "b"], "b", True),
    ("StringNotEquals", ["a", "b"], "b", False),
    ("StringNotEquals", ["a", "b"], "c", True),
    ("StringEqualsIgnoreCase", "Ab", "aB", True),
    ("StringNotEqualsIgnoreCase", "Ab", "aB", False),
    ("StringLike", "a*c?", "abbcd", True),
    ("StringLike", "a*", "b", False),
    ("StringNotLike", "a*", "b", True),
    ("StringEquals", "${aws:username}", "ada", True),
    ("StringLike", "${aws:username}-*", "ada-1", True),
    ("NumericEquals", "5", "5.0", True),
    ("NumericEquals", 5, "5", True),
    ("NumericEquals", "5", "x", False),
    ("NumericNotEquals", "5", "6", True),
    ("NumericLessThan", "5", "5", False),
    ("NumericLessThanEquals", "5", "5", True),
    ("NumericGreaterThan", "5", "10", True),
    ("NumericGreaterThanEquals", "5", "4.9", False),
    ("DateEquals", "2026-11-21T09:00:00Z", "2026-11-21T10:00:00+01:00", True),
    ("DateNotEquals", "2026-11-21T09:00:00Z", "2026-11-21T09:00:00Z", False),
    ("DateLessThan", "2026", "2025-12-31T23:59:59Z", True),
    ("DateLessThanEquals", "2026-11", "2026-11-01T00:00:00Z", True),
    ("DateGreaterThan", "2026-11-21", "1795219200", False),
    ("DateGreaterThan", "2026-11-20", "1795219200", True),
    ("DateGreaterThanEquals", "2026-11-21", "1795219200", True),
    ("DateGreaterThan", "2026-11-20", "never", False),
    ("Bool", "true", "true", True),
    ("Bool", True, "true", True),
    ("Bool", "False", "true", False),
    ("BinaryEquals", "QUJD", "QUJD", True),
    ("BinaryEquals", "QUJD", "QUJE", False),
    ("IpAddress", "203.0.113.0/24", "203.0.113.9", True),
    ("IpAddress", "203.0.113.0/24", "203.0.114.9", False),
    ("IpAddress", "203.0.113.7", "203.0.113.7", True),
    ("IpAddress", "2001:db8::/32", "2001:db8::1", True),
    ("IpAddress", "0.0.0.0/0", "2001:db8::1", False),
    ("IpAddress", "0.0.0.0/0", "nowhere", False),
    ("NotIpAddress", "203.0.113.0/24", "203.0.113.9", False),
    ("NotIpAddress", "203.0.113.0/24", "198.51.100.1", True),
    ("ArnEquals", ARN, ARN, True),
    ("ArnLike", "arn:aws:sns:*:111111111111:*", ARN, True),
    ("ArnEquals", "arn:aws:sns:*:111111111111:*", ARN, True),
    ("ArnLike", "arn:aws:s*:topic", ARN, False),
    ("ArnLike", "*", ARN, True),
    ("ArnNotLike", "arn:aws:sns:*:111111111111:*", ARN, False),
    ("ArnNotEquals", "arn:aws:sns:*:222222222222:*", ARN, True),
    ("Null", "false", "a", True),
    ("Null", "true", "a", False),
]


@pytest.mark.parametrize(("operator", "wanted", "given_value", "holds"), TABLE)
def test_an_operator_compares_one_value(operator: str, wanted: Any, given_value: str, holds: bool) -> None:
    context = context_of({"x:Key": given_value, "aws:username": "ada"})
    assert allowed({operator: {"X:key": wanted}}, context) is holds
    if operator != "Null":
        assert allowed({f"{operator}IfExists": {"x:key": wanted}}, context) is holds


SAMPLES = {"Numeric": "5", "Date": "2026", "Bool": "true", "Binary": "QUJD", "IpAddress": "::1", "NotIpAddress": "::1"}
OPERATORS = sorted({row[0] for row in TABLE} - {"Null"})


@pytest.mark.parametrize("operator", OPERATORS)
def test_a_missing_key_fails_comparisons_and_passes_negated_ones_and_if_exists(operator: str) -> None:
    value = next((v for prefix, v in SAMPLES.items() if operator.startswith(prefix)), "a")
    assert allowed({operator: {"x:key": value}}, {}) is ("Not" in operator)
    assert allowed({f"{operator}IfExists": {"x:key": value}}, {})
    assert allowed({f"ForAllValues:{operator}": {"x:key": value}}, {})
    assert not allowed({f"ForAnyValue:{operator}": {"x:key": value}}, {})


def test_null_asks_whether_a_key_is_there() -> None:
    assert allowed({"Null": {"x:key": "true"}}, {})
    assert not allowed({"Null": {"x:key": "false"}}, {})


@pytest.mark.parametrize(
    ("operator", "given_values", "holds"),
    [
        ("ForAllValues:StringEquals", ["a", "b"], True),
        ("ForAllValues:StringEquals", ["a", "c"], False),
        ("ForAnyValue:StringEquals", ["c", "b"], True),
        ("ForAnyValue:StringEquals", ["c", "d"], False),
        ("ForAllValues:StringNotEquals", ["c", "d"], True),
        ("ForAllValues:StringNotEquals", ["c", "b"], False),
        ("ForAnyValue:StringNotEquals", ["c", "b"], True),
        ("ForAnyValue:StringNotEquals", ["a", "b"], False),
        ("ForAnyValue:StringLike", ["c", "b"], True),
        ("StringEquals", ["c", "b"], True),
        ("StringNotEquals", ["c", "b"], False),
    ],
)
def test_quantifiers_say_how_many_values_must_match(operator: str, given_values: list[str], holds: bool) -> None:
    assert allowed({operator: {"x:key": ["a", "b"]}}, context_of({"x:key": given_values})) is holds


def test_all_keys_and_all_operators_must_hold() -> None:
    condition = {"StringEquals": {"x:a": "1", "x:b": "2"}, "Bool": {"x:c": "true"}}
    full: dict[str, str | bool] = {"x:a": "1", "x:b": "2", "x:c": True}
    assert allowed(condition, context_of(full))
    for key in full:
        assert not allowed(condition, context_of({k: v for k, v in full.items() if k != key}))


def test_a_variable_without_a_value_never_gives_access() -> None:
    context = context_of({"x:key": "a"})
    assert not allowed({"StringEquals": {"x:key": "${x:none}"}}, context)
    assert not allowed({"StringNotEquals": {"x:key": "${x:none}"}}, context)
    assert allowed({"StringNotEquals": {"x:key": "${x:none, 'b'}"}}, context)
    assert not allowed({"StringNotEquals": {"x:key": "${x:none}"}}, context, effect="Deny")


@given(
    operator=st.sampled_from([o for o in OPERATORS if "Not" not in o and f"{o}" != "Null"]),
    value=st.sampled_from(["5", "2026", "true", "QUJD", "::1", "a", ARN]),
    asked=st.sampled_from(["5", "6", "2026", "true", "false", "QUJD", "::1", "1.2.3.4", "a", "b", ARN]),
)
def test_a_negated_operator_is_the_opposite_for_every_value_that_is_there(
    operator: str, value: str, asked: str
) -> None:
    negated = {
        "StringEquals": "StringNotEquals", "StringEqualsIgnoreCase": "StringNotEqualsIgnoreCase",
        "StringLike": "StringNotLike", "NumericEquals": "NumericNotEquals", "DateEquals": "DateNotEquals",
        "IpAddress": "NotIpAddress", "ArnEquals": "ArnNotEquals", "ArnLike": "ArnNotLike",
    }.get(operator)  # fmt: skip
    prefixes = {"Numeric": ("5",), "Date": ("2026",), "Ip": ("::1",)}
    usable = next((values for prefix, values in prefixes.items() if operator.startswith(prefix)), None)
    if negated is None or (usable is not None and value not in usable):
        return
    context = context_of({"x:key": asked})
    assert allowed({operator: {"x:key": value}}, context) != allowed({negated: {"x:key": value}}, context)

"""Which documents are policies, and what AWS says of those that are not."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.model.policy import DocumentKind, MalformedPolicy, parse_policy, refuse_everything

ALLOW: dict[str, Any] = {"Effect": "Allow", "Action": "lambda:*", "Resource": "*"}
GRANT: dict[str, Any] = {**ALLOW, "Principal": "*"}


def document(*statements: Any, version: str = "2012-10-17") -> dict[str, Any]:
    return {"Version": version, "Statement": list(statements)}


@pytest.mark.parametrize("text", [json.dumps(document(ALLOW)), json.dumps(document(ALLOW)).encode(), document(ALLOW)])
def test_a_document_is_text_bytes_or_decoded(text: Any) -> None:
    assert len(parse_policy(text).statements) == 1


def test_one_statement_needs_no_list_and_the_version_may_be_left_out() -> None:
    assert parse_policy({"Statement": ALLOW}).version == "2008-10-17"


SYNTAX = "Syntax errors in policy."
VENDOR = "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("", SYNTAX),
        ("[]", SYNTAX),
        ("[" * 100_000, SYNTAX),
        ("{}", SYNTAX),
        (b"\xff", SYNTAX),
        (document(), SYNTAX),
        (document(ALLOW, version="2013-01-01"), SYNTAX),
        ({**document(ALLOW), "Extra": 1}, SYNTAX),
        (document("x"), SYNTAX),
        (document({**ALLOW, "Effect": "allow"}), SYNTAX),
        (document({**ALLOW, "Strange": 1}), SYNTAX),
        (document({**ALLOW, "NotAction": "x:y"}), SYNTAX),
        (document({**ALLOW, "Action": 5}), SYNTAX),
        (document({**ALLOW, "Action": ["s3:x", None]}), SYNTAX),
        (document({**ALLOW, "Action": []}), "Policy statement must contain actions."),
        (document({"Effect": "Allow", "Action": "s3:*"}), "Policy statement must contain resources."),
        (document({**ALLOW, "Action": "invoke"}), VENDOR),
        (document({**ALLOW, "Action": "a b:c"}), "Vendor a b is not valid"),
        (document({**ALLOW, "Resource": "bucket"}), 'Resource bucket must be in ARN format or "*".'),
        (document({**ALLOW, "Resource": "arn:aws:s3:::${}"}), SYNTAX),
        (document({**ALLOW, "Principal": "*"}), "Policy document should not specify a principal."),
        (document({**ALLOW, "Condition": {"StringEqual": {"a:b": "c"}}}), SYNTAX),
        (document({**ALLOW, "Condition": {"ForSome:StringEquals": {"a:b": "c"}}}), SYNTAX),
        (document({**ALLOW, "Condition": {"NullIfExists": {"a:b": "true"}}}), SYNTAX),
        (document({**ALLOW, "Condition": {"IpAddress": {"a:b": "1.2.3.4/99"}}}), SYNTAX),
        (document({**ALLOW, "Condition": {"NumericEquals": {"a:b": "x"}}}), SYNTAX),
        (document({**ALLOW, "Condition": {"DateEquals": {"a:b": "soon"}}}), SYNTAX),
        (document({**ALLOW, "Condition": {"Bool": {"a:b": {}}}}), SYNTAX),
        (document({**ALLOW, "Condition": []}), SYNTAX),
        (document({**ALLOW, "Condition": {"Bool": "x"}}), SYNTAX),
        (
            document({**ALLOW, "Sid": "a-b"}),
            "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*",
        ),
        (
            document({**ALLOW, "Sid": "a"}, {**ALLOW, "Sid": "a"}),
            "Statement IDs (SID) in a single policy must be unique.",
        ),
    ],
)
def test_what_is_no_policy_is_refused_in_iams_words(raw: Any, message: str) -> None:
    with pytest.raises(MalformedPolicy) as refused:
        parse_policy(raw)
    assert (refused.value.code, refused.value.status, refused.value.message) == (
        "MalformedPolicyDocument",
        400,
        message,
    )


@pytest.mark.parametrize(
    ("statement", "kind", "message"),
    [
        (ALLOW, DocumentKind.RESOURCE, "Missing required field Principal"),
        ({**GRANT, "Principal": {}}, DocumentKind.RESOURCE, "Missing required field Principal"),
        ({**GRANT, "Principal": "ada"}, DocumentKind.RESOURCE, SYNTAX),
        ({**GRANT, "Principal": ["*"]}, DocumentKind.RESOURCE, SYNTAX),
        ({**GRANT, "Principal": {"Somebody": "x"}}, DocumentKind.RESOURCE, SYNTAX),
        ({**GRANT, "NotPrincipal": "*"}, DocumentKind.RESOURCE, SYNTAX),
        (GRANT, DocumentKind.TRUST, "Has prohibited field Resource"),
    ],
)
def test_resources_and_roles_have_documents_of_their_own_kind(statement: Any, kind: DocumentKind, message: str) -> None:
    with pytest.raises(MalformedPolicy) as refused:
        parse_policy(document(statement), kind)
    assert refused.value.message == message


@pytest.mark.parametrize("kind", DocumentKind)
def test_what_stands_for_an_unreadable_document_refuses_everything(kind: DocumentKind) -> None:
    (statement,) = refuse_everything(kind).statements
    assert statement.effect.value == "Deny"
    assert statement.applies("any:thing", "arn:any:thing", {})
    assert (statement.principal is None) is (kind is DocumentKind.IDENTITY)


def test_a_policy_knows_the_condition_keys_that_it_depends_on() -> None:
    statement = {
        **ALLOW,
        "Resource": "arn:aws:s3:::b/${aws:username}",
        "Condition": {"StringLike": {"aws:SourceIp": "${x:Y}"}, "Null": {"A:b": "true"}},
    }
    assert parse_policy(document(statement)).keys == {"aws:username", "aws:sourceip", "x:y", "a:b"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["Version", "Statement", "Effect", "Action", "Resource", "Principal", "Condition", "AWS", "Sid"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=15,
)


@given(raw=st.dictionaries(st.sampled_from(["Version", "Id", "Statement"]), JSON), kind=st.sampled_from(DocumentKind))
def test_whatever_is_in_a_document_it_is_read_or_refused_as_malformed(raw: Any, kind: DocumentKind) -> None:
    with contextlib.suppress(MalformedPolicy):
        assert parse_policy(raw, kind).statements

"""Access keys name their account, survive restarts and cannot be made up."""

import base64
import tracemalloc

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.control.credentials import SESSION_LIFETIME_S, IssuedCredentials
from lambent.model.function import FunctionVersion

ACCOUNTS = st.integers(0, 10**12 - 1).map(lambda number: f"{number:012d}")
NOW_S = 1_800_000_000.0


def version(account_id: str) -> FunctionVersion:
    return FunctionVersion(
        account_id=account_id,
        region="us-east-1",
        name="f",
        version="1",
        role=f"arn:aws:iam::{account_id}:role/app/worker",
        runtime="python3.13",
        handler="h",
    )


@given(account_id=ACCOUNTS, master=st.binary(min_size=32, max_size=32))
def test_every_issued_key_names_its_account_and_has_its_secret(account_id: str, master: bytes) -> None:
    issued = IssuedCredentials(master)
    root = issued.root(account_id)
    assert issued.account_of(root.access_key_id) == account_id
    assert IssuedCredentials(master).secret_for(root.access_key_id) == root.secret_access_key
    variables = issued.for_function(version(account_id))
    assert issued.account_of(variables["AWS_ACCESS_KEY_ID"]) == account_id
    assert issued.secret_for(variables["AWS_ACCESS_KEY_ID"]) == variables["AWS_SECRET_ACCESS_KEY"]


@given(text=st.text(max_size=24))
def test_no_other_text_is_a_key(text: str) -> None:
    issued = IssuedCredentials(b"m" * 32)
    assert issued.secret_for(text) is None
    assert issued.account_of(text) is None


@pytest.mark.parametrize("key", ["AKIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE", "123456789012", "test", ""])
def test_keys_of_other_issuers_name_no_account_and_have_no_secret(key: str) -> None:
    issued = IssuedCredentials(b"m" * 32)
    assert issued.account_of(key) is None
    assert issued.secret_for(key) is None


def test_keys_of_another_server_are_not_taken_for_our_own() -> None:
    other, ours = IssuedCredentials(b"o" * 32), IssuedCredentials(b"m" * 32)
    assert ours.account_of(other.root("000000000000").access_key_id) is None
    temporary = [other.for_function(version("000000000000"))["AWS_ACCESS_KEY_ID"] for _ in range(4)]
    # The check has sixteen bits, so one of them may pass by chance.
    assert sum(ours.account_of(key) is None for key in temporary) >= 3
    assert sum(ours.secret_for(key) is None for key in temporary) >= 3


def test_a_function_is_a_session_of_its_role_until_it_expires() -> None:
    issued = IssuedCredentials(b"m" * 32, lambda: NOW_S)
    variables = issued.for_function(version("111111111111"))
    key = IssuedCredentials(b"m" * 32).known(variables["AWS_ACCESS_KEY_ID"], variables["AWS_SESSION_TOKEN"])
    assert key is not None
    assert key.principal_arn == "arn:aws:sts::111111111111:assumed-role/worker/f"
    assert key.role_arn == "arn:aws:iam::111111111111:role/app/worker"
    assert key.source_function_arn == "arn:aws:lambda:us-east-1:111111111111:function:f"
    assert (key.account_id, key.expires_s) == ("111111111111", NOW_S + SESSION_LIFETIME_S)


@given(
    token=st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: base64.b64encode(raw).decode()) | st.none()
)
def test_a_session_token_cannot_be_made_up(token: str | None) -> None:
    issued = IssuedCredentials(b"m" * 32)
    variables = issued.for_function(version("111111111111"))
    assert issued.known(variables["AWS_ACCESS_KEY_ID"], token) is None


def test_a_session_token_belongs_to_one_key_and_one_server() -> None:
    issued = IssuedCredentials(b"m" * 32)
    one, other = (issued.for_function(version("111111111111")) for _ in range(2))
    assert issued.known(one["AWS_ACCESS_KEY_ID"], other["AWS_SESSION_TOKEN"]) is None
    assert IssuedCredentials(b"o" * 32).known(one["AWS_ACCESS_KEY_ID"], one["AWS_SESSION_TOKEN"]) is None


def test_a_role_of_another_account_opens_nothing() -> None:
    issued = IssuedCredentials(b"m" * 32)
    variables = issued.for_function(attrs.evolve(version("111111111111"), role="arn:aws:iam::222222222222:role/r"))
    assert issued.known(variables["AWS_ACCESS_KEY_ID"], variables["AWS_SESSION_TOKEN"]) is None


def test_the_root_key_needs_no_token_and_never_expires() -> None:
    issued = IssuedCredentials(b"m" * 32)
    key = issued.known(issued.root("111111111111").access_key_id, None)
    assert key is not None
    assert (key.principal_arn, key.expires_s) == ("arn:aws:iam::111111111111:root", None)


def test_sessions_of_environments_that_have_ended_do_not_pile_up() -> None:
    issued = IssuedCredentials(b"m" * 32)
    keys = [issued.for_function(version("123456789012")) for _ in range(3_000)]
    tokens = [(key["AWS_ACCESS_KEY_ID"].encode(), key["AWS_SESSION_TOKEN"].encode()) for key in keys]
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for key, token in tokens:
            assert issued.known(key.decode(), token.decode()) is not None
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 2_000_000

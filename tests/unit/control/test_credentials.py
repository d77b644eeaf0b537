"""Access keys name their account, survive restarts and cannot be made up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.control.credentials import IssuedCredentials
from lambent.model.function import FunctionVersion

ACCOUNTS = st.integers(0, 10**12 - 1).map(lambda number: f"{number:012d}")


def version(account_id: str) -> FunctionVersion:
    return FunctionVersion(
        account_id=account_id, region="us-east-1", name="f", version="1", role="r", runtime="python3.13", handler="h"
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

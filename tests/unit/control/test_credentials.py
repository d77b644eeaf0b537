"""Access keys name their account, survive restarts and cannot be made up."""

from hypothesis import given
from hypothesis import strategies as st

from lambent.control.credentials import IssuedCredentials, account_of
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
    assert account_of(root.access_key_id) == account_id
    assert IssuedCredentials(master).secret_for(root.access_key_id) == root.secret_access_key
    variables = issued.for_function(version(account_id))
    assert account_of(variables["AWS_ACCESS_KEY_ID"]) == account_id
    assert issued.secret_for(variables["AWS_ACCESS_KEY_ID"]) == variables["AWS_SECRET_ACCESS_KEY"]


@given(text=st.text(max_size=24))
def test_no_other_text_is_a_key(text: str) -> None:
    issued = IssuedCredentials(b"m" * 32)
    assert issued.secret_for(text) is None or text.startswith("ASIA")


def test_a_root_key_id_that_was_not_issued_has_no_secret() -> None:
    other = IssuedCredentials(b"o" * 32).root("000000000000")
    assert IssuedCredentials(b"m" * 32).secret_for(other.access_key_id) is None


def test_a_twelve_digit_key_id_is_an_account_but_has_no_secret() -> None:
    assert account_of("123456789012") == "123456789012"
    assert IssuedCredentials(b"m" * 32).secret_for("123456789012") is None

"""What is sealed can be opened by the same key for the same function, and by nothing else."""

from __future__ import annotations

import base64
import os

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.model.sealing import KEY_BYTES, SealError, open_sealed, seal

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:f"
KEY, SERVICE_KEY = os.urandom(KEY_BYTES), os.urandom(KEY_BYTES)
VARIABLES = st.dictionaries(st.text(min_size=1), st.text(), min_size=1)


@given(VARIABLES)
def test_variables_come_back_as_they_were(variables: dict[str, str]) -> None:
    assert open_sealed(seal(variables, ARN, KEY, SERVICE_KEY), ARN, KEY) == variables


@given(VARIABLES, st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_one_changed_byte_is_noticed(variables: dict[str, str], where: int, change: int) -> None:
    sealed = seal(variables, ARN, KEY, SERVICE_KEY)
    data = bytearray(base64.b64decode(sealed.ciphertext))
    data[where % len(data)] ^= change
    with pytest.raises(SealError):
        open_sealed(attrs.evolve(sealed, ciphertext=base64.b64encode(data).decode()), ARN, KEY)


def test_another_key_and_another_function_open_nothing() -> None:
    sealed = seal({"A": "1"}, ARN, KEY, SERVICE_KEY)
    for arn, key in ((ARN, SERVICE_KEY), (ARN + "x", KEY)):
        with pytest.raises(SealError, match="give the function its variables again"):
            open_sealed(sealed, arn, key)


@given(VARIABLES, VARIABLES)
def test_the_digest_tells_whether_variables_are_equal_whatever_encrypted_them(
    one: dict[str, str], other: dict[str, str]
) -> None:
    first, again = seal(one, ARN, KEY, SERVICE_KEY), seal(dict(reversed(one.items())), ARN, SERVICE_KEY, SERVICE_KEY)
    assert first.digest == again.digest
    assert first.ciphertext != again.ciphertext
    assert (seal(other, ARN, KEY, SERVICE_KEY).digest == first.digest) is (one == other)
    assert seal(one, ARN + "x", KEY, SERVICE_KEY).digest != first.digest

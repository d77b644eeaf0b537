"""Payloads are JSON or refused; what passes is passed on untouched."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.front import payload
from lambent.model.errors import AwsError

PREFIX = "Could not parse request body into json: Could not parse payload into json: "
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


@given(values, st.booleans())
def test_json_passes_untouched(value: object, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    try:
        text.decode()
    except UnicodeDecodeError:
        return
    assert payload.check(text) is text


@given(st.binary(min_size=1, max_size=40))
def test_bytes_pass_exactly_when_they_are_json_text(data: bytes) -> None:
    try:
        payload.check(data)
    except AwsError as error:
        assert error.message.startswith(PREFIX)  # noqa: PT017
        return
    json.loads(data)


def test_nothing_is_an_empty_object() -> None:
    assert payload.check(b"") == b"{}"


@pytest.mark.parametrize(
    ("data", "detail", "place"),
    [
        (b"badbod", "Unrecognized token 'badbod': was expecting (JSON String, Number, Array, Object or token 'null', 'true' or 'false')",
         "line: 1, column: 7"),
        (b'"\x87"', "Invalid UTF-8 start byte 0x87", "line: 1, column: 2"),
        (b'"\xc3\x28"', "Invalid UTF-8 middle byte 0x28", "line: 1, column: 3"),
        (b'{"a": 1', "Unexpected end-of-input", "line: 1, column: 8"),
        (b'{\n"a": ?}', "Unexpected character ('?' (code 63))", "line: 2, column: 6"),
        (b" ", "Unexpected end-of-input", "line: 1, column: 2"),
        (b"[" * 100_000, "Unexpected end-of-input", "line: 1"),
    ],
)  # fmt: skip
def test_what_is_wrong_and_where_is_told(data: bytes, detail: str, place: str) -> None:
    with pytest.raises(AwsError) as caught:
        payload.check(data)
    assert (caught.value.code, caught.value.status) == ("InvalidRequestContentException", 400)
    assert caught.value.message.startswith(PREFIX + detail)
    assert place in caught.value.message

"""The client in a Python cage reads and writes long strings by a shorter way than the standard library's, to the same result."""

from __future__ import annotations

import importlib
import json
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lambent.runtimes.family import GUESTS

texts = st.text(st.sampled_from('ab,:]}{[-Infinity \\"\n\x7fé\U0001f600'), max_size=30) | st.text(
    "z", min_size=6, max_size=40
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=20,
)


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """With bounds that small events are beyond."""
    monkeypatch.syspath_prepend(str(GUESTS / "python"))
    found = importlib.import_module("lambent_json")
    monkeypatch.setattr(found, "LARGE_EVENT_BYTES", 0)
    monkeypatch.setattr(found, "TAKEN_BYTES", 5)
    monkeypatch.setattr(found, "LONG_CHARACTERS", 5)
    return found


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(values, st.booleans(), st.sampled_from([None, 1]), st.sampled_from(["", " ", "\n"]))
def test_an_event_is_what_json_says(
    module: ModuleType, value: Any, ascii_only: bool, indent: int | None, around: str
) -> None:
    text = around + json.dumps(value, ensure_ascii=ascii_only, indent=indent) + around
    expected = json.loads(text)

    event = module.Marshaller().decode_event(bytearray(text.encode()))

    assert repr(event) == repr(expected)  # NaN is not equal to itself


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(st.dictionaries(texts, texts, min_size=1, max_size=5), st.sampled_from(["python3.11", "python3.13"]))
def test_what_came_with_the_event_is_written_as_anything_else(
    module: ModuleType, value: dict[str, str], runtime: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_EXECUTION_ENV", f"AWS_Lambda_{runtime}")
        marshaller = module.Marshaller()
    event = marshaller.decode_event(json.dumps(value, ensure_ascii=False).encode())

    answer, _ = marshaller.encode_response(event)

    assert answer == json.dumps(value, ensure_ascii=runtime == "python3.11").encode()


@pytest.mark.parametrize(
    "text",
    [
        '{"a": "zzzzzzzzzzzzzzzz", "b": 1, "c": "yyyyyyyyyyyyyyyyyyyyy"}',
        '["a", 1111111111111111111111, "b", "zzzzzzzzzzzzzzzzzzzz"]',
        '["a",11111111111111111111111,"b"]',
        '["a"  , 111111111111111111111,"b"]',
        '{"zzzzzzzzzzzzzzzzzzzzzz": "yyyyyyyyyyyyyyyyyyyyyyyyyyyy"}',
        '"zzzzzzzzzzzzzzzzzzzzzzzzzz"',
        '["zzzzzzzzzzzzzzzzzz", -Infinity, NaN]',
        '["zzzzzzzzzzzzzzzzzz", "-Infinity"]',
        '["\\"zzzzzzzzzzzzzzzzzzzzzz", "\\\\", "zzzzzzzzzzzzzzzzzzzzzz"]',
        '["a\\"", "zzzzzzzzz zzzzzzzzzzz\\u0041"]',
    ],
)
def test_what_looks_like_a_long_string_is_not_mistaken_for_one(module: ModuleType, text: str) -> None:
    assert repr(module.Marshaller().decode_event(text.encode())) == repr(json.loads(text))


def test_strings_of_an_event_are_let_go_with_its_answer(module: ModuleType) -> None:
    marshaller = module.Marshaller()
    event = marshaller.decode_event(b'{"text": "zzzzzzzzzzzzzzzzzzzzzzzz"}')
    assert list(marshaller.encoder.plain.values()) == [event["text"]]

    marshaller.encode_response(event)

    assert not marshaller.encoder.plain


@pytest.mark.parametrize(
    "event", [b'{"text": "zzzzzzzzzzzzzzzzzz}', b"[", b'"zzzzzzzzzzzzzzzzzzzzzzzz" 1', b'"\xffzzzzzzzzzzzzzz"']
)
def test_what_is_no_json_is_told_as_the_standard_library_tells_it(module: ModuleType, event: bytes) -> None:
    with pytest.raises(Exception, match="Unable to unmarshal input") as caught:
        module.Marshaller().decode_event(event)

    with pytest.raises(ValueError, match=r"JSON|control|column|codec") as expected:
        json.loads(str(event, "utf-8"))
    assert str(caught.value).endswith(str(expected.value))

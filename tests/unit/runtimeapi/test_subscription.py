"""Reading an extension's telemetry subscription."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.runtimeapi.protocol import Refusal
from lambent.runtimeapi.subscription import Subscription, parse_subscription

GOOD: dict[str, Any] = {
    "schemaVersion": "2022-12-13",
    "types": ["platform", "function"],
    "buffering": {"maxItems": 2000, "maxBytes": 300_000, "timeoutMs": 25},
    "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:8080/in?x=1"},
}


def parse(asked: Any, *, logs_api: bool = False) -> Subscription | Refusal:
    return parse_subscription(json.dumps(asked).encode(), logs_api=logs_api)


def test_a_whole_subscription_is_read() -> None:
    assert parse(GOOD) == Subscription(
        types=("platform", "function"),
        max_items=2000,
        max_bytes=300_000,
        timeout_ms=25,
        protocol="HTTP",
        port=8080,
        path="/in?x=1",
    )


def test_buffering_has_defaults() -> None:
    asked = {**GOOD, "buffering": None, "destination": {"protocol": "TCP", "port": 9000}}
    assert parse(asked) == Subscription(types=("platform", "function"), protocol="TCP", port=9000, path="")


def test_the_logs_api_needs_no_version() -> None:
    asked = {key: value for key, value in GOOD.items() if key != "schemaVersion"}
    assert isinstance(parse(asked, logs_api=True), Subscription)


def test_everything_that_is_wrong_is_named_at_once() -> None:
    asked = {**GOOD, "types": [], "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain"}}
    refusal = parse(asked)
    assert refusal == Refusal(400, "ValidationError", "types should not be empty; URI port is not provided")


@pytest.mark.parametrize(
    "change",
    [
        {"schemaVersion": "1999-01-01"},
        {"schemaVersion": None},
        {"types": ["platform", "secrets"]},
        {"types": "platform"},
        {"types": [{}]},
        {"buffering": []},
        {"buffering": {"maxItems": 999}},
        {"buffering": {"maxBytes": 1_048_577}},
        {"buffering": {"timeoutMs": 24}},
        {"buffering": {"timeoutMs": True}},
        {"destination": None},
        {"destination": {"protocol": "UDP", "port": 1}},
        {"destination": {"protocol": "TCP"}},
        {"destination": {"protocol": "TCP", "port": 70_000}},
        {"destination": {"protocol": "HTTP"}},
        {"destination": {"protocol": "HTTP", "URI": "http://10.0.0.1:80/"}},
        {"destination": {"protocol": "HTTP", "URI": "https://sandbox.localdomain:80/"}},
        {"destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:80/ HTTP/1.1\r\nx: y"}},
        {"destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:99999/"}},
        {"destination": {"protocol": "HTTP", "URI": "http://[/"}},
    ],
)
def test_what_is_out_of_bounds_is_refused(change: dict[str, Any]) -> None:
    refusal = parse({**GOOD, **change})
    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.error_type) == (400, "ValidationError")


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.sampled_from(["HTTP", "TCP", "platform"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*GOOD, "URI", "port"]), inner),
    max_leaves=12,
)


@given(asked=_json)
def test_any_json_is_accepted_or_refused(asked: Any) -> None:
    assert isinstance(parse(asked), Subscription | Refusal)


@given(body=st.binary(max_size=60))
def test_any_bytes_are_accepted_or_refused(body: bytes) -> None:
    assert isinstance(parse_subscription(body, logs_api=False), Subscription | Refusal)


def test_a_nest_of_brackets_is_refused() -> None:
    assert isinstance(parse_subscription(b"[" * 60_000, logs_api=False), Refusal)

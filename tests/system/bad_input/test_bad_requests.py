"""Requests that Invoke must refuse."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from live_server import LiveServer

MIB = 1024 * 1024


def refusal(live: LiveServer, name: str, payload: bytes, **members: Any) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as raised:
        live.client().invoke(FunctionName=name, Payload=payload, **members)
    answer = raised.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"]["Message"]


def test_seven_megabytes_are_too_much_and_six_are_not(live: LiveServer, harmless: str) -> None:
    status, code, message = refusal(live, harmless, json.dumps("x" * (7 * MIB)).encode())
    assert (status, code) == (413, "RequestEntityTooLargeException")
    assert message == "Request must be smaller than 6291456 bytes for the InvokeFunction operation"
    text = "x" * (6 * MIB - 2)
    assert live.invoke(harmless, text).value == text


@pytest.mark.parametrize("payload", [b"{", b"hello", b"\xff\xfe", b'{"a": 1} x', b"[" * 100_000])
def test_what_is_not_json_is_refused(live: LiveServer, harmless: str, payload: bytes) -> None:
    status, code, message = refusal(live, harmless, payload)
    assert (status, code) == (400, "InvalidRequestContentException")
    assert message.startswith("Could not parse request body into json: ")


def test_functions_and_versions_that_do_not_exist_are_404(live: LiveServer, harmless: str) -> None:
    for name in ("no-such-function", f"{harmless}:7", f"{harmless}:no-such-alias"):
        status, code, message = refusal(live, name, b"{}")
        assert (status, code) == (404, "ResourceNotFoundException")
        assert message.startswith("Function not found: arn:aws:lambda:us-east-1:000000000000:function:")

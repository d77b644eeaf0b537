"""What the client in a Python cage knows by sight is what the server says."""

from __future__ import annotations

import asyncio
import importlib.util
from types import ModuleType
from typing import Any, cast

import pytest

from lambent.http1.connection import Connection
from lambent.runtimeapi.api import EnvironmentApi
from lambent.runtimeapi.values import RuntimeCall
from lambent.runtimes.family import GUESTS
from memory_transport import MemoryTransport

NEXT = b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: 127.0.0.1:9001\r\n\r\n"
TRACE = "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0"


class Observer:
    def on_platform_event(self, event_type: str, record: dict[str, Any]) -> None:
        """Nothing of interest here."""


class Wire(MemoryTransport):
    """An environment's server, to which a client in the same process speaks as if by a socket."""

    def __init__(self) -> None:
        super().__init__()
        self.api = EnvironmentApi(
            function_name="f", function_version="1", handler="h", account_id="0" * 12, arn="arn", observer=Observer()
        )
        self.connection = Connection(self.api._server)
        self.connection.connection_made(cast(asyncio.Transport, self))
        self.calls = 0

    def sendall(self, data: bytes) -> None:
        self.connection.data_received(data)

    def recv(self, size: int) -> bytes:
        """Whoever waits is given an event."""
        if not self.output:
            self.calls += 1
            self.api.invoke(
                RuntimeCall(
                    request_id=f"id-{self.calls}",
                    deadline_ms=self.calls,
                    invoked_function_arn="arn:f",
                    trace_id=TRACE,
                    payload=b"[%d]" % self.calls,
                )
            )
        taken = bytes(self.output)
        self.output.clear()
        return taken


@pytest.fixture(scope="module")
def module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lambent_client", GUESTS / "python" / "lambent_client.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


async def test_events_and_answers_are_known_without_being_parsed(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = Wire()
    client = module.RuntimeClient("127.0.0.1:9001")
    client._socket = wire
    monkeypatch.setattr(client, "parse_head", None)

    for n in (1, 2, 3):
        headers, body = client.next_event()
        assert body == b"[%d]" % n
        assert headers == {
            "lambda-runtime-aws-request-id": f"id-{n}",
            "lambda-runtime-deadline-ms": str(n),
            "lambda-runtime-invoked-function-arn": "arn:f",
            "lambda-runtime-trace-id": TRACE,
        }
        assert client.respond(b"id-%d" % n, body, b"application/json") == (202, b"")

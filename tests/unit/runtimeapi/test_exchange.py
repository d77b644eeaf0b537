"""The short cut for Lambent's own clients: however their bytes arrive, it says what the parser would have said."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.http1.connection import Connection
from lambent.runtimeapi.api import EnvironmentApi
from lambent.runtimeapi.runtime import PendingResponse
from lambent.runtimeapi.values import RuntimeCall
from memory_transport import MemoryTransport

HOST = b"127.0.0.1:9001"
NEXT = b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: %b\r\n\r\n" % HOST


def post(request_id: str, body: bytes, length: bytes | None = None, host: bytes = HOST) -> bytes:
    return (
        b"POST /2018-06-01/runtime/invocation/%b/response HTTP/1.1\r\nHost: %b\r\nContent-Type: application/json\r\n"
        b"Content-Length: %b\r\n\r\n%b"
        % (request_id.encode(), host, b"%d" % len(body) if length is None else length, body)
    )


class Observer:
    def on_platform_event(self, event_type: str, record: dict[str, Any]) -> None:
        """Nothing of interest here."""


class Environment(MemoryTransport):
    """One environment and the connection of one client, without a network."""

    def __init__(self) -> None:
        super().__init__()
        self.api = EnvironmentApi(
            function_name="f", function_version="1", handler="h", account_id="0" * 12, arn="arn", observer=Observer()
        )
        self.connection = self.connect()
        self.calls = 0

    def connect(self) -> Connection:
        connection = Connection(self.api._server)
        connection.connection_made(cast(asyncio.Transport, self))
        return connection

    def invoke(self) -> PendingResponse:
        self.calls += 1
        call = RuntimeCall(request_id=f"id-{self.calls}", deadline_ms=1, invoked_function_arn="arn", payload=b"{}")
        return self.api.invoke(call)

    def statuses(self) -> list[int]:
        """Of what was sent since the last call; flushes what was held back."""
        self.connection.send([])
        found = []
        while self.output:
            head, _, rest = bytes(self.output).partition(b"\r\n\r\n")
            lines = head.lower().split(b"\r\n")
            length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length"))
            found.append(int(lines[0].split()[1]))
            self.output[:] = rest[length:]
        return found


@given(
    st.lists(st.one_of(st.binary(max_size=200), st.just(NEXT), st.just(b"\r\n\r\n")), min_size=1, max_size=4),
    st.lists(st.integers(0, 600), max_size=5),
)
async def test_however_the_bytes_are_cut_the_response_is_taken_whole(bodies: list[bytes], cuts: list[int]) -> None:
    environment = Environment()
    environment.connection.data_received(NEXT)
    for body in bodies:
        pending = environment.invoke()
        assert environment.statuses() == [200]
        data = post(pending.call.request_id, body) + NEXT
        edges = sorted({0, len(data), *(cut % len(data) for cut in cuts)})
        for start, end in itertools.pairwise(edges):
            environment.connection.data_received(data[start:end])
        assert pending.finished
        assert (await pending).payload == body
        assert environment.statuses() == [202]
    environment.api.close()


@pytest.mark.parametrize(
    ("data", "statuses"),
    [
        (post("id-1", b"12345", b"4") + NEXT, [202]),  # the fifth byte begins something that is no request
        (post("id-1", b"1", b"+1") + NEXT, []),
        (post("id-1", b"1", b"01") + NEXT, [202]),
        (post("id-2", b"1") + NEXT, [400]),  # of an invocation that is not under way
        (post("id-1", b"1", host=b"elsewhere") + NEXT, [202]),
        (post("id-1", b"1") + post("id-1", b"2"), [202, 403]),
        (post("id-1", b"1"), [202]),
    ],
)
async def test_what_is_not_the_known_form_is_left_to_the_parser(data: bytes, statuses: list[int]) -> None:
    environment = Environment()
    environment.connection.data_received(NEXT)
    environment.invoke()
    assert environment.statuses() == [200]
    environment.connection.data_received(data)
    found = environment.statuses()
    assert [status for status in found if status in (202, 400, 403)][: len(statuses)] == statuses
    environment.api.close()


async def test_an_answer_on_an_older_connection_is_not_taken_for_the_newer_ones() -> None:
    environment = Environment()
    environment.connection.data_received(NEXT)
    pending = environment.invoke()
    assert environment.statuses() == [200]
    newer = environment.connect()
    newer.data_received(NEXT)  # asks again, and is given the same event
    assert environment.statuses() == [200]
    environment.connection.data_received(post("id-1", b"1") + NEXT)
    assert (await pending).payload == b"1"
    assert pending.finished
    assert environment.statuses() == [202]
    environment.invoke()
    assert environment.statuses() == [200]
    environment.api.close()


async def test_an_answer_without_the_next_request_does_not_finish_the_invocation() -> None:
    environment = Environment()
    environment.connection.data_received(NEXT)
    pending = environment.invoke()
    environment.connection.data_received(post("id-1", b"1"))
    assert pending.answered
    assert not pending.finished
    environment.connection.data_received(NEXT)
    assert pending.finished
    environment.api.close()

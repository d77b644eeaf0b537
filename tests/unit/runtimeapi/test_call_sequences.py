"""Whatever clients inside an environment send, in whatever order: one invocation at a time, and one answer for each."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from lambent.http1.connection import Connection
from lambent.runtimeapi.api import EnvironmentApi
from lambent.runtimeapi.runtime import PendingResponse
from lambent.runtimeapi.values import RuntimeCall
from memory_transport import MemoryTransport

NEXT = b"/2018-06-01/runtime/invocation/next"
CLIENTS = 3


class Observer:
    def on_platform_event(self, event_type: str, record: dict[str, Any]) -> None:
        """Nothing of interest here."""


class Wire(MemoryTransport):
    """A client's connection, without a network: what is written to it is parsed as answers."""

    def __init__(self, api: EnvironmentApi) -> None:
        super().__init__()
        self.asked: list[tuple[str, str]] = []  # verb and request id, not yet answered
        self.protocol = self._connection = Connection(api._server)
        self._connection.connection_made(cast(asyncio.Transport, self))

    def send(self, verb: str, request_id: str, head: bytes, body: bytes) -> None:
        self.asked.append((verb, request_id))
        self.receive(head)
        if body:
            half = len(body) // 2
            self.receive(body[:half])
            self.receive(body[half:])

    def hang_up(self) -> None:
        self.close()

    def answers(self) -> list[tuple[str, str, int, dict[bytes, bytes]]]:
        """Verb, request id, status and headers of what has been answered since the last call."""
        found = []
        while self.asked and (end := self.output.find(b"\r\n\r\n")) >= 0:
            status_line, *lines = bytes(self.output[:end]).split(b"\r\n")
            headers = dict(line.lower().split(b": ", 1) for line in lines)
            del self.output[: end + 4 + int(headers[b"content-length"])]
            verb, request_id = self.asked.pop(0)
            found.append((verb, request_id, int(status_line.split()[1]), headers))
        return found

    def close(self) -> None:
        if not self.closed:
            super().close()
            assert self.protocol is not None
            self.protocol.connection_lost(None)


class World:
    def __init__(self) -> None:
        self.api = EnvironmentApi(
            function_name="f", function_version="1", handler="h", account_id="0" * 12, arn="arn", observer=Observer()
        )
        self.wires = [Wire(self.api) for _ in range(CLIENTS)]
        self.pending: list[PendingResponse] = []
        self.accepted: dict[str, int] = {}
        self.failed: set[str] = set()

    def invoke(self) -> None:
        busy = bool(self.pending) and not self.pending[-1].finished
        call = RuntimeCall(
            request_id=f"id-{len(self.pending)}", deadline_ms=1, invoked_function_arn="arn", payload=b"{}"
        )
        try:
            self.pending.append(self.api.invoke(call))
            assert not busy
        except RuntimeError:
            assert busy

    def next(self, client: int) -> None:
        self._wire(client).send("next", "", b"GET " + NEXT + b" HTTP/1.1\r\nhost: x\r\n\r\n", b"")

    def post(self, client: int, verb: str, back: int, size: int, claimed: int) -> None:
        """`back` invocations ago; a body of `size` bytes of which more or fewer may be claimed."""
        request_id = self.pending[-1 - back].call.request_id if back < len(self.pending) else "id-unknown"
        target = f"/2018-06-01/runtime/invocation/{request_id}/{verb}".encode()
        head = b"POST " + target + b" HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % (size + claimed)
        wire = self._wire(client)
        wire.send(verb, request_id, head, b"x" * size)
        if claimed:
            wire.hang_up()

    def work(self, client: int, verb: str) -> None:
        """What a good runtime does, if it is let."""
        if not self.pending or self.pending[-1].finished:
            self.invoke()
        self.next(client)
        self.check()
        self.post(client, verb, 0, 7, 0)

    def hang_up(self, client: int) -> None:
        self._wire(client).hang_up()

    def fail(self) -> None:
        if self.pending and not self.pending[-1].answered:
            self.failed.add(self.pending[-1].call.request_id)
        self.api.fail_current("Sandbox.Timedout", b"{}")

    def _wire(self, client: int) -> Wire:
        # A connection that is parked in /next takes nothing else; its client would open another.
        if self.wires[client].closed or self.wires[client].asked:
            if self.wires[client].asked:
                self.wires[client].hang_up()
            self.wires[client] = Wire(self.api)
        return self.wires[client]

    def check(self) -> None:
        for wire in self.wires:
            for verb, request_id, status, headers in wire.answers():
                self._check_answer(verb, request_id, status, headers)
        for pending in self.pending:
            request_id = pending.call.request_id
            answers = self.accepted.get(request_id, 0) + (request_id in self.failed)
            assert answers <= 1
            assert pending.answered == bool(answers)
            assert pending.answered or not pending.finished
        assert sum(not pending.finished for pending in self.pending) <= 1

    def _check_answer(self, verb: str, request_id: str, status: int, headers: dict[bytes, bytes]) -> None:
        if verb == "next":
            assert status in (200, 403)
            if status == 200:
                current = self.pending[-1]
                assert headers[b"lambda-runtime-aws-request-id"].decode() == current.call.request_id
        else:
            assert status in (202, 400, 403)
            if status == 202:
                self.accepted[request_id] = self.accepted.get(request_id, 0) + 1
                assert request_id == self.pending[-1].call.request_id


_client = st.integers(0, CLIENTS - 1)
_post = st.tuples(
    st.just("post"),
    _client,
    st.sampled_from(["response", "error"]),
    st.sampled_from([0, 0, 0, 1, 99]),
    st.sampled_from([0, 7, 70_000]),
    st.sampled_from([0, 0, 0, 1000, 100_000, 300_000]),
)
_action = st.one_of(
    st.tuples(st.just("invoke")),
    st.tuples(st.just("next"), _client),
    st.tuples(st.just("next"), _client),
    _post,
    _post,
    st.tuples(st.just("work"), _client, st.sampled_from(["response", "error"])),
    st.tuples(st.just("work"), st.just(0), st.just("response")),
    st.tuples(st.just("hang_up"), _client),
)


@settings(max_examples=300)
@given(actions=st.lists(_action, max_size=40), ends_in_failure=st.booleans())
def test_each_invocation_is_answered_once_and_alone(actions: list[tuple[Any, ...]], ends_in_failure: bool) -> None:
    world = World()
    for name, *arguments in actions:
        getattr(world, name)(*arguments)
        world.check()
    if ends_in_failure:
        world.fail()
        world.check()
        world.next(0)
        world.check()
        assert all(pending.answered for pending in world.pending)

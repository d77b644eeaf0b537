"""One environment's API on a real socket, and scripted clients in place of its processes."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import attrs
import pytest_asyncio

from lambent.model.invocation import ResponseSink
from lambent.runtimeapi.api import EnvironmentApi
from lambent.runtimeapi.runtime import PendingResponse
from lambent.runtimeapi.telemetry import Connect
from lambent.runtimeapi.values import RuntimeCall

ARN = "arn:aws:lambda:us-east-1:000000000000:function:sample"
NEXT = "/2018-06-01/runtime/invocation/next"


@attrs.frozen
class Answer:
    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """A process of the environment, on one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None
    ) -> None:
        lines = [f"{method} {path} HTTP/1.1", "host: 127.0.0.1:9001"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if body is not None:
            lines.append(f"content-length: {len(body)}")
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + (body or b""))
        await self.writer.drain()

    async def answer(self) -> Answer:
        status = int((await self.reader.readline()).split()[1])
        headers: dict[str, str] = {}
        while line := (await self.reader.readline()).strip():
            name, _, value = line.decode().partition(": ")
            headers[name.lower()] = value
        return Answer(status, headers, await self.reader.readexactly(int(headers["content-length"])))

    async def request(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        await self.send(method, path, headers, body)
        return await self.answer()

    async def next(self) -> Answer:
        return await self.request("GET", NEXT)

    async def respond(self, request_id: str, body: bytes, **headers: str) -> Answer:
        return await self.request("POST", invocation(request_id, "response"), headers, body)

    async def chunk(self, data: bytes) -> None:
        """A chunk of a body that was begun with transfer-encoding: chunked; an empty one is the last."""
        self.writer.write(b"%x\r\n%b\r\n" % (len(data), data))
        await self.writer.drain()

    async def last_chunk(self, **trailers: str) -> None:
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in trailers.items())
        self.writer.write(b"0\r\n" + lines.encode() + b"\r\n")
        await self.writer.drain()

    async def gone(self) -> bytes:
        """Whatever is still sent, up to the end of the connection."""
        try:
            return await self.reader.read()
        except ConnectionError:
            return b""

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):  # broken from the other side
            await self.writer.wait_closed()


def invocation(request_id: str, verb: str) -> str:
    return f"/2018-06-01/runtime/invocation/{request_id}/{verb}"


class World:
    """An environment, what it observed, and the clients that were started."""

    def __init__(self, connect: Connect | None = None) -> None:
        self.observed: list[tuple[str, dict[str, Any]]] = []
        self.clients: list[Client] = []
        self._numbers = itertools.count(1)
        self._port = 0
        self.api = EnvironmentApi(
            function_name="sample",
            function_version="7",
            handler="app.handler",
            account_id="000000000000",
            arn=ARN,
            observer=self,
            connect=connect,
        )

    def on_platform_event(self, event_type: str, record: dict[str, Any]) -> None:
        self.observed.append((event_type, record))

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    async def open(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        self._port = listener.getsockname()[1]
        await self.api.serve(listener)

    async def client(self) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self._port))
        self.clients.append(client)
        return client

    async def waiting_runtime(self) -> Client:
        """A runtime that is parked in /next."""
        client = await self.client()
        await client.send("GET", NEXT)
        await self.api.initialised()
        return client

    def invoke(self, payload: bytes = b"{}", sink: ResponseSink | None = None, **more: str) -> PendingResponse:
        number = next(self._numbers)
        return self.api.invoke(
            RuntimeCall(
                request_id=f"00000000-0000-4000-8000-{number:012d}",
                deadline_ms=1_795_000_000_000 + number,
                invoked_function_arn=ARN,
                payload=payload,
                sink=sink,
                **more,
            )
        )

    async def close(self) -> None:
        self.api.close()
        for client in self.clients:
            await client.close()


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    await world.open()
    yield world
    await world.close()


@pytest_asyncio.fixture
async def make_world() -> AsyncIterator[Callable[[Connect | None], Any]]:
    """Makes further environments; `connect` reaches into them for telemetry."""
    worlds: list[World] = []

    async def make(connect: Connect | None = None) -> World:
        world = World(connect)
        worlds.append(world)
        await world.open()
        return world

    yield make
    for world in worlds:
        await world.close()

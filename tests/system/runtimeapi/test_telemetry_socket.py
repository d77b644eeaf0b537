"""Telemetry and log subscriptions, delivered to real servers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

REGISTER = "/2020-01-01/extension/register"
TELEMETRY = "/2022-07-01/telemetry"
LOGS = "/2020-08-15/logs"


class Collector:
    """An extension's server: HTTP batches or TCP lines."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []  # heads of the HTTP requests
        self.events: list[Any] = []
        self.got = asyncio.Event()
        self.status = b"200 OK"
        self.port = 0
        self._server: asyncio.Server | None = None

    async def open(self, *, tcp: bool = False) -> None:
        self._server = await asyncio.start_server(self._lines if tcp else self._http, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def until(self, count: int) -> list[Any]:
        async with asyncio.timeout(10):
            while len(self.events) < count:
                self.got.clear()
                await self.got.wait()
        return self.events

    async def _http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length"))
        body = json.loads(await reader.readexactly(length))
        self.requests.append(head)
        if self.status.startswith(b"2"):
            self.events += body
        writer.write(b"HTTP/1.1 %b\r\ncontent-length: 0\r\n\r\n" % self.status)
        await writer.drain()
        writer.close()
        self.got.set()

    async def _lines(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            self.events.append(json.loads(line))
            self.got.set()
        writer.close()


async def connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port)


@pytest_asyncio.fixture
async def collector() -> AsyncIterator[Collector]:
    collector = Collector()
    yield collector
    await collector.close()


async def registered(world: Any) -> tuple[Any, dict[str, str]]:
    client = await world.client()
    answer = await client.request("POST", REGISTER, {"Lambda-Extension-Name": "watcher"}, b'{"events":[]}')
    return client, {"Lambda-Extension-Identifier": answer.headers["lambda-extension-identifier"]}


def subscription(port: int, *, tcp: bool = False, **more: Any) -> bytes:
    http = {"protocol": "HTTP", "URI": f"http://sandbox.localdomain:{port}/in"}
    asked = {
        "schemaVersion": "2022-12-13",
        "types": ["platform", "function", "extension"],
        "destination": {"protocol": "TCP", "port": port} if tcp else http,
        "buffering": {"timeoutMs": 25},
    }
    return json.dumps({**asked, **more}).encode()


async def test_events_come_in_batches_with_time_and_type(make_world: Any, collector: Collector) -> None:
    await collector.open()
    world = await make_world(connect)
    client, headers = await registered(world)
    answer = await client.request("PUT", TELEMETRY, headers, subscription(collector.port))
    assert (answer.status, answer.json) == (200, "OK")
    world.api.publish_platform("platform.start", {"requestId": "r", "version": "7"})
    world.api.publish_log("function", 1_795_000_000.5, "hello")
    events = await collector.until(3)
    assert [event["type"] for event in events] == ["platform.telemetrySubscription", "platform.start", "function"]
    assert events[0]["record"] == {
        "name": "watcher",
        "state": "Subscribed",
        "types": ["platform", "function", "extension"],
    }
    assert events[2] == {"time": "2026-11-18T11:06:40.500Z", "type": "function", "record": "hello"}
    assert collector.requests[0].startswith(b"POST /in HTTP/1.1\r\nhost: sandbox.localdomain:")


async def test_what_happened_before_the_subscription_in_init_is_delivered(
    make_world: Any, collector: Collector
) -> None:
    await collector.open()
    world = await make_world(connect)
    world.api.publish_platform("platform.initStart", {"phase": "init"})
    client, headers = await registered(world)
    await client.request("PUT", TELEMETRY, headers, subscription(collector.port))
    assert (await collector.until(1))[0]["type"] == "platform.initStart"


async def test_only_what_was_asked_for_comes(make_world: Any, collector: Collector) -> None:
    await collector.open()
    world = await make_world(connect)
    client, headers = await registered(world)
    await client.request("PUT", TELEMETRY, headers, subscription(collector.port, types=["function"]))
    world.api.publish_platform("platform.start", {})
    world.api.publish_log("extension", 1.0, "mine")
    world.api.publish_log("function", 1.0, "theirs")
    await world.api.flush_telemetry()
    assert [event["record"] for event in collector.events] == ["theirs"]


async def test_tcp_takes_a_line_for_each_event(make_world: Any, collector: Collector) -> None:
    await collector.open(tcp=True)
    world = await make_world(connect)
    client, headers = await registered(world)
    await client.request("PUT", TELEMETRY, headers, subscription(collector.port, tcp=True))
    world.api.publish_log("function", 1.0, "two\nlines")
    assert (await collector.until(2))[1]["record"] == "two\nlines"


async def test_a_full_batch_does_not_wait_for_its_time(make_world: Any, collector: Collector) -> None:
    await collector.open()
    world = await make_world(connect)
    client, headers = await registered(world)
    body = subscription(collector.port, types=["function"], buffering={"timeoutMs": 30_000, "maxItems": 1000})
    await client.request("PUT", TELEMETRY, headers, body)
    for number in range(1000):
        world.api.publish_log("function", 1.0, str(number))
    assert [event["record"] for event in await collector.until(1000)] == [str(number) for number in range(1000)]


async def test_a_flush_does_not_wait_either(make_world: Any, collector: Collector) -> None:
    await collector.open()
    world = await make_world(connect)
    client, headers = await registered(world)
    await client.request("PUT", TELEMETRY, headers, subscription(collector.port, buffering={"timeoutMs": 30_000}))
    async with asyncio.timeout(10):
        await world.api.flush_telemetry()
    assert len(collector.events) == 1


async def test_a_subscriber_who_refuses_loses_events_and_is_told(make_world: Any, collector: Collector) -> None:
    await collector.open()
    collector.status = b"500 Oops"
    world = await make_world(connect)
    client, headers = await registered(world)
    await client.request("PUT", TELEMETRY, headers, subscription(collector.port))
    await world.api.flush_telemetry()
    assert len(collector.requests) == 3
    collector.status = b"200 OK"
    world.api.publish_log("function", 1.0, "after")
    dropped, after = await collector.until(2)
    assert dropped["type"] == "platform.logsDropped"
    assert dropped["record"]["droppedRecords"] == 1
    assert after["record"] == "after"


async def test_a_subscriber_who_is_not_there_holds_nothing_up_and_takes_bounded_memory(make_world: Any) -> None:
    world = await make_world(connect)
    client, headers = await registered(world)
    await client.request("PUT", TELEMETRY, headers, subscription(1, types=["function"]))
    for _ in range(200):
        world.api.publish_log("function", 1.0, "x" * 100_000)
    (subscriber,) = world.api._telemetry._subscribers.values()
    assert subscriber._bytes <= 2 * 262_144
    assert subscriber._dropped_records > 100


async def test_subscribing_again_replaces_the_first(make_world: Any, collector: Collector) -> None:
    await collector.open()
    world = await make_world(connect)
    client, headers = await registered(world)
    await client.request("PUT", TELEMETRY, headers, subscription(1))
    await client.request("PUT", TELEMETRY, headers, subscription(collector.port, types=["function"]))
    world.api.publish_log("function", 1.0, "once")
    await world.api.flush_telemetry()
    assert [event["record"] for event in collector.events] == ["once"]


async def test_the_logs_api_knows_only_its_own_events(make_world: Any, collector: Collector) -> None:
    await collector.open()
    world = await make_world(connect)
    client, headers = await registered(world)
    answer = await client.request("PUT", LOGS, headers, subscription(collector.port, schemaVersion="2021-03-18"))
    assert (answer.status, answer.json) == (200, "OK")
    world.api.publish_platform("platform.initReport", {})
    world.api.publish_platform("platform.start", {})
    await world.api.flush_telemetry()
    assert [event["type"] for event in collector.events] == ["platform.logsSubscription", "platform.start"]


async def test_nobody_subscribes_after_init(make_world: Any) -> None:
    world = await make_world(connect)
    client, headers = await registered(world)
    await client.send("GET", "/2020-01-01/extension/event/next", headers)
    await world.waiting_runtime()
    other = await world.client()
    answer = await other.request("PUT", TELEMETRY, headers, subscription(1))
    assert (answer.status, answer.json["errorType"]) == (403, "Telemetry.SubscriptionClosed")


async def test_a_bad_subscription_is_refused(make_world: Any) -> None:
    world = await make_world(connect)
    client, headers = await registered(world)
    answer = await client.request("PUT", TELEMETRY, headers, subscription(1, types=[]))
    assert (answer.status, answer.json) == (
        400,
        {"errorMessage": "types should not be empty", "errorType": "ValidationError"},
    )


@pytest.mark.parametrize(("path", "name"), [(TELEMETRY, "Telemetry"), (LOGS, "Logs")])
async def test_where_it_cannot_be_delivered_it_is_not_supported(world: Any, path: str, name: str) -> None:
    client, headers = await registered(world)
    answer = await client.request("PUT", path, headers, subscription(1))
    assert (answer.status, answer.json) == (
        202,
        {"errorMessage": f"{name} API is not supported", "errorType": f"{name}.NotSupported"},
    )


@pytest.mark.parametrize("path", [TELEMETRY, LOGS])
async def test_a_stranger_cannot_subscribe(world: Any, path: str) -> None:
    client = await world.client()
    answer = await client.request("PUT", path, {}, subscription(1))
    assert (answer.status, answer.json["errorType"]) == (403, "Extension.MissingExtensionIdentifier")

"""RabbitMQ → function: a real broker, scripted functions."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import attrs
import pytest
from pamqp import encode
from pamqp.commands import Basic
from pamqp.common import FieldTable

from broker_harness import FUNCTION_ARN, MAPPING_ARN, MAPPING_ID, Counted, Line, Polled
from dispatch_harness import ACCOUNT, REGION, failed, succeeded, throttled
from lambent.model.invocation import Invocation, Outcome
from lambent.sources.brokers import Brokers
from lambent.sources.rabbit_poller import RabbitPoller
from rabbit_broker import HOST, PASSWORD, STRANGER, USER, RabbitBroker
from sources_harness import event_of

BROKER = f"arn:aws:mq:{REGION}:{ACCOUNT}:broker:mail:b-1"
SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:mail"


@attrs.define
class World(Polled):
    broker: RabbitBroker = attrs.field(kw_only=True)
    counted: Counted = attrs.field(factory=Counted)

    def poll(self, queue: str, host: str | None = None, address: str | None = None, **members: Any) -> RabbitPoller:
        access = [{"Type": "BASIC_AUTH", "URI": SECRET}]
        if host is not None:
            access.append({"Type": "VIRTUAL_HOST", "URI": host})
        mapping = {
            "UUID": MAPPING_ID, "EventSourceMappingArn": MAPPING_ARN, "EventSourceArn": BROKER, "FunctionArn": FUNCTION_ARN,
            "BatchSize": 100, "MaximumBatchingWindowInSeconds": 0, "Queues": [queue], "SourceAccessConfigurations": access,
            **members,
        }  # fmt: skip
        known = {} if address == "" else {"mail": address or self.broker.address}
        brokers = Brokers(self.secrets, known, mq_is_elsewhere=address == "")
        poller = RabbitPoller(
            mapping, brokers, self.function(mapping), self.clock, self.results.append, telemetry=self.counted
        )  # fmt: skip
        self.started(poller)
        return poller

    def texts_of(self, invocation: Invocation) -> list[str]:
        return data_of(invocation)

    async def until_left(self, queue: str, ready: int) -> None:
        """Nobody holds any message, and so many are there."""

        async def left() -> bool:
            return await self.broker.ready(queue) == ready

        await self.until(left)


def data_of(invocation: Invocation) -> list[str]:
    (messages,) = event_of(invocation)["rmqMessagesByQueue"].values()
    return [base64.b64decode(message["data"]).decode() for message in messages]


@pytest.fixture
async def world(rabbit: RabbitBroker) -> AsyncIterator[World]:
    world = World(broker=rabbit)
    world.secrets.by_id[SECRET] = {"username": USER, "password": PASSWORD}
    yield world
    await world.close()


async def test_an_event_is_as_aws_makes_it(world: World) -> None:
    queue = await world.broker.declare(HOST)
    headers: FieldTable = {
        "text": "värde", "number": 10, "yes": True, "price": Decimal("1.5"), "none": None, "raw": bytearray(b"\x01\xff"),
        "when": datetime(2026, 1, 2, 13, 4, 5, tzinfo=UTC), "table": {"inner": "x"}, "list": ["y", 2],
    }  # fmt: skip
    properties = Basic.Properties(
        content_type="text/plain", headers=headers, delivery_mode=1, priority=34, expiration="60000",
        timestamp=datetime(1970, 1, 1, 0, 33, 41, tzinfo=UTC), user_id=USER, message_id="m1", message_type="kind",
    )  # fmt: skip
    await world.broker.publish(queue, ["hello"], HOST, properties)
    world.poll(queue, HOST)
    await world.until(lambda: world.invocations.attempts)
    assert event_of(world.invocations.of("f")[0]) == {
        "eventSource": "aws:rmq",
        "eventSourceArn": BROKER,
        "rmqMessagesByQueue": {
            f"{queue}::{HOST}": [
                {
                    "basicProperties": {
                        "contentType": "text/plain",
                        "contentEncoding": None,
                        "headers": {
                            "text": {"bytes": [118, -61, -92, 114, 100, 101]},
                            "number": 10,
                            "yes": True,
                            "price": 1.5,
                            "none": None,
                            "raw": [1, -1],
                            "when": "Jan 2, 2026, 1:04:05 PM",
                            "table": {"inner": {"bytes": [120]}},
                            "list": [{"bytes": [121]}, 2],
                        },
                        "deliveryMode": 1,
                        "priority": 34,
                        "correlationId": None,
                        "replyTo": None,
                        "expiration": "60000",
                        "messageId": "m1",
                        "timestamp": "Jan 1, 1970, 12:33:41 AM",
                        "type": "kind",
                        "userId": USER,
                        "appId": None,
                        "clusterId": None,
                        "bodySize": 5,
                    },
                    "redelivered": False,
                    "data": "aGVsbG8=",
                }
            ]
        },
    }


async def test_texts_that_are_none_and_times_that_cannot_be_do_not_block_a_queue(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = await world.broker.declare()
    monkeypatch.setitem(encode.METHODS, "timestamp", lambda _: struct.pack(">Q", 2**63 + 5))
    monkeypatch.setitem(encode.METHODS, "shortstr", lambda text: bytes([len(text)]) + text.encode("latin-1"))
    monkeypatch.setitem(encode.METHODS, "table", lambda _: b"\0\0\0\x0c\x02k\xffS\0\0\0\x01\xfe\x01kV")
    properties = Basic.Properties(message_id="m\xe4rz", timestamp=datetime(2026, 1, 1, tzinfo=UTC), headers={"k": "v"})
    await world.broker.publish(queue, ["a"], properties=properties)
    world.poll(queue)
    await world.until_seen("a")
    (message,) = event_of(world.invocations.of("f")[0])["rmqMessagesByQueue"][f"{queue}::/"]
    assert message["basicProperties"]["messageId"] == "m\ufffdrz"
    assert message["basicProperties"]["timestamp"] == "Dec 31, 9999, 11:59:59 PM"
    assert message["basicProperties"]["headers"] == {"k\ufffd": {"bytes": [-2]}, "k": None}


async def test_batches_keep_order_and_are_acknowledged_when_the_function_is_done(world: World) -> None:
    queue = await world.broker.declare()
    await world.broker.publish(queue, [f"m{n}" for n in range(7)])
    poller = world.poll(queue, BatchSize=3)
    await world.until(lambda: len(world.seen) == 3)
    assert world.seen == [["m0", "m1", "m2"], ["m3", "m4", "m5"], ["m6"]]
    await world.until_result("OK")
    await poller.stop_reading()
    await poller.finished()
    await world.until_left(queue, 0)


async def test_a_batch_waits_for_its_window_and_is_sent_when_it_is_full(world: World) -> None:
    queue = await world.broker.declare()
    world.poll(queue, BatchSize=2, MaximumBatchingWindowInSeconds=300)
    await world.broker.publish(queue, ["a"])
    await world.broker.publish(queue, ["b", "c"])
    await world.until_seen("a", "b")
    world.clock.advance(299)
    await asyncio.sleep(0.05)
    assert len(world.seen) == 1
    await world.until(lambda: len(world.seen) == 2, turn_s=10)
    assert world.seen == [["a", "b"], ["c"]]


async def test_what_failed_comes_again_before_what_is_behind_it(world: World) -> None:
    queue = await world.broker.declare()
    attempts: list[list[bool]] = []

    def fail_twice(invocation: Invocation) -> Outcome:
        (messages,) = event_of(invocation)["rmqMessagesByQueue"].values()
        attempts.append([message["redelivered"] for message in messages])
        return failed(invocation) if len(attempts) < 3 else succeeded(invocation)

    world.script(fail_twice)
    await world.broker.publish(queue, [f"m{n}" for n in range(5)])
    world.poll(queue, BatchSize=2)
    await world.until(lambda: len(world.seen) == 5, turn_s=0.2)
    assert world.seen == [["m0", "m1"], ["m0", "m1"], ["m0", "m1"], ["m2", "m3"], ["m4"]]
    assert attempts == [[False, False], [True, True], [True, True], [False, False], [False]]
    assert list(dict.fromkeys(world.results)) == ["PROBLEM: Function call failed", "OK"]


async def test_a_poisonous_message_ends_in_its_queues_dead_letters(world: World) -> None:
    dead = await world.broker.declare()
    queue = await world.broker.declare(
        x_queue_type="quorum", x_delivery_limit=2, x_dead_letter_exchange="", x_dead_letter_routing_key=dead
    )
    world.script(lambda invocation: failed(invocation) if "poison" in data_of(invocation) else succeeded(invocation))
    await world.broker.publish(queue, ["poison", "good"])
    world.poll(queue, BatchSize=1)
    await world.until(lambda: ["good"] in world.seen, turn_s=0.2)
    assert world.seen == [["poison"]] * 3 + [["good"]]
    assert await world.broker.take(dead) == [b"poison"]


async def test_throttled_batches_are_held_and_not_counted_as_deliveries(world: World) -> None:
    queue = await world.broker.declare()
    calls: list[Invocation] = []

    def at_last(invocation: Invocation) -> Outcome:
        calls.append(invocation)
        return throttled(invocation) if len(calls) < 4 else succeeded(invocation)

    world.script(at_last)
    await world.broker.publish(queue, ["a"])
    world.poll(queue)
    await world.until_result("OK", turn_s=1.0)
    messages = [event_of(call)["rmqMessagesByQueue"][f"{queue}::/"][0]["redelivered"] for call in calls]
    assert messages == [False] * 4


async def test_what_no_filter_lets_through_is_acknowledged_without_the_function(world: World) -> None:
    queue = await world.broker.declare()
    pattern = json.dumps({"data": {"size": [{"numeric": [">", 5]}]}})
    bodies: list[str | bytes] = ['{"size": 1}', '{"size": 9}', "text", b"\xff\xfe", '{"size": 7}']
    await world.broker.publish(queue, bodies)
    poller = world.poll(queue, FilterCriteria={"Filters": [{"Pattern": pattern}]}, MaximumBatchingWindowInSeconds=1)
    await world.until_seen('{"size": 9}', '{"size": 7}', turn_s=0.2)
    await world.until_result("OK")
    await poller.stop_reading()
    await poller.finished()
    await world.until_left(queue, 0)


async def test_what_becomes_of_messages_is_counted(world: World) -> None:
    queue = await world.broker.declare()
    calls: list[Invocation] = []

    def fail_once(invocation: Invocation) -> Outcome:
        calls.append(invocation)
        return failed(invocation) if len(calls) == 1 else succeeded(invocation)

    world.script(fail_once)
    pattern = json.dumps({"data": [{"prefix": "a"}]})
    await world.broker.publish(queue, ["a", "b"])
    world.poll(
        queue, MetricsConfig={"Metrics": ["EventCount"]}, FilterCriteria={"Filters": [{"Pattern": pattern}]},
        MaximumBatchingWindowInSeconds=1,
    )  # fmt: skip
    await world.until_result("OK", turn_s=0.2)
    await world.until(lambda: world.counted.by_name.get("DeletedEventCount") == 1)
    assert world.counted.by_name == {
        "PolledEventCount": 3, "FilteredOutEventCount": 1, "InvokedEventCount": 2, "FailedInvokeEventCount": 1,
        "DeletedEventCount": 1,
    }  # fmt: skip


async def test_batches_stay_below_six_megabytes_and_what_fits_into_none_is_refused(world: World) -> None:
    dead = await world.broker.declare()
    queue = await world.broker.declare(x_dead_letter_exchange="", x_dead_letter_routing_key=dead)
    large = "x" * 2_000_000  # 2.7 MB in Base64
    await world.broker.publish(queue, [large + "1", large + "2", "y" * 5_000_000, large + "3"])
    world.poll(queue, MaximumBatchingWindowInSeconds=1)
    await world.until(lambda: len(world.seen) == 2, turn_s=0.2)
    assert [[text[-1] for text in batch] for batch in world.seen] == [["1", "2"], ["3"]]
    assert all(len(invocation.payload) <= 6 * 1024 * 1024 for invocation in world.invocations.of("f"))
    assert [body[:1] for body in await world.broker.take(dead)] == [b"y"]
    assert "PROBLEM: A record is too large for an invocation's payload of 6 MB." in world.results


async def test_stopping_lets_the_running_batch_end_and_gives_back_the_rest(world: World) -> None:
    queue = await world.broker.declare()
    go = asyncio.Event()

    async def slow(invocation: Invocation) -> Outcome:
        await go.wait()
        return succeeded(invocation)

    world.script(slow)
    await world.broker.publish(queue, ["a"])
    poller = world.poll(queue, BatchSize=3)
    await world.until_seen("a")
    await world.broker.publish(queue, ["b", "c"])
    await world.until_left(queue, 0)  # they were delivered
    await poller.stop_reading()
    await world.until_left(queue, 2)
    finished = asyncio.create_task(poller.finished())
    await asyncio.sleep(0.05)
    assert not finished.done()
    go.set()
    await finished
    await world.until_left(queue, 2)
    assert await world.broker.take(queue) == [b"b", b"c"]


async def test_a_batch_that_fails_while_its_poller_stops_is_given_back(world: World) -> None:
    queue = await world.broker.declare()
    go = asyncio.Event()

    async def fail_slowly(invocation: Invocation) -> Outcome:
        await go.wait()
        return failed(invocation)

    world.script(fail_slowly)
    await world.broker.publish(queue, ["a", "b"])
    poller = world.poll(queue, BatchSize=2)
    await world.until_seen("a", "b")
    await poller.stop_reading()
    go.set()
    await poller.finished()
    await world.until_left(queue, 2)
    assert await world.broker.take(queue) == [b"a", b"b"]


async def test_a_poller_that_is_abandoned_leaves_everything_in_the_queue(world: World) -> None:
    queue = await world.broker.declare()

    async def never(invocation: Invocation) -> Outcome:
        await asyncio.Event().wait()
        return succeeded(invocation)

    world.script(never)
    await world.broker.publish(queue, ["a", "b"])
    poller = world.poll(queue, BatchSize=1)
    await world.until_seen("a")
    await poller.abandon()
    await world.until_left(queue, 2)


async def test_messages_wait_while_the_function_does_not_exist(world: World) -> None:
    queue = await world.broker.declare()
    world.functions.remove("f")
    await world.broker.publish(queue, ["a"])
    world.poll(queue)
    for _ in range(10):
        world.clock.advance(5)
        await asyncio.sleep(0.01)
    await world.until_left(queue, 1)
    assert not world.invocations.attempts
    world.functions.add("f")
    await world.until_seen("a", turn_s=1.0)


async def test_a_function_that_is_deleted_while_its_queue_is_full_loses_nothing(world: World) -> None:
    queue = await world.broker.declare()

    def deleted(invocation: Invocation) -> Outcome:
        world.functions.remove("f")
        return failed(invocation)

    world.script(deleted)
    await world.broker.publish(queue, [f"m{n}" for n in range(20)])
    world.poll(queue, BatchSize=10)
    await world.until(lambda: world.invocations.attempts)
    await world.until(lambda: world.broker.ready(queue), turn_s=0.5)
    await world.until_left(queue, 20)
    assert len(world.invocations.attempts) == 1


async def test_a_line_that_is_cut_is_told_and_connected_again_and_nothing_is_lost(world: World) -> None:
    queue = await world.broker.declare()
    async with Line.to(world.broker.port) as line:
        world.poll(queue, address=f"amqp://127.0.0.1:{line.port}", BatchSize=1)
        await world.broker.publish(queue, ["a"])
        await world.until_seen("a")
        line.cut()
        problem = await world.until_result("PROBLEM: Connection error.", turn_s=0.5)
        assert f"amqp://127.0.0.1:{line.port}, virtual host /" in problem
        assert PASSWORD not in problem
        await world.broker.publish(queue, ["b", "c"])
        line.mend()
        await world.until(lambda: {"b", "c"} <= {batch[0] for batch in world.seen}, turn_s=0.5)
        await world.until(lambda: world.results[-1] == "OK")
        await world.close()
    await world.until_left(queue, 0)


async def test_a_line_that_is_cut_while_the_function_runs_brings_its_batch_again(world: World) -> None:
    queue = await world.broker.declare()
    go = asyncio.Event()

    async def slow(invocation: Invocation) -> Outcome:
        await go.wait()
        return succeeded(invocation)

    world.script(slow)
    async with Line.to(world.broker.port) as line:
        world.poll(queue, address=f"amqp://127.0.0.1:{line.port}")
        await world.broker.publish(queue, ["a"])
        await world.until_seen("a")
        line.cut()
        await world.until_left(queue, 1)
        line.mend()
        assert len(world.seen) == 1  # never twice at once
        go.set()
        await world.until_seen("a", "a", turn_s=0.5)
        await world.close()


@pytest.mark.parametrize(
    ("secret", "members", "result"),
    [
        ({"username": USER, "password": "wrong"}, {}, "EVENT_SOURCE_AUTHN_ERROR: Lambda failed to authenticate the event source."),
        ({"username": USER}, {}, "EVENT_SOURCE_AUTHN_ERROR: Lambda failed to authenticate the event source. Secret"),
        (["odd"], {}, "is not an object in JSON."),
        (None, {}, "cannot be read: ResourceNotFoundException: There is none."),
        ({"username": STRANGER, "password": PASSWORD}, {}, "EVENT_SOURCE_AUTHZ_ERROR: Lambda does not have the required"),
        (..., {"host": "nowhere"}, "EVENT_SOURCE_AUTHZ_ERROR"),
        (..., {"queue": "nothing"}, "ESM_CONFIG_NOT_VALID: The event source mapping configuration is not valid."),
        (..., {"address": "amqp://127.0.0.1:1"}, "Connection error."),
        (..., {"address": "amqp://nowhere.invalid"}, "Connection error."),
        (..., {"address": ""}, "Amazon MQ does not describe b-1"),
    ],
    ids=["password", "half a secret", "odd secret", "no secret", "no rights", "no host", "no queue", "no broker", "no name",
         "not described"],
)  # fmt: skip
async def test_what_is_wrong_is_told_and_tried_again(
    world: World, secret: object, members: dict[str, str], result: str
) -> None:
    if secret is None:
        del world.secrets.by_id[SECRET]
    elif secret is not ...:
        world.secrets.by_id[SECRET] = secret
    poller = world.poll(members.get("queue", "q"), members.get("host"), members.get("address"))
    problem = await world.until_result(result)
    assert problem.startswith("PROBLEM: ")
    assert PASSWORD not in problem
    await world.until(lambda: len(world.results) > 1, turn_s=0.5)
    await poller.stop_reading()
    await poller.finished()


async def test_a_queue_that_is_deleted_is_told_and_read_again_when_it_is_back(world: World) -> None:
    queue = await world.broker.declare()
    world.poll(queue)
    await world.broker.publish(queue, ["a"])
    await world.until_seen("a")
    await world.broker.delete(queue)
    await world.until_result("ESM_CONFIG_NOT_VALID", turn_s=0.2)
    async with world.broker.channel() as channel:
        await channel.queue_declare(queue)
    await world.broker.publish(queue, ["b"])
    await world.until_seen("a", "b", turn_s=0.5)


async def test_certificates_are_checked_against_the_machines_authorities(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = await world.broker.declare()
    await world.broker.publish(queue, ["a"])
    world.poll(queue, address=f"amqps://127.0.0.1:{world.broker.tls_port}")
    await world.until_result("EVENT_SOURCE_AUTHN_ERROR: Lambda failed to authenticate the event source. amqps://")
    monkeypatch.setenv("SSL_CERT_FILE", str(world.broker.authority))
    await world.until_seen("a", turn_s=0.5)


async def test_amazon_mq_is_asked_where_a_broker_is(world: World) -> None:
    world.secrets.described["b-1"] = {"EngineType": "ActiveMQ", "BrokerInstances": [{"Endpoints": ["ssl://x:61617"]}]}
    world.poll("q", address="")
    await world.until_result("polls brokers of RabbitMQ only")
    world.secrets.described["b-1"] = {
        "EngineType": "RABBITMQ", "BrokerInstances": [{"Endpoints": [f"amqps://127.0.0.1:{world.broker.port}"]}],
    }  # fmt: skip
    await world.until_result(f"Connection error. amqps://127.0.0.1:{world.broker.port}", turn_s=1.0)  # it speaks no TLS


async def test_one_queue_that_is_slow_delays_no_other(world: World) -> None:
    slow_queue, quick_queue = await world.broker.declare(), await world.broker.declare()

    async def slow_or_quick(invocation: Invocation) -> Outcome:
        if data_of(invocation) == ["slow"]:
            await asyncio.Event().wait()
        return succeeded(invocation)

    world.script(slow_or_quick)
    world.poll(slow_queue)
    await world.broker.publish(slow_queue, ["slow"])
    await world.until_seen("slow")
    world.poll(quick_queue, BatchSize=1)
    await world.broker.publish(quick_queue, ["a", "b"])
    await world.until_seen("slow", "a", "b")

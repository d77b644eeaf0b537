"""Kafka → function: a real broker, scripted functions."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from broker_harness import FUNCTION_ARN, MAPPING_ARN, Line, Polled
from dispatch_harness import ACCOUNT, REGION, Services, failed, succeeded, throttled
from kafka_broker import PASSWORD, STRANGER, USER, KafkaBroker
from lambent.model.errors import not_found
from lambent.model.invocation import Invocation, Outcome
from lambent.model.kafka_records import KafkaFormat
from lambent.sources import kafka_session
from lambent.sources.brokers import Brokers
from lambent.sources.destination import FailureDestination
from lambent.sources.kafka_destination import TopicDestination
from lambent.sources.kafka_poller import KafkaPoller
from lambent.sources.shard_runner import Destination, Task
from lambent.store.checkpoints import CheckpointStore
from sources_harness import answered, event_of

SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:log"
AUTHORITY = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:authority"
OPEN = [{"Type": "VPC_SUBNET", "URI": "subnet:subnet-1"}, {"Type": "VPC_SECURITY_GROUP", "URI": "security_group:sg-1"}]


@attrs.define
class World(Polled):
    broker: KafkaBroker = attrs.field(kw_only=True)
    checkpoints: CheckpointStore = attrs.field(kw_only=True)
    services: Services = attrs.field(factory=Services)
    group: str = attrs.field(factory=lambda: uuid.uuid4().hex)

    def poll(
        self, topic: str, server: str | None = None, access: list[dict[str, str]] | None = None, **members: Any
    ) -> KafkaPoller:
        mapping = {
            "UUID": self.group, "EventSourceMappingArn": MAPPING_ARN, "FunctionArn": FUNCTION_ARN, "BatchSize": 100,
            "Topics": [topic], "StartingPosition": "TRIM_HORIZON", "SourceAccessConfigurations": access or OPEN,
            "SelfManagedEventSource": {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": [server or self.broker.server]}},
            "SelfManagedKafkaEventSourceConfig": {"ConsumerGroupId": self.group}, **members,
        }  # fmt: skip
        brokers = Brokers(self.secrets, {}, mq_is_elsewhere=False)
        form = KafkaFormat.of(mapping)
        task = Task(mapping=mapping, form=form, function=self.function(mapping), clock=self.clock,
                    destination=self.destination(mapping, brokers, form), report=self.results.append)  # fmt: skip
        poller = KafkaPoller(task, brokers, self.checkpoints, self.clock)
        self.started(poller)
        return poller

    def destination(self, mapping: dict[str, Any], brokers: Brokers, form: KafkaFormat) -> Destination | None:
        target = (mapping.get("DestinationConfig") or {}).get("OnFailure", {}).get("Destination", "")
        if target.startswith("kafka://"):
            return TopicDestination(brokers, self.clock, mapping, target, form)
        return target and FailureDestination(
            self.services, self.clock, target, mapping_id=self.group, function_arn=FUNCTION_ARN, form=form
        )

    def texts_of(self, invocation: Invocation) -> list[str]:
        return values_of(invocation)

    async def until_committed(self, topic: str, offsets: dict[int, int], turn_s: float = 0.0) -> None:
        async def reached() -> bool:
            return await self.broker.committed(self.group, topic) == offsets

        await self.until(reached, turn_s)


def values_of(invocation: Invocation) -> list[str]:
    (records,) = event_of(invocation)["records"].values()
    return [base64.b64decode(record["value"]).decode() for record in records]


@pytest.fixture
async def world(kafka: KafkaBroker, tmp_path: Path) -> AsyncIterator[World]:
    world = World(broker=kafka, checkpoints=await CheckpointStore.open(tmp_path / "checkpoints.db"))
    world.secrets.by_id[AUTHORITY] = {"certificate": kafka.authority.certificate}
    yield world
    await world.close()
    await world.checkpoints.close()


async def test_an_event_is_as_aws_makes_it(world: World) -> None:
    topic = await world.broker.topic()
    headers = [("kind", "värde".encode()), ("kind", b"")]
    await world.broker.produce(topic, ["hello"], key=b"k\xff", timestamp_ms=1_700_000_000_123, headers=headers)
    await world.broker.produce(topic, [None], key=b"gone", timestamp_ms=1_700_000_000_124)
    world.poll(topic)
    await world.until(lambda: world.invocations.attempts)
    assert event_of(world.invocations.of("f")[0]) == {
        "eventSource": "aws:SelfManagedKafka",
        "bootstrapServers": world.broker.server,
        "records": {
            f"{topic}-0": [
                {
                    "topic": topic,
                    "partition": 0,
                    "offset": 0,
                    "timestamp": 1_700_000_000_123,
                    "timestampType": "CREATE_TIME",
                    "key": "a/8=",
                    "value": "aGVsbG8=",
                    "headers": [{"kind": [118, -61, -92, 114, 100, 101]}, {"kind": []}],
                },
                {
                    "topic": topic,
                    "partition": 0,
                    "offset": 1,
                    "timestamp": 1_700_000_000_124,
                    "timestampType": "CREATE_TIME",
                    "key": "Z29uZQ==",
                    "headers": [],
                },
            ]
        },
    }


async def test_batches_keep_the_order_of_their_partition_and_are_committed_when_they_are_done(world: World) -> None:
    topic = await world.broker.topic(2)
    await world.broker.produce(topic, [f"a{n}" for n in range(5)], partition=0)
    await world.broker.produce(topic, [f"b{n}" for n in range(3)], partition=1)
    poller = world.poll(topic, BatchSize=2)
    await world.until(lambda: len(world.seen) == 5, turn_s=0.2)
    assert [batch for batch in world.seen if batch[0][0] == "a"] == [["a0", "a1"], ["a2", "a3"], ["a4"]]
    assert [batch for batch in world.seen if batch[0][0] == "b"] == [["b0", "b1"], ["b2"]]
    await world.until_result("OK")
    await poller.stop_reading()
    await poller.finished()
    assert await world.broker.committed(world.group, topic) == {0: 5, 1: 3}


async def test_a_partition_whose_function_fails_delays_no_other_and_nothing_of_it_is_committed(world: World) -> None:
    topic = await world.broker.topic(2)
    world.script(lambda call: failed(call) if "poison" in values_of(call) else succeeded(call))
    await world.broker.produce(topic, ["poison", "behind"], partition=0)
    await world.broker.produce(topic, ["good"], partition=1)
    poller = world.poll(topic, BatchSize=1)
    await world.until_committed(topic, {1: 1})
    await world.until(lambda: world.seen.count(["poison"]) >= 3, turn_s=0.5)
    assert ["behind"] not in world.seen
    await world.until_result("PROBLEM: Function call failed")
    await poller.stop_reading()
    await poller.finished()
    assert await world.broker.committed(world.group, topic) == {1: 1}


async def test_a_batch_waits_for_its_window_and_throttles_only_delay_it(world: World) -> None:
    topic = await world.broker.topic()
    calls: list[Invocation] = []

    def at_last(invocation: Invocation) -> Outcome:
        calls.append(invocation)
        return throttled(invocation) if len(calls) < 3 else succeeded(invocation)

    world.script(at_last)
    world.poll(topic, MaximumBatchingWindowInSeconds=300, MaximumRetryAttempts=0)
    await world.broker.produce(topic, ["a"])
    await world.broker.produce(topic, ["b"])
    await asyncio.sleep(0.1)
    assert not calls
    await world.until_result("OK", turn_s=20)
    assert world.seen == [["a", "b"]] * 3


@pytest.mark.parametrize("position", ["LATEST", "AT_TIMESTAMP"])
async def test_starting_positions_are_kept_even_if_nothing_was_read_before_a_crash(world: World, position: str) -> None:
    topic = await world.broker.topic()
    await world.broker.produce(topic, ["old"], timestamp_ms=1_700_000_000_000)
    if position == "AT_TIMESTAMP":
        await world.broker.produce(topic, ["at"], timestamp_ms=1_700_000_001_000)
    members: dict[str, Any] = {"StartingPosition": position} | (
        {"StartingPositionTimestamp": 1_700_000_000.5} if position == "AT_TIMESTAMP" else {}
    )
    poller = world.poll(topic, **members)
    await world.until_committed(topic, {0: 1} if position == "LATEST" else {0: 2})
    await poller.abandon()
    await world.broker.produce(topic, ["new"])
    poller = world.poll(topic, **members)
    await world.until(lambda: ["new"] in world.seen)
    assert ["old"] not in world.seen
    assert (["at"] in world.seen) == (position == "AT_TIMESTAMP")


async def test_partitions_that_are_added_are_read_from_their_beginning(world: World) -> None:
    topic = await world.broker.topic()
    poller = world.poll(topic, StartingPosition="LATEST")
    await world.until(lambda: world.checkpoints.positions(world.group))  # that it has begun
    await poller.stop_reading()
    await poller.finished()
    await world.broker.more_partitions(topic, 2)
    await world.broker.produce(topic, ["added"], partition=1)
    world.poll(topic, StartingPosition="LATEST")
    await world.until_seen("added")


async def test_a_group_that_exists_goes_on_where_it_was(world: World) -> None:
    topic = await world.broker.topic()
    await world.broker.produce(topic, ["done", "next"])
    async with world.broker.consumer(topic, group_id=world.group, enable_auto_commit=False) as consumer:
        await consumer.getone()
        await consumer.commit()
    world.poll(topic, StartingPosition="LATEST")
    await world.until_seen("next")


async def test_what_no_filter_lets_through_is_committed_without_the_function(world: World) -> None:
    topic = await world.broker.topic()
    pattern = json.dumps({"value": {"size": [{"numeric": [">", 5]}]}})
    await world.broker.produce(topic, ['{"size": 1}', '{"size": 9}', "text", b"\xff\xfe", "{", '{"size": 7}', "text"])
    world.poll(topic, FilterCriteria={"Filters": [{"Pattern": pattern}]}, MaximumBatchingWindowInSeconds=1)
    await world.until_seen('{"size": 9}', '{"size": 7}', turn_s=0.2)
    await world.until_committed(topic, {0: 7})


async def test_a_function_that_reports_failures_gets_only_what_is_left(world: World) -> None:
    topic = await world.broker.topic()

    def report(invocation: Invocation) -> Outcome:
        values = values_of(invocation)
        failures = [{"partition": f"{topic}-0", "offset": 2}] if len(values) == 4 else []
        return answered(invocation, {"batchItemFailures": [{"itemIdentifier": each} for each in failures]})

    world.script(report)
    await world.broker.produce(topic, ["a", "b", "c", "d"])
    world.poll(topic, FunctionResponseTypes=["ReportBatchItemFailures"])
    await world.until(lambda: len(world.seen) == 2, turn_s=0.3)
    assert world.seen == [["a", "b", "c", "d"], ["c", "d"]]
    await world.until_committed(topic, {0: 4})


async def test_poison_is_isolated_and_recorded_at_the_destination(world: World) -> None:
    topic = await world.broker.topic()
    world.script(lambda call: failed(call) if "poison" in values_of(call) else succeeded(call))
    await world.broker.produce(topic, ["a", "poison", "b"], timestamp_ms=1_700_000_000_000)
    world.poll(
        topic, BisectBatchOnFunctionError=True, MaximumRetryAttempts=1,
        DestinationConfig={"OnFailure": {"Destination": f"arn:aws:sqs:{REGION}:{ACCOUNT}:letters"}},
    )  # fmt: skip
    await world.until(lambda: world.services.sent("SendMessage"), turn_s=0.3)
    (sent,) = world.services.sent("SendMessage")
    record = json.loads(sent["MessageBody"])
    assert record["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert record["requestContext"]["approximateInvokeCount"] == 2
    info = record["KafkaBatchInfo"]
    assert (info["batchSize"], info["bootstrapServers"]) == (1, world.broker.server)
    assert info["recordsInfo"] == {
        f"{topic}-0": {
            "firstRecordOffset": "1",
            "lastRecordOffset": "1",
            "firstRecordTimestamp": "2023-11-14T22:13:20.000Z",
            "lastRecordTimestamp": "2023-11-14T22:13:20.000Z",
        }
    }
    await world.until(lambda: ["b"] in world.seen, turn_s=0.3)
    await world.until_committed(topic, {0: 3})


async def test_records_that_are_too_old_are_given_up_wherever_they_are_in_a_batch(world: World) -> None:
    topic = await world.broker.topic()
    now_ms = int(world.clock.now() * 1000)
    for text, age_s in (("a", 0), ("b", 3600), ("c", 0), ("d", 3600), ("e", 3600)):
        await world.broker.produce(topic, [text], timestamp_ms=now_ms - age_s * 1000)
    world.poll(
        topic, MaximumRecordAgeInSeconds=600, MaximumBatchingWindowInSeconds=1, BatchSize=5,
        DestinationConfig={"OnFailure": {"Destination": f"arn:aws:sqs:{REGION}:{ACCOUNT}:letters"}},
    )  # fmt: skip
    await world.until_seen("a", "c")
    await world.until_committed(topic, {0: 5})
    given_up = [json.loads(letter["MessageBody"]) for letter in world.services.sent("SendMessage")]
    assert {each["requestContext"]["condition"] for each in given_up} == {"RecordAgeExceeded"}
    spans = [each["KafkaBatchInfo"]["recordsInfo"][f"{topic}-0"] for each in given_up]
    assert [(each["firstRecordOffset"], each["lastRecordOffset"]) for each in spans] == [("1", "1"), ("3", "4")]


async def test_a_topic_of_the_cluster_takes_what_is_given_up_with_its_key(world: World) -> None:
    topic, dead = await world.broker.topic(), await world.broker.topic()
    world.script(failed)
    await world.broker.produce(topic, ["poison"], key=b"k")
    destination = {"OnFailure": {"Destination": f"kafka://{dead}"}}
    world.poll(topic, MaximumRetryAttempts=0, DestinationConfig=destination)
    async with world.broker.consumer(dead) as consumer:
        given_up = asyncio.ensure_future(consumer.getone())
        await world.until(given_up.done, turn_s=0.3)
    message = given_up.result()
    record = json.loads(message.value)
    assert message.key == b"k"
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["KafkaBatchInfo"]["recordInfo"]["offset"] == "0"
    assert record["payload"]["records"][f"{topic}-0"][0]["value"] == base64.b64encode(b"poison").decode()


async def test_a_destination_bounds_retries_that_were_to_go_on_for_ever(world: World) -> None:
    topic = await world.broker.topic()
    world.script(failed)
    await world.broker.produce(topic, ["a"])
    world.poll(topic, DestinationConfig={"OnFailure": {"Destination": f"arn:aws:sqs:{REGION}:{ACCOUNT}:letters"}})
    await world.until(lambda: world.services.sent("SendMessage"), turn_s=5)
    assert len(world.seen) == 11


async def test_a_record_that_fits_into_no_event_is_given_up_and_those_behind_it_are_not(world: World) -> None:
    topic = await world.broker.topic()
    await world.broker.produce(topic, ["a", "x" * 5_000_000, "b"])
    world.poll(topic, DestinationConfig={"OnFailure": {"Destination": f"arn:aws:sqs:{REGION}:{ACCOUNT}:letters"}})
    await world.until(lambda: ["b"] in world.seen, turn_s=0.3)
    assert world.seen == [["a"], ["b"]]
    (sent,) = world.services.sent("SendMessage")
    assert json.loads(sent["MessageBody"])["requestContext"]["condition"] == "MaximumPayloadSizeExceeded"
    await world.until_committed(topic, {0: 3})


async def test_a_partition_whose_runner_breaks_goes_on_with_what_was_not_done(world: World) -> None:
    topic = await world.broker.topic()
    await world.broker.produce(topic, ["a", "b", "c"])
    broke: list[str] = []

    def breaks(invocation: Invocation) -> Outcome:
        if values_of(invocation) == ["b"] and not broke:
            broke.append("b")
            raise RuntimeError("a mistake of our own")
        return succeeded(invocation)

    world.script(breaks)
    world.poll(topic, BatchSize=1)
    await world.until(lambda: broke)
    await world.until_seen("a", "b", "b", "c", turn_s=20.0)
    await world.until_committed(topic, {0: 3})


async def test_stopping_lets_the_running_batch_end_and_commits_it(world: World) -> None:
    topic = await world.broker.topic()
    go = asyncio.Event()

    async def slow(invocation: Invocation) -> Outcome:
        await go.wait()
        return succeeded(invocation)

    world.script(slow)
    await world.broker.produce(topic, ["a", "b"])
    poller = world.poll(topic, BatchSize=1)
    await world.until_seen("a", turn_s=0.2)
    await poller.stop_reading()
    finished = asyncio.create_task(poller.finished())
    await asyncio.sleep(0.05)
    assert not finished.done()
    go.set()
    await finished
    assert world.seen == [["a"]]
    assert await world.broker.committed(world.group, topic) == {0: 1}
    world.poll(topic, BatchSize=1)
    await world.until_seen("a", "b", turn_s=0.2)


@pytest.mark.long  # the group takes seconds to see who is there
async def test_partitions_are_shared_with_other_members_of_the_group(world: World) -> None:
    topic = await world.broker.topic(2)
    world.poll(topic, BatchSize=1)
    await world.broker.produce(topic, ["a"], partition=0)
    await world.broker.produce(topic, ["b"], partition=1)
    await world.until(lambda: sorted(batch[0] for batch in world.seen) == ["a", "b"], turn_s=0.2)
    async with world.broker.consumer(topic, group_id=world.group, enable_auto_commit=False) as other:
        theirs = await world.until(other.assignment)
        (partition,) = [each.partition for each in theirs]
        await world.broker.produce(topic, ["ours"], partition=1 - partition)
        await world.broker.produce(topic, ["theirs"], partition=partition)
        await world.until(lambda: ["ours"] in world.seen, turn_s=0.2)
        assert (await other.getone()).value == b"theirs"
        assert ["theirs"] not in world.seen
    await world.until(lambda: ["theirs"] in world.seen, turn_s=0.2)  # it left without having committed


async def test_a_line_that_is_cut_is_told_and_connected_again_and_nothing_is_lost(world: World) -> None:
    topic = await world.broker.topic()
    async with Line.to(world.broker.port) as line:
        line.cut()
        world.poll(topic, server=f"127.0.0.1:{line.port}", BatchSize=1)
        problem = await world.until_result("PROBLEM: Connection error.", turn_s=0.5)
        assert f"127.0.0.1:{line.port}" in problem
        await world.broker.produce(topic, ["a"])
        line.mend()
        await world.until_seen("a", turn_s=0.5)
        await world.until(lambda: world.results[-1] == "OK")
        await world.close()


def log_in(kind: str) -> list[dict[str, str]]:
    return [{"Type": kind, "URI": SECRET}, {"Type": "SERVER_ROOT_CA_CERTIFICATE", "URI": AUTHORITY}]


@pytest.mark.parametrize(
    "kind",
    ["BASIC_AUTH", pytest.param("SASL_SCRAM_256_AUTH", marks=pytest.mark.long), "SASL_SCRAM_512_AUTH",
     "CLIENT_CERTIFICATE_TLS_AUTH"],
)  # fmt: skip
async def test_every_way_to_log_in(world: World, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_session, "FETCH_WAIT_MS", 100)  # for that long TLS waits before it ends
    topic = await world.broker.topic()
    await world.broker.produce(topic, ["a"])
    port = world.broker.sasl_port
    world.secrets.by_id[SECRET] = {"username": USER, "password": PASSWORD}
    if kind == "CLIENT_CERTIFICATE_TLS_AUTH":
        port, client = world.broker.mutual_port, world.broker.client
        world.secrets.by_id[SECRET] = {
            "certificate": client.certificate, "privateKey": client.key, "privateKeyPassword": "opens it"
        }  # fmt: skip
    world.poll(topic, f"127.0.0.1:{port}", log_in(kind))
    await world.until_seen("a", turn_s=0.2)


@pytest.mark.parametrize(
    ("secret", "access", "result"),
    [
        ({"username": USER, "password": "wrong"}, log_in("SASL_SCRAM_512_AUTH"), "SASL authentication failed."),
        ({"username": STRANGER, "password": PASSWORD}, log_in("BASIC_AUTH"), "Cluster failed to authorize Lambda."),
        ({"username": USER, "password": PASSWORD}, log_in("BASIC_AUTH")[:1], "Lambda failed to authenticate server."),
        ({"username": USER}, log_in("BASIC_AUTH"), "has no texts `username` and `password`."),
        ({"certificate": "odd", "privateKey": "odd"}, log_in("CLIENT_CERTIFICATE_TLS_AUTH"), "Provided certificate or private key is invalid."),
        ({}, [{"Type": "IAM_AUTH"}], "This server does not offer IAM_AUTH."),
        (None, OPEN, "Connection error."),
    ],
    ids=["password", "no rights", "no authority", "half a secret", "no certificate", "IAM", "nobody there"],
)  # fmt: skip
async def test_what_is_wrong_is_told_and_tried_again(
    world: World, secret: object, access: list[dict[str, str]], result: str
) -> None:
    topic = await world.broker.topic()
    world.secrets.by_id[SECRET] = secret
    port = 1 if secret is None else world.broker.sasl_port
    poller = world.poll(topic, f"127.0.0.1:{port}", access)
    problem = await world.until_result(result)
    assert problem.startswith("PROBLEM: ")
    assert PASSWORD not in problem
    await world.until(lambda: len(world.results) > 1, turn_s=0.5)
    await poller.stop_reading()
    await poller.finished()


async def test_a_topic_that_does_not_exist_yet_is_told_and_read_when_it_does(world: World) -> None:
    topic = "later-" + world.group
    world.poll(topic)
    await world.until_result("ESM_CONFIG_NOT_VALID")
    await world.broker.topic(name=topic)
    await world.broker.produce(topic, ["a"])
    await world.until_seen("a", turn_s=0.5)


async def test_records_wait_while_the_function_does_not_exist(world: World) -> None:
    topic = await world.broker.topic()
    world.functions.remove("f")

    def gone(invocation: Invocation) -> Outcome:
        if "f" not in world.functions.versions:
            raise not_found("Function not found: f")
        return succeeded(invocation)

    world.script(gone)
    await world.broker.produce(topic, ["a", "b"])
    world.poll(topic, MaximumRetryAttempts=0)
    await world.until(lambda: len(world.seen) == 3, turn_s=1.0)
    assert await world.broker.committed(world.group, topic) == {}
    world.functions.add("f")
    await world.until_committed(topic, {0: 2}, turn_s=1.0)


async def patiently(world: World, condition: Callable[[], bool]) -> None:
    """Waits for more than the clients' own patience."""
    async with asyncio.timeout(90):
        while not condition():
            world.clock.advance(1.0)
            await asyncio.sleep(0.1)


@pytest.mark.long  # aiokafka waits for answers, and so do we
async def test_a_cluster_that_falls_silent_is_told_and_read_again_when_it_speaks(world: World) -> None:
    topic = await world.broker.topic()
    world.poll(topic)
    await world.broker.produce(topic, ["a"])
    await world.until_seen("a", turn_s=0.2)
    await world.until_committed(topic, {0: 1})  # else it comes again, and in one batch with the next
    os.kill(world.broker.process_id, signal.SIGSTOP)
    try:
        await patiently(world, lambda: any("Connection error." in result for result in world.results))
    finally:
        os.kill(world.broker.process_id, signal.SIGCONT)
    await world.broker.produce(topic, ["b"])
    await patiently(world, lambda: ["b"] in world.seen)


@pytest.mark.long  # the same
async def test_a_topic_that_is_deleted_is_told_and_read_again_when_it_is_back(world: World) -> None:
    topic = await world.broker.topic()
    world.poll(topic)
    await world.broker.produce(topic, ["a"])
    await world.until_seen("a", turn_s=0.2)
    await world.broker.delete(topic)
    await patiently(world, lambda: any("ESM_CONFIG_NOT_VALID" in result for result in world.results))
    await world.broker.topic(name=topic)
    await world.broker.produce(topic, ["b"])
    await patiently(world, lambda: ["b"] in world.seen)

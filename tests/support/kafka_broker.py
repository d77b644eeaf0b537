"""A real Kafka for a session of tests: one node with its own data, on ports of the loopback, with every way to log in."""

from __future__ import annotations

import base64
import contextlib
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import aiokafka
import attrs
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic

from certificates import Authority, Signed
from rabbit_broker import free_port, stopped, until_listening

ROOT: Final = Path(__file__).parents[2]
LIBRARY: Final = ROOT / ".venv" / "kafka"  # scripts/kafka
USER: Final = "reader"
PASSWORD: Final = "s3cret"
STRANGER: Final = "stranger"  # knows the same password, and may see nothing
JAVA: Final = ("java", "-Xmx320m", "-Xss512k", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto",
               "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp", f"{LIBRARY}/*")  # fmt: skip
PLAIN_LOGIN: Final = "org.apache.kafka.common.security.plain.PlainLoginModule required"
SCRAM_LOGIN: Final = "org.apache.kafka.common.security.scram.ScramLoginModule required"


@attrs.frozen(kw_only=True)
class KafkaBroker:
    port: int  # anybody, unencrypted
    sasl_port: int  # names and passwords, over TLS
    mutual_port: int  # certificates of clients
    authority: Authority
    client: Signed  # whose certificate the last one takes
    process_id: int = 0

    @property
    def server(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def topic(self, partitions: int = 1, name: str | None = None) -> str:
        """A new one, by its name."""
        topic = name or f"t-{uuid.uuid4().hex[:8]}"
        admin = AIOKafkaAdminClient(bootstrap_servers=self.server)
        await admin.start()
        try:
            await admin.create_topics([NewTopic(topic, partitions, 1)])
        finally:
            await admin.close()
        return topic

    async def delete(self, topic: str) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.server)
        await admin.start()
        try:
            await admin.delete_topics([topic])
        finally:
            await admin.close()

    async def more_partitions(self, topic: str, count: int) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.server)
        await admin.start()
        try:
            await admin.create_partitions({topic: NewPartitions(count)})
        finally:
            await admin.close()

    async def produce(self, topic: str, values: Sequence[str | bytes | None], **members: Any) -> None:
        """Returns when the broker has them. `members`: key, partition, timestamp_ms, headers."""
        producer = aiokafka.AIOKafkaProducer(bootstrap_servers=self.server, max_request_size=16_000_000)
        await producer.start()
        try:
            for value in values:
                data = value.encode() if isinstance(value, str) else value
                await producer.send(topic, data, **members)
        finally:
            await producer.stop()

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        """Offsets by partition, of those that are known."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.server)
        await admin.start()
        try:
            found = await admin.list_consumer_group_offsets(group)
        finally:
            await admin.close()
        return {each.partition: at.offset for each, at in found.items() if each.topic == topic and at.offset >= 0}

    @contextlib.asynccontextmanager
    async def consumer(self, topic: str, **members: Any) -> AsyncIterator[aiokafka.AIOKafkaConsumer]:
        consumer = aiokafka.AIOKafkaConsumer(
            topic, bootstrap_servers=self.server, auto_offset_reset="earliest", **members
        )
        await consumer.start()
        try:
            yield consumer
        finally:
            await consumer.stop()


@contextlib.contextmanager
def running_kafka(base: Path) -> Iterator[KafkaBroker]:
    """Skips the test where there is no Kafka."""
    if not LIBRARY.is_dir():
        pytest.skip("Kafka is not installed: scripts/kafka brings it")
    authority = Authority()
    broker = KafkaBroker(
        port=free_port(), sasl_port=free_port(), mutual_port=free_port(), authority=authority,
        client=authority.signed("client", "opens it"),
    )  # fmt: skip
    settings = write_settings(base, broker)
    cluster_id = (
        "A" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:]
    )  # one with a dash is an option
    scram = [
        f"{mechanism}=[name={name},password={PASSWORD}]"
        for name in (USER, STRANGER)
        for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
    ]
    added = [word for each in scram for word in ("--add-scram", each)]
    subprocess.run(
        [*JAVA, "kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(settings), *added],
        check=True, capture_output=True, cwd=base,
    )  # fmt: skip
    with (base / "output").open("wb") as output, contextlib.ExitStack() as stack:
        process = subprocess.Popen(
            [*JAVA, "kafka.Kafka", str(settings)], cwd=base, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )  # fmt: skip
        stack.callback(stopped, process)
        for port in (broker.port, broker.sasl_port, broker.mutual_port):
            until_listening(port, process, base / "output")
        yield attrs.evolve(broker, process_id=process.pid)


def write_settings(base: Path, broker: KafkaBroker) -> Path:
    server = broker.authority.signed("broker")
    (base / "server.pem").write_text(server.key + server.certificate)
    (base / "authority.pem").write_text(broker.authority.certificate)
    doors = {"OPEN": broker.port, "SASL": broker.sasl_port, "MUTUAL": broker.mutual_port}
    listeners = ",".join(f"{name}://127.0.0.1:{port}" for name, port in doors.items())
    controller = free_port()
    settings = base / "server.properties"
    settings.write_text(
        f"""
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners={listeners},CONTROLLER://127.0.0.1:{controller}
advertised.listeners={listeners}
listener.security.protocol.map=OPEN:PLAINTEXT,SASL:SASL_SSL,MUTUAL:SSL,CONTROLLER:PLAINTEXT
inter.broker.listener.name=OPEN
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.sasl.plain.sasl.jaas.config={PLAIN_LOGIN} user_{USER}="{PASSWORD}" user_{STRANGER}="{PASSWORD}";
listener.name.sasl.scram-sha-256.sasl.jaas.config={SCRAM_LOGIN};
listener.name.sasl.scram-sha-512.sasl.jaas.config={SCRAM_LOGIN};
ssl.keystore.type=PEM
ssl.keystore.location={base}/server.pem
ssl.truststore.type=PEM
ssl.truststore.location={base}/authority.pem
listener.name.mutual.ssl.client.auth=required
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:{USER};User:CN=client
log.dirs={base}/data
num.partitions=1
auto.create.topics.enable=false
message.max.bytes=16000000
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
connection.failed.authentication.delay.ms=0
log.cleaner.enable=false
num.network.threads=1
num.io.threads=2
"""
    )
    return settings

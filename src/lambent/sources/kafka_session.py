"""One member of a consumer group of a Kafka cluster, reading one topic, by aiokafka.

Its client id is the mapping's. A server that was killed finds the member that it was by that, and dismisses it: the group would
else wait until the dead one's session times out. A static member would have that for nothing, but where it comes back the group
divides nothing anew, and partitions that were added or taken away meanwhile stay unseen.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from lambent.model.kafka_records import kafka_record
from lambent.model.stream_records import StreamRecord
from lambent.sources.brokers import KafkaCluster
from lambent.sources.kafka_cluster import answered, connection, problem_of
from lambent.sources.problem import CONFIG_NOT_VALID, SourceProblem

if TYPE_CHECKING:  # imported when the first session is opened: most servers have no mapping of Kafka
    import aiokafka

log = logging.getLogger(__name__)

CLOSE_S: Final = 3.0  # a server that stops waits for this
# A fetch is answered as soon as there is a record; between empty ones a broker waits so long. Few, so that idling costs little.
FETCH_WAIT_MS: Final = 2_000
LOOK_EVERY_MS: Final = 1_000  # how often aiokafka looks whether it has something to fetch, if nobody tells it
PARTITION_FETCH_BYTES: Final = 1024 * 1024  # of a partition at a time, or one record that is larger
SESSION_TIMEOUT_MS: Final = 10_000
HEARTBEAT_MS: Final = 3_000
REBALANCE_TIMEOUT_MS: Final = 60_000
NEVER_MS: Final = 2**31 - 1  # a function may take its time: what shows that the member lives is its heartbeat
READ_WAIT_MS: Final = 60_000

Revoked = Callable[[set[int]], Awaitable[None]]
"""Told of partitions before others may have them; they are given up when it returns."""


class KafkaSession:
    """Used by one poller. Once `problem` is set it is of no use any more: close it."""

    def __init__(self, cluster: KafkaCluster, topic: str, group_id: str, mapping_id: str, revoked: Revoked) -> None:
        self.changed = asyncio.Event()  # `assigned` has, or `problem`
        self.assigned: set[int] = set()
        self.problem: SourceProblem | None = None
        self.topic = topic
        self._cluster = cluster
        self._group_id = group_id
        self._client_id = f"lambent-{mapping_id}"
        self._revoked = revoked
        self._place = f"topic {topic}"
        self._consumer: aiokafka.AIOKafkaConsumer | None = None

    # ── its life ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def begin_at(self, position: str, since_s: float | None) -> None:
        """Commits where reading begins, in partitions for which the group knows nothing; then nothing that comes is missed.

        `position` is a StartingPosition. A group with other members that read lets nobody else commit: then reading begins
        with the oldest record. Raises SourceProblem.
        """
        from aiokafka import TopicPartition

        async with answered(self._cluster, self._place):
            partitions = [TopicPartition(self.topic, number) for number in await self._partitions()]
        if position == "TRIM_HORIZON":
            return
        async with self._started() as consumer:
            consumer.assign(partitions)
            unknown = [each for each in partitions if await consumer.committed(each) is None]
            ends = await consumer.end_offsets(unknown)
            found: dict[Any, Any] = {}
            if position == "AT_TIMESTAMP" and since_s is not None:
                found = await consumer.offsets_for_times(dict.fromkeys(unknown, int(since_s * 1000)))
            begins = {each: found[each].offset if found.get(each) else ends[each] for each in unknown}
            if begins:
                await self._commit_begins(consumer, begins)

    async def _commit_begins(self, consumer: aiokafka.AIOKafkaConsumer, begins: dict[Any, int]) -> None:
        from aiokafka import errors

        try:
            await consumer.commit(begins)
        except (errors.CommitFailedError, errors.UnknownMemberIdError, errors.IllegalGenerationError):
            log.warning("%s: group %s has other members, so reading begins where it is", self._place, self._group_id)

    async def open(self) -> None:
        """Joins the group; partitions come with `changed`. Raises SourceProblem."""
        from aiokafka import errors

        async with answered(self._cluster, self._place):
            await self._partitions()
            with contextlib.suppress(errors.GroupCoordinatorNotAvailableError):  # a cluster that never had a group yet
                await self._dismiss_predecessors()
            consumer = self._consumer = self._new_consumer()
            await consumer.start()
            consumer.subscribe([self.topic], listener=_listener(self))

    async def check(self) -> None:
        """Asks the cluster for something. Raises SourceProblem."""
        from aiokafka import TopicPartition

        consumer = self._consumer
        assert consumer is not None  # it is open
        async with answered(self._cluster, self._place):
            await consumer.end_offsets([TopicPartition(self.topic, min(self.assigned, default=0))])

    async def close(self) -> None:
        """Leaves the group. Safe at any time."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            with contextlib.suppress(Exception):  # there is nothing that a connection which ends badly could still do
                async with asyncio.timeout(CLOSE_S):
                    await consumer.stop()

    # ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def read(self, partition: int, limit: int, wait_ms: int = 0) -> list[StreamRecord]:
        """What has come. Nothing any more once there is a `problem`, or the partition is no longer ours."""
        from aiokafka import TopicPartition

        consumer = self._consumer
        # While the group divides its partitions anew aiokafka would wait until that is over, and that may wait for us.
        if consumer is None or self.problem is not None or partition not in self.assigned:
            return []
        asked = TopicPartition(self.topic, partition)
        try:
            found = await consumer.getmany(asked, timeout_ms=wait_ms, max_records=limit)
        except Exception as error:  # whatever it is, this member reads no more
            self._lose(problem_of(error, self._place))
            return []
        return [self._record(record) for record in found.get(asked, ())]

    def rewind(self, partition: int, offset: int) -> None:
        """Reads again from there on, if the partition is still ours."""
        from aiokafka import TopicPartition

        if self._consumer is not None and partition in self.assigned:
            self._consumer.seek(TopicPartition(self.topic, partition), offset)

    def _record(self, record: aiokafka.ConsumerRecord) -> StreamRecord:
        return kafka_record(
            record.topic, record.partition, record.offset,
            timestamp_ms=record.timestamp, timestamp_type=record.timestamp_type,
            key=record.key, value=record.value, headers=record.headers,
        )  # fmt: skip

    async def commit(self, partition: int, offset: int) -> None:
        """`offset` is that of the next record to read. Raises SourceProblem; what is not committed comes again."""
        from aiokafka import TopicPartition

        consumer = self._consumer
        if consumer is None:
            return
        async with answered(self._cluster, self._place):
            await consumer.commit({TopicPartition(self.topic, partition): offset})

    # ── consumers ─────────────────────────────────────────────────────────────────────────────────────────────────────

    @contextlib.asynccontextmanager
    async def _started(self) -> AsyncIterator[aiokafka.AIOKafkaConsumer]:
        async with answered(self._cluster, self._place):
            consumer = self._new_consumer()
            try:
                await consumer.start()
                yield consumer
            finally:
                await consumer.stop()

    def _new_consumer(self) -> aiokafka.AIOKafkaConsumer:
        import aiokafka

        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # what it says is told by the poller, once
        return aiokafka.AIOKafkaConsumer(
            **connection(self._cluster),
            group_id=self._group_id,
            client_id=self._client_id,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=FETCH_WAIT_MS,
            consumer_timeout_ms=LOOK_EVERY_MS,
            max_partition_fetch_bytes=PARTITION_FETCH_BYTES,
            session_timeout_ms=SESSION_TIMEOUT_MS,
            heartbeat_interval_ms=HEARTBEAT_MS,
            rebalance_timeout_ms=REBALANCE_TIMEOUT_MS,
            max_poll_interval_ms=NEVER_MS,
            isolation_level="read_committed",
        )

    async def _partitions(self) -> list[int]:
        """Raises SourceProblem when there is no such topic, or it must not be seen."""
        from aiokafka import errors
        from aiokafka.admin import AIOKafkaAdminClient

        admin = AIOKafkaAdminClient(**connection(self._cluster))
        try:
            await admin.start()
            (found,) = await admin.describe_topics([self.topic])
        finally:
            await admin.close()
        if found["error_code"] == errors.UnknownTopicOrPartitionError.errno:
            raise SourceProblem(CONFIG_NOT_VALID, f"There is no {self._place}, or the user may not describe it.")
        if found["error_code"]:
            raise errors.for_code(found["error_code"])(self.topic)
        return sorted(each["partition"] for each in found["partitions"])

    async def _dismiss_predecessors(self) -> None:
        """Members of this mapping that a server left behind when it was killed."""
        from aiokafka.client import AIOKafkaClient, CoordinationType
        from aiokafka.protocol.group import LeaveGroupRequest

        members = await self._predecessors()
        if not members:
            return
        client = AIOKafkaClient(**connection(self._cluster), client_id=self._client_id)
        try:
            await client.bootstrap()
            node = await client.coordinator_lookup(CoordinationType.GROUP, self._group_id)
            for member in members:
                await client.send(node, LeaveGroupRequest(self._group_id, member))
        finally:
            await client.close()

    async def _predecessors(self) -> list[str]:
        from aiokafka.admin import AIOKafkaAdminClient

        admin = AIOKafkaAdminClient(**connection(self._cluster), client_id=self._client_id)
        try:
            await admin.start()
            (answer,) = await admin.describe_consumer_groups([self._group_id])
        finally:
            await admin.close()
        members = answer.to_object()["groups"][0]["members"]
        return [each["member_id"] for each in members if each["client_id"] == self._client_id]

    # ── what goes wrong ───────────────────────────────────────────────────────────────────────────────────────────────

    def assign(self, partitions: set[int]) -> None:
        self.assigned = partitions
        self.changed.set()

    async def revoke(self, partitions: set[int]) -> None:
        self.assigned = self.assigned - partitions
        await self._revoked(partitions)

    def _lose(self, problem: SourceProblem) -> None:
        if self.problem is None:
            self.problem = problem
        self.changed.set()


def _listener(session: KafkaSession) -> aiokafka.ConsumerRebalanceListener:
    import aiokafka

    class Listener(aiokafka.ConsumerRebalanceListener):  # type: ignore[misc]
        async def on_partitions_revoked(self, revoked: set[Any]) -> None:
            await session.revoke({each.partition for each in revoked})

        async def on_partitions_assigned(self, assigned: set[Any]) -> None:
            session.assign({each.partition for each in assigned})

    return Listener()

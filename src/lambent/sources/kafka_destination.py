"""A topic that takes the records which a mapping of the same cluster gives up, each with what went wrong.

https://docs.aws.amazon.com/lambda/latest/dg/kafka-on-failure-destination.html
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from lambent.model.destinations import KAFKA_TOPIC_PREFIX
from lambent.model.kafka_records import KafkaFormat
from lambent.model.stream_failures import Condition, Portion, failure_record
from lambent.ports import Clock
from lambent.sources.brokers import Brokers
from lambent.sources.destination import until_taken
from lambent.sources.kafka_cluster import ANSWER_S, answered, connection

# The page's word, where those of other destinations have another one.
_CONDITIONS: Final[Mapping[str, str]] = {"RetryAttemptsExhausted": "RetriesExhausted"}


class TopicDestination:
    """Implements `shard_runner.Destination`."""

    def __init__(
        self, brokers: Brokers, clock: Clock, mapping: Mapping[str, Any], target: str, form: KafkaFormat
    ) -> None:
        """`target` is `kafka://` and the topic."""
        self._brokers = brokers
        self._clock = clock
        self._mapping = mapping
        self._target = target
        self._topic = target.removeprefix(KAFKA_TOPIC_PREFIX)
        self._form = form

    async def send(self, portion: Portion, condition: Condition, shard: str) -> bool:
        messages = []
        for given_up in portion.records:
            record = failure_record(
                portion, condition, self._form.record_info(shard, given_up),
                function_arn=self._mapping["FunctionArn"], at_s=self._clock.now(),
            )  # fmt: skip
            record["requestContext"]["condition"] = _CONDITIONS.get(condition, condition)
            key = given_up.event.get("key")
            messages.append((base64.b64decode(key) if key is not None else None, msgspec.json.encode(record)))
        text = b", ".join(value for _, value in messages)
        return await until_taken(self._clock, lambda: self._produce(messages), self._target, text)

    async def _produce(self, messages: list[tuple[bytes | None, bytes]]) -> None:
        """Raises SourceProblem."""
        import aiokafka

        cluster = await self._brokers.kafka(self._mapping)
        async with answered(cluster, f"topic {self._topic}"):
            producer = aiokafka.AIOKafkaProducer(
                **connection(cluster), acks="all", request_timeout_ms=int(ANSWER_S * 1000)
            )
            try:
                await producer.start()
                sent = [await producer.send(self._topic, value, key=key) for key, value in messages]
                await asyncio.gather(*sent)
            finally:
                await producer.stop()

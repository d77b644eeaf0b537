"""Enhanced fan-out: consumers, and SubscribeToShard's stream of events.

SUBSCRIBE = https://docs.aws.amazon.com/kinesis/latest/APIReference/API_SubscribeToShard.html
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import attrs

from lambent.model.errors import AwsError
from lambent.model.request import RequestContext
from lambent.ports import Clock, Operation
from lambent.services.kinesis import sequence
from lambent.services.kinesis.describing import consumer_arn, consumer_members, record_members
from lambent.services.kinesis.errors import (
    consumer_missing,
    dry_run,
    in_the_words_of_aws,
    in_use,
    invalid_argument,
    limit_exceeded,
    shard_gone,
)
from lambent.services.kinesis.finding import Finder, shard_of
from lambent.services.kinesis.iterators import Sealer
from lambent.services.kinesis.records import children_at_end, starting_position
from lambent.services.kinesis.tags import check_tags
from lambent.store.streams import Consumer, Page, Shard, Stream, StreamStore

Members = dict[str, Any]

CONSUMERS_MAX: Final = 20  # of a stream: RegisterStreamConsumer's page
PAGE_DEFAULT: Final = 100  # ListStreamConsumers' page
SUBSCRIPTION_S: Final = 300.0  # SUBSCRIBE
TAKEOVER_AFTER_S: Final = 5.0  # SUBSCRIBE: a second call takes over, but not earlier
SILENCE_MAX_S: Final = 5.0  # ours: an event without records shows that we are there; KCL gives up after 35 s
EVENT_MAX_RECORDS: Final = 1000  # ours
EVENT_MAX_BYTES: Final = 2 * 1024 * 1024  # ours, as much as AWS gives each consumer of a shard in a second


@attrs.define(eq=False)
class Subscription:
    began_s: float
    is_over: bool = False  # somebody has taken over


class Consumers:
    def __init__(self, store: StreamStore, finder: Finder, sealer: Sealer, clock: Clock) -> None:
        self._store = store
        self._finder = finder
        self._sealer = sealer
        self._clock = clock
        self._subscriptions: dict[tuple[str, int], Subscription] = {}  # by consumer's ARN and shard's id
        self.operations: Mapping[str, Operation] = {
            "DeregisterStreamConsumer": self.deregister_stream_consumer,
            "DescribeStreamConsumer": self.describe_stream_consumer,
            "ListStreamConsumers": self.list_stream_consumers,
            "RegisterStreamConsumer": self.register_stream_consumer,
            "SubscribeToShard": self.subscribe_to_shard,
        }

    async def register_stream_consumer(self, context: RequestContext, members: Members) -> Members:
        name, tags = members["ConsumerName"], members.get("Tags") or {}
        check_tags(tags)
        consumer = Consumer(name=name, created_s=int(self._clock.now()), tags=tags)

        def add(stream: Stream) -> Stream:
            present = stream.settings.consumers
            if any(known.name == name for known in present):
                raise in_use(
                    f"Consumer {name} under stream {stream.name} already exists for account {stream.account_id}."
                )
            if len(present) >= CONSUMERS_MAX:
                raise limit_exceeded(
                    f"Stream {stream.name} under account {stream.account_id} has as many consumers as it may have: "
                    f"{CONSUMERS_MAX}."
                )
            return stream.with_settings(consumers=(*present, consumer))

        key = self._finder.key(context, members, "RegisterStreamConsumer")
        with in_the_words_of_aws(key):
            stream = await self._store.change(key, add)
        return {"Consumer": consumer_members(stream, consumer)}

    async def deregister_stream_consumer(self, context: RequestContext, members: Members) -> Members:
        stream, consumer = self._consumer(context, members, "DeregisterStreamConsumer")

        def remove(current: Stream) -> Stream:
            return current.with_settings(consumers=tuple(c for c in current.settings.consumers if c != consumer))

        with in_the_words_of_aws(stream.key):
            await self._store.change(stream.key, remove)
        return {}

    async def describe_stream_consumer(self, context: RequestContext, members: Members) -> Members:
        stream, consumer = self._consumer(context, members, "DescribeStreamConsumer")
        return {"ConsumerDescription": {**consumer_members(stream, consumer), "StreamARN": stream.arn}}

    async def list_stream_consumers(self, context: RequestContext, members: Members) -> Members:
        stream = self._finder.stream(context, members, "ListStreamConsumers")
        found = sorted(stream.settings.consumers, key=lambda consumer: consumer.name)
        if token := members.get("NextToken"):
            stream_id, after = self._sealer.read_token("consumers", token, self._store.now_ms())
            if stream_id != stream.id:
                raise invalid_argument("Invalid NextToken.")
            found = [consumer for consumer in found if consumer.name > str(after)]
        page = found[: members.get("MaxResults") or PAGE_DEFAULT]
        answer: Members = {"Consumers": [consumer_members(stream, consumer) for consumer in page]}
        if len(page) < len(found):
            answer["NextToken"] = self._sealer.token("consumers", self._store.now_ms(), stream.id, page[-1].name)
        return answer

    def _consumer(self, context: RequestContext, members: Members, action: str) -> tuple[Stream, Consumer]:
        """By ConsumerARN, or by StreamARN and ConsumerName. Raises AwsError."""
        arn, name = members.get("ConsumerARN"), members.get("ConsumerName")
        if arn is not None:
            stream, consumer = self._finder.resource(context, arn, action)
            if consumer is None:
                raise invalid_argument(f"{arn} is not the ARN of a consumer.")
            if (name or consumer.name, members.get("StreamARN") or stream.arn) != (consumer.name, stream.arn):
                raise invalid_argument("ConsumerARN is not that of the given stream and name.")
            return stream, consumer
        if name is None or members.get("StreamARN") is None:
            raise invalid_argument("Either ConsumerARN or both StreamARN and ConsumerName must be given.")
        stream = self._finder.stream(context, members, action)
        for consumer in stream.settings.consumers:
            if consumer.name == name:
                return stream, consumer
        raise consumer_missing(name, stream.account_id)

    # ── subscriptions ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def subscribe_to_shard(self, context: RequestContext, members: Members) -> Members:
        stream, consumer = self._consumer(context, {"ConsumerARN": members["ConsumerARN"]}, "SubscribeToShard")
        shard = shard_of(stream, members["ShardId"], lambda s, name: shard_gone(s.name, s.account_id, name))
        start = members["StartingPosition"]
        position = await starting_position(
            self._store, stream, shard, start["Type"], start.get("SequenceNumber"), start.get("Timestamp"),
            "SubscribeToShard",
        )  # fmt: skip
        if members.get("DryRun"):
            raise dry_run()
        place = (consumer_arn(stream, consumer), shard.id)
        known = self._subscriptions.get(place)
        now_s = self._clock.monotonic()
        if known is not None:
            if now_s - known.began_s < TAKEOVER_AFTER_S:
                raise _another_subscription(stream, shard, consumer)
            known.is_over = True
            self._store.wake(shard)
        self._subscriptions = {p: s for p, s in self._subscriptions.items() if now_s - s.began_s < SUBSCRIPTION_S}
        subscription = self._subscriptions[place] = Subscription(now_s)
        return {"EventStream": self._events(stream, shard, consumer, position, subscription)}

    async def _events(
        self, stream: Stream, shard: Shard, consumer: Consumer, position: int, subscription: Subscription
    ) -> AsyncIterator[Members]:
        """Ends after five minutes or with the shard. Raises AwsError, which becomes the last event."""
        place = (consumer_arn(stream, consumer), shard.id)
        ends_s = subscription.began_s + SUBSCRIPTION_S
        told_s = float("-inf")
        try:
            while (left_s := ends_s - self._clock.monotonic()) > 0:
                if subscription.is_over:
                    raise _another_subscription(stream, shard, consumer)
                with in_the_words_of_aws(stream.key):
                    page = await self._store.read(stream, shard, position, EVENT_MAX_RECORDS, EVENT_MAX_BYTES)
                position = page.next_position
                children = children_at_end(self._store, stream, shard, position)
                silent_s = self._clock.monotonic() - told_s
                if page.records or children is not None or silent_s >= SILENCE_MAX_S:
                    yield {"SubscribeToShardEvent": _event(shard, page, children)}
                    told_s, silent_s = self._clock.monotonic(), 0.0
                if children is not None:
                    return
                if not subscription.is_over:
                    await self._store.wait(shard, position, min(left_s, SILENCE_MAX_S - silent_s))
                self._check(stream, consumer)
        finally:
            if self._subscriptions.get(place) is subscription:
                self._let_go(place, subscription)

    def _let_go(self, place: tuple[str, int], subscription: Subscription) -> None:
        """Not before the five seconds are over, within which nobody else may subscribe."""
        left_s = subscription.began_s + TAKEOVER_AFTER_S - self._clock.monotonic()
        if left_s <= 0:
            del self._subscriptions[place]

    def _check(self, stream: Stream, consumer: Consumer) -> None:
        """Raises AwsError ResourceNotFoundException when it has been deregistered, or its stream deleted."""
        with in_the_words_of_aws(stream.key):
            current = self._store.by_id(stream.id)
        if not any((c.name, c.created_s) == (consumer.name, consumer.created_s) for c in current.settings.consumers):
            raise consumer_missing(consumer_arn(stream, consumer), stream.account_id)


def _event(shard: Shard, page: Page, children: list[Members] | None) -> Members:
    event: Members = {
        "Records": [record_members(shard, record) for record in page.records],
        "ContinuationSequenceNumber": _continuation(shard, page),
        "MillisBehindLatest": page.behind_ms,
    }
    if children is not None:
        event["ChildShards"] = children
    return event


def _continuation(shard: Shard, page: Page) -> str:
    """To go on AFTER_SEQUENCE_NUMBER with."""
    if page.records:
        return sequence.of_record(shard, page.records[-1])
    return sequence.write(shard, max(page.next_position - 1, 0), shard.epoch_s)


def _another_subscription(stream: Stream, shard: Shard, consumer: Consumer) -> AwsError:
    return in_use(
        f"Another active subscription exists for this consumer: {stream.account_id}:{stream.name}:{shard.name}:"
        f"{consumer.name}"
    )

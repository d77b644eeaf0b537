"""The topic store: what was published is on disk before it is acknowledged, once, with a row for each subscription.

Topics and subscriptions are read at start and kept in memory; messages are not. Used on one event loop. Operations raise
sqlite3.Error when the disk refuses, and nothing has happened then.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence
from functools import partial
from importlib import resources
from pathlib import Path

from lambent.ports import Clock
from lambent.store.ascending_clock import AscendingClock
from lambent.store.database import Database
from lambent.store.events.batches import Batches
from lambent.store.topics import rows
from lambent.store.topics.values import Delivery, NewDelivery, Publication, Published, Settled, Subscription, Topic


class TopicStore:
    """All topics of all accounts."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = AscendingClock(clock, database.read_now(rows.last_written_ms) / 1000)
        self._publishing = Batches[Publication](database, rows.publish, lambda each: len(each.content))
        self._settling = Batches[Settled](database, self._write_settled, lambda each: 100 * len(each.ended))
        self._topics = {topic.arn: topic for topic in database.read_now(rows.all_topics)}
        self._subscriptions: dict[str, Subscription] = {}
        self._of_topic: dict[str, dict[str, Subscription]] = {arn: {} for arn in self._topics}
        for subscription in database.read_now(rows.all_subscriptions):
            self._remember(subscription)

    @classmethod
    async def open(cls, path: Path, clock: Clock) -> TopicStore:
        """Opens or creates the file. Raises StoreError."""
        migrations = resources.files("lambent.store.topics") / "migrations"
        return cls(await asyncio.to_thread(Database.open, path, migrations), clock)

    async def close(self) -> None:
        """Safe to call twice."""
        await self._publishing.drained()
        await self._settling.drained()
        await self._database.close()

    def now_ms(self) -> int:
        return int(self._clock.now() * 1000)

    # --- topics

    def topic(self, arn: str) -> Topic | None:
        return self._topics.get(arn)

    def topics_of(self, account_id: str, region: str) -> list[Topic]:
        """By name."""
        found = [t for t in self._topics.values() if t.account_id == account_id and t.region == region]
        return sorted(found, key=lambda topic: topic.name)

    async def create_topic(
        self, place: tuple[str, str, str], attributes: Mapping[str, str], tags: Mapping[str, str]
    ) -> tuple[Topic, bool]:
        """The topic of this account, region and name, as it is now; and whether it is new."""

        def created(outcome: tuple[Topic, bool]) -> None:
            self._remember_topic(outcome[0])

        return await self._database.write(lambda c: rows.create_topic(c, place, attributes, tags), created)

    async def change_attributes(self, topic: Topic, changes: Mapping[str, str | None]) -> None:
        """Adds to what there is; None takes away. Raises TopicMissing."""
        await self._database.write(
            lambda c: rows.change_topic(c, topic.id, "attributes", changes), self._remember_topic
        )

    async def change_tags(self, topic: Topic, changes: Mapping[str, str | None]) -> None:
        """The same for tags. Raises TopicMissing."""
        await self._database.write(lambda c: rows.change_topic(c, topic.id, "tags", changes), self._remember_topic)

    async def delete_topic(self, topic: Topic) -> list[Subscription]:
        """With its subscriptions, which it gives: nobody serves what they are owed any more."""
        gone: list[Subscription] = []

        def deleted(_: None) -> None:
            self._topics.pop(topic.arn, None)
            for subscription in self._of_topic.pop(topic.arn, {}).values():
                self._subscriptions.pop(subscription.id, None)
                gone.append(subscription)

        await self._database.write(lambda c: rows.delete_topic(c, topic.id), deleted)
        return gone

    # --- subscriptions

    def subscription(self, subscription_id: str) -> Subscription | None:
        return self._subscriptions.get(subscription_id)

    def subscriptions_to(self, topic_arn: str) -> list[Subscription]:
        """In the order in which they came."""
        return list(self._of_topic.get(topic_arn, {}).values())

    def subscriptions_of(self, account_id: str, region: str) -> list[Subscription]:
        """Those that the account made, in the order in which they came."""
        return [
            s for s in self._subscriptions.values() if s.owner == account_id and s.topic_arn.split(":")[3] == region
        ]

    async def put_subscription(self, subscription: Subscription, more: NewDelivery | None = None) -> None:
        """Adds or replaces it; `more` is owed because of that. Raises TopicMissing."""
        topic = self._topics.get(subscription.topic_arn)
        topic_id = topic.id if topic is not None else 0
        now_ms = self.now_ms()
        await self._database.write(
            lambda c: rows.put_subscription(c, topic_id, subscription, more, now_ms),
            lambda _: self._remember(subscription),
        )

    async def delete_subscription(self, subscription: Subscription) -> None:
        def deleted(_: None) -> None:
            self._subscriptions.pop(subscription.id, None)
            self._of_topic.get(subscription.topic_arn, {}).pop(subscription.id, None)

        await self._database.write(lambda c: rows.delete_subscription(c, subscription.id), deleted)

    # --- messages

    async def publish(self, publications: list[Publication]) -> list[Published]:
        """In their order; returns when all are durable."""
        await asyncio.gather(*[self._publishing.add(each) for each in publications])
        return [each.published for each in publications if each.published is not None]

    async def lanes(self) -> list[str]:
        """Those that are owed something."""
        return await self._database.read(rows.lanes)

    async def due(self, lane: str, limit: int, in_order: bool) -> tuple[list[Delivery], int | None]:
        """Those that may be tried now; and when the next one may (ms), if none can. See `rows.due`."""
        now_ms = self.now_ms()
        return await self._database.read(lambda c: rows.due(c, lane, now_ms, limit, in_order))

    async def settle(self, settled: Settled) -> None:
        """Says what came of deliveries. All of it is durable then, or nothing has changed."""
        await self._settling.add(settled)

    async def secret(self, name: str) -> bytes | None:
        return await self._database.read(partial(rows.secret, name=name, value=None))

    async def keep_secret(self, name: str, value: bytes) -> bytes:
        """Gives what is kept under the name: `value`, unless there was something already."""
        kept = await self._database.write(partial(rows.secret, name=name, value=value))
        assert kept is not None
        return kept

    # --- memory

    def _write_settled(self, connection: sqlite3.Connection, items: Sequence[Settled]) -> None:
        now_ms = self.now_ms()
        for item in items:
            rows.settle(connection, item, now_ms)

    def _remember_topic(self, topic: Topic) -> None:
        self._topics[topic.arn] = topic
        self._of_topic.setdefault(topic.arn, {})

    def _remember(self, subscription: Subscription) -> None:
        if subscription.topic_arn in self._of_topic:
            self._subscriptions[subscription.id] = subscription
            self._of_topic[subscription.topic_arn][subscription.id] = subscription

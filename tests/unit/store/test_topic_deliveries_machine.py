"""What topics owe, against a model of it: whatever is published, tried, given up and asked for in whatever order."""

from __future__ import annotations

import sqlite3
from importlib import resources

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from lambent.store.database import migrate
from lambent.store.topics import Delivery, NewDelivery, Publication, Settled, rows
from lambent.store.topics.values import DEDUPLICATION_MS

LANES = ("a", "b", "c")
lanes = st.lists(st.sampled_from(LANES), unique=True)
ids = st.sampled_from(["x", "y"])


@attrs.define
class Owed:
    """One delivery of the model."""

    lane: str
    content: bytes
    sequence: int | None
    due_ms: int
    tries: int = 0


class TopicDeliveries(RuleBasedStateMachine):
    @initialize()
    def opened(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.execute("PRAGMA foreign_keys = ON")
        migrate(self.connection, resources.files("lambent.store.topics") / "migrations")
        topic, is_new = rows.create_topic(self.connection, ("111122223333", "eu-west-1", "t.fifo"), {}, {})
        assert is_new
        self.topic_id = topic.id
        self.owed: list[Owed] = []  # in the order of publishing
        self.remembered: dict[tuple[str, str], tuple[str, int, int]] = {}  # id → message, sequence, when it is over
        self.sequence = self.count = self.now_ms = 0

    def teardown(self) -> None:
        self.connection.close()

    @rule(to=lanes)
    def publish(self, to: list[str]) -> None:
        publication = self._publication(to)
        rows.publish(self.connection, [publication])
        assert publication.published is not None
        assert (publication.published.is_new, publication.published.sequence) == (True, None)
        self.owed += [Owed(lane, publication.content, None, self.now_ms) for lane in to]

    @rule(batch=st.lists(st.tuples(lanes, ids, ids), min_size=1, max_size=3))
    def publish_once(self, batch: list[tuple[list[str], str, str]]) -> None:
        publications = [self._publication(to, (scope, identifier)) for to, scope, identifier in batch]
        rows.publish(self.connection, publications)
        for publication in publications:
            assert publication.published is not None
            assert publication.deduplication is not None
            known = self.remembered.get(publication.deduplication)
            if known is not None and known[2] > self.now_ms:
                assert (publication.published.message_id, publication.published.sequence) == known[:2]
                continue
            self.sequence += 1
            assert publication.published.sequence == self.sequence
            over_ms = self.now_ms + DEDUPLICATION_MS
            self.remembered[publication.deduplication] = (publication.message_id, self.sequence, over_ms)
            self.owed += [Owed(lane, publication.content, self.sequence, self.now_ms) for lane in publication.lanes]

    def _publication(self, to: list[str], deduplication: tuple[str, str] | None = None) -> Publication:
        self.count += 1
        name = f"m{self.count}"
        return Publication(
            topic_id=self.topic_id, message_id=name, content=name.encode(), lanes=to, at_ms=self.now_ms,
            deduplication=deduplication,
        )  # fmt: skip

    @rule(lane=st.sampled_from(LANES), limit=st.integers(1, 4), in_order=st.booleans(), fate=st.randoms())
    def serve(self, lane: str, limit: int, in_order: bool, fate: object) -> None:
        found, following_ms = rows.due(self.connection, lane, self.now_ms, limit, in_order)
        mine = [each for each in self.owed if each.lane == lane]
        ready = [each for each in mine if each.due_ms <= self.now_ms]
        if in_order:
            first = mine[:limit]
            expected = first[: next((n for n, each in enumerate(first) if each.due_ms > self.now_ms), len(first))]
            assert following_ms == (mine[0].due_ms if mine and not expected else None)
        else:
            expected = sorted(ready, key=lambda each: each.due_ms)[:limit]
            assert following_ms == (None if expected else min((each.due_ms for each in mine), default=None))
        assert [(each.content, each.sequence, each.tries) for each in found] == [
            (each.content, each.sequence, each.tries) for each in expected
        ]
        self._settle(found, expected, fate)

    def _settle(self, found: list[Delivery], expected: list[Owed], fate: object) -> None:
        """Each is taken, tried again later, or given up for a dead letter."""
        ended, postponed, instead = [], [], []
        for each, model in zip(found, expected, strict=True):
            outcome = fate.choice(["taken", "later", "dead"])  # type: ignore[attr-defined]
            if outcome == "later":
                model.due_ms, model.tries = self.now_ms + 1000, model.tries + 1
                postponed.append((each, model.due_ms))
                continue
            ended.append(each)
            self.owed.remove(model)
            if outcome == "dead":
                self.count += 1
                letter = NewDelivery(lane="c", content=f"letter {self.count}".encode())
                instead.append(letter)
                self.owed.append(Owed("c", letter.content, None, self.now_ms))
        rows.settle(self.connection, Settled(ended=ended, postponed=postponed, instead=instead), self.now_ms)

    @rule(passed_ms=st.sampled_from([1, 999, 1000, DEDUPLICATION_MS - 1, DEDUPLICATION_MS]))
    def pass_time(self, passed_ms: int) -> None:
        self.now_ms += passed_ms

    @invariant()
    def nothing_is_kept_that_nobody_is_owed(self) -> None:
        if not hasattr(self, "owed"):
            return
        kept = {content for (content,) in self.connection.execute("SELECT content FROM messages")}
        assert kept == {each.content for each in self.owed}
        assert set(rows.lanes(self.connection)) == {each.lane for each in self.owed}


TopicDeliveries.TestCase.settings = settings(max_examples=40, stateful_step_count=30)
TestTopicDeliveries = TopicDeliveries.TestCase

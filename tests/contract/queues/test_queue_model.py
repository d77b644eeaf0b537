"""Any sequence of operations: nothing is lost, nothing comes twice within its visibility, no group loses its order."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lambent.store.queues import NewMessage, Queue, QueueStore, Received, read_handle
from queue_clock import HandClock

T = TypeVar("T")

TIMES_S = st.sampled_from([0, 1, 5, 30, 100, 299, 300, 301])
COUNTS = st.integers(1, 10)


@attrs.define
class Expected:
    """What the model knows of a message that was accepted and not deleted."""

    message_id: str
    body: str
    group: str
    visible_s: float
    count: int = 0
    handle: str = ""

    def is_hidden(self, now_s: float) -> bool:
        return self.visible_s > now_s

    def is_in_flight(self, now_s: float) -> bool:
        return self.count > 0 and self.is_hidden(now_s)


class Machine(RuleBasedStateMachine):
    """A standard queue; the FIFO queue's differs in what may be received."""

    name: ClassVar = "q"

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = HandClock()
        self.expected: list[Expected] = []
        self.old_handles: list[str] = []
        self.number = 0
        self.store = self.run(QueueStore.open(Path(self.folder.name) / "queues.db", self.clock))
        self.run(self.store.create(("1", "r", self.name), {"VisibilityTimeout": "30"}, {}))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    @property
    def queue(self) -> Queue:
        return self.store.queue(("1", "r", self.name))

    def teardown(self) -> None:
        try:
            self.advance(1000)
            while received := self.take(10, 1000):
                receipts = [read_handle(self.queue.id, message.receipt_handle) for message in received]
                assert self.run(self.store.delete_messages(self.queue, receipts)) == [None] * len(receipts)
                taken = {message.message_id for message in received}
                self.expected = [e for e in self.expected if e.message_id not in taken]
            assert not self.expected
        finally:
            self.run(self.store.close())
            self.loop.close()
            self.folder.cleanup()

    @rule(group=st.sampled_from("abc"), delay_s=st.sampled_from([None, None, 0, 5]))
    def send(self, group: str, delay_s: int | None) -> None:
        self.number += 1
        body = f"body-{self.number}"
        (sent,) = self.run(
            self.store.send(self.queue, [NewMessage(body=body, body_md5="-", sender_id="1", delay_s=delay_s)])
        )
        self.expected.append(Expected(sent.message_id, body, group, self.clock.now_s + (delay_s or 0)))

    @rule(count=COUNTS, invisible_s=TIMES_S)
    def receive(self, count: int, invisible_s: int) -> None:
        self.take(count, invisible_s)

    def take(self, count: int, invisible_s: int) -> list[Received]:
        now_s = self.clock.now_s
        available = self.available()
        received = self.run(self.store.receive(self.queue, count, invisible_s=invisible_s))
        assert len(received) == min(count, sum(len(group) for group in available))
        self.check_order(received, available)
        by_id = {e.message_id: e for e in self.expected}
        for message in received:
            known = by_id[message.message_id]
            assert message.body == known.body
            known.count += 1
            assert message.receive_count == known.count
            if known.handle:
                self.old_handles.append(known.handle)
            known.handle, known.visible_s = message.receipt_handle, now_s + invisible_s
        return received

    def available(self) -> list[list[Expected]]:
        """What can be received now: lists whose order counts."""
        return [[e] for e in self.expected if not e.is_hidden(self.clock.now_s)]

    def check_order(self, received: list[Received], available: list[list[Expected]]) -> None:
        ids = [message.message_id for message in received]
        assert len(set(ids)) == len(ids)
        for group in available:
            known = [e.message_id for e in group]
            got = [one for one in ids if one in known]
            assert got == known[: len(got)]
        assert set(ids) <= {e.message_id for group in available for e in group}

    @precondition(lambda self: any(e.handle for e in self.expected))
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        known = data.draw(st.sampled_from([e for e in self.expected if e.handle]))
        (problem,) = self.run(self.store.delete_messages(self.queue, [read_handle(self.queue.id, known.handle)]))
        assert (problem is not None) == (self.refuses_late and not known.is_hidden(self.clock.now_s))
        if problem is None:
            self.expected.remove(known)

    refuses_late: ClassVar = False

    @precondition(lambda self: self.old_handles)
    @rule(data=st.data())
    def delete_with_an_old_handle(self, data: st.DataObject) -> None:
        handle = data.draw(st.sampled_from(self.old_handles))
        self.run(self.store.delete_messages(self.queue, [read_handle(self.queue.id, handle)]))

    @precondition(lambda self: any(e.handle for e in self.expected))
    @rule(data=st.data(), for_s=TIMES_S)
    def hide(self, data: st.DataObject, for_s: int) -> None:
        known = data.draw(st.sampled_from([e for e in self.expected if e.handle]))
        receipt = read_handle(self.queue.id, known.handle)
        (problem,) = self.run(self.store.hide_messages(self.queue, [(receipt, for_s)]))
        assert (problem is not None) == (self.refuses_late and not known.is_hidden(self.clock.now_s))
        if problem is None:
            known.visible_s = self.clock.now_s + for_s

    @rule(seconds=TIMES_S)
    def advance(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule()
    def restart(self) -> None:
        self.run(self.store.close())
        self.store = self.run(QueueStore.open(Path(self.folder.name) / "queues.db", self.clock))

    @invariant()
    def counts_agree(self) -> None:
        counts = self.run(self.store.counts(self.queue))
        now_s = self.clock.now_s
        in_flight = sum(e.is_in_flight(now_s) for e in self.expected)
        hidden = sum(e.is_hidden(now_s) for e in self.expected)
        assert (counts.visible, counts.in_flight, counts.delayed) == (
            len(self.expected) - hidden,
            in_flight,
            hidden - in_flight,
        )


class FifoMachine(Machine):
    name: ClassVar = "q.fifo"
    refuses_late: ClassVar = True

    def __init__(self) -> None:
        super().__init__()
        self.remembered: dict[str, tuple[str, float]] = {}

    @rule(group=st.sampled_from("abc"), delay_s=st.none())
    def send(self, group: str, delay_s: int | None) -> None:
        self.number += 1
        self._send(group, f"d{self.number}")

    @rule(group=st.sampled_from("abc"), deduplication_id=st.sampled_from(["x", "y"]))
    def send_perhaps_again(self, group: str, deduplication_id: str) -> None:
        self._send(group, deduplication_id)

    def _send(self, group: str, deduplication_id: str) -> None:
        now_s = self.clock.now_s
        message = NewMessage(
            body="body", body_md5="-", sender_id="1", group_id=group, deduplication_id=deduplication_id
        )
        (sent,) = self.run(self.store.send(self.queue, [message]))
        before = self.remembered.get(deduplication_id)
        if before is not None and now_s - before[1] < 300:
            assert sent.message_id == before[0]
            return
        self.remembered[deduplication_id] = (sent.message_id, now_s)
        self.expected.append(Expected(sent.message_id, "body", group, now_s))

    def available(self) -> list[list[Expected]]:
        now_s, groups = self.clock.now_s, []
        for group in "abc":
            members = [e for e in self.expected if e.group == group]
            if not any(e.is_hidden(now_s) for e in members):
                groups.append(members)
        return groups


SETTINGS = settings(max_examples=15, stateful_step_count=25)
TestStandardQueues = Machine.TestCase
TestStandardQueues.settings = SETTINGS
TestFifoQueues = FifoMachine.TestCase
TestFifoQueues.settings = SETTINGS

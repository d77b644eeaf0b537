"""The event queue against a model of it: whatever is done in whatever order, and however often the server is killed."""

from __future__ import annotations

import json
import sqlite3
from importlib import resources

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from lambent.model.invocation import Invocation
from lambent.store.database import migrate
from lambent.store.events import reading, rows
from lambent.store.events.rows import Accepted, Claim, Claimed, Finished, NewDelivery, NewStep

NAMES = st.sampled_from(["f", "g"])


@attrs.define
class Expected:
    """What the model knows of an event."""

    name: str
    due_ms: int
    invocation: Invocation
    detail: dict[str, str]
    state: str = "waiting"
    attempts: int = 0
    function_errors: int = 0
    refusals: int = 0
    owed: int = 0


class EventQueue(RuleBasedStateMachine):
    claims = Bundle("claims")

    @initialize()
    def opened(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.execute("PRAGMA foreign_keys = ON")
        migrate(self.connection, resources.files("lambent.store.events") / "migrations")
        self.events: dict[str, Expected] = {}  # by request id
        self.now_ms = 0

    def teardown(self) -> None:
        self.connection.close()

    @rule(names=st.lists(NAMES, min_size=1, max_size=4), text=st.text(max_size=5))
    def accept(self, names: list[str], text: str) -> None:
        accepted = []
        for name in names:
            number = len(self.events) + 1
            invocation = Invocation(
                request_id=f"r{number}", account_id="a", region="r", function_name=name,
                payload=json.dumps(text).encode(), qualifier=text or None,
            )  # fmt: skip
            self.events[f"r{number}"] = Expected(name, self.now_ms, invocation, {"text": text})
            accepted.append(Accepted(id=number, invocation=invocation, at_ms=self.now_ms, detail={"text": text}))
        rows.change(self.connection, accepted)

    @rule(seconds=st.integers(0, 100))
    def time_passes(self, seconds: int) -> None:
        self.now_ms += seconds * 1000

    @rule(target=claims, name=NAMES, limit=st.integers(1, 3))
    def claim(self, name: str, limit: int) -> object:
        claim = Claim(key=("a", "r", name), now_ms=self.now_ms, limit=limit)
        rows.change(self.connection, [claim])
        claimed, due_ms = claim.claimed, claim.next_due_ms
        waiting = [(e.due_ms, int(i[1:]), i) for i, e in self.events.items() if (e.name, e.state) == (name, "waiting")]
        due = [request_id for at_ms, _, request_id in sorted(waiting) if at_ms <= self.now_ms]
        assert [event.invocation.request_id for event in claimed] == due[:limit]
        for event in claimed:
            expected = self.events[event.invocation.request_id]
            assert event.invocation == expected.invocation
            expected.state, expected.attempts = "attempted", expected.attempts + 1
            assert (event.attempts, event.function_errors, event.refusals) == (
                expected.attempts, expected.function_errors, expected.refusals,
            )  # fmt: skip
        if len(claimed) < limit:
            assert due_ms == min((at_ms for at_ms, _, _ in waiting if at_ms > self.now_ms), default=None)
        return multiple(*claimed)

    def _is_stale(self, event: Claimed) -> bool:
        """The server that claimed it was killed since."""
        expected = self.events[event.invocation.request_id]
        return expected.state != "attempted" or expected.attempts != event.attempts

    @rule(event=consumes(claims), wait_s=st.integers(0, 60), failed=st.booleans())
    def postpone(self, event: Claimed, wait_s: int, failed: bool) -> None:
        if self._is_stale(event):
            return
        expected = self.events[event.invocation.request_id]
        due_ms = self.now_ms + wait_s * 1000
        rows.postpone(self.connection, event, due_ms, failed=failed, steps=[NewStep(what="x", at_ms=self.now_ms)])
        expected.state, expected.due_ms = "waiting", due_ms
        if failed:
            expected.function_errors, expected.refusals = expected.function_errors + 1, 0
        else:
            expected.attempts, expected.refusals = expected.attempts - 1, expected.refusals + 1

    @rule(event=consumes(claims), owing=st.lists(st.sampled_from(["t", "u"]), max_size=2))
    def finish(self, event: Claimed, owing: list[str]) -> None:
        if self._is_stale(event):
            return
        owed = [NewDelivery(target=target, message={}, body=b"x") for target in owing]
        steps = [NewStep(what="over", at_ms=self.now_ms)]
        end = Finished(event_id=event.id, at_ms=self.now_ms, attempts=event.attempts, steps=steps, deliveries=owed)
        rows.change(self.connection, [end])
        expected = self.events[event.invocation.request_id]
        expected.state, expected.owed = "over", len(owing)

    @rule()
    def server_is_killed(self) -> None:
        count = rows.recover(self.connection, self.now_ms)
        cut_off = [event for event in self.events.values() if event.state == "attempted"]
        assert count == len(cut_off)
        for event in cut_off:
            event.state = "waiting"

    @invariant()
    def the_timeline_shows_what_is_so(self) -> None:
        for name in ("f", "g"):
            shown = reading.events(self.connection, ("a", "r", name), 1000)
            mine = {request_id: event for request_id, event in self.events.items() if event.name == name}
            assert [view.request_id for view in shown] == list(mine)
            for view in shown:
                expected = mine[view.request_id]
                assert (view.state, view.attempts, view.undelivered) == (
                    expected.state, expected.attempts, expected.owed,
                )  # fmt: skip
                assert view.due_ms == (expected.due_ms if expected.state == "waiting" else None)
                assert (view.steps[0].what, view.steps[0].detail) == ("accepted", expected.detail)


EventQueue.TestCase.settings = settings(max_examples=40, stateful_step_count=25)
TestEventQueue = EventQueue.TestCase

"""What the delivery store promises: whatever it has acknowledged is there, also for the next server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from lambent.store.database import StoreError
from lambent.store.deliveries import Delivery, DeliveryStore, NewArchived, NewDelivery
from queue_clock import HandClock

LANE = "arn:aws:sqs:eu-west-1:111122223333:q"


def owed(body: str, lane: str = LANE, due_ms: int | None = None) -> NewDelivery:
    return NewDelivery(lane=lane, about={"kind": "rule", "target": {"Arn": lane}}, body=body.encode(), due_ms=due_ms)


@pytest.fixture
def clock() -> HandClock:
    return HandClock(1000.0)


@pytest.fixture
async def store(tmp_path: Path, clock: HandClock) -> AsyncIterator[DeliveryStore]:
    found = await DeliveryStore.open(tmp_path / "deliveries.db", clock)
    yield found
    await found.close()


async def bodies(store: DeliveryStore, lane: str = LANE) -> list[str]:
    return [delivery.body.decode() for delivery in (await store.due(lane, 100))[0]]


async def test_deliveries_come_oldest_first_and_by_lane(store: DeliveryStore) -> None:
    await store.accept([owed("a"), owed("x", "other"), owed("b")])
    await store.accept([owed("c")])
    assert await bodies(store) == ["a", "b", "c"]
    assert await bodies(store, "other") == ["x"]
    assert sorted(await store.lanes()) == sorted([LANE, "other"])
    (first, second), _ = await store.due(LANE, 2)
    assert (first.about["kind"], first.accepted_ms, first.tries) == ("rule", 1_000_000, 0)
    assert second.body == b"b"


async def test_what_waits_is_not_due_and_its_time_is_told(store: DeliveryStore, clock: HandClock) -> None:
    await store.accept([owed("late", due_ms=1_005_000)])
    assert await store.due(LANE, 10) == ([], 1_005_000)
    clock.now_s = 1005.0
    assert await bodies(store) == ["late"]
    assert await store.due("nobody's", 10) == ([], None)


async def test_a_postponed_delivery_counts_its_try(store: DeliveryStore, clock: HandClock) -> None:
    await store.accept([owed("a")])
    ((delivery,), _) = await store.due(LANE, 1)
    await store.postpone(delivery, 1_002_000)
    assert await store.due(LANE, 1) == ([], 1_002_000)
    clock.now_s = 1002.0
    ((again,), _) = await store.due(LANE, 1)
    assert (again.id, again.tries, again.body) == (delivery.id, 1, b"a")


async def test_a_dead_letter_takes_the_place_of_what_is_given_up(store: DeliveryStore) -> None:
    await store.accept([owed("a")])
    ((delivery,), _) = await store.due(LANE, 1)
    await store.end(delivery, owed("letter", "letters"))
    assert await store.lanes() == ["letters"]
    assert await bodies(store, "letters") == ["letter"]


async def test_archived_events_are_found_by_time_and_in_order(store: DeliveryStore) -> None:
    events = [NewArchived(archive="a", at_ms=at_ms, event=str(at_ms).encode()) for at_ms in (30, 10, 20, 40)]
    await store.accept([], [*events, NewArchived(archive="b", at_ms=20, event=b"b")])
    found = await store.archived("a", (10, 40), 0, 10)
    assert [each.event for each in found] == [b"30", b"10", b"20"]
    assert [each.event for each in await store.archived("a", (10, 40), found[0].id, 1)] == [b"10"]
    assert await store.totals("a") == (4, 8)
    await store.forget_archived("a", before_ms=30)
    assert await store.totals("a") == (2, 4)
    await store.forget_archived("a")
    assert await store.totals("a") == (0, 0)
    assert await store.totals("b") == (1, 1)


async def test_everything_is_there_for_the_next_server(tmp_path: Path, clock: HandClock) -> None:
    path = tmp_path / "deliveries.db"
    first = await DeliveryStore.open(path, clock)
    await first.accept([owed("a")], [NewArchived(archive="a", at_ms=1, event=b"e")], {"schedule": 7})
    await first.accept([], marks={"schedule": 8, "other": 1})
    await first.forget_mark("other")
    await first.close()
    with pytest.raises(StoreError):
        await first.accept([owed("late")])
    second = await DeliveryStore.open(path, clock)
    assert await bodies(second) == ["a"]
    assert await second.totals("a") == (1, 1)
    assert second.marks == {"schedule": 8}
    await second.close()


async def test_many_who_accept_at_once_are_all_heard(store: DeliveryStore) -> None:
    await asyncio.gather(*(store.accept([owed(str(number))]) for number in range(500)))
    found, _ = await store.due(LANE, 1000)
    assert sorted(int(delivery.body) for delivery in found) == list(range(500))


class AgainstADictionary(RuleBasedStateMachine):
    """Any order of accepting, failing, ending and restarting leaves what a dictionary says."""

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._clock = HandClock(1000.0)
        self._folder = Path(_fresh())
        self._store = self._runner.run(DeliveryStore.open(self._folder / "deliveries.db", self._clock))
        self._expected: dict[str, tuple[str, int, int]] = {}  # body → lane, due, tries
        self._count = 0

    def teardown(self) -> None:
        self._runner.run(self._store.close())
        self._runner.close()

    @rule(lanes=st.lists(st.sampled_from("ab"), min_size=1, max_size=3), wait_s=st.integers(0, 3))
    def accept(self, lanes: list[str], wait_s: int) -> None:
        due_ms = int((self._clock.now_s + wait_s) * 1000)
        deliveries = []
        for lane in lanes:
            self._count += 1
            deliveries.append(owed(str(self._count), lane, due_ms))
            self._expected[str(self._count)] = (lane, due_ms, 0)
        self._runner.run(self._store.accept(deliveries))

    @rule(lane=st.sampled_from("ab"), wait_s=st.integers(0, 3))
    def fail(self, lane: str, wait_s: int) -> None:
        for delivery in self._due(lane)[:1]:
            due_ms = int((self._clock.now_s + wait_s) * 1000)
            self._runner.run(self._store.postpone(delivery, due_ms))
            self._expected[delivery.body.decode()] = (lane, due_ms, delivery.tries + 1)

    @rule(lane=st.sampled_from("ab"), letter=st.booleans())
    def end(self, lane: str, letter: bool) -> None:
        for delivery in self._due(lane)[:1]:
            del self._expected[delivery.body.decode()]
            instead = None
            if letter:
                self._count += 1
                instead = owed(str(self._count), "a")
                self._expected[str(self._count)] = ("a", int(self._clock.now_s * 1000), 0)
            self._runner.run(self._store.end(delivery, instead))

    @rule(seconds=st.integers(1, 3))
    def wait(self, seconds: int) -> None:
        self._clock.now_s += seconds

    @rule()
    def restart(self) -> None:
        self._runner.run(self._store.close())
        self._store = self._runner.run(DeliveryStore.open(self._folder / "deliveries.db", self._clock))

    @invariant()
    def holds_what_it_should(self) -> None:
        now_ms = int(self._clock.now_s * 1000)
        for lane in "ab":
            wanted = {b: tries for b, (at, due, tries) in self._expected.items() if at == lane and due <= now_ms}
            assert {delivery.body.decode(): delivery.tries for delivery in self._due(lane)} == wanted
        assert set(self._runner.run(self._store.lanes())) == {lane for lane, _, _ in self._expected.values()}

    def _due(self, lane: str) -> list[Delivery]:
        found: list[Delivery] = self._runner.run(self._store.due(lane, 1000))[0]
        return found


_FOLDERS: list[Path] = []


def _fresh() -> str:
    folder = _FOLDERS[0] / str(len(list(_FOLDERS[0].iterdir())))
    folder.mkdir()
    return str(folder)


def test_any_order_of_doings_leaves_what_a_dictionary_says(tmp_path: Path) -> None:
    _FOLDERS[:] = [tmp_path]
    run_state_machine_as_test(AgainstADictionary, settings=settings(max_examples=15, stateful_step_count=12))

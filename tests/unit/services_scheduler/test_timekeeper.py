"""Any mixture of clock jumps and restarts: a time fires once, and what was missed together fires once."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lambent.model.schedule_expression import next_after, parse_schedule
from lambent.services.delivery.timekeeper import Plan, Timekeeper
from lambent.store.deliveries import DeliveryStore
from queue_clock import HandClock

BEGIN_S = 1_800_000_000.0
EXPRESSIONS = (
    "rate(1 minute)",
    "rate(7 minutes)",
    "cron(0/5 * * * ? *)",
    "cron(3 0/2 * * ? *)",
    "at(2027-01-15T08:30:00)",
)
JUMPS = st.lists(st.tuples(st.integers(1, 1_000), st.booleans()), min_size=1, max_size=8)
numbers = itertools.count()


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(EXPRESSIONS), JUMPS)
def test_a_time_fires_once_and_missed_times_fire_together(
    tmp_path: Path, expression: str, jumps: list[tuple[int, bool]]
) -> None:
    schedule = parse_schedule(expression)
    clock = HandClock(BEGIN_S)
    fired: list[float] = []

    def following(after_s: float) -> float | None:
        return next_after(schedule, after_s, begin_s=BEGIN_S + 30.0004)

    async def fire(at_s: float, marks: Mapping[str, int], is_last: bool) -> None:
        fired.append(at_s)
        await store.accept([], marks=marks)

    async def live(steps: list[int]) -> None:
        """One server's life: each step turns the clock once."""
        keeper = Timekeeper(store, clock)
        keeper.put("s", Plan(next_after=following, since_s=BEGIN_S, fire=fire))
        task = asyncio.create_task(keeper.run())
        for step in [0, *steps]:
            clock.advance(step)
            due = [each for each in (following(watched[0]),) if each is not None and each <= clock.now()]
            expected.extend(due)
            if due:
                watched[0] = clock.now()
            while len(fired) < len(expected):
                await asyncio.sleep(0.001)
            for _ in range(10):
                await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    expected: list[float] = []
    watched = [BEGIN_S]  # nothing up to here is owed any more
    folder = tmp_path / str(next(numbers))
    lives: list[list[int]] = [[]]
    for step, restart in jumps:
        lives.append([]) if restart else None
        lives[-1].append(step)
    with asyncio.Runner() as runner:
        for steps in lives:
            store = runner.run(DeliveryStore.open(folder / "deliveries.db", clock))
            runner.run(asyncio.wait_for(live(steps), 20))
            runner.run(store.close())
    assert fired == expected
    assert all(earlier < later for earlier, later in itertools.pairwise(fired))


async def test_a_plan_that_is_replaced_while_it_fires_does_not_fire_again(tmp_path: Path) -> None:
    clock = HandClock(BEGIN_S)
    store = await DeliveryStore.open(tmp_path / "deliveries.db", clock)
    keeper, go_on = Timekeeper(store, clock), asyncio.Event()
    fired: list[float] = []

    async def fire(at_s: float, marks: Mapping[str, int], is_last: bool) -> None:
        fired.append(at_s)
        await go_on.wait()
        await store.accept([], marks=marks)

    def plan() -> Plan:
        at = parse_schedule("rate(1 minute)")
        return Plan(next_after=lambda after_s: next_after(at, after_s, begin_s=BEGIN_S), since_s=BEGIN_S, fire=fire)

    keeper.put("s", plan())
    clock.advance(60)
    task = asyncio.create_task(keeper.run())
    while not fired:
        await asyncio.sleep(0.001)
    keeper.put("s", plan())
    go_on.set()
    for _ in range(50):
        await asyncio.sleep(0.001)
    assert fired == [BEGIN_S + 60]
    clock.advance(60)
    while len(fired) < 2:
        await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await store.close()


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize(("back_s", "silent_s"), [(7200, 7200), (365 * 86_400, 0)])
async def test_times_that_come_again_do_not_fire_again_unless_the_clock_had_been_wrong(
    tmp_path: Path, back_s: int, silent_s: int, restarts: bool
) -> None:
    clock = HandClock(BEGIN_S)
    fired: list[float] = []
    at = parse_schedule("cron(0/10 * * * ? *)")

    async def fire(at_s: float, marks: Mapping[str, int], is_last: bool) -> None:
        fired.append(at_s)
        await store.accept([], marks=marks)

    def begin() -> asyncio.Task[None]:
        keeper = Timekeeper(store, clock)
        keeper.put("s", Plan(next_after=lambda after_s: next_after(at, after_s, begin_s=0.0), since_s=0.0, fire=fire))
        return asyncio.create_task(keeper.run())

    async def turn(seconds: int) -> None:
        for _ in range(seconds // 60):
            clock.advance(60)
            for _ in range(20):
                await asyncio.sleep(0.0005)

    store = await DeliveryStore.open(tmp_path / "deliveries.db", clock)
    task = begin()
    await turn(1200)
    if restarts:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    clock.behind_s = back_s
    count = len(fired)
    if restarts:
        task = begin()
    await turn(silent_s)
    assert fired[count:] == []
    await turn(1200)
    assert len(fired) == count + 2
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await store.close()

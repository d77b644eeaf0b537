"""A clock that can be turned."""

from __future__ import annotations

import asyncio
import time

import pytest

from lambent.telemetry.virtual_clock import VirtualClock


async def test_whoever_slept_long_enough_wakes_in_order_and_nobody_else() -> None:
    clock = VirtualClock()
    woken: list[int] = []

    async def sleep(seconds: int) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    tasks = [asyncio.create_task(sleep(seconds)) for seconds in (300, 60, 120, 7200)]
    await asyncio.sleep(0)
    clock.advance(59)
    await asyncio.sleep(0.01)
    assert woken == []
    clock.advance(600)
    await asyncio.gather(*tasks[:3])
    assert woken == [60, 120, 300]
    tasks[3].cancel()
    await asyncio.wait(tasks)


async def test_it_runs_on_with_the_machines_time() -> None:
    clock = VirtualClock()
    clock.advance(3600)
    began = clock.monotonic()
    await clock.sleep(0.05)
    assert 0.05 <= clock.monotonic() - began < 5
    assert clock.now() - time.time() == pytest.approx(3600, abs=1)


async def test_turning_the_calendar_back_wakes_nobody_and_time_goes_on() -> None:
    clock = VirtualClock()
    sleeper = asyncio.create_task(clock.sleep(0.05))
    await asyncio.sleep(0)
    before = clock.monotonic()
    clock.turn_to(86_400.0)
    assert clock.now() == pytest.approx(86_400, abs=1)
    assert clock.monotonic() >= before
    await sleeper
    clock.turn_to(86_400.0 * 2)
    assert clock.now() == pytest.approx(86_400 * 2, abs=1)


@pytest.mark.parametrize("seconds", [-1.0, float("nan")])
async def test_time_is_not_advanced_by_less_than_nothing(seconds: float) -> None:
    with pytest.raises(ValueError, match="not negative"):
        VirtualClock().advance(seconds)


async def test_sleeping_for_no_time_only_gives_way() -> None:
    await VirtualClock().sleep(0)
    await VirtualClock().sleep(-1)


async def test_a_clock_that_is_turned_before_a_task_begins_to_sleep_counts() -> None:
    clock = VirtualClock()
    sleeper = asyncio.ensure_future(clock.sleep(60))
    clock.advance(60)  # the task has not had a turn yet
    await asyncio.wait_for(sleeper, 5)

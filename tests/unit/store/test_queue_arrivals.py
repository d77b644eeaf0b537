"""Who waits for a queue is woken when something of it becomes visible."""

from __future__ import annotations

import asyncio

from lambent.store.queues.arrivals import Arrivals
from queue_clock import HandClock


async def test_a_clock_that_is_turned_at_once_wakes_who_began_to_wait_before() -> None:
    clock = HandClock()
    arrivals = Arrivals(clock)
    arrivals.earliest_ms = arrivals.now_ms() + 10_000
    waiting = asyncio.create_task(arrivals.wait(20))
    await asyncio.sleep(0)  # one turn of the loop: it waits, and nothing that it has started runs yet
    clock.advance(10)
    await asyncio.wait_for(waiting, 5)

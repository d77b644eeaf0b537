"""Fires schedules at their times, each time once on disk before it counts as fired.

What was missed (the server was down, the clock was turned) is fired once for all the times that were missed, and the
log says so. Times that come a second time, because the clock was set back a little, are not fired again; a clock that is set
back by more had been wrong, and schedules follow it at once.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import attrs

from lambent.model.errors import AwsError
from lambent.ports import Clock
from lambent.store.deliveries import DeliveryStore
from lambent.telemetry.waiting import LONGEST_SLEEP_S, Alarm

log = logging.getLogger(__name__)

RETRY_S: Final = 1.0  # after a disk that did not take it
LATE_S: Final = 60.0  # beyond this a time counts as missed, and is told of
SET_BACK_S: Final = 3 * 3600.0  # what cron(8) of Debian takes for a correction of the clock

Fire = Callable[[float, Mapping[str, int], bool], Awaitable[None]]
"""`(time, marks, is_last)`: makes what follows durable together with the store's `marks`, which say up to when all is fired.

Raises AwsError.
"""


@attrs.frozen(kw_only=True)
class Plan:
    """One schedule."""

    next_after: Callable[[float], float | None]
    since_s: float  # times up to this one are none of its business
    fire: Fire


class Timekeeper:
    """One task for the server's life. Start it with `run`; it ends when it is cancelled."""

    def __init__(self, store: DeliveryStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._plans: dict[str, Plan] = {}
        self._due: list[
            tuple[float, int, str, Plan]
        ] = []  # a heap; entries of plans that were replaced are passed over
        self._firing: dict[str, float] = {}  # up to when is being fired, by owner
        self._looked_s = clock.now()
        self._count = itertools.count()
        self._changed = Alarm(clock)
        self._forgetting: set[asyncio.Task[None]] = set()

    def put(self, owner: str, plan: Plan) -> None:
        """From now on, instead of any earlier plan of the same owner."""
        self._plans[owner] = plan
        fired_s = self._store.marks.get(owner, 0) / 1000
        self._arm(owner, plan, max(self._not_wrong(fired_s), plan.since_s, self._firing.get(owner, 0.0)))

    def remove(self, owner: str) -> None:
        if self._plans.pop(owner, None) is not None:
            task = asyncio.get_running_loop().create_task(self._store.forget_mark(owner))
            self._forgetting.add(task)
            task.add_done_callback(self._forgetting.discard)

    def _not_wrong(self, fired_s: float) -> float:
        """Up to when is fired, by the clock as it is now."""
        now_s = self._clock.now()
        return now_s if fired_s > now_s + SET_BACK_S else fired_s

    def _follow_clock(self) -> None:
        now_s, before_s = self._clock.now(), self._looked_s
        self._looked_s = now_s
        if now_s < before_s - SET_BACK_S:
            log.warning("the clock was set back by %.0f h: schedules go on from now", (before_s - now_s) / 3600)
            self._due.clear()
            for owner, plan in self._plans.items():
                self._arm(owner, plan, max(now_s, plan.since_s))

    def _arm(self, owner: str, plan: Plan, after_s: float) -> bool:
        """False when there is no next time."""
        due_s = plan.next_after(after_s)
        if due_s is None:
            return False
        heapq.heappush(self._due, (due_s, next(self._count), owner, plan))
        self._changed.ring()
        return True

    async def run(self) -> None:
        while True:
            self._changed.reset()
            self._follow_clock()
            while self._due and self._plans.get(self._due[0][2]) is not self._due[0][3]:
                heapq.heappop(self._due)
            wait_s = self._due[0][0] - self._clock.now() if self._due else LONGEST_SLEEP_S
            if wait_s > 0:
                await self._changed.wait(wait_s)
                continue
            await asyncio.gather(*(self._fire(*entry) for entry in self._take_due()))

    def _take_due(self) -> list[tuple[float, str, Plan]]:
        now_s = self._clock.now()
        found = []
        while self._due and self._due[0][0] <= now_s:
            due_s, _, owner, plan = heapq.heappop(self._due)
            if self._plans.get(owner) is plan:
                found.append((due_s, owner, plan))
        return found

    async def _fire(self, due_s: float, owner: str, plan: Plan) -> None:
        now_s = self._clock.now()
        following_s = plan.next_after(due_s)
        if now_s - due_s > LATE_S:
            more = " (and later times)" if following_s is not None and following_s <= now_s else ""
            log.warning("%s was to fire %.0f s ago%s: it fires once now", owner, now_s - due_s, more)
        self._firing[owner] = max(due_s, now_s)
        try:
            # Rounded up: a time with a fraction of a millisecond must not come after its own mark.
            marks = {owner: math.ceil(max(due_s, now_s) * 1000)}
            await plan.fire(due_s, marks, plan.next_after(now_s) is None)
        except AwsError as error:
            log.error("%s cannot fire (%s); trying again", owner, error)
            await self._clock.sleep(RETRY_S)
            if (current := self._plans.get(owner)) is not None:  # which may be another one by now
                heapq.heappush(self._due, (due_s, next(self._count), owner, current))
            return
        except Exception:  # the outermost edge: other schedules must not stop because of this one
            log.exception("%s cannot fire; report it with this traceback", owner)
        finally:
            del self._firing[owner]
        if self._plans.get(owner) is plan:
            self._arm(owner, plan, max(due_s, now_s))

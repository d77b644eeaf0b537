"""Which pools a sweep looks at: those that were used since the last one, and those whose time has come.

There may be very many others. What every invocation comes by only notes its pool, and that once between two sweeps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambent.model.agenda import Agenda

if TYPE_CHECKING:
    from lambent.invoke.environment import Environment
    from lambent.invoke.pool import Pool


class Sweep:
    """Freezes what is idle, and reaps what has been for long."""

    def __init__(self, *, freeze_after_s: float, idle_environment_s: float) -> None:
        self._freeze_after_s = freeze_after_s
        self._idle_environment_s = idle_environment_s
        self._noted: list[Pool] = []
        self._to_freeze: Agenda[Pool] = Agenda()  # by when the first that is not frozen became idle
        self._to_reap: Agenda[Pool] = Agenda()  # by when the one that has been idle for longest did

    def note(self, pool: Pool) -> None:
        """It has to be looked at. For one that is not noted."""
        pool.is_noted = True
        self._noted.append(pool)

    def forget(self, pool: Pool) -> None:
        """For one that is empty for ever."""
        self._to_freeze.discard(pool)
        self._to_reap.discard(pool)

    def do(self, now_s: float) -> list[Pool]:
        """What is due; gives back the pools that may have become empty."""
        freeze_before_s, reap_before_s = now_s - self._freeze_after_s, now_s - self._idle_environment_s
        noted, self._noted = self._noted, []
        for pool in noted:
            pool.is_noted = False
            self._await_reaping(pool)
        while (due := self._to_reap.take(reap_before_s)) is not None:
            due.reap(reap_before_s)
            self._await_reaping(due)
        for pool in noted:
            self._freeze(pool, freeze_before_s)
        while (due := self._to_freeze.take(freeze_before_s)) is not None:
            self._freeze(due, freeze_before_s)
        return [pool for pool in noted if pool.is_empty]

    def idle_for_longest(self) -> tuple[Pool, Environment] | None:
        """Of all that may be ended for want of memory."""
        for pool in self._noted:
            self._await_reaping(pool)
        while (first := self._to_reap.take()) is not None:
            self._await_reaping(first)
            if (longest := first.longest_idle()) is not None and longest.idle_since <= self._to_reap.first_s:
                return first, longest
        return None

    def _await_reaping(self, pool: Pool) -> None:
        if (longest := pool.longest_idle()) is not None:
            self._to_reap.put(pool, longest.idle_since)

    def _freeze(self, pool: Pool, before_s: float) -> None:
        if (next_s := pool.freeze(before_s)) is not None:
            self._to_freeze.put(pool, next_s)

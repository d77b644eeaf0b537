"""How many cells of one kind should wait: grows with what was missing, shrinks by what was never needed. No clock, no I/O."""

from __future__ import annotations

PERIOD_S = 30.0  # what was left over all this time was not needed
MOST = 512  # of one kind, whatever the budget


class Demand:
    """`target` is how many should wait now.

    `least` of them wait for as long as any was asked for within `keep_s`; after that, none.
    """

    def __init__(self, least: int, keep_s: float, now_s: float) -> None:
        self.target = least
        self.asked_s = now_s  # when one was asked for last
        self.least = least
        self._keep_s = keep_s
        self._fewest_left = least
        self._period_began_s = now_s

    def took(self, left: int, now_s: float) -> None:
        """One that waited was taken, and so many are left."""
        self.asked_s = now_s
        self._fewest_left = min(self._fewest_left, left)

    def missed(self, now_s: float) -> None:
        """One was asked for, and none waited."""
        self.asked_s = now_s
        self._fewest_left = 0
        self.target = min(self.target + 1, MOST)

    def look(self, now_s: float) -> None:
        """To be called now and then: half of what was left over throughout the last period is given up."""
        if now_s - self._period_began_s < PERIOD_S:
            return
        floor = self.least if now_s - self.asked_s < self._keep_s else 0
        spare = min(self._fewest_left, self.target)
        self.target = max(floor, self.target - (spare + 1) // 2)
        self._fewest_left = self.target
        self._period_began_s = now_s

    def is_idle(self, now_s: float) -> bool:
        """Nobody has asked for any for so long that none is kept."""
        return self.target == 0 and now_s - self.asked_s >= self._keep_s

"""Time for what is due: when the machine's time of day is set back, it goes on from where it was. Implements `ports.Clock`.

What was to be seen in a second would else not be seen for as long as the clock was set back. When the time of day has caught up,
or is set ahead, it is the same again.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from lambent.ports import Clock


class AscendingClock:
    """Used on one event loop."""

    def __init__(self, clock: Clock, at_least_s: float = 0.0) -> None:
        """`at_least_s` is a time of day that an earlier server has written down already."""
        self._clock = clock
        self._now_s = max(clock.now(), at_least_s)
        self._asked_s = clock.monotonic()

    def now(self) -> float:
        asked_s = self._clock.monotonic()
        self._now_s = max(self._clock.now(), self._now_s + asked_s - self._asked_s)
        self._asked_s = asked_s
        return self._now_s

    def monotonic(self) -> float:
        return self._clock.monotonic()

    def sleep(self, seconds: float) -> Coroutine[Any, Any, None]:
        return self._clock.sleep(seconds)

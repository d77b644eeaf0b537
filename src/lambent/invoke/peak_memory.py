"""The most memory that an environment has used, for its reports."""

from __future__ import annotations

import math
from typing import Final

from lambent.invoke.session import Session
from lambent.model.limits import MIB

# An invocation that took less than the first uses a peak that was read less than the second ago: to read it costs a system
# call, and in so short a time a function touches a few MB at most.
SHORT_MS: Final = 1.0
FRESH_S: Final = 0.01


class PeakMemory:
    """Of one environment, whichever session it has."""

    def __init__(self) -> None:
        self._mib = 0
        self._read_s = -math.inf  # when; monotonic
        self._failed_mib = 0  # of the last session whose init failed: its cage is gone when REPORT is written

    def failed(self, session: Session) -> None:
        """Its init, and its cage is about to end."""
        self._failed_mib = _mib(session)

    def reported_mib(self, session: Session | None, duration_ms: float, now_s: float) -> int:
        """After an invocation of so many milliseconds; `now_s` is monotonic."""
        if session is None:
            return self._failed_mib
        if duration_ms >= SHORT_MS or now_s - self._read_s >= FRESH_S:
            self._mib, self._read_s = _mib(session), now_s
        return self._mib


def _mib(session: Session) -> int:
    return math.ceil(session.cage.peak_memory_bytes() / MIB)

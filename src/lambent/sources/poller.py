"""What the supervisor holds of each mapping: something that reads a source and calls a function."""

from __future__ import annotations

from typing import Final, Protocol

RESULT_OK: Final = "OK"
RESULT_FAILED: Final = "PROBLEM: Function call failed"
RESULT_TOO_LARGE: Final = "PROBLEM: A record is too large for an invocation's payload of 6 MB."
RESULT_NOT_POLLED: Final = "PROBLEM: This server does not poll event sources of this kind."


class Poller(Protocol):
    """Runs from `start` until both of the others have returned."""

    may_overlap: bool  # another poller of the same mapping may read while this one's last batches end

    def start(self) -> None: ...

    async def stop_reading(self) -> None:
        """Returns when no further batch begins, and what was read and not begun was given back. Safe to call twice."""

    async def finished(self) -> None:
        """Returns when the last batch that was begun has ended."""

    async def abandon(self) -> None:
        """Ends at once whatever runs, as a crash would; for a server that stops."""


class BackOff:
    """Waits that grow while something does not work."""

    def __init__(self, first_s: float, longest_s: float) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._failures = 0

    @property
    def failures(self) -> int:
        return self._failures

    def next_s(self) -> float:
        self._failures += 1
        return float(min(self._first_s * 2.0 ** min(self._failures - 1, 30), self._longest_s))

    def worked(self) -> None:
        self._failures = 0

"""What clients who are slow, silent or greedy may cost all the others: connections, bytes and time.

Nobody is held to a rate. A client may be as slow as it likes while there is room; when there is none, those that have
taken it for longest go first. So whoever is quick is served, however many are not.
"""

from __future__ import annotations

import heapq
import sys
import time
from typing import Final, Protocol

import attrs

SPARED_SHARE: Final = 32  # of the connections, this part goes at once, so that not every new one has to look for one


@attrs.frozen(kw_only=True)
class Patience:
    """How long a connection may be of no use, in seconds."""

    head_s: float = 60.0  # from its beginning, or a request's first byte, until the request's head is whole
    progress_s: float = 60.0  # without one byte of the body that it sends, or taken of the answer that waits for it
    idle_s: float = 300.0  # between two requests


class Guest(Protocol):
    """A connection, as its lobby sees it."""

    held_bytes: int  # the lobby's own account of it

    @property
    def silence(self) -> tuple[int, float] | None:
        """None while something is being done for it; else the least goes first."""

    def is_stalled(self, now: float, patience: Patience) -> bool: ...

    def abort(self) -> None: ...


class Lobby:
    """Bounds that several servers share.

    `bytes_max` is for what has come of requests that are not whole yet, and for answers that their clients do not read.
    """

    def __init__(
        self, connections_max: int = sys.maxsize, bytes_max: int = sys.maxsize, patience: Patience | None = None
    ) -> None:
        self.held_bytes = 0
        self._connections_max = connections_max
        self._bytes_max = bytes_max
        self._patience = patience or Patience()
        self._guests: set[Guest] = set()
        self._holders: dict[Guest, None] = {}  # the one that has held something for longest is first

    @property
    def is_full(self) -> bool:
        """Whoever comes now takes somebody else's place."""
        return len(self._guests) >= self._connections_max

    def enter(self, guest: Guest) -> None:
        """Takes it in, and shows others the door when there are too many: those who have said nothing for longest."""
        if self.is_full:
            self._spare_silent(guest)
        self._guests.add(guest)

    def leave(self, guest: Guest) -> None:
        self._guests.discard(guest)
        self.let_go(guest)

    def hold(self, guest: Guest, count: int) -> None:
        """So many bytes more are kept for it. When all hold too much, the oldest holder is dropped, whoever that is."""
        if guest not in self._guests:
            return  # it has been dropped
        guest.held_bytes += count
        self.held_bytes += count
        self._holders[guest] = None
        while self.held_bytes > self._bytes_max:
            oldest = next(iter(self._holders))
            self.leave(oldest)
            oldest.abort()

    def let_go(self, guest: Guest) -> None:
        """Nothing is kept for it any more."""
        if self._holders.pop(guest, self) is None:
            self.held_bytes -= guest.held_bytes
            guest.held_bytes = 0

    def close_stalled(self) -> None:
        """Drops those of whom nothing is to be expected; called from time to time."""
        now = time.monotonic()
        for guest in [guest for guest in self._guests if guest.is_stalled(now, self._patience)]:
            guest.abort()

    def _spare_silent(self, newcomer: Guest) -> None:
        ranked = [(silence, id(guest), guest) for guest in self._guests if (silence := guest.silence) is not None]
        spared = heapq.nsmallest(max(1, self._connections_max // SPARED_SHARE), ranked, key=lambda found: found[:2])
        for _, _, guest in spared:
            self.leave(guest)
            guest.abort()
        if not spared:
            newcomer.abort()

"""What has to be looked at, and when: asking for it costs what is due and not what there is. No clock, no I/O."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Hashable
from typing import Generic, TypeVar

import attrs

T = TypeVar("T", bound=Hashable)


@attrs.define(eq=False)
class _Entry(Generic[T]):
    thing: T | None  # None: it was discarded


class Agenda(Generic[T]):
    """Each thing stands in it once, by a moment of its own that may move on meanwhile, and never back.

    It stays where it is then, so that moving costs nothing: whoever takes it sees what its moment is now, and puts it in again.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, _Entry[T]]] = []
        self._entries: dict[T, _Entry[T]] = {}
        self._order = itertools.count()  # so that entries of the same moment are never compared

    def put(self, thing: T, moment_s: float) -> None:
        """Does nothing with one that is there."""
        if thing not in self._entries:
            entry = self._entries[thing] = _Entry(thing)
            heapq.heappush(self._heap, (moment_s, next(self._order), entry))

    def take(self, before_s: float = math.inf) -> T | None:
        """The first one, if its moment is before this one."""
        if not self.first_s < before_s:
            return None
        thing = heapq.heappop(self._heap)[2].thing
        assert thing is not None
        del self._entries[thing]
        return thing

    def discard(self, thing: T) -> None:
        """Keeps nothing of it but its place."""
        entry = self._entries.pop(thing, None)
        if entry is not None:
            entry.thing = None

    @property
    def first_s(self) -> float:
        """The moment of the first one; infinite when there is none."""
        while self._heap and self._heap[0][2].thing is None:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else math.inf

    def __len__(self) -> int:
        return len(self._entries)

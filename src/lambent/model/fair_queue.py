"""Whose turn it is where several parties wait for the same thing. No clock, no I/O."""

from __future__ import annotations

import collections
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class FairQueue(Generic[K, V]):
    """First come, first served among those of one key; the keys take turns."""

    def __init__(self) -> None:
        self._waiting: collections.OrderedDict[K, collections.deque[V]] = collections.OrderedDict()

    def put(self, key: K, value: V) -> None:
        self._waiting.setdefault(key, collections.deque()).append(value)

    def take(self) -> V | None:
        """Whoever's turn it is; None when nobody waits."""
        if not self._waiting:
            return None
        key, values = self._waiting.popitem(last=False)
        value = values.popleft()
        if values:
            self._waiting[key] = values  # behind all others
        return value

    def discard(self, key: K, value: V) -> None:
        """Takes one away that does not wait any more, if it is still here."""
        values = self._waiting.get(key)
        if values is not None and value in values:
            values.remove(value)
            if not values:
                del self._waiting[key]

    def __len__(self) -> int:
        return sum(len(values) for values in self._waiting.values())

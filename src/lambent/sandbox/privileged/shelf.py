"""Sealed cells of one kind, which wait for a function, and functions that wait for such a cell."""

from __future__ import annotations

import collections
import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from .demand import Demand

if TYPE_CHECKING:
    from . import wire
    from .stock import Cell

    Then = Callable[[Cell | None, str], None]

_MIB = 1 << 20
_LEAST = 4  # of cells of an interpreter that is in use
_LEAST_WITH_PROGRAM = 2  # of those in which a program waits, which take more
_KEEP_WITH_PROGRAM_S = 3600.0  # there is a kind for each size of memory that a function was given
_KERNEL_MIB = 1.0  # page tables, mounts, a network namespace: nobody counts them
# Until one has been measured; a program needs time to become as large as it will be.
_COST_MIB = 6.0
_COST_WITH_PROGRAM_MIB = 24.0
_STARTED_S = 3.0


class Shelf:
    """`program` is what is started ahead in each of its cells; None where that is a fork, or nothing."""

    def __init__(self, key: str, program: wire.Message | None, now_s: float) -> None:
        self.key = key
        self.program = program
        self.used = False  # what was asked for last succeeded
        self.sealed: list[Cell] = []  # the oldest first: it has had the most time to get ready
        self.making = 0
        self.wanting: collections.deque[Then] = collections.deque()
        self._cost_mib = _COST_MIB if program is None else _COST_WITH_PROGRAM_MIB
        least, keep_s = (_LEAST, math.inf) if program is None else (_LEAST_WITH_PROGRAM, _KEEP_WITH_PROGRAM_S)
        self.demand = Demand(least, keep_s, now_s)

    def take(self, now_s: float) -> Cell | None:
        if not self.sealed:
            return None
        cell = self.sealed.pop(0)
        self.demand.took(len(self.sealed), now_s)
        return cell

    @property
    def lacks(self) -> bool:
        return self.used and len(self.sealed) + self.making < self.demand.target + len(self.wanting)

    @property
    def is_low(self) -> bool:
        return self.used and self.in_stock < min(self.demand.least, self.demand.target)

    @property
    def surplus(self) -> int:
        return len(self.sealed) - self.demand.target

    @property
    def in_stock(self) -> int:
        return len(self.sealed) + self.making

    def cost_mib(self, now_s: float) -> float:
        """What one of its cells takes of the machine's memory, as far as is known."""
        oldest = self.sealed[0] if self.sealed else None
        if oldest is None or (self.program is not None and now_s - oldest.made_s < _STARTED_S):
            return self._cost_mib
        measured_bytes = _usage_bytes(oldest)
        if measured_bytes is not None:
            self._cost_mib = _KERNEL_MIB + measured_bytes / _MIB
        return self._cost_mib


def _usage_bytes(cell: Cell) -> int | None:
    if cell.group is None:
        return None
    try:
        return int(os.pread(cell.group.files["peak"], 32, 0))
    except (OSError, ValueError):
        return None

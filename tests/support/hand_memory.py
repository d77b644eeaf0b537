"""A machine's memory that a test turns."""

from __future__ import annotations

import attrs


@attrs.define
class HandMemory:
    """Implements `ports.Memory`."""

    free_mib: float = 1e9

    def available_mib(self) -> float:
        return self.free_mib

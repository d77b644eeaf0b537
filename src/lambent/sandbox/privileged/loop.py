"""A loop around poll(): descriptors and who reads them."""

from __future__ import annotations

import select
from collections.abc import Callable


class Loop:
    """Everything in the launcher happens in `turn`, one thing after the other."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._readers: dict[int, Callable[[], None]] = {}

    def watch(self, descriptor: int, reader: Callable[[], None]) -> None:
        """Calls `reader` whenever there is something to read, or the other end is closed."""
        self._readers[descriptor] = reader
        self._poll.register(descriptor, select.POLLIN)

    def is_watched(self, descriptor: int) -> bool:
        return descriptor in self._readers

    def unwatch(self, descriptor: int) -> None:
        del self._readers[descriptor]
        self._poll.unregister(descriptor)

    def turn(self, timeout_ms: int | None) -> bool:
        """Serves what is ready; False when nothing was."""
        ready = [(descriptor, self._readers[descriptor]) for descriptor, _ in self._poll.poll(timeout_ms)]
        for descriptor, reader in ready:
            # An earlier one of this turn may have ended it, and its number may be another one's by now.
            if self._readers.get(descriptor) is reader:
                reader()
        return bool(ready)

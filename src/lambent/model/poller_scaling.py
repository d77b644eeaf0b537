"""How many batches of one queue are with its function at the same time.

Standard queues: five to begin with, up to 300 more a minute while there are messages left, up to 1,250.
https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html: also `MaximumConcurrency`, provisioned pollers (each
for up to ten batches), and that fewer are run while invocations fail.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

FIRST: Final = 5
MORE_PER_S: Final = 300 / 60
MOST: Final = 1_250
BATCHES_PER_POLLER: Final = 10


def bounds(mapping: Mapping[str, Any]) -> tuple[int, int]:
    """(to begin with, at most)."""
    pollers = mapping.get("ProvisionedPollerConfig")
    if pollers:
        return pollers["MinimumPollers"] * BATCHES_PER_POLLER, pollers["MaximumPollers"] * BATCHES_PER_POLLER
    most = (mapping.get("ScalingConfig") or {}).get("MaximumConcurrency") or MOST
    return min(FIRST, most), most


class Scale:
    """The present bound. Told of what happens, with monotonic seconds."""

    def __init__(self, first: int, most: int, now_s: float) -> None:
        self._first = first
        self._most = most
        self._now = float(first)
        self._grown_s = now_s

    @property
    def bound(self) -> int:
        return int(self._now)

    def crowded(self, now_s: float) -> None:
        """Everything is in use, and there are more messages."""
        self._now = min(self._now + (now_s - self._grown_s) * MORE_PER_S, float(self._most))
        self._grown_s = now_s

    def easy(self, now_s: float) -> None:
        """There is room; growing begins anew when there is none."""
        self._grown_s = now_s

    def idle(self, now_s: float) -> None:
        """The queue was found empty."""
        self._now = max(float(self._first), self._now / 2)
        self._grown_s = now_s

    def failed(self) -> None:
        """An invocation was throttled or failed: at least one batch is always tried."""
        self._now = max(1.0, self._now / 2)

    def succeeded(self) -> None:
        """What failures took away comes back one by one."""
        if self._now < self._first:
            self._now += 1

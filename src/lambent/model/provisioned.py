"""Provisioned concurrency: environments that are started before anybody asks for them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, Literal

import attrs

Status = Literal["IN_PROGRESS", "READY", "FAILED"]

FAMILY: Final = (
    "provisioned"  # member of `FunctionSettings.extra`: by qualifier, {"Requested": environments, "LastModified": time}
)
INIT_FAILED: Final = "FUNCTION_ERROR_INIT_FAILURE"  # AWS's reason when the function's own code failed


@attrs.frozen(kw_only=True)
class Provision:
    """What there is of what was asked for, at this moment."""

    allocated: int = 0  # environments that have been started for it
    available: int = 0  # of these, the ones that are idle or at work and not about to end
    failure: str | None = None  # why no more are started

    def status(self, requested: int) -> Status:
        if self.failure is not None:
            return "FAILED"
        return "READY" if self.available >= requested else "IN_PROGRESS"


@attrs.frozen(kw_only=True)
class Utilisation:
    """Which part of the environments that are there is at work; None while none of them is.

    AWS's metric ProvisionedConcurrencyUtilization, which likewise has no values when nothing is invoked.
    """

    peak: float | None = None  # the highest since it was last asked for
    now: float | None = None


def by_version(requested: int, version: str, weights: Mapping[str, float]) -> dict[str, int]:
    """How an alias's environments are spread over the versions that it sends invocations to, by weight."""
    parts = {other: math.floor(requested * weight + 0.5) for other, weight in weights.items()}
    return {version: max(0, requested - sum(parts.values())), **parts}


class Use:
    """Counts the provisioned environments of one version that are at work. Every invocation in one calls it."""

    __slots__ = ("_peak", "allocated", "busy")

    def __init__(self) -> None:
        self.allocated = 0
        self.busy = 0
        self._peak = 0.0

    def began(self) -> None:
        self.busy += 1
        self._peak = max(self._peak, self._now())

    def ended(self) -> None:
        self.busy -= 1

    def read(self) -> Utilisation:
        """What was seen since the last call, which is forgotten."""
        now = self._now()
        peak, self._peak = max(self._peak, now), now
        return Utilisation(peak=peak or None, now=now or None)

    def _now(self) -> float:
        return self.busy / max(self.busy, self.allocated, 1)

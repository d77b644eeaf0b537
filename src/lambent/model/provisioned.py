"""Provisioned concurrency: environments that are started before anybody asks for them."""

from __future__ import annotations

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

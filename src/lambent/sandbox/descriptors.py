"""How many files this process may have open. Service managers and shells begin with 1,024, enough for 80 environments."""

from __future__ import annotations

import contextlib
import logging
import os
import resource
from typing import Final

log = logging.getLogger(__name__)

WANTED: Final = (
    65_536  # about twelve for each of 1,000 environments, as many connections, and several times that to spare
)
FEW: Final = 4_096
PER_ENVIRONMENT: Final = 12  # listeners, pipes, control groups, the Runtime API's connections


def limit() -> int:
    """How many this process may have open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def raise_limit() -> int:
    """Raises the limit as far as this user may, for this process and those that it starts; returns what it is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= WANTED:
        return soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, WANTED), hard))
    if hard < WANTED and os.geteuid() == 0:
        with contextlib.suppress(OSError, ValueError):  # root of a container may not, either
            resource.setrlimit(resource.RLIMIT_NOFILE, (WANTED, WANTED))
    now = limit()
    if now < FEW:
        log.warning(
            "only %d files may be open, which is enough for about %d environments at once; raise the limit (ulimit -n)",
            now,
            now // PER_ENVIRONMENT,
        )
    return now

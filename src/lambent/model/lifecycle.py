"""The life of an execution environment, as a table.

Everything that affects an environment's state is in this file. A move that is not written down is forbidden.

    LAUNCHING ──launched──► INITIALISING ──ready──► IDLE ──invoked──► BUSY
        │                        │                  │  ▲               │
        │                        │            froze │  └──finished─────┤
        │                        │                  ▼                  │
        │                        │               FROZEN ──invoked──► BUSY
        └───────stop─────────────┴────────stop──────┴───────stop───────┴──► STOPPING ──ended──► GONE
"""

from __future__ import annotations

import enum
from typing import Final

from lambent.model.errors import LambentError


class EnvironmentState(enum.Enum):
    __hash__ = object.__hash__  # Enum\'s own is Python code, and the tables are asked on every invocation

    LAUNCHING = "launching"  # its cage is being built
    INITIALISING = "initialising"  # the runtime and the function's code outside the handler run
    IDLE = "idle"  # waits for an invocation
    FROZEN = "frozen"  # waits, and its processes are stopped
    BUSY = "busy"  # runs one invocation
    STOPPING = "stopping"  # is being ended; takes nothing more
    GONE = "gone"


class EnvironmentEvent(enum.Enum):
    __hash__ = object.__hash__  # Enum\'s own is Python code, and the tables are asked on every invocation

    LAUNCHED = "launched"
    READY = "ready"
    INVOKED = "invoked"
    FINISHED = "finished"
    FROZE = "froze"
    STOP = "stop"
    ENDED = "ended"


_S, _E = EnvironmentState, EnvironmentEvent

TRANSITIONS: Final[dict[tuple[EnvironmentState, EnvironmentEvent], EnvironmentState]] = {
    (_S.LAUNCHING, _E.LAUNCHED): _S.INITIALISING,
    (_S.LAUNCHING, _E.STOP): _S.STOPPING,
    (_S.INITIALISING, _E.READY): _S.IDLE,
    (_S.INITIALISING, _E.STOP): _S.STOPPING,
    (_S.IDLE, _E.INVOKED): _S.BUSY,
    (_S.IDLE, _E.FROZE): _S.FROZEN,
    (_S.IDLE, _E.STOP): _S.STOPPING,
    (_S.FROZEN, _E.INVOKED): _S.BUSY,
    (_S.FROZEN, _E.STOP): _S.STOPPING,
    (_S.BUSY, _E.FINISHED): _S.IDLE,
    (_S.BUSY, _E.STOP): _S.STOPPING,
    (_S.STOPPING, _E.STOP): _S.STOPPING,
    (_S.STOPPING, _E.ENDED): _S.GONE,
    (_S.GONE, _E.STOP): _S.GONE,
}


class ForbiddenTransition(LambentError):
    """An environment was asked for a move that its state does not allow: a fault in Lambent."""


def after(state: EnvironmentState, event: EnvironmentEvent) -> EnvironmentState:
    """The state that follows. Raises ForbiddenTransition."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise ForbiddenTransition(f"an environment that is {state.value} cannot be {event.value}") from None

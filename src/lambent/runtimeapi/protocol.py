"""The protocol without a socket: which moves a runtime and an extension may make.

Everything that affects their states lives in this file. A move is forbidden unless it is written down in a table.
State names are the ones that AWS prints in its refusals.
"""

from __future__ import annotations

import enum
import uuid
from collections.abc import Mapping
from typing import Final

import attrs

from lambent.model.limits import EXTENSIONS_MAX


class RuntimeState(enum.Enum):
    __hash__ = object.__hash__  # Enum\'s own is Python code, and the tables are asked on every invocation

    STARTED = "Started"  # its process runs its init code; nothing heard yet
    INIT_ERROR = "InitError"  # it said that it cannot start; final
    READY = "Ready"  # waits in /next
    RUNNING = "Running"  # has been given an event
    RESPONDING = "InvocationResponse"  # the response's body is coming in
    RESPONDING_ERROR = "InvocationErrorResponse"  # the error's body is coming in
    RESPONSE_SENT = "RuntimeResponseSentState"  # answered; may finish background work until it calls /next
    GONE = "Exited"  # its process died or was given up on; final


class RuntimeMove(enum.Enum):
    __hash__ = object.__hash__  # Enum\'s own is Python code, and the tables are asked on every invocation

    NEXT = "next"  # GET invocation/next
    EVENT = "event"  # the platform hands over an event
    RESPONSE = "response"  # POST response, when its body begins
    ERROR = "error"  # POST error, likewise
    EXCHANGE = "exchange"  # a whole response and the next GET invocation/next, in one piece
    SENT = "sent"  # the body is whole
    BODY_LOST = "body lost"  # the connection broke before the body's end
    WAIT_LOST = "wait lost"  # the connection that waited in /next broke
    INIT_ERROR = "init error"
    GONE = "gone"


R, M = RuntimeState, RuntimeMove

RUNTIME_MOVES: Final[Mapping[tuple[RuntimeState, RuntimeMove], RuntimeState]] = {
    (R.STARTED, M.NEXT): R.READY,
    (R.STARTED, M.INIT_ERROR): R.INIT_ERROR,
    (R.READY, M.EVENT): R.RUNNING,
    (R.READY, M.WAIT_LOST): R.RESPONSE_SENT,
    (R.RUNNING, M.NEXT): R.RUNNING,  # asked again: the same event again, as at AWS
    (R.RUNNING, M.RESPONSE): R.RESPONDING,
    (R.RUNNING, M.ERROR): R.RESPONDING_ERROR,
    (R.RESPONDING, M.SENT): R.RESPONSE_SENT,
    (R.RESPONDING, M.BODY_LOST): R.RUNNING,
    (R.RESPONDING_ERROR, M.SENT): R.RESPONSE_SENT,
    (R.RESPONDING_ERROR, M.BODY_LOST): R.RUNNING,
    (R.RESPONSE_SENT, M.NEXT): R.READY,
    (R.RUNNING, M.EXCHANGE): R.READY,  # RESPONSE, SENT and NEXT
    **{(state, M.GONE): R.GONE for state in RuntimeState},
}


class ExtensionState(enum.Enum):
    STARTED = "Started"  # an external one whose process has been started
    REGISTERED = "Registered"
    READY = "Ready"  # waits in event/next
    RUNNING = "Running"  # has been given an event
    INIT_ERROR = "InitError"  # final
    EXIT_ERROR = "ExitError"  # final
    EXITED = "Exited"  # its process ended; final


class ExtensionMove(enum.Enum):
    REGISTER = "register"
    NEXT = "next"  # GET event/next
    EVENT = "event"  # the platform hands over an event
    WAIT_LOST = "wait lost"  # the connection that waited in event/next broke
    INIT_ERROR = "init error"
    EXIT_ERROR = "exit error"
    EXITED = "exited"


E, X = ExtensionState, ExtensionMove

EXTENSION_MOVES: Final[Mapping[tuple[ExtensionState, ExtensionMove], ExtensionState]] = {
    (E.STARTED, X.REGISTER): E.REGISTERED,
    (E.REGISTERED, X.NEXT): E.READY,
    (E.REGISTERED, X.INIT_ERROR): E.INIT_ERROR,
    (E.REGISTERED, X.EXIT_ERROR): E.EXIT_ERROR,
    (E.READY, X.EVENT): E.RUNNING,
    (E.READY, X.WAIT_LOST): E.RUNNING,
    (E.READY, X.EXIT_ERROR): E.EXIT_ERROR,
    (E.RUNNING, X.NEXT): E.READY,
    (E.RUNNING, X.EXIT_ERROR): E.EXIT_ERROR,
    (E.INIT_ERROR, X.INIT_ERROR): E.INIT_ERROR,  # only the first report counts
    (E.EXIT_ERROR, X.EXIT_ERROR): E.EXIT_ERROR,
    **{(state, X.EXITED): E.EXITED for state in ExtensionState},
}


@attrs.frozen
class Refusal:
    """A request that is not allowed now, in AWS's words."""

    status: int
    error_type: str
    message: str


# The state that a refusal says was asked for. AWS prints "Exited" for a refused exit error.
_ASKED_FOR: Final[Mapping[RuntimeMove | ExtensionMove, str]] = {
    M.NEXT: R.READY.value,
    M.RESPONSE: R.RESPONDING.value,
    M.ERROR: R.RESPONDING_ERROR.value,
    M.INIT_ERROR: R.INIT_ERROR.value,
    X.REGISTER: E.REGISTERED.value,
    X.NEXT: E.READY.value,
    X.INIT_ERROR: E.INIT_ERROR.value,
    X.EXIT_ERROR: E.EXITED.value,
}

INVALID_REQUEST_ID: Final = Refusal(400, "InvalidRequestID", "Invalid request ID")
INVALID_RESPONSE_MODE: Final = Refusal(400, "InvalidFunctionResponseMode", "Invalid function response mode")
NOT_ALLOWED: Final = "State transition is not allowed"


class RuntimeProtocol:
    """The runtime's state."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state = RuntimeState.STARTED

    def move(self, move: RuntimeMove) -> Refusal | None:
        """Makes the move, or says why not and changes nothing."""
        after = RUNTIME_MOVES.get((self.state, move))
        if after is None:
            return Refusal(
                403,
                "InvalidStateTransition",
                f"State transition from {self.state.value} to {_ASKED_FOR.get(move, move.value)} failed for runtime. "
                f"Error: {NOT_ALLOWED}",
            )
        self.state = after
        return None


@attrs.define
class Extension:
    """One extension, as far as the platform knows it."""

    name: str
    external: bool  # started by the platform from /opt/extensions; internal ones live in the runtime's process
    identifier: str = attrs.field(factory=lambda: str(uuid.uuid4()))
    state: ExtensionState = ExtensionState.STARTED
    events: tuple[str, ...] = ()
    error_type: str | None = None

    def move(self, move: ExtensionMove) -> Refusal | None:
        """Makes the move, or says why not and changes nothing."""
        after = EXTENSION_MOVES.get((self.state, move))
        if after is None:
            # AWS names an extension by its name while it registers, and by its identifier from then on.
            who = self.name if move is ExtensionMove.REGISTER else self.identifier
            return Refusal(
                403,
                "Extension.InvalidExtensionState",
                f"State transition from {self.state.value} to {_ASKED_FOR.get(move, move.value)} failed for extension {who}. "
                f"Error: {NOT_ALLOWED}",
            )
        self.state = after
        return None

    @property
    def fatal_error(self) -> str:
        """What AWS calls it when this extension's process ends now."""
        if self.state is ExtensionState.INIT_ERROR:
            return "Extension.InitError"
        return "Extension.ExitError" if self.state is ExtensionState.EXIT_ERROR else "Extension.Crash"

    @property
    def alive(self) -> bool:
        return self.state not in (ExtensionState.INIT_ERROR, ExtensionState.EXIT_ERROR, ExtensionState.EXITED)


class ExtensionRegistry:
    """Who has registered, and for which events. Closed once the runtime has called /next for the first time."""

    def __init__(self) -> None:
        self.by_name: dict[str, Extension] = {}
        self.by_identifier: dict[str, Extension] = {}
        self.open = True

    def expect(self, name: str) -> None:
        """An external extension is about to be started."""
        extension = Extension(name, external=True)
        self.by_name[name] = extension
        self.by_identifier[extension.identifier] = extension

    def register(self, name: str, events: tuple[str, ...]) -> Extension | Refusal:
        """Enters an extension, or says why not. A name that the platform did not start is an internal extension."""
        extension = self.by_name.get(name)
        external = extension is not None and extension.external
        if (refusal := _unsupported(events, external=external)) is not None:
            return refusal
        if not external:
            if (refusal := self._no_room_for(name)) is not None:
                return refusal
            extension = Extension(name, external=False)
            self.by_name[name] = extension
            self.by_identifier[extension.identifier] = extension
        assert extension is not None
        if (refusal := extension.move(ExtensionMove.REGISTER)) is not None:
            return refusal
        extension.events = events
        return extension

    def _no_room_for(self, name: str) -> Refusal | None:
        if not self.open:
            return Refusal(403, "Extension.RegistrationClosed", "Extension registration closed already")
        if len(self.by_name) >= EXTENSIONS_MAX:
            return Refusal(403, "Extension.TooManyExtensions", f"Extension limit ({EXTENSIONS_MAX}) reached")
        if name in self.by_name:
            return Refusal(403, "Extension.InvalidExtensionState", "Extension with this name already registered")
        return None

    def subscribed(self, event: str) -> list[Extension]:
        """Those alive that asked for this event."""
        return [e for e in self.by_name.values() if event in e.events and e.alive]

    @property
    def all_registered(self) -> bool:
        """Whether no external extension still owes its registration."""
        return all(e.state is not ExtensionState.STARTED for e in self.by_name.values())

    @property
    def all_ready(self) -> bool:
        """Whether every one waits for its next event.

        One that has reported an error never will: what that means for the environment is said when its process ends.
        """
        return all(e.state in (ExtensionState.READY, ExtensionState.EXITED) for e in self.by_name.values())


def _unsupported(events: tuple[str, ...], *, external: bool) -> Refusal | None:
    for event in events:
        if event == "INVOKE" or (event == "SHUTDOWN" and external):
            continue
        why = "ShutdownEventNotSupportedForInternalExtension" if event == "SHUTDOWN" else "ErrorInvalidEventType"
        return Refusal(403, "Extension.InvalidEventType", f"{event}: {why}")
    return None

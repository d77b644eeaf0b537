"""One invocation's way through an environment."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lambent.model.errors import AwsError
from lambent.model.invocation import Invocation, Outcome
from lambent.runtimeapi.runtime import PendingResponse

if TYPE_CHECKING:
    from lambent.invoke.environment import Environment

Release = Callable[["Environment"], None]
Done = Callable[[Outcome | AwsError], None]


class Run:
    """Answered once and released once, whoever tries."""

    __slots__ = ("_done", "_release", "answered", "begun", "invocation", "log_tail", "pending")

    def __init__(self, invocation: Invocation, begun: float, release: Release, done: Done) -> None:
        self.invocation = invocation
        self.begun = begun  # monotonic seconds
        self.pending: PendingResponse | None = None  # once the runtime has been given the event
        self.log_tail: bytes | None = None
        self.answered = False
        self._release: Release | None = release
        self._done = done

    def answer(self, result: Outcome | AwsError) -> None:
        """Tells the caller."""
        if not self.answered:
            self.answered = True
            self._done(result)

    def release(self, environment: Environment) -> None:
        """Gives environment and lease back."""
        release, self._release = self._release, None
        if release is not None:
            release(environment)

"""What can go wrong before an interpreter even starts."""

from __future__ import annotations

from lambent.model.errors import LambentError


class RuntimeMissing(LambentError):
    """The interpreter that a function asks for is not on this machine; the message says how to add it."""

    def __init__(self, runtime: str, interpreter: str, hint: str) -> None:
        super().__init__(
            f"Runtime {runtime} needs {interpreter}, which was not found on this machine. {hint} "
            f"`lambent runtimes` lists what is there."
        )
        self.runtime = runtime
        self.interpreter = interpreter


class RuntimeNotUsable(LambentError):
    """A directory that was to be added holds no interpreter, or a runtime's directory could not be built."""

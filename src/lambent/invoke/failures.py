"""Why an invocation or an init did not succeed, as the log and the caller are told."""

from __future__ import annotations

import attrs
import msgspec

from lambent.invoke.session import RuntimeExited, exit_error_type
from lambent.model import loglines
from lambent.model.cage import ProcessExit
from lambent.model.errors import EntrypointError
from lambent.runtimeapi.values import InitFailed, RuntimeFault

TIMED_OUT = "Sandbox.Timedout"


@attrs.frozen
class Failure:
    """`status` "failure" is this machine's fault; "error" and "timeout" are the function's."""

    status: loglines.Status  # "error", "failure" or "timeout"
    error_type: str
    payload: bytes  # JSON: errorMessage, errorType …
    log_text: str | None = None  # said in the log before END
    message: str | None = None  # the platform's own words, without the request; None: the runtime's are in the payload

    def of_request(self, request_id: str, timeout_s: float, fmt: loglines.LineFormat, now_ms: float) -> Failure:
        """The same, for the invocation that was under way or had to wait; what a runtime posted stays as it is."""
        if self.message is None:
            return self
        message = f"RequestId: {request_id} {self.message}"
        text = None if fmt.is_json else f"{message}\n{self.error_type}"
        if self.status == "timeout":
            text = loglines.timeout_line(request_id, timeout_s, fmt, now_ms)
        return attrs.evolve(self, payload=_error_json(self.error_type, message), log_text=text)


INTERRUPTED = Failure("failure", "Sandbox.Failure", b"")  # the machine failed, or ended the environment


def timed_out(limit_s: float) -> Failure:
    return _of_platform("timeout", TIMED_OUT, f"Task timed out after {limit_s:.2f} seconds")


def runtime_exited(process_exit: ProcessExit) -> Failure:
    return _of_platform("error", exit_error_type(process_exit), process_exit.of_runtime)


def extension_ended(fault: RuntimeFault) -> Failure:
    """The fault of `EnvironmentApi.on_extension_fault`."""
    return _reported("error", fault.error_type, fault.payload)


def init_failure(error: Exception, limit_s: float) -> Failure:
    """What `Session.initialise` raised, within `limit_s`."""
    if isinstance(error, InitFailed):
        if error.by_platform:
            return _reported("error", error.error_type, error.payload)
        return Failure("error", error.error_type, error.payload)
    if isinstance(error, RuntimeExited):
        return runtime_exited(error.process_exit)
    if isinstance(error, EntrypointError):
        return _of_platform("error", "Runtime.InvalidEntrypoint", str(error))
    return timed_out(limit_s)


def _reported(status: loglines.Status, error_type: str, payload: bytes) -> Failure:
    """From a body that this program made."""
    return Failure(status, error_type, payload, message=msgspec.json.decode(payload)["errorMessage"])


def _of_platform(status: loglines.Status, error_type: str, reason: str) -> Failure:
    message = f"Error: {reason}"
    return Failure(status, error_type, _error_json(error_type, message), message=message)


def _error_json(error_type: str, message: str) -> bytes:
    return msgspec.json.encode({"errorType": error_type, "errorMessage": message})

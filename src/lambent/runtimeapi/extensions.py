"""The Extensions API's endpoints: register, event/next, init/error, exit/error.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any, Final

import attrs

from lambent.http1.request import Request
from lambent.model.cage import ProcessExit
from lambent.runtimeapi.answers import JSON, accept, refuse
from lambent.runtimeapi.headers import header_text
from lambent.runtimeapi.protocol import Extension, ExtensionMove, ExtensionRegistry, ExtensionState, Refusal
from lambent.runtimeapi.values import RuntimeCall, RuntimeFault

NAME_HEADER: Final = b"lambda-extension-name"
IDENTIFIER_HEADER: Final = b"lambda-extension-identifier"
ERROR_TYPE_HEADER: Final = b"lambda-extension-function-error-type"
FEATURE_HEADER: Final = b"lambda-extension-accept-feature"
NAME_MAX_CHARACTERS: Final = 255  # a file name's
_UNKNOWN_IDENTIFIER: Final = "Extension.UnknownExtensionIdentifier"


@attrs.frozen(kw_only=True)
class FunctionMetadata:
    """What an extension is told when it registers."""

    function_name: str
    function_version: str
    handler: str
    account_id: str


class ExtensionEndpoints:
    """What extensions may ask.

    `changed()` is called when one has become ready, or is gone; `failed(fault)` when one has ended, or cannot start.
    """

    def __init__(
        self,
        metadata: FunctionMetadata,
        changed: Callable[[], None],
        failed: Callable[[RuntimeFault], None],
        observed: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self.registry = ExtensionRegistry()
        self._metadata = metadata
        self._changed = changed
        self._failed = failed
        self._observed = observed
        self._waiting: dict[str, Request] = {}  # by identifier: parked in event/next
        self._shutting_down = False
        self._undelivered: dict[str, bytes] = {}  # by identifier: an event for one whose connection broke meanwhile

    # the platform's side

    def announce(self, call: RuntimeCall) -> None:
        """Gives the INVOKE event to those subscribed to it."""
        subscribed = self.registry.subscribed("INVOKE")
        if subscribed:
            body = _invoke_event(call)
            for extension in subscribed:
                self._give(extension, body)

    def announce_shutdown(self, reason: str, deadline_ms: int) -> list[Extension]:
        """Gives the SHUTDOWN event to those subscribed, and returns them."""
        body = {"eventType": "SHUTDOWN", "deadlineMs": deadline_ms, "shutdownReason": reason}
        self._shutting_down = True
        subscribed = self.registry.subscribed("SHUTDOWN")
        for extension in subscribed:
            self._give(extension, json.dumps(body).encode())
        return subscribed

    def exited(self, name: str, process_exit: ProcessExit | None) -> RuntimeFault | None:
        """The process of an external extension has ended: what that means for the environment, if it was not told to."""
        extension = self.registry.by_name.get(name)
        if extension is None or extension.state is ExtensionState.EXITED:
            return None
        fault = None if self._shutting_down else _exit_fault(extension, process_exit)
        self._waiting.pop(extension.identifier, None)
        extension.move(ExtensionMove.EXITED)
        if fault is not None:
            if extension.error_type is None:
                extension.error_type = fault.error_type
                self._report(extension)
            self._failed(fault)
        self._changed()
        return fault

    # endpoints

    def register(self, request: Request) -> None:
        name = (request.header(NAME_HEADER) or b"").decode("utf-8", "replace")
        if not name:
            refuse(request, Refusal(403, "Extension.InvalidExtensionName", "Empty extension name"))
            return
        events = _registration(request.body)
        outcome = events if isinstance(events, Refusal) else self.registry.register(name[:NAME_MAX_CHARACTERS], events)
        if isinstance(outcome, Refusal):
            refuse(request, outcome)
            return
        answer = {
            "functionName": self._metadata.function_name,
            "functionVersion": self._metadata.function_version,
            "handler": self._metadata.handler,
        }
        features = (request.header(FEATURE_HEADER) or b"").split(b",")
        if b"accountId" in (feature.strip() for feature in features):
            answer["accountId"] = self._metadata.account_id
        identifier = (b"Lambda-Extension-Identifier", outcome.identifier.encode())
        request.respond(200, (*JSON, identifier), json.dumps(answer).encode())
        self._changed()

    def next(self, request: Request) -> None:
        extension = self._caller(request, "Unknown extension {}")
        if extension is None:
            return
        first = extension.state is ExtensionState.REGISTERED
        if (refusal := extension.move(ExtensionMove.NEXT)) is not None:
            refuse(request, refusal)
            return
        self._waiting[extension.identifier] = request
        request.on_disconnect = lambda: self._wait_lost(extension)
        request.eof_is_disconnect = True
        if first:
            self._report(extension)
        if (event := self._undelivered.pop(extension.identifier, None)) is not None:
            self._give(extension, event)
        else:
            self._changed()

    def init_error(self, request: Request) -> None:
        self._error(request, ExtensionMove.INIT_ERROR)

    def exit_error(self, request: Request) -> None:
        self._error(request, ExtensionMove.EXIT_ERROR)

    # inside

    def identify(self, request: Request) -> Extension | Refusal:
        """The extension that is calling."""
        return self._identify(request, "Unknown extension {}")

    def _identify(self, request: Request, unknown: str) -> Extension | Refusal:
        header = request.header(IDENTIFIER_HEADER)
        if not header:
            return Refusal(403, "Extension.MissingExtensionIdentifier", "Missing Lambda-Extension-Identifier header")
        try:
            identifier = str(uuid.UUID(header.decode("latin-1")))
        except ValueError:
            return Refusal(403, "Extension.InvalidExtensionIdentifier", "Invalid Lambda-Extension-Identifier")
        extension = self.registry.by_identifier.get(identifier)
        if extension is None:
            return Refusal(403, _UNKNOWN_IDENTIFIER, unknown.format(identifier))
        return extension

    def _caller(self, request: Request, unknown: str) -> Extension | None:
        found = self._identify(request, unknown)
        if isinstance(found, Refusal):
            refuse(request, found)
            return None
        return found

    def _error(self, request: Request, move: ExtensionMove) -> None:
        header = request.header(ERROR_TYPE_HEADER)
        extension = self._caller(request, "Unknown Lambda-Extension-Identifier")
        if extension is None:
            return
        if not header:
            message = "Lambda-Extension-Function-Error-Type not found"
            refuse(request, Refusal(403, "Extension.MissingHeader", message))
            return
        if (refusal := extension.move(move)) is not None:
            refuse(request, refusal)
            return
        accept(request)
        if extension.error_type is None:
            extension.error_type = header_text(header, "Extension.Unknown")
            self._report(extension)
            if not extension.external:
                # Of an external one AWS waits for the process to end; an internal one has none of its own.
                self._failed(_fault(extension.fatal_error, extension.error_type))
        self._changed()

    def _give(self, extension: Extension, body: bytes) -> None:
        request = self._waiting.pop(extension.identifier, None)
        if request is None:
            self._undelivered[extension.identifier] = body
            return
        extension.move(ExtensionMove.EVENT)
        request.on_disconnect = None
        request.eof_is_disconnect = False
        request.respond(200, (*JSON, (b"Lambda-Extension-Event-Identifier", str(uuid.uuid4()).encode())), body)

    def _wait_lost(self, extension: Extension) -> None:
        self._waiting.pop(extension.identifier, None)
        extension.move(ExtensionMove.WAIT_LOST)

    def _report(self, extension: Extension) -> None:
        record: dict[str, Any] = {
            "name": extension.name,
            "state": extension.state.value,
            "events": list(extension.events),
        }
        if extension.error_type is not None:
            record["errorType"] = extension.error_type
        self._observed("platform.extension", record)


def _exit_fault(extension: Extension, process_exit: ProcessExit | None) -> RuntimeFault:
    if process_exit is None:
        reason = "exited"
    elif process_exit.signal is None:
        reason = f"exit code {process_exit.exit_status}"
    else:
        reason = str(process_exit)
    return _fault(extension.fatal_error, reason)


def _fault(error_type: str, reason: str) -> RuntimeFault:
    body = {"errorType": error_type, "errorMessage": f"Error: {reason}"}
    return RuntimeFault(error_type, json.dumps(body).encode())


def _registration(body: bytes) -> tuple[str, ...] | Refusal:
    """The events of a registration's body."""
    try:
        asked = json.loads(body)
    except ValueError as problem:  # JSON and UTF-8 both
        return _invalid_format(str(problem))
    except RecursionError:
        return _invalid_format("too deeply nested")
    if not isinstance(asked, dict):
        return _invalid_format("the body must be a JSON object")
    if asked.get("configurationKeys"):
        return _invalid_format("configurationKeys are deprecated; use environment variables instead")
    events = asked.get("events") or []
    if not isinstance(events, list) or not all(isinstance(event, str) for event in events):
        return _invalid_format("events must be an array of strings")
    return tuple(dict.fromkeys(events))


def _invalid_format(message: str) -> Refusal:
    return Refusal(403, "InvalidRequestFormat", message)


def _invoke_event(call: RuntimeCall) -> bytes:
    event: dict[str, Any] = {
        "eventType": "INVOKE",
        "deadlineMs": call.deadline_ms,
        "requestId": call.request_id,
        "invokedFunctionArn": call.invoked_function_arn,
    }
    if call.trace_id:
        event["tracing"] = {"type": "X-Amzn-Trace-Id", "value": call.trace_id}
    return json.dumps(event).encode()

"""What Lambent has besides AWS's API below `/_lambent/`: the timeline of events, the clock that can be turned, figures.

Requests are signed like those to AWS where signatures are checked, and belong to the account and region of their
credentials. The figures can also be read with a token of the configuration's, `metrics_token`.

    GET  /_lambent/events/NAME?limit=20             the function's newest events, with what happened to each
    GET  /_lambent/events/NAME/steps?after=0        what happened since that step, for all its events in order
    GET  /_lambent/events/NAME/REQUEST_ID           one event, with its payload
    POST /_lambent/events/NAME/REQUEST_ID/replay    sends it again
    GET  /_lambent/clock                            what time it is
    POST /_lambent/clock                            {"advance_s": 60} or {"now": 1767225600}
    GET  /_lambent/metrics                          Lambent's own figures, as Prometheus reads them

All but the last are JSON.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol
from urllib.parse import parse_qs, unquote

import attrs
import msgspec

from lambent.front.access import Access
from lambent.front.identify import Asked, Home, Scope, caller_of
from lambent.http1.request import Request
from lambent.model.errors import AwsError, not_found, validation
from lambent.model.function import FunctionVersion
from lambent.model.names import FunctionAddress, parse_function_ref
from lambent.store.events import EventView, FunctionKey, Step, StepView
from lambent.telemetry.exposition import CONTENT_TYPE
from lambent.wire.messages import WireRequest

log = logging.getLogger(__name__)

EVENTS_DOOR: Final = "/_lambent/events/"
CLOCK_DOOR: Final = "/_lambent/clock"
METRICS_DOOR: Final = "/_lambent/metrics"
LIMIT_MAX: Final = 1_000  # events or steps in one answer
LIMIT_DEFAULT: Final = 20
TIME_MAX_S: Final = 253_402_300_799  # the year 9999: what calendars hold


@attrs.frozen(kw_only=True)
class Call:
    """A request whose caller is known."""

    method: str
    path: Sequence[str]  # below the door, without empty parts
    query: Mapping[str, str]
    body: bytes
    scope: Scope
    is_inside: bool  # it comes from a function in its cage


Answer = tuple[int, dict[str, Any] | str]  # status, and JSON or Prometheus's text
Handler = Callable[[Call], Awaitable[Answer]]


class OwnDoor:
    """A door for the gateway."""

    def __init__(self, prefix: str, handler: Handler, access: Access, home: Home, token: str = "") -> None:
        """`token`: whoever bears it need not sign; none does where it is empty."""
        self._bearer = f"Bearer {token}".encode() if token else None
        self._prefix = prefix
        self._handler = handler
        self._access = access
        self._home = home
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, request: Request) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, request: Request) -> None:
        content: dict[str, Any] | str
        try:
            status, content = await self._handler(self._read(request))
        except AwsError as error:
            status, content = error.status, {"code": error.code, "message": error.message}
        except Exception:  # the outermost edge: whatever it was, the caller gets an answer
            log.exception("%s failed; report it with this traceback", request.target.decode("latin-1"))
            status, content = 500, {"code": "ServiceException", "message": "Internal Error"}
        if isinstance(content, str):
            request.respond(status, [(b"content-type", CONTENT_TYPE.encode())], content.encode())
        else:
            request.respond(status, [(b"content-type", b"application/json")], msgspec.json.encode(content))

    def _read(self, request: Request) -> Call:
        """Raises AwsError when signatures are checked and this one is wrong."""
        path, _, query = request.target.decode("latin-1").partition("?")
        wire = WireRequest(
            method=request.method.decode("latin-1"),
            path=path,
            query=query,
            headers={name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers},
            body=request.body,
        )
        caller = caller_of(wire, self._home)
        scope = (caller.account_id, caller.region or self._home.region)
        inside = request.application_data
        if caller.access_key_id is None and isinstance(inside, FunctionVersion):
            scope = (inside.account_id, inside.region)
        asked = Asked(
            protocol="rest-json", service=None, operation=None, operation_name=None, caller=caller, region=scope[1]
        )
        if not self._bears_token(request):
            wire = self._access.admit(asked, wire)
        below = unquote(path)[len(self._prefix) :]
        return Call(
            method=wire.method,
            path=[part for part in below.split("/") if part],
            query={name: values[-1] for name, values in parse_qs(query).items()},
            body=wire.body,
            scope=scope,
            is_inside=isinstance(inside, FunctionVersion),
        )

    def _bears_token(self, request: Request) -> bool:
        return self._bearer is not None and hmac.compare_digest(request.header(b"authorization") or b"", self._bearer)


class Timeline(Protocol):
    """What happened to asynchronous events. All raise AwsError."""

    async def events(self, key: FunctionKey, limit: int) -> list[EventView]: ...

    async def event(self, key: FunctionKey, request_id: str) -> EventView | None: ...

    async def steps_after(self, key: FunctionKey, after: int, limit: int) -> list[StepView]: ...


Replay = Callable[[FunctionAddress, str], Awaitable[str]]
"""Sends a past event again; returns the new request id. Raises AwsError."""


def events_handler(timeline: Timeline, replay: Replay) -> Handler:
    """`/_lambent/events/`"""

    async def handle(call: Call) -> Answer:
        if not call.path:
            raise not_found("Name a function: /_lambent/events/NAME")
        address = FunctionAddress(*call.scope, parse_function_ref(call.path[0]).name)
        match call.method, *call.path[1:]:
            case ("GET",):
                found = await timeline.events(address.key, _number(call, "limit", LIMIT_DEFAULT, LIMIT_MAX))
                return 200, {"events": [_event(event) for event in found]}
            case "GET", "steps":
                after = _number(call, "after", 0, 1 << 62)
                steps = await timeline.steps_after(address.key, after, _number(call, "limit", LIMIT_MAX, LIMIT_MAX))
                return 200, {"steps": [{"requestId": s.request_id, **_step(s.step)} for s in steps]}
            case "GET", request_id:
                event = await timeline.event(address.key, request_id)
                if event is None:
                    raise not_found(f"Event not found: {request_id} of {address.arn}")
                return 200, _event(event)
            case "POST", request_id, "replay":
                return 202, {"requestId": await replay(address, request_id)}
        raise AwsError("UnknownOperationException", f"There is no {call.method} for this address.", 404)

    return handle


def _number(call: Call, name: str, default: int, most: int) -> int:
    text = call.query.get(name, str(default))
    if not text.isascii() or not text.isdecimal() or len(text) > 19:
        raise validation(f"{name} must be a whole number")
    return min(int(text), most)


def _event(event: EventView) -> dict[str, Any]:
    content: dict[str, Any] = {
        "requestId": event.request_id,
        "qualifier": event.qualifier,
        "state": event.state,
        "acceptedAtMs": event.accepted_ms,
        "nextAttemptAtMs": event.due_ms,
        "attempts": event.attempts,
        "payloadBytes": event.payload_bytes,
        "undelivered": event.undelivered,
        "steps": [_step(step) for step in event.steps],
    }
    if event.payload is not None:
        content["payload"] = msgspec.Raw(event.payload)
    return content


def _step(step: Step) -> dict[str, Any]:
    return {"id": step.id, "atMs": step.at_ms, "what": step.what, "detail": step.detail}


def metrics_handler(page: Callable[[], str]) -> Handler:
    """`/_lambent/metrics`: of all accounts and regions."""

    async def handle(call: Call) -> Answer:
        if call.path:
            raise not_found("There is nothing below /_lambent/metrics")
        if call.is_inside:
            raise AwsError("AccessDeniedException", "Functions cannot read the server's figures.", 403)
        if call.method not in ("GET", "HEAD"):
            raise AwsError("UnknownOperationException", f"There is no {call.method} for this address.", 405)
        return 200, page()

    return handle


class TurnableClock(Protocol):
    def now(self) -> float: ...

    def advance(self, seconds: float) -> None: ...

    def turn_to(self, now_s: float) -> None: ...


def clock_handler(clock: TurnableClock) -> Handler:
    """`/_lambent/clock`, in servers whose clock can be turned."""

    async def handle(call: Call) -> Answer:
        if call.path:
            raise not_found("There is nothing below /_lambent/clock")
        if call.method == "POST":
            if call.is_inside:
                raise AwsError("AccessDeniedException", "Functions cannot turn the clock.", 403)
            _turn(clock, call.body)
        elif call.method != "GET":
            raise AwsError("UnknownOperationException", f"There is no {call.method} for this address.", 405)
        return 200, {"now": clock.now()}

    return handle


def _turn(clock: TurnableClock, body: bytes) -> None:
    try:
        wish = msgspec.json.decode(body, type=dict[str, float])
    except msgspec.DecodeError as error:
        raise validation('Send {"advance_s": SECONDS} or {"now": SECONDS_SINCE_THE_EPOCH}') from error
    match wish:
        case {"advance_s": seconds} if len(wish) == 1 and seconds >= 0 and clock.now() + seconds <= TIME_MAX_S:
            clock.advance(seconds)
        case {"now": now_s} if len(wish) == 1 and 0 <= now_s <= TIME_MAX_S:
            clock.turn_to(now_s)
        case _:
            raise validation(
                'Send {"advance_s": SECONDS} or {"now": SECONDS_SINCE_THE_EPOCH}, neither below 0 nor after 9999'
            )

"""The front door: one port for every AWS request, the health checks and the other doors.

A request's life: other doors by host name or path → browsers from elsewhere are refused → Invoke, unmodelled →
everything else: identify, admit, parse, validate, call the operation, serialize. Every error leaves in the words and the
protocol of the service that was asked.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final

import attrs
import msgspec

import lambent
from lambent import ports
from lambent.front import cors, unambiguous, welcome
from lambent.front.access import Access, AuthMode, SecretFor
from lambent.front.authorize import Asking, Authorizer
from lambent.front.identify import POST_FORM, Asked, Home, Identifier, Scope, virtual_bucket
from lambent.front.invoke_api import InvokeApi, address, is_invoke, new_request_id
from lambent.front.large_bodies import BoundedBody
from lambent.front.unusual_invoke import STREAM_PREFIX, is_unusual
from lambent.http1.application import BodyReceiver
from lambent.http1.request import HeaderList, Request
from lambent.model import lineage
from lambent.model.errors import AwsError, payload_too_large
from lambent.model.function import FunctionVersion
from lambent.model.identity import KnownKey
from lambent.model.limits import MIB, TIMEOUT_MAX_S
from lambent.model.request import RequestContext
from lambent.wire.messages import Headers, WireRequest, WireResponse
from lambent.wire.models import Models
from lambent.wire.protocols import PROTOCOLS
from lambent.wire.shapes import Operation
from lambent.wire.validate import Rules, validate

logger = logging.getLogger(__name__)

Door = Callable[[Request], None]
"""Answers a request, now or later. The body is whole."""

BODY_MAX_BYTES: Final = 128 * MIB
# Lambda's own bound for requests with a zip in them: its error message names the number.
LAMBDA_REQUEST_MAX_BYTES: Final = 70_167_211
INVOKE_REQUEST_MAX_BYTES: Final = 8 * MIB  # ours: the largest payload, and what signing it in chunks may add

# Whose requests are held against their model's constraints, and how; services that are not here check for themselves.
# Every REST-JSON service has to be: nulls in its lists and maps are only found here.
VALIDATED: Final[Mapping[str, Rules]] = {
    # The service itself checks what AWS says in other words than the model's: the runtime's name and the most memory.
    "lambda": Rules(
        amended={
            "Runtime": {"enum": ()},
            "MemorySize": {"maximum": None},
            "Timeout": {"maximum": TIMEOUT_MAX_S},
        },
        tells_not_null=True,
        # So AWS answers: https://github.com/klothoplatform/klotho/issues/317
        untold=frozenset({"EnvironmentVariableName"}),
    ),
    "logs": Rules(code="InvalidParameterException"),
    "kinesis": Rules(),
    "events": Rules(),
    "scheduler": Rules(),
    "application-autoscaling": Rules(),
    "dynamodb": Rules(),
}

# Operations that wait for something to hand out, which must not be handed to a client that has left.
WAITING: Final = frozenset({("sqs", "ReceiveMessage")})

_LAMBDA_FAULT: Final = AwsError("ServiceException", "Internal Error", 500, {"Type": "Service"})


class Gateway:
    """An `http1.application.Application`. Give it to a `Server`; `close` it when the server has stopped listening."""

    body_max_bytes = BODY_MAX_BYTES

    def __init__(
        self,
        services: Iterable[ports.Service],
        invoke: ports.Invoke,
        resolver: ports.FunctionResolver | None = None,
        *,
        models: Models | None = None,
        home: Home | None = None,
        auth: AuthMode = "open",
        secret_for: SecretFor = lambda access_key_id: None,
        authorizer: Authorizer | None = None,
        enqueue: ports.EnqueueSoon | None = None,
        path_doors: Mapping[str, Door] | None = None,
        host_doors: Sequence[tuple[str, Door]] = (),
        allowed_origins: Iterable[str] = (),
        now_s: Callable[[], float] = time.time,
        about: Callable[[], Mapping[str, Any]] = dict,
        neighbours: ports.Neighbours | None = None,
        shared: Iterable[ports.Service] = (),
    ) -> None:
        """`path_doors`: by prefix, each beginning `/_lambent/`. `host_doors`: by a part of the host name (`.lambda-url.`).

        `about` is what else the health check says of this server. `shared`: services of which Lambent answers some
        operations, and its neighbours the rest.
        """
        self._shared = {service.name: service for service in shared}
        self._services = {service.name: service for service in services}
        self._models = models or Models()
        self._identifier = Identifier(self._models, home)
        key_for = authorizer.key if authorizer is not None else None
        self._access = Access(mode=auth, secret_for=secret_for, now_s=now_s, key_for=key_for)
        self._authorizer = authorizer
        self._decides = authorizer is not None and auth == "enforce"
        self._invoke_api = InvokeApi(invoke, resolver, enqueue, authorizer)
        self._path_doors = sorted(
            ((prefix.encode(), door) for prefix, door in (path_doors or {}).items()), key=lambda pair: -len(pair[0])
        )
        self._host_doors = [(part.encode(), door) for part, door in host_doors]
        self._origins = frozenset(origin.encode() for origin in allowed_origins)
        self._about = about
        self._neighbours = neighbours
        self._tasks: set[asyncio.Task[None]] = set()

    # http1.application.Application

    def body_receiver(self, request: Request) -> BodyReceiver | None:
        """Small bodies of a known length are gathered by the server itself."""
        length = request.content_length
        if length is None and request.header(b"transfer-encoding") is None:
            return None
        if length is not None and length <= INVOKE_REQUEST_MAX_BYTES:
            return None
        return BoundedBody(request, self._body_limit_bytes(request), self.request, self.too_large)

    def _body_limit_bytes(self, request: Request) -> int:
        if self._host_doors and self._host_door(request) is not None:
            return BODY_MAX_BYTES
        if is_invoke(request.method, request.target):
            return INVOKE_REQUEST_MAX_BYTES
        asked = self._identifier.identify(_wire_request(request))
        is_lambda = asked.service is not None and asked.service.name == "lambda"
        return LAMBDA_REQUEST_MAX_BYTES if is_lambda else BODY_MAX_BYTES

    def request(self, request: Request) -> None:
        target = request.target
        if self._host_doors and (door := self._host_door(request)) is not None:
            door(request)
            return
        origin = request.fields.get(b"origin")
        extra: HeaderList = []
        if origin is not None:
            if not cors.is_allowed(origin, self._origins):
                self._refuse_origin(request)
                return
            extra = cors.answer(origin)
            if request.method == b"OPTIONS" and request.header(b"access-control-request-method") is not None:
                request.respond(204, cors.preflight(origin, request.header(b"access-control-request-headers")))
                return
        if is_invoke(request.method, target):
            if self._decides:
                self._spawn(self._serve_decided_invoke(request, extra))
            else:
                self._serve_invoke(request, extra)
        elif target.startswith((b"/_lambent/", b"/_localstack/")):
            self._own(request, extra)
        elif target == b"/" and request.method == b"GET" and welcome.is_browser(request):
            request.respond(
                200, [(b"content-type", b"text/html; charset=utf-8"), *extra], welcome.page(sorted(self._services))
            )
        else:
            self._spawn(self._serve(request, extra))

    def too_large(self, request: Request) -> None:
        wire = _wire_request(request)
        if is_invoke(request.method, request.target):
            self._send_error(request, payload_too_large(), "rest-json", wire, new_request_id(), [])
            return
        asked = self._identifier.identify(wire)
        error = _request_too_large(asked.operation_name, self._body_limit_bytes(request))
        self._answer_error(request, asked, error, wire, new_request_id(), [])

    async def close(self) -> None:
        """Ends what is still being answered."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # Our own pages

    def _own(self, request: Request, extra: HeaderList) -> None:
        path = request.target.partition(b"?")[0]
        if path in (b"/_lambent/health", b"/_localstack/health") and request.method in (b"GET", b"HEAD"):
            body = msgspec.json.encode(self.health())
            request.respond(200, [(b"content-type", b"application/json"), *extra], body)
            return
        for prefix, door in self._path_doors:
            if path.startswith(prefix):
                door(request)
                return
        body = msgspec.json.encode({"message": f"There is nothing at {path.decode('latin-1')}; see /_lambent/health."})
        request.respond(404, [(b"content-type", b"application/json"), *extra], body)

    def health(self) -> dict[str, Any]:
        return {
            "services": dict.fromkeys(sorted(self._services), "running"),
            "edition": "lambent",
            "version": lambent.__version__,
            **self._about(),
        }

    def _host_door(self, request: Request) -> Door | None:
        host = request.header(b"host") or b""
        return next((door for part, door in self._host_doors if part in host), None)

    def _refuse_origin(self, request: Request) -> None:
        message = (
            "Requests from web pages of this origin are refused; allow it in Lambent's configuration (allowed_origins)."
        )
        body = msgspec.json.encode({"message": message})
        request.respond(
            403, [(b"content-type", b"application/json"), (b"x-amzn-ErrorType", b"AccessDeniedException")], body
        )

    # AWS

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _serve_invoke(self, request: Request, extra: HeaderList) -> None:
        """Without a task, unless there is something to wait for besides the function."""
        request_id = new_request_id()

        def refuse(error: AwsError) -> None:
            self._send_error(request, error, "rest-json", _wire_request(request), request_id, extra)

        try:
            account_id, region = self._caller_of_invoke(request)
            if is_unusual(request):
                self._check_invoke(_wire_request(request))
            rest = self._invoke_api.serve(request, account_id, region, request_id, extra, refuse)
            if rest is not None:
                self._spawn(self._finish_invoke(rest, request_id, refuse))
        except AwsError as error:
            refuse(error)
        except Exception:  # the outermost edge: whatever it was, the caller gets AWS's answer
            logger.exception("invoke failed: request %s; report it with this traceback", request_id)
            refuse(_LAMBDA_FAULT)

    async def _finish_invoke(
        self, rest: Coroutine[None, None, None], request_id: str, refuse: Callable[[AwsError], None]
    ) -> None:
        try:
            await rest
        except AwsError as error:
            refuse(error)
        except Exception:  # as in `_serve_invoke`
            logger.exception("invoke failed: request %s; report it with this traceback", request_id)
            refuse(_LAMBDA_FAULT)

    def _caller_of_invoke(self, request: Request) -> tuple[str, str]:
        """Account and region. Raises AwsError when signatures are checked and this one is wrong."""
        if self._access.mode == "open":
            authorization = request.fields.get(b"authorization")
            if authorization is not None or b"X-Amz-Credential" not in request.target:
                unsigned = None if authorization is not None else _of_listener(request)
                scope = self._identifier.scope_of(authorization, request.fields.get(b"host", b""), unsigned)
                if scope is not None:
                    return scope
        wire = _wire_request(request)
        asked = self._identifier.identify(wire)
        request.body = self._access.admit(asked, wire).body
        return asked.caller.account_id, asked.region

    def _check_invoke(self, wire: WireRequest) -> None:
        """All that the model demands of an invocation. Raises AwsError ValidationException."""
        service = self._models.service("lambda")
        is_stream = wire.path.startswith(STREAM_PREFIX)
        operation = service.operation("InvokeWithResponseStream" if is_stream else "Invoke")
        without_payload = attrs.evolve(wire, body=b"")
        validate(operation.input, PROTOCOLS["rest-json"].parse_request(operation, without_payload), VALIDATED["lambda"])

    async def _serve_decided_invoke(self, request: Request, extra: HeaderList) -> None:
        """An invocation by somebody whom policies must let."""
        request_id = new_request_id()
        wire = _wire_request(request)

        def refuse(error: AwsError) -> None:
            self._send_error(request, error, "rest-json", wire, request_id, extra)

        async def decide_and_serve() -> None:
            assert self._authorizer is not None
            asked = self._identifier.identify(wire)
            admitted = self._access.admit_known(asked, wire)
            if admitted.key is None:  # Invoke is never unsigned
                raise AwsError("MissingAuthenticationTokenException", "Missing Authentication Token", 403)
            request.body = admitted.request.body
            if is_unusual(request):
                self._check_invoke(wire)
            function = address(request.target, admitted.key.account_id, asked.region)
            asking = Asking(key=admitted.key, region=asked.region, source_ip=request.peer_address, headers=wire.headers)
            await self._authorizer.authorize_invoke(asking, function)
            rest = self._invoke_api.serve(request, function.account_id, asked.region, request_id, extra, refuse)
            if rest is not None:
                await rest

        await self._finish_invoke(decide_and_serve(), request_id, refuse)

    async def _serve(self, request: Request, extra: HeaderList) -> None:
        request_id = new_request_id()
        wire = _wire_request(request)
        asked: Asked | None = None
        try:
            asked = self._identifier.identify(_path_style(wire), _of_listener(request))
            if asked.service is not None and (asked.service.name, asked.operation_name) in WAITING:
                _end_with_client(request)
            response = await self._answer(asked, wire, request_id, request)
            await _send(request, response, extra)
        except AwsError as error:
            self._answer_error(request, asked, error, wire, request_id, extra)
        except ConnectionError:
            return
        except Exception:  # the outermost edge: whatever it was, the caller gets AWS's answer
            name = asked.operation_name if asked is not None else None
            logger.exception("%s failed: request %s; report it with this traceback", name, request_id)
            self._answer_error(request, asked, _internal_failure(asked), wire, request_id, extra)

    async def _answer(self, asked: Asked, wire: WireRequest, request_id: str, request: Request) -> WireResponse:
        if asked.operation_name == POST_FORM and asked.operation is None:
            raise AwsError(
                "NotImplemented",
                f"Uploads by forms (POST) are not built in Lambent {lambent.__version__}; let pages send PUT to a presigned address.",
                501,
            )
        known = self._access.admit_known(asked, wire)
        admitted = _path_style(known.request)
        operation, call = self._built(asked)
        if call is None and not self._decides:
            return await self._by_neighbours(
                asked, operation, admitted, wire, request_id, asked.caller.account_id, None, request.peer_address
            )
        if operation.service.name == "lambda" and len(admitted.body) > LAMBDA_REQUEST_MAX_BYTES:
            raise _request_too_large(operation.name, LAMBDA_REQUEST_MAX_BYTES)
        protocol = PROTOCOLS[asked.protocol]
        try:
            params = protocol.parse_request(operation, admitted)
        except RecursionError as error:
            raise AwsError("SerializationException", "The request is nested too deeply.") from error
        name = operation.service.name
        if (rules := VALIDATED.get(name)) is not None:
            validate(operation.input, params, rules)
        account_id = await self._decided(asked, operation, params, known.key, request, wire)
        if call is None and name == "s3":
            unambiguous.check(operation, admitted)
            return await self._by_neighbours(
                asked, operation, admitted, wire, request_id, account_id, known.key, request.peer_address
            )
        context = RequestContext(
            account_id=account_id,
            region=asked.region,
            request_id=request_id,
            base_url=f"http://{wire.headers.get('host', 'localhost')}",
            access_key_id=asked.caller.access_key_id,
            principal_arn=known.key.principal_arn if known.key is not None else None,
            source_ip=request.peer_address,
            trace_header=lineage.readable(wire.headers.get("x-amzn-trace-id")),
        )
        if call is None:  # the members that were decided about, and not the request that might be read otherwise
            assert self._neighbours is not None
            result = await self._neighbours.call(context, name, operation.name, params)
        else:
            result = await call(context, params)
        if known.key is not None and self._authorizer is not None:
            asking = Asking(key=known.key, region=asked.region, source_ip=request.peer_address, headers=wire.headers)
            result = await self._authorizer.shown(asking, operation, params, result)
        return protocol.serialize_response(operation, result, request_id)

    async def _by_neighbours(
        self,
        asked: Asked,
        operation: Operation,
        admitted: WireRequest,
        wire: WireRequest,
        request_id: str,
        account_id: str,
        key: KnownKey | None,
        source_ip: str | None,
    ) -> WireResponse:
        assert self._neighbours is not None
        context = RequestContext(
            account_id=account_id,
            region=asked.region,
            request_id=request_id,
            base_url=f"http://{wire.headers.get('host', 'localhost')}",
            access_key_id=asked.caller.access_key_id,
            principal_arn=key.principal_arn if key is not None else None,
            source_ip=source_ip,
            trace_header=lineage.readable(wire.headers.get("x-amzn-trace-id")),
        )
        return await self._neighbours.answer(context, operation.service.name, operation.name, admitted)

    async def _decided(
        self,
        asked: Asked,
        operation: Operation,
        params: Mapping[str, Any],
        key: KnownKey | None,
        request: Request,
        wire: WireRequest,
    ) -> str:
        """In whose account the operation runs: the caller's, or that of a function whose policy lets the caller.

        Raises AwsError when it may not run.
        """
        authorizer = self._authorizer
        if authorizer is None:
            return asked.caller.account_id
        if not self._decides:
            return authorizer.account_in_open_mode(asked.caller.account_id, asked.region, operation, params)
        if key is None:  # an operation that needs no signature: Cognito's, for its own users
            return asked.caller.account_id
        asking = Asking(key=key, region=asked.region, source_ip=request.peer_address, headers=wire.headers)
        return await authorizer.authorize(asking, operation, params)

    def _built(self, asked: Asked) -> tuple[Operation, ports.Operation | None]:
        """None: the neighbours answer it. Raises AwsError, 404 for what AWS does not have either, 501 `NotImplemented` for what Lambent has not."""
        if asked.service is None:
            what = f" for {asked.caller.signing_name}" if asked.caller.signing_name else ""
            raise AwsError("UnknownOperationException", f"No AWS service was recognised in this request{what}.", 404)
        service = self._services.get(asked.service.name)
        if asked.operation is None:
            named = f" {asked.operation_name}" if asked.operation_name else ""
            raise AwsError(
                "UnknownOperationException", f"{asked.service.name} has no operation{named} at this address.", 404
            )
        near = self._neighbours
        shared = self._shared.get(asked.service.name)
        if near is not None and shared is not None and near.endpoint_of(asked.service.name) is None:
            return asked.operation, shared.operations.get(asked.operation.name)
        if near is not None and (service is None or near.endpoint_of(asked.service.name) is not None):
            return asked.operation, None
        call = service.operations.get(asked.operation.name) if service is not None else None
        if call is None:
            what = (
                f"{asked.service.name}:{asked.operation.name}"
                if service is not None
                else f"The service {asked.service.name}"
            )
            raise AwsError("NotImplemented", f"{what} is not built in Lambent {lambent.__version__}.", 501)
        return asked.operation, call

    # Errors

    def _answer_error(
        self,
        request: Request,
        asked: Asked | None,
        error: AwsError,
        wire: WireRequest,
        request_id: str,
        extra: HeaderList,
    ) -> None:
        if asked is None:
            self._send_error(request, error, "rest-json", wire, request_id, extra)
            return
        response = PROTOCOLS[asked.protocol].serialize_error(error, wire, request_id, asked.service)
        _send_whole(request, response, extra)

    def _send_error(
        self, request: Request, error: AwsError, protocol: str, wire: WireRequest, request_id: str, extra: HeaderList
    ) -> None:
        service = self._models.service("lambda")
        _send_whole(request, PROTOCOLS[protocol].serialize_error(error, wire, request_id, service), extra)


def _end_with_client(request: Request) -> None:
    """Cancels the current task when the client goes away: what it waits for is for somebody else then."""
    task = asyncio.current_task()
    if task is not None:

        def leave() -> None:
            task.cancel()

        request.on_disconnect = leave
        request.eof_is_disconnect = True


def _request_too_large(operation_name: str | None, limit_bytes: int) -> AwsError:
    message = f"Request must be smaller than {limit_bytes} bytes for the {operation_name} operation"
    return AwsError("RequestEntityTooLargeException", message, 413, {"Type": "User"})


def _internal_failure(asked: Asked | None) -> AwsError:
    if asked is not None and asked.service is not None and asked.service.name == "lambda":
        return _LAMBDA_FAULT
    message = "The request processing has failed because of an unknown error, exception or failure."
    return AwsError("InternalFailure", message, 500)


def _of_listener(request: Request) -> Scope | None:
    """The function's own account and region, for what comes by the endpoint inside its cage."""
    version = request.application_data
    return (version.account_id, version.region) if isinstance(version, FunctionVersion) else None


def _wire_request(request: Request) -> WireRequest:
    path, _, query = request.target.decode("latin-1").partition("?")
    headers: dict[str, str] = {}
    for name, value in request.headers:
        key, text = name.decode("latin-1"), _text(value)
        headers[key] = f"{headers[key]},{text}" if key in headers else text
    return WireRequest(
        method=request.method.decode("latin-1"),
        path=path or "/",
        query=query,
        headers=headers,
        body=request.body,
    )


def _text(value: bytes) -> str:
    """Header values are UTF-8 in practice (S3 metadata), Latin-1 by the book."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _path_style(wire: WireRequest) -> WireRequest:
    """S3's virtual-hosted addresses as its model knows them: with the bucket in the path."""
    bucket = virtual_bucket(wire.headers.get("host", ""))
    return wire if bucket is None else attrs.evolve(wire, path=f"/{bucket}{wire.path}")


def _encoded_headers(method: bytes, headers: Headers, extra: HeaderList) -> HeaderList:
    """Header lines without line breaks in them, whatever a service put there. The server counts bodies itself."""
    lines = [(name.encode("latin-1", "replace"), _one_line(value)) for name, value in headers]
    if method != b"HEAD":
        lines = [line for line in lines if line[0].lower() != b"content-length"]
    return lines + extra


def _one_line(value: str) -> bytes:
    return value.replace("\r", " ").replace("\n", " ").encode("utf-8", "surrogateescape")


def _send_whole(request: Request, response: WireResponse, extra: HeaderList) -> None:
    if not request.answered:
        request.respond(response.status, _encoded_headers(request.method, response.headers, extra), response.body)


async def _send(request: Request, response: WireResponse, extra: HeaderList) -> None:
    """Raises ConnectionError when the peer goes while a stream is being sent."""
    if response.stream is None:
        _send_whole(request, response, extra)
        return
    request.begin(response.status, _encoded_headers(request.method, response.headers, extra))
    try:
        async for chunk in response.stream:
            await request.write(chunk)
    except Exception:
        request.abort()
        raise
    request.end()

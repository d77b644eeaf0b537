"""Invoke and InvokeWithResponseStream: the one path where every microsecond counts, so headers are read by hand, and
payloads pass through unparsed and uncopied.

https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html
"""

from __future__ import annotations

import base64
import binascii
import functools
import random
from collections.abc import Callable, Coroutine, Mapping
from typing import Final
from urllib.parse import parse_qsl, unquote, unquote_to_bytes

import msgspec
from msgspec.structs import replace

from lambent import ports
from lambent.front import payload as payloads
from lambent.front.authorize import Authorizer
from lambent.http1.request import HeaderList, Request, header_lines
from lambent.model.errors import AwsError, invalid_request_content, payload_too_large, request_too_large, validation
from lambent.model.invocation import Invocation, Outcome
from lambent.model.limits import ASYNC_PAYLOAD_MAX_BYTES, CLIENT_CONTEXT_MAX_BYTES, SYNC_PAYLOAD_MAX_BYTES
from lambent.model.names import FunctionAddress, access_denied, join_qualifiers, locate_function, parse_function_ref
from lambent.wire import eventstream

_INVOKE_PREFIX: Final = b"/2015-03-31/functions/"
_INVOKE_SUFFIX: Final = b"/invocations"
_STREAM_PREFIX: Final = b"/2021-11-15/functions/"
_STREAM_SUFFIX: Final = b"/response-streaming-invocations"
_TYPES: Final = (b"Event", b"RequestResponse", b"DryRun")
_LOG_TYPES: Final = (b"None", b"Tail")


def is_invoke(method: bytes, target: bytes) -> bool:
    """Whether this request is for `InvokeApi`."""
    is_one = _is_invoke_target if len(target) > _REMEMBERED_MAX_BYTES else _remembered_target
    return method == b"POST" and is_one(target)


def _is_invoke_target(target: bytes) -> bool:
    if not target.startswith((_INVOKE_PREFIX, _STREAM_PREFIX)):
        return False
    path = target.partition(b"?")[0].rstrip(b"/")
    return path.endswith(_INVOKE_SUFFIX if target.startswith(_INVOKE_PREFIX) else _STREAM_SUFFIX)


# The same few targets come again and again; long ones are not kept, so that strangers cannot fill the memory.
_REMEMBERED_MAX_BYTES: Final = 400
_REMEMBERED: Final = 512  # seldom are more functions warm; to start another one takes a thousand times what this saves
_remembered_target = functools.lru_cache(maxsize=_REMEMBERED)(_is_invoke_target)


class _Parameters:
    """What of an invocation's headers matters."""

    __slots__ = ("client_context", "invocation_type", "log_type", "tenant_id", "trace_header")

    def __init__(self, fields: Mapping[bytes, bytes]) -> None:
        get = fields.get
        self.invocation_type = get(b"x-amz-invocation-type", b"RequestResponse")
        self.log_type = get(b"x-amz-log-type", b"None")
        self.client_context = get(b"x-amz-client-context")
        self.trace_header = get(b"x-amzn-trace-id")
        self.tenant_id = get(b"x-amz-tenant-id")


_NONE: Final = _Parameters({})  # most invocations have none of these headers
_HEADERS: Final = frozenset(
    (b"x-amz-invocation-type", b"x-amz-log-type", b"x-amz-client-context", b"x-amzn-trace-id", b"x-amz-tenant-id")
)


class InvokeApi:
    """Turns requests into invocations, and outcomes into answers. Raises AwsError for the gateway to answer."""

    def __init__(
        self,
        invoke: ports.Invoke,
        resolver: ports.FunctionResolver | None = None,
        enqueue: ports.EnqueueSoon | None = None,
        authorizer: Authorizer | None = None,
    ) -> None:
        """`authorizer` says which other accounts may come to a function; without one none may."""
        self._invoke = invoke
        self._authorizer = authorizer
        self._resolver = resolver
        self._enqueue = enqueue

    def serve(
        self,
        request: Request,
        account_id: str,
        region: str,
        request_id: str,
        extra_headers: HeaderList,
        refuse: Callable[[AwsError], None],
    ) -> Coroutine[None, None, None] | None:
        """Begins to answer the request. What has to be awaited for that is returned, for the caller to run.

        `refuse` is called with what went wrong later. Raises AwsError, as the coroutine does; nothing has been sent then.
        """
        invocation, parameters = _read(request, account_id, region, request_id)
        if invocation.account_id != account_id:
            self._admit_foreign(account_id, invocation)
        if request.target.startswith(_STREAM_PREFIX) and parameters.invocation_type != b"DryRun":
            return _Stream(request, parameters, extra_headers).run(self._invoke, invocation)
        if parameters.invocation_type == b"RequestResponse":
            self._invoke.start(invocation, _Answer(request, parameters, extra_headers, refuse))
        else:
            self._without_waiting(request, invocation, parameters, extra_headers, refuse)
        return None

    def _admit_foreign(self, account_id: str, invocation: Invocation) -> None:
        """Raises AwsError AccessDeniedException."""
        function = FunctionAddress(
            invocation.account_id, invocation.region, invocation.function_name, invocation.qualifier
        )
        if self._authorizer is None:
            raise access_denied(account_id, "lambda:InvokeFunction", function.qualified_arn)
        self._authorizer.authorize_foreign(account_id, "lambda:InvokeFunction", function)

    def _without_waiting(
        self,
        request: Request,
        invocation: Invocation,
        parameters: _Parameters,
        extra_headers: HeaderList,
        refuse: Callable[[AwsError], None],
    ) -> None:
        """For the function's end, that is: an event is answered when it is on the disk."""
        if self._resolver is not None:
            self._resolver.resolve(
                invocation.account_id,
                invocation.region,
                invocation.function_name,
                invocation.qualifier,
                random.random(),
            )

        def answer(status: int) -> None:
            head = b"x-amzn-RequestId: %b\r\nx-amzn-Remapped-Content-Length: 0\r\n" % invocation.request_id.encode()
            if parameters.trace_header is not None:
                head += b"X-Amzn-Trace-Id: %b\r\n" % parameters.trace_header
            request.respond(status, head + header_lines(extra_headers))

        if parameters.invocation_type == b"DryRun":
            answer(204)
            return
        if self._enqueue is None:
            raise AwsError(
                "NotImplemented", "Asynchronous invocation (InvocationType Event) is not built in this Lambent.", 501
            )
        self._enqueue(invocation, lambda error: answer(202) if error is None else refuse(error))


def _read(request: Request, account_id: str, region: str, request_id: str) -> tuple[Invocation, _Parameters]:
    """Raises AwsError for whatever the caller got wrong, in the order in which AWS looks."""
    parameters = _NONE
    if not _HEADERS.isdisjoint(request.fields):
        parameters = _Parameters(request.fields)
        _check_choices(parameters)
    locate = _locate if len(request.target) > _REMEMBERED_MAX_BYTES else _remembered
    address = locate(request.target, account_id, region)
    payload = request.body
    if len(payload) > SYNC_PAYLOAD_MAX_BYTES:
        raise payload_too_large()
    if parameters.invocation_type == b"Event" and len(payload) > ASYNC_PAYLOAD_MAX_BYTES:
        raise request_too_large(
            f"{len(payload)} byte payload is too large for the Event invocation type (limit {ASYNC_PAYLOAD_MAX_BYTES} bytes)"
        )
    invocation = Invocation(
        request_id=request_id,
        account_id=address[0],
        region=region,
        function_name=address[1],
        qualifier=address[2],
        payload=payloads.check(payload),
        client_context=_client_context(parameters.client_context),
        trace_header=parameters.trace_header.decode("latin-1") if parameters.trace_header else None,
        tenant_id=unquote_to_bytes(parameters.tenant_id).decode("utf-8", "replace") if parameters.tenant_id else None,
        want_log_tail=parameters.log_type == b"Tail",
    )
    return invocation, parameters


def _locate(target: bytes, account_id: str, region: str) -> tuple[str, str, str | None]:
    """Account, bare name and qualifier. Raises AwsError for other regions, and for names that are none."""
    path, _, query = target.partition(b"?")
    suffix = _STREAM_SUFFIX if path.startswith(_STREAM_PREFIX) else _INVOKE_SUFFIX
    text = unquote(path.rstrip(b"/")[len(_INVOKE_PREFIX) : -len(suffix)].decode("latin-1"))
    qualifier = _qualifier(query)
    ref = parse_function_ref(text)
    if ref.region not in (None, region):
        locate_function(text, qualifier, account_id, region, "lambda:InvokeFunction")
    return ref.account_id or account_id, ref.name, join_qualifiers(ref.qualifier, qualifier)


def address(target: bytes, account_id: str, region: str) -> FunctionAddress:
    """The function that an invocation is for. Raises AwsError as `_locate` does."""
    owner, name, qualifier = _locate(target, account_id, region)
    return FunctionAddress(owner, region, name, qualifier)


_remembered = functools.lru_cache(maxsize=_REMEMBERED)(_locate)


def _qualifier(query: bytes) -> str | None:
    if not query:
        return None
    return dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)).get("Qualifier")


def _check_choices(parameters: _Parameters) -> None:
    problems = []
    if parameters.invocation_type not in _TYPES:
        problems.append(_choice("invocationType", parameters.invocation_type, "[Event, RequestResponse, DryRun]"))
    if parameters.log_type not in _LOG_TYPES:
        problems.append(_choice("logType", parameters.log_type, "[None, Tail]"))
    if problems:
        noun = "error" if len(problems) == 1 else "errors"
        raise validation(f"{len(problems)} validation {noun} detected: {'; '.join(problems)}")


def _choice(member: str, value: bytes, choices: str) -> str:
    shown = value.decode("latin-1")
    return f"Value '{shown}' at '{member}' failed to satisfy constraint: Member must satisfy enum value set: {choices}"


def _client_context(encoded: bytes | None) -> str | None:
    if not encoded:
        return None
    if len(encoded) > CLIENT_CONTEXT_MAX_BYTES:
        raise invalid_request_content(f"Client context must be smaller than {CLIENT_CONTEXT_MAX_BYTES} bytes.")
    try:
        text = base64.b64decode(encoded, validate=True).decode()
        if not isinstance(msgspec.json.decode(text), dict):
            raise ValueError("not an object")
    except (binascii.Error, ValueError, msgspec.DecodeError, RecursionError) as error:
        raise invalid_request_content("Client context must be a valid Base64-encoded JSON object.") from error
    return text


class _Answer:
    """Tells the client what came of its invocation."""

    __slots__ = ("_extra_headers", "_parameters", "_refuse", "_request")

    def __init__(
        self,
        request: Request,
        parameters: _Parameters,
        extra_headers: HeaderList,
        refuse: Callable[[AwsError], None],
    ) -> None:
        self._request = request
        self._parameters = parameters
        self._extra_headers = extra_headers
        self._refuse = refuse

    def __call__(self, outcome: Outcome | AwsError) -> None:
        if isinstance(outcome, AwsError):
            self._refuse(outcome)
            return
        lines = (
            f"content-type: application/json\r\nx-amzn-RequestId: {outcome.request_id}\r\n"
            f"x-amzn-Remapped-Content-Length: 0\r\nX-Amz-Executed-Version: {outcome.executed_version}\r\n"
        )
        if outcome.function_error is not None:
            lines += f"X-Amz-Function-Error: {outcome.function_error}\r\n"
        head = lines.encode()
        if self._parameters.trace_header is not None:
            head += b"X-Amzn-Trace-Id: %b\r\n" % self._parameters.trace_header
        if outcome.log_tail is not None and self._parameters.log_type == b"Tail":
            head += b"X-Amz-Log-Result: %b\r\n" % base64.b64encode(outcome.log_tail)
        if self._extra_headers:
            head += header_lines(self._extra_headers)
        self._request.respond(200, head, outcome.payload)


class _Stream:
    """One streamed answer; it is the invocation's `ResponseSink`."""

    def __init__(self, request: Request, parameters: _Parameters, extra_headers: HeaderList) -> None:
        self._request = request
        self._parameters = parameters
        self._extra_headers = extra_headers
        self._has_begun = False

    async def run(self, invoke: ports.Invoke, invocation: Invocation) -> None:
        if self._parameters.invocation_type == b"Event":
            raise validation(
                "1 validation error detected: " + _choice("invocationType", b"Event", "[RequestResponse, DryRun]")
            )
        try:
            outcome = await invoke.invoke(replace(invocation, sink=self))
        except AwsError as error:
            if not self._has_begun:
                raise
            await self._finish(eventstream.exception(error.code, _json({"message": error.message}), "application/json"))
            return
        if not self._has_begun:
            self.begin(outcome.content_type, outcome.executed_version, outcome.request_id)
        last = b""
        if outcome.payload and outcome.function_error is None:
            last = eventstream.event("PayloadChunk", outcome.payload, "application/octet-stream")
        await self._finish(last + eventstream.event("InvokeComplete", self._complete(outcome), "application/json"))

    def begin(self, content_type: str, executed_version: str, request_id: str) -> None:
        self._has_begun = True
        headers = [
            (b"content-type", eventstream.CONTENT_TYPE.encode()),
            (b"x-amzn-Remapped-Content-Type", content_type.encode("latin-1", "replace")),
            (b"x-amzn-RequestId", request_id.encode()),
            (b"X-Amz-Executed-Version", executed_version.encode()),
        ]
        if self._parameters.trace_header is not None:
            headers.append((b"X-Amzn-Trace-Id", self._parameters.trace_header))
        self._request.begin(200, headers + self._extra_headers)

    async def write(self, chunk: bytes) -> None:
        if chunk:
            await self._request.write(eventstream.event("PayloadChunk", chunk, "application/octet-stream"))

    async def _finish(self, last: bytes) -> None:
        """A reader that is gone by now misses nothing that could still be sent."""
        try:
            await self._request.write(last)
        except ConnectionError:
            return
        self._request.end()

    def _complete(self, outcome: Outcome) -> bytes:
        members: dict[str, str] = {}
        if outcome.stream_error is not None:
            code, details = outcome.stream_error
            members = {"ErrorCode": code, "ErrorDetails": details.decode("utf-8", "replace")}
        elif outcome.function_error is not None:
            members = {"ErrorCode": outcome.function_error, "ErrorDetails": outcome.payload.decode("utf-8", "replace")}
        if outcome.log_tail is not None and self._parameters.log_type == b"Tail":
            members["LogResult"] = base64.b64encode(outcome.log_tail).decode()
        return _json(members)


def _json(value: dict[str, str]) -> bytes:
    return msgspec.json.encode(value)


def new_request_id() -> str:
    """A random UUID, made in a third of the time that `uuid.uuid4` takes. It names a request; it opens nothing."""
    bits = random.getrandbits(128)
    digits = bits.to_bytes(16, "big").hex()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{'89ab'[bits & 3]}{digits[17:20]}-{digits[20:]}"

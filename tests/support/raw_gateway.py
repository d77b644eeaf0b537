"""Requests to a gateway as bytes, without a socket and without a client that would correct them first."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import quote, urlencode

import attrs
import botocore.session

from invoking import Invoking
from lambent.front.gateway import Gateway
from lambent.model.invocation import Invocation, Outcome
from lambent.model.request import RequestContext
from lambent.ports import Operation

LAMBDA = botocore.session.get_session().get_service_model("lambda")
AUTHORIZATION = (
    "AWS4-HMAC-SHA256 Credential=123456789012/20260101/eu-west-1/lambda/aws4_request, SignedHeaders=host, Signature=0"
)


@attrs.frozen(kw_only=True)
class Raw:
    """One HTTP request."""

    method: str
    target: str
    body: bytes = b""
    headers: Mapping[str, str] = attrs.field(factory=dict)

    def lines(self) -> bytes:
        """As it goes over the wire."""
        headers = {
            "Host": "127.0.0.1", "Authorization": AUTHORIZATION, "Content-Length": str(len(self.body)), **self.headers
        }  # fmt: skip
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"{self.method} {self.target} HTTP/1.1\r\n{head}\r\n".encode() + self.body


@attrs.frozen
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def code(self) -> str | None:
        return self.headers.get("x-amzn-errortype")

    @property
    def message(self) -> str:
        value = json.loads(self.body)
        return str(value.get("message", value.get("Message")))


class _Request:
    """As much of `http1.request.Request` as a gateway uses."""

    application_data = None
    peer_address = None

    def __init__(self, raw: Raw, done: asyncio.Future[Reply]) -> None:
        self.method = raw.method.encode()
        self.target = raw.target.encode()
        self.body = raw.body
        self.content_length = len(raw.body)
        named = {"host": "127.0.0.1", "authorization": AUTHORIZATION, **raw.headers}
        self.headers = [(name.lower().encode(), value.encode()) for name, value in named.items()]
        self.fields = dict(self.headers)
        self.answered = False
        self.on_disconnect = None
        self.eof_is_disconnect = False
        self._done = done

    def header(self, name: bytes) -> bytes | None:
        return self.fields.get(name)

    def respond(
        self, status: int, headers: Collection[tuple[bytes, bytes]] | bytes, body: bytes = b"", *, hold: bool = False
    ) -> None:
        self.answered = True
        if isinstance(headers, bytes):
            pairs = [tuple(line.split(b": ", 1)) for line in headers.split(b"\r\n") if line]
        else:
            pairs = [*headers]
        names = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in pairs}
        self._done.set_result(Reply(status, names, body))


async def ask(gateway: Gateway, raw: Raw) -> Reply:
    """What the gateway answers."""
    done: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    gateway.request(_Request(raw, done))  # type: ignore[arg-type]
    return await done


class Anything:
    """A Lambda service that has every operation of the model, and only remembers what reached it."""

    name = "lambda"

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.operations: Mapping[str, Operation] = {name: self._operation(name) for name in LAMBDA.operation_names}

    def _operation(self, name: str) -> Operation:
        async def call(context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
            self.asked.append((name, request))
            return {}

        return call


class NoRoad(Invoking):
    """A `ports.Invoke` behind which nothing runs."""

    async def invoke(self, invocation: Invocation) -> Outcome:
        return Outcome(payload=b"null", executed_version="$LATEST", request_id=invocation.request_id)


def request_of(operation_name: str, members: Mapping[str, Any]) -> Raw:
    """The request of an SDK that checks nothing; `members` are JSON values, blobs as bytes. Absent ones are left out."""
    operation = LAMBDA.operation_model(operation_name)
    path, _, literal = operation.http["requestUri"].partition("?")
    shape = operation.input_shape
    query: list[tuple[str, str]] = [tuple(literal.split("=", 1))] if literal else []
    headers: dict[str, str] = {}
    body: dict[str, Any] = {}
    for name, value in members.items():
        member = shape.members.get(name) if shape is not None else None
        where = member.serialization.get("location") if member is not None else None
        key = member.serialization.get("name", name) if member is not None else name
        if where == "uri":
            path = path.replace(f"{{{key}}}", quote(_text(value), safe=""))
        elif where == "querystring":
            query += [(key, _text(item)) for item in (value if isinstance(value, list) else [value])]
        elif where == "header":
            headers[key] = _text(value)
        else:
            body[key] = value
    payload = shape.serialization.get("payload") if shape is not None else None
    if payload is not None:
        given = body.get(payload, b"")
        content = given if isinstance(given, bytes) else json.dumps(given, default=_base64).encode()
    else:
        content = json.dumps(body, default=_base64).encode() if body else b""
    return Raw(
        method=operation.http["method"],
        target=path + (f"?{urlencode(query)}" if query else ""),
        body=content,
        headers={"Content-Type": "application/json", **headers},
    )


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, bool | int | float) else str(value)


def _base64(value: Any) -> str:
    assert isinstance(value, bytes), value
    return base64.b64encode(value).decode()

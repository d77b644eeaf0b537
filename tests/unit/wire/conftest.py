"""botocore as the peer: its serializers make the requests that we parse, its parsers read the answers that we write."""

from __future__ import annotations

import datetime
import functools
import random
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.awsrequest import HeadersDict, create_request_object, prepare_request_dict
from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel, Shape
from botocore.parsers import create_parser
from botocore.serialize import create_serializer

from lambent.wire.messages import WireRequest, WireResponse
from lambent.wire.models import Models


class Peer:
    """botocore's client side of one service."""

    def __init__(self, service_name: str) -> None:
        self.model = ServiceModel(Loader().load_service_model(service_name, "service-2"), service_name)

    def operation(self, name: str) -> OperationModel:
        return self.model.operation_model(name)

    def request(self, operation_name: str, params: dict[str, Any], protocol: str | None = None) -> WireRequest:
        serializer = create_serializer(protocol or self.model.resolved_protocol, include_validation=False)
        request = serializer.serialize_to_request(params, self.operation(operation_name))
        prepare_request_dict(request, endpoint_url="http://localhost:4566", context={})
        prepared = create_request_object(request).prepare()
        url = urlsplit(prepared.url)
        headers = {k.lower(): v.decode() if isinstance(v, bytes) else str(v) for k, v in prepared.headers.items()}
        body = prepared.body or b""
        return WireRequest(
            method=prepared.method,
            path=url.path or "/",
            query=url.query,
            headers=headers,
            body=body.encode() if isinstance(body, str) else bytes(body),
        )

    def parse(self, operation_name: str, response: WireResponse, protocol: str | None = None) -> dict[str, Any]:
        return self._parse(response, self.operation(operation_name).output_shape, protocol)

    def parse_error(self, response: WireResponse, protocol: str | None = None) -> dict[str, Any]:
        return self._parse(response, None, protocol)

    def _parse(self, response: WireResponse, shape: Shape | None, protocol: str | None) -> dict[str, Any]:
        parser = create_parser(protocol or self.model.resolved_protocol)
        raw = {
            "headers": HeadersDict(response.headers),
            "status_code": response.status,
            "body": response.body,
            "context": {},
        }
        parsed: dict[str, Any] = parser.parse(raw, shape)
        return parsed


@pytest.fixture(scope="session")
def models() -> Models:
    return Models()


@pytest.fixture(scope="session")
def peer_of() -> Callable[[str], Peer]:
    return functools.cache(Peer)


@pytest.fixture(scope="session")
def sampler() -> type[Sampler]:
    return Sampler


class Sampler:
    """Makes values for botocore's shapes; the same seed makes the same values."""

    def __init__(self, seed: str, protocol: str) -> None:
        self.random = random.Random(seed)
        self._is_xml = protocol in ("query", "ec2", "rest-xml")

    def members(self, shape: Shape | None) -> dict[str, Any]:
        """A top-level structure: some of the optional members, all of the required ones."""
        if shape is None:
            return {}
        chosen = {}
        for name, member in shape.members.items():
            location = member.serialization.get("location")
            must = name in shape.required_members or location == "uri" or member.serialization.get("hostLabel")
            if member.serialization.get("eventstream") or not (must or self.random.random() < 0.6):
                continue
            chosen[name] = self.located(member, location) if location else self.value(member, 0)
        return chosen

    def located(self, shape: Shape, location: str) -> Any:
        """Values that survive their place: headers lose case, blanks at the ends and fractions of seconds."""
        if location == "statusCode":
            return 200
        if location == "headers":
            return {f"k{i}-{self.word()}": self.word() for i in range(self.random.randint(1, 3))}
        if location == "querystring" and shape.type_name == "map":
            inner = shape.value
            return {f"p{i}": self.located(inner, location) for i in range(2)}
        if shape.type_name == "list":
            return [self.located(shape.member, location) for _ in range(self.random.randint(1, 3))]
        if shape.type_name == "timestamp":
            return self.moment().replace(microsecond=0)
        if shape.type_name == "string":
            if shape.serialization.get("jsonvalue"):
                return {"a": [1, None, self.text()]}
            if shape.serialization.get("hostLabel"):
                return "label"
            return self.word() if location == "header" else self.text() + "x/y:z"
        return self.value(shape, 9)

    def value(self, shape: Shape, depth: int) -> Any:
        return getattr(self, f"_{shape.type_name}")(shape, depth)

    def _structure(self, shape: Shape, depth: int) -> Any:
        if shape.is_document_type:
            return {"any": [1, 2.5, True, {"thing": self.text()}]}
        names = list(shape.members)
        if shape.is_tagged_union:
            names = [
                self.random.choice([n for n in names if depth < 4 or not self._is_deep(shape.members[n])] or names)
            ]
            return {name: self.value(shape.members[name], depth + 1) for name in names}
        kept = [n for n in names if self.random.random() < 0.7 and (depth < 4 or not self._is_deep(shape.members[n]))]
        if self._is_xml and not kept:
            kept = [n for n in names if not self._is_deep(shape.members[n])][:1] or names[:1]
        return {name: self.value(shape.members[name], depth + 1) for name in kept}

    @staticmethod
    def _is_deep(shape: Shape) -> bool:
        return shape.type_name in ("structure", "list", "map")

    def _list(self, shape: Shape, depth: int) -> list[Any]:
        return [self.value(shape.member, depth + 1) for _ in range(self.random.randint(1, 3 if depth < 3 else 1))]

    def _map(self, shape: Shape, depth: int) -> dict[str, Any]:
        return {f"{i}{self.value(shape.key, depth)}": self.value(shape.value, depth + 1) for i in range(2)}

    def word(self) -> str:
        return "".join(self.random.choices("abcdefghijklmnopqrstuvwxyz0123456789-_", k=8))

    def text(self) -> str:
        return self.random.choice(["plain", "a&b=c <d> \"e\" 'f'", "100 % + ?#", "żółć 漢字 🎈", "l1\nl2", "x", "0"])

    def _string(self, shape: Shape, depth: int) -> str:
        return self.random.choice(shape.enum) if shape.enum else self.text()

    _character = _string

    def _integer(self, shape: Shape, depth: int) -> int:
        return self.random.randint(-(2**31), 2**31 - 1)

    def _long(self, shape: Shape, depth: int) -> int:
        return self.random.randint(-(2**53), 2**53)

    def _float(self, shape: Shape, depth: int) -> float:
        return self.random.choice([0.5, -1.25, 3.0, 1e10])

    _double = _float

    def _boolean(self, shape: Shape, depth: int) -> bool:
        return self.random.random() < 0.5

    def _blob(self, shape: Shape, depth: int) -> bytes:
        return self.random.randbytes(self.random.randint(1, 40))

    def moment(self) -> datetime.datetime:
        seconds = self.random.randint(0, 4_000_000_000)
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC)

    def _timestamp(self, shape: Shape, depth: int) -> datetime.datetime:
        if shape.serialization.get("timestampFormat") == "rfc822":
            return self.moment()
        return self.moment().replace(microsecond=self.random.choice([0, 500_000, 123_000]))

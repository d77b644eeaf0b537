"""A service model as typed objects: services, operations and shapes, resolved only as far as they are used.

botocore has such classes as well, but importing them pulls in its HTTP stack (200 ms) and keeps every docstring.
The vocabulary is the model format's own: https://github.com/boto/botocore/blob/develop/botocore/model.py names it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Final

import attrs

Raw = Mapping[str, Any]

_EMPTY: Final[Raw] = {}
_LOCATIONS: Final = frozenset({"uri", "querystring", "header", "headers", "statusCode"})


@attrs.frozen(kw_only=True)
class Constraints:
    """What a shape demands of its values; bounds are inclusive, of lengths or of the values themselves."""

    minimum: int | float | None = None
    maximum: int | float | None = None
    pattern: str | None = None  # as Java reads it, standing for the whole value
    enum: tuple[str, ...] = ()


class Shape:
    """One type, with the traits of the member that refers to it laid over its own."""

    def __init__(self, name: str, raw: Raw, shapes: Raw) -> None:
        self._raw = raw
        self._shapes = shapes
        self.name = name
        self.type: str = raw["type"]
        self.location: str | None = raw.get("location")  # uri, querystring, header, headers, statusCode; None: body
        self.location_name: str | None = raw.get("locationName")
        self.query_name: str | None = raw.get("queryName")
        self.flattened: bool = raw.get("flattened", False)
        self.timestamp_format: str | None = raw.get("timestampFormat")
        self.is_json_header: bool = raw.get("jsonvalue", False) and self.location == "header"

    # structures

    @cached_property
    def members(self) -> dict[str, Shape]:
        return {name: self._refer(reference) for name, reference in self._raw.get("members", _EMPTY).items()}

    @cached_property
    def required(self) -> tuple[str, ...]:
        return tuple(self._raw.get("required", ()))

    @cached_property
    def payload(self) -> str | None:
        """The member that is the whole body, in the REST protocols."""
        return self._raw.get("payload")

    @cached_property
    def body_members(self) -> dict[str, Shape]:
        """The members that no trait puts into path, query, headers or status: the REST protocols' body."""
        return {name: member for name, member in self.members.items() if member.location not in _LOCATIONS}

    @cached_property
    def event_stream_member(self) -> str | None:
        for name, member in self.members.items():
            if member.is_event_stream:
                return name
        return None

    @property
    def is_document(self) -> bool:
        return bool(self._raw.get("document"))

    @property
    def result_wrapper(self) -> str | None:
        return self._raw.get("resultWrapper")

    # lists and maps

    @cached_property
    def member(self) -> Shape:
        return self._refer(self._raw["member"])

    @cached_property
    def key(self) -> Shape:
        return self._refer(self._raw["key"])

    @cached_property
    def value(self) -> Shape:
        return self._refer(self._raw["value"])

    # constraints

    @cached_property
    def constraints(self) -> Constraints:
        return Constraints(
            minimum=self._raw.get("min"),
            maximum=self._raw.get("max"),
            pattern=self._raw.get("pattern"),
            enum=tuple(self._raw.get("enum", ())),
        )

    @property
    def is_sensitive(self) -> bool:
        return bool(self._raw.get("sensitive"))

    # errors

    @property
    def error_code(self) -> str:
        code: str = self._raw.get("error", _EMPTY).get("code") or self.name
        return code

    # XML and event streams

    @property
    def xml_namespace(self) -> tuple[str | None, str] | None:
        """Prefix and address."""
        namespace = self._raw.get("xmlNamespace")
        if namespace is None:
            return None
        if isinstance(namespace, str):
            return None, namespace
        return namespace.get("prefix") or None, namespace["uri"]

    @property
    def is_xml_attribute(self) -> bool:
        return bool(self._raw.get("xmlAttribute"))

    @property
    def is_event_stream(self) -> bool:
        return bool(self._raw.get("eventstream"))

    @property
    def is_event_header(self) -> bool:
        return bool(self._raw.get("eventheader"))

    @property
    def is_event_payload(self) -> bool:
        return bool(self._raw.get("eventpayload"))

    def _refer(self, reference: Raw) -> Shape:
        name: str = reference["shape"]
        return Shape(name, {**self._shapes[name], **reference}, self._shapes)

    def __repr__(self) -> str:
        return f"<Shape {self.name}: {self.type}>"


class Operation:
    """One operation of a service."""

    def __init__(self, name: str, raw: Raw, service: Service) -> None:
        http = raw.get("http", _EMPTY)
        endpoint = raw.get("endpoint", _EMPTY)
        self._raw = raw
        self.name = name
        self.wire_name: str = raw.get("name", name)
        self.service = service
        self.method: str = http.get("method", "POST")
        self.uri: str = http.get("requestUri", "/")
        self.status: int = http.get("responseCode", 200)
        self.is_deprecated: bool = bool(raw.get("deprecated"))
        self.host_prefix: str | None = endpoint.get("hostPrefix")
        # Operations such as sts AssumeRoleWithWebIdentity come without a signature.
        self.is_unsigned: bool = raw.get("authtype") == "none" or "smithy.api#noAuth" in raw.get("auth", ())
        self.allows_unsigned_payload: bool = (
            bool(raw.get("unsignedPayload")) or raw.get("authtype") == "v4-unsigned-body"
        )

    @cached_property
    def input(self) -> Shape | None:
        return self._shape("input")

    @cached_property
    def output(self) -> Shape | None:
        return self._shape("output")

    def _shape(self, direction: str) -> Shape | None:
        reference = self._raw.get(direction)
        return self.service.shape(reference["shape"], reference) if reference is not None else None

    def __repr__(self) -> str:
        return f"<Operation {self.service.name}.{self.name}>"


class Service:
    """One service's model."""

    def __init__(self, name: str, raw: Raw) -> None:
        metadata: Raw = raw["metadata"]
        self._metadata = metadata
        self._operations: Raw = raw["operations"]
        self._shapes: Raw = raw["shapes"]
        self._operation_cache: dict[str, Operation] = {}
        self.name = name
        self.protocol: str = metadata["protocol"]
        self.api_version: str = metadata["apiVersion"]
        self.target_prefix: str | None = metadata.get("targetPrefix")
        self.json_version: str = metadata.get("jsonVersion", "1.0")
        self.xml_namespace: str | None = metadata.get("xmlNamespace")
        self.signing_name: str = metadata.get("signingName") or metadata["endpointPrefix"]
        self.is_query_compatible: bool = "awsQueryCompatible" in metadata

    def renamed(self, shape: Callable[[str, Raw], Raw], xml_namespace: str) -> Service:
        """The same service with other traits on its shapes: `shape(name, raw)` gives each one's."""
        shapes = {name: shape(name, raw) for name, raw in self._shapes.items()}
        metadata = {**self._metadata, "xmlNamespace": xml_namespace}
        return Service(self.name, {"metadata": metadata, "operations": self._operations, "shapes": shapes})

    @property
    def operation_names(self) -> list[str]:
        return list(self._operations)

    def has(self, operation_name: str) -> bool:
        return operation_name in self._operations

    def operation(self, name: str) -> Operation:
        """Raises KeyError."""
        if name not in self._operation_cache:
            self._operation_cache[name] = Operation(name, self._operations[name], self)
        return self._operation_cache[name]

    def shape(self, name: str, reference: Raw = _EMPTY) -> Shape:
        """Raises KeyError."""
        return Shape(name, {**self._shapes[name], **reference}, self._shapes)

    def error_shape(self, code: str) -> Shape | None:
        """The modelled error of this name or wire code."""
        return self._errors.get(code)

    @cached_property
    def _errors(self) -> dict[str, Shape]:
        shapes = [self.shape(name) for name, raw in self._shapes.items() if raw.get("exception")]
        by_code = {shape.error_code: shape for shape in shapes}
        return by_code | {shape.name: shape for shape in shapes}

    def __repr__(self) -> str:
        return f"<Service {self.name}>"

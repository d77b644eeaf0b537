"""REST-JSON: members in path, query and headers; the rest of them, or one payload member, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from lambent.model.errors import AwsError
from lambent.wire import eventstream, json_body, rest
from lambent.wire.errors import modelled_fields
from lambent.wire.messages import Headers, WireRequest, WireResponse
from lambent.wire.shapes import Operation, Service, Shape

_CONTENT_TYPE: Final = "application/json"


def parse_request(operation: Operation, request: WireRequest) -> dict[str, Any]:
    """Nulls in lists and maps are kept, for validation. Raises AwsError SerializationException."""
    return rest.parse_request(operation, request, _read_body)


def _read_body(shape: Shape, members: Mapping[str, Shape], body: bytes) -> Any:
    value = json_body.decode(body)
    if shape.type != "structure" or shape.is_document:
        return json_body.read(shape, value, keep_nulls=True)
    return json_body.read_members(shape, members, value, keep_nulls=True)


def serialize_response(operation: Operation, result: Mapping[str, Any], request_id: str) -> WireResponse:
    headers: Headers = [("x-amzn-RequestId", request_id)]
    output = operation.output
    is_raw, value = rest.raw_payload(output, result)
    if output is None:
        return rest.response(operation, result, headers, b"", None)
    if is_raw:
        stream = value if hasattr(value, "__aiter__") else None
        body = b"" if stream is not None or value is None else bytes(value)
        return attrs.evolve(rest.response(operation, result, headers, body, None), stream=stream)
    if output.payload is not None and output.members[output.payload].is_event_stream:
        stream = eventstream.encoded(output.members[output.payload], result[output.payload], json_body, _CONTENT_TYPE)
        return attrs.evolve(rest.response(operation, result, headers, b"", eventstream.CONTENT_TYPE), stream=stream)
    return rest.response(operation, result, headers, _body(output, result), _CONTENT_TYPE)


def _body(output: Shape, result: Mapping[str, Any]) -> bytes:
    if output.payload is None:
        return json_body.encode(json_body.write_members(output.body_members, result))
    value = result.get(output.payload)
    return b"{}" if value is None else json_body.encode(json_body.write(output.members[output.payload], value))


def serialize_error(error: AwsError, request: WireRequest, request_id: str, service: Service | None) -> WireResponse:
    shape = service.error_shape(error.code) if service is not None else None
    fields = modelled_fields(error, shape)
    members = {name: member for name, member in fields.members.items() if member.location is None}
    # Lambda's errors carry their culprit whether or not the shape has a member for it.
    body = {} if "Type" in members or "Type" not in error.fields else {"Type": error.fields["Type"]}
    body |= json_body.write_members(members, fields.values)
    if fields.message_name is None:
        body["message"] = error.message
    headers: Headers = [
        ("x-amzn-RequestId", request_id),
        ("Content-Type", _CONTENT_TYPE),
        ("x-amzn-ErrorType", error.code),
    ]
    for name, member in fields.members.items():
        if fields.values.get(name) is not None:
            headers.extend(rest.header_lines(member, name, fields.values[name]))
    return WireResponse(status=error.status, headers=headers, body=json_body.encode(body))

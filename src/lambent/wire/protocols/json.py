"""AWS JSON 1.0 and 1.1: everything is POSTed to `/`, and `X-Amz-Target` names the operation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lambent.model.errors import AwsError
from lambent.wire import eventstream, json_body
from lambent.wire.errors import modelled_fields, query_error_header
from lambent.wire.messages import WireRequest, WireResponse
from lambent.wire.shapes import Operation, Service


def parse_request(operation: Operation, request: WireRequest) -> dict[str, Any]:
    """Raises AwsError SerializationException."""
    value = json_body.decode(request.body)
    if operation.input is None:
        return {}
    return json_body.read_members(operation.input, operation.input.members, value)


def serialize_response(operation: Operation, result: Mapping[str, Any], request_id: str) -> WireResponse:
    content_type = _content_type(operation.service.json_version)
    headers = [("x-amzn-RequestId", request_id), ("Content-Type", content_type)]
    if operation.output is None:
        return WireResponse(status=200, headers=headers, body=b"{}")
    stream_name = operation.output.event_stream_member
    if stream_name is not None:
        members = {name: member for name, member in operation.output.members.items() if name != stream_name}
        initial = json_body.encode(json_body.write_members(members, result))
        headers[1] = ("Content-Type", eventstream.CONTENT_TYPE)
        stream = eventstream.encoded(
            operation.output.members[stream_name],
            result[stream_name],
            json_body,
            content_type,
            initial_response=initial,
        )
        return WireResponse(status=200, headers=headers, stream=stream)
    body = json_body.encode(json_body.write_members(operation.output.members, result))
    return WireResponse(status=200, headers=headers, body=body)


def serialize_error(error: AwsError, request: WireRequest, request_id: str, service: Service | None) -> WireResponse:
    version = (
        service.json_version if service is not None else request.headers.get("content-type", "").rpartition("-")[2]
    )
    shape = service.error_shape(error.code) if service is not None else None
    fields = modelled_fields(error, shape)
    body = {
        "__type": shape.name if shape is not None else error.code,
        **json_body.write_members(fields.members, fields.values),
    }
    if fields.message_name is None:
        body["message"] = error.message
    headers = [("x-amzn-RequestId", request_id), ("Content-Type", _content_type(version))]
    headers += query_error_header(error, shape, service)
    return WireResponse(status=error.status, headers=headers, body=json_body.encode(body))


def _content_type(version: str) -> str:
    return f"application/x-amz-json-{version if version in ('1.0', '1.1') else '1.0'}"

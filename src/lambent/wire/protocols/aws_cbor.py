"""AWS's older CBOR, which the SDKs for Java speak to Kinesis: JSON 1.1's requests with bodies in CBOR."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lambent.model.errors import AwsError
from lambent.wire import cbor_millis_body, eventstream
from lambent.wire.errors import modelled_fields, query_error_header
from lambent.wire.messages import WireRequest, WireResponse
from lambent.wire.shapes import Operation, Service

CONTENT_TYPE: Final = "application/x-amz-cbor-1.1"


def parse_request(operation: Operation, request: WireRequest) -> dict[str, Any]:
    """Raises AwsError SerializationException."""
    value = cbor_millis_body.decode(request.body)
    if operation.input is None:
        return {}
    return cbor_millis_body.read_members(operation.input, operation.input.members, value)


def serialize_response(operation: Operation, result: Mapping[str, Any], request_id: str) -> WireResponse:
    output = operation.output
    stream_name = output.event_stream_member if output is not None else None
    if output is not None and stream_name is not None:
        members = {name: member for name, member in output.members.items() if name != stream_name}
        stream = eventstream.encoded(
            output.members[stream_name],
            result[stream_name],
            cbor_millis_body,
            CONTENT_TYPE,
            cbor_millis_body.encode(cbor_millis_body.write_members(members, result)),
        )
        return WireResponse(status=200, headers=_headers(request_id, eventstream.CONTENT_TYPE), stream=stream)
    written = cbor_millis_body.write_members(output.members, result) if output is not None else {}
    return WireResponse(status=200, headers=_headers(request_id, CONTENT_TYPE), body=cbor_millis_body.encode(written))


def serialize_error(error: AwsError, request: WireRequest, request_id: str, service: Service | None) -> WireResponse:
    shape = service.error_shape(error.code) if service is not None else None
    fields = modelled_fields(error, shape)
    body = {"__type": shape.name if shape is not None else error.code}
    body |= cbor_millis_body.write_members(fields.members, fields.values)
    if fields.message_name is None:
        body["message"] = error.message
    headers = _headers(request_id, CONTENT_TYPE) + query_error_header(error, shape, service)
    return WireResponse(status=error.status, headers=headers, body=cbor_millis_body.encode(body))


def _headers(request_id: str, content_type: str) -> list[tuple[str, str]]:
    return [("x-amzn-RequestId", request_id), ("Content-Type", content_type)]

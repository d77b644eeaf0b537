"""EC2's dialect of the query protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lambent.model.errors import AwsError
from lambent.wire import form, xml_body
from lambent.wire.messages import Headers, WireRequest, WireResponse
from lambent.wire.shapes import Operation, Service, Shape


def _name_of(member: Shape, name: str) -> str:
    if member.query_name:
        return member.query_name
    if member.location_name:
        return member.location_name[0].upper() + member.location_name[1:]
    return name


_READER: Final = form.FormReader(_name_of, lists_are_flat=True)


def parse_request(operation: Operation, request: WireRequest) -> dict[str, Any]:
    """Raises AwsError SerializationException or MalformedQueryString."""
    if operation.input is None:
        return {}
    return _READER.structure(operation.input, form.tree(form.fields(request)))


def serialize_response(operation: Operation, result: Mapping[str, Any], request_id: str) -> WireResponse:
    writer = xml_body.Writer()
    root = f"{operation.name}Response"
    namespace = operation.service.xml_namespace
    writer.open(root, (None, namespace) if namespace else None)
    writer.text("requestId", request_id)
    if operation.output is not None:
        writer.members(operation.output.members, result)
    writer.close(root)
    return WireResponse(status=200, headers=_headers(request_id), body=writer.document())


def serialize_error(error: AwsError, request: WireRequest, request_id: str, service: Service | None) -> WireResponse:
    writer = xml_body.Writer()
    for name in ("Response", "Errors", "Error"):
        writer.open(name)
    writer.text("Code", error.code)
    writer.text("Message", error.message)
    writer.close("Error")
    writer.close("Errors")
    writer.text("RequestID", request_id)
    writer.close("Response")
    return WireResponse(status=error.status, headers=_headers(request_id), body=writer.document())


def _headers(request_id: str) -> Headers:
    return [("x-amzn-RequestId", request_id), ("Content-Type", "text/xml;charset=UTF-8")]

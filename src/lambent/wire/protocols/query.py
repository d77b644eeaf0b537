"""AWS query: a form with `Action` and `Version`, answered in XML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lambent.model.errors import AwsError
from lambent.wire import form, xml_body
from lambent.wire.errors import fault, modelled_fields, query_code
from lambent.wire.messages import Headers, WireRequest, WireResponse
from lambent.wire.shapes import Operation, Service, Shape
from lambent.wire.sqs_query import NAMESPACE, named, words

_CONTENT_TYPE: Final = "text/xml"


def _name_of(member: Shape, name: str) -> str:
    return member.location_name or name


_READER: Final = form.FormReader(_name_of)


def parse_request(operation: Operation, request: WireRequest) -> dict[str, Any]:
    """Raises AwsError SerializationException or MalformedQueryString."""
    operation = named(operation)
    if operation.input is None:
        return {}
    found = _READER.structure(operation.input, form.tree(form.fields(request)))
    if operation.service.name == "sqs" and "QueueUrl" in operation.input.members and request.path != "/":
        found.setdefault("QueueUrl", f"http://localhost{request.path}")  # a queue's own address was asked
    return found


def serialize_response(operation: Operation, result: Mapping[str, Any], request_id: str) -> WireResponse:
    operation = named(operation)
    writer = xml_body.Writer()
    root = f"{operation.name}Response"
    namespace = operation.service.xml_namespace
    writer.open(root, (None, namespace) if namespace else None)
    if operation.output is not None:
        wrapper = operation.output.result_wrapper or f"{operation.name}Result"
        writer.open(wrapper)
        writer.members(operation.output.members, result)
        writer.close(wrapper)
    writer.open("ResponseMetadata")
    writer.text("RequestId", request_id)
    writer.close("ResponseMetadata")
    writer.close(root)
    return WireResponse(status=200, headers=_headers(request_id), body=writer.document())


def serialize_error(error: AwsError, request: WireRequest, request_id: str, service: Service | None) -> WireResponse:
    shape = service.error_shape(error.code) if service is not None else None
    namespace = service.xml_namespace if service is not None else None
    message = error.message
    if service is not None and service.name == "sqs":
        namespace, message = NAMESPACE, words(error)
    writer = xml_body.Writer()
    writer.open("ErrorResponse", (None, namespace) if namespace else None)
    writer.open("Error")
    writer.text("Type", fault(error))
    writer.text("Code", query_code(error, shape, service))
    writer.text("Message", message)
    fields = modelled_fields(error, shape)
    # The generic elements are there already. A member `message` is written as well, for readers of the modelled shape.
    taken = {"Message", "Type", "Code"} if message == error.message else {"Message", "message", "Type", "Code"}
    writer.members({n: m for n, m in fields.members.items() if n not in taken}, fields.values)
    writer.close("Error")
    writer.text("RequestId", request_id)
    writer.close("ErrorResponse")
    return WireResponse(status=error.status, headers=_headers(request_id), body=writer.document())


def _headers(request_id: str) -> Headers:
    return [("x-amzn-RequestId", request_id), ("Content-Type", _CONTENT_TYPE)]

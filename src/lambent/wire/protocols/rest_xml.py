"""REST-XML: members in path, query and headers; the rest of them, or one payload member, as XML."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final

import attrs

from lambent.model.errors import AwsError
from lambent.wire import eventstream, rest, xml_body
from lambent.wire.errors import fault, modelled_fields
from lambent.wire.messages import Headers, WireRequest, WireResponse
from lambent.wire.shapes import Operation, Service, Shape

_CONTENT_TYPE: Final = "application/xml"

# The models do not have the names of these documents; strict clients look at them.
# https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations.html, each page's response syntax
_ROOTS: Final = {
    "ListBuckets": "ListAllMyBucketsResult",
    "ListDirectoryBuckets": "ListAllMyDirectoryBucketsResult",
    "ListObjects": "ListBucketResult",
    "ListObjectsV2": "ListBucketResult",
    "ListObjectVersions": "ListVersionsResult",
    "DeleteObjects": "DeleteResult",
    "CreateMultipartUpload": "InitiateMultipartUploadResult",
    "GetBucketAcl": "AccessControlPolicy",
    "GetObjectAcl": "AccessControlPolicy",
    "GetBucketVersioning": "VersioningConfiguration",
    "GetBucketTagging": "Tagging",
    "GetObjectTagging": "Tagging",
    "GetBucketCors": "CORSConfiguration",
    "GetBucketWebsite": "WebsiteConfiguration",
    "GetBucketLifecycleConfiguration": "LifecycleConfiguration",
    "GetBucketNotificationConfiguration": "NotificationConfiguration",
}
_S3_NAMESPACE: Final = (None, "http://s3.amazonaws.com/doc/2006-03-01/")


def parse_request(operation: Operation, request: WireRequest) -> dict[str, Any]:
    """Raises AwsError MalformedXML or SerializationException."""
    return rest.parse_request(operation, request, _read_body)


def _read_body(shape: Shape, members: Mapping[str, Shape], body: bytes) -> Any:
    if not body:
        return {}
    root = xml_body.parse(body)
    return xml_body.read_members(members, root) if shape.type == "structure" else xml_body.read(shape, root)


def serialize_response(operation: Operation, result: Mapping[str, Any], request_id: str) -> WireResponse:
    headers = _headers(request_id, operation.service)
    output = operation.output
    is_raw, value = rest.raw_payload(output, result)
    if output is None:
        return rest.response(operation, result, headers, b"", None)
    if is_raw:
        stream = value if hasattr(value, "__aiter__") else None
        body = b"" if stream is not None or value is None else bytes(value)
        return attrs.evolve(rest.response(operation, result, headers, body, None), stream=stream)
    if output.payload is not None and output.members[output.payload].is_event_stream:
        stream = eventstream.encoded(output.members[output.payload], result[output.payload], xml_body, "text/xml")
        return attrs.evolve(rest.response(operation, result, headers, b"", eventstream.CONTENT_TYPE), stream=stream)
    body = _body(operation, output, result)
    return rest.response(operation, result, headers, body, _CONTENT_TYPE if body else None)


def _body(operation: Operation, output: Shape, result: Mapping[str, Any]) -> bytes:
    namespace = _S3_NAMESPACE if operation.service.name == "s3" else None
    writer = xml_body.Writer(flatten_by_inner_name=True)
    if operation.name == "GetBucketLocation" and namespace is not None:
        # The one answer whose root element is the member itself.
        writer.open("LocationConstraint", namespace)
        writer.pieces.append(str(result.get("LocationConstraint") or ""))
        writer.close("LocationConstraint")
        return writer.document()
    if output.payload is not None:
        shape, value = output.members[output.payload], result.get(output.payload)
        if value is None:
            return b""
        writer.member(shape.location_name or shape.name, shape, value)
        return writer.document()
    if not output.body_members:
        return b""
    root = _ROOTS.get(operation.name) or output.location_name or f"{operation.name}Result"
    writer.open(root, output.xml_namespace or namespace)
    writer.members(output.body_members, result)
    writer.close(root)
    return writer.document()


def serialize_error(error: AwsError, request: WireRequest, request_id: str, service: Service | None) -> WireResponse:
    shape = service.error_shape(error.code) if service is not None else None
    code = shape.error_code if shape is not None else error.code
    is_s3 = service is not None and service.name == "s3"
    writer = xml_body.Writer()
    if not is_s3:
        writer.open("ErrorResponse")
    writer.open("Error")
    if not is_s3:
        writer.text("Type", fault(error))
    writer.text("Code", code)
    writer.text("Message", error.message)
    _write_fields(writer, error, shape)
    if is_s3:
        writer.text("RequestId", request_id)
        writer.text("HostId", _host_id(request_id))
    writer.close("Error")
    if not is_s3:
        writer.text("RequestId", request_id)
        writer.close("ErrorResponse")
    headers = [*_headers(request_id, service), ("Content-Type", _CONTENT_TYPE)]
    return WireResponse(
        status=error.status, headers=headers, body=b"" if request.method == "HEAD" else writer.document()
    )


def _write_fields(writer: xml_body.Writer, error: AwsError, shape: Shape | None) -> None:
    fields = modelled_fields(error, shape)
    for name, value in error.fields.items():
        member = fields.members.get(name)
        if name in ("Type", "Code") or value is None:
            continue
        if member is not None:
            writer.member(member.location_name or name, member, value)
        else:
            writer.text(name, str(value))


def _headers(request_id: str, service: Service | None) -> Headers:
    if service is not None and service.name == "s3":
        return [("x-amz-request-id", request_id), ("x-amz-id-2", _host_id(request_id))]
    return [("x-amzn-RequestId", request_id)]


def _host_id(request_id: str) -> str:
    return base64.b64encode(request_id.encode()).decode()

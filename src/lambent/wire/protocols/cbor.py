"""The two protocols with bodies in CBOR.

RPC_V2   Smithy RPC v2: `POST /service/{Service}/operation/{Operation}`, header `smithy-protocol: rpc-v2-cbor`
AWS      the older one, which the SDKs for Java speak to Kinesis: JSON 1.1's requests; times are milliseconds
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lambent.model.errors import AwsError
from lambent.wire import cbor_body, eventstream
from lambent.wire.cbor_body import CborBody
from lambent.wire.errors import modelled_fields, query_error_header
from lambent.wire.messages import WireRequest, WireResponse
from lambent.wire.shapes import Operation, Service

AWS_CONTENT_TYPE: Final = "application/x-amz-cbor-1.1"


class CborProtocol:
    """A `WireProtocol`. `own_headers` go with every answer."""

    def __init__(self, body: CborBody, content_type: str, own_headers: tuple[tuple[str, str], ...] = ()) -> None:
        self._body = body
        self._content_type = content_type
        self._own_headers = own_headers

    def parse_request(self, operation: Operation, request: WireRequest) -> dict[str, Any]:
        """Raises AwsError SerializationException."""
        value = self._body.decode(request.body)
        if operation.input is None:
            return {}
        return self._body.read_members(operation.input, operation.input.members, value)

    def serialize_response(self, operation: Operation, result: Mapping[str, Any], request_id: str) -> WireResponse:
        output = operation.output
        stream_name = output.event_stream_member if output is not None else None
        if output is None or stream_name is None:
            body = self._body.encode(self._body.write_members(output.members, result) if output is not None else {})
            return WireResponse(status=200, headers=self._headers(request_id, self._content_type), body=body)
        members = {name: member for name, member in output.members.items() if name != stream_name}
        stream = eventstream.encoded(
            output.members[stream_name],
            result[stream_name],
            self._body,
            self._content_type,
            initial_response=self._body.encode(self._body.write_members(members, result)),
        )
        return WireResponse(status=200, headers=self._headers(request_id, eventstream.CONTENT_TYPE), stream=stream)

    def serialize_error(
        self, error: AwsError, request: WireRequest, request_id: str, service: Service | None
    ) -> WireResponse:
        shape = service.error_shape(error.code) if service is not None else None
        fields = modelled_fields(error, shape)
        body = {"__type": shape.name if shape is not None else error.code}
        body |= self._body.write_members(fields.members, fields.values)
        if fields.message_name is None:
            body["message"] = error.message
        headers = self._headers(request_id, self._content_type) + query_error_header(error, shape, service)
        return WireResponse(status=error.status, headers=headers, body=self._body.encode(body))

    def _headers(self, request_id: str, content_type: str) -> list[tuple[str, str]]:
        return [("x-amzn-RequestId", request_id), ("Content-Type", content_type), *self._own_headers]


RPC_V2: Final = CborProtocol(cbor_body.SECONDS, "application/cbor", (("smithy-protocol", "rpc-v2-cbor"),))
AWS: Final = CborProtocol(cbor_body.MILLISECONDS, AWS_CONTENT_TYPE)

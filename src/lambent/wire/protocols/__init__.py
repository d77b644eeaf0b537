"""The AWS protocols, one file each, all with the same three functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

from lambent.model.errors import AwsError
from lambent.wire.messages import WireRequest, WireResponse
from lambent.wire.protocols import cbor, ec2, json, query, rest_json, rest_xml
from lambent.wire.shapes import Operation, Service


class WireProtocol(Protocol):
    """What each module here is, or offers."""

    def parse_request(self, operation: Operation, request: WireRequest) -> dict[str, Any]:
        """The operation's members. Raises AwsError SerializationException or the protocol's own for malformed input."""

    def serialize_response(self, operation: Operation, result: Mapping[str, Any], request_id: str) -> WireResponse:
        """A modelled answer. Members that the model does not have are left out."""

    def serialize_error(
        self, error: AwsError, request: WireRequest, request_id: str, service: Service | None
    ) -> WireResponse:
        """An error as clients of this protocol read it; modelled when `service` knows it."""


PROTOCOLS: Final[Mapping[str, WireProtocol]] = {
    "rest-json": rest_json,
    "json": json,
    "query": query,
    "ec2": ec2,
    "rest-xml": rest_xml,
    "smithy-rpc-v2-cbor": cbor.RPC_V2,
    "aws-cbor": cbor.AWS,
}

"""S3 requests that could be read in two ways are refused where policies decide: what was allowed must be what is done.

Other services' requests go on as the members that were decided about; S3's go on as they came, because they are large.
"""

from __future__ import annotations

import functools
from typing import Final
from urllib.parse import parse_qsl

from lambent.model.errors import AwsError
from lambent.wire.messages import WireRequest
from lambent.wire.shapes import Operation, Service

_COPY_SOURCE: Final = "x-amz-copy-source"
_COPIES: Final = frozenset({"CopyObject", "UploadPartCopy"})


def check(operation: Operation, request: WireRequest) -> None:
    """Raises AwsError InvalidArgument for a query that also fits another operation, InvalidRequest for such headers."""
    own = _query_keys(operation)
    given = [key for key, _ in parse_qsl(request.query, keep_blank_values=True)]
    foreign = sorted({key for key in given if key not in own and key in _keys_of_all(operation.service)})
    doubled = sorted({key for key in given if given.count(key) > 1})
    if foreign or doubled:
        named = sorted({*foreign, *doubled, *(key for key in given if key in own)})
        raise AwsError("InvalidArgument", f"Conflicting query string parameters: {', '.join(named)}", 400)
    if _COPY_SOURCE in request.headers and operation.name not in _COPIES:
        raise AwsError("InvalidRequest", f"The header {_COPY_SOURCE} does not belong to {operation.name}.", 400)


def _query_keys(operation: Operation) -> frozenset[str]:
    literal = {part.partition("=")[0] for part in operation.uri.partition("?")[2].split("&") if part}
    members = operation.input.members.values() if operation.input is not None else ()
    return frozenset(literal | {m.location_name or m.name for m in members if m.location == "querystring"})


@functools.cache
def _keys_of_all(service: Service) -> frozenset[str]:
    return frozenset().union(*(_query_keys(service.operation(name)) for name in service.operation_names))

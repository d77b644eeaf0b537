"""The REST protocols' request addresses: `/2015-03-31/functions/{FunctionName}/aliases/{Name}`, `/{Bucket}/{Key+}?acl`."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl, unquote

import attrs

from lambent.wire.messages import WireRequest
from lambent.wire.shapes import Operation, Service

_LABEL: Final = re.compile(r"\{([^}+]+)(\+)?\}")
# Newer SDKs add this to S3 requests as a hint; older ones do not, so it decides nothing.
_HINT: Final = "x-id"


@attrs.frozen(kw_only=True)
class UriTemplate:
    """A `requestUri` of a model, ready to be matched."""

    pattern: re.Pattern[str]
    labels: tuple[str, ...]
    query: tuple[tuple[str, str], ...]  # literal parameters that must be there
    literal_length: int  # of the path: the more of it is literal, the more it says

    def labels_in(self, path: str) -> dict[str, str] | None:
        """The labels' values, decoded; None when the path is another."""
        found = self.pattern.fullmatch(path)
        if found is None:
            return None
        return {label: unquote(text) for label, text in zip(self.labels, found.groups(), strict=True)}


@functools.lru_cache(maxsize=8192)
def template(request_uri: str) -> UriTemplate:
    path, _, query = request_uri.partition("?")
    pattern, position = "", 0
    labels = []
    for label in _LABEL.finditer(path):
        labels.append(label[1])
        pattern += re.escape(path[position : label.start()]) + ("(.+)" if label[2] else "([^/]+)")
        position = label.end()
    pattern += re.escape(path[position:])
    if path != "/" and not path.endswith("+}"):
        pattern = pattern.rstrip("/") + "/?"  # some clients send a final slash, and some models have one
    return UriTemplate(
        pattern=re.compile(pattern, re.DOTALL),
        labels=tuple(labels),
        query=tuple(pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] != _HINT),
        literal_length=len(_LABEL.sub("", path)),
    )


class Router:
    """Finds the operation of a request to one service of a REST protocol."""

    def __init__(self, service: Service) -> None:
        self._by_method: dict[str, list[tuple[UriTemplate, Operation]]] = {}
        for name in service.operation_names:
            operation = service.operation(name)
            self._by_method.setdefault(operation.method, []).append((template(operation.uri), operation))

    def find(self, request: WireRequest) -> Operation | None:
        """The best match: most literal query parameters, then most required members present, then most literal path.

        One that lacks a required member is only found where nothing else of its address matches, so that it can be told what is missing.
        """
        query = dict(parse_qsl(request.query, keep_blank_values=True))
        best: tuple[tuple[int, bool, int, int, bool], Operation] | None = None
        for uri, operation in self._by_method.get(request.method, ()):
            if uri.labels_in(request.path) is None or any(query.get(key) != value for key, value in uri.query):
                continue
            present, is_whole = _required_outside_body(operation, query, request.headers)
            rank = (len(uri.query), is_whole, present, uri.literal_length, not operation.is_deprecated)
            if best is None or rank > best[0]:
                best = (rank, operation)
        return best[1] if best is not None else None


def _required_outside_body(
    operation: Operation, query: Mapping[str, str], headers: Mapping[str, str]
) -> tuple[int, bool]:
    """How many members that must be in the query or the headers are there, and whether that is all of them.

    S3's PUT of an object is CopyObject, UploadPart or PutObject by nothing else.
    """
    present = wanted = 0
    for name in operation.input.required if operation.input is not None else ():
        assert operation.input is not None
        member = operation.input.members[name]
        key = member.location_name or name
        if member.location == "querystring":
            present += key in query
        elif member.location == "header":
            present += key.lower() in headers
        else:
            continue
        wanted += 1
    return present, present == wanted

"""What the two REST protocols share: members in the path, the query, the headers and the status."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from lambent.model.errors import AwsError
from lambent.wire import scalars
from lambent.wire.messages import Headers, WireRequest, WireResponse
from lambent.wire.shapes import Operation, Shape
from lambent.wire.uri import template

ReadBody = Callable[[Shape, Mapping[str, Shape], bytes], Any]


def parse_request(operation: Operation, request: WireRequest, read_body: ReadBody) -> dict[str, Any]:
    """`read_body(shape, members, body)` reads a structure's body in the protocol's own format.

    Raises AwsError SerializationException.
    """
    shape = operation.input
    if shape is None:
        return {}
    params = _outside_body(operation, shape, request)
    if shape.payload is not None:
        member = shape.members[shape.payload]
        if member.type == "blob":
            if request.body:
                params[shape.payload] = request.body
        elif member.type == "string":
            if request.body:
                params[shape.payload] = request.body.decode("utf-8", "replace")
        elif request.body and not member.is_event_stream:
            params[shape.payload] = read_body(
                member, member.members if member.type == "structure" else {}, request.body
            )
    elif shape.body_members:
        params.update(read_body(shape, shape.body_members, request.body))
    return params


def _outside_body(operation: Operation, shape: Shape, request: WireRequest) -> dict[str, Any]:
    uri = template(operation.uri)
    labels = uri.labels_in(request.path) or {}
    query = _query_values(request.query)
    params: dict[str, Any] = {}
    for name, member in shape.members.items():
        key = member.location_name or name
        match member.location:
            case "uri":
                if key in labels:
                    params[name] = scalars.read(member, labels[key])
            case "querystring":
                value = _from_query(member, key, query, shape, uri.query)
                if value is not None:
                    params[name] = value
            case "header":
                text = request.headers.get(key.lower())
                if text is not None:
                    params[name] = header_value(member, text)
            case "headers":
                found = _prefixed(key.lower(), request.headers)
                if found:
                    params[name] = found
    return params


def _query_values(query: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        found.setdefault(key, []).append(value)
    return found


def _from_query(
    member: Shape, key: str, query: Mapping[str, list[str]], shape: Shape, literals: tuple[tuple[str, str], ...]
) -> Any:
    if member.type == "map":
        return _rest_of_query(member, query, shape, literals) or None
    if key not in query:
        return None
    if member.type == "list":
        return [scalars.read(member.member, text) for text in query[key]]
    return scalars.read(member, query[key][0])


def _rest_of_query(
    member: Shape, query: Mapping[str, list[str]], shape: Shape, literals: tuple[tuple[str, str], ...]
) -> dict[str, Any]:
    """A map takes every parameter that no other member names."""
    named = {m.location_name or name for name, m in shape.members.items() if m.location == "querystring"}
    named -= {member.location_name}
    named |= {key for key, _ in literals}
    if member.value.type == "list":
        return {key: list(texts) for key, texts in query.items() if key not in named}
    return {key: texts[0] for key, texts in query.items() if key not in named}


def _prefixed(prefix: str, headers: Mapping[str, str]) -> dict[str, str]:
    return {name[len(prefix) :]: value for name, value in headers.items() if name.startswith(prefix) and name != prefix}


def header_value(shape: Shape, text: str) -> Any:
    """Raises AwsError SerializationException."""
    if shape.is_json_header:
        try:
            return msgspec.json.decode(base64.b64decode(text, validate=True))
        except (ValueError, msgspec.DecodeError) as error:
            raise AwsError("SerializationException", f"Unable to parse a JSON header: {error}") from error
    if shape.type == "list":
        if shape.member.type == "timestamp" and (shape.member.timestamp_format or "rfc822").lower() == "rfc822":
            return [scalars.read(shape.member, item) for item in _pairs_of(text)]
        return [scalars.read(shape.member, item) for item in split_list(text)]
    return scalars.read(shape, text.strip())


def _pairs_of(text: str) -> list[str]:
    """RFC 822 dates have a comma of their own: `Mon, 16 Dec 2019 23:48:18 GMT, Tue, …`."""
    parts = [part.strip() for part in text.split(",")]
    return [f"{parts[i]}, {parts[i + 1]}" for i in range(0, len(parts) - 1, 2)]


def split_list(text: str) -> list[str]:
    """A header's list; items with commas or quotes are in double quotes, with backslashes before inner ones."""
    items: list[str] = []
    position = 0
    while position <= len(text):
        item, position = _list_item(text, position)
        items.append(item)
    return items


def _list_item(text: str, start: int) -> tuple[str, int]:
    while start < len(text) and text[start] in " \t":
        start += 1
    if start < len(text) and text[start] == '"':
        item, position = "", start + 1
        while position < len(text) and text[position] != '"':
            position += text[position] == "\\" and position + 1 < len(text)
            item += text[position]
            position += 1
        comma = text.find(",", position)
        return item, (comma if comma >= 0 else len(text)) + 1
    comma = text.find(",", start)
    end = comma if comma >= 0 else len(text)
    return text[start:end].strip(), end + 1


def response(
    operation: Operation, result: Mapping[str, Any], headers: Headers, body: bytes, content_type: str | None
) -> WireResponse:
    """Puts the members that belong there into headers and status."""
    status = operation.status
    if operation.output is not None:
        for name, member in operation.output.members.items():
            value = result.get(name)
            if value is None:
                continue
            if member.location == "statusCode":
                status = int(value)
            else:
                headers.extend(header_lines(member, name, value))
    if content_type is not None and not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("Content-Type", content_type))
    return WireResponse(status=status, headers=headers, body=b"" if status == 204 else body)


def header_lines(member: Shape, name: str, value: Any) -> Headers:
    """The header lines of one member; none for members that belong elsewhere."""
    key = member.location_name or name
    if member.location == "headers":
        return [((member.location_name or "") + suffix, str(text)) for suffix, text in value.items()]
    if member.location != "header":
        return []
    if member.is_json_header:
        return [(key, base64.b64encode(msgspec.json.encode(value)).decode())]
    if member.type == "list":
        texts = (scalars.write(member.member, item, "rfc822") for item in value)
        return (
            [(key, ",".join(_quoted(text) if member.member.type == "string" else text for text in texts))]
            if value
            else []
        )
    return [(key, scalars.write(member, value, "rfc822"))]


def _quoted(text: str) -> str:
    if '"' not in text and "," not in text:
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def raw_payload(shape: Shape | None, result: Mapping[str, Any]) -> tuple[bool, Any]:
    """Whether the answer's body is one member's raw bytes or text, and that member's value."""
    if shape is None or shape.payload is None or shape.members[shape.payload].type not in ("blob", "string"):
        return False, None
    value = result.get(shape.payload)
    return True, value.encode() if isinstance(value, str) else value

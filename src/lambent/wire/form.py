"""The query protocols' requests: a form whose dotted keys spell a tree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qsl

import attrs

from lambent.model.errors import AwsError
from lambent.wire import scalars
from lambent.wire.messages import WireRequest
from lambent.wire.shapes import Shape

FIELDS_MAX: Final = 100_000
DEPTH_MAX: Final = 100


@attrs.define
class Node:
    """What the form has below one key."""

    text: str | None = None
    children: dict[str, Node] = attrs.field(factory=dict)

    def numbered(self) -> list[Node]:
        """Children 1, 2, 3 …, in order, however they were sent."""
        return [self.children[key] for key in sorted((k for k in self.children if k.isdecimal()), key=int)]


def fields(request: WireRequest) -> list[tuple[str, str]]:
    """The form's fields, from the body of a POST and from the query. Raises AwsError MalformedQueryString."""
    try:
        pairs = parse_qsl(request.query, keep_blank_values=True)
        if request.method == "POST":
            pairs += parse_qsl(request.body.decode(), keep_blank_values=True, max_num_fields=FIELDS_MAX)
    except ValueError as error:
        raise AwsError("MalformedQueryString", f"The request's form cannot be read: {error}") from error
    return pairs


def tree(pairs: list[tuple[str, str]]) -> Node:
    root = Node()
    for key, text in pairs:
        node = root
        for part in key.split(".", DEPTH_MAX):
            node = node.children.setdefault(part, Node())
        node.text = text
    return root


NameOf = Callable[[Shape, str], str]


@attrs.frozen
class FormReader:
    """Reads shapes from the tree. EC2 differs in names and in having only flat lists."""

    name_of: NameOf
    lists_are_flat: bool = False

    def structure(self, shape: Shape, node: Node) -> dict[str, Any]:
        """Raises AwsError SerializationException."""
        found: dict[str, Any] = {}
        for name, member in shape.members.items():
            key = self.name_of(member, name)
            child = node.children.get(key)
            if child is None and member.type == "list" and member.flattened and member.member.location_name:
                child = node.children.get(member.member.location_name)
            if child is not None:
                found[name] = self._value(member, child)
        return found

    def _value(self, shape: Shape, node: Node) -> Any:
        match shape.type:
            case "structure":
                return self.structure(shape, node)
            case "list":
                return self._list(shape, node)
            case "map":
                return self._map(shape, node)
            case _:
                return scalars.read(shape, node.text or "")

    def _list(self, shape: Shape, node: Node) -> list[Any]:
        inner = node.children.get(shape.member.location_name or "member")
        is_flat = self.lists_are_flat or shape.flattened or inner is None
        items = node.numbered() if is_flat or inner is None else inner.numbered()
        return [self._value(shape.member, item) for item in items]

    def _map(self, shape: Shape, node: Node) -> dict[str, Any]:
        entries = node if shape.flattened else node.children.get("entry", node)
        key_name, value_name = shape.key.location_name or "key", shape.value.location_name or "value"
        found: dict[str, Any] = {}
        for entry in entries.numbered():
            key = entry.children.get(key_name)
            if key is not None:
                found[key.text or ""] = self._value(shape.value, entry.children.get(value_name, Node()))
        return found

"""XML bodies by their shapes, for REST-XML, query and EC2."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

from lambent.model.errors import AwsError
from lambent.wire import scalars
from lambent.wire.shapes import Shape

Element = ElementTree.Element
Namespace = tuple[str | None, str] | None

# XML 1.0 has no place for these at all; AWS writes them as references nevertheless.
_CONTROL: Final = re.compile("[\x00-\x08\x0b\x0c\x0d\x0e-\x1f\ufffe\uffff]")


def parse(body: bytes) -> Element:
    """The root of a request's document. Raises AwsError MalformedXML. Document types are refused: they only do harm."""
    message = "The XML you provided was not well-formed or did not validate against our published schema"
    if b"<!DOCTYPE" in body:
        raise AwsError("MalformedXML", message)
    try:
        return ElementTree.fromstring(body)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise AwsError("MalformedXML", message) from error


def _tag(element: Element) -> str:
    return element.tag.rpartition("}")[2]


def read(shape: Shape, element: Element) -> Any:
    """Unknown elements are left out. Raises AwsError SerializationException."""
    match shape.type:
        case "structure":
            return read_members(shape.members, element)
        case "list":
            return _read_list(shape, list(element))
        case "map":
            return _read_map(shape, list(element))
        case _:
            return scalars.read(shape, element.text or "")


def read_members(members: Mapping[str, Shape], element: Element) -> dict[str, Any]:
    children: dict[str, list[Element]] = {}
    for child in element:
        children.setdefault(_tag(child), []).append(child)
    found: dict[str, Any] = {}
    for name, member in members.items():
        key = member.location_name or name
        if member.is_xml_attribute:
            text = _attribute(element, key)
            if text is not None:
                found[name] = scalars.read(member, text)
        elif member.flattened and member.type in ("list", "map"):
            nodes = children.get(key) or children.get(_flat_name(member, name))
            if nodes:
                found[name] = (_read_list if member.type == "list" else _read_map)(member, nodes)
        elif nodes := children.get(key):
            found[name] = read(member, nodes[0])
    return found


def _flat_name(member: Shape, name: str) -> str:
    inner = member.member.location_name if member.type == "list" else None
    return inner or member.location_name or name


def _read_list(shape: Shape, elements: list[Element]) -> list[Any]:
    return [read(shape.member, element) for element in elements]


def _read_map(shape: Shape, entries: list[Element]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    names = {"key": shape.key.location_name or "key", "value": shape.value.location_name or "value"}
    for entry in entries:
        parts = {_tag(child): child for child in entry}
        key = parts.get(names["key"])
        value = parts.get(names["value"])
        if key is not None and value is not None:
            found[key.text or ""] = read(shape.value, value)
    return found


def _attribute(element: Element, key: str) -> str | None:
    """`xsi:type` is written with its prefix, and parsed as `{http://…}type`."""
    local = key.rpartition(":")[2]
    return next((text for name, text in element.attrib.items() if name.rpartition("}")[2] == local), None)


class Writer:
    """Writes a document piece by piece."""

    def __init__(self, *, flatten_by_inner_name: bool = True) -> None:
        self.pieces: list[str] = []
        self._by_inner_name = flatten_by_inner_name

    def document(self) -> bytes:
        return ('<?xml version="1.0" encoding="UTF-8"?>\n' + "".join(self.pieces)).encode()

    def open(self, name: str, namespace: Namespace = None, attributes: str = "") -> None:
        if namespace is not None:
            prefix, address = namespace
            attributes = f" xmlns{':' + prefix if prefix else ''}={quoteattr(address)}" + attributes
        self.pieces.append(f"<{name}{attributes}>")

    def close(self, name: str) -> None:
        self.pieces.append(f"</{name}>")

    def text(self, name: str, text: str) -> None:
        self.pieces.append(f"<{name}>{_escaped(text)}</{name}>")

    def member(self, name: str, shape: Shape, value: Any) -> None:
        """One element, or as many as a flattened list or map needs."""
        match shape.type:
            case "structure":
                self.open(name, shape.xml_namespace, _attributes(shape, value))
                self.members(shape.members, value)
                self.close(name)
            case "list":
                self._list(name, shape, value)
            case "map":
                self._map(name, shape, value)
            case _:
                self.open(name, shape.xml_namespace)
                self.pieces.append(_escaped(scalars.write(shape, value, "iso8601")))
                self.close(name)

    def members(self, members: Mapping[str, Shape], values: Mapping[str, Any]) -> None:
        for name, member in members.items():
            value = values.get(name)
            if value is None or member.is_xml_attribute:
                continue
            self.member(member.location_name or name, member, value)

    def _list(self, name: str, shape: Shape, items: Any) -> None:
        if shape.flattened:
            for item in items:
                self.member((self._by_inner_name and shape.member.location_name) or name, shape.member, item)
            return
        self.open(name, shape.xml_namespace)
        for item in items:
            self.member(shape.member.location_name or "member", shape.member, item)
        self.close(name)

    def _map(self, name: str, shape: Shape, items: Mapping[Any, Any]) -> None:
        entry = name if shape.flattened else "entry"
        if not shape.flattened:
            self.open(name, shape.xml_namespace)
        for key, value in items.items():
            self.open(entry)
            self.member(shape.key.location_name or "key", shape.key, key)
            self.member(shape.value.location_name or "value", shape.value, value)
            self.close(entry)
        if not shape.flattened:
            self.close(name)


def _attributes(shape: Shape, value: Mapping[str, Any]) -> str:
    texts = ""
    for name, member in shape.members.items():
        if member.is_xml_attribute and value.get(name) is not None:
            texts += f" {member.location_name or name}={quoteattr(str(value[name]))}"
    return texts


def _escaped(text: str) -> str:
    return _CONTROL.sub(lambda found: f"&#x{ord(found[0]):X};", escape(text))


# The codec that event streams want.


def write(shape: Shape, value: Any) -> Writer:
    writer = Writer()
    writer.member(shape.location_name or shape.name, shape, value)
    return writer


def encode(value: Writer) -> bytes:
    return value.document()

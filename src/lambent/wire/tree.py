"""Bodies that are trees of maps, lists and scalars: JSON and CBOR share the walk and differ in their leaves."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from typing import Any, Final

from lambent.model.errors import AwsError
from lambent.wire import values
from lambent.wire.shapes import Shape

Leaf = Callable[[Shape, Any], Any]

KEEPS_NULLS: Final = "null"  # no type of a model has this name

_TYPE_NAMES: Final = {
    "string": "a String", "character": "a String", "integer": "an Integer", "long": "a Long", "float": "a Float",
    "double": "a Double", "boolean": "a Boolean", "blob": "a Blob", "timestamp": "milliseconds since epoch",
}  # fmt: skip


def serialization_error(message: str) -> AwsError:
    return AwsError("SerializationException", message, 400)


def mismatch(shape: Shape, value: Any) -> AwsError:
    """What AWS's JSON services say to a value of the wrong type."""
    match value:
        case dict():
            return serialization_error("Start of structure or map found where not expected.")
        case list():
            return serialization_error("Start of list found where not expected")
        case bool():
            token = "TRUE_VALUE" if value else "FALSE_VALUE"
        case int() | float():
            token = "NUMBER_VALUE"
        case _:
            token = "STRING_VALUE"
    if shape.type in ("structure", "map", "list"):
        return serialization_error("Unexpected field type")
    return serialization_error(f"{token} can not be converted to {_TYPE_NAMES[shape.type]}")


def read(shape: Shape, value: Any, leaves: Mapping[str, Leaf]) -> Any:
    """The members of the model found in `value`. Unknown members and nulls are left out, but for nulls in lists and maps
    where `leaves` has KEEPS_NULLS: those are for validation to find.

    Raises AwsError SerializationException when a value is of the wrong type.
    """
    match shape.type:
        case "structure":
            return value if shape.is_document else read_members(shape, shape.members, value, leaves)
        case "list":
            if not isinstance(value, list):
                raise mismatch(shape, value)
            member = shape.member
            if KEEPS_NULLS in leaves:
                return [None if item is None else read(member, item, leaves) for item in value]
            return [read(member, item, leaves) for item in value if item is not None]
        case "map":
            if not isinstance(value, dict):
                raise mismatch(shape, value)
            of = shape.value
            if KEEPS_NULLS in leaves:
                return {str(key): None if item is None else read(of, item, leaves) for key, item in value.items()}
            return {str(key): read(of, item, leaves) for key, item in value.items() if item is not None}
        case _:
            return leaves[shape.type](shape, value)


def read_members(shape: Shape, members: Mapping[str, Shape], value: Any, leaves: Mapping[str, Leaf]) -> dict[str, Any]:
    """Only these members of a structure. Raises AwsError SerializationException."""
    if not isinstance(value, dict):
        raise mismatch(shape, value)
    found: dict[str, Any] = {}
    for name, member in members.items():
        item = value.get(member.location_name or name)
        if item is not None:
            found[name] = read(member, item, leaves)
    return found


def write(shape: Shape, value: Any, leaves: Mapping[str, Leaf]) -> Any:
    """The other way; members that are None or unknown are left out."""
    match shape.type:
        case "structure":
            return value if shape.is_document else write_members(shape.members, value, leaves)
        case "list":
            member = shape.member
            return [None if item is None else write(member, item, leaves) for item in value]
        case "map":
            of = shape.value
            return {str(key): write(of, item, leaves) for key, item in value.items() if item is not None}
        case _:
            return leaves[shape.type](shape, value)


def write_members(members: Mapping[str, Shape], value: Mapping[str, Any], leaves: Mapping[str, Leaf]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, item in value.items():
        member = members.get(name)
        if member is not None and item is not None:
            plain = type(item) is str and member.type == "string"
            out[member.location_name or name] = item if plain else write(member, item, leaves)
    return out


def read_string(shape: Shape, value: Any) -> str:
    if not isinstance(value, str):
        raise mismatch(shape, value)
    return value


def read_integer(shape: Shape, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or abs(value) == float("inf"):
        raise mismatch(shape, value)
    if not values.fits(int(value), shape.type):
        raise serialization_error(f"{value} is out of the range of {_TYPE_NAMES[shape.type]}")
    return int(value)


def read_boolean(shape: Shape, value: Any) -> bool:
    if not isinstance(value, bool):
        raise mismatch(shape, value)
    return value


def read_float(shape: Shape, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise mismatch(shape, value)
    try:
        return float(value)
    except OverflowError as error:
        raise mismatch(shape, value) from error


def read_epoch(shape: Shape, value: Any) -> datetime.datetime:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise mismatch(shape, value)
    try:
        return values.timestamp_from_number(value)
    except (ValueError, OverflowError) as error:
        raise serialization_error(str(error)) from error

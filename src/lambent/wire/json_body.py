"""JSON bodies by their shapes."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from lambent.wire import tree, values
from lambent.wire.shapes import Shape


def decode(body: bytes) -> Any:
    """The JSON value of a body, an empty object for an empty one. Raises AwsError SerializationException."""
    if not body or body.isspace():
        return {}
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise tree.serialization_error(f"Could not parse request body into json: {error}") from error


def read(shape: Shape, value: Any, *, keep_nulls: bool = False) -> Any:
    """`keep_nulls` leaves those in lists and maps to validation. Raises AwsError SerializationException."""
    return tree.read(shape, value, _READERS_OF_NULLS if keep_nulls else _READERS)


def read_members(shape: Shape, members: Mapping[str, Shape], value: Any, *, keep_nulls: bool = False) -> dict[str, Any]:
    """As `read`, for some of a structure's members."""
    return tree.read_members(shape, members, value, _READERS_OF_NULLS if keep_nulls else _READERS)


def write(shape: Shape, value: Any) -> Any:
    return tree.write(shape, value, _WRITERS)


def write_members(members: Mapping[str, Shape], value: Mapping[str, Any]) -> dict[str, Any]:
    return tree.write_members(members, value, _WRITERS)


def encode(value: Any) -> bytes:
    return msgspec.json.encode(value)


def _read_float(shape: Shape, value: Any) -> float:
    if isinstance(value, str) and value in ("NaN", "Infinity", "-Infinity"):
        return values.float_from_text(value)
    return tree.read_float(shape, value)


def _read_blob(shape: Shape, value: Any) -> bytes:
    try:
        return values.blob_from_text(tree.read_string(shape, value))
    except ValueError as error:
        raise tree.mismatch(shape, value) from error


def _read_timestamp(shape: Shape, value: Any) -> datetime.datetime:
    if (shape.timestamp_format or "unixTimestamp").lower() == "unixtimestamp":
        return tree.read_epoch(shape, value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return tree.read_epoch(shape, value)
    try:
        return values.timestamp_from_text(tree.read_string(shape, value))
    except ValueError as error:
        raise tree.mismatch(shape, value) from error


def _write_float(shape: Shape, value: Any) -> float | str:
    number = float(value)
    return values.special_float_name(number) or number


def _write_timestamp(shape: Shape, value: datetime.datetime) -> int | float | str:
    timestamp_format = shape.timestamp_format or "unixTimestamp"
    if timestamp_format.lower() == "unixtimestamp":
        return values.timestamp_to_number(value)
    return values.timestamp_to_text(value, timestamp_format)


_READERS: Final[Mapping[str, tree.Leaf]] = {
    "string": tree.read_string,
    "character": tree.read_string,
    "integer": tree.read_integer,
    "long": tree.read_integer,
    "float": _read_float,
    "double": _read_float,
    "boolean": tree.read_boolean,
    "blob": _read_blob,
    "timestamp": _read_timestamp,
}

_READERS_OF_NULLS: Final = {**_READERS, tree.KEEPS_NULLS: lambda _, value: value}

_WRITERS: Final[Mapping[str, tree.Leaf]] = {
    "string": lambda _, value: str(value),
    "character": lambda _, value: str(value),
    "integer": lambda _, value: int(value),
    "long": lambda _, value: int(value),
    "float": _write_float,
    "double": _write_float,
    "boolean": lambda _, value: bool(value),
    "blob": lambda _, value: values.blob_to_text(value),
    "timestamp": _write_timestamp,
}

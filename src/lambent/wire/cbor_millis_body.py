"""CBOR bodies as Kinesis's older clients write them: times are milliseconds."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, Final

from lambent.wire import cbor, tree, values
from lambent.wire.shapes import Shape

_PER_SECOND: Final = 1000


def decode(body: bytes) -> Any:
    """The value of a body, an empty map for an empty one. Raises AwsError SerializationException."""
    if not body:
        return {}
    try:
        return cbor.decode(body, _PER_SECOND)
    except (ValueError, OverflowError) as error:
        raise tree.serialization_error(f"Could not parse request body into CBOR: {error}") from error


def read_members(shape: Shape, members: Mapping[str, Shape], value: Any) -> dict[str, Any]:
    """Raises AwsError SerializationException."""
    return tree.read_members(shape, members, value, _READERS)


def write(shape: Shape, value: Any) -> Any:
    return tree.write(shape, value, _WRITERS)


def write_members(members: Mapping[str, Shape], value: Mapping[str, Any]) -> dict[str, Any]:
    return tree.write_members(members, value, _WRITERS)


def encode(value: Any) -> bytes:
    return cbor.encode(value)


def _read_blob(shape: Shape, value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise tree.mismatch(shape, value)
    return value


def _read_timestamp(shape: Shape, value: Any) -> datetime.datetime:
    """Some clients leave the tag out."""
    if isinstance(value, datetime.datetime):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise tree.mismatch(shape, value)
    return tree.read_epoch(shape, value / _PER_SECOND)


def _write_timestamp(_: Shape, value: datetime.datetime) -> cbor.EpochMilliseconds:
    return cbor.EpochMilliseconds(round(values.timestamp_to_number(value) * _PER_SECOND))


_READERS: Final[Mapping[str, tree.Leaf]] = {
    "string": tree.read_string,
    "character": tree.read_string,
    "integer": tree.read_integer,
    "long": tree.read_integer,
    "float": tree.read_float,
    "double": tree.read_float,
    "boolean": tree.read_boolean,
    "blob": _read_blob,
    "timestamp": _read_timestamp,
}

_WRITERS: Final[Mapping[str, tree.Leaf]] = {
    "string": lambda _, value: str(value),
    "character": lambda _, value: str(value),
    "integer": lambda _, value: int(value),
    "long": lambda _, value: int(value),
    "float": lambda _, value: float(value),
    "double": lambda _, value: float(value),
    "boolean": lambda _, value: bool(value),
    "blob": lambda _, value: value.encode() if isinstance(value, str) else bytes(value),
    "timestamp": _write_timestamp,
}

"""CBOR bodies by their shapes, in the two forms that AWS has: times in seconds, or in milliseconds."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, Final

from lambent.wire import cbor, tree, values
from lambent.wire.shapes import Shape

_MILLISECONDS: Final = 1000


class CborBody:
    """Reads and writes bodies. `per_second` is the unit of the times in them: 1, or 1000."""

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._readers = {**_READERS, "timestamp": self._read_timestamp}
        self._writers = {**_WRITERS, "timestamp": self._write_timestamp}

    def decode(self, body: bytes) -> Any:
        """The value of a body, an empty map for an empty one. Raises AwsError SerializationException."""
        if not body:
            return {}
        try:
            return cbor.decode(body, self._per_second)
        except (ValueError, OverflowError) as error:
            raise tree.serialization_error(f"Could not parse request body into CBOR: {error}") from error

    def encode(self, value: Any) -> bytes:
        return cbor.encode(value)

    def read_members(self, shape: Shape, members: Mapping[str, Shape], value: Any) -> dict[str, Any]:
        """Raises AwsError SerializationException."""
        return tree.read_members(shape, members, value, self._readers)

    def write(self, shape: Shape, value: Any) -> Any:
        return tree.write(shape, value, self._writers)

    def write_members(self, members: Mapping[str, Shape], value: Mapping[str, Any]) -> dict[str, Any]:
        return tree.write_members(members, value, self._writers)

    def _read_timestamp(self, shape: Shape, value: Any) -> datetime.datetime:
        """Some clients leave the tag out."""
        if isinstance(value, datetime.datetime):
            return value
        if self._per_second == 1:
            return tree.read_epoch(shape, value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise tree.mismatch(shape, value)
        return tree.read_epoch(shape, value / self._per_second)

    def _write_timestamp(self, _: Shape, value: datetime.datetime) -> datetime.datetime | cbor.EpochMilliseconds:
        if self._per_second == 1:
            return value
        return cbor.EpochMilliseconds(round(values.timestamp_to_number(value) * self._per_second))


def _read_blob(shape: Shape, value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise tree.mismatch(shape, value)
    return value


_READERS: Final[Mapping[str, tree.Leaf]] = {
    "string": tree.read_string,
    "character": tree.read_string,
    "integer": tree.read_integer,
    "long": tree.read_integer,
    "float": tree.read_float,
    "double": tree.read_float,
    "boolean": tree.read_boolean,
    "blob": _read_blob,
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
}

SECONDS: Final = CborBody(1)
MILLISECONDS: Final = CborBody(_MILLISECONDS)

"""CBOR (RFC 8949), as much of it as AWS's protocols use, with bounds against hostile input."""

from __future__ import annotations

import datetime
import struct
from collections.abc import Callable, Iterator
from typing import Any, Final

import attrs

from lambent.wire import values

DEPTH_MAX: Final = 200
_INDEFINITE: Final = 31
_SIMPLE: Final = {20: False, 21: True, 22: None, 23: None}
_FLOATS: Final = {25: (">e", 2), 26: (">f", 4), 27: (">d", 8)}
_BREAK: Final = object()
_EPOCH_TAG: Final = 1


@attrs.frozen
class EpochMilliseconds:
    """A time as AWS's older CBOR writes it: tag 1, which the standard means for seconds."""

    value: int


def decode(data: bytes, ticks_per_s: int = 1) -> Any:
    """The one item in `data`. Times (tag 1, so many to the second) become datetimes. Raises ValueError."""
    reader = _Reader(data, ticks_per_s)
    value = reader.item(0)
    if value is _BREAK or reader.position != len(data):
        raise ValueError("not exactly one CBOR item")
    return value


class _Reader:
    def __init__(self, data: bytes, ticks_per_s: int) -> None:
        self.data = data
        self.ticks_per_s = ticks_per_s
        self.position = 0

    def item(self, depth: int) -> Any:
        if depth > DEPTH_MAX:
            raise ValueError("nested too deeply")
        initial = self.take(1)[0]
        major, info = initial >> 5, initial & 31
        if major == 7:
            return self._simple_or_float(info)
        return _MAJOR[major](self, info, depth + 1)

    def take(self, length: int) -> bytes:
        end = self.position + length
        if end > len(self.data):
            raise ValueError("the data end too early")
        taken = self.data[self.position : end]
        self.position = end
        return taken

    def argument(self, info: int) -> int:
        if info < 24:
            return info
        if info > 27:
            raise ValueError("a reserved length")
        return int.from_bytes(self.take(1 << (info - 24)), "big")

    def _simple_or_float(self, info: int) -> Any:
        if info == _INDEFINITE:
            return _BREAK
        if info in _FLOATS:
            layout, length = _FLOATS[info]
            return struct.unpack(layout, self.take(length))[0]
        if info not in _SIMPLE:
            raise ValueError("an unknown simple value")
        return _SIMPLE[info]

    def unsigned(self, info: int, depth: int) -> int:
        return self.argument(info)

    def negative(self, info: int, depth: int) -> int:
        return -1 - self.argument(info)

    def string(self, info: int, depth: int) -> bytes:
        if info != _INDEFINITE:
            return self.take(self.argument(info))
        chunks = []
        while (chunk := self.item(depth)) is not _BREAK:
            chunks.append(chunk.encode() if isinstance(chunk, str) else chunk)
            if not isinstance(chunk, bytes | str):
                raise ValueError("a chunk that is not a string")
        return b"".join(chunks)

    def text(self, info: int, depth: int) -> str:
        return self.string(info, depth).decode()

    def array(self, info: int, depth: int) -> list[Any]:
        return list(self._items(info, depth, 1))

    def map(self, info: int, depth: int) -> dict[Any, Any]:
        items = list(self._items(info, depth, 2))
        if len(items) % 2:
            raise ValueError("a key without its value")
        keys = items[::2]
        if not all(isinstance(key, str | int) for key in keys):
            raise ValueError("a key that is neither text nor a number")
        return dict(zip(keys, items[1::2], strict=True))

    def _items(self, info: int, depth: int, each: int) -> Iterator[Any]:
        if info == _INDEFINITE:
            while (item := self.item(depth)) is not _BREAK:
                yield item
            return
        for _ in range(self.argument(info) * each):
            item = self.item(depth)
            if item is _BREAK:
                raise ValueError("a break where an item belongs")
            yield item

    def tagged(self, info: int, depth: int) -> Any:
        tag = self.argument(info)
        value = self.item(depth)
        if tag != _EPOCH_TAG:
            return value
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
            raise ValueError("a time that is not a number")
        return values.timestamp_from_number(value / self.ticks_per_s)


_MAJOR: Final[dict[int, Callable[[_Reader, int, int], Any]]] = {
    0: _Reader.unsigned,
    1: _Reader.negative,
    2: _Reader.string,
    3: _Reader.text,
    4: _Reader.array,
    5: _Reader.map,
    6: _Reader.tagged,
}


def encode(value: Any) -> bytes:
    """Definite lengths; datetimes as tag 1. Raises TypeError for what has no place in a model."""
    out = bytearray()
    _encode(value, out)
    return bytes(out)


def _encode(value: Any, out: bytearray) -> None:
    match value:
        case None:
            out.append(0xF6)
        case bool():
            out.append(0xF5 if value else 0xF4)
        case int():
            _head(out, *((0, value) if value >= 0 else (1, -1 - value)))
        case float():
            out += b"\xfb" + struct.pack(">d", value)
        case bytes():
            _head(out, 2, len(value))
            out += value
        case str():
            encoded = value.encode()
            _head(out, 3, len(encoded))
            out += encoded
        case list():
            _head(out, 4, len(value))
            for item in value:
                _encode(item, out)
        case dict():
            _head(out, 5, len(value))
            for key, item in value.items():
                _encode(key, out)
                _encode(item, out)
        case datetime.datetime():
            _head(out, 6, _EPOCH_TAG)
            _encode(values.timestamp_to_number(value), out)
        case EpochMilliseconds():
            _head(out, 6, _EPOCH_TAG)
            _encode(value.value, out)
        case _:
            raise TypeError(f"{type(value).__name__} has no place in CBOR here")


def _head(out: bytearray, major: int, argument: int) -> None:
    if argument < 24:
        out.append(major << 5 | argument)
        return
    for info, length in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if argument < 1 << (8 * length):
            out.append(major << 5 | info)
            out += argument.to_bytes(length, "big")
            return
    raise TypeError("an integer of more than 64 bits")

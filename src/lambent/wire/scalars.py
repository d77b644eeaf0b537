"""Scalar members carried as text: in paths, queries, headers, forms and XML."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from lambent.model.errors import AwsError
from lambent.wire import values
from lambent.wire.shapes import Shape

_READERS: Final[dict[str, Callable[[str], Any]]] = {
    "string": str,
    "character": str,
    "integer": values.integer_from_text,
    "long": values.integer_from_text,
    "float": values.float_from_text,
    "double": values.float_from_text,
    "boolean": values.boolean_from_text,
    "timestamp": values.timestamp_from_text,
    "blob": values.blob_from_text,
}


def read(shape: Shape, text: str) -> Any:
    """Raises AwsError SerializationException, naming the shape, when the text is not of its type."""
    try:
        value = _READERS[shape.type](text)
        if shape.type in ("integer", "long") and not values.fits(value, shape.type):
            raise ValueError(f"out of range: {text}")
        return value
    except (ValueError, KeyError) as error:
        raise AwsError("SerializationException", f"Unable to parse a value of type {shape.type}: {error}") from error


def write(shape: Shape, value: Any, timestamp_format: str) -> str:
    """`timestamp_format` is the place's default: rfc822 in headers, iso8601 elsewhere."""
    match shape.type:
        case "timestamp":
            return values.timestamp_to_text(value, shape.timestamp_format or timestamp_format)
        case "boolean":
            return "true" if value else "false"
        case "blob":
            return values.blob_to_text(value)
        case "float" | "double":
            return values.float_to_text(value)
        case "integer" | "long":
            return str(int(value))
        case _:
            return str(value)

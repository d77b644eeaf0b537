"""The constraints of a model, and AWS's sentences for breaking them.

    2 validation errors detected: Value 'a b' at 'functionName' failed to satisfy constraint: Member must satisfy
    regular expression pattern: …; Value '0' at 'maxItems' failed to satisfy constraint: Member must have value
    greater than or equal to 1

Members are named as on the wire's Java side: the first letter in lower case, list items `layers.1.member`, map values
`requestItems.NAME.member`. Constraints on the scalars of a list or the keys of a map are reported on the whole of it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final

from lambent.model.errors import AwsError
from lambent.wire import values
from lambent.wire.shapes import Shape

VALUE_SHOWN_MAX_CHARACTERS: Final = 20_000


def validate(
    shape: Shape | None, params: Mapping[str, Any], *, code: str = "ValidationException", exempt: Collection[str] = ()
) -> None:
    """Raises AwsError `code`, 400, with every broken constraint; `exempt` are names of shapes that are checked elsewhere."""
    if shape is None:
        return
    problems = list(_structure(shape, params, "", exempt))
    if problems:
        noun = "error" if len(problems) == 1 else "errors"
        raise AwsError(code, f"{len(problems)} validation {noun} detected: {'; '.join(problems)}", 400)


def _structure(shape: Shape, params: Mapping[str, Any], path: str, exempt: Collection[str]) -> Iterator[str]:
    for name in shape.required:
        if params.get(name) is None:
            yield f"Value null at '{path}{_lower_first(name)}' failed to satisfy constraint: Member must not be null"
    for name, member in shape.members.items():
        value = params.get(name)
        if value is not None and member.name not in exempt:
            yield from _value(member, value, path + _lower_first(name), exempt)


def _value(shape: Shape, value: Any, path: str, exempt: Collection[str]) -> Iterator[str]:
    match shape.type:
        case "structure":
            if not shape.is_document:
                yield from _structure(shape, value, f"{path}.", exempt)
        case "list":
            yield from _list(shape, value, path, exempt)
        case "map":
            yield from _map(shape, value, path, exempt)
        case _:
            for broken in _broken(shape, value):
                yield _sentence(shape, value, path, broken)


def _list(shape: Shape, items: list[Any], path: str, exempt: Collection[str]) -> Iterator[str]:
    for broken in _length(shape, len(items)):
        yield _sentence(shape, items, path, broken)
    member = shape.member
    if member.type in ("structure", "list", "map"):
        for number, item in enumerate(items, 1):
            yield from _value(member, item, f"{path}.{number}.member", exempt)
    elif member.name not in exempt and any(next(_broken(member, item), None) for item in items):
        yield _sentence(shape, items, path, f"Member must satisfy constraint: [{', '.join(_constraints(member))}]")


def _map(shape: Shape, entries: Mapping[str, Any], path: str, exempt: Collection[str]) -> Iterator[str]:
    for broken in _length(shape, len(entries)):
        yield _sentence(shape, entries, path, broken)
    if any(next(_broken(shape.key, key), None) for key in entries):
        yield _sentence(
            shape, entries, path, f"Map keys must satisfy constraint: [{', '.join(_constraints(shape.key))}]"
        )
    if shape.value.type in ("structure", "list", "map"):
        for key, item in entries.items():
            yield from _value(shape.value, item, f"{path}.{key}.member", exempt)
    elif any(next(_broken(shape.value, item), None) for item in entries.values()):
        constraints = ", ".join(_constraints(shape.value))
        yield _sentence(shape, entries, path, f"Map value must satisfy constraint: [{constraints}]")


def _broken(shape: Shape, value: Any) -> Iterator[str]:
    """The constraints that a scalar breaks."""
    match shape.type:
        case "string":
            if shape.enum and value not in shape.enum:
                yield _enum_constraint(shape)
            if shape.pattern is not None and not _matches(shape.pattern, value):
                yield f"Member must satisfy regular expression pattern: {shape.pattern}"
            yield from _length(shape, len(value))
        case "blob":
            yield from _length(shape, len(value))
        case "integer" | "long" | "float" | "double":
            if shape.maximum is not None and value > shape.maximum:
                yield f"Member must have value less than or equal to {shape.maximum}"
            if shape.minimum is not None and value < shape.minimum:
                yield f"Member must have value greater than or equal to {shape.minimum}"


def _length(shape: Shape, length: int) -> Iterator[str]:
    if shape.maximum is not None and length > shape.maximum:
        yield f"Member must have length less than or equal to {shape.maximum}"
    if shape.minimum is not None and length < shape.minimum:
        yield f"Member must have length greater than or equal to {shape.minimum}"


def _constraints(shape: Shape) -> Iterator[str]:
    """All that a scalar has to satisfy, whether it does or not."""
    noun = "length" if shape.type in ("string", "blob") else "value"
    if shape.maximum is not None:
        yield f"Member must have {noun} less than or equal to {shape.maximum}"
    if shape.minimum is not None:
        yield f"Member must have {noun} greater than or equal to {shape.minimum}"
    if shape.pattern is not None:
        yield f"Member must satisfy regular expression pattern: {shape.pattern}"
    if shape.enum:
        yield _enum_constraint(shape)


def _enum_constraint(shape: Shape) -> str:
    return f"Member must satisfy enum value set: [{', '.join(shape.enum)}]"


def _matches(pattern: str, value: str) -> bool:
    compiled = _compiled(pattern)
    return compiled is None or compiled.fullmatch(value) is not None


@functools.lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str] | None:
    """None for the few that use what Python's `re` has not, such as `\\p{L}`: those are left to the service."""
    try:
        return re.compile(pattern)
    except re.error:
        return None


def _sentence(shape: Shape, value: Any, path: str, constraint: str) -> str:
    shown = "" if _is_secret(shape) else f" '{_shown(value)}'"
    return f"Value{shown} at '{path}' failed to satisfy constraint: {constraint}"


def _is_secret(shape: Shape) -> bool:
    parts: tuple[Callable[[], Shape], ...] = ()
    if shape.type == "list":
        parts = (lambda: shape.member,)
    elif shape.type == "map":
        parts = (lambda: shape.key, lambda: shape.value)
    return shape.is_sensitive or any(part().is_sensitive for part in parts)


def _shown(value: Any) -> str:
    """As Java prints it."""
    match value:
        case list():
            text = f"[{', '.join(_shown(item) for item in value)}]"
        case dict():
            text = "{" + ", ".join(f"{key}={_shown(item)}" for key, item in value.items()) + "}"
        case bool():
            text = "true" if value else "false"
        case float():
            text = values.float_to_text(value)
        case bytes():
            text = f"java.nio.HeapByteBuffer[pos=0 lim={len(value)} cap={len(value)}]"
        case _:
            text = str(value)
    return text[:VALUE_SHOWN_MAX_CHARACTERS]


def _lower_first(name: str) -> str:
    return name[:1].lower() + name[1:]

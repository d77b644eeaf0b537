"""The constraints of a model, and AWS's sentences for breaking them.

    2 validation errors detected: Value 'a b' at 'functionName' failed to satisfy constraint: Member must satisfy
    regular expression pattern: …; Value '0' at 'maxItems' failed to satisfy constraint: Member must have value
    greater than or equal to 1

Members are named as on the wire's Java side: the first letter in lower case, list items `layers.1.member`, map values
`requestItems.NAME.member`. Constraints on the scalars of a list or the keys of a map are reported on the whole of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import attrs

from lambent.model.errors import AwsError
from lambent.wire import values
from lambent.wire.java_regex import matches
from lambent.wire.shapes import Constraints, Shape

VALUE_SHOWN_MAX_CHARACTERS: Final = 20_000
NOT_NULL: Final = "Member must not be null"


@attrs.frozen(kw_only=True)
class Rules:
    """How one service's validation differs from the plain reading of its model."""

    code: str = "ValidationException"
    amended: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)  # members of Constraints, by shape
    tells_not_null: bool = False  # whether the constraints of a list's items and a map's values end with NOT_NULL
    untold: frozenset[str] = frozenset()  # shapes whose constraints do not, all the same

    def of(self, shape: Shape) -> Constraints:
        changes = self.amended.get(shape.name)
        return shape.constraints if changes is None else attrs.evolve(shape.constraints, **changes)


PLAIN: Final = Rules()


def validate(shape: Shape | None, params: Mapping[str, Any], rules: Rules = PLAIN) -> None:
    """Raises AwsError `rules.code`, 400, with every broken constraint."""
    if shape is None:
        return
    problems = list(_structure(shape, params, "", rules))
    if problems:
        noun = "error" if len(problems) == 1 else "errors"
        raise AwsError(rules.code, f"{len(problems)} validation {noun} detected: {'; '.join(problems)}", 400)


def _structure(shape: Shape, params: Mapping[str, Any], path: str, rules: Rules) -> Iterator[str]:
    for name in shape.required:
        if params.get(name) is None:
            yield _null(path + _lower_first(name))
    members = shape.members
    for name, value in params.items():
        if value is not None:
            yield from _value(members[name], value, path + _lower_first(name), rules)


def _value(shape: Shape, value: Any, path: str, rules: Rules) -> Iterator[str]:
    match shape.type:
        case "structure":
            if not shape.is_document:
                yield from _structure(shape, value, f"{path}.", rules)
        case "list":
            yield from _list(shape, value, path, rules)
        case "map":
            yield from _map(shape, value, path, rules)
        case _:
            for broken in _broken(shape, value, rules):
                yield _sentence(shape, value, path, broken)


def _list(shape: Shape, items: list[Any], path: str, rules: Rules) -> Iterator[str]:
    for broken in _length(shape.constraints, len(items)):
        yield _sentence(shape, items, path, broken)
    member = shape.member
    if member.type in ("structure", "list", "map"):
        for number, item in enumerate(items, 1):
            if item is None:
                yield _null(f"{path}.{number}.member")
            else:
                yield from _value(member, item, f"{path}.{number}.member", rules)
    elif any(next(_broken(member, item, rules), None) for item in items):
        yield _sentence(shape, items, path, f"Member must satisfy constraint: [{_told(member, rules)}]")


def _map(shape: Shape, entries: Mapping[str, Any], path: str, rules: Rules) -> Iterator[str]:
    for broken in _length(shape.constraints, len(entries)):
        yield _sentence(shape, entries, path, broken)
    if any(next(_broken(shape.key, key, rules), None) for key in entries):
        yield _sentence(shape, entries, path, f"Map keys must satisfy constraint: [{_told(shape.key, rules)}]")
    if shape.value.type in ("structure", "list", "map"):
        for key, item in entries.items():
            if item is None:
                yield _null(f"{path}.{key}.member")
            else:
                yield from _value(shape.value, item, f"{path}.{key}.member", rules)
    elif any(next(_broken(shape.value, item, rules), None) for item in entries.values()):
        yield _sentence(shape, entries, path, f"Map value must satisfy constraint: [{_told(shape.value, rules)}]")


def _broken(shape: Shape, value: Any, rules: Rules) -> Iterator[str]:
    """The constraints that a scalar breaks."""
    if value is None:
        yield NOT_NULL
        return
    constraints = rules.of(shape)
    match shape.type:
        case "string":
            if constraints.enum and value not in constraints.enum:
                yield _enum_constraint(constraints)
            if constraints.pattern is not None and not matches(constraints.pattern, value):
                yield f"Member must satisfy regular expression pattern: {constraints.pattern}"
            yield from _length(constraints, len(value))
        case "blob":
            yield from _length(constraints, len(value))
        case "integer" | "long" | "float" | "double":
            if constraints.maximum is not None and not value <= constraints.maximum:
                yield f"Member must have value less than or equal to {constraints.maximum}"
            if constraints.minimum is not None and not value >= constraints.minimum:
                yield f"Member must have value greater than or equal to {constraints.minimum}"


def _length(constraints: Constraints, length: int) -> Iterator[str]:
    if constraints.maximum is not None and length > constraints.maximum:
        yield f"Member must have length less than or equal to {constraints.maximum}"
    if constraints.minimum is not None and length < constraints.minimum:
        yield f"Member must have length greater than or equal to {constraints.minimum}"


def _told(shape: Shape, rules: Rules) -> str:
    """All that a scalar inside a list or map has to satisfy, whether it does or not."""
    tells_not_null = rules.tells_not_null and shape.name not in rules.untold
    return ", ".join([*_constraints(shape, rules.of(shape)), *([NOT_NULL] if tells_not_null else ())])


def _constraints(shape: Shape, constraints: Constraints) -> Iterator[str]:
    noun = "length" if shape.type in ("string", "blob") else "value"
    if constraints.maximum is not None:
        yield f"Member must have {noun} less than or equal to {constraints.maximum}"
    if constraints.minimum is not None:
        yield f"Member must have {noun} greater than or equal to {constraints.minimum}"
    if constraints.pattern is not None:
        yield f"Member must satisfy regular expression pattern: {constraints.pattern}"
    if constraints.enum:
        yield _enum_constraint(constraints)


def _enum_constraint(constraints: Constraints) -> str:
    return f"Member must satisfy enum value set: [{', '.join(constraints.enum)}]"


def _null(path: str) -> str:
    return f"Value null at '{path}' failed to satisfy constraint: {NOT_NULL}"


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
        case None:
            text = "null"
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

"""Requests made from a service model: for every member a value that just fits, and values that break one bound each.

Reads botocore's own classes of the model, not Lambent's, so that a mistake of the one is not repeated by the other.
"""

from __future__ import annotations

import copy
import re
import unicodedata
from collections.abc import Iterator
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as sre  # type: ignore[attr-defined]
from typing import Any, Final

import attrs

from raw_gateway import LAMBDA

DEPTH_MAX: Final = 6
LONGEST_TRIED: Final = 70_000  # characters; larger bounds are only approached from below

# What a service says in words of its own instead of the model's, or allows less of than the model.
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
AMENDED: Final[dict[str, dict[str, Any]]] = {
    "Runtime": {"enum": []}, "MemorySize": {"max": None}, "Timeout": {"max": 900},
}  # fmt: skip


@attrs.frozen(kw_only=True)
class Broken:
    """A request with one value changed."""

    members: dict[str, Any]
    path: str  # the changed member, as messages name it
    why: str
    sentences: tuple[str, ...]  # all that must be in the message; none for a value of the wrong type


def constraint(shape: Any, name: str) -> Any:
    """`min`, `max`, `pattern` or `enum`."""
    amended = AMENDED.get(shape.name, {})
    return amended[name] if name in amended else shape.metadata.get(name)


# --- values that fit ---------------------------------------------------------------------------------------------------


def fitting(shape: Any, depth: int = 0) -> Any:
    """A JSON value of the shape with what is required, and nothing else."""
    match shape.type_name:
        case "structure":
            return {name: fitting(shape.members[name], depth + 1) for name in shape.required_members}
        case "list":
            return [fitting(shape.member, depth + 1)] * max(constraint(shape, "min") or 0, 1)
        case "map":
            return {fitting(shape.key): fitting(shape.value, depth + 1)}
        case "string":
            return fitting_text(shape, constraint(shape, "min") or 0)
        case "blob":
            return b"x" * max(constraint(shape, "min") or 0, 1)
        case "boolean":
            return True
        case "timestamp":
            return 1_700_000_000
        case _:
            return constraint(shape, "min") if constraint(shape, "min") is not None else 1


def fitting_text(shape: Any, length: int) -> str:
    """A text that satisfies the pattern, of at least this length where the pattern can be so long."""
    enum = constraint(shape, "enum")
    if enum:
        return str(enum[0])
    pattern = constraint(shape, "pattern")
    if pattern is None or pattern == ".*":
        return "a" * max(length, 1)
    return sample(java(pattern), length)


def java(pattern: str) -> str:
    return re.sub(r"\\p\{[LNZ]\}", "a-z", pattern)


def agrees(pattern: str, text: str) -> bool:
    """Whether the whole of the text satisfies a pattern of Java's; categories are looked up one character at a time."""
    if "\\p{" in pattern:
        text = "".join("a" if unicodedata.category(c)[0] in "LNZ" else c for c in text)
    return re.fullmatch(java(pattern), text, re.ASCII) is not None


def sample(pattern: str, length: int) -> str:
    """A text that the pattern accepts, as long as asked for if one repetition of it can be drawn out so far."""
    parsed = sre.parse(pattern)
    shortest = _drawn(parsed, {})
    candidates = [shortest]
    for target in range(_repeats(parsed)):
        one, two = _drawn(parsed, {target: 1}), _drawn(parsed, {target: 2})
        step = len(two) - len(one)
        if step > 0 and len(one) <= length:
            candidates.append(_drawn(parsed, {target: 1 + (length - len(one)) // step}))
    good = [text for text in candidates if re.fullmatch(pattern, text, re.ASCII)]
    assert good, f"no text was found for {pattern}: {candidates}"
    return min(good, key=lambda text: (abs(len(text) - length), len(text)))


def _repeats(parsed: Any) -> int:
    """How many repetitions a drawing of the shortest text meets."""
    counter = [0]
    _drawn(parsed, {}, counter)
    return counter[0]


def _drawn(parsed: Any, times: dict[int, int], counter: list[int] | None = None) -> str:
    counter = counter if counter is not None else [0]
    return "".join(_piece(op, argument, times, counter) for op, argument in parsed)


def _piece(op: Any, argument: Any, times: dict[int, int], counter: list[int]) -> str:
    match op:
        case codes.LITERAL:
            return chr(argument)
        case codes.ANY | codes.NOT_LITERAL:
            return "b" if argument == ord("a") else "a"
        case codes.IN:
            return _member_of(argument)
        case codes.SUBPATTERN:
            return _drawn(argument[-1], times, counter)
        case codes.BRANCH:
            # An empty alternative would leave nothing to draw out.
            return max((_drawn(branch, times, [0]) for branch in argument[1][:3]), key=lambda text: bool(text))
        case codes.MAX_REPEAT | codes.MIN_REPEAT:
            least, most, inner = argument
            number, counter[0] = counter[0], counter[0] + 1
            count = min(max(least, times.get(number, 0)), most)
            return _drawn(inner, times, counter) * count if count else ""
        case codes.AT | codes.ASSERT_NOT | codes.ASSERT:
            return ""
        case _:
            raise NotImplementedError(f"{op} in a pattern")


def _member_of(items: Any) -> str:
    if (codes.NEGATE, None) in items:
        return "a"
    texts = [chr(a) if op is codes.LITERAL else chr(a[0]) for op, a in items if op in (codes.LITERAL, codes.RANGE)]
    texts += ["1" for op, a in items if op is codes.CATEGORY and a is codes.CATEGORY_DIGIT]
    texts += ["a" for op, a in items if op is codes.CATEGORY and a is not codes.CATEGORY_DIGIT]
    return max(texts, key=lambda text: (text.isalpha(), text.isalnum()))


# --- where a value can be ----------------------------------------------------------------------------------------------

Place = tuple[Any, ...]  # keys into the request


def places(shape: Any, at: Place = (), path: str = "", depth: int = 0) -> Iterator[tuple[Place, str, Any]]:
    """Every member below a structure: where it is, what messages call it, and its shape. Lists and maps have one item."""
    if depth > DEPTH_MAX:
        return
    for name, member in shape.members.items():
        here = path + name[:1].lower() + name[1:]
        yield (*at, name), here, member
        yield from _inside((*at, name), here, member, depth)


def _inside(at: Place, path: str, shape: Any, depth: int) -> Iterator[tuple[Place, str, Any]]:
    if shape.type_name == "structure":
        yield from places(shape, at, f"{path}.", depth + 1)
    elif shape.type_name == "list" and shape.member.type_name in ("structure", "list", "map"):
        yield from _inside((*at, 0), f"{path}.1.member", shape.member, depth + 1)
    elif shape.type_name == "map" and shape.value.type_name in ("structure", "list", "map"):
        key = fitting(shape.key)
        yield from _inside((*at, key), f"{path}.{key}.member", shape.value, depth + 1)


def with_value(operation_name: str, at: Place, value: Any) -> dict[str, Any]:
    """A request that fits, with this value in its place; what lies on the way to it is filled in."""
    shape = LAMBDA.operation_model(operation_name).input_shape
    members: dict[str, Any] = copy.deepcopy(fitting(shape))
    holder: Any = members
    for number, key in enumerate(at[:-1]):
        shape = shape.member if isinstance(key, int) else (
            shape.value if shape.type_name == "map" else shape.members[key]
        )  # fmt: skip
        if isinstance(key, int):
            holder = holder[key]
            continue
        if key not in holder:
            holder[key] = fitting(shape)
        if shape.type_name == "list" and isinstance(at[number + 1], int):
            holder[key] = [copy.deepcopy(fitting(shape.member))]
        holder = holder[key]
    holder[at[-1]] = value
    return members


# --- values that break a bound -----------------------------------------------------------------------------------------


def sentences(shape: Any, value: Any, path: str) -> tuple[str, ...]:
    """What AWS says of the value, by the model's own constraints."""
    match shape.type_name:
        case "string" | "blob" | "integer" | "long" | "float" | "double":
            found = broken_by(shape, value)
        case "list":
            found = _size(shape, len(value))
            if shape.member.type_name not in ("structure", "list", "map") and any(
                broken_by(shape.member, item) for item in value
            ):
                found.append(f"Member must satisfy constraint: [{told(shape.member)}]")
        case "map":
            found = _size(shape, len(value))
            if any(broken_by(shape.key, key) for key in value):
                found.append(f"Map keys must satisfy constraint: [{told(shape.key)}]")
            if shape.value.type_name not in ("structure", "list", "map") and any(
                broken_by(shape.value, item) for item in value.values()
            ):
                found.append(f"Map value must satisfy constraint: [{told(shape.value)}]")
        case _:
            found = []
    return tuple(f" at '{path}' failed to satisfy constraint: {text}" for text in found)


def broken_by(shape: Any, value: Any) -> list[str]:
    found = []
    enum, pattern = constraint(shape, "enum"), constraint(shape, "pattern")
    if enum and value not in enum:
        found.append(f"Member must satisfy enum value set: [{', '.join(enum)}]")
    if pattern is not None and not agrees(pattern, value):
        found.append(f"Member must satisfy regular expression pattern: {pattern}")
    if shape.type_name in ("string", "blob"):
        return found + _size(shape, len(value))
    most, least = constraint(shape, "max"), constraint(shape, "min")
    if most is not None and value > most:
        found.append(f"Member must have value less than or equal to {most}")
    if least is not None and value < least:
        found.append(f"Member must have value greater than or equal to {least}")
    return found


def _size(shape: Any, size: int) -> list[str]:
    most, least = constraint(shape, "max"), constraint(shape, "min")
    found = []
    if most is not None and size > most:
        found.append(f"Member must have length less than or equal to {most}")
    if least is not None and size < least:
        found.append(f"Member must have length greater than or equal to {least}")
    return found


def told(shape: Any) -> str:
    noun = "length" if shape.type_name in ("string", "blob") else "value"
    texts = []
    if constraint(shape, "max") is not None:
        texts.append(f"Member must have {noun} less than or equal to {constraint(shape, 'max')}")
    if constraint(shape, "min") is not None:
        texts.append(f"Member must have {noun} greater than or equal to {constraint(shape, 'min')}")
    if constraint(shape, "pattern") is not None:
        texts.append(f"Member must satisfy regular expression pattern: {constraint(shape, 'pattern')}")
    if constraint(shape, "enum"):
        texts.append(f"Member must satisfy enum value set: [{', '.join(constraint(shape, 'enum'))}]")
    if shape.name != "EnvironmentVariableName":  # of which AWS does not say so
        texts.append("Member must not be null")
    return ", ".join(texts)


def bad_values(shape: Any) -> Iterator[tuple[str, Any]]:
    """Values that break one bound or another, each with a word for why."""
    most, least = constraint(shape, "max"), constraint(shape, "min")
    match shape.type_name:
        case "string":
            if most is not None and most < LONGEST_TRIED:
                yield "too long", (fitting_text(shape, most) + "a" * (most + 1))[: most + 1]
            if least:
                yield "too short", fitting_text(shape, least)[: least - 1]
            for text in ("!", " ", "a\nb", "€" * max(least or 1, 1)):
                if broken_by(shape, text):
                    yield f"not of its pattern ({text!r})", text
        case "blob":
            if most is not None and most < LONGEST_TRIED:
                yield "too long", b"x" * (most + 1)
        case "integer" | "long" | "float" | "double":
            if most is not None:
                yield "too much", most + 1
            if least is not None:
                yield "too little", least - 1
        case "list":
            item = fitting(shape.member)
            if most is not None and most < 2_000:
                yield "too many", [item] * (most + 1)
            if least:
                yield "too few", [item] * (least - 1)
            yield from (
                (f"an item {why}", [bad])
                for why, bad in bad_values(shape.member)
                if shape.member.type_name not in ("structure", "list", "map")
            )
        case "map":
            yield from ((f"a key {why}", {bad: fitting(shape.value)}) for why, bad in bad_values(shape.key))
            if shape.value.type_name not in ("structure", "list", "map"):
                yield from ((f"a value {why}", {fitting(shape.key): bad}) for why, bad in bad_values(shape.value))


def edge_values(shape: Any) -> Iterator[Any]:
    """Values that only just fit."""
    most, least = constraint(shape, "max"), constraint(shape, "min")
    match shape.type_name:
        case "string":
            yield from constraint(shape, "enum") or ()
            for length in (least or 0, most if most is not None and most < LONGEST_TRIED else 300):
                yield fitting_text(shape, length)
        case "integer" | "long" | "float" | "double":
            yield from (bound for bound in (most, least) if bound is not None)
        case "blob":
            if most is not None and most < LONGEST_TRIED:
                yield b"x" * most
        case "list":
            for count in (least or 0, min(most if most is not None else 3, 1_000)):
                yield [fitting(shape.member)] * count
            yield from ([value] for value in edge_values(shape.member) if (most or 1) >= 1)
        case "map":
            yield from ({key: fitting(shape.value)} for key in edge_values(shape.key))


WRONG_TYPES: Final[dict[str, tuple[Any, ...]]] = {
    "string": (7, True, ["a"], {"a": "b"}),
    "blob": (7, True, ["a"], {"a": "b"}, "not Base64!"),
    "boolean": (7, "true", [True], {"a": True}),
    "integer": ("7", True, [7], {"a": 7}, 2**31, -(2**40), 1e300),
    "long": ("7", True, [7], {"a": 7}, 2**63, 1e300),
    "float": ("7", True, [7], {"a": 7}),
    "double": ("7", True, [7], {"a": 7}),
    "timestamp": (True, [7], {"a": 7}, "yesterday"),
    "list": ("a", 7, True, {"a": "b"}),
    "map": ("a", 7, True, ["a"]),
    "structure": ("a", 7, True, ["a"]),
}


def in_body(operation_name: str, at: Place) -> bool:
    """Whether the member comes as JSON."""
    shape = LAMBDA.operation_model(operation_name).input_shape
    member = shape.members[at[0]]
    return "location" not in member.serialization and not (
        shape.serialization.get("payload") == at[0] and member.type_name == "blob"
    )

"""The small part of JSONPath that event targets use: `$`, `$.detail.state`, `$.detail["a b"]`, `$.resources[0]`, `[*]`.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html
"""

from __future__ import annotations

import re
from typing import Any, Final

from lambent.model.errors import LambentError


class PathError(LambentError):
    """Not a path of this kind."""


class Missing:
    """What a path finds where there is nothing. One of it exists: `MISSING`."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = Missing()
_STEP: Final = re.compile(
    r"""\.(?P<name>[^.\[\]\s'"]+)|\[(?:'(?P<single>[^']*)'|"(?P<double>[^"]*)"|(?P<index>-?\d+)|(?P<all>\*))\]"""
)


def parse_path(path: str) -> list[str | int | None]:
    """Names, indexes, and None for every element. Raises PathError."""
    if not path.startswith("$"):
        raise PathError(f"{path} does not begin with $")
    steps: list[str | int | None] = []
    at = 1
    while at < len(path):
        found = _STEP.match(path, at)
        if found is None:
            raise PathError(f"{path} is not a path behind {path[:at]}")
        if found["index"] is not None:
            steps.append(int(found["index"]))
        elif found["all"] is not None:
            steps.append(None)
        else:
            steps.append(next(found[group] for group in ("name", "single", "double") if found[group] is not None))
        at = found.end()
    return steps


def find(path: str, value: Any) -> Any:
    """What is at the path, or MISSING. Raises PathError."""
    return _find(parse_path(path), value)


def _find(steps: list[str | int | None], value: Any) -> Any:
    for number, step in enumerate(steps):
        if step is None or (step == "*" and isinstance(value, list)):
            if not isinstance(value, list):
                return MISSING
            found = (_find(steps[number + 1 :], item) for item in value)
            return [item for item in found if item is not MISSING]
        if isinstance(step, int):
            if not isinstance(value, list) or not -len(value) <= step < len(value):
                return MISSING
            value = value[step]
        else:
            if not isinstance(value, dict) or step not in value:
                return MISSING
            value = value[step]
    return value

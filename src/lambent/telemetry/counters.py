"""Counts of what happened, by name and labels. On the event loop only, so without locks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Labels = tuple[tuple[str, str], ...]


class Counters:
    """Numbers that grow, and numbers that stand."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, Labels], float] = {}

    def add(self, name: str, amount: float = 1, **labels: str) -> None:
        key = (name, tuple(sorted(labels.items())))
        self._values[key] = self._values.get(key, 0) + amount

    def set(self, name: str, value: float, **labels: str) -> None:
        self._values[name, tuple(sorted(labels.items()))] = value

    def get(self, name: str, **labels: str) -> float:
        return self._values.get((name, tuple(sorted(labels.items()))), 0)

    def snapshot(self) -> Mapping[tuple[str, Labels], float]:
        return dict(self._values)

    def exposition(self) -> str:
        """The text that Prometheus reads (https://prometheus.io/docs/instrumenting/exposition_formats/)."""
        lines = [f"{name}{_braces(labels)} {value:.17g}" for (name, labels), value in sorted(self._values.items())]
        return "".join(f"{line}\n" for line in lines)


def _braces(labels: Labels) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}" if labels else ""


def _escaped(value: Any) -> str:
    return str(value).replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")

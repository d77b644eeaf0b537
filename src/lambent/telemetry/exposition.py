"""Figures as Prometheus reads them: https://prometheus.io/docs/instrumenting/exposition_formats/ (text, 0.0.4)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from lambent.model.metrics import Series

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_NOT_A_NAME: Final = re.compile(r"[^a-zA-Z0-9_]+")
_OF_VERSIONS: Final = ("ProvisionedConcurrentExecutions", "ProvisionedConcurrencyUtilization")
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def exposition(totals: Mapping[Series, tuple[float, float]], gauges: Mapping[Series, float]) -> str:
    """Counts as counters, other units as summaries of their count and sum, what stands as gauges.

    A function's figures are there once, by its name: what CloudWatch has beside them by version, alias and for all
    functions is the same again. (Only what is provisioned belongs to versions.)
    """
    families: dict[str, tuple[str, list[str]]] = {}
    for series, (count, total) in sorted(totals.items()):
        if not is_told(series):
            continue
        name, labels = _name(series), _labels(series)
        if series.unit == "Count":
            _family(families, f"{name}_total", "counter").append(f"{name}_total{labels} {total:.17g}")
        else:
            name = f"{name.removesuffix(f'_{series.unit.lower()}')}_{series.unit.lower()}"
            lines = _family(families, name, "summary")
            lines += [f"{name}_sum{labels} {total:.17g}", f"{name}_count{labels} {count:.17g}"]
    for series, value in sorted(gauges.items()):
        if not is_told(series):
            continue
        _family(families, _name(series), "gauge").append(f"{_name(series)}{_labels(series)} {value:.17g}")
    return "".join(
        f"# TYPE {name} {kind}\n" + "".join(f"{line}\n" for line in lines)
        for name, (kind, lines) in sorted(families.items())
    )


def is_told(series: Series) -> bool:
    """Whether the page has it."""
    of_resource = any(name == "Resource" for name, _ in series.dimensions)
    return bool(series.dimensions) and (not of_resource or series.name in _OF_VERSIONS)


def _family(families: dict[str, tuple[str, list[str]]], name: str, kind: str) -> list[str]:
    return families.setdefault(name, (kind, []))[1]


def _name(series: Series) -> str:
    """`AWS/Lambda`, `AsyncEventAge` → `lambent_lambda_async_event_age`."""
    return f"lambent_{_snake(series.namespace.removeprefix('AWS/'))}_{_snake(series.name)}"


def _labels(series: Series) -> str:
    labels = [("account_id", series.account_id), ("region", series.region)]
    labels += [(_snake(name), value) for name, value in series.dimensions]
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _snake(name: str) -> str:
    return _NOT_A_NAME.sub("_", _HUMP.sub("_", name)).lower()


def _escaped(value: Any) -> str:
    return str(value).replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")

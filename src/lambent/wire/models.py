"""botocore's service models: found on disk, indexed by what requests carry, loaded when they are first needed."""

from __future__ import annotations

import gzip
import importlib.util
import re
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import attrs
import msgspec

from lambent.wire.shapes import Service

_HEAD_BYTES: Final = 4096  # a model's metadata comes first; the whole of it is seldom needed
_METADATA: Final = re.compile(r'"metadata"\s*:\s*(\{)')


@attrs.frozen(kw_only=True)
class ServiceSummary:
    """What the index knows of a service without loading its model."""

    name: str  # botocore's: "lambda"
    protocol: str
    signing_name: str
    endpoint_prefix: str
    api_version: str
    target_prefix: str | None


class _Head(msgspec.Struct, rename="camel"):
    protocol: str
    endpoint_prefix: str
    api_version: str
    signing_name: str | None = None
    target_prefix: str | None = None


class Models:
    """Every service that the installed botocore knows."""

    def __init__(self, data_dir: Path | None = None) -> None:
        """`data_dir` is botocore's `data` directory; None finds the installed one without importing it."""
        self._data_dir = data_dir or _installed_data_dir()
        self._services: dict[str, Service] = {}

    def service(self, name: str) -> Service:
        """The model of a service by botocore's name, loaded once. Raises KeyError."""
        if name not in self._services:
            self._services[name] = Service(name, _load(self._model_path(name)))
        return self._services[name]

    def has(self, name: str) -> bool:
        return name in self._services or bool(_SERVICE_NAME.fullmatch(name) and self._find(name))

    @cached_property
    def index(self) -> dict[str, ServiceSummary]:
        """All services by name. Takes about 0.1 s the first time: 440 files are opened, and only their heads read."""
        summaries = (self._summary(path.name) for path in sorted(self._data_dir.iterdir()) if path.is_dir())
        return {summary.name: summary for summary in summaries if summary is not None}

    def by_signing_name(self, signing_name: str) -> list[ServiceSummary]:
        """Services whose requests are signed for this name; the one that bears it comes first."""
        return self._sorted_by_fit(signing_name, self._by_signing_name.get(signing_name, []))

    def by_endpoint_prefix(self, prefix: str) -> list[ServiceSummary]:
        """Services whose host names begin so: "lambda", "api.ecr"."""
        return self._sorted_by_fit(prefix, self._by_endpoint_prefix.get(prefix, []))

    def by_target_prefix(self, prefix: str) -> list[ServiceSummary]:
        """Services of this X-Amz-Target, without the operation."""
        return self._by_target_prefix.get(prefix, [])

    def by_query_version(self, version: str) -> list[ServiceSummary]:
        """Services of the query protocols with this `Version`."""
        return [s for s in self.index.values() if s.api_version == version and s.protocol in ("query", "ec2")]

    @cached_property
    def _by_signing_name(self) -> dict[str, list[ServiceSummary]]:
        return _grouped((s.signing_name, s) for s in self.index.values())

    @cached_property
    def _by_endpoint_prefix(self) -> dict[str, list[ServiceSummary]]:
        return _grouped((s.endpoint_prefix, s) for s in self.index.values())

    @cached_property
    def _by_target_prefix(self) -> dict[str, list[ServiceSummary]]:
        return _grouped((s.target_prefix, s) for s in self.index.values() if s.target_prefix)

    @staticmethod
    def _sorted_by_fit(name: str, summaries: list[ServiceSummary]) -> list[ServiceSummary]:
        return sorted(summaries, key=lambda s: (s.name != name, s.name))

    def _summary(self, name: str) -> ServiceSummary | None:
        path = self._find(name)
        if path is None:
            return None
        with _open(path) as file:
            head = file.read(_HEAD_BYTES).decode("utf-8", "replace")
        metadata = _metadata_of(head)
        if metadata is None:
            metadata = msgspec.convert(_load(path)["metadata"], _Head)
        return ServiceSummary(
            name=name,
            protocol=metadata.protocol,
            signing_name=metadata.signing_name or metadata.endpoint_prefix,
            endpoint_prefix=metadata.endpoint_prefix,
            api_version=metadata.api_version,
            target_prefix=metadata.target_prefix,
        )

    def _model_path(self, name: str) -> Path:
        path = self._find(name) if _SERVICE_NAME.fullmatch(name) else None
        if path is None:
            raise KeyError(name)
        return path

    def _find(self, name: str) -> Path | None:
        """The newest version's model file."""
        directory = self._data_dir / name
        if not directory.is_dir():
            return None
        for version in sorted((p.name for p in directory.iterdir()), reverse=True):
            for file_name in ("service-2.json.gz", "service-2.json"):
                if (path := directory / version / file_name).is_file():
                    return path
        return None


_SERVICE_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]*")


def _installed_data_dir() -> Path:
    spec = importlib.util.find_spec("botocore")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("botocore is not installed: reinstall lambent with its dependencies")
    return Path(spec.submodule_search_locations[0]) / "data"


def _open(path: Path) -> Any:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def _load(path: Path) -> dict[str, Any]:
    with _open(path) as file:
        model: dict[str, Any] = msgspec.json.decode(file.read())
    _forget_documentation(model)
    return model


def _forget_documentation(model: dict[str, Any]) -> None:
    """Prose is most of a model, and nothing here reads it."""
    model.pop("documentation", None)
    for operation in model["operations"].values():
        operation.pop("documentation", None)
    for shape in model["shapes"].values():
        shape.pop("documentation", None)
        for reference in (*shape.get("members", {}).values(), *(shape.get(r) for r in ("member", "key", "value"))):
            if reference:
                reference.pop("documentation", None)


def _metadata_of(head: str) -> _Head | None:
    """The metadata object at the beginning of a model; None when it is not all there."""
    found = _METADATA.search(head)
    if found is None:
        return None
    start, depth = found.start(1), 0
    for brace in re.compile(r'"(?:\\.|[^"\\])*"|[{}]').finditer(head, start):
        depth += {"{": 1, "}": -1}.get(brace.group(), 0)
        if depth == 0:
            return msgspec.json.decode(head[start : brace.end()].encode(), type=_Head)
    return None


def _grouped(pairs: Iterable[tuple[str | None, ServiceSummary]]) -> dict[str, list[ServiceSummary]]:
    groups: dict[str, list[ServiceSummary]] = {}
    for key, summary in pairs:
        groups.setdefault(key or "", []).append(summary)
    return groups

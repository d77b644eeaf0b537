"""Where a request is made, and one thing that it needs permission for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from lambent.model.names import FunctionAddress


@attrs.frozen
class Place:
    """The caller's account and the request's region."""

    account_id: str
    region: str

    def arn(self, service: str, resource: str) -> str:
        return f"arn:aws:{service}:{self.region}:{self.account_id}:{resource}"


@attrs.frozen
class Target:
    """One action on one resource. `context` are condition keys that only this one has."""

    action: str
    resource: str
    account_id: str  # whose the resource is
    context: Mapping[str, str | bool | int | float | Iterable[str]] = attrs.field(factory=dict)
    function: FunctionAddress | None = None  # whose policy speaks of it
    layer: tuple[str, int] | None = None  # name and version

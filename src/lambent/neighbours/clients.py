"""Lambent as a client of AWS services: its own in the process, its neighbours', or real endpoints where they are configured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lambent import ports
from lambent.model.errors import AwsError
from lambent.model.request import RequestContext
from lambent.neighbours.neighbours import Neighbours


class ServiceClients:
    """Implements `ports.Clients`. Services of Lambent's own are added when they stand: they are clients themselves."""

    def __init__(self, neighbours: Neighbours) -> None:
        self._neighbours = neighbours
        self._own: dict[str, ports.Service] = {}
        self._shared: dict[str, ports.Service] = {}

    def add(self, service: ports.Service) -> None:
        self._own[service.name] = service

    def share(self, service: ports.Service) -> None:
        """One whose other operations are the neighbours'."""
        self._shared[service.name] = service

    async def call(
        self, context: RequestContext, service: str, operation: str, request: Mapping[str, Any]
    ) -> dict[str, Any]:
        own, shared = self._own.get(service), self._shared.get(service)
        if shared is not None and operation in shared.operations and self._neighbours.endpoint_of(service) is None:
            return await shared.operations[operation](context, dict(request))
        if own is None or self._neighbours.endpoint_of(service) is not None:
            return await self._neighbours.call(context, service, operation, request, as_sent=False)
        work = own.operations.get(operation)
        if work is None:
            raise AwsError("NotImplemented", f"{service}:{operation} is not built.", 501)
        return await work(context, dict(request))

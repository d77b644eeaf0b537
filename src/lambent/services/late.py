"""Services that are opened after the server has begun to answer; whoever asks for one early waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

from lambent.model.errors import AwsError
from lambent.model.request import RequestContext
from lambent.ports import Operation, Service


class LateService:
    """Implements ports.Service for one that `open` gives, or `fail` says will not come."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._service: asyncio.Future[Service] = asyncio.get_running_loop().create_future()
        self.operations: Mapping[str, Operation] = _Operations(self)

    def open(self, service: Service) -> None:
        self._service.set_result(service)

    def fail(self, error: BaseException) -> None:
        """Every request is answered with AWS's error for a service that has a fault."""
        self._service.set_exception(error)
        self._service.exception()  # it has been seen, also when nobody asks for the service

    @property
    def opened(self) -> Service | None:
        return self._service.result() if self._service.done() and self._service.exception() is None else None

    async def operation(self, name: str) -> Operation:
        """Raises AwsError: 501 NotImplemented, as of any operation that is not built."""
        service = await asyncio.shield(self._service)
        operation = service.operations.get(name)
        if operation is None:
            raise AwsError("NotImplemented", f"{self.name}:{name} is not built in this Lambent.", 501)
        return operation


class _Operations(Mapping[str, Operation]):
    """All that the service has, and until it is there whatever is asked for."""

    def __init__(self, late: LateService) -> None:
        self._late = late

    def __getitem__(self, name: str) -> Operation:
        if (service := self._late.opened) is not None:
            return service.operations[name]

        async def call(context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
            return await (await self._late.operation(name))(context, request)

        return call

    def __iter__(self) -> Iterator[str]:
        service = self._late.opened
        return iter(service.operations if service is not None else ())

    def __len__(self) -> int:
        service = self._late.opened
        return len(service.operations) if service is not None else 0

"""The seam: what the gateway hands over and what Lambent itself calls goes to the neighbours' process or to real endpoints."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from lambent.model.errors import AwsError, service_fault
from lambent.model.limits import MIB
from lambent.model.object_event import ObjectEvent
from lambent.model.request import RequestContext
from lambent.neighbours import frames
from lambent.neighbours.directory import Directory
from lambent.neighbours.endpoints import Endpoints
from lambent.neighbours.operations import is_read
from lambent.neighbours.process import NeighboursProcess
from lambent.wire.messages import WireRequest, WireResponse

WHOLE_MAX_BYTES: Final = 128 * MIB  # longer ones are sent as they come, and do not say how long they are

ObjectsChanged = Callable[[RequestContext, Sequence[ObjectEvent]], Awaitable[None]]
"""What a request did to S3's objects. It returns when those who want to know will; it must not raise."""

TablesChanged = Callable[[str, str], None]
"""That something was written to DynamoDB: account and region."""

RootKey = Callable[[str], tuple[str, str]]
"""An account's own access key and secret: what neighbours call our front door with."""


class Neighbours:
    """Every service that Lambent does not build itself. Implements `ports.Neighbours`."""

    objects_changed: ObjectsChanged | None = None  # told before whoever changed them is answered
    tables_changed: TablesChanged | None = None  # the same

    def __init__(
        self, process: NeighboursProcess, endpoints: Endpoints, directory: Directory, root_key: RootKey
    ) -> None:
        self._process = process
        self._endpoints = endpoints
        self._directory = directory
        self._root_key = root_key

    def endpoint_of(self, service: str) -> str | None:
        """The address of a service that the configuration sends elsewhere."""
        return self._endpoints.url_of(service)

    async def answer(self, context: RequestContext, service: str, operation: str, request: WireRequest) -> WireResponse:
        """A client's request, admitted by the gateway. Raises AwsError; NotImplemented for what is not offered."""
        if self._endpoints.url_of(service) is not None:
            return await self._endpoints.forward(context, service, request)
        question = frames.Wire(
            service=service,
            operation=operation,
            account_id=context.account_id,
            region=context.region,
            request_id=context.request_id,
            access_key_id=context.access_key_id,
            root_key=self._root_key(context.account_id),
            method=request.method,
            path=request.path,
            query=request.query,
            headers=list(request.headers.items()),
        )
        try:
            answer, body_bytes, body = await self._process.exchange(question, request.body)
        except AwsError as error:
            if error.code != "ServiceException" or not is_read(service, operation):
                raise
            answer, body_bytes, body = await self._process.exchange(question, request.body)  # by the next process
        if not isinstance(answer, frames.Served):
            raise service_fault("The neighbours' process answered another question.")
        headers = _named_as_s3_does(answer.headers, context.request_id) if service == "s3" else answer.headers
        if body_bytes > WHOLE_MAX_BYTES:
            return WireResponse(status=answer.status, headers=headers, stream=body)
        whole = b"".join([chunk async for chunk in body])
        if answer.identities_changed:
            await self._directory.changed()
        await self._tell(context, service, operation, answer.happened)
        return WireResponse(status=answer.status, headers=headers, body=whole)

    async def call(
        self,
        context: RequestContext,
        service: str,
        operation: str,
        request: Mapping[str, Any],
        *,
        as_sent: bool = True,
    ) -> dict[str, Any]:
        """One operation by members; bodies are whole, as bytes. `as_sent`: see `frames.Call`. Raises AwsError."""
        if self._endpoints.url_of(service) is None and (service, operation) == ("iam", "GetRole") and self._is_unused:
            role = request.get("RoleName")  # asked for every new function: that alone is no reason to start a process
            raise AwsError("NoSuchEntity", f"The role with name {role} cannot be found.", 404)
        if self._endpoints.url_of(service) is not None:
            return await self._endpoints.call(context, service, operation, request)
        question = frames.Call(
            service=service,
            operation=operation,
            account_id=context.account_id,
            region=context.region,
            request_id=context.request_id,
            access_key_id=context.access_key_id,
            root_key=self._root_key(context.account_id),
            request=dict(request),
            as_sent=as_sent,
        )
        try:
            answer, _ = await self._process.ask(question)
        except AwsError as error:
            if error.code != "ServiceException" or not is_read(service, operation):
                raise
            answer, _ = await self._process.ask(question)  # by the next process
        if not isinstance(answer, frames.Result):
            raise service_fault("The neighbours' process answered another question.")
        if answer.identities_changed:
            await self._directory.changed()
        await self._tell(context, service, operation, answer.happened)
        members: dict[str, Any] = answer.value
        return members

    async def _tell(
        self, context: RequestContext, service: str, operation: str, objects: Sequence[ObjectEvent]
    ) -> None:
        if objects and self.objects_changed is not None:
            await self.objects_changed(context, objects)
        if service == "dynamodb" and self.tables_changed is not None and not is_read(service, operation):
            self.tables_changed(context.account_id, context.region)

    @property
    def _is_unused(self) -> bool:
        return not self._process.is_running and not self._process.has_state

    def about(self) -> dict[str, Any]:
        """For the health check."""
        told: dict[str, Any] = {"process": "running" if self._process.is_running else "not started"}
        if self._endpoints.urls:
            told["endpoints"] = dict(self._endpoints.urls)
        return told

    async def close(self) -> None:
        await self._process.close()


def _named_as_s3_does(headers: list[tuple[str, str]], request_id: str) -> list[tuple[str, str]]:
    """With the request's names that are in notifications too."""
    others = [(name, value) for name, value in headers if name.lower() != "x-amzn-requestid"]
    host_id = base64.b64encode(request_id.encode()).decode()
    return [*others, ("x-amz-request-id", request_id), ("x-amz-id-2", host_id)]

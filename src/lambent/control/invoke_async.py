"""InvokeAsync, Lambda's first way to leave an event and go; Invoke with the type Event has replaced it.

https://docs.aws.amazon.com/lambda/latest/api/API_InvokeAsync.html
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import msgspec

from lambent.control.tools import located
from lambent.model.errors import invalid_request_content
from lambent.model.invocation import Invocation
from lambent.model.request import RequestContext
from lambent.ports import Enqueue, FunctionResolver, Operation


def invoke_async(resolver: FunctionResolver, enqueue: Enqueue) -> Mapping[str, Operation]:
    """The operation by its name."""

    async def call(context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = located(context, request, "InvokeAsync")
        payload = bytes(request.get("InvokeArgs") or b"{}")
        try:
            msgspec.json.decode(payload, type=msgspec.Raw)
            payload.decode()
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise invalid_request_content("Could not parse request body into json: InvokeArgs is not JSON.") from error
        resolver.resolve(*address.key, address.qualifier, random.random())
        await enqueue(
            Invocation(
                request_id=context.request_id,
                account_id=address.account_id,
                region=address.region,
                function_name=address.name,
                qualifier=address.qualifier,
                payload=payload,
            )
        )
        return {"Status": 202}

    return {"InvokeAsync": call}

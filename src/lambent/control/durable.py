"""Durable executions. None is ever begun here yet, so what AWS says of one that does not exist is the whole truth."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from lambent.control.tools import Tools, located, need_qualified
from lambent.model.errors import AwsError, invalid_parameter, not_found
from lambent.model.names import access_denied
from lambent.model.request import RequestContext
from lambent.ports import Operation

# MODEL, DurableExecutionArn: the function's version, then the execution's name and id.
_EXECUTION: Final = re.compile(
    r"arn:[a-zA-Z0-9-]+:lambda:(?P<region>[a-zA-Z0-9-]+):(?P<account>\d{12}):function:[a-zA-Z0-9_-]+:"
    r"(\$LATEST(\.PUBLISHED)?|[0-9]+)/durable-execution/[a-zA-Z0-9_-]+/[a-zA-Z0-9_-]+"
)
_OF_AN_EXECUTION: Final = (
    "GetDurableExecution", "GetDurableExecutionHistory", "StopDurableExecution", "PauseDurableExecution",
    "ResumeDurableExecution", "DeleteDurableExecution",
)  # fmt: skip
_BY_TOKEN: Final = ("CheckpointDurableExecution", "GetDurableExecutionState")
_OF_A_CALLBACK: Final = (
    "SendDurableExecutionCallbackSuccess", "SendDurableExecutionCallbackFailure",
    "SendDurableExecutionCallbackHeartbeat",
)  # fmt: skip


class DurableOperations:
    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self.operations: Mapping[str, Operation] = {
            **{name: _without_execution(name) for name in _OF_AN_EXECUTION},
            **dict.fromkeys(_BY_TOKEN, _without_token),
            **dict.fromkeys(_OF_A_CALLBACK, _without_callback),
            "ListDurableExecutionsByFunction": self.list_durable_executions_by_function,
        }

    async def list_durable_executions_by_function(
        self, context: RequestContext, request: dict[str, Any]
    ) -> dict[str, Any]:
        need_qualified(self._tools.catalog, located(context, request, "ListDurableExecutionsByFunction"))
        return {"DurableExecutions": []}


def _without_execution(name: str) -> Operation:
    async def operation(context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        raise _no_execution(context, request["DurableExecutionArn"], name)

    return operation


def _no_execution(context: RequestContext, arn: str, operation: str) -> AwsError:
    found = _EXECUTION.fullmatch(arn)
    if found is None:
        return invalid_parameter(f"Invalid durable execution ARN: {arn}")
    if found["account"] != context.account_id:
        return access_denied(context.account_id, f"lambda:{operation}", arn)
    return not_found(f"Durable execution not found: {arn}")


async def _without_token(context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
    """The model knows no ResourceNotFoundException for these: they are for whoever runs an execution."""
    if _EXECUTION.fullmatch(request["DurableExecutionArn"]) is None:
        raise invalid_parameter(f"Invalid durable execution ARN: {request['DurableExecutionArn']}")
    raise invalid_parameter("Invalid Checkpoint Token: it belongs to no durable execution.")


async def _without_callback(context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
    raise not_found(f"Callback not found: {request['CallbackId']}")

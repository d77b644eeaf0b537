"""Capacity providers: machines of the customer's own on which Lambda runs functions. They are not offered.

Functions already run on a machine of their owner's; so there are none to get, change or delete, and none can be made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lambent.control.tools import Tools, located, need_qualified
from lambent.model.errors import AwsError, invalid_parameter, not_found
from lambent.model.request import RequestContext
from lambent.ports import Operation

NOT_OFFERED: Final = "Capacity providers are not offered by Lambent: functions run on the machines that run it."


class CapacityOperations:
    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self.operations: Mapping[str, Operation] = {
            "CreateCapacityProvider": self.create_capacity_provider,
            "GetCapacityProvider": self.no_capacity_provider,
            "UpdateCapacityProvider": self.no_capacity_provider,
            "DeleteCapacityProvider": self.no_capacity_provider,
            "ListCapacityProviders": self.list_capacity_providers,
            "ListFunctionVersionsByCapacityProvider": self.no_capacity_provider,
            "PutFunctionScalingConfig": self.no_scaling_config,
            "GetFunctionScalingConfig": self.no_scaling_config,
        }

    async def create_capacity_provider(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        raise invalid_parameter(NOT_OFFERED)

    async def list_capacity_providers(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        return {"CapacityProviders": []}

    async def no_capacity_provider(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        raise _not_found(context, request["CapacityProviderName"])

    async def no_scaling_config(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        need_qualified(self._tools.catalog, located(context, request, "GetFunctionScalingConfig"))
        raise invalid_parameter(
            f"Scaling configurations are only for functions with a capacity provider. {NOT_OFFERED}"
        )


def _not_found(context: RequestContext, name: str) -> AwsError:
    arn = (
        name
        if name.startswith("arn:")
        else f"arn:aws:lambda:{context.region}:{context.account_id}:capacity-provider:{name}"
    )
    return not_found(f"Capacity provider not found: {arn}. {NOT_OFFERED}")

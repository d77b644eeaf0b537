"""Whether a function may be called by what it itself set off."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from lambent.control.tools import Tools, located_unqualified, need_settings
from lambent.model.function import FunctionSettings
from lambent.model.request import RequestContext
from lambent.ports import CatalogTransaction, Operation

FAMILY: Final = "recursion"  # {"RecursiveLoop": "Allow"}
ALLOW: Final = "Allow"
TERMINATE: Final = "Terminate"  # GetFunctionRecursionConfig: the default


def recursive_loop_of(settings: FunctionSettings) -> str:
    """`Allow` or `Terminate`: what happens to an event that has come back to the function too often."""
    chosen: str = (settings.extra.get(FAMILY) or {}).get("RecursiveLoop", TERMINATE)
    return chosen


class RecursionOperations:
    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self.operations: Mapping[str, Operation] = {
            "PutFunctionRecursionConfig": self.put_function_recursion_config,
            "GetFunctionRecursionConfig": self.get_function_recursion_config,
        }

    async def put_function_recursion_config(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = located_unqualified(context, request, "PutFunctionRecursionConfig")
        chosen: str = request["RecursiveLoop"]

        def work(tx: CatalogTransaction) -> None:
            settings = need_settings(tx, address)
            tx.put_settings(
                address, attrs.evolve(settings, extra={**settings.extra, FAMILY: {"RecursiveLoop": chosen}})
            )

        await self._tools.catalog.transact(work)
        return {"RecursiveLoop": chosen}

    async def get_function_recursion_config(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = located_unqualified(context, request, "GetFunctionRecursionConfig")
        return {"RecursiveLoop": recursive_loop_of(need_settings(self._tools.catalog, address))}

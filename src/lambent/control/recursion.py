"""Whether a function may be called by what it itself set off."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from lambent.control.tools import Tools, located_unqualified, need_settings
from lambent.model.lineage import FAMILY, recursive_loop_of
from lambent.model.request import RequestContext
from lambent.ports import CatalogTransaction, Operation


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

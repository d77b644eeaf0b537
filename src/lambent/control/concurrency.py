"""Reserved concurrency: what of the account's a function keeps for itself, and may not go beyond."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from lambent.control.provisioned import provisioned_elsewhere, total_provisioned
from lambent.control.tools import function_not_found, located_unqualified, need_settings
from lambent.model.concurrency import check_reserve
from lambent.model.errors import invalid_parameter
from lambent.model.function import LATEST
from lambent.model.request import RequestContext
from lambent.ports import Catalog, CatalogTransaction, Operation


class ConcurrencyOperations:
    def __init__(self, catalog: Catalog, account_limit: int) -> None:
        self._catalog = catalog
        self._account_limit = account_limit
        self.operations: Mapping[str, Operation] = {
            "PutFunctionConcurrency": self.put_function_concurrency,
            "GetFunctionConcurrency": self.get_function_concurrency,
            "DeleteFunctionConcurrency": self.delete_function_concurrency,
        }

    async def put_function_concurrency(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = located_unqualified(context, request, "PutFunctionConcurrency")
        wanted: int = request["ReservedConcurrentExecutions"]

        def work(tx: CatalogTransaction) -> None:
            settings = tx.settings(address)
            if settings is None:
                raise function_not_found(attrs.evolve(address, qualifier=LATEST))  # only here AWS names it so
            provisioned = total_provisioned(settings)
            if wanted < provisioned:
                raise invalid_parameter(
                    f" ReservedConcurrentExecutions  {wanted} should not be lower than "
                    f"function's total provisioned concurrency [{provisioned}]."
                )
            reserved = tx.usage(address.account_id, address.region).reserved_concurrency
            others = reserved - (settings.reserved_concurrency or 0) + provisioned_elsewhere(tx, address)
            check_reserve(self._account_limit, others, wanted)
            tx.put_settings(address, attrs.evolve(settings, reserved_concurrency=wanted))

        await self._catalog.transact(work)
        return {"ReservedConcurrentExecutions": wanted}

    async def get_function_concurrency(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = located_unqualified(context, request, "GetFunctionConcurrency")
        reserved = need_settings(self._catalog, address).reserved_concurrency
        return {} if reserved is None else {"ReservedConcurrentExecutions": reserved}

    async def delete_function_concurrency(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = located_unqualified(context, request, "DeleteFunctionConcurrency")

        def work(tx: CatalogTransaction) -> None:
            tx.put_settings(address, attrs.evolve(need_settings(tx, address), reserved_concurrency=None))

        await self._catalog.transact(work)
        return {}

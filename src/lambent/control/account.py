"""What an account has and may have; and what of it a function reserves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from lambent.control.tools import Tools, located_unqualified, need_settings
from lambent.model.errors import invalid_parameter
from lambent.model.limits import (
    ACCOUNT_CONCURRENCY,
    UNRESERVED_CONCURRENCY_MIN,
    UNZIPPED_MAX_BYTES,
    ZIP_UPLOAD_MAX_BYTES,
)
from lambent.model.request import RequestContext
from lambent.ports import CatalogTransaction, Operation


class AccountOperations:
    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self.operations: Mapping[str, Operation] = {
            "GetAccountSettings": self.get_account_settings,
            "PutFunctionConcurrency": self.put_function_concurrency,
            "GetFunctionConcurrency": self.get_function_concurrency,
            "DeleteFunctionConcurrency": self.delete_function_concurrency,
        }

    async def get_account_settings(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        usage = await self._tools.catalog.usage(context.account_id, context.region)
        return {
            "AccountLimit": {
                "TotalCodeSize": self._tools.code_storage_max_bytes,
                "CodeSizeUnzipped": UNZIPPED_MAX_BYTES,
                "CodeSizeZipped": ZIP_UPLOAD_MAX_BYTES,
                "ConcurrentExecutions": ACCOUNT_CONCURRENCY,
                "UnreservedConcurrentExecutions": ACCOUNT_CONCURRENCY - usage.reserved_concurrency,
            },
            "AccountUsage": {"TotalCodeSize": usage.code_bytes, "FunctionCount": usage.function_count},
        }

    async def put_function_concurrency(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = located_unqualified(context, request, "PutFunctionConcurrency")
        wanted: int = request["ReservedConcurrentExecutions"]

        def work(tx: CatalogTransaction) -> None:
            settings = need_settings(tx, address)
            others = tx.usage(address.account_id, address.region).reserved_concurrency - (
                settings.reserved_concurrency or 0
            )
            if wanted and ACCOUNT_CONCURRENCY - others - wanted < UNRESERVED_CONCURRENCY_MIN:
                raise invalid_parameter(
                    "Specified ReservedConcurrentExecutions for function decreases account's "
                    f"UnreservedConcurrentExecution below its minimum value of [{UNRESERVED_CONCURRENCY_MIN}]."
                )
            tx.put_settings(address, attrs.evolve(settings, reserved_concurrency=wanted))

        await self._tools.catalog.transact(work)
        return {"ReservedConcurrentExecutions": wanted}

    async def get_function_concurrency(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = located_unqualified(context, request, "GetFunctionConcurrency")
        reserved = need_settings(self._tools.catalog, address).reserved_concurrency
        return {} if reserved is None else {"ReservedConcurrentExecutions": reserved}

    async def delete_function_concurrency(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = located_unqualified(context, request, "DeleteFunctionConcurrency")

        def work(tx: CatalogTransaction) -> None:
            tx.put_settings(address, attrs.evolve(need_settings(tx, address), reserved_concurrency=None))

        await self._tools.catalog.transact(work)
        return {}

"""What an account has and may have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lambent.control.tools import Tools
from lambent.model.limits import UNZIPPED_MAX_BYTES, ZIP_UPLOAD_MAX_BYTES
from lambent.model.request import RequestContext
from lambent.ports import Operation


class AccountOperations:
    def __init__(self, tools: Tools, account_concurrency: int) -> None:
        self._tools = tools
        self._account_concurrency = account_concurrency
        self.operations: Mapping[str, Operation] = {
            "GetAccountSettings": self.get_account_settings,
        }

    async def get_account_settings(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        usage = await self._tools.catalog.usage(context.account_id, context.region)
        return {
            "AccountLimit": {
                "TotalCodeSize": self._tools.code_storage_max_bytes,
                "CodeSizeUnzipped": UNZIPPED_MAX_BYTES,
                "CodeSizeZipped": ZIP_UPLOAD_MAX_BYTES,
                "ConcurrentExecutions": self._account_concurrency,
                "UnreservedConcurrentExecutions": self._account_concurrency - usage.reserved_concurrency,
            },
            "AccountUsage": {"TotalCodeSize": usage.code_bytes, "FunctionCount": usage.function_count},
        }

"""Tags, of functions only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from lambent.control.checks import check_tags
from lambent.control.tools import Tools, need_settings
from lambent.model.errors import invalid_parameter, not_found
from lambent.model.names import FunctionAddress, locate_function
from lambent.model.request import RequestContext
from lambent.ports import CatalogTransaction, Operation


class TagOperations:
    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self.operations: Mapping[str, Operation] = {
            "TagResource": self.tag_resource,
            "UntagResource": self.untag_resource,
            "ListTags": self.list_tags,
        }

    async def tag_resource(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = _located(context, request["Resource"], "TagResource")

        def work(tx: CatalogTransaction) -> None:
            settings = need_settings(tx, address)
            tags = {**settings.tags, **request["Tags"]}
            check_tags(tags)
            tx.put_settings(address, attrs.evolve(settings, tags=tags))

        await self._tools.catalog.transact(work)
        return {}

    async def untag_resource(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = _located(context, request["Resource"], "UntagResource")
        removed = set(request["TagKeys"])

        def work(tx: CatalogTransaction) -> None:
            settings = need_settings(tx, address)
            kept = {key: value for key, value in settings.tags.items() if key not in removed}
            tx.put_settings(address, attrs.evolve(settings, tags=kept))

        await self._tools.catalog.transact(work)
        return {}

    async def list_tags(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = _located(context, request["Resource"], "ListTags")
        return {"Tags": dict(need_settings(self._tools.catalog, address).tags)}


def _located(context: RequestContext, resource: str, operation: str) -> FunctionAddress:
    """Event source mappings and code signing configurations have tags as well; there are none of them yet."""
    if ":function:" not in resource:
        raise not_found(f"Resource not found: {resource}")
    address = locate_function(resource, None, context.account_id, context.region, f"lambda:{operation}")
    if address.qualifier is not None:
        raise invalid_parameter(
            "Tags on function aliases and versions are not supported. Please specify a function ARN."
        )
    return address

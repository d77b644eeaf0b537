"""Tags of functions, event source mappings and code signing configurations.

A function's are in its settings; the others' are the member "Tags" of their documents.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from lambent.control.checks import check_tags
from lambent.control.code_signing import need_code_signing_config, put_code_signing_tags
from lambent.control.revisions import renew_revision
from lambent.control.tools import Tools, need_settings
from lambent.model.errors import invalid_parameter, not_found
from lambent.model.names import FunctionAddress, access_denied, locate_function
from lambent.model.request import RequestContext
from lambent.ports import CatalogTransaction, CatalogView, Operation

EVENT_SOURCE_MAPPING: Final = "event-source-mapping"  # kind of document, by UUID

Tags = Mapping[str, str]
Change = Callable[[Tags], dict[str, str]]

_ARN: Final = re.compile(r"arn:[^:]+:lambda:(?P<region>[^:]+):(?P<account>\d{12}):(?P<kind>[^:]+):(?P<name>.+)")


class TagOperations:
    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self.operations: Mapping[str, Operation] = {
            "TagResource": self.tag_resource,
            "UntagResource": self.untag_resource,
            "ListTags": self.list_tags,
        }

    async def tag_resource(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        resource = _resource(context, request["Resource"], "TagResource")
        given: Tags = request["Tags"]
        if not given:
            raise invalid_parameter("An error occurred and the request cannot be processed.")

        def tagged(tags: Tags) -> dict[str, str]:
            grown = {**tags, **given}
            check_tags(grown)
            return grown

        await self._tools.catalog.transact(lambda tx: resource.change(tx, tagged))
        return {}

    async def untag_resource(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        resource = _resource(context, request["Resource"], "UntagResource")
        removed = set(request["TagKeys"])

        def untagged(tags: Tags) -> dict[str, str]:
            return {key: value for key, value in tags.items() if key not in removed}

        await self._tools.catalog.transact(lambda tx: resource.change(tx, untagged))
        return {}

    async def list_tags(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        return {"Tags": dict(_resource(context, request["Resource"], "ListTags").tags(self._tools.catalog))}


@attrs.frozen
class _Function:
    address: FunctionAddress

    def tags(self, view: CatalogView) -> Tags:
        return need_settings(view, self.address).tags

    def change(self, tx: CatalogTransaction, change: Change) -> None:
        settings = need_settings(tx, self.address)
        changed = change(settings.tags)
        if changed != settings.tags:
            tx.put_settings(self.address, attrs.evolve(settings, tags=changed))
            renew_revision(tx, self.address)


@attrs.frozen
class _CodeSigningConfig:
    context: RequestContext
    arn: str

    def tags(self, view: CatalogView) -> Tags:
        tags: Tags = need_code_signing_config(view, self.context, self.arn).get("Tags") or {}
        return tags

    def change(self, tx: CatalogTransaction, change: Change) -> None:
        document = need_code_signing_config(tx, self.context, self.arn)
        put_code_signing_tags(tx, self.context, document, change(document.get("Tags") or {}))


@attrs.frozen
class _EventSourceMapping:
    context: RequestContext
    uuid: str

    def tags(self, view: CatalogView) -> Tags:
        tags: Tags = self._document(view).get("Tags") or {}
        return tags

    def change(self, tx: CatalogTransaction, change: Change) -> None:
        document = self._document(tx)
        changed = {**document, "Tags": change(document.get("Tags") or {})}
        tx.put_document(EVENT_SOURCE_MAPPING, self.context.account_id, self.context.region, self.uuid, changed)

    def _document(self, view: CatalogView) -> dict[str, Any]:
        found = view.document(EVENT_SOURCE_MAPPING, self.context.account_id, self.context.region, self.uuid)
        if found is None:
            raise not_found("The resource you requested does not exist.")
        return found


def _resource(
    context: RequestContext, arn: str, operation: str
) -> _Function | _CodeSigningConfig | _EventSourceMapping:
    """What an ARN names, whether it exists or not. Raises AwsError."""
    parts = _ARN.fullmatch(arn)
    if parts is None or parts["kind"] == "function":
        return _Function(_located(context, arn, operation))
    if parts["account"] != context.account_id:
        raise access_denied(context.account_id, f"lambda:{operation}", arn)
    if parts["region"] == context.region:
        if parts["kind"] == "code-signing-config":
            return _CodeSigningConfig(context, arn)
        if parts["kind"] == "event-source-mapping":
            return _EventSourceMapping(context, parts["name"].lower())
    raise not_found(f"Resource not found: {arn}")


def _located(context: RequestContext, resource: str, operation: str) -> FunctionAddress:
    address = locate_function(resource, None, context.account_id, context.region, f"lambda:{operation}")
    if address.qualifier is not None:
        raise invalid_parameter(
            "Tags on function aliases and versions are not supported. Please specify a function ARN."
        )
    return address

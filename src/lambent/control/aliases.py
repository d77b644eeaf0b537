"""Aliases and their weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from lambent.control import shapes
from lambent.control.checks import check_revision
from lambent.control.paging import page
from lambent.control.revisions import family, forget_qualifier
from lambent.control.tools import (
    Tools,
    function_not_found,
    located_unqualified,
    need_latest,
    need_settings,
    new_revision,
)
from lambent.model.errors import AwsError, conflict, invalid_parameter, not_found, validation
from lambent.model.function import LATEST, Alias
from lambent.model.names import (
    ALIAS_NAME_PATTERN,
    FunctionAddress,
    constraint_failed,
    is_alias_name,
    is_version,
    pattern_constraint,
)
from lambent.model.provisioned import FAMILY as PROVISIONED
from lambent.model.request import RequestContext
from lambent.ports import CatalogTransaction, Operation

_WEIGHTS: Final = "routingConfig.additionalVersionWeights"


class AliasOperations:
    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self.operations: Mapping[str, Operation] = {
            "CreateAlias": self.create_alias,
            "GetAlias": self.get_alias,
            "UpdateAlias": self.update_alias,
            "DeleteAlias": self.delete_alias,
            "ListAliases": self.list_aliases,
        }

    async def create_alias(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = located_unqualified(context, request, "CreateAlias")
        name = _checked_name(request["Name"])
        alias = Alias(
            account_id=address.account_id,
            region=address.region,
            function_name=address.name,
            name=name,
            function_version=request["FunctionVersion"],
            description=request.get("Description") or "",
            additional_weights=_weights(request),
            revision_id=new_revision(),
        )
        check_weights(alias)

        def work(tx: CatalogTransaction) -> None:
            if tx.latest(address) is None:
                raise function_not_found(attrs.evolve(address, qualifier=alias.function_version))
            if tx.alias(address, name) is not None:
                raise conflict(f"Alias already exists: {alias.arn}")
            _need_versions(tx, address, alias)
            tx.put_alias(alias)

        await self._tools.catalog.transact(work)
        return shapes.alias_configuration(alias)

    async def get_alias(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = located_unqualified(context, request, "GetAlias")
        alias = self._tools.catalog.alias(address, _checked_name(request["Name"]))
        if alias is None:
            raise _alias_not_found(address, request["Name"])
        return shapes.alias_configuration(alias)

    async def update_alias(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = located_unqualified(context, request, "UpdateAlias")
        name = _checked_name(request["Name"])

        def work(tx: CatalogTransaction) -> Alias:
            current = tx.alias(address, name)
            if current is None:
                raise _alias_not_found(address, name)
            check_revision(request.get("RevisionId"), current.revision_id)
            changes: dict[str, Any] = {"revision_id": new_revision()}
            if request.get("FunctionVersion") is not None:
                changes["function_version"] = request["FunctionVersion"]
            if request.get("Description") is not None:
                changes["description"] = request["Description"]
            if request.get("RoutingConfig") is not None:
                changes["additional_weights"] = _weights(request)
            alias = attrs.evolve(current, **changes)
            check_weights(alias)
            _need_versions(tx, address, alias)
            if alias.function_version == LATEST and name in family(need_settings(tx, address), PROVISIONED):
                # https://docs.aws.amazon.com/lambda/latest/dg/troubleshooting-deployment.html
                raise invalid_parameter("Invalid alias configuration for Provisioned Concurrency")
            tx.put_alias(alias)
            return alias

        return shapes.alias_configuration(await self._tools.catalog.transact(work))

    async def delete_alias(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = located_unqualified(context, request, "DeleteAlias")
        name = _checked_name(request["Name"])

        def work(tx: CatalogTransaction) -> None:
            need_latest(tx, address)
            tx.delete_alias(address, name)  # one that is gone already is no error at AWS
            forget_qualifier(tx, address, name)

        await self._tools.catalog.transact(work)
        return {}

    async def list_aliases(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = located_unqualified(context, request, "ListAliases")
        need_latest(self._tools.catalog, address)
        aliases = self._tools.catalog.aliases(address)
        if wanted := request.get("FunctionVersion"):
            aliases = [a for a in aliases if a.function_version == wanted or wanted in a.additional_weights]
        shown, more = page(aliases, lambda alias: alias.name, request)
        return {"Aliases": [shapes.alias_configuration(alias) for alias in shown], **more}


def _weights(request: Mapping[str, Any]) -> dict[str, float]:
    return dict((request.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {})


def _checked_name(name: str) -> str:
    if not is_alias_name(name):
        raise validation(constraint_failed(name, "name", pattern_constraint(ALIAS_NAME_PATTERN)))
    return name


def check_weights(alias: Alias) -> None:
    """Raises AwsError for weights that AWS does not take."""
    if len(alias.additional_weights) > 1:
        raise invalid_parameter("Number of items in AdditionalVersionWeights cannot be greater than 1")
    for version, weight in alias.additional_weights.items():
        shown = f"{{{version}={weight}}}"
        if not 0.0 <= weight <= 1.0:
            raise validation(
                constraint_failed(
                    shown,
                    _WEIGHTS,
                    "Map value must satisfy constraint: [Member must have value less than or equal to 1.0, "
                    "Member must have value greater than or equal to 0.0, Member must not be null]",
                )
            )
        if version == alias.function_version:
            raise invalid_parameter(
                f"Invalid function version {version}. "
                f"Function version {version} is already included in routing configuration."
            )
        if alias.function_version == LATEST:
            # The one error of its kind that AWS sends without `Type`.
            raise AwsError(
                "InvalidParameterValueException",
                "$LATEST is not supported for an alias pointing to more than 1 version",
                400,
            )
        if not is_version(version):
            raise validation(
                constraint_failed(
                    shown,
                    _WEIGHTS,
                    "Map keys must satisfy constraint: [Member must have length less than or equal to 1024, "
                    "Member must have length greater than or equal to 1, "
                    "Member must satisfy regular expression pattern: [0-9]+, Member must not be null]",
                )
            )


def _need_versions(tx: CatalogTransaction, address: FunctionAddress, alias: Alias) -> None:
    for version in (alias.function_version, *alias.additional_weights):
        if version != LATEST and (not is_version(version) or tx.version(address, int(version)) is None):
            raise function_not_found(attrs.evolve(address, qualifier=version))


def _alias_not_found(address: FunctionAddress, name: str) -> AwsError:
    return not_found(f"Cannot find alias arn: {address.arn}:{name}")

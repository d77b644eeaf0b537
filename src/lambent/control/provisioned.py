"""Provisioned concurrency: how many environments of a version or alias are to be there before they are asked for.

Configurations are kept in a function's settings by qualifier. `invoke/provisioned` starts the environments, and says what
there is of them; a document for each function that has any tells it where to look.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import attrs

from lambent.control.checks import is_tenant_isolated
from lambent.control.paging import page
from lambent.control.revisions import alias_not_found, family, with_family
from lambent.control.tools import function_not_found, located, located_unqualified, need_settings
from lambent.model.concurrency import check_provisioned
from lambent.model.errors import AwsError, conflict, invalid_parameter
from lambent.model.function import LATEST, Alias, FunctionSettings, FunctionVersion
from lambent.model.names import FunctionAddress, is_version
from lambent.model.provisioned import FAMILY, Provision
from lambent.model.request import RequestContext
from lambent.ports import PROVISIONED_INDEX, Catalog, CatalogTransaction, CatalogView, Clock, Operation, Provisioning


class ProvisionedConcurrencyOperations:
    """Without `provisioning` nothing is ever started, and every configuration says so."""

    def __init__(
        self, catalog: Catalog, clock: Clock, account_limit: int, provisioning: Provisioning | None = None
    ) -> None:
        self._catalog = catalog
        self._clock = clock
        self._account_limit = account_limit
        self._provisioning = provisioning
        self.operations: Mapping[str, Operation] = {
            "PutProvisionedConcurrencyConfig": self.put,
            "GetProvisionedConcurrencyConfig": self.get,
            "DeleteProvisionedConcurrencyConfig": self.delete,
            "ListProvisionedConcurrencyConfigs": self.list,
        }

    async def put(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = located(context, request, "PutProvisionedConcurrencyConfig")
        if address.qualifier == LATEST:
            raise _unpublished()
        wanted: int = request["ProvisionedConcurrentExecutions"]
        config = {"Requested": wanted, "LastModified": _timestamp(self._clock)}

        def work(tx: CatalogTransaction) -> None:
            version, alias = _need(tx, address)
            settings = need_settings(tx, address)
            configs = family(settings, FAMILY)
            _check_target(tx, address, version, alias, configs)
            others = sum(other["Requested"] for name, other in configs.items() if name != address.qualifier)
            reserved = tx.usage(address.account_id, address.region).reserved_concurrency
            aside = reserved + provisioned_elsewhere(tx, address)
            check_provisioned(self._account_limit, aside, settings.reserved_concurrency, others, wanted)
            configs[str(address.qualifier)] = config
            tx.put_settings(address, with_family(settings, FAMILY, configs))
            tx.put_document(PROVISIONED_INDEX, *address.key, {})

        await self._catalog.transact(work)
        # What was there before is there still; the new configuration has not failed yet, nor is it fulfilled.
        return _shown(config, attrs.evolve(self._provision(address), failure=None)) | {"Status": "IN_PROGRESS"}

    async def get(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = located(context, request, "GetProvisionedConcurrencyConfig")
        if address.qualifier == LATEST:
            raise _neither()
        _need(self._catalog, address)
        config = family(need_settings(self._catalog, address), FAMILY).get(str(address.qualifier))
        if config is None:
            raise AwsError(
                "ProvisionedConcurrencyConfigNotFoundException",
                "No Provisioned Concurrency Config found for this function",
                404,
                {"Type": "User"},
            )
        return _shown(config, self._provision(address))

    async def delete(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = located(context, request, "DeleteProvisionedConcurrencyConfig")
        if address.qualifier == LATEST:
            raise _neither()

        def work(tx: CatalogTransaction) -> None:
            _need(tx, address)
            settings = need_settings(tx, address)
            configs = family(settings, FAMILY)
            if configs.pop(str(address.qualifier), None) is not None:  # one that is gone already is no error at AWS
                tx.put_settings(address, with_family(settings, FAMILY, configs))

        await self._catalog.transact(work)
        return {}

    async def list(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = located_unqualified(context, request, "ListProvisionedConcurrencyConfigs")
        configs = sorted(
            family(need_settings(self._catalog, address), FAMILY).items(), key=lambda entry: _order(entry[0])
        )
        listed, more = page(configs, lambda entry: _order(entry[0]), request)
        shown = []
        for qualifier, config in listed:
            qualified = attrs.evolve(address, qualifier=qualifier)
            shown.append({"FunctionArn": qualified.qualified_arn, **_shown(config, self._provision(qualified))})
        return {"ProvisionedConcurrencyConfigs": shown, **more}

    def _provision(self, address: FunctionAddress) -> Provision:
        if self._provisioning is None:
            return Provision(failure="Provisioning is not offered by this server.")
        return self._provisioning.provision(address)


def total_provisioned(settings: FunctionSettings) -> int:
    """What all versions and aliases of a function have provisioned together."""
    return sum(config["Requested"] for config in family(settings, FAMILY).values())


def provisioned_elsewhere(view: CatalogView, address: FunctionAddress) -> int:
    """What the account's other functions have provisioned beyond reserves: of one with a reserve it is a part of that."""
    account_id, region, name = address.key
    others = (
        view.settings(attrs.evolve(address, name=other))
        for other in view.documents(PROVISIONED_INDEX, account_id, region)
        if other != name
    )
    return sum(total_provisioned(each) for each in others if each is not None and each.reserved_concurrency is None)


def _need(view: CatalogView, address: FunctionAddress) -> tuple[FunctionVersion | None, Alias | None]:
    """The version, or the alias, that the qualifier names. Raises AwsError ResourceNotFoundException."""
    qualifier = address.qualifier or ""
    if is_version(qualifier):
        version = view.version(address, int(qualifier))
        if version is None:
            raise function_not_found(address)
        return version, None
    alias = view.alias(address, qualifier)
    if alias is None:
        raise alias_not_found(address)
    version = None if alias.function_version == LATEST else view.version(address, int(alias.function_version))
    return version, alias


def _check_target(
    view: CatalogView,
    address: FunctionAddress,
    version: FunctionVersion | None,
    alias: Alias | None,
    configs: Mapping[str, Any],
) -> None:
    """Raises AwsError for a target that cannot have environments of its own."""
    if version is None:
        raise _unpublished()
    if alias is not None and alias.additional_weights:
        raise invalid_parameter("Alias with weights can not be used with Provisioned Concurrency")
    if version.extra.get("SnapStart") == "PublishedVersions":
        raise invalid_parameter("Provisioned Concurrency is not supported for SnapStart enabled functions.")
    if is_tenant_isolated(version):
        raise invalid_parameter("Provisioned Concurrency is not supported for functions with tenant isolation.")
    pointing = {
        other.name
        for other in view.aliases(address)
        if other.function_version == version.version and other.name in configs and other.name != address.qualifier
    }
    if alias is None and pointing:
        raise conflict("Version is pointed by a Provisioned Concurrency alias")
    if alias is not None and (version.version in configs or pointing):
        raise conflict(
            "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version"
        )


def _unpublished() -> AwsError:
    return invalid_parameter("Provisioned Concurrency Configs cannot be applied to unpublished function versions.")


def _neither() -> AwsError:
    return invalid_parameter("The function resource provided must be an alias or a published version.")


def _order(qualifier: str) -> str:
    """Versions by number, then aliases by name."""
    return f"1{int(qualifier):020d}" if is_version(qualifier) else f"2{qualifier}"


def _timestamp(clock: Clock) -> str:
    return datetime.fromtimestamp(clock.now(), UTC).strftime("%Y-%m-%dT%H:%M:%S") + "+0000"


def _shown(config: Mapping[str, Any], provision: Provision) -> dict[str, Any]:
    """GetProvisionedConcurrencyConfigResponse."""
    requested = config["Requested"]
    out = {
        "RequestedProvisionedConcurrentExecutions": requested,
        "AllocatedProvisionedConcurrentExecutions": min(provision.allocated, requested),
        "AvailableProvisionedConcurrentExecutions": min(provision.available, requested),
        "Status": provision.status(requested),
        "LastModified": config["LastModified"],
    }
    if provision.failure is not None:
        out["StatusReason"] = provision.failure
    return out

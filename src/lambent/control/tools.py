"""What every family of operations needs, and the few look-ups that they share."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import attrs

from lambent.control import shapes
from lambent.control.outside import Outside
from lambent.control.packages import Packages
from lambent.control.role_rights import RoleRights
from lambent.control.vault import Vault
from lambent.model.errors import AwsError, invalid_parameter, not_found
from lambent.model.function import LATEST, Alias, FunctionSettings, FunctionVersion
from lambent.model.limits import CODE_STORAGE_MAX_BYTES
from lambent.model.names import FunctionAddress, is_version, locate_function
from lambent.model.request import RequestContext
from lambent.ports import Catalog, CatalogView, Clock

BEING_CREATED: Final = "The function is being created."


@attrs.frozen
class Tools:
    catalog: Catalog
    packages: Packages
    clock: Clock
    vault: Vault
    outside: Outside
    code_storage_max_bytes: int = CODE_STORAGE_MAX_BYTES  # of one account in one region
    role_rights: RoleRights | None = None  # where policies decide
    has_image: Callable[[FunctionVersion], bool] | None = None  # whether a version's SnapStart is on

    async def configuration(
        self, context: RequestContext, version: FunctionVersion, arn: str | None = None
    ) -> dict[str, Any]:
        """FunctionConfiguration, with its variables readable. `arn` as in `shapes.configuration`."""
        return shapes.configuration(
            version, arn, await self.vault.described(context, version), self._has_image(version)
        )

    async def listed(self, context: RequestContext, version: FunctionVersion, arn: str | None = None) -> dict[str, Any]:
        """The same as lists show it."""
        return shapes.listed(version, arn, await self.vault.described(context, version), self._has_image(version))

    def _has_image(self, version: FunctionVersion) -> bool:
        return self.has_image is not None and self.has_image(version)

    def timestamp(self) -> str:
        """Now, as Lambda prints it: 2026-11-21T08:00:00.000+0000."""
        return datetime.fromtimestamp(self.clock.now(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000"


def new_revision() -> str:
    return str(uuid.uuid4())


def located(context: RequestContext, request: dict[str, Any], operation: str) -> FunctionAddress:
    """The function that `FunctionName` and `Qualifier` name. Raises AwsError, see `locate_function`."""
    return locate_function(
        request["FunctionName"], request.get("Qualifier"), context.account_id, context.region, f"lambda:{operation}"
    )


def located_unqualified(context: RequestContext, request: dict[str, Any], operation: str) -> FunctionAddress:
    """The same for operations on the function as a whole; `$LATEST` is taken for no qualifier."""
    address = locate_function(request["FunctionName"], None, context.account_id, context.region, f"lambda:{operation}")
    if address.qualifier not in (None, LATEST):
        raise invalid_parameter(
            "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. "
            "Please specify either a function name or an unqualified function ARN."
        )
    return attrs.evolve(address, qualifier=None)


def function_not_found(address: FunctionAddress) -> AwsError:
    return not_found(f"Function not found: {address.qualified_arn}")


def need_latest(view: CatalogView, address: FunctionAddress) -> FunctionVersion:
    """`$LATEST` of a function that has to exist. Raises AwsError ResourceNotFoundException."""
    latest = view.latest(address)
    if latest is None:
        raise function_not_found(address)
    return latest


def need_settings(view: CatalogView, address: FunctionAddress) -> FunctionSettings:
    settings = view.settings(address)
    if settings is None:
        raise function_not_found(address)
    return settings


def need_qualified(view: CatalogView, address: FunctionAddress) -> tuple[FunctionVersion, Alias | None]:
    """The version that the address means, and the alias through which it was found.

    Raises AwsError ResourceNotFoundException naming the ARN as it was asked for.
    """
    qualifier = address.qualifier
    alias: Alias | None = None
    found: FunctionVersion | None
    if qualifier is None or qualifier == LATEST:
        found = view.latest(address)
    elif is_version(qualifier):
        found = view.version(address, int(qualifier))
    else:
        alias = view.alias(address, qualifier)
        target = alias.function_version if alias is not None else None
        if target is None:
            found = None
        else:
            found = view.latest(address) if target == LATEST else view.version(address, int(target))
    if found is None:
        raise function_not_found(address)
    return found, alias

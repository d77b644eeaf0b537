"""When a function's runtime is updated. There is one build of each runtime here, so only what is asked for is kept.

Manual mode names a build: the one that the machine has, as `RuntimeVersionConfig` names it, and no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lambent.control.revisions import family, key_of, with_family
from lambent.control.shapes import runtime_version_arn
from lambent.control.tools import Tools, located, need_qualified, need_settings
from lambent.model.errors import invalid_parameter
from lambent.model.function import LATEST, FunctionVersion
from lambent.model.names import FunctionAddress, is_version
from lambent.model.request import RequestContext
from lambent.ports import CatalogTransaction, CatalogView, Operation

FAMILY: Final = "runtime-management"
AUTO: Final = "Auto"
MANUAL: Final = "Manual"


class RuntimeManagementOperations:
    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self.operations: Mapping[str, Operation] = {
            "PutRuntimeManagementConfig": self.put_runtime_management_config,
            "GetRuntimeManagementConfig": self.get_runtime_management_config,
        }

    async def put_runtime_management_config(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = located(context, request, "PutRuntimeManagementConfig")
        config = {"UpdateRuntimeOn": request["UpdateRuntimeOn"]}
        arn: str | None = request.get("RuntimeVersionArn")
        if config["UpdateRuntimeOn"] == MANUAL:
            if not arn:
                raise invalid_parameter("RuntimeVersionArn is required when UpdateRuntimeOn is Manual.")
            config["RuntimeVersionArn"] = arn
        elif arn:
            raise invalid_parameter("RuntimeVersionArn can only be given when UpdateRuntimeOn is Manual.")

        def work(tx: CatalogTransaction) -> None:
            version = _version(tx, address)
            if arn is not None and arn != runtime_version_arn(version.region, version.runtime or ""):
                raise invalid_parameter(
                    f"The runtime version {arn} is not available for {version.runtime}; "
                    f"this server has {runtime_version_arn(version.region, version.runtime or '')}."
                )
            settings = need_settings(tx, address)
            configs = {**family(settings, FAMILY), key_of(address.qualifier): config}
            tx.put_settings(address, with_family(settings, FAMILY, configs))

        await self._tools.catalog.transact(work)
        return {**config, "FunctionArn": _arn(address)}

    async def get_runtime_management_config(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = located(context, request, "GetRuntimeManagementConfig")
        _version(self._tools.catalog, address)
        configs = family(need_settings(self._tools.catalog, address), FAMILY)
        config = configs.get(key_of(address.qualifier)) or {"UpdateRuntimeOn": AUTO}
        return {**config, "FunctionArn": _arn(address)}


def _version(view: CatalogView, address: FunctionAddress) -> FunctionVersion:
    """Raises AwsError for an alias, for what does not exist, and for a function that is a container image."""
    qualifier = address.qualifier
    if qualifier not in (None, LATEST) and not is_version(str(qualifier)):
        raise invalid_parameter("Runtime management is of versions: give $LATEST or a version's number as Qualifier.")
    version, _ = need_qualified(view, address)
    if version.package_type == "Image":
        raise invalid_parameter("Functions created with container images have no runtime to manage.")
    return version


def _arn(address: FunctionAddress) -> str:
    return f"{address.arn}:{address.qualifier or LATEST}"

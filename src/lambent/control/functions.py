"""CreateFunction and its kin: `$LATEST`, its code and its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from lambent.control import shapes
from lambent.control.checks import (
    check_can_change,
    check_configuration,
    check_revision,
    check_tags,
    check_zip_function,
)
from lambent.control.configure import configured, sealed, with_code
from lambent.control.layers import resolve_layers
from lambent.control.paging import page
from lambent.control.revisions import forget_function, forget_qualifier
from lambent.control.tools import (
    Tools,
    located,
    located_unqualified,
    need_latest,
    need_qualified,
    need_settings,
    new_revision,
)
from lambent.control.versions import publish
from lambent.model.errors import AwsError, conflict, invalid_parameter
from lambent.model.function import LATEST, FunctionSettings, FunctionVersion, State, UpdateStatus
from lambent.model.names import FunctionAddress, is_version
from lambent.model.request import RequestContext
from lambent.ports import CatalogTransaction, Operation

BEING_CREATED: Final = "The function is being created."


class FunctionOperations:
    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self.operations: Mapping[str, Operation] = {
            "CreateFunction": self.create_function,
            "GetFunction": self.get_function,
            "GetFunctionConfiguration": self.get_function_configuration,
            "UpdateFunctionCode": self.update_function_code,
            "UpdateFunctionConfiguration": self.update_function_configuration,
            "DeleteFunction": self.delete_function,
            "ListFunctions": self.list_functions,
        }

    # --- making and changing ---------------------------------------------------------------------------------------

    async def create_function(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = located_unqualified(context, request, "CreateFunction")
        check_configuration(request)
        if request.get("PackageType", "Zip") == "Zip" and not request["Code"].get("ImageUri"):
            check_zip_function(request.get("Runtime"), request.get("Handler"))
        tags = request.get("Tags") or {}
        check_tags(tags)
        _refuse_latest_published(request)
        if self._tools.catalog.latest(address) is not None:
            raise _exists(address)
        layers = resolve_layers(self._tools.catalog, context, request.get("Layers") or [])
        package = await self._tools.packages.take(context, request["Code"])
        await self._tools.packages.check_total(package.unpacked_bytes, [layer.digest for layer in layers])
        base = FunctionVersion(
            account_id=address.account_id,
            region=address.region,
            name=address.name,
            version=LATEST,
            role=request["Role"],
            runtime=None,
            handler=None,
            state=State.PENDING,
            state_reason=BEING_CREATED,
            state_reason_code="Creating",
        )
        new = with_code(attrs.evolve(configured(base, request), layers=layers), package, request)
        latest = self._stamped(new)

        def work(tx: CatalogTransaction) -> FunctionVersion:
            if tx.latest(address) is not None:
                raise _exists(address)
            tx.create_function(latest, FunctionSettings(tags=tags))
            return publish(tx, latest, None) if request.get("Publish") else latest

        return shapes.configuration(await self._tools.catalog.transact(work))

    async def update_function_code(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = located_unqualified(context, request, "UpdateFunctionCode")
        _refuse_latest_published(request)
        before = need_latest(self._tools.catalog, address)
        check_revision(request.get("RevisionId"), before.revision_id)
        check_can_change(before)
        package = await self._tools.packages.take(context, request)
        await self._tools.packages.check_total(package.unpacked_bytes, [layer.digest for layer in before.layers])

        def work(tx: CatalogTransaction) -> FunctionVersion:
            current = need_latest(tx, address)
            check_revision(request.get("RevisionId"), current.revision_id)
            check_can_change(current)
            latest = self._stamped(_in_progress(with_code(current, package, request)))
            if request.get("DryRun"):
                return attrs.evolve(latest, **_status_of(current), revision_id=current.revision_id)
            tx.put_latest(latest, serving=_serving(tx, current))
            return publish(tx, latest, None) if request.get("Publish") else latest

        return shapes.configuration(await self._tools.catalog.transact(work))

    async def update_function_configuration(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = located_unqualified(context, request, "UpdateFunctionConfiguration")
        before = need_latest(self._tools.catalog, address)
        check_revision(request.get("RevisionId"), before.revision_id)
        check_configuration(request)
        layers = None
        if request.get("Layers") is not None:
            layers = resolve_layers(self._tools.catalog, context, request["Layers"])
            await self._check_layers_fit(before, [layer.digest for layer in layers])

        def work(tx: CatalogTransaction) -> FunctionVersion:
            current = need_latest(tx, address)
            check_revision(request.get("RevisionId"), current.revision_id)
            check_can_change(current)
            changed = configured(current, request)
            if layers is not None:
                changed = attrs.evolve(changed, layers=layers)
            latest = self._stamped(_in_progress(changed))
            tx.put_latest(latest, serving=_serving(tx, current))
            return latest

        return shapes.configuration(await self._tools.catalog.transact(work))

    async def delete_function(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = located(context, request, "DeleteFunction")
        qualifier = address.qualifier
        if qualifier == LATEST:
            raise invalid_parameter("$LATEST version cannot be deleted without deleting the function.")
        if qualifier is not None and not is_version(qualifier):
            raise invalid_parameter("Deletion of aliases is not currently supported.")

        def work(tx: CatalogTransaction) -> None:
            need_latest(tx, attrs.evolve(address, qualifier=None))
            if qualifier is None:
                forget_function(tx, address)
                tx.delete_function(address)
                return
            number = int(qualifier)
            users = [
                alias.name
                for alias in tx.aliases(address)
                if alias.function_version == str(number) or str(number) in alias.additional_weights
            ]
            if users:
                raise conflict(
                    f"Unable to delete version because the following aliases reference it: [{', '.join(users)}]"
                )
            tx.delete_version(address, number)  # one that is gone already is no error at AWS
            forget_qualifier(tx, address, qualifier)

        await self._tools.catalog.transact(work)
        return {"StatusCode": 204}

    # --- looking ---------------------------------------------------------------------------------------------------

    async def get_function(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = located(context, request, "GetFunction")
        version, _ = need_qualified(self._tools.catalog, address)
        settings = need_settings(self._tools.catalog, address)
        location = await self._tools.packages.location(context, version.code_digest)
        return shapes.function(version, settings, address.qualified_arn, location)

    async def get_function_configuration(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = located(context, request, "GetFunctionConfiguration")
        version, _ = need_qualified(self._tools.catalog, address)
        return shapes.configuration(version, address.qualified_arn)

    async def list_functions(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        catalog = self._tools.catalog
        names = catalog.function_names(context.account_id, context.region)
        if request.get("FunctionVersion") != "ALL":
            shown, more = page(names, lambda name: name, request)
            found = (catalog.latest(FunctionAddress(context.account_id, context.region, name)) for name in shown)
            return {"Functions": [shapes.listed(version) for version in found if version is not None], **more}
        entries = [entry for name in names for entry in self._versions_of(context, name)]
        entries.sort(key=lambda entry: entry[0])
        shown_entries, more = page(entries, lambda entry: entry[0], request)
        return {"Functions": [shapes.listed(v, v.qualified_arn) for _, v in shown_entries], **more}

    def _versions_of(self, context: RequestContext, name: str) -> list[tuple[str, FunctionVersion]]:
        """Each with the key by which it is listed: `$LATEST` first, then by number."""
        address = FunctionAddress(context.account_id, context.region, name)
        latest = self._tools.catalog.latest(address)
        if latest is None:
            return []
        numbered = self._tools.catalog.versions(address)
        return [(f"{name}/", latest), *((f"{name}/{int(version.version):020d}", version) for version in numbered)]

    # --- helpers ---------------------------------------------------------------------------------------------------

    def _stamped(self, version: FunctionVersion) -> FunctionVersion:
        return sealed(attrs.evolve(version, last_modified=self._tools.timestamp(), revision_id=new_revision()))

    async def _check_layers_fit(self, version: FunctionVersion, layer_digests: list[str]) -> None:
        if version.code_digest is not None and layer_digests:
            code_bytes = await self._tools.packages.unpacked_bytes(version.code_digest)
            await self._tools.packages.check_total(code_bytes, layer_digests)


def _exists(address: FunctionAddress) -> AwsError:
    return conflict(f"Function already exist: {address.name}")


def _refuse_latest_published(request: dict[str, Any]) -> None:
    if request.get("PublishTo"):
        raise invalid_parameter("PublishTo is only supported for functions with a capacity provider, "
                                "which are not available in this version of Lambent.")  # fmt: skip


def _in_progress(version: FunctionVersion) -> FunctionVersion:
    """An update is under way. A function that could not be created is created anew."""
    if version.state is State.FAILED:
        return attrs.evolve(version, state=State.PENDING, state_reason=BEING_CREATED, state_reason_code="Creating")
    return attrs.evolve(
        version,
        last_update_status=UpdateStatus.IN_PROGRESS,
        last_update_status_reason=BEING_CREATED,
        last_update_status_reason_code="Creating",
    )


def _serving(tx: CatalogTransaction, current: FunctionVersion) -> FunctionVersion | None:
    """What invocations use until the update is ready: the last that was."""
    if current.state is State.FAILED:
        return None
    address = FunctionAddress(current.account_id, current.region, current.name)
    return tx.serving(address) or current


def _status_of(version: FunctionVersion) -> dict[str, Any]:
    return {
        "state": version.state,
        "state_reason": version.state_reason,
        "state_reason_code": version.state_reason_code,
        "last_update_status": version.last_update_status,
        "last_update_status_reason": version.last_update_status_reason,
        "last_update_status_reason_code": version.last_update_status_reason_code,
    }

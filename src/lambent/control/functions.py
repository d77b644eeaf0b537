"""CreateFunction and its kin: `$LATEST`, its code and its configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from lambent.control import shapes
from lambent.control.checks import (
    check_can_change,
    check_code_kind,
    check_code_storage,
    check_configuration,
    check_kind,
    check_logging,
    check_revision,
    check_tags,
    check_whole,
    refuse_what_is_not_offered,
    update_in_progress,
)
from lambent.control.code_signing import check_signed, take_code_signing, with_code_signing
from lambent.control.configure import configured, sealed, with_code, with_image
from lambent.control.layers import resolve_layers
from lambent.control.paging import PAGE_MAX, after_of, page_of
from lambent.control.revisions import forget_function, forget_qualifier
from lambent.control.tools import (
    BEING_CREATED,
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
from lambent.model.function import LATEST, FunctionSettings, FunctionVersion, LayerReference, State, UpdateStatus
from lambent.model.names import FunctionAddress, is_version
from lambent.model.request import RequestContext
from lambent.model.sealing import SealedEnvironment
from lambent.ports import CatalogTransaction, Operation


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
        check_configuration(request, is_new=True)
        check_kind(request)
        tags = request.get("Tags") or {}
        check_tags(tags)
        if self._tools.catalog.latest(address) is not None:
            raise _exists(address)
        layers = resolve_layers(self._tools.catalog, context, request.get("Layers") or [])
        signing_arn = take_code_signing(self._tools.catalog, context, address, request)
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
        _changed(base, request, layers)  # what is wrong in itself is said before others are asked
        request = await self._asked_around(context, request)
        new = _changed(base, request, layers)
        await self._check_rights(new, request)
        with_its_code = await self._code(context, request["Code"], new)
        sealed = await self._sealed(context, base, new, request)
        latest = self._stamped(with_its_code(attrs.evolve(new, sealed=sealed)))
        limit = self._tools.code_storage_max_bytes

        def work(tx: CatalogTransaction) -> FunctionVersion:
            if tx.latest(address) is not None:
                raise _exists(address)
            check_code_storage(tx, address.account_id, address.region, latest.code_size_bytes, limit)
            tx.create_function(latest, with_code_signing(FunctionSettings(tags=tags), signing_arn))
            return publish(tx, latest, None, limit) if request.get("Publish") else latest

        # AWS answers with the unqualified ARN here, even where it has published a version.
        return await self._tools.configuration(context, await self._tools.catalog.transact(work), address.arn)

    async def update_function_code(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = located_unqualified(context, request, "UpdateFunctionCode")
        refuse_what_is_not_offered(request)
        before = need_latest(self._tools.catalog, address)
        check_revision(request.get("RevisionId"), before.revision_id)
        check_can_change(before)
        check_code_kind(before, request)
        check_signed(self._tools.catalog, address, ["its code"])
        with_its_code = await self._code(context, request, before)
        limit = self._tools.code_storage_max_bytes

        def work(tx: CatalogTransaction) -> FunctionVersion:
            current = need_latest(tx, address)
            check_revision(request.get("RevisionId"), current.revision_id)
            check_can_change(current)
            check_code_kind(current, request)  # somebody may have made it anew meanwhile
            latest = self._stamped(_in_progress(with_its_code(current)))
            added_bytes = latest.code_size_bytes - current.code_size_bytes
            check_code_storage(tx, address.account_id, address.region, added_bytes, limit)
            if request.get("DryRun"):
                return attrs.evolve(latest, **_status_of(current), revision_id=current.revision_id)
            tx.put_latest(latest, serving=_serving(tx, current))
            return publish(tx, latest, None, limit) if request.get("Publish") else latest

        return await self._tools.configuration(context, await self._tools.catalog.transact(work))

    async def update_function_configuration(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = located_unqualified(context, request, "UpdateFunctionConfiguration")
        before = need_latest(self._tools.catalog, address)
        check_revision(request.get("RevisionId"), before.revision_id)
        check_configuration(request, is_new=False)
        check_can_change(before)
        if request.get("DurableConfig") is not None and "DurableConfig" not in before.extra:
            # https://docs.aws.amazon.com/lambda/latest/dg/durable-configuration.html; the text is ours
            raise invalid_parameter("DurableConfig can only be given to functions that were created with one.")
        layers = None
        if request.get("Layers") is not None:
            layers = resolve_layers(self._tools.catalog, context, request["Layers"])
            check_signed(self._tools.catalog, address, request["Layers"])
            await self._check_layers_fit(before, [layer.digest for layer in layers])
        _changed(before, request, layers)
        request = await self._asked_around(context, request)
        after = _changed(before, request, layers)
        await self._check_rights(after, request)
        sealed = await self._sealed(context, before, after, request)

        def work(tx: CatalogTransaction) -> FunctionVersion:
            current = need_latest(tx, address)
            check_revision(request.get("RevisionId"), current.revision_id)
            check_can_change(current)
            if current.sealed != before.sealed or current.extra.get("KMSKeyArn") != before.extra.get("KMSKeyArn"):
                raise update_in_progress(current)  # the variables were sealed anew for what was there before
            changed = attrs.evolve(_changed(current, request, layers), sealed=sealed)
            latest = self._stamped(_in_progress(changed))
            tx.put_latest(latest, serving=_serving(tx, current))
            return latest

        return await self._tools.configuration(context, await self._tools.catalog.transact(work))

    async def _asked_around(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        """The request, held against what other services know: its role, network and file system.

        `VpcConfig` has its `VpcId` then. Raises AwsError InvalidParameterValueException.
        """
        outside = self._tools.outside
        if request.get("Role") is not None:
            await outside.check_role(context, request["Role"])
        await outside.check_file_systems(context, request.get("FileSystemConfigs"))
        vpc = request.get("VpcConfig")
        return (
            request if vpc is None else {**request, "VpcConfig": {**vpc, "VpcId": await outside.vpc_id(context, vpc)}}
        )

    async def _check_rights(self, changed: FunctionVersion, request: dict[str, Any]) -> None:
        """Raises AwsError for a role that may not do what the request's members need of it, where policies decide."""
        concerned = any(request.get(member) for member in ("Role", "DeadLetterConfig", "VpcConfig"))
        if self._tools.role_rights is not None and concerned:
            await self._tools.role_rights.check_function(changed)

    async def _sealed(
        self, context: RequestContext, before: FunctionVersion, after: FunctionVersion, request: dict[str, Any]
    ) -> SealedEnvironment | None:
        """The variables as they are to be stored; as before when neither they nor their key are in the request."""
        key_arn = after.extra.get("KMSKeyArn")
        if request.get("Environment") is not None:
            variables = request["Environment"].get("Variables") or {}
        elif before.sealed is not None and key_arn != before.extra.get("KMSKeyArn"):
            variables = await self._tools.vault.opened(context, before)
        else:
            return before.sealed
        return await self._tools.vault.seal(context, after.arn, variables, key_arn)

    async def _code(
        self, context: RequestContext, code: dict[str, Any], version: FunctionVersion
    ) -> Callable[[FunctionVersion], FunctionVersion]:
        """Fetches and stores what `code` names, and gives the function that puts it onto `version` or its successor."""
        if version.package_type == "Image":
            uri: str = code["ImageUri"]
            image = await self._tools.outside.image(context, uri)
            return lambda onto: with_image(onto, image, code, uri)
        package = await self._tools.packages.take(context, code)
        layer_digests = [layer.digest for layer in version.layers]
        await self._tools.packages.check_total(package.unpacked_bytes, layer_digests)
        return lambda onto: with_code(onto, package, code)

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
        configuration = await self._tools.configuration(context, version, address.qualified_arn)
        location = await self._tools.packages.location(context, version.code_digest)
        is_qualified = address.qualifier is not None
        return shapes.function(version, settings, configuration, location, is_qualified=is_qualified)

    async def get_function_configuration(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = located(context, request, "GetFunctionConfiguration")
        version, _ = need_qualified(self._tools.catalog, address)
        return await self._tools.configuration(context, version, address.qualified_arn)

    async def list_functions(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        if request.get("MasterRegion"):
            # Replicas of Lambda@Edge functions, which no region here has.
            if request.get("FunctionVersion") != "ALL":
                raise invalid_parameter("FunctionVersion must be ALL if MasterRegion is given.")
            return {"Functions": []}
        catalog = self._tools.catalog
        if request.get("FunctionVersion") == "ALL":
            shown, more = page_of(self._all_versions(context, after_of(request)), lambda entry: entry[0], request)
            return {"Functions": [await self._tools.listed(context, v, v.qualified_arn) for _, v in shown], **more}
        names = catalog.function_names(context.account_id, context.region, after_of(request), PAGE_MAX + 1)
        shown_names, more = page_of(names, lambda name: name, request)
        found = (catalog.latest(FunctionAddress(context.account_id, context.region, name)) for name in shown_names)
        return {"Functions": [await self._tools.listed(context, v) for v in found if v is not None], **more}

    def _all_versions(self, context: RequestContext, after: str | None) -> Iterator[tuple[str, FunctionVersion]]:
        """Those behind the key `after`, each with its key: by function, `$LATEST` first, then by number."""
        name, _, number = (after or "").partition("/")
        if name:
            yield from (entry for entry in self._versions_of(context, name) if entry[0] > f"{name}/{number}")
        while True:
            names = self._tools.catalog.function_names(context.account_id, context.region, name, PAGE_MAX)
            for name in names:
                yield from self._versions_of(context, name)
            if not names:
                return

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


def _changed(
    base: FunctionVersion, request: dict[str, Any], layers: tuple[LayerReference, ...] | None
) -> FunctionVersion:
    """`base` with the request's members, but for code and variables. Raises AwsError for what does not go together."""
    changed = configured(base, request)
    if layers is not None:
        changed = attrs.evolve(changed, layers=layers)
    check_logging(request.get("LoggingConfig"), changed.logging.log_format)
    check_whole(changed)
    return changed


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

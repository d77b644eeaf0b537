"""Layers: publishing, looking, deleting; and which layers a function may use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lambent.control import shapes
from lambent.control.checks import check_code_storage
from lambent.control.layer_permissions import check_layer_access, forget_layer_version
from lambent.control.paging import page
from lambent.control.tools import Tools
from lambent.model.errors import AwsError, invalid_parameter, not_found
from lambent.model.function import LayerReference, LayerVersion
from lambent.model.limits import LAYERS_MAX
from lambent.model.names import (
    VERSION_MAX_DIGITS,
    LayerAddress,
    LayerRef,
    access_denied,
    parse_layer_ref,
    parse_layer_version_arn,
)
from lambent.model.request import RequestContext
from lambent.ports import CatalogTransaction, CatalogView, Operation


class LayerOperations:
    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self.operations: Mapping[str, Operation] = {
            "PublishLayerVersion": self.publish_layer_version,
            "GetLayerVersion": self.get_layer_version,
            "GetLayerVersionByArn": self.get_layer_version_by_arn,
            "DeleteLayerVersion": self.delete_layer_version,
            "ListLayers": self.list_layers,
            "ListLayerVersions": self.list_layer_versions,
        }

    async def publish_layer_version(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = _located(context, request["LayerName"], "PublishLayerVersion")
        package = await self._tools.packages.take(context, request["Content"])
        created = self._tools.timestamp()

        def work(tx: CatalogTransaction) -> LayerVersion:
            limit = self._tools.code_storage_max_bytes
            check_code_storage(tx, address.account_id, address.region, package.size_bytes, limit)
            version = LayerVersion(
                account_id=address.account_id,
                region=address.region,
                name=address.name,
                version=tx.next_version(address),
                code_digest=package.digest,
                code_sha256=package.code_sha256,
                code_size_bytes=package.size_bytes,
                description=request.get("Description") or "",
                compatible_runtimes=tuple(request.get("CompatibleRuntimes") or ()),
                compatible_architectures=tuple(request.get("CompatibleArchitectures") or ()),
                license_info=request.get("LicenseInfo") or "",
                created=created,
            )
            tx.put_layer_version(version)
            return version

        return await self._described(context, await self._tools.catalog.transact(work))

    async def get_layer_version(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        ref = parse_layer_ref(request["LayerName"])
        return await self._opened(context, ref, _checked_number(request["VersionNumber"]))

    async def get_layer_version_by_arn(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        ref = parse_layer_version_arn(request["Arn"])
        return await self._opened(context, ref, _checked_number(ref.version or 0))

    async def delete_layer_version(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = _located(context, request["LayerName"], "DeleteLayerVersion")
        number = _checked_number(request["VersionNumber"])

        def work(tx: CatalogTransaction) -> None:
            tx.delete_layer_version(address, number)  # functions that use it keep it: they name its package by digest
            forget_layer_version(tx, address, number)

        await self._tools.catalog.transact(work)
        return {}

    async def list_layers(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        newest: list[LayerVersion] = []
        for name in self._tools.catalog.layer_names(context.account_id, context.region):
            versions = self._tools.catalog.layer_versions(LayerAddress(context.account_id, context.region, name))
            matching = [version for version in versions if _matches(version, request)]
            newest += matching[-1:]
        shown, more = page(newest, lambda version: version.name, request)
        layers = [
            {"LayerName": v.name, "LayerArn": v.layer_arn, "LatestMatchingVersion": shapes.layer_summary(v)}
            for v in shown
        ]
        return {"Layers": layers, **more}

    async def list_layer_versions(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = _located(context, request["LayerName"], "ListLayerVersions")
        found = [v for v in self._tools.catalog.layer_versions(address) if _matches(v, request)]
        # Newest first; the key counts down so that a marker still means "after this one".
        shown, more = page(found[::-1], lambda version: 10**18 - version.version, request)
        return {"LayerVersions": [shapes.layer_summary(version) for version in shown], **more}

    async def _opened(self, context: RequestContext, ref: LayerRef, number: int) -> dict[str, Any]:
        """A version of the caller's own or one that its policy opens to the caller's account. Raises AwsError."""
        address = LayerAddress(ref.account_id or context.account_id, ref.region or context.region, ref.name)
        check_layer_access(self._tools.catalog, context, address, number)
        version = self._tools.catalog.layer_version(address, number)
        if version is None or address.region != context.region:
            raise not_found("The resource you requested does not exist.")
        return await self._described(context, version)

    async def _described(self, context: RequestContext, version: LayerVersion) -> dict[str, Any]:
        return shapes.layer_version(version, await self._tools.packages.location(context, version.code_digest))


def _located(context: RequestContext, text: str, operation: str) -> LayerAddress:
    ref = parse_layer_ref(text)
    _refuse_foreign(context, ref.account_id, operation, text)
    if ref.region is not None and ref.region != context.region:
        raise not_found("The resource you requested does not exist.")
    return LayerAddress(context.account_id, context.region, ref.name)


def _refuse_foreign(context: RequestContext, account_id: str | None, operation: str, arn: str) -> None:
    if account_id is not None and account_id != context.account_id:
        raise access_denied(context.account_id, f"lambda:{operation}", arn)


def _checked_number(number: int) -> int:
    if number < 1:
        raise invalid_parameter("Layer Version Cannot be less than 1.")
    if number > 10**VERSION_MAX_DIGITS:
        raise not_found("The resource you requested does not exist.")
    return number


def _matches(version: LayerVersion, request: Mapping[str, Any]) -> bool:
    runtime, architecture = request.get("CompatibleRuntime"), request.get("CompatibleArchitecture")
    return (runtime is None or runtime in version.compatible_runtimes) and (
        architecture is None or architecture in version.compatible_architectures
    )


def resolve_layers(view: CatalogView, context: RequestContext, arns: Sequence[str]) -> tuple[LayerReference, ...]:
    """The layers that a function asks for, in its order.

    Raises AwsError for too many, for two versions of one layer, for another region's or account's, and for a layer
    that does not exist.
    """
    if len(arns) > LAYERS_MAX:
        raise invalid_parameter(f"Cannot reference more than {LAYERS_MAX} layers.")
    seen: dict[str, str] = {}
    found = []
    for arn in arns:
        version = _usable_layer(view, context, arn)
        if (other := seen.get(version.layer_arn)) is not None:
            raise invalid_parameter(
                "Two different versions of the same layer are not allowed to be referenced in the same function. "
                f"{other} and {arn} are versions of the same layer."
            )
        seen[version.layer_arn] = arn
        found.append(
            LayerReference(
                arn=version.arn,
                code_sha256=version.code_sha256,
                code_size_bytes=version.code_size_bytes,
                digest=version.code_digest,
            )
        )
    return tuple(found)


def _usable_layer(view: CatalogView, context: RequestContext, arn: str) -> LayerVersion:
    ref = parse_layer_version_arn(arn, "layers")
    if ref.region != context.region:
        raise invalid_parameter(
            f"Layers are not in the same region as the function. Layers are expected to be in region {context.region}."
        )
    address = LayerAddress(ref.account_id or context.account_id, context.region, ref.name)
    check_layer_access(view, context, address, ref.version or 0)
    version = view.layer_version(address, ref.version or 0)
    if version is None:
        raise _no_layer(arn)
    return version


def _no_layer(arn: str) -> AwsError:
    return invalid_parameter(f"Layer version {arn} does not exist.")

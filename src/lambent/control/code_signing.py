"""Code signing configurations, which functions have one, and what that forbids.

Packages are signed by jobs of AWS Signer, which knows what it signed; nothing in a package itself says so. There is no
such service here, so no package counts as signed: a configuration that enforces refuses every new package and every
layer, one that warns lets them pass with a line in the server's log.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from lambent.control.checks import check_tags
from lambent.control.paging import page
from lambent.control.tools import Tools, located_unqualified, need_latest, need_settings
from lambent.model.errors import AwsError, conflict, invalid_parameter
from lambent.model.function import FunctionSettings
from lambent.model.names import FunctionAddress
from lambent.model.request import RequestContext
from lambent.ports import CatalogTransaction, CatalogView, Operation

log = logging.getLogger(__name__)

CODE_SIGNING_CONFIG: Final = "code-signing-config"  # kind of document, by the configuration's id
FAMILY: Final = "code-signing"  # of a function's settings: the ARN of its configuration
LIST_MAX: Final = 10_000  # MODEL, MaxListItems


class CodeSigningOperations:
    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self.operations: Mapping[str, Operation] = {
            "CreateCodeSigningConfig": self.create_code_signing_config,
            "GetCodeSigningConfig": self.get_code_signing_config,
            "UpdateCodeSigningConfig": self.update_code_signing_config,
            "DeleteCodeSigningConfig": self.delete_code_signing_config,
            "ListCodeSigningConfigs": self.list_code_signing_configs,
            "ListFunctionsByCodeSigningConfig": self.list_functions_by_code_signing_config,
            "PutFunctionCodeSigningConfig": self.put_function_code_signing_config,
            "GetFunctionCodeSigningConfig": self.get_function_code_signing_config,
            "DeleteFunctionCodeSigningConfig": self.delete_function_code_signing_config,
        }

    # --- configurations --------------------------------------------------------------------------------------------

    async def create_code_signing_config(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        name = f"csc-0{secrets.token_hex(8)}"
        tags = dict(request.get("Tags") or {})
        check_tags(tags)
        document = {
            "CodeSigningConfigId": name,
            "CodeSigningConfigArn": f"arn:aws:lambda:{context.region}:{context.account_id}:code-signing-config:{name}",
            "Description": request.get("Description") or "",
            "AllowedPublishers": request["AllowedPublishers"],
            "CodeSigningPolicies": {"UntrustedArtifactOnDeployment": _policy(request) or "Warn"},
            "LastModified": self._tools.timestamp(),
            "Tags": tags,
        }

        def work(tx: CatalogTransaction) -> None:
            tx.put_document(CODE_SIGNING_CONFIG, context.account_id, context.region, name, document)

        await self._tools.catalog.transact(work)
        return {"CodeSigningConfig": _shown(document)}

    async def get_code_signing_config(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        document = need_code_signing_config(self._tools.catalog, context, request["CodeSigningConfigArn"])
        return {"CodeSigningConfig": _shown(document)}

    async def update_code_signing_config(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        now = self._tools.timestamp()

        def work(tx: CatalogTransaction) -> dict[str, Any]:
            before = need_code_signing_config(tx, context, request["CodeSigningConfigArn"])
            changes: dict[str, Any] = {
                member: request[member]
                for member in ("Description", "AllowedPublishers")
                if request.get(member) is not None
            }
            if (policy := _policy(request)) is not None:
                changes["CodeSigningPolicies"] = {"UntrustedArtifactOnDeployment": policy}
            if not changes:
                return before
            after = {**before, **changes, "LastModified": now}
            _put(tx, context, after)
            return after

        return {"CodeSigningConfig": _shown(await self._tools.catalog.transact(work))}

    async def delete_code_signing_config(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        arn: str = request["CodeSigningConfigArn"]
        # Functions that begin to use it in this very moment keep an ARN that leads nowhere, which forbids nothing.
        users = self._users(context, arn)

        def work(tx: CatalogTransaction) -> None:
            document = need_code_signing_config(tx, context, arn)
            if users:
                raise conflict(
                    f"The code signing configuration {arn} is used by {len(users)} functions; remove it from them first."
                )
            tx.delete_document(CODE_SIGNING_CONFIG, context.account_id, context.region, document["CodeSigningConfigId"])

        await self._tools.catalog.transact(work)
        return {}

    async def list_code_signing_configs(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        documents = self._tools.catalog.documents(CODE_SIGNING_CONFIG, context.account_id, context.region)
        shown, more = page(list(documents.values()), lambda d: d["CodeSigningConfigId"], request, LIST_MAX)
        return {"CodeSigningConfigs": [_shown(document) for document in shown], **more}

    # --- functions -------------------------------------------------------------------------------------------------

    async def list_functions_by_code_signing_config(
        self, context: RequestContext, request: dict[str, Any]
    ) -> dict[str, Any]:
        arn: str = request["CodeSigningConfigArn"]
        need_code_signing_config(self._tools.catalog, context, arn)
        shown, more = page(self._users(context, arn), lambda address: address.name, request, LIST_MAX)
        return {"FunctionArns": [address.arn for address in shown], **more}

    async def put_function_code_signing_config(
        self, context: RequestContext, request: dict[str, Any]
    ) -> dict[str, Any]:
        address = located_unqualified(context, request, "PutFunctionCodeSigningConfig")
        arn: str = request["CodeSigningConfigArn"]

        def work(tx: CatalogTransaction) -> None:
            check_code_signing_config(tx, context, arn)
            _refuse_image(tx, address)
            tx.put_settings(address, with_code_signing(need_settings(tx, address), arn))

        await self._tools.catalog.transact(work)
        return {"CodeSigningConfigArn": arn, "FunctionName": address.name}

    async def get_function_code_signing_config(
        self, context: RequestContext, request: dict[str, Any]
    ) -> dict[str, Any]:
        address = located_unqualified(context, request, "GetFunctionCodeSigningConfig")
        _refuse_image(self._tools.catalog, address)
        arn = need_settings(self._tools.catalog, address).extra.get(FAMILY)
        # Without one AWS gives back an object without members, although its model calls both required.
        return {"CodeSigningConfigArn": arn, "FunctionName": address.name} if arn else {}

    async def delete_function_code_signing_config(
        self, context: RequestContext, request: dict[str, Any]
    ) -> dict[str, Any]:
        address = located_unqualified(context, request, "DeleteFunctionCodeSigningConfig")

        def work(tx: CatalogTransaction) -> None:
            _refuse_image(tx, address)
            settings = need_settings(tx, address)
            if FAMILY in settings.extra:
                tx.put_settings(address, with_code_signing(settings, None))

        await self._tools.catalog.transact(work)
        return {}

    def _users(self, context: RequestContext, arn: str) -> list[FunctionAddress]:
        """By name. Looks at every function of the account; asked for seldom."""
        catalog = self._tools.catalog
        addresses = (
            FunctionAddress(context.account_id, context.region, name)
            for name in catalog.function_names(context.account_id, context.region)
        )
        return [
            address
            for address in addresses
            if (settings := catalog.settings(address)) is not None and settings.extra.get(FAMILY) == arn
        ]


# --- for CreateFunction, UpdateFunctionCode and UpdateFunctionConfiguration --------------------------------------------


def with_code_signing(settings: FunctionSettings, arn: str | None) -> FunctionSettings:
    """The settings with another code signing configuration, or with none."""
    extra = {key: value for key, value in settings.extra.items() if key != FAMILY}
    if arn:
        extra[FAMILY] = arn
    return attrs.evolve(settings, extra=extra)


def check_code_signing_config(view: CatalogView, context: RequestContext, arn: str) -> None:
    """Raises AwsError CodeSigningConfigNotFoundException."""
    if _document(view, context, arn) is None:
        raise AwsError(
            "CodeSigningConfigNotFoundException",
            "The code signing configuration cannot be found. "
            f"Check that the provided configuration is not deleted: {arn}.",
            404,
            {"Type": "User"},
        )


def take_code_signing(
    view: CatalogView, context: RequestContext, address: FunctionAddress, request: Mapping[str, Any]
) -> str | None:
    """The configuration that CreateFunction names, when it exists and allows the function; None when it names none.

    Raises AwsError CodeSigningConfigNotFoundException, CodeVerificationFailedException, InvalidParameterValueException.
    """
    arn: str | None = request.get("CodeSigningConfigArn")
    if not arn:
        return None
    if request.get("PackageType") == "Image":
        raise _no_images()
    check_code_signing_config(view, context, arn)
    _refuse_unsigned(view, address, arn, ["its code", *(request.get("Layers") or ())])
    return arn


def check_signed(view: CatalogView, address: FunctionAddress, deployed: Sequence[str]) -> None:
    """Whether new code, or new layers, may be deployed to a function that exists. `deployed` names them for the log.

    Raises AwsError CodeVerificationFailedException.
    """
    settings = view.settings(address)
    if deployed and settings is not None and (arn := settings.extra.get(FAMILY)):
        _refuse_unsigned(view, address, arn, deployed)


def _refuse_unsigned(view: CatalogView, address: FunctionAddress, arn: str, deployed: Sequence[str]) -> None:
    document = view.document(CODE_SIGNING_CONFIG, address.account_id, address.region, arn.rpartition(":")[2])
    if document is None:
        return
    if document["CodeSigningPolicies"]["UntrustedArtifactOnDeployment"] == "Enforce":
        raise AwsError(
            "CodeVerificationFailedException",
            "Lambda cannot deploy the function. The function or layer might be signed using a signature that the client "
            f"is not configured to accept. Check the provided signature for {address.name}.",
            400,
            {"Type": "User"},
        )
    log.warning("%s is deployed without a signature that %s accepts: %s", address.arn, arn, ", ".join(deployed))


def need_code_signing_config(view: CatalogView, context: RequestContext, arn: str) -> dict[str, Any]:
    """The stored configuration, its "Tags" included. Raises AwsError ResourceNotFoundException."""
    document = _document(view, context, arn)
    if document is None:
        raise AwsError(  # unlike others this answer has no Type
            "ResourceNotFoundException", f"The Lambda code signing configuration {arn} can not be found.", 404
        )
    return document


def put_code_signing_tags(
    tx: CatalogTransaction, context: RequestContext, document: Mapping[str, Any], tags: Mapping[str, str]
) -> None:
    _put(tx, context, {**document, "Tags": dict(tags)})


def _document(view: CatalogView, context: RequestContext, arn: str) -> dict[str, Any] | None:
    document = view.document(CODE_SIGNING_CONFIG, context.account_id, context.region, arn.rpartition(":")[2])
    return document if document is not None and document["CodeSigningConfigArn"] == arn else None


def _put(tx: CatalogTransaction, context: RequestContext, document: dict[str, Any]) -> None:
    name = document["CodeSigningConfigId"]
    tx.put_document(CODE_SIGNING_CONFIG, context.account_id, context.region, name, document)


def _policy(request: Mapping[str, Any]) -> str | None:
    policy: str | None = (request.get("CodeSigningPolicies") or {}).get("UntrustedArtifactOnDeployment")
    return policy


def _shown(document: Mapping[str, Any]) -> dict[str, Any]:
    return {member: value for member, value in document.items() if member != "Tags"}


def _refuse_image(view: CatalogView, address: FunctionAddress) -> None:
    if need_latest(view, address).package_type == "Image":
        raise _no_images()


def _no_images() -> AwsError:
    return invalid_parameter("Code signing is not supported for functions created with container images.")

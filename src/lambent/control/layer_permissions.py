"""Who may use a layer version: its resource policy, kept as a document of its own, and how it decides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lambent.control.policy_documents import (
    Policy,
    compact,
    no_policy,
    rendered,
    statement,
    with_statement,
    without_statement,
)
from lambent.control.tools import Tools, new_revision
from lambent.model.errors import AwsError, not_found, precondition_failed
from lambent.model.names import LayerAddress, access_denied, parse_layer_ref
from lambent.model.request import RequestContext
from lambent.ports import CatalogTransaction, CatalogView, Operation

LAYER_POLICY: Final = "layer-policy"  # kind of document; named "{layer}:{version}"
ORGANIZATION: Final = "aws:PrincipalOrgID"


def layer_policy_of(view: CatalogView, layer: LayerAddress, number: int) -> Policy | None:
    """The stored policy of a layer version: {"RevisionId", "Statement"}; None without one."""
    return view.document(LAYER_POLICY, layer.account_id, layer.region, f"{layer.name}:{number}")


def check_layer_access(view: CatalogView, context: RequestContext, layer: LayerAddress, number: int) -> None:
    """Raises AwsError AccessDeniedException when another account's layer version is not open to the caller's account.

    A version that does not exist is not open either: nobody learns from the error what others have.
    """
    if layer.account_id == context.account_id:
        return
    policy = layer_policy_of(view, layer, number)
    if policy is None or not any(_opens(each, context.account_id) for each in policy["Statement"]):
        raise _denied(context, layer, number)


def forget_layer_version(tx: CatalogTransaction, layer: LayerAddress, number: int) -> None:
    """A layer version's policy goes with it."""
    tx.delete_document(LAYER_POLICY, layer.account_id, layer.region, f"{layer.name}:{number}")


def _opens(each: Mapping[str, Any], account_id: str) -> bool:
    """Accounts belong to no organization here, so what is open to one only is open to nobody."""
    if each.get("Condition"):
        return False
    principal = each["Principal"]
    return bool(principal == "*" or principal.get("AWS", "").endswith(f"::{account_id}:root"))


def _denied(context: RequestContext, layer: LayerAddress, number: int) -> AwsError:
    return access_denied(context.account_id, "lambda:GetLayerVersion", f"{layer.arn}:{number}")


class LayerPermissionOperations:
    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self.operations: Mapping[str, Operation] = {
            "AddLayerVersionPermission": self.add_layer_version_permission,
            "RemoveLayerVersionPermission": self.remove_layer_version_permission,
            "GetLayerVersionPolicy": self.get_layer_version_policy,
        }

    async def add_layer_version_permission(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        layer, number = _located(context, request, "AddLayerVersionPermission")
        condition = {"StringEquals": {ORGANIZATION: request["OrganizationId"]}} if request.get("OrganizationId") else {}
        new = statement(
            request["StatementId"],
            _account_number(request["Principal"]),
            request["Action"],
            f"{layer.arn}:{number}",
            condition,
        )

        def work(tx: CatalogTransaction) -> str:
            policy = _need_policy(tx, layer, number)
            _check_revision(request, policy)
            return _put(tx, layer, number, with_statement(policy, new))

        return {"Statement": compact(new), "RevisionId": await self._tools.catalog.transact(work)}

    async def remove_layer_version_permission(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        layer, number = _located(context, request, "RemoveLayerVersionPermission")

        def work(tx: CatalogTransaction) -> None:
            policy = _need_policy(tx, layer, number)
            if policy is None:
                raise no_policy()
            _check_revision(request, policy)
            smaller = without_statement(policy, request["StatementId"])
            if smaller is None:
                forget_layer_version(tx, layer, number)
            else:
                _put(tx, layer, number, smaller)

        await self._tools.catalog.transact(work)
        return {}

    async def get_layer_version_policy(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        layer, number = _located(context, request, "GetLayerVersionPolicy")
        policy = _need_policy(self._tools.catalog, layer, number)
        if policy is None:
            raise no_policy()
        return {"Policy": rendered(policy), "RevisionId": policy["RevisionId"]}


def _located(context: RequestContext, request: Mapping[str, Any], operation: str) -> tuple[LayerAddress, int]:
    ref = parse_layer_ref(request["LayerName"])
    number: int = request["VersionNumber"]
    layer = LayerAddress(ref.account_id or context.account_id, ref.region or context.region, ref.name)
    if layer.account_id != context.account_id:  # policies open layers for use, not for change
        raise access_denied(context.account_id, f"lambda:{operation}", f"{layer.arn}:{number}")
    if layer.region != context.region:
        raise not_found("The resource you requested does not exist.")
    return layer, number


def _need_policy(view: CatalogView, layer: LayerAddress, number: int) -> Policy | None:
    """The policy of a version that has to exist. Raises AwsError ResourceNotFoundException."""
    if view.layer_version(layer, number) is None:
        raise not_found(f"Layer version {layer.arn}:{number} does not exist.")
    return layer_policy_of(view, layer, number)


def _put(tx: CatalogTransaction, layer: LayerAddress, number: int, policy: Policy) -> str:
    revision_id = new_revision()
    document = {**policy, "RevisionId": revision_id}
    tx.put_document(LAYER_POLICY, layer.account_id, layer.region, f"{layer.name}:{number}", document)
    return revision_id


def _check_revision(request: Mapping[str, Any], policy: Policy | None) -> None:
    given = request.get("RevisionId")
    if given and (policy is None or given != policy["RevisionId"]):
        raise precondition_failed(
            "The Revision Id provided does not match the latest Revision Id. "
            "Call the GetLayerPolicy API to retrieve the latest Revision Id"
        )


def _account_number(principal: str) -> str:
    """`arn:aws:iam::123456789012:root` is another way to write an account; what it becomes is the same."""
    return principal.split(":")[4] if principal.startswith("arn:") else principal

"""Who may use a function: the resource policies of functions, versions and aliases.

They are kept in the function's settings, family "policy", by qualifier. `policy_of` is how everybody else reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from lambent.control.checks import check_revision
from lambent.control.policy_documents import (
    Policy,
    compact,
    identities,
    invalid_principal,
    no_policy,
    parsed,
    rendered,
    statement,
    with_statement,
    without_statement,
)
from lambent.control.revisions import (
    family,
    key_of,
    renew_revision,
    revision_of,
    with_family,
)
from lambent.control.tools import Tools, located, need_settings
from lambent.model.errors import invalid_parameter, not_found
from lambent.model.function import LATEST, FunctionSettings
from lambent.model.names import FunctionAddress, locate_function
from lambent.model.request import RequestContext
from lambent.ports import CatalogTransaction, CatalogView, Operation

FAMILY: Final = "policy"

_CONDITIONS: Final[tuple[tuple[str, str, str], ...]] = (  # member of the request → operator, key
    ("FunctionUrlAuthType", "StringEquals", "lambda:FunctionUrlAuthType"),
    ("PrincipalOrgID", "StringEquals", "aws:PrincipalOrgID"),
    ("SourceAccount", "StringEquals", "AWS:SourceAccount"),
    ("EventSourceToken", "StringEquals", "lambda:EventSourceToken"),
    ("SourceArn", "ArnLike", "AWS:SourceArn"),
)


def policy_of(settings: FunctionSettings, qualifier: str | None) -> Policy | None:
    """The stored policy of a function (`qualifier` None, "" or `$LATEST`), a version or an alias; None without one.

    {"RevisionId": str, "Statement": [...]}, where the revision changes with every change of the policy; never change
    it in place.
    """
    found: Policy | None = (settings.extra.get(FAMILY) or {}).get(key_of(qualifier))
    return found


class PermissionOperations:
    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self.operations: Mapping[str, Operation] = {
            "AddPermission": self.add_permission,
            "RemovePermission": self.remove_permission,
            "GetPolicy": self.get_policy,
            "PutResourcePolicy": self.put_resource_policy,
            "GetResourcePolicy": self.get_resource_policy,
            "DeleteResourcePolicy": self.delete_resource_policy,
        }

    # --- a statement at a time -------------------------------------------------------------------------------------

    async def add_permission(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = located(context, request, "AddPermission")
        _refuse_latest(address)
        await self._check_known(context, [request["Principal"]])
        new = statement(
            request["StatementId"],
            request["Principal"],
            request["Action"],
            address.qualified_arn,
            _condition(request),
        )

        def work(tx: CatalogTransaction) -> None:
            _check_revision(tx, address, request)
            _change(tx, address, lambda policy: with_statement(policy, new))

        await self._tools.catalog.transact(work)
        return {"Statement": compact(new)}

    async def remove_permission(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = located(context, request, "RemovePermission")
        _refuse_latest(address)

        def work(tx: CatalogTransaction) -> None:
            if tx.latest(address) is None:
                raise not_found(f"No policy found for: {address.arn}")
            revision_of(tx, address)
            policy = policy_of(need_settings(tx, address), address.qualifier)
            if policy is None:
                raise no_policy()
            smaller = without_statement(policy, request["StatementId"])
            _check_revision(tx, address, request)
            _change(tx, address, lambda _: smaller)

        await self._tools.catalog.transact(work)
        return {}

    async def get_policy(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = located(context, request, "GetPolicy")
        settings = need_settings(self._tools.catalog, _unqualified(address))
        policy = policy_of(settings, address.qualifier)
        if policy is None:  # whether its version or alias exists or not, AWS says the same
            raise not_found("The resource you requested does not exist.")
        return _shown(self._tools.catalog, address, policy)

    async def _check_known(self, context: RequestContext, principals: Iterable[str]) -> None:
        """Raises AwsError InvalidParameterValueException for a user or a role that does not exist."""
        for principal in principals:
            if not await self._tools.outside.knows(context, principal):
                raise invalid_principal()

    # --- whole policies --------------------------------------------------------------------------------------------

    async def put_resource_policy(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = _resource(context, request, "PutResourcePolicy")
        _refuse_latest(address)
        policy = parsed(request["Policy"], address.qualified_arn)
        await self._check_known(context, identities(policy))

        def work(tx: CatalogTransaction) -> dict[str, Any]:
            _check_revision(tx, address, request)
            _change(tx, address, lambda _: policy)
            return _shown(tx, address, policy)

        return await self._tools.catalog.transact(work)

    async def get_resource_policy(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = _resource(context, request, "GetResourcePolicy")
        revision_of(self._tools.catalog, address)
        policy = policy_of(need_settings(self._tools.catalog, address), address.qualifier)
        if policy is None:
            raise no_policy()
        return _shown(self._tools.catalog, address, policy)

    async def delete_resource_policy(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        address = _resource(context, request, "DeleteResourcePolicy")

        def work(tx: CatalogTransaction) -> None:
            _check_revision(tx, address, request)
            if policy_of(need_settings(tx, address), address.qualifier) is None:
                raise no_policy()
            _change(tx, address, lambda _: None)

        await self._tools.catalog.transact(work)
        return {}


def _resource(context: RequestContext, request: dict[str, Any], operation: str) -> FunctionAddress:
    """Of the ARNs that the model allows only functions' are here. Raises AwsError."""
    arn: str = request["ResourceArn"]
    if ":function:" not in arn:
        raise not_found("The resource you requested does not exist.")
    return locate_function(arn, None, context.account_id, context.region, f"lambda:{operation}")


def _unqualified(address: FunctionAddress) -> FunctionAddress:
    return FunctionAddress(address.account_id, address.region, address.name)


def _refuse_latest(address: FunctionAddress) -> None:
    if address.qualifier == LATEST:
        raise invalid_parameter("We currently do not support adding policies for $LATEST.")


def _condition(request: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """A statement's condition, with the spelling of keys that AWS gives back. Raises AwsError."""
    action = request["Action"]
    if request.get("FunctionUrlAuthType") is not None and action != "lambda:InvokeFunctionUrl":
        raise invalid_parameter("FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action")
    condition: dict[str, dict[str, str]] = {}
    for member, operator, key in _CONDITIONS:
        if (value := request.get(member)) is not None:
            condition.setdefault(operator, {})[key] = value
    if (via_url := request.get("InvokedViaFunctionUrl")) is not None:
        if action != "lambda:InvokeFunction":
            raise invalid_parameter("InvokedViaFunctionUrl is only supported for lambda:InvokeFunction action")
        condition["Bool"] = {"lambda:InvokedViaFunctionUrl": "true" if via_url else "false"}
    return condition


def _check_revision(tx: CatalogTransaction, address: FunctionAddress, request: Mapping[str, Any]) -> None:
    """Raises AwsError when the resource does not exist, or has changed since the caller looked."""
    check_revision(request.get("RevisionId"), revision_of(tx, address))


def _change(tx: CatalogTransaction, address: FunctionAddress, change: Callable[[Policy | None], Policy | None]) -> None:
    settings = need_settings(tx, address)
    policies = family(settings, FAMILY)
    key = key_of(address.qualifier)
    changed = change(policies.pop(key, None))
    revision_id = renew_revision(tx, address)
    if changed is not None:
        policies[key] = {**changed, "RevisionId": revision_id}
    tx.put_settings(address, with_family(settings, FAMILY, policies))


def _shown(view: CatalogView, address: FunctionAddress, policy: Policy) -> dict[str, Any]:
    return {"Policy": rendered(policy), "RevisionId": revision_of(view, address)}

"""Who may do what: every operation is decided by policies before it runs, when `auth` is `enforce`.

In open mode nothing of the caller's own account is asked; another account's function needs a policy that lets it.
"""

from __future__ import annotations

import functools
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import attrs

from lambent.control.layer_permissions import layer_policy_of
from lambent.control.permissions import policy_of
from lambent.control.policy_documents import rendered
from lambent.front import authorize_answers as answers
from lambent.front import authorize_context as contexts
from lambent.front.authorize_buckets import CHANGING, Buckets, bucket_in
from lambent.front.authorize_place import Place, Target
from lambent.front.authorize_targets import targets_of
from lambent.model import policy
from lambent.model.errors import AwsError
from lambent.model.identity import IdentityPolicies, KnownKey
from lambent.model.names import FunctionAddress, LayerAddress
from lambent.model.policy import DocumentKind, Policies, Policy, Principal
from lambent.ports import CatalogView, Directory
from lambent.wire.shapes import Operation, Service

log = logging.getLogger(__name__)

REMEMBERED_DECISIONS: Final = 4096
_XML_PROTOCOLS: Final = frozenset({"query", "ec2", "rest-xml"})

_Remembered = tuple[IdentityPolicies, Policy | None, tuple[Policy, ...] | None, policy.Decision]


PolicyOf = Callable[[str], str | None]
"""The policy document of a resource by its ARN; None for one that has none, or does not exist."""


class IssuedKeys(Protocol):
    """The access keys that this server made itself."""

    def known(self, access_key_id: str, session_token: str | None) -> KnownKey | None: ...


@attrs.frozen(kw_only=True)
class Asking:
    """One request that is to be decided."""

    key: KnownKey
    region: str
    source_ip: str | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def place(self) -> Place:
        return Place(self.key.account_id, self.region)


class Authorizer:
    """Decides. `directory` is IAM's; without one there are only the root and functions, whose roles allow nothing."""

    def __init__(
        self,
        issued: IssuedKeys,
        catalog: CatalogView,
        directory: Directory | None,
        now_s: Callable[[], float],
        buckets: Buckets | None = None,
        policies_by_arn: Mapping[str, PolicyOf] | None = None,
    ) -> None:
        """Without `buckets` every bucket counts for the caller's own, and has no policy.

        `policies_by_arn` are those of other services' resources, by the actions' prefix: `sqs`.
        """
        self._policies_by_arn = policies_by_arn or {}
        self._buckets = buckets
        self._issued = issued
        self._catalog = catalog
        self._directory = directory
        self._now_s = now_s
        self._decided: OrderedDict[tuple[str, str, str], _Remembered] = OrderedDict()

    def key(self, access_key_id: str, session_token: str | None) -> KnownKey | None:
        """Whose a key is; None when there is none such, or when the token is not the session's own."""
        issued = self._issued.known(access_key_id, session_token)
        if issued is not None or self._directory is None:
            return issued
        known = self._directory.access_key(access_key_id)
        if known is None or known.session_token != (session_token or None):
            return None
        return known

    async def authorize(self, asking: Asking, operation: Operation, params: Mapping[str, Any]) -> str:
        """Raises AwsError when some policy refuses, in AWS's words. Gives the account whose resource it is."""
        account_id = asking.key.account_id
        for index, target in enumerate(targets_of(operation, params, asking.place)):
            if target.action == "iam:PassRole" and target.account_id != asking.key.account_id:
                raise AwsError("AccessDeniedException", "Cross-account pass role is not allowed.", 403)
            decision, request = await self._decide(asking, target, params)
            if not decision.is_allowed:
                denied = _denied(request, decision, operation.service)
                is_key = operation.service.name == "lambda" and target.action.startswith("kms:")
                raise answers.key_not_given(denied) if is_key else denied
            if index == 0 and (target.function is not None or target.layer is not None):
                account_id = target.account_id
        if self._buckets is not None and operation.service.name == "s3" and operation.name in CHANGING:
            self._buckets.forget(str(params.get("Bucket")))
        return account_id

    async def shown(
        self, asking: Asking, operation: Operation, params: Mapping[str, Any], answer: dict[str, Any]
    ) -> dict[str, Any]:
        """An operation's answer, less what the caller may not see."""
        if operation.service.name != "lambda":
            return answer

        async def refusal(target: Target) -> AwsError | None:
            decision, request = await self._decide(asking, target, {})
            return None if decision.is_allowed else _denied(request, decision)

        return await answers.shown(asking.place, refusal, operation.name, params, answer)

    async def authorize_invoke(self, asking: Asking, function: FunctionAddress) -> None:
        """The same for the short way to a function. Raises AwsError AccessDeniedException."""
        target = Target("lambda:InvokeFunction", function.qualified_arn, function.account_id, function=function)
        decision, request = await self._decide(asking, target, {})
        if not decision.is_allowed:
            raise _denied(request, decision)

    async def authorize_url(self, asking: Asking | None, function: FunctionAddress, auth_type: str) -> None:
        """Whether a function URL may be called; `asking` is None where its AuthType is NONE. Raises AwsError, 403.

        Two actions since October 2025: https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html
        """
        values = {"lambda:FunctionUrlAuthType": auth_type, "lambda:InvokedViaFunctionUrl": "true"}
        for action in ("lambda:InvokeFunctionUrl", "lambda:InvokeFunction"):
            if asking is None:
                self._by_function_policy(policy.ANONYMOUS, action, function, values)
                continue
            target = Target(action, function.qualified_arn, function.account_id, dict(values), function=function)
            decision, request = await self._decide(asking, target, {})
            if not decision.is_allowed:
                raise _denied(request, decision)

    def account_in_open_mode(
        self, account_id: str, region: str, operation: Operation, params: Mapping[str, Any]
    ) -> str:
        """In whose account an operation runs that nobody has to allow: the caller's own, unless it names another
        account's function and that one's policy lets the caller. Raises AwsError AccessDeniedException."""
        name = params.get("FunctionName")
        if operation.service.name != "lambda" or not isinstance(name, str) or ":" not in name:
            return account_id
        target = targets_of(operation, params, Place(account_id, region))[0]
        if target.function is None or target.account_id == account_id:
            return account_id
        self.authorize_foreign(account_id, target.action, target.function)
        return target.account_id

    def authorize_foreign(self, account_id: str, action: str, function: FunctionAddress) -> None:
        """In open mode: whether another account's function lets this one. Raises AwsError AccessDeniedException."""
        principal = policy.root(account_id)
        values = {"aws:PrincipalArn": principal.arn, "aws:PrincipalAccount": account_id}
        self._by_function_policy(principal, action, function, values)

    def authorize_service(
        self, service: str, action: str, function: FunctionAddress, context: Mapping[str, str]
    ) -> None:
        """Whether a service ("sns.amazonaws.com") may call a function; `context` has aws:SourceArn, aws:SourceAccount.

        Raises AwsError AccessDeniedException.
        """
        values = {**context, "aws:PrincipalServiceName": service}
        self._by_function_policy(policy.service(service), action, function, values)

    def _by_function_policy(
        self, principal: Principal, action: str, function: FunctionAddress, values: Mapping[str, str]
    ) -> None:
        request = policy.Request(
            principal=principal, action=action, resource=function.qualified_arn,
            resource_account_id=function.account_id, context=policy.context_of(values),
        )  # fmt: skip
        decision = policy.evaluate(request, Policies(resource=self._function_policy(function)))
        if not decision.is_allowed:
            raise _denied(request, decision)

    # --- one decision

    async def _decide(
        self, asking: Asking, target: Target, params: Mapping[str, Any]
    ) -> tuple[policy.Decision, policy.Request]:
        key = asking.key
        own = await self._identity(key)
        target, resource, is_trust = await self._resource_policy(asking, target)
        policies = Policies(
            identity=own.documents, boundary=own.boundary, session=key.session_policies,
            resource=resource, is_trust=is_trust, resource_must_allow=is_trust,
        )  # fmt: skip
        request = policy.Request(
            principal=principal_of(key), action=target.action, resource=target.resource,
            resource_account_id=target.account_id,
        )  # fmt: skip
        if not policies.keys:
            return self._without_context(key, request, own, policies), request
        values = {
            **contexts.of_caller(key, request.principal, own.tags),
            **contexts.of_request(asking.region, self._now_s(), asking.source_ip, asking.headers),
            **contexts.of_target(target, params, self._tags(target)),
        }
        request = attrs.evolve(request, context=policy.context_of(values))
        return policy.evaluate(request, policies), request

    def _without_context(
        self, key: KnownKey, request: policy.Request, own: IdentityPolicies, policies: Policies
    ) -> policy.Decision:
        """Policies that ask about nothing but action and resource decide the same until one of them changes."""
        name = (key.access_key_id, request.action, request.resource)
        known = self._decided.get(name)
        if known is not None and known[0] is own and known[1] is policies.resource and known[2] is key.session_policies:
            self._decided.move_to_end(name)
            return known[3]
        decision = policy.evaluate(request, policies)
        self._decided[name] = (own, policies.resource, key.session_policies, decision)
        if len(self._decided) > REMEMBERED_DECISIONS:
            self._decided.popitem(last=False)
        return decision

    async def _identity(self, key: KnownKey) -> IdentityPolicies:
        if self._directory is None or key.principal_arn.endswith(":root"):
            return _NOTHING
        return await self._directory.policies(key.role_arn or key.principal_arn)

    async def _resource_policy(self, asking: Asking, target: Target) -> tuple[Target, Policy | None, bool]:
        """The policy of a function, a layer version, a bucket or a role; and whether it is a role's."""
        if target.action == "sts:AssumeRole":
            role = await self._directory.role(target.resource) if self._directory is not None else None
            return target, (role.trust_policy if role is not None else None), True
        if target.function is not None:
            return target, self._function_policy(target.function), False
        if target.layer is not None:
            name, number = target.layer
            layer = LayerAddress(target.account_id, target.resource.split(":")[3], name)
            return target, _compiled_resource(layer_policy_of(self._catalog, layer, number)), False
        bucket = bucket_in(target.resource) if target.action.startswith("s3:") else None
        if bucket is not None and self._buckets is not None:
            found = await self._buckets.look(asking.place, bucket)
            owned = target if found.is_own else attrs.evolve(target, account_id="")
            return owned, found.policy, False
        policy_of_arn = self._policies_by_arn.get(target.action.partition(":")[0])
        stored = policy_of_arn(target.resource) if policy_of_arn is not None else None
        return target, None if stored is None else _compiled(stored), False

    def _function_policy(self, function: FunctionAddress) -> Policy | None:
        settings = self._catalog.settings(attrs.evolve(function, qualifier=None))
        return None if settings is None else _compiled_resource(policy_of(settings, function.qualifier))

    def _tags(self, target: Target) -> Mapping[str, str]:
        if target.function is None:
            return {}
        settings = self._catalog.settings(attrs.evolve(target.function, qualifier=None))
        return settings.tags if settings is not None else {}


_NOTHING: Final = IdentityPolicies()


def principal_of(key: KnownKey) -> Principal:
    """Who holds a key."""
    kind = policy.Kind.USER
    resource = key.principal_arn.split(":", 5)[-1]
    if resource == "root":
        kind = policy.Kind.ROOT
    elif resource.startswith("federated-user/"):
        kind = policy.Kind.FEDERATED_USER
    elif resource.startswith("assumed-role/"):
        kind = policy.Kind.ROLE_SESSION
    return Principal(kind=kind, arn=key.principal_arn, account_id=key.account_id, role_arn=key.role_arn)


def _compiled_resource(stored: Mapping[str, Any] | None) -> Policy | None:
    return None if stored is None else _compiled(rendered(stored))


@functools.lru_cache(maxsize=4096)
def _compiled(document: str) -> Policy:
    """Of a stored resource policy. One that cannot be read lets nobody in."""
    try:
        return policy.parse_policy(document, DocumentKind.RESOURCE)
    except policy.MalformedPolicy as error:
        log.warning("a resource policy cannot be read and lets nobody in; put it anew: %s in %s", error, document)
        return policy.refuse_everything(DocumentKind.RESOURCE)


def _denied(request: policy.Request, decision: policy.Decision, service: Service | None = None) -> AwsError:
    """In the service's words; without one in Lambda's. The XML protocols have another code, EC2 one of its own.

    SQS keeps the code of the query protocol that it once spoke.
    """
    message = policy.denial_message(request, decision)
    if service is None:
        return AwsError("AccessDeniedException", message, 403)
    if service.name == "ec2":
        message = f"You are not authorized to perform this operation. {message}"
        return AwsError("UnauthorizedOperation", message, 403)
    if service.name == "sns":
        return AwsError("AuthorizationError", message, 403)
    has_old_code = service.protocol in _XML_PROTOCOLS or service.is_query_compatible
    return AwsError("AccessDenied" if has_old_code else "AccessDeniedException", message, 403)

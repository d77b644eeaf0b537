"""Whether a request is allowed: all policies that speak of it, weighed as AWS weighs them.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_policy-eval-denyallow.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic-cross-account.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_boundaries.html
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence

import attrs

from lambent.model.policy.document import Effect, Policy, Statement
from lambent.model.policy.pattern import Context
from lambent.model.policy.principal import Kind, Naming, Principal


class Outcome(enum.Enum):
    ALLOWED = "allowed"
    EXPLICIT_DENY = "explicitDeny"
    IMPLICIT_DENY = "implicitDeny"


class Place(enum.Enum):
    """Where the policy is that decided; values are the words of AWS's messages."""

    IDENTITY = "identity-based policy"
    RESOURCE = "resource-based policy"
    BOUNDARY = "permissions boundary"
    SESSION = "session policy"
    ORGANIZATION = "service control policy"
    TRUST = "role trust policy"


@attrs.frozen(kw_only=True)
class Request:
    """Who wants to do what with which resource."""

    principal: Principal
    action: str  # "lambda:InvokeFunction"
    resource: str  # an ARN, or "*" where the action has none
    resource_account_id: str  # whose the resource is
    context: Context = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Policies:
    """Everything that may speak of a request. An empty tuple of session policies is what allows nothing; None is none."""

    identity: Sequence[Policy] = ()
    resource: Policy | None = None
    boundary: Policy | None = None
    session: Sequence[Policy] | None = None
    organization: Sequence[Sequence[Policy]] = ()  # one entry for each level, from the root down
    is_trust: bool = False  # `resource` is a role's trust policy
    resource_must_allow: bool = False  # also inside one account: keys of KMS, roles

    @property
    def keys(self) -> frozenset[str]:
        """The condition keys on which the answer may depend."""
        singles = [policy for policy in (self.resource, self.boundary) if policy is not None]
        levels = [policy for level in self.organization for policy in level]
        return frozenset().union(*(p.keys for p in (*self.identity, *singles, *(self.session or ()), *levels)))


@attrs.frozen
class Decision:
    """What came of it. `place` and `statement` say by what; no statement stands behind an implicit deny."""

    outcome: Outcome
    place: Place
    statement: Statement | None = None

    @property
    def is_allowed(self) -> bool:
        return self.outcome is Outcome.ALLOWED


def context_of(values: Mapping[str, str | bool | int | float | Iterable[str]]) -> Context:
    """Condition keys and values as policies compare them; keys that have no value are left out."""
    context = {}
    for key, value in values.items():
        if isinstance(value, bool):
            texts: tuple[str, ...] = ("true" if value else "false",)
        elif isinstance(value, str | int | float):
            texts = (str(value),)
        else:
            texts = tuple(value)
        if texts:
            context[key.lower()] = texts
    return context


def evaluate(request: Request, policies: Policies) -> Decision:
    """Explicit denies first; then organization, resource, identity, boundary and session, in AWS's order."""
    finder = _Finder(request)
    denied = _explicitly_denied(finder, policies)
    if denied is not None:
        return denied
    for level in policies.organization:
        if finder.first(level, Effect.ALLOW) is None:
            return Decision(Outcome.IMPLICIT_DENY, Place.ORGANIZATION)
    granted, naming = finder.grant(policies.resource)
    resource_place = Place.TRUST if policies.is_trust else Place.RESOURCE
    by_resource = Decision(Outcome.ALLOWED, resource_place, granted)
    kind = request.principal.kind
    if kind in (Kind.SERVICE, Kind.FEDERATED, Kind.ANONYMOUS):
        return by_resource if granted is not None else Decision(Outcome.IMPLICIT_DENY, resource_place)
    if request.principal.account_id == request.resource_account_id:
        if naming is Naming.ITSELF:
            return by_resource
        if policies.resource_must_allow and granted is None:
            return Decision(Outcome.IMPLICIT_DENY, resource_place)
        if naming is Naming.LIMITED:
            return _within_limits(finder, policies) or by_resource
        return _by_identity(finder, policies)
    own = _by_identity(finder, policies)
    if own.is_allowed and granted is None:
        return Decision(Outcome.IMPLICIT_DENY, resource_place)
    return own


def _explicitly_denied(finder: _Finder, policies: Policies) -> Decision | None:
    levels = [policy for level in policies.organization for policy in level]
    boundary = () if policies.boundary is None else (policies.boundary,)
    for place, documents in (
        (Place.ORGANIZATION, levels),
        (Place.IDENTITY, policies.identity),
        (Place.BOUNDARY, boundary),
        (Place.SESSION, policies.session or ()),
    ):
        statement = finder.first(documents, Effect.DENY)
        if statement is not None:
            return Decision(Outcome.EXPLICIT_DENY, place, statement)
    statement = finder.denial(policies.resource)
    if statement is not None:
        return Decision(Outcome.EXPLICIT_DENY, Place.TRUST if policies.is_trust else Place.RESOURCE, statement)
    return None


def _by_identity(finder: _Finder, policies: Policies) -> Decision:
    if finder.request.principal.kind is Kind.ROOT:  # of its own account it may do everything
        return _within_limits(finder, policies) or Decision(Outcome.ALLOWED, Place.IDENTITY)
    statement = finder.first(policies.identity, Effect.ALLOW)
    if statement is None:
        return Decision(Outcome.IMPLICIT_DENY, Place.IDENTITY)
    return _within_limits(finder, policies) or Decision(Outcome.ALLOWED, Place.IDENTITY, statement)


def _within_limits(finder: _Finder, policies: Policies) -> Decision | None:
    """The refusal of a boundary or of a session policy; None when neither minds."""
    if policies.boundary is not None and finder.first((policies.boundary,), Effect.ALLOW) is None:
        return Decision(Outcome.IMPLICIT_DENY, Place.BOUNDARY)
    if policies.session is not None and finder.first(policies.session, Effect.ALLOW) is None:
        return Decision(Outcome.IMPLICIT_DENY, Place.SESSION)
    return None


class _Finder:
    """Finds the statements that speak of one request."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self._action = request.action.lower()

    def first(self, documents: Iterable[Policy], effect: Effect) -> Statement | None:
        """Of policies that belong to who asks, and so name nobody."""
        for document in documents:
            for statement in document.statements:
                if statement.effect is effect and self._speaks(statement):
                    return statement
        return None

    def grant(self, document: Policy | None) -> tuple[Statement | None, Naming]:
        """The allowing statement of a resource's policy that names who asks most closely."""
        best: tuple[Statement | None, Naming] = (None, Naming.NOT)
        for statement in document.statements if document is not None else ():
            if statement.effect is Effect.ALLOW:
                naming = statement.names(self.request.principal)
                if naming > best[1] and self._speaks(statement):
                    best = (statement, naming)
        return best

    def denial(self, document: Policy | None) -> Statement | None:
        for statement in document.statements if document is not None else ():
            if statement.effect is Effect.DENY and statement.names(self.request.principal) and self._speaks(statement):
                return statement
        return None

    def _speaks(self, statement: Statement) -> bool:
        return statement.applies(self._action, self.request.resource, self.request.context)


def denial_message(request: Request, decision: Decision) -> str:
    """AWS's sentence for a refusal.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
    """
    article = "the" if decision.place is Place.TRUST else "an" if decision.place is Place.IDENTITY else "a"
    why = (
        f"with an explicit deny in {article} {decision.place.value}"
        if decision.outcome is Outcome.EXPLICIT_DENY
        else f"because no {decision.place.value} allows the {request.action} action"
    )
    who = "anonymous" if request.principal.kind is Kind.ANONYMOUS else request.principal.arn
    return f"User: {who} is not authorized to perform: {request.action} on resource: {request.resource} {why}"

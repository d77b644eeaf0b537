"""What IAM knows of access keys, principals and roles, as values."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from lambent.model.policy import Policy


@attrs.frozen(kw_only=True)
class KnownKey:
    """An access key that exists, and whose it is."""

    access_key_id: str
    secret_access_key: str = attrs.field(repr=False)
    account_id: str
    principal_arn: str  # a user's, a role session's (arn:aws:sts::…:assumed-role/…), a federated user's or the root's
    role_arn: str | None = None  # of a role session: the role's own ARN, with its path
    session_token: str | None = attrs.field(default=None, repr=False)  # what requests must bring along; None: nothing
    session_policies: tuple[Policy, ...] | None = None  # None: the session was not narrowed
    expires_s: float | None = None  # seconds since the epoch; None: never
    source_function_arn: str | None = None  # of credentials that a function's environment was given
    tags: Mapping[str, str] = attrs.field(factory=dict)  # of the session


@attrs.frozen(kw_only=True)
class IdentityPolicies:
    """What belongs to a user or a role: inline and managed policies, those of a user's groups among them."""

    documents: tuple[Policy, ...] = ()
    boundary: Policy | None = None
    tags: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Role:
    """A role that exists."""

    arn: str
    trust_policy: Policy
    max_session_s: int = 3600  # seconds; CreateRole, MaxSessionDuration

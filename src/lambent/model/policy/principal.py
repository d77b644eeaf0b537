"""Who asks, and how a policy's Principal element names them.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_notprincipal.html
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from typing import Final

import attrs

_ACCOUNT: Final = re.compile(r"(?:arn:aws[a-z-]*:iam::)?(\d{12})(?::root)?")


class Kind(enum.Enum):
    ROOT = "Account"
    USER = "User"
    ROLE_SESSION = "AssumedRole"  # values are those of the condition key aws:PrincipalType
    FEDERATED_USER = "FederatedUser"
    SERVICE = "Service"
    FEDERATED = "Federated"  # somebody whom an identity provider vouches for, asking for a role
    ANONYMOUS = "Anonymous"


class Naming(enum.IntEnum):
    """How closely a Principal element names who asks: what a grant to it means inside one account depends on that."""

    NOT = 0
    ACCOUNT = 1  # the account as a whole: whom it lets is left to its own policies
    LIMITED = 2  # a session's role, or everybody: granted, within boundary and session policies
    ITSELF = 3  # the user or the session by its own ARN: granted, whatever boundary and session policies leave out


@attrs.frozen(kw_only=True)
class Principal:
    """Who asks. `arn` is a user's, a session's or the root's; of a service or a provider its name."""

    kind: Kind
    arn: str
    account_id: str = ""  # none for services, providers and the anonymous
    role_arn: str | None = None  # of a role session: the role's own ARN, with its path

    @property
    def identity_arn(self) -> str:
        """The ARN that identity policies belong to, and that aws:PrincipalArn gives."""
        return self.role_arn or self.arn

    @property
    def facets(self) -> tuple[str, ...]:
        """All that can name it, as NotPrincipal has to list it."""
        if not self.account_id:
            return (self.arn,)
        role = () if self.role_arn is None else (self.role_arn,)
        return (f"arn:aws:iam::{self.account_id}:root", *role, self.arn)


ANONYMOUS: Final = Principal(kind=Kind.ANONYMOUS, arn="*")


def service(name: str) -> Principal:
    """An AWS service that asks on its own: `sns.amazonaws.com`."""
    return Principal(kind=Kind.SERVICE, arn=name)


def root(account_id: str) -> Principal:
    return Principal(kind=Kind.ROOT, arn=f"arn:aws:iam::{account_id}:root", account_id=account_id)


def user(arn: str) -> Principal:
    return Principal(kind=Kind.USER, arn=arn, account_id=arn.split(":")[4])


def role_session(role_arn: str, session_name: str) -> Principal:
    """A session's ARN has the role's name without its path."""
    account_id, name = role_arn.split(":")[4], role_arn.rpartition("/")[2]
    arn = f"arn:aws:sts::{account_id}:assumed-role/{name}/{session_name}"
    return Principal(kind=Kind.ROLE_SESSION, arn=arn, account_id=account_id, role_arn=role_arn)


@attrs.frozen
class PrincipalElement:
    """Principal or NotPrincipal, as `{"AWS": [...], "Service": [...]}` or everybody."""

    everybody: bool
    aws: frozenset[str]
    accounts: frozenset[str]  # twelve digits, of every form in which `aws` names whole accounts
    others: Mapping[str, frozenset[str]]  # Service, Federated, CanonicalUser

    def names(self, principal: Principal) -> Naming:
        if principal.kind in (Kind.SERVICE, Kind.FEDERATED):
            listed = self.others.get("Service" if principal.kind is Kind.SERVICE else "Federated", frozenset())
            if self.everybody or principal.arn in listed or "*" in listed:
                return Naming.ITSELF
            return Naming.NOT
        if principal.arn in self.aws and principal.kind is not Kind.ROOT:
            return Naming.ITSELF
        if self.everybody or "*" in self.aws or (principal.role_arn is not None and principal.role_arn in self.aws):
            return Naming.LIMITED
        if principal.account_id in self.accounts:
            return Naming.ITSELF if principal.kind is Kind.ROOT else Naming.ACCOUNT
        return Naming.NOT

    def excepts_all_of(self, principal: Principal) -> bool:
        """As NotPrincipal in a Deny: account, role and session must all be listed for somebody to be left out."""
        return self.everybody or all(self._lists(facet, principal) for facet in principal.facets)

    def excepts_any_of(self, principal: Principal) -> bool:
        """As NotPrincipal in an Allow: whoever is listed in any way is left out."""
        return self.everybody or any(self._lists(facet, principal) for facet in principal.facets)

    def _lists(self, facet: str, principal: Principal) -> bool:
        if facet in self.aws or "*" in self.aws:
            return True
        if facet.endswith(":root") and principal.account_id in self.accounts:
            return True
        return any(facet in listed for listed in self.others.values())


def principal_element(value: str | Mapping[str, list[str]]) -> PrincipalElement:
    """Raises ValueError for a key that does not exist, or a lone text other than `*`."""
    if isinstance(value, str):
        if value != "*":
            raise ValueError(f"Principal {value}")
        return PrincipalElement(True, frozenset(), frozenset(), {})
    unknown = set(value) - {"AWS", "Service", "Federated", "CanonicalUser"}
    if unknown:
        raise ValueError(f"Principal {sorted(unknown)[0]}")
    aws = value.get("AWS", [])
    accounts = frozenset(found[1] for text in aws if (found := _ACCOUNT.fullmatch(text)) is not None)
    others = {kind: frozenset(listed) for kind, listed in value.items() if kind != "AWS"}
    return PrincipalElement(False, frozenset(aws), accounts, others)

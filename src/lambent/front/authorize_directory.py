"""IAM's documents as decisions need them: compiled once, and the same objects until IAM has changed.

What IAM stores and this server cannot read refuses everything: it might have forbidden something.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

from lambent.model import policy
from lambent.model.identity import IdentityPolicies, KnownKey, Role
from lambent.model.policy import DocumentKind, Policy

log = logging.getLogger(__name__)

Document = Mapping[str, Any]
T = TypeVar("T")

REMEMBERED: Final = 10_000  # principals, roles and sessions each; then all are forgotten


class StoredKey(Protocol):
    """An access key as IAM or STS gave it out."""

    @property
    def account_id(self) -> str: ...
    @property
    def secret(self) -> str: ...
    @property
    def principal_arn(self) -> str: ...
    @property
    def role_arn(self) -> str | None: ...
    @property
    def token(self) -> str | None: ...
    @property
    def session_policies(self) -> Sequence[Document]: ...
    @property
    def expiry_s(self) -> float | None: ...


class StoredPolicies(Protocol):
    @property
    def identity(self) -> Sequence[Document]: ...
    @property
    def boundary(self) -> Document | None: ...


class StoredRole(Protocol):
    @property
    def arn(self) -> str: ...
    @property
    def trust_policy(self) -> Document: ...
    @property
    def max_session_s(self) -> int: ...


class Store(Protocol):
    """IAM's own view. It gives the same objects as long as nothing has changed."""

    def access_key(self, access_key_id: str) -> StoredKey | None: ...
    def account_of(self, access_key_id: str) -> str | None: ...
    async def policies(self, principal_arn: str) -> StoredPolicies | None: ...
    async def role(self, arn: str) -> StoredRole | None: ...


class CompiledDirectory:
    """Implements ports.Directory."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._keys: dict[str, tuple[StoredKey, KnownKey]] = {}
        self._identities: dict[str, tuple[StoredPolicies, IdentityPolicies]] = {}
        self._roles: dict[str, tuple[StoredRole, Role]] = {}

    def access_key(self, access_key_id: str) -> KnownKey | None:
        stored = self._store.access_key(access_key_id)
        if stored is None:
            return self._expired(access_key_id)
        known = self._keys.get(access_key_id)
        if known is not None and known[0] is stored:
            return known[1]
        policies = tuple(_compiled(document, DocumentKind.IDENTITY) for document in stored.session_policies)
        key = KnownKey(
            access_key_id=access_key_id,
            secret_access_key=stored.secret,
            account_id=stored.account_id,
            principal_arn=stored.principal_arn,
            role_arn=stored.role_arn,
            session_token=stored.token,
            session_policies=policies or None,
            expires_s=stored.expiry_s,
        )
        _remember(self._keys, access_key_id, (stored, key))
        return key

    def _expired(self, access_key_id: str) -> KnownKey | None:
        """The store has no key that is over, but still knows whose it was: the refusal says which of the two it is."""
        known = self._keys.get(access_key_id)
        if known is None or known[1].expires_s is None or self._store.account_of(access_key_id) is None:
            return None
        return known[1]

    async def policies(self, principal_arn: str) -> IdentityPolicies:
        stored = await self._store.policies(principal_arn)
        if stored is None:
            return _NOTHING
        known = self._identities.get(principal_arn)
        if known is not None and known[0] is stored:
            return known[1]
        boundary = None if stored.boundary is None else _compiled(stored.boundary, DocumentKind.IDENTITY)
        documents = tuple(_compiled(document, DocumentKind.IDENTITY) for document in stored.identity)
        identity = IdentityPolicies(documents=documents, boundary=boundary)
        _remember(self._identities, principal_arn, (stored, identity))
        return identity

    async def role(self, role_arn: str) -> Role | None:
        stored = await self._store.role(role_arn)
        if stored is None:
            return None
        known = self._roles.get(role_arn)
        if known is not None and known[0] is stored:
            return known[1]
        trust = _compiled(stored.trust_policy, DocumentKind.TRUST)
        role = Role(arn=stored.arn, trust_policy=trust, max_session_s=stored.max_session_s)
        _remember(self._roles, role_arn, (stored, role))
        return role


_NOTHING: Final = IdentityPolicies()


def _remember(known: dict[str, T], name: str, value: T) -> None:
    if len(known) >= REMEMBERED:
        known.clear()
    known[name] = value


def _compiled(document: Document, kind: DocumentKind) -> Policy:
    try:
        return policy.parse_policy(document, kind)
    except policy.MalformedPolicy as error:
        log.warning("a policy in IAM cannot be read and refuses everything; put it anew: %s in %s", error, document)
        return policy.refuse_everything(kind)

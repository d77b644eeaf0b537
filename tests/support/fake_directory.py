"""IAM as far as a decision asks it. Implements ports.Directory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from lambent.model.identity import IdentityPolicies, KnownKey, Role
from lambent.model.policy import DocumentKind, parse_policy

SECRET = "a-secret-of-forty-characters-for-everyone"


def document(*statements: Mapping[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def allow(*actions: str, resource: str | list[str] = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": resource, **more}


def deny(*actions: str, resource: str = "*", **more: Any) -> dict[str, Any]:
    return {**allow(*actions, resource=resource, **more), "Effect": "Deny"}


class FakeDirectory:
    """What a test puts into it is there; nothing else is."""

    def __init__(self) -> None:
        self.keys: dict[str, KnownKey] = {}
        self.identities: dict[str, IdentityPolicies] = {}
        self.roles: dict[str, Role] = {}
        self.asked = 0  # how often policies were wanted

    def access_key(self, access_key_id: str) -> KnownKey | None:
        return self.keys.get(access_key_id)

    async def policies(self, principal_arn: str) -> IdentityPolicies:
        self.asked += 1
        return self.identities.get(principal_arn, _NOTHING)

    async def role(self, role_arn: str) -> Role | None:
        return self.roles.get(role_arn)

    def user(self, name: str, account_id: str, *statements: Mapping[str, Any]) -> str:
        """Makes a user with a key and gives the key's id."""
        arn = f"arn:aws:iam::{account_id}:user/{name}"
        key_id = f"AKIA{name.upper():X<16}"
        self.keys[key_id] = KnownKey(
            access_key_id=key_id, secret_access_key=SECRET, account_id=account_id, principal_arn=arn
        )
        self.allow(arn, *statements)
        return key_id

    def allow(self, arn: str, *statements: Mapping[str, Any], boundary: Mapping[str, Any] | None = None) -> None:
        """Gives a user or a role these statements and no others."""
        documents = (parse_policy(document(*statements)),) if statements else ()
        limit = parse_policy(document(boundary)) if boundary is not None else None
        self.identities[arn] = IdentityPolicies(documents=documents, boundary=limit)

    def trust(self, role_arn: str, principal: Any) -> None:
        statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
        policy = parse_policy(document(statement), DocumentKind.TRUST)
        self.roles[role_arn] = Role(arn=role_arn, trust_policy=policy)

    def session(
        self, role_arn: str, key_id: str, expires_s: float, *statements: Mapping[str, Any], token: str = "the-token"
    ) -> str:
        """A session of a role; with statements it is narrowed to them."""
        account_id, name = role_arn.split(":")[4], role_arn.rpartition("/")[2]
        self.keys[key_id] = KnownKey(
            access_key_id=key_id,
            secret_access_key=SECRET,
            account_id=account_id,
            principal_arn=f"arn:aws:sts::{account_id}:assumed-role/{name}/s",
            role_arn=role_arn,
            session_token=token,
            session_policies=(parse_policy(document(*statements)),) if statements else None,
            expires_s=expires_s,
        )
        return key_id

    def bound(self, arn: str, statement: Mapping[str, Any]) -> None:
        """Sets the permissions boundary of a user or a role."""
        own = self.identities[arn]
        self.identities[arn] = attrs.evolve(own, boundary=parse_policy(document(statement)))


_NOTHING = IdentityPolicies()

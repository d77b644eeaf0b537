"""Who is who in moto's IAM: access keys with their owners, and what policies say of a principal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any, Final

import msgspec

SERVICES: Final = frozenset({"iam"})


def _holders(module: str, name: str) -> Iterator[tuple[str, Any]]:
    """(account, backend) of all that exist; imports nothing that was never used."""
    loaded = sys.modules.get(module)
    if loaded is None:
        return
    for account_id, regions in list(dict.items(getattr(loaded, name))):
        for backend in list(dict.values(regions)):
            yield account_id, backend


def access_keys() -> dict[str, dict[str, Any]]:
    """Users' keys that are active: account, secret, and whose each is."""
    found: dict[str, dict[str, Any]] = {}
    for account_id, backend in _holders("moto.iam.models", "iam_backends"):
        for user in list(backend.users.values()):
            for key in list(user.access_keys):
                if key.status == "Active":
                    found[key.access_key_id] = {
                        "account_id": account_id, "secret": key.secret_access_key, "principal_arn": user.arn,
                    }  # fmt: skip
    return found


def packed_keys() -> dict[str, bytes]:
    return {key_id: msgspec.json.encode(told) for key_id, told in access_keys().items()}


def _iam(account_id: str) -> Any:
    return next(
        (backend for account, backend in _holders("moto.iam.models", "iam_backends") if account == account_id), None
    )


def role(account_id: str, name: str) -> dict[str, Any] | None:
    """A role by its name: its ARN, trust policy and longest session in seconds. None when there is none."""
    iam = _iam(account_id)
    found = None if iam is None else next((r for r in iam.roles.values() if r.name == name), None)
    if found is None:
        return None
    return {
        "arn": found.arn, "id": found.id, "trust_policy": _document(found.assume_role_policy_document),
        "max_session_s": int(found.max_session_duration or 3600),
    }  # fmt: skip


def policies(account_id: str, principal: str) -> dict[str, Any] | None:
    """What is attached to `user/NAME` or `role/NAME`: identity policies, groups' and managed ones among them, and the boundary.

    None when there is no such principal.
    """
    iam = _iam(account_id)
    kind, _, name = principal.partition("/")
    if iam is None:
        return None
    entities = iam.users if kind == "user" else iam.roles
    found = next((entity for entity in entities.values() if entity.name == name), None)
    if found is None:
        return None
    documents = [*_inline(found), *_managed(found)]
    if kind == "user":
        for group in iam.groups.values():
            if any(member.name == name for member in group.users):
                documents += [*_inline(group), *_managed(group)]
    boundary = found.permissions_boundary_arn if hasattr(found, "permissions_boundary_arn") else None
    boundary = boundary or getattr(found, "permissions_boundary", None)
    return {"identity": documents, "boundary": _boundary(iam, boundary)}


def _inline(entity: Any) -> list[Any]:
    return [_document(document) for document in dict(entity.policies).values()]


def _managed(entity: Any) -> list[Any]:
    return [_default(policy) for policy in list(entity.managed_policies.values())]


_NOTHING: Final = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}


def _boundary(iam: Any, told: Any) -> Any:
    arn = told.get("PermissionsBoundaryArn") if isinstance(told, dict) else told
    if not arn:
        return None
    policy = iam.managed_policies.get(arn)
    return _default(policy) if policy is not None else _NOTHING  # a boundary that is gone holds everything back


def _default(policy: Any) -> Any:
    version = next(v for v in policy.versions if v.version_id == policy.default_version_id)
    return _document(version.document)


def _document(text: Any) -> Any:
    return json.loads(text) if isinstance(text, str) else text

"""IAM's documents are compiled once, given anew when IAM gives them anew, and refuse everything when they cannot be read."""

from __future__ import annotations

from typing import Any

import attrs

from fake_directory import allow, document
from lambent.front.authorize_directory import CompiledDirectory
from lambent.model import policy

ADA, ROLE = "arn:aws:iam::111111111111:user/ada", "arn:aws:iam::111111111111:role/r"


@attrs.frozen(kw_only=True)
class Key:
    account_id: str = "111111111111"
    secret: str = "secret"
    principal_arn: str = ADA
    role_arn: str | None = None
    token: str | None = None
    session_policies: tuple[Any, ...] = ()
    expiry_s: float | None = None


@attrs.frozen
class Attached:
    identity: tuple[Any, ...]
    boundary: Any = None


@attrs.frozen
class StoredRole:
    arn: str
    trust_policy: Any
    max_session_s: int = 3600


class Iam:
    def __init__(self) -> None:
        self.keys: dict[str, Key] = {}
        self.accounts: dict[str, str] = {}
        self.attached: dict[str, Attached] = {}
        self.roles: dict[str, StoredRole] = {}

    def access_key(self, access_key_id: str) -> Key | None:
        return self.keys.get(access_key_id)

    def account_of(self, access_key_id: str) -> str | None:
        return self.accounts.get(access_key_id)

    async def policies(self, principal_arn: str) -> Attached | None:
        return self.attached.get(principal_arn)

    async def role(self, arn: str) -> StoredRole | None:
        return self.roles.get(arn)


async def test_the_same_documents_are_the_same_policies() -> None:
    iam = Iam()
    directory = CompiledDirectory(iam)
    iam.attached[ADA] = Attached((document(allow("s3:*")),), document(allow("*")))
    first = await directory.policies(ADA)
    assert await directory.policies(ADA) is first
    assert (len(first.documents), first.boundary is not None) == (1, True)
    iam.attached[ADA] = Attached((document(allow("s3:*")),))
    changed = await directory.policies(ADA)
    assert changed is not first
    assert changed.boundary is None
    del iam.attached[ADA]
    assert (await directory.policies(ADA)).documents == ()


async def test_roles_are_the_same_until_they_change() -> None:
    iam = Iam()
    directory = CompiledDirectory(iam)
    assert await directory.role(ROLE) is None
    trust = document({"Effect": "Allow", "Principal": {"AWS": "111111111111"}, "Action": "sts:AssumeRole"})
    iam.roles[ROLE] = StoredRole(ROLE, trust)
    first = await directory.role(ROLE)
    assert first is not None
    assert await directory.role(ROLE) is first
    iam.roles[ROLE] = StoredRole(ROLE, trust)
    assert await directory.role(ROLE) is not first


async def test_a_document_that_cannot_be_read_refuses_everything() -> None:
    iam = Iam()
    iam.attached[ADA] = Attached((document(allow("*")), {"Version": "strange"}))
    own = await CompiledDirectory(iam).policies(ADA)
    request = policy.Request(
        principal=policy.user(ADA),
        action="s3:GetObject",
        resource="arn:aws:s3:::b/k",
        resource_account_id="111111111111",
    )
    decision = policy.evaluate(request, policy.Policies(identity=own.documents))
    assert decision.outcome is policy.Outcome.EXPLICIT_DENY


def test_a_session_without_policies_of_its_own_is_not_narrowed() -> None:
    iam = Iam()
    directory = CompiledDirectory(iam)
    iam.keys["one"] = Key(role_arn=ROLE, token="t", expiry_s=5.0)
    iam.keys["two"] = Key(role_arn=ROLE, session_policies=(document(allow("s3:*")),))
    one, two = directory.access_key("one"), directory.access_key("two")
    assert one is not None
    assert two is not None
    assert (one.session_policies, one.session_token, one.expires_s) == (None, "t", 5.0)
    assert two.session_policies is not None
    assert directory.access_key("two") is two


def test_a_session_that_is_over_is_told_from_one_that_never_was() -> None:
    iam = Iam()
    directory = CompiledDirectory(iam)
    iam.keys["one"], iam.accounts["one"] = Key(role_arn=ROLE, token="t", expiry_s=5.0), "111111111111"
    known = directory.access_key("one")
    del iam.keys["one"]
    assert directory.access_key("one") is known
    del iam.accounts["one"]
    assert directory.access_key("one") is None
    assert directory.access_key("two") is None

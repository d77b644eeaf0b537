"""STS's operations that give credentials of this server, and the one that says whose some are.

https://docs.aws.amazon.com/STS/latest/APIReference/welcome.html. Whether a role may be assumed has been decided before an
operation runs; see `front/authorize.py`.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
from collections.abc import Mapping
from typing import Any, Final, Protocol

import attrs
import msgspec

from lambent.model import policy
from lambent.model.errors import AwsError
from lambent.model.request import RequestContext
from lambent.ports import Clients, Clock, Directory, Operation

ROLE_DEFAULT_S: Final = 3600  # seconds; API_AssumeRole, DurationSeconds
CHAINED_MAX_S: Final = 3600  # seconds; same page, "role chaining"
USER_DEFAULT_S: Final = 43_200  # seconds; API_GetSessionToken, DurationSeconds
ROOT_MAX_S: Final = 3600  # seconds; same page, for credentials of the account itself
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html, session policies' plaintext characters
POLICY_MAX_CHARACTERS: Final = 2048
# Ours: managed policies travel inside the token too, and a token travels in one header line.
DOCUMENTS_MAX_CHARACTERS: Final = 32_768


class Given(Protocol):
    """Credentials that were made."""

    @property
    def access_key_id(self) -> str: ...
    @property
    def secret_access_key(self) -> str: ...
    @property
    def session_token(self) -> str: ...


class Issuer(Protocol):
    """Makes credentials, and knows those that it made."""

    def session(
        self,
        *,
        account_id: str,
        principal_arn: str,
        role_arn: str | None,
        expires_s: int,
        policies: tuple[str, ...],
        tags: Mapping[str, str],
    ) -> Given: ...

    def account_of(self, access_key_id: str) -> str | None: ...


class StsService:
    """Implements ports.Service. `directory` knows roles and users' keys; `clients` reads managed policies and ids."""

    name = "sts"

    def __init__(
        self, issuer: Issuer, clock: Clock, directory: Directory | None = None, clients: Clients | None = None
    ) -> None:
        self._issuer = issuer
        self._clock = clock
        self._directory = directory
        self._clients = clients
        self.operations: Mapping[str, Operation] = {
            "AssumeRole": self.assume_role,
            "GetAccessKeyInfo": self.get_access_key_info,
            "GetCallerIdentity": self.get_caller_identity,
            "GetSessionToken": self.get_session_token,
        }

    async def get_caller_identity(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        arn = _caller(context)
        return {"UserId": await self._id_of(context, arn), "Account": arn.split(":")[4], "Arn": arn}

    async def get_access_key_info(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        key_id = request["AccessKeyId"]
        known = self._directory.access_key(key_id) if self._directory is not None else None
        account_id = known.account_id if known is not None else self._issuer.account_of(key_id)
        if account_id is None:
            raise AwsError("ValidationError", f"The access key {key_id} is not known.", 400)
        return {"Account": account_id}

    async def assume_role(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        caller = _caller(context)
        if context.principal_arn is not None and caller.endswith(":root"):
            raise AwsError("AccessDenied", "Roles may not be assumed by root accounts.", 403)
        role_arn, name = request["RoleArn"], request["RoleSessionName"]
        principal = _role_session(role_arn, name)
        lasts_s = request.get("DurationSeconds", ROLE_DEFAULT_S)
        await self._check_role_duration(role_arn, caller, lasts_s)
        policies = (*self._inline_policy(request), *await self._managed_policies(context, request))
        packed_percent = _packed_percent(request, policies)
        tags = {tag["Key"]: tag["Value"] for tag in request.get("Tags", ())}
        credentials = self._credentials(principal, lasts_s, policies, tags)
        owner = attrs.evolve(context, account_id=principal.account_id)
        answer: dict[str, Any] = {
            "Credentials": credentials,
            "AssumedRoleUser": {"AssumedRoleId": await self._id_of(owner, principal.arn), "Arn": principal.arn},
        }
        if policies:
            answer["PackedPolicySize"] = packed_percent
        if request.get("SourceIdentity"):
            answer["SourceIdentity"] = request["SourceIdentity"]
        return answer

    async def get_session_token(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
        arn = _caller(context)
        if (context.access_key_id or "").startswith("ASIA"):
            raise AwsError("AccessDenied", "Cannot call GetSessionToken with session credentials", 403)
        lasts_s = request.get("DurationSeconds", USER_DEFAULT_S)
        if arn.endswith(":root"):
            principal, lasts_s = policy.root(arn.split(":")[4]), min(lasts_s, ROOT_MAX_S)
        else:
            principal = policy.user(arn)
        return {"Credentials": self._credentials(principal, lasts_s, (), {})}

    # --- parts

    def _credentials(
        self, principal: policy.Principal, lasts_s: int, policies: tuple[str, ...], tags: Mapping[str, str]
    ) -> dict[str, Any]:
        expires_s = int(self._clock.now()) + lasts_s
        given = self._issuer.session(
            account_id=principal.account_id, principal_arn=principal.arn, role_arn=principal.role_arn,
            expires_s=expires_s, policies=policies, tags=tags,
        )  # fmt: skip
        return {
            "AccessKeyId": given.access_key_id,
            "SecretAccessKey": given.secret_access_key,
            "SessionToken": given.session_token,
            "Expiration": datetime.datetime.fromtimestamp(expires_s, datetime.UTC),
        }

    async def _check_role_duration(self, role_arn: str, caller: str, lasts_s: int) -> None:
        role = await self._directory.role(role_arn) if self._directory is not None else None
        if role is not None and lasts_s > role.max_session_s:
            message = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
            raise AwsError("ValidationError", message, 400)
        if ":assumed-role/" in caller and lasts_s > CHAINED_MAX_S:
            message = (
                "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining"
            )
            raise AwsError("ValidationError", message, 400)

    def _inline_policy(self, request: Mapping[str, Any]) -> tuple[str, ...]:
        text = request.get("Policy")
        if text is None:
            return ()
        try:
            policy.parse_policy(text)
        except policy.MalformedPolicy as error:
            raise AwsError("MalformedPolicyDocument", error.message, 400) from error
        return (text,)

    async def _managed_policies(self, context: RequestContext, request: Mapping[str, Any]) -> list[str]:
        """The documents of `PolicyArns` as they are now. Raises AwsError for one that cannot be read."""
        documents = []
        for each in request.get("PolicyArns", ()):
            if self._clients is None:
                raise AwsError("NotImplemented", "PolicyArns needs IAM, which this server does not have.", 501)
            arn = each["arn"]
            found = await self._clients.call(context, "iam", "GetPolicy", {"PolicyArn": arn})
            version = {"PolicyArn": arn, "VersionId": found["Policy"]["DefaultVersionId"]}
            document = (await self._clients.call(context, "iam", "GetPolicyVersion", version))["PolicyVersion"][
                "Document"
            ]
            documents.append(document if isinstance(document, str) else msgspec.json.encode(document).decode())
        return documents

    async def _id_of(self, context: RequestContext, arn: str) -> str:
        """AWS's unique id of a caller: an account's digits, a user's AIDA…, a role's AROA… with the session's name."""
        kind, _, rest = arn.split(":", 5)[5].partition("/")
        if kind == "root":
            return arn.split(":")[4]
        if kind == "assumed-role":
            role, _, session = rest.partition("/")
            return f"{await self._iam_id(context, 'Role', role)}:{session}"
        return await self._iam_id(context, "User", rest.rpartition("/")[2])

    async def _iam_id(self, context: RequestContext, kind: str, name: str) -> str:
        if self._clients is not None and context.principal_arn is not None:
            try:
                found = await self._clients.call(context, "iam", f"Get{kind}", {f"{kind}Name": name})
                unique: str = found[kind][f"{kind}Id"]
                return unique
            except AwsError:  # nobody of that name: in open mode anybody may be asked for
                pass
        digest = hashlib.sha256(f"{context.account_id}:{kind}:{name}".encode()).digest()
        return ("AROA" if kind == "Role" else "AIDA") + base64.b32encode(digest).decode()[:17]


def _packed_percent(request: Mapping[str, Any], documents: tuple[str, ...]) -> int:
    """How much of the room for session policies is used. Raises AwsError PackedPolicyTooLarge."""
    said = len(request.get("Policy") or "") + sum(len(each["arn"]) for each in request.get("PolicyArns", ()))
    percent = max(
        -(-100 * said // POLICY_MAX_CHARACTERS), -(-100 * sum(map(len, documents)) // DOCUMENTS_MAX_CHARACTERS)
    )
    if percent > 100:
        message = f"Packed policy consumes {percent}% of allotted space, please use smaller policy."
        raise AwsError("PackedPolicyTooLarge", message, 400)
    return percent


def _caller(context: RequestContext) -> str:
    """Where nothing is verified, everybody is the root of his account."""
    return context.principal_arn or policy.root(context.account_id).arn


def _role_session(role_arn: str, name: str) -> policy.Principal:
    parts = role_arn.split(":", 5)
    if (
        len(parts) < 6
        or parts[2] != "iam"
        or not parts[5].startswith("role/")
        or len(parts[4]) != 12
        or not parts[4].isdecimal()
    ):
        raise AwsError("ValidationError", f"{role_arn} is invalid", 400)
    return policy.role_session(role_arn, name)

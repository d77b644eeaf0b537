"""Resource policies as Lambda writes them: one document with a statement for each permission.

A stored policy is {"RevisionId": …, "Statement": […]}, and what a caller's own document had besides: "Version", "Id".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from lambent.model.errors import AwsError, conflict, invalid_parameter, not_found
from lambent.model.policy import DocumentKind, MalformedPolicy, parse_policy

POLICY_MAX_BYTES: Final = 20 * 1024  # QUOTAS, resource-based policy: 20 KB, which the error's text makes 20480
POLICY_VERSION: Final = "2012-10-17"
POLICY_ID: Final = "default"

Policy = dict[str, Any]
Statement = dict[str, Any]

_ACCOUNT: Final = re.compile(r"\d{12}")
_SERVICE: Final = re.compile(r"[a-z0-9.-]+\.amazon(aws)?\.com(\.cn)?")
_IDENTITY: Final = re.compile(
    r"arn:aws[a-z-]*:(?:iam::\d{12}:(?:root|(?:user|role|federated-user|saml-provider|oidc-provider)/.+)"
    r"|sts::\d{12}:(?:assumed-role|federated-user)/.+)"
)


def principal_of(text: str) -> str | dict[str, str]:
    """The `Principal` of a statement for one as AddPermission takes it: an account's number, an ARN, a service, `*`.

    Raises AwsError InvalidParameterValueException. Whether a user or a role exists is not looked up.
    """
    if text == "*":
        return text
    if _ACCOUNT.fullmatch(text):
        return {"AWS": f"arn:aws:iam::{text}:root"}
    if _IDENTITY.fullmatch(text):
        return {"AWS": text}
    if _SERVICE.fullmatch(text):
        return {"Service": text}
    raise invalid_principal()


def invalid_principal() -> AwsError:
    return invalid_parameter("The provided principal was invalid. Please check the principal and try again.")


def statement(sid: str, principal: str, action: str, resource: str, condition: Mapping[str, Any]) -> Statement:
    """In the order in which AWS writes it. Raises AwsError for a principal that is none."""
    made: Statement = {
        "Sid": sid,
        "Effect": "Allow",
        "Principal": principal_of(principal),
        "Action": action,
        "Resource": resource,
    }
    if condition:
        made["Condition"] = dict(condition)
    return made


def compact(value: Any) -> str:
    """JSON as AWS prints policies: without a space."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def rendered(policy: Mapping[str, Any]) -> str:
    """The policy document that a stored policy stands for."""
    return compact(
        {
            "Version": policy.get("Version", POLICY_VERSION),
            "Id": policy.get("Id", POLICY_ID),
            "Statement": policy["Statement"],
        }
    )


def with_statement(policy: Mapping[str, Any] | None, new: Statement) -> Policy:
    """The policy and one more statement; a first one begins it.

    Raises AwsError ResourceConflictException for a statement id that is taken, PolicyLengthExceededException.
    """
    statements = list(policy["Statement"]) if policy is not None else []
    if any(known.get("Sid") == new["Sid"] for known in statements):
        raise conflict(
            f"The statement id ({new['Sid']}) provided already exists. "
            "Please provide a new statement id, or remove the existing statement."
        )
    grown = {**(policy or {}), "Statement": [*statements, new]}
    check_size(rendered(grown))
    return grown


def without_statement(policy: Mapping[str, Any], sid: str) -> Policy | None:
    """The policy less one statement; None when none is left. Raises AwsError ResourceNotFoundException."""
    kept = [known for known in policy["Statement"] if known.get("Sid") != sid]
    if len(kept) == len(policy["Statement"]):
        raise not_found(f"Statement {sid} is not found in resource policy.")
    return {**policy, "Statement": kept} if kept else None


def no_policy() -> AwsError:
    return not_found("No policy is associated with the given resource.")


def check_size(document: str) -> None:
    """Raises AwsError PolicyLengthExceededException for a document that is larger than AWS takes."""
    size_bytes = len(document.encode())
    if size_bytes > POLICY_MAX_BYTES:
        raise AwsError(
            "PolicyLengthExceededException",
            f"The final policy size ({size_bytes}) is bigger than the limit ({POLICY_MAX_BYTES}).",
            400,
            {"Type": "User"},
        )


def parsed(document: str, resource_arn: str) -> Policy:
    """A caller's whole document, as it is stored.

    Raises AwsError InvalidParameterValueException for what is no policy or is not for this resource,
    PolicyLengthExceededException.
    """
    try:
        content = msgspec.json.decode(document)  # stricter than Python's own: what is stored must be JSON for everybody
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise invalid_parameter("The policy is not valid JSON.") from None
    if not isinstance(content, dict):
        raise invalid_parameter("The policy has to be a JSON object.")
    try:
        parse_policy(content, DocumentKind.RESOURCE)
    except MalformedPolicy as error:
        raise invalid_parameter(error.message) from error
    statements = _listed(content["Statement"])
    for position, each in enumerate(statements, 1):
        if "Resource" in each and not all(_names(text, resource_arn) for text in _listed(each["Resource"])):
            raise invalid_parameter(f"Statement {position} of the policy: its Resource has to be {resource_arn}.")
    check_size(compact(content))
    policy = {**content, "Statement": statements}
    if any(text != "*" and "AWS" not in principal_of(text) for text in identities(policy)):
        raise invalid_principal()
    return policy


def identities(policy: Mapping[str, Any]) -> list[str]:
    """The accounts, users, roles and sessions that a policy names, in every form."""
    principals = [each.get(name) for each in policy["Statement"] for name in ("Principal", "NotPrincipal")]
    return [text for each in principals if isinstance(each, dict) for text in _listed(each.get("AWS", []))]


def _names(text: str, resource_arn: str) -> bool:
    """The resource itself, or by wildcard all versions and aliases of its function."""
    function_arn = ":".join(resource_arn.split(":")[:7])
    return text in (resource_arn, f"{function_arn}:*", f"{function_arn}*")


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]

"""Resource policies as Lambda writes them: one document with a statement for each permission.

A stored policy is {"RevisionId": …, "Statement": […]}, and what a caller's own document had besides: "Version", "Id".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from lambent.model.errors import AwsError, conflict, invalid_parameter, not_found

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
    raise invalid_parameter("The provided principal was invalid. Please check the principal and try again.")


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
    """A caller's whole document, as it is stored. Raises AwsError for what is not a policy for this resource."""
    try:
        content = json.loads(document)
    except (ValueError, RecursionError):
        raise invalid_parameter("The policy is not valid JSON.") from None
    if not isinstance(content, dict):
        raise invalid_parameter("The policy has to be a JSON object.")
    if unknown := sorted(content.keys() - {"Version", "Id", "Statement"}):
        raise invalid_parameter(f"The policy has a member that policies have not: {unknown[0]}.")
    if content.get("Version", POLICY_VERSION) not in ("2008-10-17", POLICY_VERSION):
        raise invalid_parameter("The policy's Version has to be 2012-10-17 or 2008-10-17.")
    if not isinstance(content.get("Id", ""), str):
        raise invalid_parameter("The policy's Id has to be a string.")
    statements = content.get("Statement")
    statements = [statements] if isinstance(statements, dict) else statements
    if not isinstance(statements, list) or not statements:
        raise invalid_parameter("The policy has no Statement.")
    for position, each in enumerate(statements, 1):
        _check_statement(each, f"Statement {position}", resource_arn)
    sids = [each["Sid"] for each in statements if "Sid" in each]
    if len(sids) != len(set(sids)):
        raise invalid_parameter("Statement ids (SID) in a single policy must be unique.")
    check_size(compact(content))
    return {**content, "Statement": statements}


_ELEMENTS: Final = frozenset((
    "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition",
))  # fmt: skip


def _check_statement(each: Any, where: str, resource_arn: str) -> None:
    if not isinstance(each, dict):
        raise invalid_parameter(f"{where} of the policy has to be a JSON object.")
    if unknown := sorted(each.keys() - _ELEMENTS):
        raise invalid_parameter(f"{where} of the policy has a member that statements have not: {unknown[0]}.")
    if each.get("Effect") not in ("Allow", "Deny"):
        raise invalid_parameter(f"{where} of the policy needs an Effect: Allow or Deny.")
    if not isinstance(each.get("Sid", ""), str) or not isinstance(each.get("Condition", {}), dict):
        raise invalid_parameter(f"{where} of the policy has a Sid or a Condition of a wrong type.")
    for name in ("Principal", "Action", "Resource"):
        if (name in each) == (f"Not{name}" in each):
            raise invalid_parameter(f"{where} of the policy needs either {name} or Not{name}.")
    for name in ("Action", "NotAction", "Resource", "NotResource"):
        if name in each and not all(isinstance(text, str) and text for text in _listed(each[name])):
            raise invalid_parameter(f"{where} of the policy: {name} has to be a string or a list of strings.")
    for name in ("Principal", "NotPrincipal"):
        if name in each:
            _check_principal(each[name], f"{where} of the policy: {name}")
    if "Resource" in each and not all(_names(text, resource_arn) for text in _listed(each["Resource"])):
        raise invalid_parameter(f"{where} of the policy: its Resource has to be {resource_arn}.")


def _names(text: str, resource_arn: str) -> bool:
    """The resource itself, or by wildcard all versions and aliases of its function."""
    function_arn = ":".join(resource_arn.split(":")[:7])
    return text in (resource_arn, f"{function_arn}:*", f"{function_arn}*")


def _check_principal(principal: Any, where: str) -> None:
    if principal == "*":
        return
    if not isinstance(principal, dict) or not principal or not principal.keys() <= {"AWS", "Service", "Federated"}:
        raise invalid_parameter(f"{where} has to be * or an object with AWS, Service or Federated.")
    for texts in principal.values():
        if not _listed(texts) or not all(isinstance(text, str) and text for text in _listed(texts)):
            raise invalid_parameter(f"{where} has to hold strings or lists of strings.")
    for text in _listed(principal.get("AWS", [])):
        if text != "*" and "AWS" not in principal_of(text):
            raise invalid_parameter("The provided principal was invalid. Please check the principal and try again.")


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]

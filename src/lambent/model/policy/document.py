"""Policy documents as frozen values: read once, with everything in them compiled.

Grammar: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html. The messages of
MalformedPolicyDocument are those that IAM was recorded to give.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from typing import Any, Final

import attrs
import msgspec

from lambent.model.errors import AwsError
from lambent.model.policy.condition import Condition, compile_condition
from lambent.model.policy.pattern import Context, Pattern, Reach, compile_pattern
from lambent.model.policy.principal import Naming, Principal, PrincipalElement, principal_element

VERSIONS: Final = ("2008-10-17", "2012-10-17")
_STATEMENT_MEMBERS: Final = frozenset(
    {
        "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition",
    }
)  # fmt: skip
_ACTION: Final = re.compile(r"\*|[a-zA-Z0-9-]+:[a-zA-Z0-9*?_:-]+")
_VENDOR: Final = re.compile(r"[a-zA-Z0-9-]+")
_SID: Final = re.compile(r"[0-9A-Za-z]*")


class MalformedPolicy(AwsError):
    """A document that is no policy, as IAM says it: MalformedPolicyDocument, 400."""

    def __init__(self, message: str) -> None:
        super().__init__("MalformedPolicyDocument", message, 400)


class Effect(enum.Enum):
    ALLOW = "Allow"
    DENY = "Deny"


class DocumentKind(enum.Enum):
    """What a document is for decides which members it must have."""

    IDENTITY = "identity"  # boundaries and session policies too
    RESOURCE = "resource"
    TRUST = "trust"  # a role's: it is itself the resource


@attrs.frozen(kw_only=True)
class Statement:
    """One statement; its document's place says what a match of it means."""

    sid: str | None
    effect: Effect
    principal: PrincipalElement | None
    not_principal: PrincipalElement | None
    actions: tuple[Pattern, ...]
    excludes_actions: bool  # NotAction
    resources: tuple[Pattern, ...]  # empty where the document says nothing of resources: all of them
    excludes_resources: bool  # NotResource
    conditions: tuple[Condition, ...]

    def applies(self, action: str, resource: str, context: Context) -> bool:
        """Whether it speaks of such a request, by whomever. `action` is in lower case."""
        if any(pattern.matches(action, context) for pattern in self.actions) is self.excludes_actions:
            return False
        is_deny = self.effect is Effect.DENY
        if self.resources and not self._covers(resource, context, unknown=is_deny):
            return False
        return all(condition.holds(context, unknown=is_deny) for condition in self.conditions)

    def _covers(self, resource: str, context: Context, *, unknown: bool) -> bool:
        is_unknown = False
        for pattern in self.resources:
            outcome = pattern.matches(resource, context)
            if outcome:
                return not self.excludes_resources
            is_unknown = is_unknown or outcome is None
        return self.excludes_resources and (unknown or not is_unknown)

    def names(self, principal: Principal) -> Naming:
        """How closely it names who asks. Statements of identity policies name nobody."""
        if self.principal is not None:
            return self.principal.names(principal)
        if self.not_principal is None:
            return Naming.NOT
        excepts = self.not_principal.excepts_all_of if self.effect is Effect.DENY else self.not_principal.excepts_any_of
        return Naming.NOT if excepts(principal) else Naming.LIMITED


@attrs.frozen(kw_only=True)
class Policy:
    """One document. `keys` are the condition keys, in lower case, on which any of its answers may depend."""

    version: str
    statements: tuple[Statement, ...]
    keys: frozenset[str]


def parse_policy(document: str | bytes | Mapping[str, Any], kind: DocumentKind = DocumentKind.IDENTITY) -> Policy:
    """Reads a document, JSON or decoded. Raises MalformedPolicy."""
    raw = _decoded(document)
    if set(raw) - {"Version", "Id", "Statement"} or not isinstance(raw.get("Id", ""), str):
        raise MalformedPolicy("Syntax errors in policy.")
    version = raw.get("Version", VERSIONS[0])
    if version not in VERSIONS:
        raise MalformedPolicy("Syntax errors in policy.")
    listed = raw.get("Statement")
    statements = [listed] if isinstance(listed, Mapping) else listed
    if not isinstance(statements, list) or not statements:
        raise MalformedPolicy("Syntax errors in policy.")
    parsed = tuple(_statement(statement, kind, version) for statement in statements)
    sids = [statement.sid for statement in parsed if statement.sid]
    if len(set(sids)) != len(sids):
        raise MalformedPolicy("Statement IDs (SID) in a single policy must be unique.")
    return Policy(version=version, statements=parsed, keys=frozenset().union(*map(_keys, parsed)))


def _decoded(document: str | bytes | Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(document, Mapping):
        return document
    try:
        raw = msgspec.json.decode(document)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise MalformedPolicy("Syntax errors in policy.") from error
    if not isinstance(raw, dict):
        raise MalformedPolicy("Syntax errors in policy.")
    return raw


def _keys(statement: Statement) -> frozenset[str]:
    keys = {key for pattern in statement.resources for key in pattern.keys}
    for condition in statement.conditions:
        keys |= {condition.key} | condition.variables
    return frozenset(keys)


def _statement(raw: Any, kind: DocumentKind, version: str) -> Statement:
    if not isinstance(raw, Mapping) or set(raw) - _STATEMENT_MEMBERS or raw.get("Effect") not in ("Allow", "Deny"):
        raise MalformedPolicy("Syntax errors in policy.")
    sid = raw.get("Sid")
    if sid is not None and not isinstance(sid, str):
        raise MalformedPolicy("Syntax errors in policy.")
    if kind is not DocumentKind.RESOURCE and sid and _SID.fullmatch(sid) is None:
        raise MalformedPolicy(
            "Statement IDs (SID) must be alpha-numeric. "
            "Check that your input satisfies the regular expression [0-9A-Za-z]*"
        )
    for one, other in (("Action", "NotAction"), ("Resource", "NotResource"), ("Principal", "NotPrincipal")):
        if one in raw and other in raw:
            raise MalformedPolicy("Syntax errors in policy.")
    has_variables = version == VERSIONS[1]
    principal, not_principal = _principals(raw, kind)
    try:
        resources = _resources(raw, kind, has_variables)
        conditions = _conditions(raw.get("Condition", {}), has_variables)
    except ValueError as error:
        raise MalformedPolicy("Syntax errors in policy.") from error
    return Statement(
        sid=sid or None,
        effect=Effect(raw["Effect"]),
        principal=principal,
        not_principal=not_principal,
        actions=_actions(raw),
        excludes_actions="NotAction" in raw,
        resources=resources,
        excludes_resources="NotResource" in raw,
        conditions=conditions,
    )


def _texts(value: Any) -> list[str]:
    """A text, or a list of them."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise MalformedPolicy("Syntax errors in policy.")
    return texts


def _actions(raw: Mapping[str, Any]) -> tuple[Pattern, ...]:
    actions = _texts(raw.get("NotAction", raw.get("Action", [])))
    if not actions:
        raise MalformedPolicy("Policy statement must contain actions.")
    for action in actions:
        vendor, colon, _ = action.partition(":")
        if not colon and action != "*":
            raise MalformedPolicy("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.")
        if colon and _VENDOR.fullmatch(vendor) is None:
            raise MalformedPolicy(f"Vendor {vendor} is not valid")
        if _ACTION.fullmatch(action) is None:
            raise MalformedPolicy("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.")
    return tuple(compile_pattern(action, variables=False, folds_case=True) for action in actions)


def _resources(raw: Mapping[str, Any], kind: DocumentKind, variables: bool) -> tuple[Pattern, ...]:
    if kind is DocumentKind.TRUST:
        if "Resource" in raw or "NotResource" in raw:
            raise MalformedPolicy("Has prohibited field Resource")
        return ()
    resources = _texts(raw.get("NotResource", raw.get("Resource", [])))
    if not resources and kind is DocumentKind.IDENTITY:
        raise MalformedPolicy("Policy statement must contain resources.")
    for resource in resources:
        if resource != "*" and not resource.startswith(("arn:", "${", "*")) and kind is DocumentKind.IDENTITY:
            raise MalformedPolicy(f'Resource {resource} must be in ARN format or "*".')
    return tuple(compile_pattern(resource, Reach.RESOURCE, variables=variables) for resource in resources)


def _principals(raw: Mapping[str, Any], kind: DocumentKind) -> tuple[PrincipalElement | None, PrincipalElement | None]:
    named = next((name for name in ("Principal", "NotPrincipal") if name in raw), None)
    if kind is DocumentKind.IDENTITY:
        if named is not None:
            raise MalformedPolicy("Policy document should not specify a principal.")
        return None, None
    if named is None:
        raise MalformedPolicy("Missing required field Principal")
    value = raw[named]
    try:
        if isinstance(value, Mapping):
            if not value:
                raise MalformedPolicy("Missing required field Principal")
            element = principal_element({key: _texts(texts) for key, texts in value.items()})
        else:
            element = principal_element(_texts(value)[0] if isinstance(value, str) else "")
    except ValueError as error:
        raise MalformedPolicy("Syntax errors in policy.") from error
    return (element, None) if named == "Principal" else (None, element)


def _conditions(raw: Any, variables: bool) -> tuple[Condition, ...]:
    if not isinstance(raw, Mapping):
        raise MalformedPolicy("Syntax errors in policy.")
    compiled = []
    for name, block in raw.items():
        if not isinstance(block, Mapping):
            raise MalformedPolicy("Syntax errors in policy.")
        for key, value in block.items():
            values = [_condition_text(one) for one in (value if isinstance(value, list) else [value])]
            compiled.append(compile_condition(name, key, values, variables=variables))
    return tuple(compiled)


def _condition_text(value: Any) -> str:
    """Values may be JSON's numbers and truths as well."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise MalformedPolicy("Syntax errors in policy.")


def refuse_everything(kind: DocumentKind) -> Policy:
    """Stands for a stored document that cannot be read: it might have forbidden something."""
    statement: dict[str, Any] = {"Effect": "Deny", "Action": "*"}
    if kind is not DocumentKind.IDENTITY:
        statement["Principal"] = "*"
    if kind is not DocumentKind.TRUST:
        statement["Resource"] = "*"
    return parse_policy({"Version": VERSIONS[1], "Statement": statement}, kind)

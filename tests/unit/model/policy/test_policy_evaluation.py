"""AWS's order of policies as a table, and what must hold whatever the policies say."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.model.policy import (
    ANONYMOUS,
    Decision,
    DocumentKind,
    Outcome,
    Place,
    Policies,
    Policy,
    Principal,
    Request,
    context_of,
    denial_message,
    evaluate,
    parse_policy,
    role_session,
    root,
    service,
    user,
)

ACCOUNT, OTHER = "111111111111", "222222222222"
ADA = user(f"arn:aws:iam::{ACCOUNT}:user/team/ada")
SESSION = role_session(f"arn:aws:iam::{ACCOUNT}:role/app/worker", "s1")
STRANGER = user(f"arn:aws:iam::{OTHER}:user/eve")
FUNCTION = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:f"
ACTION = "lambda:InvokeFunction"


def statement(effect: str = "Allow", action: str = "lambda:*", resource: str = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": action, "Resource": resource, **more}


def policy(*statements: dict[str, Any]) -> Policy:
    return parse_policy({"Version": "2012-10-17", "Statement": list(statements)})


def on_resource(*statements: dict[str, Any]) -> Policy:
    return parse_policy({"Version": "2012-10-17", "Statement": list(statements)}, DocumentKind.RESOURCE)


def decide(principal: Principal, **policies: Any) -> Decision:
    request = Request(principal=principal, action=ACTION, resource=FUNCTION, resource_account_id=ACCOUNT)
    return evaluate(request, Policies(**policies))


YES, NO, ELSE = policy(statement()), policy(statement("Deny")), policy(statement(action="s3:*"))


def grants(who: Any, effect: str = "Allow") -> Policy:
    return on_resource(statement(effect, Principal=who))


ALLOWED, EXPLICIT, IMPLICIT = Outcome.ALLOWED, Outcome.EXPLICIT_DENY, Outcome.IMPLICIT_DENY
ACCOUNT_ROOT = {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
ROLE = {"AWS": f"arn:aws:iam::{ACCOUNT}:role/app/worker"}
SNS = service("sns.amazonaws.com")

TABLE: list[tuple[str, Principal, dict[str, Any], Outcome, Place]] = [
    ("nothing says anything", ADA, {}, IMPLICIT, Place.IDENTITY),
    ("identity allows", ADA, {"identity": (YES,)}, ALLOWED, Place.IDENTITY),
    ("identity speaks of something else", ADA, {"identity": (ELSE,)}, IMPLICIT, Place.IDENTITY),
    ("identity denies what it allows", ADA, {"identity": (YES, NO)}, EXPLICIT, Place.IDENTITY),
    ("the root may do everything", root(ACCOUNT), {}, ALLOWED, Place.IDENTITY),
    ("the root is denied by its resource", root(ACCOUNT), {"resource": grants("*", "Deny")}, EXPLICIT, Place.RESOURCE),
    ("resource names the user", ADA, {"resource": grants({"AWS": ADA.arn})}, ALLOWED, Place.RESOURCE),
    ("resource names everybody", ADA, {"resource": grants("*")}, ALLOWED, Place.RESOURCE),
    ("resource names the account only", ADA, {"resource": grants(ACCOUNT_ROOT)}, IMPLICIT, Place.IDENTITY),
    (
        "account by its digits, and identity",
        ADA,
        {"resource": grants({"AWS": ACCOUNT}), "identity": (YES,)},
        ALLOWED,
        Place.IDENTITY,
    ),
    ("resource denies the account", ADA, {"resource": grants(ACCOUNT_ROOT, "Deny"), "identity": (YES,)}, EXPLICIT, Place.RESOURCE),
    ("boundary leaves it out", ADA, {"identity": (YES,), "boundary": ELSE}, IMPLICIT, Place.BOUNDARY),
    ("boundary has it", ADA, {"identity": (YES,), "boundary": YES}, ALLOWED, Place.IDENTITY),
    ("boundary alone gives nothing", ADA, {"boundary": YES}, IMPLICIT, Place.IDENTITY),
    ("boundary denies", ADA, {"identity": (YES,), "boundary": NO}, EXPLICIT, Place.BOUNDARY),
    ("resource names the user past a boundary", ADA, {"resource": grants({"AWS": ADA.arn}), "boundary": ELSE}, ALLOWED, Place.RESOURCE),
    ("but not past its deny", ADA, {"resource": grants({"AWS": ADA.arn}), "boundary": NO}, EXPLICIT, Place.BOUNDARY),
    ("everybody, within a boundary", ADA, {"resource": grants("*"), "boundary": ELSE}, IMPLICIT, Place.BOUNDARY),
    ("role's identity", SESSION, {"identity": (YES,)}, ALLOWED, Place.IDENTITY),
    ("session policy leaves it out", SESSION, {"identity": (YES,), "session": (ELSE,)}, IMPLICIT, Place.SESSION),
    ("one of two session policies has it", SESSION, {"identity": (YES,), "session": (ELSE, YES)}, ALLOWED, Place.IDENTITY),
    ("an empty session allows nothing", SESSION, {"identity": (YES,), "session": ()}, IMPLICIT, Place.SESSION),
    ("session policy denies", SESSION, {"identity": (YES,), "session": (NO,)}, EXPLICIT, Place.SESSION),
    ("resource names the role", SESSION, {"resource": grants(ROLE)}, ALLOWED, Place.RESOURCE),
    ("the role, within a boundary", SESSION, {"resource": grants(ROLE), "boundary": ELSE}, IMPLICIT, Place.BOUNDARY),
    ("the role, within a session", SESSION, {"resource": grants(ROLE), "session": (ELSE,)}, IMPLICIT, Place.SESSION),
    (
        "the session itself, past both",
        SESSION,
        {"resource": grants({"AWS": SESSION.arn}), "boundary": ELSE, "session": (ELSE,)},
        ALLOWED,
        Place.RESOURCE,
    ),
    ("another session is another", SESSION, {"resource": grants({"AWS": f"{SESSION.arn}x"})}, IMPLICIT, Place.IDENTITY),
    ("stranger with the resource's word alone", STRANGER, {"resource": grants({"AWS": STRANGER.arn})}, IMPLICIT, Place.IDENTITY),
    ("stranger with its own word alone", STRANGER, {"identity": (YES,)}, IMPLICIT, Place.RESOURCE),
    ("stranger with both", STRANGER, {"resource": grants({"AWS": OTHER}), "identity": (YES,)}, ALLOWED, Place.IDENTITY),
    ("stranger in a public resource", STRANGER, {"resource": grants("*"), "identity": (YES,)}, ALLOWED, Place.IDENTITY),
    ("a stranger's boundary", STRANGER, {"resource": grants({"AWS": STRANGER.arn}), "identity": (YES,), "boundary": ELSE}, IMPLICIT, Place.BOUNDARY),
    ("another account's root without the resource", root(OTHER), {}, IMPLICIT, Place.RESOURCE),
    ("another account's root with it", root(OTHER), {"resource": grants({"AWS": OTHER})}, ALLOWED, Place.IDENTITY),
    ("a service with nothing", SNS, {}, IMPLICIT, Place.RESOURCE),
    ("a service that is named", SNS, {"resource": grants({"Service": "sns.amazonaws.com"})}, ALLOWED, Place.RESOURCE),
    ("another service is named", SNS, {"resource": grants({"Service": ["s3.amazonaws.com"]})}, IMPLICIT, Place.RESOURCE),
    ("a service is no account", SNS, {"resource": grants({"AWS": ACCOUNT})}, IMPLICIT, Place.RESOURCE),
    ("nobody at a public resource", ANONYMOUS, {"resource": grants({"AWS": "*"})}, ALLOWED, Place.RESOURCE),
    ("nobody at another one", ANONYMOUS, {"resource": grants({"AWS": ACCOUNT})}, IMPLICIT, Place.RESOURCE),
    ("a key's policy says nothing", ADA, {"identity": (YES,), "resource_must_allow": True}, IMPLICIT, Place.RESOURCE),
    (
        "a key's policy leaves it to identities",
        ADA,
        {"identity": (YES,), "resource": grants(ACCOUNT_ROOT), "resource_must_allow": True},
        ALLOWED,
        Place.IDENTITY,
    ),
    ("the organization says nothing", ADA, {"identity": (YES,), "organization": ((ELSE,),)}, IMPLICIT, Place.ORGANIZATION),
    ("the organization denies", ADA, {"identity": (YES,), "organization": ((YES, NO),)}, EXPLICIT, Place.ORGANIZATION),
]  # fmt: skip


@pytest.mark.parametrize(("name", "principal", "policies", "outcome", "place"), TABLE, ids=[row[0] for row in TABLE])
def test_policies_decide_as_aws_decides(
    name: str, principal: Principal, policies: dict[str, Any], outcome: Outcome, place: Place
) -> None:
    decision = decide(principal, **policies)
    assert (decision.outcome, decision.place) == (outcome, place)


@pytest.mark.parametrize(
    ("one", "action", "resource", "applies"),
    [
        (statement(action="lambda:Invoke*"), ACTION, FUNCTION, True),
        (statement(action="LAMBDA:invokefunction"), ACTION, FUNCTION, True),
        (statement(action="lambda:InvokeFunctio?"), ACTION, FUNCTION, True),
        (statement(action="*"), ACTION, FUNCTION, True),
        (statement(action="lambda:Get*"), ACTION, FUNCTION, False),
        ({"Effect": "Allow", "NotAction": "lambda:*", "Resource": "*"}, ACTION, FUNCTION, False),
        ({"Effect": "Allow", "NotAction": ["iam:*"], "Resource": "*"}, ACTION, FUNCTION, True),
        (statement(resource=FUNCTION), ACTION, FUNCTION, True),
        (statement(resource=FUNCTION), ACTION, f"{FUNCTION}:1", False),
        (statement(resource=f"{FUNCTION}*"), ACTION, f"{FUNCTION}:1", True),
        (statement(resource=FUNCTION.replace("function:f", "function:F")), ACTION, FUNCTION, False),
        (statement(resource="arn:aws:lambda:*:*:function:f"), ACTION, FUNCTION, True),
        (statement(resource="arn:aws:lambda:*"), ACTION, FUNCTION, True),
        (statement(resource="arn:aws:lambda:us-*-1:*:function:f"), ACTION, FUNCTION, True),
        (statement(resource="arn:aws:lambda:u*1:function:f"), ACTION, FUNCTION, False),
        ({"Effect": "Allow", "Action": "*", "NotResource": FUNCTION}, ACTION, FUNCTION, False),
        ({"Effect": "Allow", "Action": "*", "NotResource": FUNCTION}, ACTION, FUNCTION + "2", True),
        (statement(resource="arn:aws:lambda:*"), "lambda:ListFunctions", "*", False),
    ],
)
def test_a_statement_speaks_of_actions_and_resources(one: Any, action: str, resource: str, applies: bool) -> None:
    request = Request(principal=ADA, action=action, resource=resource, resource_account_id=ACCOUNT)
    assert evaluate(request, Policies(identity=(policy(one),))).is_allowed is applies


@pytest.mark.parametrize(
    ("listed", "principal", "denied"),
    [
        ([ADA.arn, ACCOUNT], ADA, False),
        ([ADA.arn], ADA, True),  # the account must be listed too
        ([ACCOUNT], ADA, True),
        ([SESSION.arn, SESSION.role_arn, ACCOUNT], SESSION, False),
        ([SESSION.role_arn, ACCOUNT], SESSION, True),
        ([ADA.arn, ACCOUNT], STRANGER, True),
    ],
)
def test_not_principal_denies_whoever_is_not_wholly_listed(
    listed: list[str], principal: Principal, denied: bool
) -> None:
    one = {"Effect": "Deny", "Action": "*", "Resource": "*", "NotPrincipal": {"AWS": listed}}
    decision = decide(principal, identity=(YES,), resource=on_resource(one, statement(Principal="*")))
    assert (decision.outcome is EXPLICIT) is denied


@pytest.mark.parametrize(("listed", "allowed"), [([ADA.arn], False), ([ACCOUNT], False), ([OTHER], True)])
def test_not_principal_allows_only_who_is_not_listed_in_any_way(listed: list[str], allowed: bool) -> None:
    one = {"Effect": "Allow", "Action": "*", "Resource": "*", "NotPrincipal": {"AWS": listed}}
    assert decide(ADA, resource=on_resource(one)).is_allowed is allowed


def trust(*statements: dict[str, Any]) -> Policy:
    return parse_policy({"Version": "2012-10-17", "Statement": list(statements)}, DocumentKind.TRUST)


@pytest.mark.parametrize(
    ("principal", "who", "identity", "outcome", "place"),
    [
        (ADA, {"AWS": ADA.arn}, (), ALLOWED, Place.TRUST),
        (ADA, {"AWS": ACCOUNT}, (), IMPLICIT, Place.IDENTITY),
        (ADA, {"AWS": ACCOUNT}, (policy(statement(action="sts:*")),), ALLOWED, Place.IDENTITY),
        (ADA, {"Service": "lambda.amazonaws.com"}, (policy(statement(action="sts:*")),), IMPLICIT, Place.TRUST),
        (service("lambda.amazonaws.com"), {"Service": "lambda.amazonaws.com"}, (), ALLOWED, Place.TRUST),
        (STRANGER, {"AWS": OTHER}, (policy(statement(action="sts:*")),), ALLOWED, Place.IDENTITY),
    ],
)
def test_a_role_is_assumed_by_whom_it_trusts(
    principal: Principal, who: Any, identity: tuple[Policy, ...], outcome: Outcome, place: Place
) -> None:
    role = f"arn:aws:iam::{ACCOUNT}:role/r"
    trusts = trust({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": who})
    request = Request(principal=principal, action="sts:AssumeRole", resource=role, resource_account_id=ACCOUNT)
    decision = evaluate(request, Policies(identity=identity, resource=trusts, is_trust=True, resource_must_allow=True))
    assert (decision.outcome, decision.place) == (outcome, place)


@pytest.mark.parametrize(
    ("policies", "words"),
    [
        ({}, f"because no identity-based policy allows the {ACTION} action"),
        ({"identity": (NO,)}, "with an explicit deny in an identity-based policy"),
        ({"resource": grants("*", "Deny")}, "with an explicit deny in a resource-based policy"),
        ({"identity": (YES,), "boundary": ELSE}, f"because no permissions boundary allows the {ACTION} action"),
        ({"identity": (YES,), "session": (ELSE,)}, f"because no session policy allows the {ACTION} action"),
        ({"resource": grants("*", "Deny"), "is_trust": True}, "with an explicit deny in the role trust policy"),
    ],
)
def test_a_refusal_says_in_which_policy_it_lies(policies: dict[str, Any], words: str) -> None:
    request = Request(principal=ADA, action=ACTION, resource=FUNCTION, resource_account_id=ACCOUNT)
    message = denial_message(request, evaluate(request, Policies(**policies)))
    assert message == f"User: {ADA.arn} is not authorized to perform: {ACTION} on resource: {FUNCTION} {words}"


# Whatever the policies say

PRINCIPALS = st.sampled_from([ADA, SESSION, STRANGER, root(ACCOUNT), root(OTHER), SNS, ANONYMOUS])
PARTS = {
    "Action": st.sampled_from(["*", "lambda:*", "lambda:Invoke*", "s3:*"]),
    "Resource": st.sampled_from(["*", FUNCTION, "arn:aws:s3:::*", "arn:aws:lambda:${aws:Region}:*"]),
}
CONDITIONS = st.sampled_from(
    [{}, {"Bool": {"x:y": "true"}}, {"StringNotEquals": {"x:z": "1"}}, {"Null": {"x:y": "true"}}]
)
WHO = st.sampled_from(
    ["*", {"AWS": ACCOUNT}, {"AWS": ADA.arn}, {"AWS": [SESSION.arn]}, ROLE, {"AWS": OTHER}, {"Service": SNS.arn}]
)
STATEMENTS = st.fixed_dictionaries({"Effect": st.sampled_from(["Allow", "Deny"]), **PARTS, "Condition": CONDITIONS})
NAMING = st.fixed_dictionaries(
    {"Effect": st.sampled_from(["Allow", "Deny"]), **PARTS, "Condition": CONDITIONS, "Principal": WHO}
)
DOCUMENTS = st.lists(STATEMENTS, min_size=1, max_size=3)
CONTEXTS = st.sampled_from(
    [{}, context_of({"x:y": True}), context_of({"x:y": False, "x:z": "1", "aws:Region": "us-east-1"})]
)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Request, dict[str, Any]]:
    """A request, and the raw statements of each place."""
    request = Request(
        principal=draw(PRINCIPALS),
        action=ACTION,
        resource=FUNCTION,
        resource_account_id=ACCOUNT,
        context=draw(CONTEXTS),
    )
    return request, {
        "identity": draw(DOCUMENTS),
        "resource": draw(st.none() | st.lists(NAMING, min_size=1, max_size=3)),
        "boundary": draw(st.none() | DOCUMENTS),
        "session": draw(st.none() | DOCUMENTS),
    }


def of(raw: dict[str, Any]) -> Policies:
    return Policies(
        identity=(policy(*raw["identity"]),),
        resource=None if raw["resource"] is None else on_resource(*raw["resource"]),
        boundary=None if raw["boundary"] is None else policy(*raw["boundary"]),
        session=None if raw["session"] is None else (policy(*raw["session"]),),
    )


@given(world=worlds(), place=st.sampled_from(["identity", "resource", "boundary", "session"]))
def test_an_explicit_deny_always_wins(world: tuple[Request, dict[str, Any]], place: str) -> None:
    request, raw = world
    deny = statement("Deny", action="*", **({"Principal": "*"} if place == "resource" else {}))
    decision = evaluate(request, of({**raw, place: [*(raw[place] or []), deny]}))
    assert decision.outcome is EXPLICIT


@given(world=worlds(), place=st.sampled_from(["identity", "resource", "boundary", "session"]), more=NAMING)
def test_one_more_allow_never_takes_access_away(
    world: tuple[Request, dict[str, Any]], place: str, more: dict[str, Any]
) -> None:
    request, raw = world
    if raw[place] is None and place != "resource":
        return  # a first boundary or session policy does take away: that is what they are for
    allow = {key: value for key, value in more.items() if place == "resource" or key != "Principal"} | {
        "Effect": "Allow"
    }
    if evaluate(request, of(raw)).is_allowed:
        assert evaluate(request, of({**raw, place: [*(raw[place] or []), allow]})).is_allowed


@given(world=worlds())
def test_nobody_but_the_root_is_allowed_without_an_allowing_statement(world: tuple[Request, dict[str, Any]]) -> None:
    request, raw = world
    decision = evaluate(request, of(raw))
    if decision.is_allowed and decision.statement is None:
        assert request.principal.kind.value == "Account"
    if not decision.is_allowed:
        assert (decision.statement is not None) is (decision.outcome is EXPLICIT)


@given(world=worlds(), limit=st.sampled_from(["boundary", "session"]), narrower=DOCUMENTS)
def test_a_limit_never_gives_access(
    world: tuple[Request, dict[str, Any]], limit: str, narrower: list[dict[str, Any]]
) -> None:
    request, raw = world
    if evaluate(request, of({**raw, limit: narrower})).is_allowed:
        assert evaluate(request, of({**raw, limit: None})).is_allowed

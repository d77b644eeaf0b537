"""Resource policies of functions, versions and aliases, in the words of answers recorded from AWS."""

from __future__ import annotations

import json
import string
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_harness import ACCOUNT, REGION, Control
from lambent.control.lambda_service import LambdaService
from lambent.control.permissions import policy_of
from lambent.control.policy_documents import (
    check_size,
    parsed,
    principal_of,
    rendered,
    statement,
    with_statement,
    without_statement,
)
from lambent.model.errors import AwsError
from lambent.model.names import FunctionAddress
from lambent.model.policy import DocumentKind, parse_policy
from lambent.model.request import RequestContext

ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"
F = FunctionAddress(ACCOUNT, REGION, "f")
S3 = {"Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com"}
DENY = {"Sid": "no", "Effect": "Deny", "Principal": "*", "Action": "lambda:InvokeFunction", "Resource": ARN}
STALE = (
    "The Revision Id provided does not match the latest Revision Id. "
    "Call the GetFunction/GetAlias API to retrieve the latest Revision Id"
)


async def refused(control: Control, operation: str, code: str, message: str, **members: Any) -> None:
    with pytest.raises(AwsError) as raised:
        await control(operation, **members)
    assert (raised.value.code, raised.value.message) == (code, message)


async def add(control: Control, sid: str, **members: Any) -> dict[str, Any]:
    answer = await control("AddPermission", **{"FunctionName": "f", "StatementId": sid, **S3, **members})
    statement: dict[str, Any] = json.loads(answer["Statement"])
    return statement


async def policy(control: Control, **members: Any) -> dict[str, Any]:
    answer = await control("GetPolicy", **{"FunctionName": "f", **members})
    document: dict[str, Any] = json.loads(answer["Policy"])
    return document


async def revision(control: Control) -> str:
    found: str = (await control("GetFunctionConfiguration", FunctionName="f"))["RevisionId"]
    return found


async def test_a_statement_and_its_policy_are_written_as_aws_writes_them(control: Control) -> None:
    await control.create()
    answer = await control("AddPermission", FunctionName="f", StatementId="s3", **S3)
    assert answer["Statement"] == (
        '{"Sid":"s3","Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},'
        f'"Action":"lambda:InvokeFunction","Resource":"{ARN}"}}'
    )
    found = await control("GetPolicy", FunctionName="f")
    assert found["Policy"] == f'{{"Version":"2012-10-17","Id":"default","Statement":[{answer["Statement"]}]}}'


@pytest.mark.parametrize(
    ("members", "condition"),
    [
        ({"SourceArn": "arn:aws:s3:::b"}, {"ArnLike": {"AWS:SourceArn": "arn:aws:s3:::b"}}),
        ({"SourceAccount": ACCOUNT}, {"StringEquals": {"AWS:SourceAccount": ACCOUNT}}),
        ({"EventSourceToken": "a.b"}, {"StringEquals": {"lambda:EventSourceToken": "a.b"}}),
        (
            {"PrincipalOrgID": "o-1234567890", "Principal": "*"},
            {"StringEquals": {"aws:PrincipalOrgID": "o-1234567890"}},
        ),
        (
            {"Principal": "*", "Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": "NONE"},
            {"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}},
        ),
        (
            {"Principal": "*", "InvokedViaFunctionUrl": True},
            {"Bool": {"lambda:InvokedViaFunctionUrl": "true"}},
        ),
        (
            {"SourceArn": "arn:aws:s3:::b", "SourceAccount": ACCOUNT},
            {"StringEquals": {"AWS:SourceAccount": ACCOUNT}, "ArnLike": {"AWS:SourceArn": "arn:aws:s3:::b"}},
        ),
    ],
    ids=lambda value: "-".join(value),
)
async def test_what_limits_a_permission_becomes_its_condition(
    control: Control, members: dict[str, Any], condition: dict[str, Any]
) -> None:
    await control.create()
    assert (await add(control, "x", **members))["Condition"] == condition


@pytest.mark.parametrize(
    ("text", "principal"),
    [
        ("*", "*"),
        ("999999999999", {"AWS": "arn:aws:iam::999999999999:root"}),
        ("arn:aws:iam::999999999999:role/x/y", {"AWS": "arn:aws:iam::999999999999:role/x/y"}),
        ("arn:aws:sts::999999999999:assumed-role/r/s", {"AWS": "arn:aws:sts::999999999999:assumed-role/r/s"}),
        ("sns.amazonaws.com", {"Service": "sns.amazonaws.com"}),
        ("logs.eu-west-1.amazonaws.com", {"Service": "logs.eu-west-1.amazonaws.com"}),
        ("alexa-appkit.amazon.com", {"Service": "alexa-appkit.amazon.com"}),
    ],
)
def test_principals_in_every_form(text: str, principal: object) -> None:
    assert principal_of(text) == principal


@pytest.mark.parametrize(
    "text", ["invalid.nonaws.com", "12345", "arn:aws:s3:::b", "amazonaws.com", "arn:aws:iam::1:root"]
)
def test_what_is_no_principal_is_refused(text: str) -> None:
    with pytest.raises(
        AwsError, match=r"The provided principal was invalid\. Please check the principal and try again"
    ):
        principal_of(text)


async def test_errors_in_aws_words(control: Control) -> None:
    await control.create()
    missing = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:doesnotexist"
    await add(control, "s3")
    await refused(
        control, "AddPermission", "ResourceConflictException",
        "The statement id (s3) provided already exists. Please provide a new statement id, or remove the existing statement.",
        FunctionName="f", StatementId="s3", **S3,
    )  # fmt: skip
    await refused(
        control, "AddPermission", "InvalidParameterValueException",
        "We currently do not support adding policies for $LATEST.",
        FunctionName="f", Qualifier="$LATEST", StatementId="x", **S3,
    )  # fmt: skip
    for members, message in (
        ({"FunctionName": "doesnotexist"}, f"Function not found: {missing}"),
        ({"FunctionName": "f", "Qualifier": "42"}, f"Function not found: {ARN}:42"),
        ({"FunctionName": "f:a-b"}, f"Cannot find alias arn: {ARN}:a-b"),
        ({"FunctionName": "f", "Qualifier": "with-$-in-it"}, f"Function not found: {ARN}:with-$-in-it"),
    ):
        await refused(
            control, "AddPermission", "ResourceNotFoundException", message, StatementId="x", **{**S3, **members}
        )
    for members, message in (
        ({"FunctionName": "doesnotexist"}, f"No policy found for: {missing}"),
        ({"FunctionName": "f", "Qualifier": "a-b"}, f"Cannot find alias arn: {ARN}:a-b"),
        ({"FunctionName": "f"}, "Statement x is not found in resource policy."),
    ):
        await refused(control, "RemovePermission", "ResourceNotFoundException", message, StatementId="x", **members)
    for members, message in (
        ({"FunctionName": "doesnotexist"}, f"Function not found: {missing}"),
        ({"FunctionName": "f", "Qualifier": "42"}, "The resource you requested does not exist."),
    ):
        await refused(control, "GetPolicy", "ResourceNotFoundException", message, **members)
    await refused(
        control, "AddPermission", "InvalidParameterValueException",
        "FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action",
        FunctionName="f", StatementId="x", FunctionUrlAuthType="NONE", **S3,
    )  # fmt: skip


async def test_the_last_statement_takes_the_policy_with_it(control: Control) -> None:
    await control.create()
    await add(control, "one")
    await add(control, "two")
    await control("RemovePermission", FunctionName="f", StatementId="one")
    assert [each["Sid"] for each in (await policy(control))["Statement"]] == ["two"]
    await control("RemovePermission", FunctionName="f", StatementId="two")
    gone = "The resource you requested does not exist."
    await refused(control, "GetPolicy", "ResourceNotFoundException", gone, FunctionName="f")
    none = "No policy is associated with the given resource."
    await refused(control, "RemovePermission", "ResourceNotFoundException", none, FunctionName="f", StatementId="two")


async def test_a_policy_has_the_revision_of_what_it_is_attached_to(control: Control) -> None:
    await control.create()
    before = await revision(control)
    await refused(
        control, "AddPermission", "PreconditionFailedException", STALE,
        FunctionName="f", StatementId="x", RevisionId="wrong", **S3,
    )  # fmt: skip
    await add(control, "x", RevisionId=before)
    added = (await control("GetPolicy", FunctionName="f"))["RevisionId"]
    assert added == await revision(control) != before
    await refused(
        control, "RemovePermission", "PreconditionFailedException", STALE,
        FunctionName="f", StatementId="x", RevisionId=before,
    )  # fmt: skip
    await control("RemovePermission", FunctionName="f", StatementId="x", RevisionId=added)
    assert await revision(control) not in (before, added)


async def test_functions_versions_and_aliases_have_policies_of_their_own_which_go_with_them(control: Control) -> None:
    await control.create()
    await control("PublishVersion", FunctionName="f")
    await control("CreateAlias", FunctionName="f", Name="live", FunctionVersion="1")
    assert (await add(control, "on-function"))["Resource"] == ARN
    assert (await add(control, "on-version", FunctionName="f:1"))["Resource"] == f"{ARN}:1"
    assert (await add(control, "on-alias", Qualifier="live"))["Resource"] == f"{ARN}:live"
    for members, sid in (({}, "on-function"), ({"Qualifier": "1"}, "on-version"), ({"Qualifier": "live"}, "on-alias")):
        assert [each["Sid"] for each in (await policy(control, **members))["Statement"]] == [sid]

    settings = control.catalog.settings(F)
    assert settings is not None
    assert policy_of(settings, None) == policy_of(settings, "$LATEST")
    found = policy_of(settings, "live")
    alias = control.catalog.alias(F, "live")
    assert found is not None
    assert alias is not None
    assert found["RevisionId"] == alias.revision_id
    assert found["Statement"][0]["Sid"] == "on-alias"

    await control("DeleteAlias", FunctionName="f", Name="live")
    await control("DeleteFunction", FunctionName="f", Qualifier="1")
    await control("CreateAlias", FunctionName="f", Name="live", FunctionVersion="$LATEST")
    gone = "The resource you requested does not exist."
    for qualifier in ("1", "live"):
        await refused(control, "GetPolicy", "ResourceNotFoundException", gone, FunctionName="f", Qualifier=qualifier)
    await control("DeleteFunction", FunctionName="f")
    await control.create()
    await refused(control, "GetPolicy", "ResourceNotFoundException", gone, FunctionName="f")


async def test_permissions_given_while_a_function_is_made_do_not_keep_it_from_becoming_ready(
    idle_control: Control,
) -> None:
    control = idle_control
    await control.create()
    await add(control, "x")
    control.start_reconciling()
    await control.settled()
    assert (await control("GetFunctionConfiguration", FunctionName="f"))["State"] == "Active"
    assert [each["Sid"] for each in (await policy(control))["Statement"]] == ["x"]


async def test_a_policy_ends_at_20_kilobytes(control: Control) -> None:
    await control.create()
    long = "arn:aws:s3:::" + "b" * 9900
    await add(control, "one", SourceArn=long)
    await add(control, "two", SourceArn=long)
    with pytest.raises(AwsError) as raised:
        await add(control, "three", SourceArn="arn:aws:s3:::" + "b" * 400)
    assert raised.value.code == "PolicyLengthExceededException"
    size = int(raised.value.message.split("(")[1].split(")")[0])
    assert raised.value.message == f"The final policy size ({size}) is bigger than the limit (20480)."
    assert size > 20480
    assert len((await policy(control))["Statement"]) == 2


def test_the_limit_is_20480_bytes_exactly() -> None:
    check_size("é" * 10240)
    with pytest.raises(AwsError, match=r"\(20481\)"):
        check_size("é" * 10240 + "x")


class Iam:
    """`ports.Clients` with one user and one role in another account."""

    known = ("arn:aws:iam::999999999999:user/dev/ada", "arn:aws:iam::999999999999:role/robot")

    async def call(
        self, context: RequestContext, service: str, operation: str, request: Mapping[str, Any]
    ) -> dict[str, Any]:
        kind = operation.removeprefix("Get")
        for arn in self.known:
            if arn.split(":")[4] == context.account_id and arn.endswith(f"/{request[f'{kind}Name']}"):
                return {kind: {"Arn": arn}}
        raise AwsError("NoSuchEntity", "It cannot be found.", 404)


@pytest.fixture
async def strict(control: Control) -> Control:
    """A service that holds roles and users against IAM."""
    control.service = LambdaService(
        control.catalog, control.blobs, control.clock, clients=Iam(), role_check="never", roles_must_exist=True
    )
    await control.create()
    return control


@pytest.mark.parametrize("principal", [*Iam.known, "999999999999", "*", "s3.amazonaws.com"])
async def test_whoever_exists_may_be_named(strict: Control, principal: str) -> None:
    await add(strict, "x", Principal=principal)
    if "amazonaws" not in principal:
        whole = json.dumps({"Statement": {**DENY, "Principal": {"AWS": [principal]}}})
        await strict("PutResourcePolicy", ResourceArn=ARN, Policy=whole)


@pytest.mark.parametrize(
    "principal",
    [
        "arn:aws:iam::999999999999:user/ada",  # without her path she is somebody else
        "arn:aws:iam::123456789012:role/robot",
        "arn:aws:iam::999999999999:user/robot",
    ],
)
async def test_users_and_roles_who_do_not_exist_are_refused_where_that_matters(strict: Control, principal: str) -> None:
    message = "The provided principal was invalid. Please check the principal and try again."
    await refused(
        strict, "AddPermission", "InvalidParameterValueException", message,
        FunctionName="f", StatementId="x", **{**S3, "Principal": principal},
    )  # fmt: skip
    whole = json.dumps({"Statement": {**DENY, "Principal": {"AWS": principal}}})
    await refused(strict, "PutResourcePolicy", "InvalidParameterValueException", message, ResourceArn=ARN, Policy=whole)


# --- whole policies ------------------------------------------------------------------------------------------------


async def test_a_whole_policy_replaces_what_was_there_and_statements_join_it(control: Control) -> None:
    await control.create()
    await add(control, "s3")
    whole = {"Version": "2012-10-17", "Id": "mine", "Statement": [DENY]}
    put = await control("PutResourcePolicy", ResourceArn=ARN, Policy=json.dumps(whole, indent=2))
    assert json.loads(put["Policy"]) == whole
    assert put == await control("GetResourcePolicy", ResourceArn=ARN) == await control("GetPolicy", FunctionName="f")
    await add(control, "s3")
    joined = await policy(control)
    assert (joined["Id"], [each["Sid"] for each in joined["Statement"]]) == ("mine", ["no", "s3"])
    await refused(
        control, "PutResourcePolicy", "PreconditionFailedException", STALE,
        ResourceArn=ARN, Policy=json.dumps(whole), RevisionId=put["RevisionId"],
    )  # fmt: skip
    await control("DeleteResourcePolicy", ResourceArn=ARN)
    none = "No policy is associated with the given resource."
    for operation in ("GetResourcePolicy", "DeleteResourcePolicy"):
        await refused(control, operation, "ResourceNotFoundException", none, ResourceArn=ARN)


@pytest.mark.parametrize(
    "wrong",
    [
        {**DENY, "Effect": "Perhaps"},
        {**DENY, "Resource": f"{ARN}2"},
        {**DENY, "Resource": [ARN, "*"]},
        {**DENY, "Principal": "s3.amazonaws.com"},
        {**DENY, "Principal": {"AWS": "nobody"}},
        {**DENY, "Condition": {"StringSomehow": {"aws:SourceAccount": "1"}}},
        {**DENY, "NotAction": "lambda:*"},
        {**DENY, "Extra": 1},
        {**DENY, "Action": 5},
        {**DENY, "Condition": "x"},
        {name: value for name, value in DENY.items() if name != "Principal"},
        "text",
    ],
    ids=str,
)
def test_statements_that_are_none_are_refused(wrong: object) -> None:
    with pytest.raises(AwsError) as raised:
        parsed(json.dumps({"Statement": [wrong]}), ARN)
    assert raised.value.code == "InvalidParameterValueException"


@pytest.mark.parametrize(
    "document",
    [
        "{",
        "[]",
        "1",
        "{}",
        "[" * 100_000,
        '{"Statement":[]}',
        '{"Statement":NaN}',
        '{"Statement":"\\ud800"}',
        '{"Version":"2020-01-01","Statement":[]}',
        json.dumps({"Statement": [DENY, DENY]}),
        json.dumps({"Statement": [DENY], "More": 1}),
    ],
    ids=lambda text: text[:40],
)
def test_documents_that_are_no_policies_are_refused(document: str) -> None:
    with pytest.raises(AwsError) as raised:
        parsed(document, ARN)
    assert raised.value.code == "InvalidParameterValueException"


@pytest.mark.parametrize("resource", [ARN, [ARN], f"{ARN}:*"])
def test_a_policy_may_name_its_function_and_all_its_versions(resource: object) -> None:
    assert (
        parsed(json.dumps({"Statement": {**DENY, "Resource": resource}}), ARN)["Statement"][0]["Resource"] == resource
    )


@pytest.mark.parametrize(
    "arn", [f"arn:aws:lambda:{REGION}:{ACCOUNT}:runtime/x", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:other"]
)
async def test_policies_are_of_functions_that_exist(control: Control, arn: str) -> None:
    await control.create()
    members = {"PutResourcePolicy": {"Policy": json.dumps({"Statement": {**DENY, "Resource": arn}})}}
    for operation in ("PutResourcePolicy", "GetResourcePolicy", "DeleteResourcePolicy"):
        with pytest.raises(AwsError) as raised:
            await control(operation, ResourceArn=arn, **members.get(operation, {}))
        assert raised.value.code == "ResourceNotFoundException"


@given(sids=st.lists(st.text(string.ascii_letters, min_size=1, max_size=3), max_size=12))
def test_statements_come_and_go_by_their_ids_alone(sids: list[str]) -> None:
    """Against a plain dict: the first of an id stays, a second is refused, and removing leaves the others in order."""
    kept: dict[str, dict[str, Any]] = {}
    held: dict[str, Any] | None = None
    for position, sid in enumerate(sids):
        new = {"Sid": sid, "n": position}
        if sid in kept:
            with pytest.raises(AwsError, match="already exists"):
                with_statement(held, new)
        else:
            kept[sid] = new
            held = with_statement(held, new)
    for sid in list(kept):
        assert held is not None
        assert held["Statement"] == list(kept.values())
        held = without_statement(held, sid)
        del kept[sid]
    assert held is None


WORDS = st.sampled_from(
    [
        "*",
        "Allow",
        "Deny",
        ARN,
        f"{ARN}:*",
        "lambda:InvokeFunction",
        "999999999999",
        "s3.amazonaws.com",
        "",
        "\ud800",
        "é",
    ]
)
MEMBERS = st.sampled_from(
    ["Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "Condition", "AWS", "Service",
     "StringEquals", "aws:SourceAccount", "Version", "Id", "Statement"]
)  # fmt: skip
VALUES = st.recursive(
    WORDS | st.none() | st.integers() | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(MEMBERS, inner, max_size=4),
    max_leaves=12,
)
RIGHT = st.fixed_dictionaries(
    {
        "Effect": st.sampled_from(["Allow", "Deny"]),
        "Principal": st.sampled_from(["*", {"AWS": "999999999999"}, {"Service": ["s3.amazonaws.com"]}]),
        "Action": st.sampled_from(["lambda:InvokeFunction", ["lambda:*", "*"]]),
        "Resource": st.sampled_from([ARN, [f"{ARN}:*"]]),
    },
    optional={"Condition": st.just({"StringEquals": {"aws:SourceAccount": "1"}})},
)
WRONG_SOMEWHERE = st.builds(lambda right, member, value: {**right, member: value}, RIGHT, MEMBERS, VALUES)


@given(
    document=st.text()
    | st.lists(RIGHT | WRONG_SOMEWHERE, max_size=3).map(lambda statements: json.dumps({"Statement": statements}))
    | VALUES.map(json.dumps)
)
def test_what_is_taken_as_a_policy_can_be_read_back_and_decided_by(document: str) -> None:
    try:
        policy = parsed(document, ARN)
    except AwsError:
        return
    assert parse_policy(rendered(policy), DocumentKind.RESOURCE).statements
    assert parsed(rendered(policy), ARN)["Statement"] == policy["Statement"]


@given(text=st.text(max_size=40) | st.from_regex(r"arn:aws:(iam|sts)::\d{12}:(root|user/\S+|role/\S+)", fullmatch=True))
def test_what_is_taken_as_a_principal_can_be_decided_by(text: str) -> None:
    try:
        made = statement("x", text, "lambda:InvokeFunction", ARN, {})
    except AwsError:
        return
    assert parse_policy(rendered({"Statement": [made]}), DocumentKind.RESOURCE).statements

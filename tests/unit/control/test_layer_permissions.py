"""Layer versions are used by other accounts as far as their policies say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from control_harness import ACCOUNT, REGION, Control, zipped
from lambent.model.errors import AwsError

LAYER = f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:shared"
OTHER = "999999999999"
OPEN: dict[str, Any] = {"LayerName": "shared", "VersionNumber": 1, "Action": "lambda:GetLayerVersion"}
STALE = (
    "The Revision Id provided does not match the latest Revision Id. "
    "Call the GetLayerPolicy API to retrieve the latest Revision Id"
)


@pytest.fixture
async def shared(control: Control) -> Control:
    await control("PublishLayerVersion", LayerName="shared", Content={"ZipFile": zipped(python__x="1")})
    return control


async def refused(control: Control, operation: str, code: str, message: str, **members: Any) -> None:
    with pytest.raises(AwsError) as raised:
        await control(operation, **members)
    assert (raised.value.code, raised.value.message) == (code, message)


async def allow(control: Control, sid: str, principal: str, **members: Any) -> dict[str, Any]:
    answer = await control(
        "AddLayerVersionPermission", **{**OPEN, "StatementId": sid, "Principal": principal, **members}
    )
    statement: dict[str, Any] = json.loads(answer["Statement"])
    return statement


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"Principal": "*"}, {"Principal": "*"}),
        ({"Principal": OTHER}, {"Principal": {"AWS": f"arn:aws:iam::{OTHER}:root"}}),
        ({"Principal": f"arn:aws:iam::{OTHER}:root"}, {"Principal": {"AWS": f"arn:aws:iam::{OTHER}:root"}}),
        (
            {"Principal": "*", "OrganizationId": "o-1234567890"},
            {"Principal": "*", "Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-1234567890"}}},
        ),
    ],
    ids=str,
)
async def test_a_permission_becomes_a_statement(
    shared: Control, members: dict[str, Any], expected: dict[str, Any]
) -> None:
    answer = await shared("AddLayerVersionPermission", **OPEN, StatementId="s1", **members)
    statement = json.loads(answer["Statement"])
    assert statement == {
        "Sid": "s1", "Effect": "Allow", "Action": "lambda:GetLayerVersion", "Resource": f"{LAYER}:1", **expected,
    }  # fmt: skip
    found = await shared("GetLayerVersionPolicy", LayerName="shared", VersionNumber=1)
    assert json.loads(found["Policy"]) == {"Version": "2012-10-17", "Id": "default", "Statement": [statement]}
    assert found["RevisionId"] == answer["RevisionId"]


async def test_every_change_has_a_new_revision_and_a_stale_one_is_refused(shared: Control) -> None:
    await refused(
        shared, "AddLayerVersionPermission", "PreconditionFailedException", STALE,
        **OPEN, StatementId="s1", Principal="*", RevisionId="wrong",
    )  # fmt: skip
    first = (await shared("AddLayerVersionPermission", **OPEN, StatementId="s1", Principal="*"))["RevisionId"]
    second = (
        await shared("AddLayerVersionPermission", **OPEN, StatementId="s2", Principal="*", RevisionId=first)
    )["RevisionId"]  # fmt: skip
    assert first != second
    await refused(
        shared, "RemoveLayerVersionPermission", "PreconditionFailedException", STALE,
        LayerName="shared", VersionNumber=1, StatementId="s2", RevisionId=first,
    )  # fmt: skip
    await shared("RemoveLayerVersionPermission", LayerName="shared", VersionNumber=1, StatementId="s2")
    found = await shared("GetLayerVersionPolicy", LayerName="shared", VersionNumber=1)
    assert found["RevisionId"] not in (first, second)
    assert [each["Sid"] for each in json.loads(found["Policy"])["Statement"]] == ["s1"]


async def test_errors_in_aws_words(shared: Control) -> None:
    none = "No policy is associated with the given resource."
    await refused(
        shared, "GetLayerVersionPolicy", "ResourceNotFoundException", none, LayerName="shared", VersionNumber=1
    )
    await allow(shared, "s1", "*")
    await refused(
        shared, "AddLayerVersionPermission", "ResourceConflictException",
        "The statement id (s1) provided already exists. Please provide a new statement id, or remove the existing statement.",
        **OPEN, StatementId="s1", Principal="*",
    )  # fmt: skip
    await refused(
        shared, "RemoveLayerVersionPermission", "ResourceNotFoundException",
        "Statement x is not found in resource policy.", LayerName="shared", VersionNumber=1, StatementId="x",
    )  # fmt: skip
    absent: dict[str, dict[str, Any]] = {"AddLayerVersionPermission": {"Action": "lambda:GetLayerVersion", "StatementId": "x", "Principal": "*"},
              "RemoveLayerVersionPermission": {"StatementId": "x"}, "GetLayerVersionPolicy": {}}  # fmt: skip
    for operation, members in absent.items():
        for name, number in (("shared", 2), ("absent", 1)):
            message = f"Layer version arn:aws:lambda:{REGION}:{ACCOUNT}:layer:{name}:{number} does not exist."
            await refused(
                shared, operation, "ResourceNotFoundException", message,
                LayerName=name, VersionNumber=number, **members,
            )  # fmt: skip


def denied(resource: str, action: str = "lambda:GetLayerVersion") -> str:
    return (
        f"User: arn:aws:iam::{OTHER}:root is not authorized to perform: {action} on resource: {resource} "
        f"because no resource-based policy allows the {action} action"
    )


async def refused_to_other(control: Control, version_arn: str) -> None:
    """By every way to a layer version."""
    name, _, number = version_arn.rpartition(":")
    for operation, members in (
        ("GetLayerVersionByArn", {"Arn": version_arn}),
        ("GetLayerVersion", {"LayerName": name, "VersionNumber": int(number)}),
    ):
        await refused(control, operation, "AccessDeniedException", denied(version_arn), account_id=OTHER, **members)
    with pytest.raises(AwsError) as raised:
        await control.create("h", account_id=OTHER, Layers=[version_arn])
    assert (raised.value.code, raised.value.status) == ("AccessDeniedException", 403)


async def test_another_account_may_use_what_is_open_to_it(shared: Control) -> None:
    await refused_to_other(shared, f"{LAYER}:1")
    await allow(shared, "nobody", "111111111111")
    await allow(shared, "organization", "*", OrganizationId="o-1234567890")
    await refused_to_other(shared, f"{LAYER}:1")

    await allow(shared, "other", OTHER)
    got = await shared("GetLayerVersionByArn", account_id=OTHER, Arn=f"{LAYER}:1")
    assert got["LayerVersionArn"] == f"{LAYER}:1"
    assert await shared("GetLayerVersion", account_id=OTHER, LayerName=LAYER, VersionNumber=1)
    made = await shared.create("g", account_id=OTHER, Layers=[f"{LAYER}:1"])
    assert [layer["Arn"] for layer in made["Layers"]] == [f"{LAYER}:1"]

    await shared("RemoveLayerVersionPermission", LayerName="shared", VersionNumber=1, StatementId="other")
    await refused_to_other(shared, f"{LAYER}:1")


async def test_what_is_open_to_all_is_open_for_use_and_not_for_change(shared: Control) -> None:
    await allow(shared, "all", "*")
    assert await shared("GetLayerVersionByArn", account_id=OTHER, Arn=f"{LAYER}:1")
    await refused_to_other(shared, f"{LAYER}:2")  # one that does not exist looks like one that is closed
    await refused(
        shared, "RemoveLayerVersionPermission", "AccessDeniedException",
        denied(f"{LAYER}:1", "lambda:RemoveLayerVersionPermission"),
        account_id=OTHER, LayerName=LAYER, VersionNumber=1, StatementId="all",
    )  # fmt: skip


async def test_a_policy_goes_with_its_layer_version(shared: Control) -> None:
    await allow(shared, "all", "*")
    await shared("DeleteLayerVersion", LayerName="shared", VersionNumber=1)
    assert shared.catalog.documents("layer-policy", ACCOUNT, REGION) == {}
    await refused_to_other(shared, f"{LAYER}:1")

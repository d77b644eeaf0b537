"""Recursion, runtime management, tags, and the capacity providers that are not offered."""

from __future__ import annotations

from typing import Any

import pytest

from control_harness import ACCOUNT, REGION, Control
from lambent.control.shapes import runtime_version_arn
from lambent.model.errors import AwsError
from lambent.model.lineage import recursive_loop_of
from lambent.model.names import FunctionAddress

ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"
F = FunctionAddress(ACCOUNT, REGION, "f")
BUILD = runtime_version_arn(REGION, "python3.13")


async def refused(control: Control, operation: str, code: str, message: str | None = None, **members: Any) -> None:
    with pytest.raises(AwsError) as raised:
        await control(operation, **members)
    assert raised.value.code == code
    if message is not None:
        assert raised.value.message == message


# --- recursion -----------------------------------------------------------------------------------------------------


async def test_loops_are_ended_unless_they_are_allowed(control: Control) -> None:
    await control.create()
    assert await control("GetFunctionRecursionConfig", FunctionName="f") == {"RecursiveLoop": "Terminate"}
    for choice in ("Allow", "Terminate"):
        put = await control("PutFunctionRecursionConfig", FunctionName="f", RecursiveLoop=choice)
        assert put == {"RecursiveLoop": choice} == await control("GetFunctionRecursionConfig", FunctionName=ARN)
        settings = control.catalog.settings(F)
        assert settings is not None
        assert recursive_loop_of(settings) == choice


@pytest.mark.parametrize("operation", ["PutFunctionRecursionConfig", "GetFunctionRecursionConfig"])
async def test_recursion_is_of_functions_that_exist(control: Control, operation: str) -> None:
    await refused(
        control, operation, "ResourceNotFoundException", f"Function not found: {ARN}",
        FunctionName="f", RecursiveLoop="Allow",
    )  # fmt: skip


# --- runtime management --------------------------------------------------------------------------------------------


async def test_runtimes_are_managed_by_version(control: Control) -> None:
    await control.create()
    await control("PublishVersion", FunctionName="f")
    default = await control("GetRuntimeManagementConfig", FunctionName="f")
    assert default == {"UpdateRuntimeOn": "Auto", "FunctionArn": f"{ARN}:$LATEST"}
    await control("PutRuntimeManagementConfig", FunctionName="f", UpdateRuntimeOn="FunctionUpdate")
    manual = {"UpdateRuntimeOn": "Manual", "RuntimeVersionArn": BUILD}
    put = await control("PutRuntimeManagementConfig", FunctionName="f", Qualifier="1", **manual)
    assert put == {**manual, "FunctionArn": f"{ARN}:1"}
    assert await control("GetRuntimeManagementConfig", FunctionName="f", Qualifier="1") == put
    latest = await control("GetRuntimeManagementConfig", FunctionName="f", Qualifier="$LATEST")
    assert latest == {"UpdateRuntimeOn": "FunctionUpdate", "FunctionArn": f"{ARN}:$LATEST"}
    await control("DeleteFunction", FunctionName="f", Qualifier="1")
    settings = control.catalog.settings(F)
    assert settings is not None
    assert list(settings.extra["runtime-management"]) == [""]


@pytest.mark.parametrize(
    "members",
    [
        {"UpdateRuntimeOn": "Manual"},
        {"UpdateRuntimeOn": "Auto", "RuntimeVersionArn": BUILD},
        {"UpdateRuntimeOn": "Manual", "RuntimeVersionArn": f"{BUILD}0"},
        {"UpdateRuntimeOn": "Auto", "Qualifier": "live"},
    ],
    ids=str,
)
async def test_what_cannot_be_managed_is_refused(control: Control, members: dict[str, str]) -> None:
    await control.create()
    await control("CreateAlias", FunctionName="f", Name="live", FunctionVersion="$LATEST")
    await refused(control, "PutRuntimeManagementConfig", "InvalidParameterValueException", FunctionName="f", **members)
    assert (await control("GetRuntimeManagementConfig", FunctionName="f"))["UpdateRuntimeOn"] == "Auto"


@pytest.mark.parametrize("operation", ["PutRuntimeManagementConfig", "GetRuntimeManagementConfig"])
async def test_runtimes_are_managed_of_versions_that_exist(control: Control, operation: str) -> None:
    await control.create()
    for members, arn in (({"FunctionName": "f", "Qualifier": "7"}, f"{ARN}:7"), ({"FunctionName": "fx"}, f"{ARN}x")):
        await refused(
            control, operation, "ResourceNotFoundException", f"Function not found: {arn}",
            UpdateRuntimeOn="Auto", **members,
        )  # fmt: skip


# --- tags ----------------------------------------------------------------------------------------------------------


async def taggable(control: Control, kind: str) -> str:
    """The ARN of a new resource."""
    if kind == "function":
        return str((await control.create())["FunctionArn"])
    if kind == "code-signing-config":
        publishers = {"SigningProfileVersionArns": [f"arn:aws:signer:{REGION}:{ACCOUNT}:/signing-profiles/p/v"]}
        answer = await control("CreateCodeSigningConfig", AllowedPublishers=publishers)
        return str(answer["CodeSigningConfig"]["CodeSigningConfigArn"])
    await control.create()
    source = f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"
    answer = await control("CreateEventSourceMapping", FunctionName="f", EventSourceArn=source)
    return str(answer["EventSourceMappingArn"])


@pytest.mark.parametrize("kind", ["function", "code-signing-config", "event-source-mapping"])
async def test_everything_that_can_have_tags_has_them(control: Control, kind: str) -> None:
    arn = await taggable(control, kind)
    assert await control("ListTags", Resource=arn) == {"Tags": {}}
    await control("TagResource", Resource=arn, Tags={"a": "1", "b": "2"})
    await control("TagResource", Resource=arn, Tags={"b": "3"})
    assert await control("ListTags", Resource=arn) == {"Tags": {"a": "1", "b": "3"}}
    await control("UntagResource", Resource=arn, TagKeys=["a", "never"])
    assert await control("ListTags", Resource=arn) == {"Tags": {"b": "3"}}
    await refused(
        control, "TagResource", "InvalidParameterValueException", "Number of tags exceeds resource tag limit.",
        Resource=arn, Tags={str(n): "" for n in range(50)},
    )  # fmt: skip
    await refused(
        control, "TagResource", "InvalidParameterValueException",
        "An error occurred and the request cannot be processed.", Resource=arn, Tags={},
    )  # fmt: skip
    assert await control("ListTags", Resource=arn) == {"Tags": {"b": "3"}}


async def test_tags_given_at_creation_are_a_configurations_own(control: Control) -> None:
    publishers = {"SigningProfileVersionArns": [f"arn:aws:signer:{REGION}:{ACCOUNT}:/signing-profiles/p/v"]}
    made = (await control("CreateCodeSigningConfig", AllowedPublishers=publishers, Tags={"a": "1"}))[
        "CodeSigningConfig"
    ]
    await control("UpdateCodeSigningConfig", CodeSigningConfigArn=made["CodeSigningConfigArn"], Description="x")
    assert await control("ListTags", Resource=made["CodeSigningConfigArn"]) == {"Tags": {"a": "1"}}


async def test_tags_change_a_functions_revision_and_nothing_else_of_it(control: Control) -> None:
    await control.create()
    before = await control("GetFunctionConfiguration", FunctionName="f")
    await control("UntagResource", Resource=ARN, TagKeys=["never"])
    assert await control("GetFunctionConfiguration", FunctionName="f") == before
    await control("TagResource", Resource=ARN, Tags={"a": "1"})
    after = await control("GetFunctionConfiguration", FunctionName="f")
    assert {name for name in after if after[name] != before[name]} == {"RevisionId"}


@pytest.mark.parametrize(
    ("suffix", "message"),
    [
        ("function:fx", f"Function not found: {ARN}x"),
        ("code-signing-config:csc-00000000000000000", None),
        ("event-source-mapping:00000000-0000-0000-0000-000000000000", "The resource you requested does not exist."),
        ("capacity-provider:x", None),
    ],
)
async def test_what_is_not_there_has_no_tags(control: Control, suffix: str, message: str | None) -> None:
    arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:{suffix}"
    calls: dict[str, dict[str, Any]] = {
        "ListTags": {},
        "TagResource": {"Tags": {"a": ""}},
        "UntagResource": {"TagKeys": ["a"]},
    }
    for operation, members in calls.items():
        await refused(control, operation, "ResourceNotFoundException", message, Resource=arn, **members)


@pytest.mark.parametrize("kind", ["code-signing-config", "event-source-mapping"])
async def test_tags_of_other_accounts_are_refused_and_of_other_regions_not_found(control: Control, kind: str) -> None:
    arn = await taggable(control, kind)
    await refused(control, "ListTags", "AccessDeniedException", account_id="999999999999", Resource=arn)
    await refused(control, "ListTags", "ResourceNotFoundException", region="us-east-1", Resource=arn)


# --- capacity providers --------------------------------------------------------------------------------------------


async def test_capacity_providers_are_not_offered(control: Control) -> None:
    await control.create()
    assert await control("ListCapacityProviders") == {"CapacityProviders": []}
    create: dict[str, Any] = {"CapacityProviderName": "p", "VpcConfig": {}, "PermissionsConfig": {}}
    await refused(control, "CreateCapacityProvider", "InvalidParameterValueException", **create)
    for operation in ("Get", "Update", "Delete"):
        await refused(control, f"{operation}CapacityProvider", "ResourceNotFoundException", CapacityProviderName="p")
    await refused(
        control, "ListFunctionVersionsByCapacityProvider", "ResourceNotFoundException", CapacityProviderName="p"
    )
    for operation in ("PutFunctionScalingConfig", "GetFunctionScalingConfig"):
        await refused(control, operation, "InvalidParameterValueException", FunctionName="f", Qualifier="$LATEST")
        await refused(control, operation, "ResourceNotFoundException", FunctionName="f", Qualifier="7")

"""Code signing configurations, and what one that enforces forbids."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest

from control_harness import ACCOUNT, REGION, Control, zipped
from lambent.model.errors import AwsError
from lambent.model.request import RequestContext

ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"
NO_CONFIG = f"arn:aws:lambda:{REGION}:{ACCOUNT}:code-signing-config:csc-00000000000000000"
PUBLISHERS = {"SigningProfileVersionArns": [f"arn:aws:signer:{REGION}:{ACCOUNT}:/signing-profiles/p/v"]}
UNSIGNED = (
    "Lambda cannot deploy the function. The function or layer might be signed using a signature that the client "
    "is not configured to accept. Check the provided signature for f."
)


async def refused(control: Control, operation: str, code: str, message: str, **members: Any) -> None:
    with pytest.raises(AwsError) as raised:
        await control(operation, **members)
    assert (raised.value.code, raised.value.message) == (code, message)


async def configuration(control: Control, policy: str | None = None, **members: Any) -> dict[str, Any]:
    if policy is not None:
        members["CodeSigningPolicies"] = {"UntrustedArtifactOnDeployment": policy}
    answer = await control("CreateCodeSigningConfig", AllowedPublishers=PUBLISHERS, **members)
    made: dict[str, Any] = answer["CodeSigningConfig"]
    return made


async def function_config(control: Control, name: str = "f") -> dict[str, Any]:
    """What GetFunctionCodeSigningConfig gives without one is less than its model demands, as at AWS."""
    context = RequestContext(account_id=ACCOUNT, region=REGION, request_id="r", base_url="http://127.0.0.1:4566")
    return await control.service.operations["GetFunctionCodeSigningConfig"](context, {"FunctionName": name})


async def test_a_configuration_is_made_read_changed_listed_and_deleted(control: Control) -> None:
    made = await configuration(control, Description="d")
    assert re.fullmatch(r"csc-[a-z0-9]{17}", made["CodeSigningConfigId"])
    assert made == {
        "CodeSigningConfigId": made["CodeSigningConfigId"],
        "CodeSigningConfigArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:code-signing-config:{made['CodeSigningConfigId']}",
        "Description": "d",
        "AllowedPublishers": PUBLISHERS,
        "CodeSigningPolicies": {"UntrustedArtifactOnDeployment": "Warn"},
        "LastModified": made["LastModified"],
    }
    arn = made["CodeSigningConfigArn"]
    assert await control("GetCodeSigningConfig", CodeSigningConfigArn=arn) == {"CodeSigningConfig": made}
    unchanged = await control("UpdateCodeSigningConfig", CodeSigningConfigArn=arn)
    assert unchanged == {"CodeSigningConfig": made}
    changed = await control(
        "UpdateCodeSigningConfig", CodeSigningConfigArn=arn, Description="",
        CodeSigningPolicies={"UntrustedArtifactOnDeployment": "Enforce"},
    )  # fmt: skip
    assert changed["CodeSigningConfig"]["Description"] == ""
    assert changed["CodeSigningConfig"]["CodeSigningPolicies"] == {"UntrustedArtifactOnDeployment": "Enforce"}
    other = await configuration(control)
    listed = (await control("ListCodeSigningConfigs"))["CodeSigningConfigs"]
    assert sorted(each["CodeSigningConfigArn"] for each in listed) == sorted([arn, other["CodeSigningConfigArn"]])
    first = await control("ListCodeSigningConfigs", MaxItems=1)
    rest = await control("ListCodeSigningConfigs", MaxItems=1, Marker=first["NextMarker"])
    assert [*first["CodeSigningConfigs"], *rest["CodeSigningConfigs"]] == listed
    await control("DeleteCodeSigningConfig", CodeSigningConfigArn=arn)
    gone = f"The Lambda code signing configuration {arn} can not be found."
    await refused(control, "GetCodeSigningConfig", "ResourceNotFoundException", gone, CodeSigningConfigArn=arn)


@pytest.mark.parametrize(
    "operation",
    ["GetCodeSigningConfig", "UpdateCodeSigningConfig", "DeleteCodeSigningConfig", "ListFunctionsByCodeSigningConfig"],
)
@pytest.mark.parametrize("change", [("", ""), (ACCOUNT, "999999999999"), (REGION, "us-east-1")], ids=str)
async def test_configurations_that_are_not_there_or_are_others_are_not_found(
    control: Control, operation: str, change: tuple[str, str]
) -> None:
    made = (await configuration(control))["CodeSigningConfigArn"]
    arn = NO_CONFIG if change == ("", "") else made.replace(*change)
    message = f"The Lambda code signing configuration {arn} can not be found."
    await refused(control, operation, "ResourceNotFoundException", message, CodeSigningConfigArn=arn)


async def test_a_function_gets_a_configuration_and_loses_it(control: Control) -> None:
    await control.create()
    arn = (await configuration(control))["CodeSigningConfigArn"]
    assert await function_config(control) == {}
    put = await control("PutFunctionCodeSigningConfig", FunctionName=ARN, CodeSigningConfigArn=arn)
    assert put == {"CodeSigningConfigArn": arn, "FunctionName": "f"} == await function_config(control)
    assert await control("ListFunctionsByCodeSigningConfig", CodeSigningConfigArn=arn) == {"FunctionArns": [ARN]}
    with pytest.raises(AwsError) as raised:
        await control("DeleteCodeSigningConfig", CodeSigningConfigArn=arn)
    assert raised.value.code == "ResourceConflictException"
    for _ in range(2):  # a second time is no error
        await control("DeleteFunctionCodeSigningConfig", FunctionName="f")
    assert await function_config(control) == {}
    await control("DeleteCodeSigningConfig", CodeSigningConfigArn=arn)


async def test_errors_of_functions_in_aws_words(control: Control) -> None:
    arn = (await configuration(control))["CodeSigningConfigArn"]
    no_function = f"Function not found: {ARN}"
    for operation, members in (
        ("PutFunctionCodeSigningConfig", {"CodeSigningConfigArn": arn}),
        ("GetFunctionCodeSigningConfig", {}),
        ("DeleteFunctionCodeSigningConfig", {}),
    ):
        await refused(control, operation, "ResourceNotFoundException", no_function, FunctionName="f", **members)
    no_config = (
        "The code signing configuration cannot be found. "
        f"Check that the provided configuration is not deleted: {NO_CONFIG}."
    )
    await refused(
        control, "PutFunctionCodeSigningConfig", "CodeSigningConfigNotFoundException", no_config,
        FunctionName="f", CodeSigningConfigArn=NO_CONFIG,
    )  # fmt: skip
    with pytest.raises(AwsError, match=r"The code signing configuration cannot be found") as raised:
        await control.create(CodeSigningConfigArn=NO_CONFIG)
    assert raised.value.status == 404


async def test_an_enforcing_configuration_refuses_new_functions_code_and_layers(control: Control) -> None:
    enforced = (await configuration(control, "Enforce"))["CodeSigningConfigArn"]
    with pytest.raises(AwsError) as raised:
        await control.create(CodeSigningConfigArn=enforced)
    assert (raised.value.code, raised.value.message) == ("CodeVerificationFailedException", UNSIGNED)
    assert (await control("ListFunctions"))["Functions"] == []

    await control.create()
    layer = await control("PublishLayerVersion", LayerName="l", Content={"ZipFile": zipped(x="1")})
    await control("PutFunctionCodeSigningConfig", FunctionName="f", CodeSigningConfigArn=enforced)
    before = await control("GetFunctionConfiguration", FunctionName="f")
    await refused(
        control, "UpdateFunctionCode", "CodeVerificationFailedException", UNSIGNED,
        FunctionName="f", ZipFile=zipped(app="2"),
    )  # fmt: skip
    await refused(
        control, "UpdateFunctionConfiguration", "CodeVerificationFailedException", UNSIGNED,
        FunctionName="f", Layers=[layer["LayerVersionArn"]],
    )  # fmt: skip
    assert await control("GetFunctionConfiguration", FunctionName="f") == before
    await control("UpdateFunctionConfiguration", FunctionName="f", Layers=[], Timeout=9)


async def test_a_warning_configuration_lets_code_pass_and_says_so(
    control: Control, caplog: pytest.LogCaptureFixture
) -> None:
    arn = (await configuration(control, "Warn"))["CodeSigningConfigArn"]
    with caplog.at_level(logging.WARNING):
        await control.create(CodeSigningConfigArn=arn)
        await control("UpdateFunctionCode", FunctionName="f", ZipFile=zipped(app="2"))
    assert [arn in record.message for record in caplog.records] == [True, True]
    assert await function_config(control) == {"CodeSigningConfigArn": arn, "FunctionName": "f"}

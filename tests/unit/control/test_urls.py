"""Function URL configurations: one for a function, one for each alias, found again by their ids."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from control_harness import ACCOUNT, REGION, Control
from lambent.control.urls import find_url, url_of
from lambent.model.errors import AwsError
from lambent.model.names import FunctionAddress
from lambent.model.request import RequestContext
from lambent.store.catalog import SqliteCatalog

ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"
F = FunctionAddress(ACCOUNT, REGION, "f")
NO_FUNCTION = "Function does not exist"
NO_CONFIG = "The resource you requested does not exist."


@pytest.fixture
async def made(control: Control) -> Control:
    await control.create()
    await control("PublishVersion", FunctionName="f")
    await control("CreateAlias", FunctionName="f", Name="live", FunctionVersion="1")
    return control


async def refused(control: Control, operation: str, code: str, message: str, **members: Any) -> None:
    with pytest.raises(AwsError) as raised:
        await control(operation, **members)
    assert (raised.value.code, raised.value.message) == (code, message)


def id_in(url: str) -> str:
    return url.removeprefix("http://").partition(".")[0]


async def test_a_url_is_made_read_changed_and_deleted(made: Control) -> None:
    created = await made("CreateFunctionUrlConfig", FunctionName="f", AuthType="NONE")
    assert re.fullmatch(rf"http://[a-z0-9]{{32}}\.lambda-url\.{REGION}\.localhost:4566/", created["FunctionUrl"]), (
        created["FunctionUrl"]
    )
    assert created.keys() == {"FunctionUrl", "FunctionArn", "AuthType", "CreationTime"}
    assert (created["FunctionArn"], created["AuthType"]) == (ARN, "NONE")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", created["CreationTime"])

    got = await made("GetFunctionUrlConfig", FunctionName=ARN)
    assert got == {**created, "InvokeMode": "BUFFERED", "LastModifiedTime": created["CreationTime"]}

    cors = {"AllowOrigins": ["https://x"], "AllowMethods": ["GET", "*"], "MaxAge": 5, "AllowCredentials": True}
    updated = await made(
        "UpdateFunctionUrlConfig", FunctionName="f", AuthType="AWS_IAM", InvokeMode="RESPONSE_STREAM", Cors=cors
    )
    assert (updated["AuthType"], updated["InvokeMode"], updated["Cors"]) == ("AWS_IAM", "RESPONSE_STREAM", cors)
    assert updated["FunctionUrl"] == created["FunctionUrl"]
    assert updated["CreationTime"] == created["CreationTime"] <= updated["LastModifiedTime"]
    assert await made("GetFunctionUrlConfig", FunctionName="f") == updated
    assert "Cors" not in await made("UpdateFunctionUrlConfig", FunctionName="f", Cors={})

    await made("DeleteFunctionUrlConfig", FunctionName="f")
    await refused(made, "GetFunctionUrlConfig", "ResourceNotFoundException", NO_CONFIG, FunctionName="f")
    assert find_url(made.catalog, id_in(created["FunctionUrl"])) is None


async def test_the_mode_is_given_back_at_creation_only_when_it_was_given(made: Control) -> None:
    created = await made("CreateFunctionUrlConfig", FunctionName="f", AuthType="NONE", InvokeMode="BUFFERED")
    assert created["InvokeMode"] == "BUFFERED"


async def test_an_alias_has_a_url_of_its_own(made: Control) -> None:
    of_function = await made("CreateFunctionUrlConfig", FunctionName="f", AuthType="NONE")
    of_alias = await made("CreateFunctionUrlConfig", FunctionName="f", Qualifier="live", AuthType="AWS_IAM")
    assert of_alias["FunctionArn"] == f"{ARN}:live"
    assert of_alias["FunctionUrl"] != of_function["FunctionUrl"]
    listed = (await made("ListFunctionUrlConfigs", FunctionName="f"))["FunctionUrlConfigs"]
    assert [each["FunctionUrl"] for each in listed] == [of_function["FunctionUrl"], of_alias["FunctionUrl"]]
    first = await made("ListFunctionUrlConfigs", FunctionName="f", MaxItems=1)
    second = await made("ListFunctionUrlConfigs", FunctionName="f", MaxItems=1, Marker=first["NextMarker"])
    assert [*first["FunctionUrlConfigs"], *second["FunctionUrlConfigs"]] == listed
    assert "NextMarker" not in second
    found = find_url(made.catalog, id_in(of_alias["FunctionUrl"]), REGION)
    assert found is not None
    assert (found.address, found.auth_type, found.invoke_mode, found.cors) == (
        FunctionAddress(ACCOUNT, REGION, "f", "live"), "AWS_IAM", "BUFFERED", None,
    )  # fmt: skip
    assert find_url(made.catalog, id_in(of_alias["FunctionUrl"]), "us-east-1") is None


async def test_urls_go_with_their_alias_and_their_function(made: Control) -> None:
    ids = [
        id_in((await made("CreateFunctionUrlConfig", FunctionName=name, AuthType="NONE"))["FunctionUrl"])
        for name in ("f", "f:live")
    ]
    await made("DeleteAlias", FunctionName="f", Name="live")
    assert [find_url(made.catalog, each) is None for each in ids] == [False, True]
    await made("DeleteFunction", FunctionName="f")
    assert made.catalog.documents("function-url", ACCOUNT, REGION) == {}
    await made.create()
    assert (await made("ListFunctionUrlConfigs", FunctionName="f"))["FunctionUrlConfigs"] == []


async def test_urls_outlive_the_server(made: Control, tmp_path: Path) -> None:
    created = await made("CreateFunctionUrlConfig", FunctionName="f", AuthType="NONE")
    await made.close()
    catalog = SqliteCatalog.open(tmp_path / "catalog.db")
    try:
        found = find_url(catalog, id_in(created["FunctionUrl"]))
        assert found is not None
        assert found.address == F
    finally:
        await catalog.close()


async def test_errors_in_aws_words(made: Control) -> None:
    for members in ({"FunctionName": "x"}, {"FunctionName": f"{ARN}x"}, {"FunctionName": "f", "Qualifier": "x"}):
        for operation in ("CreateFunctionUrlConfig", "UpdateFunctionUrlConfig"):
            await refused(made, operation, "ResourceNotFoundException", NO_FUNCTION, **members, AuthType="NONE")
        for operation in ("GetFunctionUrlConfig", "DeleteFunctionUrlConfig"):
            await refused(made, operation, "ResourceNotFoundException", NO_CONFIG, **members)
    await refused(made, "ListFunctionUrlConfigs", "ResourceNotFoundException", NO_FUNCTION, FunctionName="x")
    await refused(made, "UpdateFunctionUrlConfig", "ResourceNotFoundException", NO_CONFIG, FunctionName="f")
    await refused(
        made, "GetFunctionUrlConfig", "InvalidParameterValueException",
        "The derived qualifier from the function name does not match the specified qualifier.",
        FunctionName="f:live", Qualifier="other",
    )  # fmt: skip
    await made("CreateFunctionUrlConfig", FunctionName="f", Qualifier="live", AuthType="NONE")
    await refused(
        made, "CreateFunctionUrlConfig", "ResourceConflictException",
        f"Failed to create function url config for [functionArn = {ARN}:live]. "
        "Error message:  FunctionUrlConfig exists for this Lambda function",
        FunctionName="f:live", AuthType="NONE",
    )  # fmt: skip


@pytest.mark.parametrize("method", ["FETCH", "get", "OPTION"])
async def test_methods_that_browsers_do_not_ask_for_are_refused(made: Control, method: str) -> None:
    with pytest.raises(AwsError) as raised:
        await made("CreateFunctionUrlConfig", FunctionName="f", AuthType="NONE", Cors={"AllowMethods": [method]})
    assert raised.value.code == "InvalidParameterValueException"
    assert (await made("ListFunctionUrlConfigs", FunctionName="f"))["FunctionUrlConfigs"] == []


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("http://127.0.0.1:4566", "http://u.lambda-url.eu-west-1.localhost:4566/"),
        ("http://[::1]:80", "http://u.lambda-url.eu-west-1.localhost:80/"),
        ("http://lambda.eu-west-1.localhost", "http://u.lambda-url.eu-west-1.localhost/"),
    ],
)
def test_the_address_has_the_port_by_which_the_caller_came(base_url: str, url: str) -> None:
    context = RequestContext(account_id=ACCOUNT, region=REGION, request_id="r", base_url=base_url)
    assert url_of(context, REGION, "u") == url

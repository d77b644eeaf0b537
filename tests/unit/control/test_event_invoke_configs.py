"""Configurations of asynchronous invocation: per qualifier, in AWS's shapes and words."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from control_harness import ACCOUNT, REGION, Control
from lambent.model.errors import AwsError
from lambent.model.names import FunctionAddress

ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"
NONE: dict[str, Any] = {"OnFailure": {}, "OnSuccess": {}}
QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:failures"


@pytest.fixture
async def published(control: Control) -> Control:
    """A function `f` with version 1 and the alias `live`."""
    await control.create("f")
    await control("PublishVersion", FunctionName="f")
    await control("CreateAlias", FunctionName="f", Name="live", FunctionVersion="1")
    return control


async def refusal(call: Any) -> tuple[str, str]:
    with pytest.raises(AwsError) as caught:
        await call
    return caught.value.code, caught.value.message


@pytest.mark.parametrize(
    ("name", "qualifier", "found"),
    [
        ("f", None, "$LATEST"),
        ("f", "$LATEST", "$LATEST"),
        ("f:1", None, "1"),
        ("f", "live", "live"),
        (f"{ARN}:live", "live", "live"),
    ],
)
async def test_each_qualifier_has_a_configuration_of_its_own(
    published: Control, name: str, qualifier: str | None, found: str
) -> None:
    where = {"FunctionName": name} | ({"Qualifier": qualifier} if qualifier else {})
    put = await published("PutFunctionEventInvokeConfig", **where, MaximumRetryAttempts=1)
    assert isinstance(put.pop("LastModified"), datetime)
    assert put == {"FunctionArn": f"{ARN}:{found}", "MaximumRetryAttempts": 1, "DestinationConfig": NONE}
    got = await published("GetFunctionEventInvokeConfig", **where)
    assert got["FunctionArn"] == f"{ARN}:{found}"
    await published("DeleteFunctionEventInvokeConfig", **where)
    message = f"The function {ARN}:{found} doesn't have an EventInvokeConfig"
    for operation in ("GetFunctionEventInvokeConfig", "DeleteFunctionEventInvokeConfig"):
        assert await refusal(published(operation, **where)) == ("ResourceNotFoundException", message)


async def test_put_replaces_and_update_changes_what_it_names(published: Control) -> None:
    destinations = {"OnFailure": {"Destination": QUEUE}, "OnSuccess": {}}
    await published(
        "PutFunctionEventInvokeConfig", FunctionName="f", MaximumRetryAttempts=2, DestinationConfig=destinations
    )
    updated = await published("UpdateFunctionEventInvokeConfig", FunctionName="f", MaximumEventAgeInSeconds=60)
    del updated["LastModified"]
    assert updated == {
        "FunctionArn": f"{ARN}:$LATEST", "MaximumRetryAttempts": 2, "MaximumEventAgeInSeconds": 60,
        "DestinationConfig": destinations,
    }  # fmt: skip
    put = await published("PutFunctionEventInvokeConfig", FunctionName="f", MaximumRetryAttempts=0)
    del put["LastModified"]
    assert put == {"FunctionArn": f"{ARN}:$LATEST", "MaximumRetryAttempts": 0, "DestinationConfig": NONE}


async def test_they_are_listed_latest_first_then_versions_then_aliases_page_by_page(published: Control) -> None:
    for qualifier in ("live", "1", "$LATEST"):
        await published("PutFunctionEventInvokeConfig", FunctionName="f", Qualifier=qualifier, MaximumRetryAttempts=1)
    listed = await published("ListFunctionEventInvokeConfigs", FunctionName="f", MaxItems=2)
    arns = [config["FunctionArn"] for config in listed["FunctionEventInvokeConfigs"]]
    rest = await published("ListFunctionEventInvokeConfigs", FunctionName="f", Marker=listed["NextMarker"])
    arns += [config["FunctionArn"] for config in rest["FunctionEventInvokeConfigs"]]
    assert arns == [f"{ARN}:$LATEST", f"{ARN}:1", f"{ARN}:live"]
    assert "NextMarker" not in rest


@pytest.mark.parametrize(
    "arn",
    [
        QUEUE,
        f"arn:aws:sns:{REGION}:{ACCOUNT}:topic",
        f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/default",
        f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:other",
        f"arn:aws:lambda:{REGION}:999999999999:function:theirs",
        "arn:aws:s3:::bucket",
    ],
)
async def test_records_go_to_each_kind_of_destination(published: Control, arn: str) -> None:
    await published.create("other")
    put = await published(
        "PutFunctionEventInvokeConfig", FunctionName="f", DestinationConfig={"OnFailure": {"Destination": arn}}
    )
    assert put["DestinationConfig"] == {"OnSuccess": {}, "OnFailure": {"Destination": arn}}


def invalid(success: str) -> str:
    return (
        "The provided destination config DestinationConfig("
        f"onSuccess=OnSuccess(destination={success}), onFailure=null) is invalid."
    )


IAM = f"arn:aws:iam:{REGION}:{ACCOUNT}:function:f"
MISSING = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:missing"


@pytest.mark.parametrize(
    ("arn", "message"),
    [
        (IAM, invalid(IAM)),
        ("arn:aws:s3:::bucket", invalid("arn:aws:s3:::bucket")),
        (f"{QUEUE}.fifo", invalid(f"{QUEUE}.fifo")),
        ("kafka://topic", invalid("kafka://topic")),
        (ARN, "You can't specify the function as a destination for itself."),
        (f"{ARN}:live", "You can't specify the function as a destination for itself."),
        (MISSING, f"The destination ARN {MISSING} is invalid."),
    ],
)
async def test_what_cannot_be_a_destination_of_successes_is_refused(published: Control, arn: str, message: str) -> None:
    call = published(
        "PutFunctionEventInvokeConfig", FunctionName="f", DestinationConfig={"OnSuccess": {"Destination": arn}}
    )
    assert await refusal(call) == ("InvalidParameterValueException", message)


async def test_without_a_setting_or_a_function_there_is_nothing_to_configure(published: Control) -> None:
    no_function = ("ResourceNotFoundException", "The function doesn't exist.")
    for operation in ("PutFunctionEventInvokeConfig", "UpdateFunctionEventInvokeConfig"):
        assert await refusal(published(operation, FunctionName="f")) == (
            "InvalidParameterValueException",
            "You must specify at least one of error handling or destination setting.",
        )
        for name in ("missing", "f:7", "f:missing"):
            assert await refusal(published(operation, FunctionName=name, MaximumRetryAttempts=1)) == no_function
    assert await refusal(published("ListFunctionEventInvokeConfigs", FunctionName="missing")) == no_function
    assert await refusal(published("GetFunctionEventInvokeConfig", FunctionName="missing")) == (
        "ResourceNotFoundException", f"The function {MISSING}:$LATEST doesn't have an EventInvokeConfig",
    )  # fmt: skip
    call = published("UpdateFunctionEventInvokeConfig", FunctionName="f:live", MaximumRetryAttempts=1)
    assert await refusal(call) == (
        "ResourceNotFoundException", f"The function {ARN}:live doesn't have an EventInvokeConfig",
    )  # fmt: skip


async def test_a_configuration_goes_with_its_alias_and_its_version(published: Control) -> None:
    for qualifier in ("live", "1"):
        await published("PutFunctionEventInvokeConfig", FunctionName="f", Qualifier=qualifier, MaximumRetryAttempts=1)
    await published("DeleteAlias", FunctionName="f", Name="live")
    await published("DeleteFunction", FunctionName="f", Qualifier="1")
    settings = published.catalog.settings(FunctionAddress(ACCOUNT, REGION, "f"))
    assert settings is not None
    assert "event-invoke" not in settings.extra

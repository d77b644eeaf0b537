"""Reserved and provisioned concurrency as users configure them, in AWS's words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from control_harness import ACCOUNT, REGION, Control
from lambent.control.lambda_service import LambdaService
from lambent.model.errors import AwsError
from lambent.model.names import FunctionAddress
from lambent.model.provisioned import INIT_FAILED, Provision, Utilisation
from lambent.ports import PROVISIONED_INDEX

ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"
MINIMUM = (
    "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its "
    "minimum value of [100]."
)


class Provisioned:
    """ports.Provisioning of a machine on which this much was started."""

    def __init__(self) -> None:
        self.now = Provision()

    def provision(self, qualified: FunctionAddress) -> Provision:
        return self.now

    def utilisation(self, qualified: FunctionAddress) -> Utilisation:
        return Utilisation()


@pytest.fixture
def machine() -> Provisioned:
    return Provisioned()


@pytest.fixture
async def published(control: Control, machine: Provisioned) -> Control:
    """A function `f` with versions 1 and 2, and the alias `live` of 1."""
    control.service = LambdaService(control.catalog, control.blobs, control.clock, provisioning=machine)
    await control.create("f")
    await control("PublishVersion", FunctionName="f")
    await control("UpdateFunctionConfiguration", FunctionName="f", Description="another")
    await control.settled()
    await control("PublishVersion", FunctionName="f")
    await control("CreateAlias", FunctionName="f", Name="live", FunctionVersion="1")
    return control


async def refusal(call: Any) -> tuple[str, str]:
    with pytest.raises(AwsError) as caught:
        await call
    return caught.value.code, caught.value.message


async def put(control: Control, qualifier: str, wanted: int = 1, name: str = "f") -> dict[str, Any]:
    return await control(
        "PutProvisionedConcurrencyConfig",
        FunctionName=name,
        Qualifier=qualifier,
        ProvisionedConcurrentExecutions=wanted,
    )


async def unreserved(control: Control) -> int:
    settings = await control("GetAccountSettings")
    left: int = settings["AccountLimit"]["UnreservedConcurrentExecutions"]
    return left


async def test_what_functions_reserve_the_account_has_no_more(control: Control) -> None:
    await control.create("f")
    await control.create("g")
    assert await control("GetFunctionConcurrency", FunctionName="f") == {}
    for name, wanted in (("f", 0), ("f", 400), ("g", 500)):
        made = await control("PutFunctionConcurrency", FunctionName=name, ReservedConcurrentExecutions=wanted)
        assert made == {"ReservedConcurrentExecutions": wanted}
        assert await control("GetFunctionConcurrency", FunctionName=name) == made
    assert await unreserved(control) == 100
    with pytest.raises(AwsError) as caught:
        await control("PutFunctionConcurrency", FunctionName="f", ReservedConcurrentExecutions=401)
    assert (caught.value.message, caught.value.fields) == (MINIMUM, {})
    await control("DeleteFunctionConcurrency", FunctionName="f")
    assert await control("GetFunctionConcurrency", FunctionName="f") == {}
    assert await unreserved(control) == 500


async def test_an_account_with_a_low_limit_keeps_all_of_it_unreserved(control: Control) -> None:
    control.service = LambdaService(control.catalog, control.blobs, control.clock, account_concurrency=10)
    await control.create("f")
    settings = await control("GetAccountSettings")
    assert settings["AccountLimit"]["ConcurrentExecutions"] == 10
    call = control("PutFunctionConcurrency", FunctionName="f", ReservedConcurrentExecutions=1)
    assert (await refusal(call))[1].endswith("below its minimum value of [10].")
    await control("PutFunctionConcurrency", FunctionName="f", ReservedConcurrentExecutions=0)


async def test_a_reserve_belongs_to_a_function_and_not_to_its_versions(published: Control) -> None:
    for name in ("f:1", "f:live", f"{ARN}:live"):
        call = published("PutFunctionConcurrency", FunctionName=name, ReservedConcurrentExecutions=1)
        assert await refusal(call) == (
            "InvalidParameterValueException",
            "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. "
            "Please specify either a function name or an unqualified function ARN.",
        )
    call = published("PutFunctionConcurrency", FunctionName="missing", ReservedConcurrentExecutions=1)
    missing = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:missing"
    assert await refusal(call) == ("ResourceNotFoundException", f"Function not found: {missing}:$LATEST")


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (Provision(), {"Status": "IN_PROGRESS"}),
        (Provision(allocated=1, available=1), {"Status": "IN_PROGRESS"}),
        (Provision(allocated=2, available=2), {"Status": "READY"}),
        (Provision(allocated=9, available=9), {"Status": "READY"}),
        (Provision(failure=INIT_FAILED), {"Status": "FAILED", "StatusReason": "FUNCTION_ERROR_INIT_FAILURE"}),
    ],
)
async def test_the_status_is_that_of_the_environments(
    published: Control, machine: Provisioned, now: Provision, expected: dict[str, str]
) -> None:
    made = await put(published, "live", 2)
    modified = made.pop("LastModified")
    assert made == {
        "RequestedProvisionedConcurrentExecutions": 2, "AllocatedProvisionedConcurrentExecutions": 0,
        "AvailableProvisionedConcurrentExecutions": 0, "Status": "IN_PROGRESS",
    }  # fmt: skip
    machine.now = now
    there = {
        "RequestedProvisionedConcurrentExecutions": 2,
        "AllocatedProvisionedConcurrentExecutions": min(2, now.allocated),
        "AvailableProvisionedConcurrentExecutions": min(2, now.available), "LastModified": modified, **expected,
    }  # fmt: skip
    assert await published("GetProvisionedConcurrencyConfig", FunctionName="f", Qualifier="live") == there
    listed = await published("ListProvisionedConcurrencyConfigs", FunctionName="f")
    assert listed == {"ProvisionedConcurrencyConfigs": [{"FunctionArn": f"{ARN}:live", **there}]}


async def test_without_anybody_who_provisions_a_configuration_fails_and_says_so(control: Control) -> None:
    await control.create("f")
    await control("PublishVersion", FunctionName="f")
    await put(control, "1")
    got = await control("GetProvisionedConcurrencyConfig", FunctionName="f", Qualifier="1")
    assert (got["Status"], got["StatusReason"]) == ("FAILED", "Provisioning is not offered by this server.")


async def test_a_version_is_provisioned_once(published: Control) -> None:
    await put(published, "1")
    assert await refusal(put(published, "live")) == (
        "ResourceConflictException",
        "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version",
    )
    where = {"FunctionName": "f", "Qualifier": "1"}
    assert await published("DeleteProvisionedConcurrencyConfig", **where) == {}
    assert await published("DeleteProvisionedConcurrencyConfig", **where) == {}
    assert await refusal(published("GetProvisionedConcurrencyConfig", **where)) == (
        "ProvisionedConcurrencyConfigNotFoundException",
        "No Provisioned Concurrency Config found for this function",
    )
    await put(published, "live")
    assert await refusal(put(published, "1")) == (
        "ResourceConflictException", "Version is pointed by a Provisioned Concurrency alias",
    )  # fmt: skip
    await published("DeleteAlias", FunctionName="f", Name="live")
    await put(published, "1")
    await put(published, "2")
    listed = await published("ListProvisionedConcurrencyConfigs", FunctionName="f", MaxItems=1)
    assert [config["FunctionArn"] for config in listed["ProvisionedConcurrencyConfigs"]] == [f"{ARN}:1"]
    rest = await published("ListProvisionedConcurrencyConfigs", FunctionName="f", Marker=listed["NextMarker"])
    assert [config["FunctionArn"] for config in rest["ProvisionedConcurrencyConfigs"]] == [f"{ARN}:2"]


async def test_only_what_is_published_can_be_provisioned(published: Control) -> None:
    unpublished = "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
    assert await refusal(put(published, "$LATEST")) == ("InvalidParameterValueException", unpublished)
    await published("CreateAlias", FunctionName="f", Name="newest", FunctionVersion="$LATEST")
    assert await refusal(put(published, "newest")) == ("InvalidParameterValueException", unpublished)
    weights = {"AdditionalVersionWeights": {"2": 0.5}}
    await published("UpdateAlias", FunctionName="f", Name="live", RoutingConfig=weights)
    assert await refusal(put(published, "live")) == (
        "InvalidParameterValueException", "Alias with weights can not be used with Provisioned Concurrency",
    )  # fmt: skip
    for operation in ("GetProvisionedConcurrencyConfig", "DeleteProvisionedConcurrencyConfig"):
        assert await refusal(published(operation, FunctionName="f", Qualifier="$LATEST")) == (
            "InvalidParameterValueException",
            "The function resource provided must be an alias or a published version.",
        )
    for call, what in (
        (put(published, "10"), f"Function not found: {ARN}:10"),
        (put(published, "noalias"), f"Cannot find alias arn: {ARN}:noalias"),
        (put(published, "noalias", name="g"), f"Cannot find alias arn: {ARN[:-1]}g:noalias"),
        (put(published, "1", name="g"), f"Function not found: {ARN[:-1]}g:1"),
    ):
        assert await refusal(call) == ("ResourceNotFoundException", what)


async def test_reserve_and_provision_of_a_function_agree(published: Control) -> None:
    await published("PutFunctionConcurrency", FunctionName="f", ReservedConcurrentExecutions=5)
    await put(published, "1", 3)
    assert (await refusal(put(published, "2", 3)))[1].startswith(
        "Requested Provisioned Concurrency should not be greater"
    )
    await put(published, "2", 2)
    call = published("PutFunctionConcurrency", FunctionName="f", ReservedConcurrentExecutions=4)
    assert (await refusal(call))[1].endswith("should not be lower than function's total provisioned concurrency [5].")


async def test_nothing_is_left_of_a_deleted_functions_provision(published: Control, tmp_path: Path) -> None:
    await put(published, "1")
    assert list(published.catalog.documents(PROVISIONED_INDEX, ACCOUNT, REGION)) == ["f"]
    await published("DeleteFunction", FunctionName="f")
    assert published.catalog.documents(PROVISIONED_INDEX, ACCOUNT, REGION) == {}


async def test_what_other_functions_have_provisioned_the_account_has_no_more(published: Control) -> None:
    await published.create("g")
    await published("PublishVersion", FunctionName="g")
    await put(published, "1", 500)
    assert await refusal(put(published, "1", 401, name="g")) == (
        "InvalidParameterValueException",
        "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution "
        "below its minimum value of [100].",
    )
    call = published("PutFunctionConcurrency", FunctionName="g", ReservedConcurrentExecutions=401)
    assert await refusal(call) == ("InvalidParameterValueException", MINIMUM)
    await put(published, "1", 400, name="g")
    await published("PutFunctionConcurrency", FunctionName="f", ReservedConcurrentExecutions=500)
    await put(published, "1", 400, name="g")
    await put(published, "1", 300)


async def test_an_alias_that_is_provisioned_cannot_be_moved_to_what_is_not_published(published: Control) -> None:
    await put(published, "live")
    assert await refusal(published("UpdateAlias", FunctionName="f", Name="live", FunctionVersion="$LATEST")) == (
        "InvalidParameterValueException", "Invalid alias configuration for Provisioned Concurrency",
    )  # fmt: skip
    assert (await published("GetAlias", FunctionName="f", Name="live"))["FunctionVersion"] == "1"
    await published("UpdateAlias", FunctionName="f", Name="live", FunctionVersion="2")
    await published("DeleteProvisionedConcurrencyConfig", FunctionName="f", Qualifier="live")
    await published("UpdateAlias", FunctionName="f", Name="live", FunctionVersion="$LATEST")

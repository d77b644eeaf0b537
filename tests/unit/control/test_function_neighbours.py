"""What CreateFunction and its kin ask of other services, and say of their answers in AWS's words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from control_harness import ACCOUNT, REGION, ROLE, Control, zipped
from fake_neighbours import ANY_LAMBDA, image_digest
from lambent.control.outside import trusts_lambda
from lambent.model.errors import AwsError

Make = Callable[..., Awaitable[Control]]
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1"
OTHER_KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/2"
IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/team/app"
NOT_ASSUMABLE = "The role defined for the function cannot be assumed by Lambda."


async def error_of(attempt: Awaitable[Any]) -> AwsError:
    with pytest.raises(AwsError) as raised:
        await attempt
    return raised.value


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    made: list[Control] = []

    async def with_options(**options: Any) -> Control:
        control = Control(tmp_path / str(len(made)), **options)
        control.start_reconciling()
        made.append(control)
        return control

    yield with_options
    for control in made:
        await control.close()


# --- roles ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role_check", "must_exist", "trust", "accepted"),
    [
        ("auto", False, None, True),
        ("auto", False, ANY_LAMBDA, True),
        ("auto", False, {"Statement": []}, False),
        ("auto", True, None, False),
        ("auto", True, ANY_LAMBDA, True),
        ("always", False, None, False),
        ("always", False, ANY_LAMBDA, True),
        ("never", True, None, True),
        ("never", True, {"Statement": []}, True),
    ],
)
async def test_a_role_must_be_one_that_lambda_may_assume(
    make: Make, role_check: str, must_exist: bool, trust: Any, accepted: bool
) -> None:
    control = await make(role_check=role_check, roles_must_exist=must_exist)
    await control.create("before", Role=f"arn:aws:iam::{ACCOUNT}:role/made-up") if accepted and not trust else None
    if trust is not None:
        control.neighbours.roles["worker"] = trust
    if accepted:
        await control.create()
        await control("UpdateFunctionConfiguration", FunctionName="f", Role=ROLE)
        return
    error = await error_of(control.create())
    assert (error.code, error.message) == ("InvalidParameterValueException", NOT_ASSUMABLE)
    assert (await control("ListFunctions"))["Functions"] == []


async def test_a_role_of_another_account_cannot_be_passed_where_roles_must_exist(make: Make) -> None:
    control = await make(role_check="always")
    error = await error_of(control.create(Role="arn:aws:iam::999999999999:role/worker"))
    assert (error.code, error.status, error.message) == (
        "AccessDeniedException", 403, "Cross-account pass role is not allowed.",
    )  # fmt: skip


async def test_where_iam_can_be_looked_into_it_is_not_asked(make: Make) -> None:
    policies = {ROLE: ANY_LAMBDA, f"{ROLE}-2": {"Statement": []}}

    async def trust_of(arn: str) -> Any:
        return policies.get(arn)

    control = await make(trust_of=trust_of)
    await control.create("known")
    await control.create("unknown", Role=f"{ROLE}-3")
    assert (await error_of(control.create("untrusting", Role=f"{ROLE}-2"))).message == NOT_ASSUMABLE
    assert control.neighbours.calls == []


def statement(**changes: Any) -> dict[str, Any]:
    return {**ANY_LAMBDA["Statement"][0], **changes}


@pytest.mark.parametrize(
    ("document", "trusted"),
    [
        (ANY_LAMBDA, True),
        ({"Statement": statement()}, True),
        ({"Statement": [statement(Principal={"Service": ["ec2.amazonaws.com", "lambda.amazonaws.com"]})]}, True),
        ({"Statement": [statement(Action=["sts:TagSession", "sts:*"])]}, True),
        ({"Statement": [statement(Principal="*")]}, True),
        ({"Statement": [statement(Principal={"Service": "ec2.amazonaws.com"})]}, False),
        ({"Statement": [statement(Principal={"AWS": "*"})]}, False),
        ({"Statement": [statement(Action="sts:AssumeRoleWithSAML")]}, False),
        ({"Statement": [statement(), statement(Effect="Deny")]}, False),
        ({}, False),
        (None, False),
    ],
)
def test_a_trust_policy_names_lambda_and_denies_it_nowhere(document: Any, trusted: bool) -> None:
    assert trusts_lambda(document) is trusted


# --- code -----------------------------------------------------------------------------------------------------------


async def test_code_comes_from_an_object_and_from_one_version_of_it(control: Control) -> None:
    control.neighbours.objects = {
        ("bucket", "code.zip", None): zipped(app="2"), ("bucket", "code.zip", "v1"): zipped(app="1"),
    }  # fmt: skip
    place = {"S3Bucket": "bucket", "S3Key": "code.zip"}
    created = await control.create(Code={**place, "S3ObjectVersion": "v1"})
    inline = await control.create("inline", Code={"ZipFile": zipped(app="1")})
    assert created["CodeSha256"] == inline["CodeSha256"]
    updated = await control("UpdateFunctionCode", FunctionName="f", **place)
    assert updated["CodeSha256"] != created["CodeSha256"]
    layer = await control("PublishLayerVersion", LayerName="l", Content=place)
    assert layer["Content"]["CodeSha256"] == updated["CodeSha256"]


async def test_a_bucket_of_another_region_is_named_with_its_region(control: Control) -> None:
    control.neighbours.objects[("far", "code.zip", None)] = zipped(app="1")
    control.neighbours.bucket_regions["far"] = "eu-west-3"
    error = await error_of(control.create(Code={"S3Bucket": "far", "S3Key": "code.zip"}))
    assert (error.code, error.message) == (
        "InvalidParameterValueException",
        "Error occurred while GetObject. S3 Error Code: PermanentRedirect. S3 Error Message: "
        "The bucket is in this region: eu-west-3. Please use this region to retry the request",
    )
    control.neighbours.bucket_regions["far"] = REGION
    await control.create(Code={"S3Bucket": "far", "S3Key": "code.zip"})


async def test_an_object_that_cannot_be_had_is_told_in_the_words_of_s3(control: Control) -> None:
    control.neighbours.objects[("bucket", "other", None)] = b"x"
    error = await error_of(control.create(Code={"S3Bucket": "bucket", "S3Key": "code.zip"}))
    assert error.message == (
        "Error occurred while GetObject. S3 Error Code: NoSuchKey. S3 Error Message: The specified key does not exist."
    )
    error = await error_of(control.create(Code={"S3Bucket": "bucket", "S3Key": "other"}))
    assert error.message == "Could not unzip uploaded file. Please check your file, then try to upload again."


async def test_an_image_is_kept_by_its_digest_and_has_no_zip(control: Control) -> None:
    control.neighbours.images = {("team/app", "latest"): image_digest("a"), ("team/app", "v2"): image_digest("b")}
    request: dict[str, Any] = {"PackageType": "Image", "Role": ROLE, "ImageConfig": {"Command": ["app.handler"]}}
    created = await control("CreateFunction", FunctionName="f", Code={"ImageUri": IMAGE}, **request)
    assert (created["PackageType"], created["CodeSize"]) == ("Image", 0)
    assert created["CodeSha256"] == image_digest("a").removeprefix("sha256:")
    assert created["ImageConfigResponse"] == {"ImageConfig": {"Command": ["app.handler"]}}
    assert not {"Runtime", "Handler", "RuntimeVersionConfig", "Layers"} & created.keys()
    await control.settled()
    updated = await control("UpdateFunctionCode", FunctionName="f", ImageUri=f"{IMAGE}:v2", Publish=True)
    assert updated["Version"] == "1"
    await control.settled()
    answer = await control("GetFunction", FunctionName="f")
    assert answer["Configuration"]["State"] == "Active"
    assert answer["Code"] == {
        "RepositoryType": "ECR", "ImageUri": f"{IMAGE}:v2", "ResolvedImageUri": f"{IMAGE}@{image_digest('b')}",
    }  # fmt: skip
    error = await error_of(control("UpdateFunctionCode", FunctionName="f", ZipFile=zipped(app="1")))
    assert error.message == "Please provide ImageUri when updating a function with packageType Image."
    error = await error_of(control("UpdateFunctionConfiguration", FunctionName="f", Runtime="python3.13"))
    assert error.message == (
        "Please don't provide Handler or Runtime or Layer when the intended function PackageType is Image."
    )


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        (f"{IMAGE}:none", f"Source image {IMAGE}:none does not exist. Provide a valid source image."),
        (f"{IMAGE}x", f"Source image {IMAGE}x does not exist. Provide a valid source image."),
        ("docker.io/app:1", "Source image docker.io/app:1 is not valid. Provide a valid source image."),
    ],
)
async def test_an_image_that_is_not_there_is_refused(control: Control, uri: str, message: str) -> None:
    control.neighbours.images = {("team/app", "latest"): image_digest("a")}
    error = await error_of(
        control("CreateFunction", FunctionName="f", PackageType="Image", Role=ROLE, Code={"ImageUri": uri})
    )
    assert (error.code, error.message) == ("InvalidParameterValueException", message)


async def test_a_zip_function_does_not_become_an_image(control: Control) -> None:
    await control.create()
    error = await error_of(control("UpdateFunctionCode", FunctionName="f", ImageUri=IMAGE))
    assert error.message == "Please don't provide ImageUri when updating a function with packageType Zip."


async def test_an_account_keeps_no_more_code_than_its_quota(make: Make) -> None:
    code = zipped(app="1")
    control = await make(code_storage_max_bytes=3 * len(code))
    settings = await control("GetAccountSettings")
    assert settings["AccountLimit"]["TotalCodeSize"] == 3 * len(code)
    await control.create(Code={"ZipFile": code}, Publish=True)
    await control("PublishLayerVersion", LayerName="l", Content={"ZipFile": code})
    assert (await control("GetAccountSettings"))["AccountUsage"] == {"TotalCodeSize": 3 * len(code), "FunctionCount": 1}
    larger = zipped(app="1", other="2" * 100)
    for attempt in (
        control.create("g", Code={"ZipFile": code}),
        control("UpdateFunctionCode", FunctionName="f", ZipFile=larger),
        control("PublishLayerVersion", LayerName="l", Content={"ZipFile": code}),
    ):
        error = await error_of(attempt)
        assert (error.code, error.status) == ("CodeStorageExceededException", 400)
        assert error.message == "Code storage limit exceeded."
    await control("UpdateFunctionCode", FunctionName="f", ZipFile=code)  # no larger than what it replaces
    await control.settled()
    await control("DeleteLayerVersion", LayerName="l", VersionNumber=1)
    await control("UpdateFunctionConfiguration", FunctionName="f", Description="new")
    await control.settled()
    assert (await control("PublishVersion", FunctionName="f"))["Version"] == "2"
    await control("UpdateFunctionConfiguration", FunctionName="f", Description="newer")
    await control.settled()
    assert (await error_of(control("PublishVersion", FunctionName="f"))).code == "CodeStorageExceededException"


# --- network --------------------------------------------------------------------------------------------------------


async def test_subnets_and_groups_must_exist_and_belong_to_one_vpc(control: Control) -> None:
    neighbours = control.neighbours
    neighbours.subnets = {"subnet-1": "vpc-1", "subnet-2": "vpc-2"}
    neighbours.groups = {"sg-1": "vpc-1", "sg-2": "vpc-2"}
    for subnets, groups, message in (
        (["subnet-9"], ["sg-1"], "Error occurred while DescribeSubnets. EC2 Error Code: InvalidSubnetID.NotFound. "
                                 "EC2 Error Message: The subnet ID 'subnet-9' does not exist"),
        (["subnet-1"], ["sg-9"], "Error occurred while DescribeSecurityGroups. EC2 Error Code: InvalidGroup.NotFound. "
                                 "EC2 Error Message: The security group 'sg-9' does not exist"),
        (["subnet-1", "subnet-2"], ["sg-1"], "All subnets must belong to the same VPC."),
        (["subnet-1"], ["sg-2"], "Security groups and subnets must belong to the same VPC."),
    ):  # fmt: skip
        error = await error_of(control.create(VpcConfig={"SubnetIds": subnets, "SecurityGroupIds": groups}))
        assert (error.code, error.message) == ("InvalidParameterValueException", message)
    await control.create(VpcConfig={"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]})
    neighbours.access_points.add("fsap-1")
    for access_point, accepted in (("fsap-2", False), ("fsap-1", True)):
        arn = f"arn:aws:elasticfilesystem:{REGION}:{ACCOUNT}:access-point/{access_point}"
        attempt = control(
            "UpdateFunctionConfiguration", FunctionName="f",
            FileSystemConfigs=[{"Arn": arn, "LocalMountPath": "/mnt/data"}],
        )  # fmt: skip
        if accepted:
            assert (await attempt)["FileSystemConfigs"] == [{"Arn": arn, "LocalMountPath": "/mnt/data"}]
        else:
            assert (await error_of(attempt)).code == "InvalidParameterValueException"
    await control.settled()
    error = await error_of(
        control("UpdateFunctionConfiguration", FunctionName="f", VpcConfig={"SubnetIds": [], "SecurityGroupIds": []})
    )
    assert error.message.startswith("Function must be configured to execute in a VPC to reference access point")


# --- keys -----------------------------------------------------------------------------------------------------------


async def revealed(control: Control) -> dict[str, str]:
    version = control.catalog.resolve(ACCOUNT, REGION, "f", None, 0.0)
    return await control.service.vault.for_environment(version)


async def test_variables_are_sealed_by_the_customers_key_and_can_change_it(control: Control) -> None:
    control.neighbours.keys = {KEY: "Enabled", OTHER_KEY: "Enabled"}
    variables = {"COLOUR": "blue", "EMPTY": "", "Ünlike": "ü"}
    variables.pop("Ünlike")
    created = await control.create(Environment={"Variables": variables}, KMSKeyArn=KEY)
    assert (created["Environment"], created["KMSKeyArn"]) == ({"Variables": variables}, KEY)
    assert await revealed(control) == variables
    for key, shown in ((OTHER_KEY, OTHER_KEY), ("", None), (KEY, KEY)):
        updated = await control("UpdateFunctionConfiguration", FunctionName="f", KMSKeyArn=key)
        assert (updated["Environment"], updated.get("KMSKeyArn")) == ({"Variables": variables}, shown)
        await control.settled()
        assert await revealed(control) == variables
    updated = await control("UpdateFunctionConfiguration", FunctionName="f", Environment={})
    assert updated["Environment"] == {"Variables": {}}


async def test_a_rush_of_readers_asks_kms_once(control: Control) -> None:
    control.neighbours.keys = {KEY: "Enabled"}
    await control.create(Environment={"Variables": {"AB": "1"}}, KMSKeyArn=KEY)
    await revealed(control)
    control.neighbours.calls.clear()
    for _ in range(20):
        await revealed(control)
    assert control.neighbours.calls == []


@pytest.mark.parametrize(
    ("state", "code", "reason", "said"),
    [
        (None, "KMSNotFoundException", "the KMS key was not found", f"NotFoundException KMS Message: Key '{KEY}' does not exist"),
        ("Disabled", "KMSDisabledException", "the KMS key used is disabled",
         f"DisabledException KMS Message: {KEY} is disabled."),
        ("PendingDeletion", "KMSInvalidStateException", "the KMS key is in an invalid state for Decrypt",
         f"KMSInvalidStateException KMS Message: {KEY} is pending deletion."),
        ("denied", "KMSAccessDeniedException", "KMS access was denied",
         "AccessDeniedException KMS Message: The caller is not allowed to use this key."),
    ],
)  # fmt: skip
async def test_a_key_that_may_not_be_used_any_more_is_an_error_where_variables_are_needed(
    control: Control, monkeypatch: pytest.MonkeyPatch, state: str | None, code: str, reason: str, said: str
) -> None:
    monkeypatch.setattr("lambent.control.vault.REMEMBERED_S", 0.0)
    control.neighbours.keys = {KEY: "Enabled"}
    await control.create(Environment={"Variables": {"AB": "1"}}, KMSKeyArn=KEY)
    if state is None:
        control.neighbours.keys.clear()
    elif state == "denied":
        control.neighbours.denied_keys.add(KEY)
    else:
        control.neighbours.keys[KEY] = state
    message = (
        f"Lambda was unable to decrypt the environment variables because {reason}. "
        f"Please check the function's KMS key settings. KMS Exception: {said}"
    )
    error = await error_of(revealed(control))
    assert (error.code, error.status, error.message) == (code, 502, message)
    described = await control("GetFunctionConfiguration", FunctionName="f")
    assert described["Environment"] == {"Error": {"ErrorCode": code, "Message": message}}
    assert "Variables" not in (await control("ListFunctions"))["Functions"][0]["Environment"]
    refused = await error_of(control.create("g", Environment={"Variables": {"AB": "1"}}, KMSKeyArn=KEY))
    assert refused.code == "InvalidParameterValueException"
    assert refused.message.startswith("Lambda was unable to configure access to your environment variables because ")
    assert refused.message.endswith(f"Please check your KMS key settings. KMS Exception: {said}")


async def test_equal_variables_are_no_reason_for_another_version(control: Control) -> None:
    await control.create(Environment={"Variables": {"AB": "1", "CD": "2"}}, Publish=True)
    await control("UpdateFunctionConfiguration", FunctionName="f", Environment={"Variables": {"CD": "2", "AB": "1"}})
    await control.settled()
    assert (await control("PublishVersion", FunctionName="f"))["Version"] == "1"
    await control("UpdateFunctionConfiguration", FunctionName="f", Environment={"Variables": {"CD": "3"}})
    await control.settled()
    assert (await control("PublishVersion", FunctionName="f"))["Version"] == "2"
    old = await control("GetFunctionConfiguration", FunctionName="f", Qualifier="1")
    assert old["Environment"] == {"Variables": {"AB": "1", "CD": "2"}}


async def test_no_file_of_the_data_directory_holds_a_variable(control: Control) -> None:
    secret, name = "correct-horse-battery-staple", "A_NAME_LIKE_NO_OTHER"
    await control.create(Environment={"Variables": {name: secret}}, Publish=True)
    await control("UpdateFunctionConfiguration", FunctionName="f", Environment={"Variables": {name: secret * 2}})
    await control.settled()
    found = [path for path in control.data.rglob("*") if path.is_file() and not path.name.endswith(".lock")]
    assert any(path.name == "catalog.db" for path in found)
    for path in found:
        content = path.read_bytes()
        assert secret.encode() not in content, path
        assert name.encode() not in content, path

"""Functions through the operations that clients call."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from typing import Any

import pytest

from control_harness import ACCOUNT, REGION, ROLE, Control, zipped
from lambent.model.errors import AwsError
from lambent.model.limits import MIB

ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"


async def refused(control: Control, operation: str, code: str, message: str | None = None, **members: Any) -> AwsError:
    with pytest.raises(AwsError) as raised:
        await control(operation, **members)
    assert raised.value.code == code
    if message is not None:
        assert raised.value.message == message
    return raised.value


async def test_a_new_function_is_described_as_aws_does(idle_control: Control) -> None:
    code = zipped(app="1")
    answer = await idle_control.create(Code={"ZipFile": code})
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000", answer.pop("LastModified"))
    assert re.fullmatch(r"[0-9a-f-]{36}", answer.pop("RevisionId"))
    assert len(base64.b64decode(answer.pop("ConfigSha256"))) == 32
    assert answer.pop("RuntimeVersionConfig")["RuntimeVersionArn"].startswith(f"arn:aws:lambda:{REGION}::runtime:")
    assert answer == {
        "FunctionName": "f",
        "FunctionArn": ARN,
        "Runtime": "python3.13",
        "Role": ROLE,
        "Handler": "app.handler",
        "CodeSize": len(code),
        "CodeSha256": base64.b64encode(hashlib.sha256(code).digest()).decode(),
        "Description": "",
        "Timeout": 3,
        "MemorySize": 128,
        "Version": "$LATEST",
        "TracingConfig": {"Mode": "PassThrough"},
        "State": "Pending",
        "StateReason": "The function is being created.",
        "StateReasonCode": "Creating",
        "PackageType": "Zip",
        "Architectures": ["x86_64"],
        "EphemeralStorage": {"Size": 512},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": "/aws/lambda/f"},
    }


async def test_a_new_function_becomes_active_with_another_revision(control: Control) -> None:
    created = await control.create()
    active = await control("GetFunctionConfiguration", FunctionName="f")
    assert (active["State"], active["LastUpdateStatus"]) == ("Active", "Successful")
    assert "StateReason" not in active
    assert active["RevisionId"] != created["RevisionId"]


async def test_every_member_that_was_given_comes_back(control: Control) -> None:
    given: dict[str, Any] = {
        "Description": "resizes",
        "Timeout": 30,
        "MemorySize": 1769,
        "EphemeralStorage": {"Size": 1024},
        "Environment": {"Variables": {"COLOUR": "blue"}},
        "Architectures": ["arm64"],
        "TracingConfig": {"Mode": "Active"},
        "DeadLetterConfig": {"TargetArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:dead"},
        "KMSKeyArn": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1",
        "TenancyConfig": {"TenantIsolationMode": "PER_TENANT"},
        "DurableConfig": {"ExecutionTimeout": 60, "RetentionPeriodInDays": 7},
    }
    neighbours = control.neighbours
    neighbours.keys[given["KMSKeyArn"]] = "Enabled"
    neighbours.subnets["subnet-1"] = neighbours.groups["sg-1"] = "vpc-1"
    await control.create(
        **given,
        Tags={"team": "images"},
        VpcConfig={"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
        LoggingConfig={"LogFormat": "JSON", "LogGroup": "/custom"},
    )
    answer = await control("GetFunction", FunctionName="f")
    configuration = answer["Configuration"]
    assert {name: configuration[name] for name in given} == given
    assert answer["Tags"] == {"team": "images"}
    assert configuration["VpcConfig"] == {
        "SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"], "VpcId": "vpc-1", "Ipv6AllowedForDualStack": False,
    }  # fmt: skip
    assert configuration["LoggingConfig"] == {
        "LogFormat": "JSON", "LogGroup": "/custom", "ApplicationLogLevel": "INFO", "SystemLogLevel": "INFO",
    }  # fmt: skip


async def test_the_code_can_be_downloaded_from_its_location_for_ten_minutes(control: Control) -> None:
    code = zipped(app="1")
    await control.create(Code={"ZipFile": code})
    answer = await control("GetFunction", FunctionName="f")
    assert answer["Code"]["RepositoryType"] == "S3"
    prefix, token = answer["Code"]["Location"].split("/_lambent/code/")
    assert prefix == "http://127.0.0.1:4566"
    assert await control.service.download(token) == code
    for bad in (token[:-1] + ("0" if token[-1] != "0" else "1"), "", "x-y", "é", "--", token.replace("-", "")):
        with pytest.raises(AwsError, match="AccessDenied"):
            await control.service.download(bad)
    control.clock.ahead_s = 601
    with pytest.raises(AwsError, match="AccessDenied"):
        await control.service.download(token)


async def test_each_way_to_name_it_gives_the_arn_that_was_asked_for(control: Control) -> None:
    await control.create(Publish=True)
    await control("CreateAlias", FunctionName="f", Name="live", FunctionVersion="1")
    for name, qualifier, arn, version in (
        ("f", None, ARN, "$LATEST"),
        (ARN, None, ARN, "$LATEST"),
        (f"{ACCOUNT}:function:f", None, ARN, "$LATEST"),
        ("f:$LATEST", None, f"{ARN}:$LATEST", "$LATEST"),
        ("f", "1", f"{ARN}:1", "1"),
        (f"{ARN}:live", None, f"{ARN}:live", "1"),
        ("f:live", "live", f"{ARN}:live", "1"),
    ):
        members = {"FunctionName": name} | ({"Qualifier": qualifier} if qualifier else {})
        answer = await control("GetFunctionConfiguration", **members)
        assert (answer["FunctionArn"], answer["Version"]) == (arn, version)


async def test_what_does_not_exist_is_not_found_by_the_arn_it_was_asked_for(control: Control) -> None:
    await control.create()
    for operation in ("GetFunction", "GetFunctionConfiguration"):
        await refused(control, operation, "ResourceNotFoundException", f"Function not found: {ARN}x", FunctionName="fx")
        for qualifier in ("7", "live"):
            await refused(
                control, operation, "ResourceNotFoundException", f"Function not found: {ARN}:{qualifier}",
                FunctionName="f", Qualifier=qualifier,
            )  # fmt: skip
    for operation, members in (
        ("UpdateFunctionCode", {"ZipFile": zipped(app="1")}), ("UpdateFunctionConfiguration", {}), ("DeleteFunction", {}),
        ("PublishVersion", {}), ("ListVersionsByFunction", {}), ("ListAliases", {}),
        ("GetFunctionConcurrency", {}),
    ):  # fmt: skip
        error = await refused(control, operation, "ResourceNotFoundException", f"Function not found: {ARN}x",
                              FunctionName="fx", **members)  # fmt: skip
        assert (error.status, error.fields["Type"]) == (404, "User")


async def test_a_name_is_taken_once_per_account_and_region(control: Control) -> None:
    await control.create()
    error = await refused(
        control, "CreateFunction", "ResourceConflictException", "Function already exist: f",
        FunctionName="f", Runtime="python3.13", Handler="a.b", Role=ROLE, Code={"ZipFile": zipped(app="1")},
    )  # fmt: skip
    assert error.status == 409
    await control.create(region="us-east-1")
    await control.create(account_id="000000000000")
    assert len((await control("ListFunctions"))["Functions"]) == 1


@pytest.mark.parametrize(
    ("members", "code", "message"),
    [
        ({"Runtime": None}, "InvalidParameterValueException",
         "Runtime and Handler are mandatory parameters for functions created with deployment packages."),
        ({"Handler": None}, "InvalidParameterValueException",
         "Runtime and Handler are mandatory parameters for functions created with deployment packages."),
        ({"Runtime": "python3.7"}, "InvalidParameterValueException",
         "The runtime parameter of python3.7 is no longer supported for creating or updating AWS Lambda functions. "
         "We recommend you use the new runtime (python3.12) while creating or updating functions."),
        ({"Runtime": "cobol"}, "InvalidParameterValueException", None),
        ({"Role": "worker"}, "ValidationException",
         "1 validation error detected: Value 'worker' at 'role' failed to satisfy constraint: Member must satisfy "
         r"regular expression pattern: arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+"),
        ({"Timeout": 901}, "ValidationException",
         "1 validation error detected: Value '901' at 'timeout' failed to satisfy constraint: "
         "Member must have value less than or equal to 900"),
        ({"MemorySize": 10_241}, "InvalidParameterValueException",
         "'MemorySize' value failed to satisfy constraint: Member must have value less than or equal to 10240"),
        ({"EphemeralStorage": {"Size": 10_241}}, "ValidationException", None),
        ({"Environment": {"Variables": {"AWS_REGION": "x", "OK": "y"}}}, "InvalidParameterValueException",
         "Lambda was unable to configure your environment variables because the environment variables you have provided "
         "contains reserved keys that are currently not supported for modification. "
         "Reserved keys used in this request: AWS_REGION"),
        ({"Environment": {"Variables": {"A_B": "x" * 4096}}}, "InvalidParameterValueException",
         "Lambda was unable to configure your environment variables because the environment variables you have provided "
         'exceeded the 4KB limit. String measured: {"A_B":"' + "x" * 4096 + '"}'),
        ({"Environment": {"Variables": {"1A": "x"}}}, "ValidationException", None),
        ({"Code": {}}, "InvalidParameterValueException", "Please provide a source for function code."),
        ({"Code": {"ZipFile": b"print(1)"}}, "InvalidParameterValueException",
         "Could not unzip uploaded file. Please check your file, then try to upload again."),
        ({"Code": {"ZipFile": b""}}, "InvalidParameterValueException", "Uploaded file must be a non-empty zip"),
        ({"Code": {"ZipFile": b"PK", "S3Bucket": "b", "S3Key": "k"}}, "InvalidParameterValueException",
         "Please do not provide other FunctionCode parameters when providing a ZipFile."),
        ({"Code": {"ZipFile": bytes(50 * MIB + 1)}}, "RequestEntityTooLargeException",
         "Zipped size must be smaller than 52428800 bytes"),
        ({"Code": {"S3Bucket": "bucket", "S3Key": "k"}}, "InvalidParameterValueException",
         "Error occurred while GetObject. S3 Error Code: NoSuchBucket. "
         "S3 Error Message: The specified bucket does not exist"),
        ({"Runtime": "python3.6"}, "InvalidParameterValueException",
         "The runtime parameter of python3.6 is no longer supported for creating or updating AWS Lambda functions. "
         "We recommend you use a supported runtime while creating or updating functions."),
        ({"SnapStart": {"ApplyOn": "PublishedVersions"}, "Runtime": "nodejs22.x"}, "InvalidParameterValueException",
         "nodejs22.x is not supported for SnapStart enabled functions."),
        ({"SnapStart": {"ApplyOn": "PublishedVersions"}, "TenancyConfig": {"TenantIsolationMode": "PER_TENANT"}},
         "InvalidParameterValueException",
         "TenancyConfig is not supported for SnapStart enabled functions."),
        ({"SnapStart": {"ApplyOn": "PublishedVersions"}, "EphemeralStorage": {"Size": 513}},
         "InvalidParameterValueException",
         "EphemeralStorage greater than 512 MB is not supported for SnapStart enabled functions."),
        ({"LoggingConfig": {"LogFormat": "Text", "SystemLogLevel": "WARN"}}, "InvalidParameterValueException",
         'LogLevel is not supported when LogFormat is set to "Text". '
         'Remove LogLevel from your request or change the LogFormat to "Json" and try again.'),
        ({"LoggingConfig": {"ApplicationLogLevel": "WARN"}}, "InvalidParameterValueException", None),
        ({"VpcConfig": {"SubnetIds": ["subnet-1"]}}, "InvalidParameterValueException",
         "SubnetIds and SecurityIds must coexist or be both empty list."),
        ({"DeadLetterConfig": {"TargetArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"}},
         "InvalidParameterValueException", None),
        ({"DeadLetterConfig": {"TargetArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:dead.fifo"}},
         "InvalidParameterValueException", None),
        ({"FileSystemConfigs": [{"Arn": "arn:aws:elasticfilesystem:x:access-point/fsap-1", "LocalMountPath": "/mnt/a"}]},
         "InvalidParameterValueException",
         "Function must be configured to execute in a VPC to reference access point "
         "arn:aws:elasticfilesystem:x:access-point/fsap-1"),
        ({"PackageType": "Image"}, "InvalidParameterValueException",
         "Please provide ImageUri when creating a function with packageType Image."),
        ({"PackageType": "Image", "Code": {"ImageUri": "x"}}, "InvalidParameterValueException",
         "Please don't provide Handler or Runtime or Layer when the intended function PackageType is Image."),
        ({"Code": {"ImageUri": "x"}}, "InvalidParameterValueException",
         "Please don't provide ImageUri when creating a function with packageType Zip."),
        ({"ImageConfig": {"Command": ["x"]}}, "InvalidParameterValueException", None),
        ({"PublishTo": "LATEST_PUBLISHED"}, "InvalidParameterValueException", None),
        ({"AcceleratorConfig": {"AcceleratorMemorySize": 1}}, "InvalidParameterValueException", None),
        ({"Code": {"S3Bucket": "bucket", "S3Key": "k", "S3ObjectStorageMode": "REFERENCE"}},
         "InvalidParameterValueException", None),
        ({"Tags": {str(n): "" for n in range(51)}}, "InvalidParameterValueException",
         "Number of tags exceeds resource tag limit."),
        ({"Tags": {"a": "", "AWS:b": ""}}, "InvalidParameterValueException", "Tag keys cannot start with aws: AWS:b"),
        ({"Layers": [f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:l:{n}" for n in range(6)]},
         "InvalidParameterValueException", "Cannot reference more than 5 layers."),
        ({"Layers": [f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:none:1"]}, "InvalidParameterValueException",
         f"Layer version arn:aws:lambda:{REGION}:{ACCOUNT}:layer:none:1 does not exist."),
        ({"Layers": [f"arn:aws:lambda:us-east-1:{ACCOUNT}:layer:l:1"]}, "InvalidParameterValueException",
         f"Layers are not in the same region as the function. Layers are expected to be in region {REGION}."),
        ({"Layers": [f"arn:aws:lambda:{REGION}:999999999999:layer:l:1"]}, "AccessDeniedException", None),
    ],
)  # fmt: skip
async def test_bad_requests_are_refused_and_leave_nothing(
    control: Control, members: dict[str, Any], code: str, message: str | None
) -> None:
    request = {
        "FunctionName": "f", "Runtime": "python3.13", "Handler": "a.b", "Role": ROLE, "Code": {"ZipFile": zipped(app="1")},
    } | members  # fmt: skip
    request = {name: value for name, value in request.items() if value is not None}
    await refused(control, "CreateFunction", code, message, **request)
    assert (await control("ListFunctions"))["Functions"] == []


async def test_a_runtime_may_be_kept_longer_than_it_may_be_chosen_for_a_new_function(control: Control) -> None:
    await control.create()
    updated = await control("UpdateFunctionConfiguration", FunctionName="f", Runtime="python3.7")
    assert updated["Runtime"] == "python3.7"
    await control.settled()
    await refused(
        control, "UpdateFunctionConfiguration", "InvalidParameterValueException", FunctionName="f", Runtime="python3.6"
    )


async def test_while_it_is_pending_a_function_cannot_be_changed(idle_control: Control) -> None:
    await idle_control.create()
    message = (
        "The operation cannot be performed at this time. The function is currently in the following state: Pending"
    )
    for operation, members in (
        ("UpdateFunctionCode", {"ZipFile": zipped(app="2")}), ("UpdateFunctionConfiguration", {"Timeout": 9}),
        ("PublishVersion", {}),
    ):  # fmt: skip
        await refused(idle_control, operation, "ResourceConflictException", message, FunctionName="f", **members)


async def test_of_sixteen_concurrent_updates_one_wins_and_the_others_learn_why(idle_control: Control) -> None:
    await idle_control.create()
    for version in idle_control.catalog.pending():
        await idle_control.catalog.settle(version, True)
    attempts = [
        idle_control("UpdateFunctionCode", FunctionName="f", ZipFile=zipped(app=f"update {n}")) for n in range(8)
    ] + [idle_control("UpdateFunctionConfiguration", FunctionName="f", Description=f"update {n}") for n in range(8)]
    results = await asyncio.gather(*attempts, return_exceptions=True)
    won = [r for r in results if isinstance(r, dict)]
    lost = [r for r in results if isinstance(r, AwsError)]
    assert (len(won), len(lost)) == (1, 15)
    assert {e.message for e in lost} == {
        f"The operation cannot be performed at this time. An update is in progress for resource: {ARN}"
    }
    now = await idle_control("GetFunctionConfiguration", FunctionName="f")
    assert {n: now[n] for n in ("RevisionId", "CodeSha256", "Description")} == {
        n: won[0][n] for n in ("RevisionId", "CodeSha256", "Description")
    }


async def test_during_an_update_invocations_use_what_was_there_before(idle_control: Control) -> None:
    created = await idle_control.create()
    for version in idle_control.catalog.pending():
        await idle_control.catalog.settle(version, True)
    updated = await idle_control("UpdateFunctionCode", FunctionName="f", ZipFile=zipped(app="2"))
    assert (updated["State"], updated["LastUpdateStatus"]) == ("Active", "InProgress")
    assert (updated["LastUpdateStatusReason"], updated["LastUpdateStatusReasonCode"]) == (
        "The function is being created.", "Creating",
    )  # fmt: skip

    def serving() -> str:
        return str(idle_control.catalog.resolve(ACCOUNT, REGION, "f", None, 0.0).code_sha256)

    assert serving() == created["CodeSha256"]
    for version in idle_control.catalog.pending():
        await idle_control.catalog.settle(version, True)
    assert serving() == updated["CodeSha256"]


async def test_an_update_that_fails_leaves_the_function_as_it_was(idle_control: Control) -> None:
    created = await idle_control.create()
    for version in idle_control.catalog.pending():
        await idle_control.catalog.settle(version, True)
    await idle_control("UpdateFunctionCode", FunctionName="f", ZipFile=zipped(app="2"))
    for version in idle_control.catalog.pending():
        await idle_control.catalog.settle(version, False, "no room", "InternalError")
    answer = await idle_control("GetFunctionConfiguration", FunctionName="f")
    assert (answer["State"], answer["LastUpdateStatus"]) == ("Active", "Failed")
    assert (answer["LastUpdateStatusReason"], answer["LastUpdateStatusReasonCode"]) == ("no room", "InternalError")
    assert idle_control.catalog.resolve(ACCOUNT, REGION, "f", None, 0.0).code_sha256 == created["CodeSha256"]
    again = await idle_control("UpdateFunctionCode", FunctionName="f", ZipFile=zipped(app="3"))
    assert again["LastUpdateStatus"] == "InProgress"
    assert idle_control.catalog.resolve(ACCOUNT, REGION, "f", None, 0.0).code_sha256 == created["CodeSha256"]


async def test_a_stale_revision_is_refused(control: Control) -> None:
    created = await control.create()
    message = (
        "The Revision Id provided does not match the latest Revision Id. "
        "Call the GetFunction/GetAlias API to retrieve the latest Revision Id"
    )
    stale = {"FunctionName": "f", "RevisionId": created["RevisionId"]}
    await refused(control, "UpdateFunctionConfiguration", "PreconditionFailedException", message, **stale, Timeout=9)
    await refused(control, "UpdateFunctionCode", "PreconditionFailedException", message, **stale, ZipFile=zipped(a="1"))
    await refused(control, "PublishVersion", "PreconditionFailedException", message, **stale)
    now = await control("GetFunctionConfiguration", FunctionName="f")
    await control("UpdateFunctionConfiguration", FunctionName="f", RevisionId=now["RevisionId"], Timeout=9)


async def test_an_update_changes_what_it_names_and_empties_what_it_empties(control: Control) -> None:
    control.neighbours.subnets["subnet-1"] = control.neighbours.groups["sg-1"] = "vpc-1"
    await control.create(
        Description="old", Environment={"Variables": {"AB": "1"}},
        DeadLetterConfig={"TargetArn": "arn:aws:sqs:eu-west-1:123456789012:q"},
        VpcConfig={"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
    )  # fmt: skip
    await control("UpdateFunctionConfiguration", FunctionName="f", Timeout=60)
    await control.settled()
    answer = await control("GetFunctionConfiguration", FunctionName="f")
    assert (answer["Timeout"], answer["Description"], answer["Environment"]) == (60, "old", {"Variables": {"AB": "1"}})
    await control(
        "UpdateFunctionConfiguration", FunctionName="f", Description="", Environment={"Variables": {}},
        DeadLetterConfig={"TargetArn": ""}, VpcConfig={"SubnetIds": [], "SecurityGroupIds": []},
    )  # fmt: skip
    await control.settled()
    answer = await control("GetFunctionConfiguration", FunctionName="f")
    assert answer["Description"] == ""
    assert "DeadLetterConfig" not in answer
    assert answer["Environment"] == {"Variables": {}}
    assert answer["VpcConfig"] == {
        "SubnetIds": [], "SecurityGroupIds": [], "VpcId": "", "Ipv6AllowedForDualStack": False,
    }  # fmt: skip


async def test_a_dry_run_checks_and_changes_nothing(control: Control) -> None:
    await control.create()
    before = await control("GetFunctionConfiguration", FunctionName="f")
    new = zipped(app="2")
    answer = await control("UpdateFunctionCode", FunctionName="f", ZipFile=new, DryRun=True)
    assert answer["CodeSize"] == len(new)
    assert await control("GetFunctionConfiguration", FunctionName="f") == before
    await refused(control, "UpdateFunctionCode", "InvalidParameterValueException", FunctionName="f", ZipFile=b"x",
                  DryRun=True)  # fmt: skip


async def test_lists_come_in_pages_of_fifty_at_most_without_states(control: Control) -> None:
    await asyncio.gather(*(control.create(f"f{n:03}", Publish=True) for n in range(55)))
    seen: list[dict[str, Any]] = []
    page: dict[str, Any] = await control("ListFunctions", MaxItems=1000)
    seen += page["Functions"]
    assert len(seen) == 50
    page = await control("ListFunctions", Marker=page["NextMarker"])
    seen += page["Functions"]
    assert "NextMarker" not in page
    assert [f["FunctionName"] for f in seen] == [f"f{n:03}" for n in range(55)]
    assert not {"State", "LastUpdateStatus", "RuntimeVersionConfig"} & seen[0].keys()
    everything: list[str] = []
    members: dict[str, Any] = {"FunctionVersion": "ALL", "MaxItems": 33}
    while True:
        page = await control("ListFunctions", **members)
        everything += [f["FunctionArn"].split(":function:")[1] for f in page["Functions"]]
        if "NextMarker" not in page:
            break
        members["Marker"] = page["NextMarker"]
    assert everything == [f"f{n:03}:{v}" for n in range(55) for v in ("$LATEST", "1")]
    await refused(control, "ListFunctions", "InvalidParameterValueException", Marker="%%%")


async def test_deleting_takes_everything_and_numbers_are_not_used_again(control: Control) -> None:
    await control.create(Publish=True)
    await control("CreateAlias", FunctionName="f", Name="live", FunctionVersion="1")
    assert await control("DeleteFunction", FunctionName="f") == {"StatusCode": 204}
    await refused(control, "GetFunction", "ResourceNotFoundException", FunctionName="f", Qualifier="live")
    again = await control.create(Publish=True)
    assert again["Version"] == "2"
    assert (await control("ListAliases", FunctionName="f"))["Aliases"] == []


async def test_what_may_not_be_deleted(control: Control) -> None:
    await control.create(Publish=True)
    await control("CreateAlias", FunctionName="f", Name="live", FunctionVersion="1")
    await refused(
        control, "DeleteFunction", "InvalidParameterValueException",
        "$LATEST version cannot be deleted without deleting the function.", FunctionName="f:$LATEST",
    )  # fmt: skip
    await refused(control, "DeleteFunction", "InvalidParameterValueException", FunctionName="f", Qualifier="live")
    await refused(
        control, "DeleteFunction", "ResourceConflictException",
        "Unable to delete version because the following aliases reference it: [live]", FunctionName="f", Qualifier="1",
    )  # fmt: skip
    await control("DeleteAlias", FunctionName="f", Name="live")
    await control("DeleteFunction", FunctionName="f", Qualifier="1")
    assert [v["Version"] for v in (await control("ListVersionsByFunction", FunctionName="f"))["Versions"]] == [
        "$LATEST"
    ]


async def test_reserved_concurrency_is_kept_and_bounded(control: Control) -> None:
    await control.create()
    await control.create("g")
    assert await control("GetFunctionConcurrency", FunctionName="f") == {}
    assert await control("PutFunctionConcurrency", FunctionName="f", ReservedConcurrentExecutions=600) == {
        "ReservedConcurrentExecutions": 600
    }
    assert (await control("GetFunction", FunctionName="f"))["Concurrency"] == {"ReservedConcurrentExecutions": 600}
    assert "Concurrency" not in await control("GetFunction", FunctionName="f", Qualifier="$LATEST")
    await refused(
        control, "PutFunctionConcurrency", "InvalidParameterValueException",
        "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below "
        "its minimum value of [100].",
        FunctionName="g", ReservedConcurrentExecutions=301,
    )  # fmt: skip
    await control("PutFunctionConcurrency", FunctionName="g", ReservedConcurrentExecutions=300)
    settings = await control("GetAccountSettings")
    assert settings["AccountLimit"]["UnreservedConcurrentExecutions"] == 100
    await control("DeleteFunctionConcurrency", FunctionName="f")
    assert "Concurrency" not in await control("GetFunction", FunctionName="f")


async def test_account_settings_count_what_is_there(control: Control) -> None:
    code = zipped(app="1")
    await control.create(Code={"ZipFile": code}, Publish=True)
    await control("PublishLayerVersion", LayerName="l", Content={"ZipFile": code})
    usage = (await control("GetAccountSettings"))["AccountUsage"]
    assert usage == {"FunctionCount": 1, "TotalCodeSize": 3 * len(code)}
    await control("DeleteFunction", FunctionName="f")
    assert (await control("GetAccountSettings"))["AccountUsage"] == {"FunctionCount": 0, "TotalCodeSize": len(code)}


async def test_tags_belong_to_functions_as_a_whole(control: Control) -> None:
    await control.create(Tags={"a": "1"})
    await control("TagResource", Resource=ARN, Tags={"b": "2", "a": "3"})
    assert await control("ListTags", Resource=ARN) == {"Tags": {"a": "3", "b": "2"}}
    await control("UntagResource", Resource=ARN, TagKeys=["a", "absent"])
    assert await control("ListTags", Resource=ARN) == {"Tags": {"b": "2"}}
    await refused(
        control, "TagResource", "InvalidParameterValueException",
        "Tags on function aliases and versions are not supported. Please specify a function ARN.",
        Resource=f"{ARN}:1", Tags={},
    )  # fmt: skip
    await refused(control, "TagResource", "InvalidParameterValueException", Resource=ARN,
                  Tags={str(n): "" for n in range(50)})  # fmt: skip
    await refused(control, "ListTags", "ResourceNotFoundException", Resource=f"{ARN}x")


async def test_durability_is_only_for_functions_that_were_created_with_it(control: Control) -> None:
    await control.create()
    await control.create("lasting", DurableConfig={"ExecutionTimeout": 60})
    change = {"ExecutionTimeout": 90}
    await refused(
        control, "UpdateFunctionConfiguration", "InvalidParameterValueException",
        "DurableConfig can only be given to functions that were created with one.",
        FunctionName="f", DurableConfig=change,
    )  # fmt: skip
    changed = await control("UpdateFunctionConfiguration", FunctionName="lasting", DurableConfig=change)
    assert changed["DurableConfig"] == {**change, "RetentionPeriodInDays": 14}


async def test_functions_kept_apart_by_tenant_have_neither_urls_nor_mappings(control: Control) -> None:
    await control.create(TenancyConfig={"TenantIsolationMode": "PER_TENANT"})
    await refused(
        control, "CreateFunctionUrlConfig", "InvalidParameterValueException",
        "Function URLs are not supported for functions with tenant isolation.", FunctionName="f", AuthType="NONE",
    )  # fmt: skip
    source = f"arn:aws:mq:{REGION}:{ACCOUNT}:broker:b:b-1"
    access = [{"Type": "BASIC_AUTH", "URI": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:x"}]
    mapping: dict[str, Any] = {"EventSourceArn": source, "Queues": ["q"], "SourceAccessConfigurations": access}
    await refused(
        control, "CreateEventSourceMapping", "InvalidParameterValueException",
        "Event source mappings are not supported for functions with tenant isolation.", FunctionName="f", **mapping,
    )  # fmt: skip
    await control.create("shared")
    made = await control("CreateEventSourceMapping", FunctionName="shared", **mapping)
    assert made["State"] == "Creating"

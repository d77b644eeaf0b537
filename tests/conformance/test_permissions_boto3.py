"""Policies, function URLs, code signing and their kin as boto3 sees them: real gateway, real catalog."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from control_harness import ACCOUNT, REGION, ROLE, Control, zipped
from invoking import NoRoad
from lambent.front.gateway import Gateway
from lambent.http1.server import Server

T = TypeVar("T")
ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"
NO_CONFIG = f"arn:aws:lambda:{REGION}:{ACCOUNT}:code-signing-config:csc-00000000000000000"


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Any]:
    """boto3's client of a server that has the function `f`, its version 1 and its alias `live`."""
    control = Control(tmp_path)
    control.start_reconciling()
    await control.create("f", Publish=True, Role=ROLE)
    await control("CreateAlias", FunctionName="f", Name="live", FunctionVersion="1")
    gateway = Gateway([control.service], NoRoad(), control.catalog)
    server = Server(gateway)
    listener = socket.create_server(("127.0.0.1", 0))
    await server.serve(listener)
    made = boto3.client(
        "lambda",
        endpoint_url=f"http://127.0.0.1:{listener.getsockname()[1]}",
        region_name=REGION,
        aws_access_key_id=ACCOUNT,
        aws_secret_access_key="anything",
        config=Config(retries={"total_max_attempts": 1}, parameter_validation=False),
    )
    yield made
    made.close()
    server.close()
    await gateway.close()
    await control.close()


async def in_thread(work: Callable[..., T], **members: Any) -> T:
    """boto3 blocks; the server runs on this loop."""
    return await asyncio.to_thread(work, **members)


async def test_permissions_over_the_wire(client: Any) -> None:
    added = await in_thread(
        client.add_permission, FunctionName="f", Qualifier="live", StatementId="s3", Action="lambda:InvokeFunction",
        Principal="s3.amazonaws.com", SourceArn="arn:aws:s3:::b", SourceAccount=ACCOUNT,
    )  # fmt: skip
    assert added["ResponseMetadata"]["HTTPStatusCode"] == 201
    got = await in_thread(client.get_policy, FunctionName=f"{ARN}:live")
    assert json.loads(got["Policy"])["Statement"] == [json.loads(added["Statement"])]
    with pytest.raises(client.exceptions.ResourceConflictException):
        await in_thread(client.add_permission, FunctionName="f:live", StatementId="s3", Action="*", Principal="*")
    removed = await in_thread(
        client.remove_permission, FunctionName="f", StatementId="s3", Qualifier="live", RevisionId=got["RevisionId"]
    )
    assert removed["ResponseMetadata"]["HTTPStatusCode"] == 204
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        await in_thread(client.get_policy, FunctionName="f", Qualifier="live")


async def test_of_sixteen_who_saw_the_same_revision_one_changes_the_policy(client: Any) -> None:
    seen = (await in_thread(client.get_function_configuration, FunctionName="f"))["RevisionId"]

    def add(number: int) -> int:
        try:
            answer = client.add_permission(
                FunctionName="f", StatementId=f"s{number}", Action="*", Principal="*", RevisionId=seen
            )
        except client.exceptions.PreconditionFailedException as error:
            answer = error.response
        status: int = answer["ResponseMetadata"]["HTTPStatusCode"]
        return status

    statuses = await asyncio.gather(*(asyncio.to_thread(add, number) for number in range(16)))
    assert sorted(statuses) == [201, *[412] * 15]
    policy = json.loads((await in_thread(client.get_policy, FunctionName="f"))["Policy"])
    assert [each["Sid"] for each in policy["Statement"]] == [f"s{statuses.index(201)}"]


async def test_whole_policies_over_the_wire(client: Any) -> None:
    statement = {"Effect": "Deny", "Principal": "*", "Action": "lambda:*", "Resource": f"{ARN}:1"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    put = await in_thread(client.put_resource_policy, ResourceArn=f"{ARN}:1", Policy=document)
    got = await in_thread(client.get_resource_policy, ResourceArn=f"{ARN}:1")
    assert json.loads(got["Policy"])["Statement"] == [statement]
    assert got["RevisionId"] == put["RevisionId"]
    with pytest.raises(client.exceptions.PreconditionFailedException):
        await in_thread(
            client.delete_resource_policy, ResourceArn=f"{ARN}:1", RevisionId="00000000-0000-0000-0000-000000000000"
        )
    deleted = await in_thread(client.delete_resource_policy, ResourceArn=f"{ARN}:1", RevisionId=got["RevisionId"])
    assert deleted["ResponseMetadata"]["HTTPStatusCode"] == 204


async def test_layer_permissions_over_the_wire(client: Any) -> None:
    await in_thread(client.publish_layer_version, LayerName="l", Content={"ZipFile": zipped(x="1")})
    added = await in_thread(
        client.add_layer_version_permission, LayerName="l", VersionNumber=1, StatementId="all",
        Action="lambda:GetLayerVersion", Principal="*",
    )  # fmt: skip
    got = await in_thread(client.get_layer_version_policy, LayerName="l", VersionNumber=1)
    assert got["RevisionId"] == added["RevisionId"]
    await in_thread(client.remove_layer_version_permission, LayerName="l", VersionNumber=1, StatementId="all")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        await in_thread(client.get_layer_version_policy, LayerName="l", VersionNumber=1)


async def test_function_urls_over_the_wire(client: Any) -> None:
    cors = {"AllowOrigins": ["*"], "AllowMethods": ["GET"], "AllowHeaders": ["x"], "ExposeHeaders": ["y"], "MaxAge": 1}
    created = await in_thread(
        client.create_function_url_config, FunctionName="f", Qualifier="live", AuthType="AWS_IAM", Cors=cors,
        InvokeMode="RESPONSE_STREAM",
    )  # fmt: skip
    port = client.meta.endpoint_url.rpartition(":")[2]
    assert created["FunctionUrl"].endswith(f".lambda-url.{REGION}.localhost:{port}/")
    assert created["ResponseMetadata"]["HTTPStatusCode"] == 201
    got = await in_thread(client.get_function_url_config, FunctionName=f"{ARN}:live")
    assert (got["Cors"], got["AuthType"], got["InvokeMode"]) == (cors, "AWS_IAM", "RESPONSE_STREAM")
    pages = client.get_paginator("list_function_url_configs")
    listed = await asyncio.to_thread(
        lambda: list(pages.paginate(FunctionName="f", MaxItems=1).search("FunctionUrlConfigs"))
    )
    assert [each["FunctionUrl"] for each in listed] == [created["FunctionUrl"]]
    deleted = await in_thread(client.delete_function_url_config, FunctionName="f", Qualifier="live")
    assert deleted["ResponseMetadata"]["HTTPStatusCode"] == 204


async def test_code_signing_over_the_wire(client: Any) -> None:
    publishers = {"SigningProfileVersionArns": [f"arn:aws:signer:{REGION}:{ACCOUNT}:/signing-profiles/p/v"]}
    created = await in_thread(
        client.create_code_signing_config, AllowedPublishers=publishers, Tags={"a": "1"},
        CodeSigningPolicies={"UntrustedArtifactOnDeployment": "Enforce"},
    )  # fmt: skip
    assert created["ResponseMetadata"]["HTTPStatusCode"] == 201
    arn = created["CodeSigningConfig"]["CodeSigningConfigArn"]
    await in_thread(client.put_function_code_signing_config, FunctionName="f", CodeSigningConfigArn=arn)
    with pytest.raises(client.exceptions.CodeVerificationFailedException) as raised:
        await in_thread(client.update_function_code, FunctionName="f", ZipFile=zipped(app="2"))
    assert raised.value.response["Type"] == "User"
    assert (await in_thread(client.list_functions_by_code_signing_config, CodeSigningConfigArn=arn))[
        "FunctionArns"
    ] == [ARN]
    assert (await in_thread(client.list_tags, Resource=arn))["Tags"] == {"a": "1"}
    with pytest.raises(client.exceptions.ResourceConflictException):
        await in_thread(client.delete_code_signing_config, CodeSigningConfigArn=arn)
    await in_thread(client.delete_function_code_signing_config, FunctionName="f")
    without = await in_thread(client.get_function_code_signing_config, FunctionName="f")
    assert without.keys() == {"ResponseMetadata"}
    await in_thread(client.delete_code_signing_config, CodeSigningConfigArn=arn)
    with pytest.raises(client.exceptions.ResourceNotFoundException) as gone:
        await in_thread(client.get_code_signing_config, CodeSigningConfigArn=arn)
    assert "Type" not in gone.value.response
    with pytest.raises(client.exceptions.CodeSigningConfigNotFoundException):
        await in_thread(client.put_function_code_signing_config, FunctionName="f", CodeSigningConfigArn=NO_CONFIG)


async def test_settings_over_the_wire(client: Any) -> None:
    await in_thread(client.put_function_recursion_config, FunctionName=ARN, RecursiveLoop="Allow")
    assert (await in_thread(client.get_function_recursion_config, FunctionName="f"))["RecursiveLoop"] == "Allow"
    await in_thread(client.put_runtime_management_config, FunctionName="f", UpdateRuntimeOn="FunctionUpdate")
    got = await in_thread(client.get_runtime_management_config, FunctionName="f")
    assert (got["UpdateRuntimeOn"], got["FunctionArn"]) == ("FunctionUpdate", f"{ARN}:$LATEST")
    with pytest.raises(client.exceptions.InvalidParameterValueException, match="not offered"):
        await in_thread(
            client.create_capacity_provider, CapacityProviderName="p",
            VpcConfig={"SubnetIds": ["subnet-1"], "SecurityGroupIds": []},
            PermissionsConfig={"CapacityProviderOperatorRoleArn": ROLE},
        )  # fmt: skip


@pytest.mark.parametrize(
    ("operation", "members", "at", "constraint"),
    [
        ("add_permission", {"StatementId": "example.com"}, "'example.com' at 'statementId'", "([a-zA-Z0-9-_]+)"),
        ("add_permission", {"Qualifier": "with-?-in-it"}, "'with-?-in-it' at 'qualifier'", "pattern"),
        ("add_permission", {"SourceAccount": "1"}, "'1' at 'sourceAccount'", r"\d{12}"),
        ("create_function_url_config", {"Qualifier": "1"}, "'1' at 'qualifier'", r"((?!^\d+$)^[0-9a-zA-Z-_]+$)"),
        ("get_function_url_config", {"Qualifier": "$LATEST"}, "'$LATEST' at 'qualifier'", "[0-9a-zA-Z-_]+"),
        ("create_function_url_config", {"AuthType": "SOME"}, "'SOME' at 'authType'", "[NONE, AWS_IAM]"),
        ("create_function_url_config", {"Cors": {"MaxAge": 86401}}, "'86401' at 'cors.maxAge'", "equal to 86400"),
        (
            "put_function_recursion_config",
            {"RecursiveLoop": "Perhaps"},
            "'Perhaps' at 'recursiveLoop'",
            "[Allow, Terminate]",
        ),
    ],
)
async def test_what_breaks_the_model_is_named(
    client: Any, operation: str, members: dict[str, Any], at: str, constraint: str
) -> None:
    complete = {
        "add_permission": {"StatementId": "x", "Action": "lambda:InvokeFunction", "Principal": "*"},
        "create_function_url_config": {"AuthType": "NONE"},
    }.get(operation, {})
    with pytest.raises(ClientError) as raised:
        await in_thread(getattr(client, operation), **{"FunctionName": "f", **complete, **members})
    error = raised.value.response["Error"]
    assert error["Code"] == "ValidationException"
    assert error["Message"].startswith(f"1 validation error detected: Value {at} failed to satisfy constraint: ")
    assert constraint in error["Message"]

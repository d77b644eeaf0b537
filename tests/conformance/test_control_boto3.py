"""Lambda's control plane as boto3 and its waiters see it: real gateway, real catalog, real packages."""

from __future__ import annotations

import asyncio
import socket
import urllib.request
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from control_harness import ROLE, Control, zipped
from invoking import NoRoad
from lambent.front.code_door import CODE_DOOR, CodeDoor
from lambent.front.gateway import Gateway
from lambent.http1.server import Server

T = TypeVar("T")


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Any]:
    control = Control(tmp_path)
    control.start_reconciling()
    gateway = Gateway(
        [control.service], NoRoad(), control.catalog, path_doors={CODE_DOOR: CodeDoor(control.service.download)}
    )
    server = Server(gateway)
    listener = socket.create_server(("127.0.0.1", 0))
    await server.serve(listener)
    made = boto3.client(
        "lambda",
        endpoint_url=f"http://127.0.0.1:{listener.getsockname()[1]}",
        region_name="eu-west-1",
        aws_access_key_id="123456789012",
        aws_secret_access_key="anything",
        config=Config(retries={"total_max_attempts": 1}),
    )
    yield made
    made.close()
    server.close()
    await gateway.close()
    await control.close()


async def in_thread(work: Callable[..., T], **members: Any) -> T:
    """boto3 blocks; the server runs on this loop."""
    return await asyncio.to_thread(work, **members)


async def create(client: Any, name: str = "f", **members: Any) -> dict[str, Any]:
    answer: dict[str, Any] = await in_thread(
        client.create_function,
        **{"FunctionName": name, "Runtime": "python3.13", "Handler": "app.handler", "Role": ROLE,
           "Code": {"ZipFile": zipped(app="1")}, **members},
    )  # fmt: skip
    await in_thread(client.get_waiter("function_active_v2").wait, FunctionName=name)
    return answer


async def test_a_function_lives_its_life(client: Any) -> None:
    created = await create(client, Tags={"team": "images"}, Environment={"Variables": {"AB": "1"}})
    assert created["State"] == "Pending"
    got = await in_thread(client.get_function, FunctionName=created["FunctionArn"])
    assert got["Configuration"]["State"] == "Active"
    assert got["Tags"] == {"team": "images"}
    package = await asyncio.to_thread(lambda: urllib.request.urlopen(got["Code"]["Location"], timeout=10).read())
    assert package == zipped(app="1")
    await in_thread(client.update_function_code, FunctionName="f", ZipFile=zipped(app="2"))
    await in_thread(client.get_waiter("function_updated_v2").wait, FunctionName="f")
    await in_thread(client.update_function_configuration, FunctionName="f", MemorySize=256)
    await in_thread(client.get_waiter("function_updated").wait, FunctionName="f")
    published = await in_thread(client.publish_version, FunctionName="f")
    assert (published["Version"], published["MemorySize"]) == ("1", 256)
    await in_thread(client.get_waiter("published_version_active").wait, FunctionName="f", Qualifier="1")
    alias = await in_thread(client.create_alias, FunctionName="f", Name="live", FunctionVersion="1")
    assert alias["AliasArn"].endswith(":function:f:live")
    listed = await in_thread(client.list_functions)
    assert [f["FunctionName"] for f in listed["Functions"]] == ["f"]
    await in_thread(client.tag_resource, Resource=created["FunctionArn"], Tags={"a/b": "ü"})
    assert (await in_thread(client.list_tags, Resource=created["FunctionArn"]))["Tags"] == {
        "team": "images",
        "a/b": "ü",
    }
    await in_thread(client.untag_resource, Resource=created["FunctionArn"], TagKeys=["team", "a/b"])
    await in_thread(client.put_function_concurrency, FunctionName="f", ReservedConcurrentExecutions=5)
    await in_thread(client.delete_alias, FunctionName="f", Name="live")
    deleted = await in_thread(client.delete_function, FunctionName="f")
    assert deleted["ResponseMetadata"]["HTTPStatusCode"] == 204
    with pytest.raises(client.exceptions.ResourceNotFoundException) as raised:
        await in_thread(client.get_function, FunctionName="f")
    assert raised.value.response["Error"]["Message"] == f"Function not found: {created['FunctionArn']}"
    assert raised.value.response["Type"] == "User"


async def test_layers_over_the_wire(client: Any) -> None:
    made = await in_thread(
        client.publish_layer_version, LayerName="pillow", Content={"ZipFile": zipped(python__lib="1")},
        CompatibleRuntimes=["python3.13"],
    )  # fmt: skip
    created = await create(client, Layers=[made["LayerVersionArn"]])
    assert created["Layers"][0]["Arn"] == made["LayerVersionArn"]
    got = await in_thread(client.get_layer_version_by_arn, Arn=made["LayerVersionArn"])
    assert got["Version"] == 1
    assert len((await in_thread(client.list_layers))["Layers"]) == 1
    await in_thread(client.delete_layer_version, LayerName="pillow", VersionNumber=1)
    assert (await in_thread(client.list_layer_versions, LayerName="pillow"))["LayerVersions"] == []


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"Code": {"ZipFile": b"no zip"}}, "InvalidParameterValueException"),
        ({"Role": "nobody"}, "ValidationException"),
        ({"Timeout": 901}, "ValidationException"),
        ({"Runtime": "python3.7"}, "InvalidParameterValueException"),
        ({"Environment": {"Variables": {"AWS_REGION": "x"}}}, "InvalidParameterValueException"),
        ({"FunctionName": "no such name!"}, "ValidationException"),
    ],
)
async def test_bad_requests_have_awss_codes(client: Any, members: dict[str, Any], code: str) -> None:
    with pytest.raises(ClientError) as raised:
        await create(client, **members)
    assert raised.value.response["Error"]["Code"] == code
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400

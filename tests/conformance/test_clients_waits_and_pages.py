"""Every waiter and every paginator that AWS's clients have for Lambda."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Iterator
from typing import Any

import attrs
import boto3
import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from aws_cli import aws_cli
from live_server import ROLE, LiveServer, package, until

REGION = "eu-north-1"  # of these tests alone, so that lists hold nothing else
PROFILE = f"arn:aws:signer:{REGION}:000000000000:/signing-profiles/p/abcdefghij"
LOADER = botocore.session.get_session().get_component("data_loader")
WAITERS: dict[str, Any] = LOADER.load_service_model("lambda", "waiters-2")["waiters"]
PAGINATORS: dict[str, Any] = LOADER.load_service_model("lambda", "paginators-1")["pagination"]
# Of what Lambent does not offer: durable executions and capacity providers.
OF_THINGS_THAT_ARE_NOT_THERE = {
    "GetDurableExecutionHistory", "GetDurableExecutionState", "ListFunctionVersionsByCapacityProvider",
}  # fmt: skip
ALWAYS_EMPTY = {"ListCapacityProviders", "ListDurableExecutionsByFunction"}


@attrs.frozen
class World:
    """Three of everything that can be listed."""

    client: Any
    function: str
    layer: str
    signing: str

    def members(self, operation: str) -> dict[str, str]:
        """What the list has to be told."""
        if operation == "ListFunctionsByCodeSigningConfig":
            return {"CodeSigningConfigArn": self.signing}
        if operation == "ListLayerVersions":
            return {"LayerName": self.layer}
        needed = {
            "ListAliases", "ListVersionsByFunction", "ListFunctionEventInvokeConfigs", "ListProvisionedConcurrencyConfigs",
            "ListFunctionUrlConfigs", "ListDurableExecutionsByFunction",
        }  # fmt: skip
        return {"FunctionName": self.function} if operation in needed else {}


@pytest.fixture(scope="module")
def client(live: LiveServer) -> Iterator[Any]:
    made = boto3.client(
        "lambda", endpoint_url=live.url, region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}),
    )  # fmt: skip
    yield made
    made.close()


@pytest.fixture(scope="module")
def world(client: Any, live: LiveServer) -> World:
    names = [f"three-{number}" for number in range(3)]
    for name in names:
        create(client, name)
    name = names[0]
    for number in range(3):
        client.update_function_configuration(FunctionName=name, Description=str(number))
        quick(client, "function_updated_v2", FunctionName=name)
        version = client.publish_version(FunctionName=name)["Version"]
        client.create_alias(FunctionName=name, Name=f"a{number}", FunctionVersion=version)
        client.create_function_url_config(FunctionName=name, Qualifier=f"a{number}", AuthType="NONE")
        client.put_function_event_invoke_config(FunctionName=name, Qualifier=version, MaximumRetryAttempts=1)
        client.put_provisioned_concurrency_config(
            FunctionName=name, Qualifier=version, ProvisionedConcurrentExecutions=1
        )
        client.publish_layer_version(LayerName="layer", Content={"ZipFile": package({"a.txt": str(number)})})
        client.publish_layer_version(LayerName=f"layer-{number}", Content={"ZipFile": package({"a.txt": "a"})})
    publishers = {"SigningProfileVersionArns": [PROFILE]}
    configs = [client.create_code_signing_config(AllowedPublishers=publishers) for _ in range(3)]
    signing = configs[0]["CodeSigningConfig"]["CodeSigningConfigArn"]
    sqs = boto3.client(
        "sqs", endpoint_url=live.url, region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test"
    )
    for other in names:
        client.put_function_code_signing_config(FunctionName=other, CodeSigningConfigArn=signing)
        sqs.create_queue(QueueName=other)
        arn = f"arn:aws:sqs:{REGION}:000000000000:{other}"
        client.create_event_source_mapping(FunctionName=other, EventSourceArn=arn, Enabled=False)
    sqs.close()
    return World(client, name, "layer", signing)


def create(client: Any, name: str) -> None:
    client.create_function(
        FunctionName=name, Role=ROLE, Runtime="python3.13", Handler="app.handler",
        Code={"ZipFile": package({"app.py": "handler = print"})},
    )  # fmt: skip
    quick(client, "function_active_v2", FunctionName=name)


def quick(client: Any, waiter: str, **members: Any) -> None:
    """Without the second that lies between two looks."""
    client.get_waiter(waiter).wait(**members, WaiterConfig={"Delay": 0, "MaxAttempts": 5_000})


def about_a_version(name: str) -> bool:
    return "PublishedVersion" in name


@pytest.mark.parametrize("name", sorted(WAITERS))
def test_every_waiter_of_boto3_ends(name: str, client: Any) -> None:
    function = f"w-{uuid.uuid4().hex[:8]}"
    create(client, function)
    members = {"FunctionName": function}
    if about_a_version(name):
        members["Qualifier"] = client.publish_version(FunctionName=function)["Version"]
    elif "Updated" in name:
        client.update_function_configuration(FunctionName=function, Description="new")
    quick(client, botocore.xform_name(name), **members)
    state = client.get_function_configuration(**members)
    assert (state["State"], state["LastUpdateStatus"]) == ("Active", "Successful")


@pytest.mark.parametrize("name", sorted(WAITERS))
def test_every_waiter_of_the_cli_ends(name: str, world: World, live: LiveServer) -> None:
    more = ("--qualifier", "1") if about_a_version(name) else ()
    done = cli(live, "wait", botocore.xform_name(name).replace("_", "-"), "--function-name", world.function, *more)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@pytest.mark.parametrize("operation", sorted(set(PAGINATORS) - OF_THINGS_THAT_ARE_NOT_THERE))
def test_every_paginator_gives_everything_once(operation: str, world: World) -> None:
    members, key = world.members(operation), PAGINATORS[operation]["result_key"]
    paginator = world.client.get_paginator(botocore.xform_name(operation))
    pages = list(paginator.paginate(**members, PaginationConfig={"PageSize": 1}))
    found = [plain(item) for page in pages for item in page[key]]
    whole = [plain(item) for item in getattr(world.client, botocore.xform_name(operation))(**members)[key]]
    assert sorted(found) == sorted(whole)
    assert len(set(found)) == len(found)
    assert len(found) >= (0 if operation in ALWAYS_EMPTY else 3), found
    assert all(len(page[key]) <= 1 for page in pages)


def plain(item: Any) -> str:
    """Without the clock: what `LastModified` says may change while something is made ready."""
    if isinstance(item, dict):
        item = {name: value for name, value in item.items() if "State" not in name and "Status" not in name}
    return json.dumps(item, sort_keys=True, default=str)


@pytest.mark.parametrize("operation", sorted(OF_THINGS_THAT_ARE_NOT_THERE))
def test_paginators_of_things_that_are_not_there_say_so(operation: str, client: Any) -> None:
    members = {
        "ListFunctionVersionsByCapacityProvider": {"CapacityProviderName": "none"},
        "GetDurableExecutionHistory": {"DurableExecutionArn": DURABLE},
        "GetDurableExecutionState": {"DurableExecutionArn": DURABLE, "CheckpointToken": "dG9rZW4="},
    }[operation]
    with pytest.raises(ClientError) as caught:
        list(client.get_paginator(botocore.xform_name(operation)).paginate(**members))
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] in (400, 404)


DURABLE = f"arn:aws:lambda:{REGION}:000000000000:function:f:$LATEST/durable-execution/e/i"


def test_the_cli_turns_pages_by_itself(world: World, live: LiveServer) -> None:
    def listed() -> list[str] | None:
        done = cli(
            live, "list-functions", "--page-size", "1", "--query", "Functions[].FunctionName", "--output", "json"
        )
        assert done.returncode == 0, done.stderr
        names = [name for name in json.loads(done.stdout) if name.startswith("three-")]
        return names if len(names) == 3 else None

    assert until(listed) == ["three-0", "three-1", "three-2"]


def cli(live: LiveServer, *arguments: str) -> subprocess.CompletedProcess[str]:
    return aws_cli("lambda", *arguments, AWS_ENDPOINT_URL=live.url, AWS_DEFAULT_REGION=REGION)

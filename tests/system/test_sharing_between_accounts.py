"""Accounts on one real server: each has its own, and uses of others' what resource policies open to it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from live_server import REGION, ROLE, RUNNING_PYTHON, LiveServer, package

OTHER = "111111111111"


@pytest.fixture
def other(live: LiveServer) -> Iterator[Any]:
    """Lambda as another account sees it: twelve digits are an account's key while signatures are not checked."""
    client = boto3.client(
        "lambda",
        endpoint_url=live.url,
        region_name=REGION,
        aws_access_key_id=OTHER,
        aws_secret_access_key="anything",
        config=Config(retries={"total_max_attempts": 1}),
    )
    yield client
    client.close()


def code_of(error: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    answer = error.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


def test_a_function_is_invoked_by_the_account_that_its_policy_names(live: LiveServer, other: Any) -> None:
    name = live.create("def handler(event, context): return event")
    arn = live.client().get_function_configuration(FunctionName=name)["FunctionArn"]
    with pytest.raises(ClientError) as refused:
        other.invoke(FunctionName=arn)
    assert code_of(refused) == ("AccessDeniedException", 403)

    permission = {"StatementId": "other", "Action": "lambda:InvokeFunction", "Principal": OTHER}
    live.client().add_permission(FunctionName=name, **permission)
    assert json.loads(other.invoke(FunctionName=arn, Payload=b'"hello"')["Payload"].read()) == "hello"
    with pytest.raises(ClientError) as refused:
        other.get_function(FunctionName=arn)
    assert code_of(refused) == ("AccessDeniedException", 403)

    live.client().remove_permission(FunctionName=name, StatementId="other")
    with pytest.raises(ClientError) as refused:
        other.invoke(FunctionName=arn)
    assert code_of(refused) == ("AccessDeniedException", 403)


def test_a_layer_runs_in_functions_of_the_account_that_its_policy_names(live: LiveServer, other: Any) -> None:
    layer, name = f"l-{uuid.uuid4().hex[:12]}", f"f-{uuid.uuid4().hex[:12]}"
    code = {"python/shared_lib.py": "ANSWER = 42\n"}
    made = live.client().publish_layer_version(LayerName=layer, Content={"ZipFile": package(code)})
    function = {
        "FunctionName": name, "Runtime": RUNNING_PYTHON, "Handler": "app.handler",
        "Role": ROLE.replace("000000000000", OTHER), "Layers": [made["LayerVersionArn"]],
        "Code": {"ZipFile": package({"app.py": "import shared_lib\ndef handler(e, c): return shared_lib.ANSWER\n"})},
    }  # fmt: skip
    with pytest.raises(ClientError) as refused:
        other.create_function(**function)
    assert code_of(refused) == ("AccessDeniedException", 403)

    live.client().add_layer_version_permission(
        LayerName=layer, VersionNumber=1, StatementId="other", Action="lambda:GetLayerVersion", Principal=OTHER
    )
    other.create_function(**function)
    other.get_waiter("function_active_v2").wait(FunctionName=name)
    assert other.invoke(FunctionName=name)["Payload"].read() == b"42"

    # What runs goes on running: a function keeps the layers that it was given.
    live.client().remove_layer_version_permission(LayerName=layer, VersionNumber=1, StatementId="other")
    assert other.invoke(FunctionName=name)["Payload"].read() == b"42"
    with pytest.raises(ClientError) as refused:
        other.get_layer_version_by_arn(Arn=made["LayerVersionArn"])
    assert code_of(refused) == ("AccessDeniedException", 403)

"""The neighbours through boto3, on a server that is killed between making and looking: what was acknowledged is there."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs
import boto3
import pytest
from botocore.config import Config

from cage_census import command_lines, processes_with
from live_server import LiveServer, start, until
from neighbour_lives import LIVES, TRUST, Life, code_of

CLIENTS = 8
EACH = 12
LARGE_BYTES = 100 * 1024 * 1024


@attrs.define
class Survivor:
    """A server after kill -9 of all its processes, with what had been made and seen before."""

    server: LiveServer
    made: dict[str, Any]
    seen: dict[str, Any]
    died: int  # the neighbours' process of before


def neighbours_pid(server: LiveServer) -> int:
    found = [pid for pid in processes_with("moto_process") if str(server.data) in command_lines().get(pid, "")]
    assert len(found) == 1, found
    return found[0]


def client_for(server: LiveServer, service: str, account_id: str, **more: Any) -> Any:
    config = Config(retries={"total_max_attempts": 1}, max_pool_connections=32)
    more = {"aws_access_key_id": account_id, "aws_secret_access_key": "any", "config": config, **more}
    return boto3.client(service, endpoint_url=server.url, region_name="us-east-1", **more)


@pytest.fixture(scope="module")
def survivor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Survivor]:
    data = tmp_path_factory.mktemp("neighbours") / "data"
    server = start(data)
    try:
        made = {life.name: life.make(server.client) for life in LIVES}
        seen = {life.name: life.see(server.client, made[life.name]) for life in LIVES}
        died = neighbours_pid(server)
        os.kill(died, signal.SIGKILL)
        server.kill()
        survivor = Survivor(start(data), made, seen, died)
    except BaseException:
        server.stop()
        raise
    yield survivor
    survivor.server.stop()


@pytest.mark.parametrize("life", LIVES, ids=lambda life: life.name)
def test_what_was_made_is_there_after_a_kill_and_can_be_taken_away(survivor: Survivor, life: Life) -> None:
    client = survivor.server.client
    made = survivor.made[life.name]
    assert life.see(client, made) == survivor.seen[life.name]
    looking = life.remove(client, made)
    assert code_of(looking) == life.gone


def test_a_process_that_dies_is_started_again_and_knows_what_it_had(survivor: Survivor) -> None:
    iam = survivor.server.client("iam")
    iam.create_role(RoleName="before", AssumeRolePolicyDocument=TRUST)
    before = neighbours_pid(survivor.server)
    os.kill(before, signal.SIGKILL)
    assert iam.get_role(RoleName="before")["Role"]["RoleName"] == "before"
    assert neighbours_pid(survivor.server) != before


def test_it_ends_with_its_server_even_when_that_is_killed(tmp_path: Path) -> None:
    server = start(tmp_path / "data")
    try:
        server.client("iam").list_users()
        pid = neighbours_pid(server)
    finally:
        server.kill()
    until(lambda: not Path(f"/proc/{pid}").exists())


def test_a_new_server_has_no_such_process_until_it_is_needed(tmp_path: Path) -> None:
    server = start(tmp_path / "data")
    try:
        server.create("def handler(event, context):\n    return 1\n")
        assert not (server.data / "neighbours").exists()
    finally:
        server.stop()


def test_two_accounts_do_not_see_each_other(survivor: Survivor) -> None:
    one, two = (client_for(survivor.server, "ssm", account) for account in ("111111111111", "222222222222"))
    one.put_parameter(Name="mine", Value="1", Type="String")
    assert code_of(lambda: two.get_parameter(Name="mine")) == "ParameterNotFound"
    assert one.get_parameter(Name="mine")["Parameter"]["ARN"].split(":")[4] == "111111111111"


def test_keys_that_iam_gave_out_name_their_account_after_a_restart_too(survivor: Survivor) -> None:
    iam = client_for(survivor.server, "iam", "333333333333")
    iam.create_user(UserName="bob")
    key = iam.create_access_key(UserName="bob")["AccessKey"]
    own = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
    whose = "arn:aws:iam::333333333333:user/bob"
    assert client_for(survivor.server, "iam", "", **own).get_user()["User"]["Arn"] == whose
    survivor.server.stop()
    survivor.server = start(survivor.server.data)
    assert client_for(survivor.server, "iam", "", **own).get_user()["User"]["Arn"] == whose
    iam = client_for(survivor.server, "iam", "333333333333")
    iam.update_access_key(UserName="bob", AccessKeyId=key["AccessKeyId"], Status="Inactive")
    assert client_for(survivor.server, "iam", "", **own).get_user()["User"]["Arn"] != whose  # nobody's key any more


def test_an_object_of_100_mb_comes_back_as_it_was(survivor: Survivor) -> None:
    s3 = survivor.server.client("s3")
    data = os.urandom(1024) * (LARGE_BYTES // 1024)
    s3.create_bucket(Bucket="large-ones")
    s3.put_object(Bucket="large-ones", Key="one", Body=data)
    assert s3.get_object(Bucket="large-ones", Key="one")["Body"].read() == data
    part = s3.get_object(Bucket="large-ones", Key="one", Range="bytes=1000-2999")["Body"].read()
    assert part == data[1000:3000]
    s3.delete_object(Bucket="large-ones", Key="one")
    until(
        lambda: not any(f.stat().st_size > 1_000_000 for f in (survivor.server.data / "neighbours/objects").iterdir())
    )


def test_many_clients_at_once_each_get_what_they_wrote(survivor: Survivor) -> None:
    s3, db = survivor.server.client("s3"), survivor.server.client("dynamodb")
    s3.create_bucket(Bucket="crowd")
    db.create_table(
        TableName="crowd", KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}], BillingMode="PAY_PER_REQUEST",
    )  # fmt: skip

    def work(who: int) -> None:
        for number in range(EACH):
            name = f"{who}-{number}"
            s3.put_object(Bucket="crowd", Key=name, Body=name.encode())
            db.update_item(
                TableName="crowd", Key={"id": {"S": "count"}}, UpdateExpression="ADD n :one",
                ExpressionAttributeValues={":one": {"N": "1"}},
            )  # fmt: skip
            assert s3.get_object(Bucket="crowd", Key=name)["Body"].read() == name.encode()

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(work, range(CLIENTS)))
    assert len(s3.list_objects_v2(Bucket="crowd")["Contents"]) == CLIENTS * EACH
    assert db.get_item(TableName="crowd", Key={"id": {"S": "count"}})["Item"]["n"] == {"N": str(CLIENTS * EACH)}


@pytest.mark.parametrize(
    ("service", "operation", "members", "code", "status", "message"),
    [
        ("s3", "get_object", {"Bucket": "none-such", "Key": "k"}, "NoSuchBucket", 404, "bucket does not exist"),
        ("iam", "get_role", {"RoleName": "none"}, "NoSuchEntity", 404, "none"),
        ("dynamodb", "describe_table", {"TableName": "none"}, "ResourceNotFoundException", 400, "none"),
        ("iam", "simulate_custom_policy", {"PolicyInputList": ["{}"], "ActionNames": ["s3:GetObject"]},
         "NotImplemented", 501, "iam:SimulateCustomPolicy is not offered"),
        ("kms", "connect_custom_key_store", {"CustomKeyStoreId": "k"}, "NotImplemented", 501, "kms:ConnectCustomKeyStore"),
        ("s3", "list_bucket_analytics_configurations", {"Bucket": "x-y-z"}, "NoSuchBucket", 404, ""),
        ("cloudformation", "list_stacks", {}, "NotImplemented", 501, "cloudformation is not offered"),
        ("ec2", "describe_vpcs", {"VpcIds": ["vpc-1"]}, "InvalidVpcID.NotFound", 400, "vpc-1"),
        ("chime", "list_accounts", {}, "NotImplemented", 501, "not offered"),
    ],
)  # fmt: skip
def test_errors_have_the_form_of_awss(
    survivor: Survivor, service: str, operation: str, members: dict[str, Any], code: str, status: int, message: str
) -> None:
    client = survivor.server.client(service)
    with pytest.raises(client.exceptions.ClientError) as caught:
        getattr(client, operation)(**members)
    answer = caught.value.response
    assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)
    assert message in answer["Error"]["Message"]

"""Streams on a server that enforces: an iterator opens its own stream and no other, to whom policies let."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from live_server import REGION, LiveServer, environ, running

ACCOUNT, OTHER = "000000000000", "111122223333"
SHARD = "shardId-000000000000"


def arn(name: str) -> str:
    return f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{name}"


@attrs.define
class World:
    server: LiveServer
    made: list[Any] = attrs.field(factory=list)

    def client(self, service: str, key: str, secret: str, region: str = REGION) -> Any:
        client = boto3.client(
            service, region, endpoint_url=self.server.url, aws_access_key_id=key, aws_secret_access_key=secret,
            config=Config(retries={"total_max_attempts": 1}),
        )  # fmt: skip
        self.made.append(client)
        return client

    def root(self, service: str, account_id: str = ACCOUNT) -> Any:
        done = subprocess.run(
            [
                sys.executable, "-m", "lambent", "credentials", "--json", "--data", str(self.server.data),
                "--account", account_id,
            ],
            env=environ(), capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        printed = json.loads(done.stdout)
        return self.client(service, printed["AWS_ACCESS_KEY_ID"], printed["AWS_SECRET_ACCESS_KEY"])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("enforced") / "data", "--auth", "enforce") as server:
        world = World(server)
        yield world
        for client in world.made:
            client.close()


def refused(call: Callable[..., Any], **members: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**members)
    code: str = caught.value.response["Error"]["Code"]
    return code


def test_an_iterator_opens_its_stream_to_whom_policies_let(world: World) -> None:
    root, iam = world.root("kinesis"), world.root("iam")
    for name in ("open", "secret"):
        root.create_stream(StreamName=name, ShardCount=2)
    iam.create_user(UserName="ann")
    statement = {"Effect": "Allow", "Action": "kinesis:*", "Resource": arn("open")}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName="ann", PolicyName="p", PolicyDocument=document)
    key = iam.create_access_key(UserName="ann")["AccessKey"]
    ann = world.client("kinesis", key["AccessKeyId"], key["SecretAccessKey"])

    def iterator(name: str) -> str:
        found: str = root.get_shard_iterator(StreamName=name, ShardId=SHARD, ShardIteratorType="TRIM_HORIZON")[
            "ShardIterator"
        ]
        return found

    ann.put_record(StreamName="open", Data=b"x", PartitionKey="a")
    assert len(ann.get_records(ShardIterator=iterator("open"))["Records"]) == 1
    assert refused(ann.put_record, StreamName="secret", Data=b"x", PartitionKey="a") == "AccessDeniedException"
    assert refused(ann.get_records, ShardIterator=iterator("secret")) == "AccessDeniedException"
    # Naming a stream that is open does not open the iterator's.
    assert refused(ann.get_records, ShardIterator=iterator("secret"), StreamARN=arn("open")) == (
        "InvalidArgumentException"
    )
    token = root.list_shards(StreamName="secret", MaxResults=1)["NextToken"]
    assert refused(ann.list_shards, NextToken=token) == "AccessDeniedException"
    assert len(ann.list_shards(NextToken=ann.list_shards(StreamName="open", MaxResults=1)["NextToken"])["Shards"]) == 1
    elsewhere = world.client("kinesis", key["AccessKeyId"], key["SecretAccessKey"], "eu-west-1")
    assert refused(elsewhere.get_records, ShardIterator=iterator("open")) == "AccessDeniedException"


def test_another_account_puts_when_the_streams_policy_lets_it(world: World) -> None:
    owner, other = world.root("kinesis"), world.root("kinesis", OTHER)
    owner.create_stream(StreamName="shared", ShardCount=1)
    record = {"StreamARN": arn("shared"), "Data": b"x", "PartitionKey": "a"}
    assert refused(other.put_record, **record) == "AccessDeniedException"
    statement = {
        "Effect": "Allow", "Principal": {"AWS": OTHER}, "Action": ["kinesis:PutRecord", "kinesis:DeleteStream"],
        "Resource": arn("shared"),
    }  # fmt: skip
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    owner.put_resource_policy(ResourceARN=arn("shared"), Policy=policy)
    assert other.put_record(**record)["ShardId"] == SHARD
    assert refused(other.delete_stream, StreamARN=arn("shared")) == "AccessDeniedException"

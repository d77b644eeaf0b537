"""`ports.Clients`, `ports.Neighbours` and the directory over the neighbours' real process, without a server around it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from lambent.model.errors import AwsError
from lambent.model.request import RequestContext
from lambent.neighbours import frames, neighbours
from lambent.neighbours.clients import ServiceClients
from lambent.neighbours.directory import REMEMBERED, Directory
from lambent.neighbours.endpoints import Endpoints
from lambent.neighbours.neighbours import Neighbours
from lambent.neighbours.process import NeighboursProcess
from lambent.ports import Operation
from lambent.wire.messages import WireRequest

CONTEXT = RequestContext(account_id="111122223333", region="eu-west-1", request_id="r-1", base_url="http://localhost")
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}],
}
ALLOW = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
DENY = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "s3:*", "Resource": "*"}]}
ROLE = "arn:aws:iam::111122223333:role/team/r"
MANY = 300
GROWTH_MAX_KIB = 8 * 1024  # of 2 × 300 requests; moto alone keeps every object it makes


class Near:
    """A process with all that stands before it."""

    def __init__(self, data: Path) -> None:
        self.process = NeighboursProcess(data, 1)
        self.directory = Directory(self.process)
        self.neighbours = Neighbours(self.process, Endpoints({}), self.directory, lambda account: (account, "none"))
        self.clients = ServiceClients(self.neighbours)

    async def call(self, service: str, operation: str, **request: Any) -> dict[str, Any]:
        return await self.clients.call(CONTEXT, service, operation, request)


@pytest.fixture
async def near(tmp_path: Path) -> AsyncIterator[Near]:
    near = Near(tmp_path)
    yield near
    await near.neighbours.close()


async def test_nothing_is_started_to_say_that_there_is_nobody(near: Near) -> None:
    assert near.directory.access_key("AKIAIOSFODNN7EXAMPLE") is None
    assert await near.directory.policies("arn:aws:iam::111122223333:user/ann") is None
    assert await near.directory.role(ROLE) is None
    with pytest.raises(AwsError) as refused:
        await near.call("iam", "GetRole", RoleName="r")
    assert (refused.value.code, refused.value.status) == ("NoSuchEntity", 404)
    assert not near.process.is_running
    assert near.neighbours.about() == {"process": "not started"}


async def test_who_asks_for_ever_other_roles_does_not_fill_the_memory(near: Near) -> None:
    for number in range(REMEMBERED + 100):
        assert await near.directory.role(f"arn:aws:iam::111122223333:role/r{number}") is None
        assert await near.directory.policies(f"arn:aws:iam::111122223333:user/u{number}") is None
    held = [len(each) for each in vars(near.directory).values() if isinstance(each, dict)]
    assert max(held) <= REMEMBERED


async def test_the_directory_knows_what_was_written_a_moment_ago_and_after_a_restart(
    near: Near, tmp_path: Path
) -> None:
    await near.call("iam", "CreateUser", UserName="ann", Path="/team/")
    key = (await near.call("iam", "CreateAccessKey", UserName="ann"))["AccessKey"]
    await near.call("iam", "PutUserPolicy", UserName="ann", PolicyName="p", PolicyDocument=json.dumps(ALLOW))
    await near.call("iam", "CreateGroup", GroupName="g")
    await near.call("iam", "AddUserToGroup", GroupName="g", UserName="ann")
    await near.call("iam", "PutGroupPolicy", GroupName="g", PolicyName="p", PolicyDocument=json.dumps(DENY))
    policy = (await near.call("iam", "CreatePolicy", PolicyName="b", PolicyDocument=json.dumps(ALLOW)))["Policy"]["Arn"]
    await near.call(
        "iam", "CreateRole", RoleName="r", Path="/team/", AssumeRolePolicyDocument=json.dumps(TRUST),
        PermissionsBoundary=policy, MaxSessionDuration=7200,
    )  # fmt: skip
    user = "arn:aws:iam::111122223333:user/team/ann"
    for directory in (near.directory, Directory(NeighboursProcess(tmp_path, 1))):  # the second only reads the file
        known = directory.access_key(key["AccessKeyId"])
        assert known is not None
        assert (known.account_id, known.secret) == ("111122223333", key["SecretAccessKey"])
        assert known.principal_arn == user
        assert directory.account_of(key["AccessKeyId"]) == "111122223333"
    attached = await near.directory.policies(user)
    assert attached is not None
    assert attached.identity == (ALLOW, DENY)
    assert await near.directory.policies(user) is attached
    role = await near.directory.role(ROLE)
    assert role is not None
    assert (role.trust_policy, role.max_session_s) == (TRUST, 7200)
    assert await near.directory.role("arn:aws:iam::111122223333:role/other/r") is None
    session = await near.directory.policies("arn:aws:sts::111122223333:assumed-role/r/session")
    assert session is not None
    assert session.boundary == ALLOW
    await near.call("iam", "DeleteUserPolicy", UserName="ann", PolicyName="p")
    changed = await near.directory.policies(user)
    assert changed is not None
    assert changed.identity == (DENY,)
    same = near.directory.access_key(key["AccessKeyId"])
    await near.call("iam", "CreateUser", UserName="bob")
    assert near.directory.access_key(key["AccessKeyId"]) is same
    await near.call("iam", "UpdateAccessKey", UserName="ann", AccessKeyId=key["AccessKeyId"], Status="Inactive")
    assert near.directory.access_key(key["AccessKeyId"]) is None


async def test_users_have_boundaries_and_one_that_is_gone_holds_everything_back(near: Near, tmp_path: Path) -> None:
    arn = (await near.call("iam", "CreatePolicy", PolicyName="b", PolicyDocument=json.dumps(ALLOW)))["Policy"]["Arn"]
    user = "arn:aws:iam::111122223333:user/"
    for name in ("none", "made", "given", "freed"):
        with_boundary = {"PermissionsBoundary": arn} if name == "made" else {}
        await near.call("iam", "CreateUser", UserName=name, **with_boundary)
    for name in ("given", "freed"):
        await near.call("iam", "PutUserPermissionsBoundary", UserName=name, PermissionsBoundary=arn)
    await near.call("iam", "DeleteUserPermissionsBoundary", UserName="freed")
    with pytest.raises(AwsError) as refused:
        await near.call("iam", "PutUserPermissionsBoundary", UserName="none", PermissionsBoundary=f"{arn}2")
    assert (refused.value.code, refused.value.message) == (
        "NoSuchEntity", f"Scope ARN: {arn}2 does not exist or is not attachable.",
    )  # fmt: skip
    with pytest.raises(AwsError, match="does not exist or is not attachable"):
        await near.call("iam", "CreateUser", UserName="never", PermissionsBoundary=f"{arn}2")
    shown = {"PermissionsBoundaryType": "PermissionsBoundaryPolicy", "PermissionsBoundaryArn": arn}
    for name, expected in (("none", None), ("made", ALLOW), ("given", ALLOW), ("freed", None)):
        told = (await near.call("iam", "GetUser", UserName=name))["User"]
        assert told.get("PermissionsBoundary") == (shown if expected else None)
        attached = await near.directory.policies(user + name)
        assert attached is not None
        assert attached.boundary == expected
    again = Near(tmp_path)
    await near.neighbours.close()
    try:
        attached = await again.directory.policies(f"{user}given")
        assert attached is not None
        assert attached.boundary == ALLOW
        await again.call("iam", "DeletePolicy", PolicyArn=arn)
        attached = await again.directory.policies(f"{user}given")
        assert attached is not None
        assert attached.boundary is not None
        assert attached.boundary["Statement"] == [{"Effect": "Deny", "Action": "*", "Resource": "*"}]
    finally:
        await again.neighbours.close()


async def test_operations_by_members_are_those_of_the_wire_or_of_boto3(near: Near) -> None:
    await near.call("iam", "CreateRole", RoleName="r", AssumeRolePolicyDocument=json.dumps(TRUST))
    decoded = (await near.call("iam", "GetRole", RoleName="r"))["Role"]["AssumeRolePolicyDocument"]
    sent = await near.neighbours.call(CONTEXT, "iam", "GetRole", {"RoleName": "r"})
    assert decoded == TRUST
    assert isinstance(sent["Role"]["AssumeRolePolicyDocument"], str)


@pytest.mark.parametrize("whole_max_bytes", [neighbours.WHOLE_MAX_BYTES, 1024], ids=["whole", "in-pieces"])
async def test_a_request_as_it_came_is_answered_as_it_is(
    near: Near, whole_max_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "WHOLE_MAX_BYTES", whole_max_bytes)
    where = b"<CreateBucketConfiguration><LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>"
    made = WireRequest(method="PUT", path="/some-bucket", headers={"host": "s3.localhost"}, body=where)
    assert (await near.neighbours.answer(CONTEXT, "s3", "CreateBucket", made)).status == 200
    body = os.urandom(3 * frames.CHUNK_BYTES + 5)
    put = WireRequest(method="PUT", path="/some-bucket/a%2Fb%20c", headers={"x-amz-meta-a": "1"}, body=body)
    assert (await near.neighbours.answer(CONTEXT, "s3", "PutObject", put)).status == 200
    got = await near.neighbours.answer(
        CONTEXT, "s3", "GetObject", WireRequest(method="GET", path="/some-bucket/a%2Fb%20c")
    )
    pieces = [chunk async for chunk in got.stream] if got.stream is not None else []
    assert (got.stream is None) == (whole_max_bytes > len(body))
    assert b"".join(pieces) + got.body == body
    assert {name.lower(): value for name, value in got.headers}["x-amz-meta-a"] == "1"


async def test_a_security_group_that_does_not_exist_is_named_by_its_id(near: Near) -> None:
    with pytest.raises(AwsError) as refused:
        await near.call("ec2", "DescribeSecurityGroups", GroupIds=["sg-12345678"])
    assert (refused.value.code, refused.value.message) == (
        "InvalidGroup.NotFound", "The security group 'sg-12345678' does not exist",
    )  # fmt: skip


async def test_a_question_that_is_given_up_leaves_the_next_one_its_own_answer(near: Near) -> None:
    await near.call("ssm", "PutParameter", Name="a", Value="1", Type="String")
    for _ in range(5):
        asked = asyncio.create_task(near.call("ssm", "GetParameter", Name="a"))
        await asyncio.sleep(0)
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        assert (await near.call("ssm", "DescribeParameters"))["Parameters"][0]["Name"] == "a"


async def test_writes_to_tables_are_told_and_reads_are_not(near: Near) -> None:
    told: list[tuple[str, str]] = []
    near.neighbours.tables_changed = lambda account_id, region: told.append((account_id, region))
    key = {"id": {"S": "1"}}
    await near.call(
        "dynamodb", "CreateTable", TableName="t", BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
    )  # fmt: skip
    await near.call("dynamodb", "GetItem", TableName="t", Key=key)
    await near.call(
        "dynamodb",
        "Query",
        TableName="t",
        KeyConditionExpression="id = :i",
        ExpressionAttributeValues={":i": {"S": "1"}},
    )
    assert len(told) == 1
    writes: list[tuple[str, dict[str, Any]]] = [
        ("PutItem", {"TableName": "t", "Item": key}), ("DeleteItem", {"TableName": "t", "Key": key}),
        ("BatchWriteItem", {"RequestItems": {"t": [{"PutRequest": {"Item": key}}]}}),
        ("TransactWriteItems", {"TransactItems": [{"Delete": {"TableName": "t", "Key": key}}]}),
        ("ExecuteStatement", {"Statement": "INSERT INTO t VALUE {'id': '2'}"}),
    ]  # fmt: skip
    for number, (operation, request) in enumerate(writes, 2):
        await near.call("dynamodb", operation, **request)
        assert told == [(CONTEXT.account_id, CONTEXT.region)] * number, operation
    await near.call("ssm", "PutParameter", Name="a", Value="1", Type="String")
    assert len(told) == 6


def _stands_still(pid: int) -> bool:
    """Each thread stops when it has a processor next; another one can answer until then."""
    states = [(task / "stat").read_text().rpartition(")")[2].split()[0] for task in Path(f"/proc/{pid}/task").iterdir()]
    return set(states) == {"T"}


async def test_a_process_that_dies_while_it_is_asked_is_not_waited_for(near: Near) -> None:
    await near.call("sns", "CreateTopic", Name="t")
    pid = near.process.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    async with asyncio.timeout(10):
        while not _stands_still(pid):
            await asyncio.sleep(0.01)
    asked = asyncio.create_task(near.call("sns", "CreateTopic", Name="u"))
    await asyncio.sleep(0.1)  # long enough to be sent; the answer cannot come
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(AwsError) as told:
        await asyncio.wait_for(asked, 10)
    assert told.value.status == 500
    assert len((await near.call("sns", "ListTopics"))["Topics"]) == 1


async def test_requests_leave_nothing_behind_in_memory(near: Near) -> None:
    async def some() -> None:
        for number in range(MANY):
            await near.call("ssm", "PutParameter", Name="a", Value=str(number), Type="String", Overwrite=True)
            await near.call("ssm", "DeleteParameter", Name="a")

    await some()
    before = _resident_kib(near.process.pid)
    await some()
    assert _resident_kib(near.process.pid) - before < GROWTH_MAX_KIB


async def test_services_of_lambents_own_are_asked_in_the_process(near: Near) -> None:
    class Own:
        name = "kinesis"

        def __init__(self) -> None:
            self.operations: Mapping[str, Operation] = {"ListStreams": self.list_streams}

        async def list_streams(self, context: RequestContext, request: dict[str, Any]) -> dict[str, Any]:
            return {"StreamNames": [context.account_id, request["Limit"]]}

    near.clients.add(Own())
    assert await near.call("kinesis", "ListStreams", Limit=3) == {"StreamNames": ["111122223333", 3]}
    with pytest.raises(AwsError, match="kinesis:PutRecord is not built"):
        await near.call("kinesis", "PutRecord")
    assert not near.process.is_running


def _resident_kib(pid: int | None) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])

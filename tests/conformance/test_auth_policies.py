"""Policies decide what boto3 may do: a real gateway that enforces, a real catalog, IAM's answers made by the tests."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from control_harness import Control, zipped
from fake_directory import SECRET, FakeDirectory, allow, deny, document
from invoking import Invoking
from lambent.control.credentials import SESSION_LIFETIME_S, IssuedCredentials
from lambent.front.authorize import Authorizer
from lambent.front.gateway import Gateway
from lambent.front.identify import Home
from lambent.http1.server import Server
from lambent.model.function import FunctionVersion
from lambent.model.invocation import Invocation, Outcome
from lambent.model.request import RequestContext
from lambent.ports import Operation, Service
from lambent.services.sts.operations import StsService

HOME, OTHER, REGION = "111111111111", "222222222222", "eu-west-1"
ROLE = f"arn:aws:iam::{HOME}:role/worker"
FUNCTION = f"arn:aws:lambda:{REGION}:{HOME}:function:f"
INVOKE = "lambda:InvokeFunction"
MODELS = boto3.Session()  # one that remembers what it has read


class Echo(Invoking):
    async def invoke(self, invocation: Invocation) -> Outcome:
        return Outcome(payload=b'"ran"', executed_version="$LATEST", request_id=invocation.request_id)


class Recorder:
    """A service that answers everything with nothing, and remembers for whom."""

    def __init__(self, name: str, *operations: str) -> None:
        self.name = name
        self.asked: list[RequestContext] = []
        self.operations: Mapping[str, Operation] = dict.fromkeys(operations, self._call)

    async def _call(self, context: RequestContext, params: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(context)
        return {}


class Moving:
    """Time that tests move; it starts now, because signatures are compared with it."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def now(self) -> float:
        return time.time() + self.ahead_s


@attrs.define
class World:
    port: int
    issued: IssuedCredentials
    directory: FakeDirectory
    control: Control
    clock: Moving
    neighbours: dict[str, Recorder]
    clients: list[Any] = attrs.Factory(list)

    def client(self, service: str, key: str, secret: str = SECRET, token: str | None = None) -> Any:
        made = MODELS.client(
            service, REGION, endpoint_url=f"http://127.0.0.1:{self.port}", config=Config(retries={"total_max_attempts": 1}),
            aws_access_key_id=key, aws_secret_access_key=secret, aws_session_token=token,
        )  # fmt: skip
        self.clients.append(made)
        return made

    def root(self, service: str, account_id: str = HOME) -> Any:
        key = self.issued.root(account_id)
        return self.client(service, key.access_key_id, key.secret_access_key)

    def function(self, service: str, role: str = ROLE) -> Any:
        """A client with the credentials of an environment of the function."""
        version = FunctionVersion(
            account_id=HOME, region=REGION, name="f", version="1", role=role, runtime="python3.13", handler="a.b"
        )
        variables = self.issued.for_function(version)
        return self.client(
            service, variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"], variables["AWS_SESSION_TOKEN"]
        )


async def started(path: Path, auth: Any = "enforce") -> tuple[World, Server, Gateway]:
    control, clock, directory = Control(path), Moving(), FakeDirectory()
    issued = IssuedCredentials(b"m" * 32, clock.now)
    neighbours = {
        "s3": Recorder("s3", "PutObject", "ListObjectsV2", "DeleteObjects"),
        "sqs": Recorder("sqs", "SendMessage", "SendMessageBatch", "ListQueues"),
        "dynamodb": Recorder("dynamodb", "GetItem"),
        "ec2": Recorder("ec2", "DescribeVpcs"),
        "logs": Recorder("logs", "PutLogEvents", "DescribeLogGroups"),
    }
    sts = StsService(issued, control.clock, directory)
    services: list[Service] = [control.service, sts, *neighbours.values()]
    gateway = Gateway(
        services, Echo(), control.catalog, auth=auth, now_s=clock.now,
        home=Home(account_of_key=issued.account_of), authorizer=Authorizer(issued, control.catalog, directory, clock.now),
    )  # fmt: skip
    server = Server(gateway)
    listener = socket.create_server(("127.0.0.1", 0))
    await server.serve(listener)
    world = World(listener.getsockname()[1], issued, directory, control, clock, neighbours)
    control.neighbours.roles["worker"] = document(
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    )
    await asyncio.to_thread(
        world.root("lambda").create_function if auth == "enforce" else world.client("lambda", HOME).create_function,
        FunctionName="f", Runtime="python3.13", Role=ROLE, Handler="a.b", Code={"ZipFile": zipped(**{"a.py": "pass"})},
    )  # fmt: skip
    return world, server, gateway


async def ended(world: World, server: Server, gateway: Gateway) -> None:
    for client in world.clients:
        client.close()
    server.close()
    await gateway.close()
    await world.control.close()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world, server, gateway = await started(tmp_path)
    yield world
    await ended(world, server, gateway)


async def refusal(method: Any, **members: Any) -> tuple[str, int, str]:
    """Code, status and message of the error."""
    with pytest.raises(ClientError) as refused:
        await asyncio.to_thread(method, **members)
    error = refused.value.response
    return error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"], error["Error"]["Message"]


def no_identity(who: str, action: str, resource: str) -> tuple[str, int, str]:
    message = (
        f"User: {who} is not authorized to perform: {action} on resource: {resource} "
        f"because no identity-based policy allows the {action} action"
    )
    return "AccessDeniedException", 403, message


ADA = f"arn:aws:iam::{HOME}:user/ada"


async def test_a_user_may_do_what_its_policies_say_and_nothing_else(world: World) -> None:
    client = world.client("lambda", world.directory.user("ada", HOME, allow("lambda:Get*", INVOKE, resource=FUNCTION)))
    assert (await asyncio.to_thread(client.get_function, FunctionName="f"))["Configuration"]["FunctionName"] == "f"
    assert (await asyncio.to_thread(client.invoke, FunctionName="f"))["Payload"].read() == b'"ran"'
    assert await refusal(client.list_functions) == no_identity(ADA, "lambda:ListFunctions", "*")
    assert await refusal(client.delete_function, FunctionName="f") == no_identity(
        ADA, "lambda:DeleteFunction", FUNCTION
    )
    assert await refusal(client.get_function, FunctionName="g") == no_identity(
        ADA, "lambda:GetFunction", FUNCTION[:-1] + "g"
    )
    assert await refusal(client.invoke, FunctionName="f:1") == no_identity(ADA, INVOKE, f"{FUNCTION}:1")


async def test_streaming_and_dry_runs_are_invocations_too(world: World) -> None:
    client = world.client("lambda", world.directory.user("ada", HOME))
    assert await refusal(client.invoke_with_response_stream, FunctionName="f") == no_identity(ADA, INVOKE, FUNCTION)
    assert await refusal(client.invoke, FunctionName="f", InvocationType="DryRun") == no_identity(ADA, INVOKE, FUNCTION)
    assert await refusal(client.invoke, FunctionName="f", InvocationType="Event") == no_identity(ADA, INVOKE, FUNCTION)


async def test_tags_of_a_function_are_shown_to_whom_may_list_them(world: World) -> None:
    root = world.root("lambda")
    await asyncio.to_thread(root.tag_resource, Resource=FUNCTION, Tags={"team": "a"})
    assert (await asyncio.to_thread(root.get_function, FunctionName="f"))["Tags"] == {"team": "a"}
    client = world.client("lambda", world.directory.user("ada", HOME, allow("lambda:GetFunction")))
    answer = await asyncio.to_thread(client.get_function, FunctionName="f")
    assert "Tags" not in answer
    assert answer["TagsError"] == {
        "ErrorCode": "AccessDeniedException", "Message": no_identity(ADA, "lambda:ListTags", FUNCTION)[2],
    }  # fmt: skip
    world.directory.allow(ADA, allow("lambda:Get*", "lambda:ListTags"))
    assert (await asyncio.to_thread(client.get_function, FunctionName=FUNCTION))["Tags"] == {"team": "a"}


async def test_a_customers_key_is_given_and_its_variables_are_read_by_whom_policies_let(world: World) -> None:
    key = f"arn:aws:kms:{REGION}:{HOME}:key/1"
    world.control.neighbours.keys[key] = "Enabled"
    root, variables = world.root("lambda"), {"Variables": {"SECRET": "s"}}
    create = {
        "FunctionName": "g", "Runtime": "python3.13", "Role": ROLE, "Handler": "a.b", "KMSKeyArn": key,
        "Code": {"ZipFile": zipped(**{"a.py": "pass"})}, "Environment": variables,
    }  # fmt: skip
    usual = allow("lambda:*", "iam:PassRole")
    client = world.client("lambda", world.directory.user("ada", HOME, usual))
    refused = "Lambda was unable to configure access to your environment variables because the KMS key is invalid for "
    for rights, missing in (([], "kms:CreateGrant"), ([allow("kms:CreateGrant")], "kms:Encrypt")):
        world.directory.allow(ADA, usual, *rights)
        code, status, message = await refusal(client.create_function, **create)
        assert (code, status) == ("InvalidParameterValueException", 400)
        assert message == (
            f"{refused}CreateGrant. Please check your KMS key settings. KMS Exception: AccessDeniedException "
            f"KMS Message: {no_identity(ADA, missing, key)[2]}"
        )
    world.directory.allow(ADA, usual, allow("kms:*", resource=key))
    created = await asyncio.to_thread(client.create_function, **create)
    assert (created["KMSKeyArn"], created["Environment"]) == (key, variables)

    world.directory.allow(ADA, usual)
    listed = (await asyncio.to_thread(client.list_functions))["Functions"]
    seen = [
        await asyncio.to_thread(client.get_function_configuration, FunctionName="g"),
        (await asyncio.to_thread(client.get_function, FunctionName="g"))["Configuration"],
        *(function for function in listed if function["FunctionName"] == "g"),
        *(await asyncio.to_thread(client.list_versions_by_function, FunctionName="g"))["Versions"],
    ]
    assert len(seen) == 4
    for described in seen:
        error = described["Environment"]["Error"]
        assert error["ErrorCode"] == "KMSAccessDeniedException"
        assert error["Message"].endswith(no_identity(ADA, "kms:Decrypt", key)[2])
        assert "Variables" not in described["Environment"]
    assert (await asyncio.to_thread(root.get_function_configuration, FunctionName="g"))["Environment"] == variables


async def test_an_explicit_deny_is_named(world: World) -> None:
    client = world.client("lambda", world.directory.user("ada", HOME, allow("*"), deny(INVOKE)))
    code, status, message = await refusal(client.invoke, FunctionName="f")
    assert (code, status) == ("AccessDeniedException", 403)
    assert message.endswith(f"on resource: {FUNCTION} with an explicit deny in an identity-based policy")


async def test_a_change_of_policies_is_seen_by_the_next_request(world: World) -> None:
    client = world.client("lambda", world.directory.user("ada", HOME, allow(INVOKE)))
    await asyncio.to_thread(client.invoke, FunctionName="f")
    world.directory.allow(ADA)
    await refusal(client.invoke, FunctionName="f")
    await asyncio.to_thread(
        world.root("lambda").add_permission,
        FunctionName="f", StatementId="s", Action=INVOKE, Principal=ADA,
    )  # fmt: skip
    await asyncio.to_thread(client.invoke, FunctionName="f")  # the function's own policy names the user
    await asyncio.to_thread(world.root("lambda").remove_permission, FunctionName="f", StatementId="s")
    await refusal(client.invoke, FunctionName="f")


async def test_the_root_may_do_everything_in_its_account_and_nothing_elsewhere(world: World) -> None:
    await asyncio.to_thread(world.root("lambda").list_functions)
    other = world.root("lambda", OTHER)
    code, _, message = await refusal(other.invoke, FunctionName=FUNCTION)
    assert (code, message) == (
        "AccessDeniedException",
        f"User: arn:aws:iam::{OTHER}:root is not authorized to perform: {INVOKE} on resource: {FUNCTION} "
        f"because no resource-based policy allows the {INVOKE} action",
    )
    assert (await refusal(other.get_function, FunctionName=FUNCTION))[0] == "AccessDeniedException"


async def test_another_account_needs_both_policies(world: World) -> None:
    eve = world.client("lambda", world.directory.user("eve", OTHER))
    grant = {"FunctionName": "f", "StatementId": "s", "Principal": OTHER}
    await asyncio.to_thread(world.root("lambda").add_permission, **grant, Action="lambda:*")
    assert "no identity-based policy" in (await refusal(eve.invoke, FunctionName=FUNCTION))[2]
    world.directory.allow(f"arn:aws:iam::{OTHER}:user/eve", allow("lambda:*"))
    assert (await asyncio.to_thread(eve.invoke, FunctionName=FUNCTION))["StatusCode"] == 200
    found = await asyncio.to_thread(eve.get_function_configuration, FunctionName=FUNCTION)
    assert found["FunctionArn"] == FUNCTION
    assert (await refusal(eve.get_function, FunctionName="f"))[0] == "ResourceNotFoundException"  # its own has none
    await asyncio.to_thread(world.root("lambda").remove_permission, FunctionName="f", StatementId="s")
    assert "no resource-based policy" in (await refusal(eve.invoke, FunctionName=FUNCTION))[2]


async def test_a_boundary_and_a_session_policy_limit(world: World) -> None:
    far = world.clock.now() + 3600
    world.directory.allow(ROLE, allow("*"))
    session = world.client(
        "lambda", world.directory.session(ROLE, "ASIASESSION", far, allow("lambda:List*")), token="the-token"
    )
    await asyncio.to_thread(session.list_functions)
    _, _, message = await refusal(session.get_function, FunctionName="f")
    assert message == (
        f"User: arn:aws:sts::{HOME}:assumed-role/worker/s is not authorized to perform: lambda:GetFunction on resource: "
        f"{FUNCTION} because no session policy allows the lambda:GetFunction action"
    )
    world.directory.bound(ROLE, allow("s3:*"))
    assert "no permissions boundary" in (await refusal(session.list_functions))[2]


async def test_a_function_may_do_what_its_role_may(world: World) -> None:
    client = world.function("lambda")
    who = f"arn:aws:sts::{HOME}:assumed-role/worker/f"
    assert await refusal(client.invoke, FunctionName="f") == no_identity(who, INVOKE, FUNCTION)
    world.directory.allow(ROLE, allow(INVOKE, resource=FUNCTION))
    assert (await asyncio.to_thread(client.invoke, FunctionName="f"))["StatusCode"] == 200
    assert await refusal(client.list_functions) == no_identity(who, "lambda:ListFunctions", "*")


async def test_a_functions_credentials_expire(world: World) -> None:
    world.directory.allow(ROLE, allow("*"))
    client = world.function("lambda")
    await asyncio.to_thread(client.list_functions)
    world.clock.ahead_s += SESSION_LIFETIME_S + 1
    code, status, message = await refusal(client.list_functions)
    assert (code, status) == ("ExpiredTokenException", 403)
    assert message == "The security token included in the request is expired"


@pytest.mark.parametrize("token", [None, "another-token", "the-token "])
async def test_a_sessions_key_needs_its_token(world: World, token: str | None) -> None:
    world.directory.allow(ROLE, allow("*"))
    key = world.directory.session(ROLE, "ASIASESSION", world.clock.now() + 3600)
    client = world.client("lambda", key, token=token)
    assert (await refusal(client.list_functions))[0] in ("UnrecognizedClientException", "InvalidSignatureException")


async def test_a_users_key_with_a_token_that_nobody_gave_is_refused(world: World) -> None:
    client = world.client("lambda", world.directory.user("ada", HOME, allow("*")), token="made-up")
    assert (await refusal(client.list_functions))[0] == "UnrecognizedClientException"


async def test_who_names_a_role_must_be_allowed_to_pass_it(world: World) -> None:
    client = world.client("lambda", world.directory.user("ada", HOME, allow("lambda:*")))
    create = {
        "FunctionName": "g", "Runtime": "python3.13", "Role": ROLE, "Handler": "a.b",
        "Code": {"ZipFile": zipped(**{"a.py": "pass"})},
    }  # fmt: skip
    assert await refusal(client.create_function, **create) == no_identity(ADA, "iam:PassRole", ROLE)
    condition = {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}}
    world.directory.allow(ADA, allow("lambda:*"), allow("iam:PassRole", resource=ROLE, Condition=condition))
    assert (await asyncio.to_thread(client.create_function, **create))["FunctionName"] == "g"
    elsewhere = create | {"Role": f"arn:aws:iam::{OTHER}:role/worker"}
    world.directory.allow(ADA, allow("*"))
    assert await refusal(client.create_function, **elsewhere) == (
        "AccessDeniedException", 403, "Cross-account pass role is not allowed.",
    )  # fmt: skip


async def test_conditions_see_the_request(world: World) -> None:
    conditions = {
        "IpAddress": {"aws:SourceIp": "127.0.0.0/8"},
        "StringEquals": {"aws:RequestedRegion": REGION, "aws:username": "ada", "aws:ResourceTag/team": "red"},
        "DateGreaterThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"},
        "Bool": {"aws:SecureTransport": "false"},
    }
    client = world.client("lambda", world.directory.user("ada", HOME, allow("lambda:Get*", Condition=conditions)))
    assert (await refusal(client.get_function, FunctionName="f"))[0] == "AccessDeniedException"
    await asyncio.to_thread(world.root("lambda").tag_resource, Resource=FUNCTION, Tags={"team": "red"})
    await asyncio.to_thread(client.get_function, FunctionName="f")
    world.directory.allow(ADA, allow("lambda:Get*", Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}))
    assert (await refusal(client.get_function, FunctionName="f"))[0] == "AccessDeniedException"


async def test_tags_of_a_request_can_be_demanded(world: World) -> None:
    wanted = {"StringEquals": {"aws:RequestTag/team": "red"}, "ForAllValues:StringEquals": {"aws:TagKeys": ["team"]}}
    client = world.client("lambda", world.directory.user("ada", HOME, allow("lambda:TagResource", Condition=wanted)))
    await asyncio.to_thread(client.tag_resource, Resource=FUNCTION, Tags={"team": "red"})
    assert (await refusal(client.tag_resource, Resource=FUNCTION, Tags={"team": "red", "x": "y"}))[1] == 403
    assert (await refusal(client.tag_resource, Resource=FUNCTION, Tags={"team": "blue"}))[1] == 403


@pytest.mark.parametrize(
    ("service", "method", "members", "action", "resource"),
    [
        ("s3", "put_object", {"Bucket": "b", "Key": "k/1", "Body": b"x"}, "s3:PutObject", "arn:aws:s3:::b/k/1"),
        ("s3", "list_objects_v2", {"Bucket": "b"}, "s3:ListBucket", "arn:aws:s3:::b"),
        (
            "sqs",
            "send_message",
            {"QueueUrl": f"http://x/{HOME}/q", "MessageBody": "m"},
            "sqs:SendMessage",
            f"arn:aws:sqs:{REGION}:{HOME}:q",
        ),
        (
            "dynamodb",
            "get_item",
            {"TableName": "t", "Key": {"a": {"S": "b"}}},
            "dynamodb:GetItem",
            f"arn:aws:dynamodb:{REGION}:{HOME}:table/t",
        ),
        (
            "logs",
            "put_log_events",
            {"logGroupName": "/g", "logStreamName": "s", "logEvents": [{"timestamp": 1, "message": "m"}]},
            "logs:PutLogEvents",
            f"arn:aws:logs:{REGION}:{HOME}:log-group:/g:log-stream:s",
        ),
        ("ec2", "describe_vpcs", {}, "ec2:DescribeVpcs", "*"),
    ],
)
async def test_every_service_asks_policies(
    world: World, service: str, method: str, members: dict[str, Any], action: str, resource: str
) -> None:
    client = world.client(service, world.directory.user("ada", HOME))
    code, status, message = await refusal(getattr(client, method), **members)
    assert status == 403
    assert code == {"s3": "AccessDenied", "sqs": "AccessDenied", "ec2": "UnauthorizedOperation"}.get(
        service, "AccessDeniedException"
    )
    assert f"not authorized to perform: {action} on resource: {resource} because" in message
    assert world.neighbours[service].asked == []
    world.directory.allow(ADA, allow(action, resource=resource))
    await asyncio.to_thread(getattr(client, method), **members)
    assert [context.principal_arn for context in world.neighbours[service].asked] == [ADA]


async def test_a_role_is_given_to_whom_it_trusts(world: World) -> None:
    client = world.client("sts", world.directory.user("ada", HOME, allow("sts:AssumeRole")))
    assume = {"RoleArn": ROLE, "RoleSessionName": "s1"}
    assert (await refusal(client.assume_role, **assume))[0] == "AccessDenied"  # there is no such role
    world.directory.trust(ROLE, {"Service": "lambda.amazonaws.com"})
    assert "no role trust policy allows the sts:AssumeRole action" in (await refusal(client.assume_role, **assume))[2]
    world.directory.trust(ROLE, {"AWS": HOME})
    await asyncio.to_thread(client.assume_role, **assume)
    world.directory.allow(ADA)
    assert "no identity-based policy" in (await refusal(client.assume_role, **assume))[2]


async def test_nobody_becomes_a_role_on_the_word_of_a_provider_that_cannot_be_asked(world: World) -> None:
    client = world.client("sts", "any")
    members = {"RoleArn": ROLE, "RoleSessionName": "s1", "WebIdentityToken": "a-token"}
    assert (await refusal(client.assume_role_with_web_identity, **members))[:2] == ("NotImplemented", 501)


async def test_anybody_may_ask_who_he_is(world: World) -> None:
    client = world.client("sts", world.directory.user("ada", HOME, deny("*")))
    found = await asyncio.to_thread(client.get_caller_identity)
    assert (found["Account"], found["Arn"]) == (HOME, ADA)
    assert found["UserId"].startswith("AIDA")
    found = await asyncio.to_thread(world.function("sts").get_caller_identity)
    assert found["Arn"] == f"arn:aws:sts::{HOME}:assumed-role/worker/f"
    found = await asyncio.to_thread(world.root("sts", OTHER).get_caller_identity)
    assert (found["UserId"], found["Arn"]) == (OTHER, f"arn:aws:iam::{OTHER}:root")


async def assumed(world: World, client: Any, service: str = "lambda", **members: Any) -> Any:
    """A client with the credentials that AssumeRole gives."""
    answer = await asyncio.to_thread(client.assume_role, RoleArn=ROLE, RoleSessionName="s1", **members)
    given = answer["Credentials"]
    return world.client(service, given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])


async def test_an_assumed_role_is_a_session_with_the_roles_rights(world: World) -> None:
    ada = world.client("sts", world.directory.user("ada", HOME))
    world.directory.trust(ROLE, {"AWS": ADA})
    session = await assumed(world, ada)
    who = f"arn:aws:sts::{HOME}:assumed-role/worker/s1"
    assert await refusal(session.list_functions) == no_identity(who, "lambda:ListFunctions", "*")
    world.directory.allow(ROLE, allow("lambda:*"))
    await asyncio.to_thread(session.list_functions)
    narrow = await assumed(world, ada, Policy=json.dumps(document(allow("lambda:Get*"))))
    assert "no session policy allows the lambda:ListFunctions action" in (await refusal(narrow.list_functions))[2]
    await asyncio.to_thread(narrow.get_function, FunctionName="f")
    world.clock.ahead_s += 3601
    assert (await refusal(narrow.list_functions))[0] == "ExpiredTokenException"


async def test_tags_of_a_session_are_its_principals(world: World) -> None:
    ada = world.client("sts", world.directory.user("ada", HOME))
    world.directory.trust(ROLE, {"AWS": ADA})
    red = {"StringEquals": {"aws:PrincipalTag/team": "red"}}
    world.directory.allow(ROLE, allow("lambda:*", Condition=red))
    for team, allowed in (("red", True), ("blue", False)):
        session = await assumed(world, ada, Tags=[{"Key": "team", "Value": team}])
        if allowed:
            await asyncio.to_thread(session.list_functions)
        else:
            await refusal(session.list_functions)


async def test_a_role_of_another_account_works_there(world: World) -> None:
    eve = world.client("sts", world.directory.user("eve", OTHER, allow("sts:AssumeRole")))
    world.directory.trust(ROLE, {"AWS": OTHER})
    world.directory.allow(ROLE, allow("lambda:*"))
    session = await assumed(world, eve)
    found = await asyncio.to_thread(session.get_function, FunctionName="f")
    assert found["Configuration"]["FunctionArn"] == FUNCTION


async def test_a_users_session_may_do_what_the_user_may(world: World) -> None:
    key = world.directory.user("ada", HOME, allow("lambda:List*"))
    given = (await asyncio.to_thread(world.client("sts", key).get_session_token))["Credentials"]
    members = (given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
    await asyncio.to_thread(world.client("lambda", *members).list_functions)
    assert (await refusal(world.client("lambda", *members).get_function, FunctionName="f"))[2].startswith(
        f"User: {ADA} is"
    )
    code, _, message = await refusal(world.client("sts", *members).get_session_token)
    assert (code, message) == ("AccessDenied", "Cannot call GetSessionToken with session credentials")


@pytest.mark.parametrize(
    ("members", "code", "message"),
    [
        (
            {"RoleArn": "arn:aws:iam::111111111111:user/ada"},
            "ValidationError",
            "arn:aws:iam::111111111111:user/ada is invalid",
        ),
        (
            {"DurationSeconds": 7200},
            "ValidationError",
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
        ),
        (
            {"Policy": json.dumps(document(*(allow(f"lambda:Action{n}") for n in range(40))))},
            "PackedPolicyTooLarge",
            "Packed policy consumes ",
        ),
        ({"Policy": "{}"}, "MalformedPolicyDocument", "Syntax errors in policy."),
        ({"PolicyArns": [{"arn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}]}, "NotImplemented", "PolicyArns needs IAM"),
    ],
)
async def test_a_session_that_cannot_be_given_is_refused(
    world: World, members: dict[str, Any], code: str, message: str
) -> None:
    ada = world.client("sts", world.directory.user("ada", HOME, allow("*")))
    for arn in (ROLE, "arn:aws:iam::111111111111:user/ada"):
        world.directory.trust(arn, {"AWS": ADA})
    refused = await refusal(ada.assume_role, **{"RoleArn": ROLE, "RoleSessionName": "s1", **members})
    assert refused[0] == code
    assert refused[2].startswith(message)


async def test_the_root_assumes_no_roles(world: World) -> None:
    world.directory.trust(ROLE, {"AWS": HOME})
    refused = await refusal(world.root("sts").assume_role, RoleArn=ROLE, RoleSessionName="s1")
    assert refused == ("AccessDenied", 403, "Roles may not be assumed by root accounts.")


async def test_in_open_mode_a_roles_session_is_of_the_roles_account(tmp_path: Path) -> None:
    world, server, gateway = await started(tmp_path, auth="open")
    try:
        session = await assumed(world, world.client("sts", OTHER))
        found = await asyncio.to_thread(session.get_function, FunctionName="f")
        assert found["Configuration"]["FunctionArn"] == FUNCTION
    finally:
        await ended(world, server, gateway)


async def test_in_open_mode_another_accounts_function_needs_its_policy(tmp_path: Path) -> None:
    world, server, gateway = await started(tmp_path, auth="open")
    try:
        own, other = world.client("lambda", HOME), world.client("lambda", OTHER)
        code, _, message = await refusal(other.invoke, FunctionName=FUNCTION)
        assert (code, message) == (
            "AccessDeniedException",
            f"User: arn:aws:iam::{OTHER}:root is not authorized to perform: {INVOKE} on resource: {FUNCTION} "
            f"because no resource-based policy allows the {INVOKE} action",
        )
        assert (await refusal(other.get_function, FunctionName=FUNCTION))[0] == "AccessDeniedException"
        grant = {"FunctionName": "f", "StatementId": "s", "Principal": OTHER}
        await asyncio.to_thread(own.add_permission, **grant, Action="lambda:*")
        assert (await asyncio.to_thread(other.invoke, FunctionName=FUNCTION))["Payload"].read() == b'"ran"'
        found = await asyncio.to_thread(other.get_function, FunctionName=FUNCTION)
        assert found["Configuration"]["FunctionArn"] == FUNCTION
        await asyncio.to_thread(own.invoke, FunctionName=FUNCTION)
    finally:
        await ended(world, server, gateway)

"""A server that enforces: its root, users of its IAM, roles, sessions, and functions in cages, each with their own credentials."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request as UrlRequest
from urllib.request import urlopen

import attrs
import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from live_server import REGION, RUNNING_PYTHON, LiveServer, environ, package, running, start

ACCOUNT = "000000000000"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/worker"
SESSION = boto3.Session()  # one that remembers the models it has read

# Calls what it is told to with the credentials that it was given, and returns what came of it.
CALLER = """
    import boto3
    from botocore.exceptions import ClientError

    def handler(event, context):
        client = boto3.client(event["service"])
        try:
            answer = getattr(client, event["method"])(**event.get("members", {}))
            answer.pop("ResponseMetadata", None)
            return {"answer": str(answer.get("Arn", "done"))}
        except ClientError as error:
            return {"code": error.response["Error"]["Code"], "message": error.response["Error"]["Message"]}
"""


@attrs.define
class Keys:
    """Credentials, as boto3 takes them."""

    aws_access_key_id: str
    aws_secret_access_key: str
    aws_session_token: str | None = None


@attrs.define
class World:
    server: LiveServer
    root: Keys

    def client(self, service: str, keys: Keys | None = None) -> Any:
        return SESSION.client(
            service, REGION, endpoint_url=self.server.url, **attrs.asdict(keys or self.root),
            config=Config(retries={"total_max_attempts": 1}, read_timeout=60),
        )  # fmt: skip

    def user(self, *statements: dict[str, Any]) -> tuple[str, Keys]:
        """A new user of IAM with a key, and its name."""
        iam, name = self.client("iam"), f"user-{uuid.uuid4().hex[:8]}"
        iam.create_user(UserName=name)
        self.allow_user(name, *statements)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return name, Keys(key["AccessKeyId"], key["SecretAccessKey"])

    def allow_user(self, name: str, *statements: dict[str, Any]) -> None:
        if statements:
            self.client("iam").put_user_policy(UserName=name, PolicyName="p", PolicyDocument=document(*statements))

    def allow_role(self, *statements: dict[str, Any]) -> None:
        self.client("iam").put_role_policy(RoleName="worker", PolicyName="p", PolicyDocument=document(*statements))

    def ask_function(self, service: str, method: str, **members: Any) -> dict[str, str]:
        event = {"service": service, "method": method, "members": members}
        answer = self.client("lambda").invoke(FunctionName="caller", Payload=json.dumps(event))
        payload = answer["Payload"].read()
        assert "FunctionError" not in answer, payload
        outcome: dict[str, str] = json.loads(payload)
        return outcome


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action: str, resource: str = "*") -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource}


def trust(*principals: str) -> str:
    who: dict[str, Any] = {"Service": "lambda.amazonaws.com"}
    if principals:
        who["AWS"] = list(principals)
    return document({"Effect": "Allow", "Principal": who, "Action": "sts:AssumeRole"})


def root_of(server: LiveServer, account_id: str = ACCOUNT) -> Keys:
    done = subprocess.run(
        [sys.executable, "-m", "lambent", "credentials", "--json", "--data", str(server.data), "--account", account_id],
        env=environ(), capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    printed = json.loads(done.stdout)
    return Keys(printed["AWS_ACCESS_KEY_ID"], printed["AWS_SECRET_ACCESS_KEY"])


def refused(call: Any, **members: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**members)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("enforced") / "data", "--auth", "enforce") as server:
        made = World(server, root_of(server))
        made.client("iam").create_role(RoleName="worker", AssumeRolePolicyDocument=trust())
        client = made.client("lambda")
        client.create_function(
            FunctionName="caller", Runtime=RUNNING_PYTHON, Role=ROLE, Handler="app.handler", Timeout=30, MemorySize=256,
            Code={"ZipFile": package({"app.py": CALLER})},
        )  # fmt: skip
        client.get_waiter("function_active_v2").wait(FunctionName="caller", WaiterConfig={"Delay": 1})
        yield made


def test_a_request_without_a_key_of_this_server_does_nothing(world: World) -> None:
    for keys in (Keys("test", "test"), Keys(ACCOUNT, "any"), Keys("AKIAIOSFODNN7EXAMPLE", "x" * 40)):
        for service, method in (("lambda", "list_functions"), ("iam", "list_users"), ("sqs", "list_queues")):
            code, _ = refused(getattr(world.client(service, keys), method))
            assert code in ("UnrecognizedClientException", "InvalidClientTokenId")


def test_a_user_of_iam_may_do_what_its_policies_say(world: World) -> None:
    name, keys = world.user()
    arn = f"arn:aws:iam::{ACCOUNT}:user/{name}"
    assert world.client("sts", keys).get_caller_identity()["Arn"] == arn
    client = world.client("lambda", keys)
    assert refused(client.list_functions) == (
        "AccessDeniedException",
        f"User: {arn} is not authorized to perform: lambda:ListFunctions on resource: * "
        "because no identity-based policy allows the lambda:ListFunctions action",
    )
    world.allow_user(name, allow("lambda:List*"))
    client.list_functions()
    assert refused(client.invoke, FunctionName="caller")[0] == "AccessDeniedException"
    assert refused(world.client("iam", keys).create_user, UserName="mallory")[0] == "AccessDenied"


def test_groups_and_managed_policies_count(world: World) -> None:
    name, keys = world.user()
    iam, client = world.client("iam"), world.client("lambda", keys)
    iam.create_group(GroupName=f"g-{name}")
    iam.add_user_to_group(GroupName=f"g-{name}", UserName=name)
    managed = iam.create_policy(PolicyName=f"p-{name}", PolicyDocument=document(allow("lambda:*")))["Policy"]["Arn"]
    iam.attach_group_policy(GroupName=f"g-{name}", PolicyArn=managed)
    client.list_functions()
    iam.remove_user_from_group(GroupName=f"g-{name}", UserName=name)
    assert refused(client.list_functions)[0] == "AccessDeniedException"


def test_a_boundary_limits_a_role(world: World) -> None:
    name, keys = world.user()
    iam = world.client("iam")
    limit = iam.create_policy(PolicyName=f"b-{name}", PolicyDocument=document(allow("lambda:List*")))["Policy"]["Arn"]
    trusts = trust(f"arn:aws:iam::{ACCOUNT}:user/{name}")
    iam.create_role(RoleName=f"r-{name}", AssumeRolePolicyDocument=trusts, PermissionsBoundary=limit)
    iam.put_role_policy(RoleName=f"r-{name}", PolicyName="p", PolicyDocument=document(allow("*")))
    role_arn = f"arn:aws:iam::{ACCOUNT}:role/r-{name}"
    given = world.client("sts", keys).assume_role(RoleArn=role_arn, RoleSessionName="s1")["Credentials"]
    client = world.client("lambda", Keys(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"]))
    client.list_functions()
    message = refused(client.get_function, FunctionName="caller")[1]
    assert message.endswith("because no permissions boundary allows the lambda:GetFunction action")


def test_a_key_that_is_deleted_opens_nothing(world: World) -> None:
    name, keys = world.user(allow("*"))
    client = world.client("lambda", keys)
    client.list_functions()
    world.client("iam").delete_access_key(UserName=name, AccessKeyId=keys.aws_access_key_id)
    assert refused(client.list_functions)[0] == "UnrecognizedClientException"


def test_a_function_may_do_what_its_role_says_and_nothing_else(world: World) -> None:
    who = f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/caller"
    assert world.ask_function("sts", "get_caller_identity") == {"answer": who}
    denied = world.ask_function("lambda", "list_functions")
    assert denied["code"] == "AccessDeniedException"
    assert denied["message"].startswith(f"User: {who} is not authorized to perform: lambda:ListFunctions")
    assert world.ask_function("iam", "create_user", UserName="mallory")["code"] == "AccessDenied"
    world.allow_role(allow("lambda:ListFunctions"), allow("sqs:*"))
    assert world.ask_function("lambda", "list_functions") == {"answer": "done"}
    assert world.ask_function("sqs", "create_queue", QueueName="q") == {"answer": "done"}
    assert world.ask_function("lambda", "delete_function", FunctionName="caller")["code"] == "AccessDeniedException"


def test_a_role_is_assumed_by_whom_it_trusts_and_narrowed(world: World) -> None:
    name, keys = world.user()
    sts, iam = world.client("sts", keys), world.client("iam")
    iam.create_role(RoleName=f"r-{name}", AssumeRolePolicyDocument=trust())
    iam.put_role_policy(RoleName=f"r-{name}", PolicyName="p", PolicyDocument=document(allow("lambda:*")))
    assume = {"RoleArn": f"arn:aws:iam::{ACCOUNT}:role/r-{name}", "RoleSessionName": "s1"}
    code, message = refused(sts.assume_role, **assume)
    assert (code, "no role trust policy allows the sts:AssumeRole action" in message) == ("AccessDenied", True)
    iam.update_assume_role_policy(RoleName=f"r-{name}", PolicyDocument=trust(f"arn:aws:iam::{ACCOUNT}:user/{name}"))
    for policy, may_invoke in ({}, True), ({"Policy": document(allow("lambda:List*"))}, False):
        answer = sts.assume_role(**assume, **policy)
        given = answer["Credentials"]
        client = world.client("lambda", Keys(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"]))
        client.list_functions()
        if may_invoke:
            client.get_function(FunctionName="caller")
        else:
            assert "no session policy allows" in refused(client.get_function, FunctionName="caller")[1]
    wanted = [{"arn": "arn:aws:iam::aws:policy/AWSLambda_ReadOnlyAccess"}]
    given = sts.assume_role(**assume, PolicyArns=wanted)["Credentials"]
    client = world.client("lambda", Keys(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"]))
    client.list_functions()
    assert "no session policy allows" in refused(client.delete_function, FunctionName="caller")[1]


def test_a_bucket_of_another_account_needs_both_policies(world: World) -> None:
    own, bucket = world.client("s3"), f"bucket-{uuid.uuid4().hex[:8]}"
    own.create_bucket(Bucket=bucket)
    own.put_object(Bucket=bucket, Key="open/1", Body=b"content")
    own.put_object(Bucket=bucket, Key="closed/1", Body=b"content")
    other = world.client("s3", root_of(world.server, "222222222222"))
    code, message = refused(other.get_object, Bucket=bucket, Key="open/1")
    assert (code, message.endswith("because no resource-based policy allows the s3:GetObject action")) == (
        "AccessDenied",
        True,
    )
    grant = allow("s3:GetObject", f"arn:aws:s3:::{bucket}/open/*") | {"Principal": {"AWS": "222222222222"}}
    own.put_bucket_policy(Bucket=bucket, Policy=document(grant))
    assert other.get_object(Bucket=bucket, Key="open/1")["Body"].read() == b"content"
    assert refused(other.get_object, Bucket=bucket, Key="closed/1")[0] == "AccessDenied"
    assert refused(other.put_object, Bucket=bucket, Key="open/1", Body=b"x")[0] == "AccessDenied"
    forbid = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{bucket}/closed/*",
    }
    own.put_bucket_policy(Bucket=bucket, Policy=document(forbid))
    assert (
        "with an explicit deny in a resource-based policy" in refused(own.get_object, Bucket=bucket, Key="closed/1")[1]
    )
    assert refused(own.get_object, Bucket=f"{bucket}-none", Key="k")[0] == "NoSuchBucket"


def test_a_queues_policy_counts(world: World) -> None:
    own, (name, keys) = world.client("sqs"), world.user()
    url = own.create_queue(QueueName=f"q-{name}")["QueueUrl"]
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:q-{name}"
    ada, other = world.client("sqs", keys), world.client("sqs", root_of(world.server, "222222222222"))
    for client in (ada, other):
        assert refused(client.send_message, QueueUrl=url, MessageBody="m")[0] == "AccessDenied"
    who = {"AWS": [f"arn:aws:iam::{ACCOUNT}:user/{name}", "222222222222"]}
    grant = allow("sqs:SendMessage", arn) | {"Principal": who}
    own.set_queue_attributes(QueueUrl=url, Attributes={"Policy": document(grant)})
    for client in (ada, other):
        client.send_message(QueueUrl=url, MessageBody="m")
        assert refused(client.receive_message, QueueUrl=url)[0] == "AccessDenied"
    forbid = {"Effect": "Deny", "Principal": "*", "Action": "sqs:SendMessage", "Resource": arn}
    own.set_queue_attributes(QueueUrl=url, Attributes={"Policy": document(forbid)})
    assert "explicit deny in a resource-based policy" in refused(own.send_message, QueueUrl=url, MessageBody="m")[1]


def sent(world: World, keys: Keys, service: str, target: str, body: str, **headers: str) -> tuple[int, str]:
    """A signed request as no SDK would write it: status and body of the answer."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    wanted = AWSRequest("POST", f"{world.server.url}{target}", data=body.encode(), headers=named)
    held = Credentials(keys.aws_access_key_id, keys.aws_secret_access_key)
    SigV4Auth(held, service, REGION).add_auth(wanted)
    try:
        with urlopen(UrlRequest(wanted.url, body.encode(), dict(wanted.headers), method="POST"), timeout=60) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


FORM, JSON = "application/x-www-form-urlencoded", "application/x-amz-json-1.1"


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/", "Action=GetRole&Version=2010-05-08&RoleName=worker&RoleName=mine"),
        ("/", "Action=GetRole&Version=2010-05-08&RoleName=mine&RoleName=worker"),
        ("/?RoleName=worker", "Action=GetRole&Version=2010-05-08&RoleName=mine"),
        ("/?RoleName=mine", "Action=GetRole&Version=2010-05-08&RoleName=worker"),
        ("/?Action=GetRole&RoleName=worker", "Action=GetRole&Version=2010-05-08&RoleName=mine"),
        ("/?Action=DeleteRole&RoleName=worker", "Action=GetRole&Version=2010-05-08&RoleName=mine"),
    ],
)
def test_a_form_that_says_two_things_does_what_was_allowed_or_nothing(world: World, target: str, body: str) -> None:
    _, keys = world.user(allow("iam:GetRole", f"arn:aws:iam::{ACCOUNT}:role/mine"))
    status, answer = sent(world, keys, "iam", target, body, content_type=FORM)
    assert "<RoleName>worker" not in answer
    assert status in (403, 404)  # there is no role `mine`
    world.client("iam").get_role(RoleName="worker")


def test_an_address_cannot_add_to_what_a_body_says(world: World) -> None:
    ssm = world.client("ssm")
    ssm.put_parameter(Name="secret", Value="hidden", Type="String", Overwrite=True)
    ssm.put_parameter(Name="open", Value="shown", Type="String", Overwrite=True)
    _, keys = world.user(allow("ssm:GetParameter", f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/open"))
    for target in ("/", "/?Name=secret"):
        status, answer = sent(
            world, keys, "ssm", target, '{"Name": "open"}', content_type=JSON, x_amz_target="AmazonSSM.GetParameter"
        )
        assert (status, json.loads(answer)["Parameter"]["Value"]) == (200, "shown")
    for body in ('{"Name": "open", "Name": "secret"}', '{"Name": "secret", "name": "open"}'):
        status, answer = sent(world, keys, "ssm", "/", body, content_type=JSON, x_amz_target="AmazonSSM.GetParameter")
        assert status != 200, answer


def test_what_policies_say_outlives_a_kill(tmp_path_factory: pytest.TempPathFactory) -> None:
    data = tmp_path_factory.mktemp("killed") / "data"
    server = start(data, "--auth", "enforce")
    try:
        world = World(server, root_of(server))
        name, keys = world.user(allow("lambda:List*"))
        session = world.client("sts", keys).get_session_token()["Credentials"]
        world.client("lambda", keys).list_functions()
    finally:
        server.kill()
    with running(data, "--auth", "enforce") as again:
        world = World(again, world.root)
        temporary = Keys(session["AccessKeyId"], session["SecretAccessKey"], session["SessionToken"])
        for held in (keys, temporary):
            world.client("lambda", held).list_functions()
            assert refused(world.client("lambda", held).get_account_settings)[0] == "AccessDeniedException"
        assert world.client("sts", temporary).get_caller_identity()["Arn"].endswith(f":user/{name}")

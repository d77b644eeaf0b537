"""The gateway as real clients see it: boto3 in a thread, the server in this process."""

from __future__ import annotations

import asyncio
import datetime
import io
import json
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any
from urllib.request import Request as UrlRequest
from urllib.request import urlopen

import attrs
import boto3
import botocore.session
import pytest
from botocore import UNSIGNED
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from msgspec.structs import replace

from invoking import Invoking
from lambent.control.credentials import IssuedCredentials
from lambent.front.gateway import Gateway
from lambent.front.identify import Home
from lambent.http1.server import Server
from lambent.model.errors import AwsError, not_found
from lambent.model.function import FunctionVersion
from lambent.model.invocation import Invocation, Outcome
from lambent.model.request import RequestContext
from lambent.ports import Operation
from lambent.wire.models import Models

KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
MODELS = Models()


class Recorder:
    """A service whose operations are functions given to it; remembers what it was asked."""

    def __init__(self, name: str, **answers: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self.name = name
        self.asked: list[tuple[str, RequestContext, dict[str, Any]]] = []
        self.operations: Mapping[str, Operation] = {n: self._operation(n, answer) for n, answer in answers.items()}

    def _operation(self, name: str, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> Operation:
        async def call(context: RequestContext, params: dict[str, Any]) -> dict[str, Any]:
            self.asked.append((name, context, params))
            return answer(params)

        return call


class Road(Invoking):
    """A `ports.Invoke` that echoes, or does what the function's name says."""

    def __init__(self) -> None:
        self.invocations: list[Invocation] = []

    def start(self, invocation: Invocation, done: Callable[[Outcome | AwsError], None]) -> None:
        if invocation.function_name == "broken":
            raise RuntimeError("a bug of ours")
        super().start(invocation, done)

    async def invoke(self, invocation: Invocation) -> Outcome:
        self.invocations.append(invocation)
        name = invocation.function_name
        outcome = Outcome(payload=invocation.payload, executed_version="$LATEST", request_id=invocation.request_id)
        if name == "missing":
            arn = f"arn:aws:lambda:{invocation.region}:{invocation.account_id}:function:missing"
            raise not_found(f"Function not found: {arn}")
        if name == "throttled":
            fields = {
                "Type": "User",
                "Reason": "ReservedFunctionConcurrentInvocationLimitExceeded",
                "retryAfterSeconds": "3",
            }
            raise AwsError("TooManyRequestsException", "Rate Exceeded.", 429, fields)
        if name == "failing":
            return replace(outcome, payload=b'{"errorMessage":"no"}', function_error="Unhandled", log_tail=b"the log")
        if name == "streaming" and invocation.sink is not None:
            invocation.sink.begin("text/plain", "7", invocation.request_id)
            for chunk in (b"one ", b"two ", b"three"):
                await invocation.sink.write(chunk)
            return replace(outcome, payload=b"", executed_version="7", log_tail=b"tail")
        if name == "half" and invocation.sink is not None:
            invocation.sink.begin("text/plain", "7", invocation.request_id)
            await invocation.sink.write(b"half")
            return replace(outcome, payload=b"", stream_error=("Runtime.Oops", b'{"why":1}'))
        return outcome


class Resolver:
    def resolve(self, account_id: str, region: str, name: str, qualifier: str | None, draw: float) -> FunctionVersion:
        if name == "missing":
            raise not_found(f"Function not found: arn:aws:lambda:{region}:{account_id}:function:{name}")
        return FunctionVersion(
            account_id=account_id, region=region, name=name, version="$LATEST", role="arn:aws:iam::1:role/r",
            runtime="python3.13", handler="a.b",
        )  # fmt: skip

    def subscribe(self, changed: Callable[[str, str, str], None]) -> None: ...


@attrs.define
class World:
    """A gateway that listens, and what stands behind it."""

    port: int
    road: Road
    services: dict[str, Recorder]
    enqueued: list[Invocation]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(
        self, service: str, key: str = KEY, secret: str = SECRET, region: str = "eu-west-1", **config: Any
    ) -> Any:
        return boto3.Session(key, secret, region_name=region).client(
            service, endpoint_url=self.url, config=Config(retries={"max_attempts": 0}, **config)
        )

    async def call(self, service: str, method: str, /, **params: Any) -> dict[str, Any]:
        answer: dict[str, Any] = await asyncio.to_thread(getattr(self.client(service), method), **params)
        return answer

    async def fetch(
        self, path: str, method: str = "GET", body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        return await asyncio.to_thread(self._fetch, path, method, body, headers or {})

    def _fetch(
        self, path: str, method: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        from http.client import HTTPConnection

        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
        finally:
            connection.close()


def services() -> list[Recorder]:
    moment = datetime.datetime(2026, 7, 31, 12, 0, 0, 123000, tzinfo=datetime.UTC)

    def fail(error: AwsError) -> Callable[[dict[str, Any]], dict[str, Any]]:
        def answer(params: dict[str, Any]) -> dict[str, Any]:
            raise error

        return answer

    def crash(params: dict[str, Any]) -> dict[str, Any]:
        raise RuntimeError("a bug of ours")

    return [
        Recorder(
            "lambda",
            CreateFunction=lambda p: {"FunctionName": p["FunctionName"], "CodeSha256": "x", "Timeout": 3},
            GetFunction=fail(not_found("Function not found: arn:aws:lambda:eu-west-1:000000000000:function:f")),
            ListFunctions=lambda p: {"Functions": []},
            TagResource=lambda p: {},
            DeleteAlias=lambda p: {},
            GetAccountSettings=crash,
        ),
        Recorder("logs", DescribeLogGroups=lambda p: {"logGroups": [{"logGroupName": "/a", "creationTime": 5}]}),
        Recorder(
            "sqs",
            SendMessage=lambda p: {"MessageId": "m", "MD5OfMessageBody": "8b1a9953c4611296a827abf8c47804d7"},
            GetQueueUrl=fail(AwsError("QueueDoesNotExist", "The specified queue does not exist.", 400)),
        ),
        Recorder("sns", Publish=lambda p: {"MessageId": "m"}, GetTopicAttributes=fail(AwsError("NotFound", "Topic does not exist", 404))),
        Recorder(
            "s3",
            ListBuckets=lambda p: {"Buckets": [{"Name": "b", "CreationDate": moment}], "Owner": {"ID": "me"}},
            PutObject=lambda p: {"ETag": '"e"'},
            GetObject=fail(AwsError("NoSuchKey", "The specified key does not exist.", 404, {"Key": "k"})),
            HeadObject=fail(AwsError("404", "Not Found", 404)),
        ),
        Recorder("sts", GetCallerIdentity=lambda p: {"Account": "1", "Arn": "a", "UserId": "u"}),
        Recorder("cloudwatch", PutMetricData=lambda p: {}, ListMetrics=lambda p: {"Metrics": [{"MetricName": "m"}]}),
        Recorder("dynamodb", GetItem=lambda p: {"Item": {"a": {"B": b"\x00\xff"}}}),
    ]  # fmt: skip


async def started(calling: FunctionVersion | None = None, **options: Any) -> tuple[World, Server, Gateway]:
    """`calling` is whose cage the listener is in, if it is in one."""
    listener = socket.create_server(("127.0.0.1", 0))
    road, recorders, enqueued = Road(), services(), list[Invocation]()

    def enqueue(invocation: Invocation, done: Callable[[AwsError | None], None]) -> None:
        enqueued.append(invocation)
        done(None)

    gateway = Gateway(recorders, road, Resolver(), models=MODELS, **{"enqueue": enqueue, **options})
    server = Server(gateway, calling)
    world = World(listener.getsockname()[1], road, {r.name: r for r in recorders}, enqueued)
    await server.serve(listener)
    return world, server, gateway


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world, server, gateway = await started()
    yield world
    server.close()
    await gateway.close()


@pytest.fixture
async def strict() -> AsyncIterator[World]:
    """A gateway that checks signatures."""
    world, server, gateway = await started(auth="enforce", secret_for={KEY: SECRET, "123456789012": SECRET}.get)
    yield world
    server.close()
    await gateway.close()


async def test_rest_json_reaches_the_operation_with_account_region_and_members(world: World) -> None:
    answer = await world.call(
        "lambda", "create_function", FunctionName="f", Role="arn:aws:iam::123456789012:role/r", Code={"ZipFile": b"PK"},
        Runtime="python3.13", Handler="a.b",
    )  # fmt: skip
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert answer["Timeout"] == 3
    ((name, context, params),) = world.services["lambda"].asked
    assert (name, context.account_id, context.region) == ("CreateFunction", "000000000000", "eu-west-1")
    assert context.base_url == world.url
    assert context.request_id == answer["ResponseMetadata"]["RequestId"]
    assert params["Code"] == {"ZipFile": b"PK"}


async def test_a_twelve_digit_access_key_is_an_account(world: World) -> None:
    await asyncio.to_thread(world.client("lambda", key="123456789012").list_functions)
    assert world.services["lambda"].asked[0][1].account_id == "123456789012"


async def test_an_arn_in_a_path_arrives_decoded(world: World) -> None:
    arn = "arn:aws:lambda:eu-west-1:000000000000:function:f"
    answer = await world.call("lambda", "tag_resource", Resource=arn, Tags={"a": "b"})
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert world.services["lambda"].asked[0][2] == {"Resource": arn, "Tags": {"a": "b"}}


@pytest.mark.parametrize(
    ("service", "method", "params", "code", "status", "message"),
    [
        ("lambda", "get_function", {"FunctionName": "f"}, "ResourceNotFoundException", 404, "Function not found: "),
        (
            "sqs",
            "get_queue_url",
            {"QueueName": "q"},
            "AWS.SimpleQueueService.NonExistentQueue",
            400,
            "The specified queue",
        ),
        ("sns", "get_topic_attributes", {"TopicArn": "t"}, "NotFound", 404, "Topic does not exist"),
        ("s3", "get_object", {"Bucket": "bkt", "Key": "k"}, "NoSuchKey", 404, "The specified key does not exist."),
        ("s3", "head_object", {"Bucket": "bkt", "Key": "k"}, "404", 404, "Not Found"),
        ("lambda", "get_account_settings", {}, "ServiceException", 500, "Internal Error"),
        ("lambda", "list_layers", {}, "NotImplemented", 501, "lambda:ListLayers is not built in Lambent"),
        ("iam", "list_users", {}, "NotImplemented", 501, "The service iam is not built in Lambent"),
        ("kinesis", "list_streams", {}, "NotImplemented", 501, "The service kinesis is not built in Lambent"),
        ("codedeploy", "list_applications", {}, "NotImplemented", 501, "The service codedeploy is not built"),
        ("ec2", "describe_vpcs", {}, "NotImplemented", 501, "The service ec2 is not built in Lambent"),
        ("cloudfront", "list_distributions", {}, "NotImplemented", 501, "The service cloudfront is not built"),
        ("opensearch", "list_domain_names", {}, "NotImplemented", 501, "The service opensearch is not built"),
        ("sesv2", "list_email_identities", {}, "NotImplemented", 501, "The service sesv2 is not built in Lambent"),
    ],
)
async def test_errors_reach_the_client_in_its_own_protocol(
    world: World, service: str, method: str, params: dict[str, Any], code: str, status: int, message: str
) -> None:
    with pytest.raises(ClientError) as caught:
        await world.call(service, method, **params)
    response = caught.value.response
    assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)
    assert response["Error"]["Message"].startswith(message)
    assert response["ResponseMetadata"]["RequestId"]


async def test_modelled_error_members_reach_the_client(world: World) -> None:
    client = world.client("lambda")
    with pytest.raises(client.exceptions.TooManyRequestsException) as caught:
        await asyncio.to_thread(client.invoke, FunctionName="throttled")
    assert caught.value.response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert caught.value.response["retryAfterSeconds"] == "3"


async def test_every_protocol_has_its_answers_read(world: World) -> None:
    assert (await world.call("logs", "describe_log_groups"))["logGroups"][0]["creationTime"] == 5
    assert (await world.call("sqs", "send_message", QueueUrl=f"{world.url}/q", MessageBody="Hello"))["MessageId"] == "m"
    assert (await world.call("sns", "publish", TopicArn="t", Message="é & <x>"))["MessageId"] == "m"
    assert world.services["sns"].asked[0][2] == {"TopicArn": "t", "Message": "é & <x>"}
    assert (await world.call("sts", "get_caller_identity"))["Account"] == "1"
    assert (await world.call("s3", "list_buckets"))["Buckets"][0]["CreationDate"].year == 2026
    assert (await world.call("cloudwatch", "list_metrics"))["Metrics"] == [{"MetricName": "m"}]
    item = (await world.call("dynamodb", "get_item", TableName="tbl", Key={"a": {"S": "x"}}))["Item"]
    assert item == {"a": {"B": b"\x00\xff"}}


async def test_s3_objects_arrive_without_their_chunks(world: World) -> None:
    client = world.client("s3", s3={"addressing_style": "path"})
    await asyncio.to_thread(
        client.put_object, Bucket="my-bucket", Key="a b/ü.txt", Body=io.BytesIO(b"content"), Metadata={"k": "v"}
    )
    params = world.services["s3"].asked[0][2]
    assert (params["Bucket"], params["Key"], params["Body"], params["Metadata"]) == (
        "my-bucket",
        "a b/ü.txt",
        b"content",
        {"k": "v"},
    )


@pytest.mark.parametrize("host", ["my.bucket.s3.localhost:4566", "my.bucket.s3.eu-west-1.amazonaws.com"])
async def test_s3_objects_arrive_at_their_bucket_s_own_host_name(world: World, host: str) -> None:
    status, _, _ = await world.fetch("/a%20b/c", "PUT", b"content", {"Host": host})
    params = world.services["s3"].asked[0][2]
    assert (status, params["Bucket"], params["Key"], params["Body"]) == (200, "my.bucket", "a b/c", b"content")


async def test_compressed_requests_are_inflated(world: World) -> None:
    client = world.client("cloudwatch", request_min_compression_size_bytes=1)
    data = [{"MetricName": "m", "Value": 1.5}]
    await asyncio.to_thread(client.put_metric_data, Namespace="n", MetricData=data)
    assert world.services["cloudwatch"].asked[0][2] == {"Namespace": "n", "MetricData": data}


async def test_constraints_of_the_model_are_answered_in_aws_words(world: World) -> None:
    session = botocore.session.get_session()
    client = session.create_client(
        "logs", region_name="eu-west-1", endpoint_url=world.url, aws_access_key_id=KEY, aws_secret_access_key=SECRET,
        config=Config(parameter_validation=False, retries={"max_attempts": 0}),
    )  # fmt: skip
    with pytest.raises(ClientError) as caught:
        await asyncio.to_thread(client.describe_log_groups, logGroupNamePrefix="a b", limit=0)
    error = caught.value.response["Error"]
    assert error["Code"] == "InvalidParameterException"
    assert error["Message"].startswith(
        "2 validation errors detected: Value 'a b' at 'logGroupNamePrefix' failed to satisfy constraint: "
        "Member must satisfy regular expression pattern: "
    )
    assert (
        "Value '0' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1"
        in error["Message"]
    )


# Invoke


@pytest.mark.parametrize(
    ("text", "qualifier", "expected"),
    [
        ("f", None, ("000000000000", "f", None)),
        ("f:v1", None, ("000000000000", "f", "v1")),
        ("f", "v1", ("000000000000", "f", "v1")),
        ("f", "$LATEST", ("000000000000", "f", "$LATEST")),
        ("000000000000:function:f", None, ("000000000000", "f", None)),
        ("000000000000:function:f:2", None, ("000000000000", "f", "2")),
        ("arn:aws:lambda:eu-west-1:000000000000:function:f", None, ("000000000000", "f", None)),
        ("arn:aws:lambda:eu-west-1:000000000000:function:f:$LATEST", None, ("000000000000", "f", "$LATEST")),
    ],
)
async def test_functions_are_invoked_by_every_form_of_their_name(
    world: World, text: str, qualifier: str | None, expected: tuple[str, str, str | None]
) -> None:
    more = {"Qualifier": qualifier} if qualifier else {}
    answer = await world.call("lambda", "invoke", FunctionName=text, Payload=b'{"a": 1}', **more)
    assert answer["Payload"].read() == b'{"a": 1}'
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    assert "FunctionError" not in answer
    (invocation,) = world.road.invocations
    assert (invocation.account_id, invocation.function_name, invocation.qualifier) == expected
    assert invocation.request_id == answer["ResponseMetadata"]["RequestId"]


async def test_no_payload_is_an_empty_object(world: World) -> None:
    await world.call("lambda", "invoke", FunctionName="f")
    assert world.road.invocations[0].payload == b"{}"


async def test_a_failed_function_is_a_200_that_says_so_with_the_tail_of_its_log(world: World) -> None:
    answer = await world.call("lambda", "invoke", FunctionName="failing", LogType="Tail", ClientContext="eyJhIjoxfQ==")
    assert (answer["StatusCode"], answer["FunctionError"], answer["LogResult"]) == (200, "Unhandled", "dGhlIGxvZw==")
    assert answer["ResponseMetadata"]["HTTPHeaders"]["x-amzn-remapped-content-length"] == "0"
    assert world.road.invocations[0].client_context == '{"a":1}'


@pytest.mark.parametrize("operation", ["invoke", "invoke_with_response_stream"])
async def test_dry_run_resolves_and_does_not_invoke(world: World, operation: str) -> None:
    answer = await world.call("lambda", operation, FunctionName="f", InvocationType="DryRun")
    if "EventStream" in answer:
        answer["EventStream"].close()
    assert answer["StatusCode"] == 204
    assert world.road.invocations == []
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        await world.call("lambda", operation, FunctionName="missing", InvocationType="DryRun")


async def test_an_event_is_accepted_once_it_is_enqueued(world: World) -> None:
    answer = await world.call("lambda", "invoke", FunctionName="f", InvocationType="Event", Payload=b"1")
    assert answer["StatusCode"] == 202
    assert [i.payload for i in world.enqueued] == [b"1"]


@pytest.mark.parametrize(
    ("params", "code", "status", "message"),
    [
        ({"FunctionName": "missing"}, "ResourceNotFoundException", 404, "Function not found: arn:aws:lambda:eu-west-1:"),
        ({"FunctionName": "broken"}, "ServiceException", 500, "Internal Error"),
        ({"FunctionName": "f", "Payload": b"badbod"}, "InvalidRequestContentException", 400,
         "Could not parse request body into json: Could not parse payload into json: Unrecognized token 'badbod': "
         "was expecting (JSON String, Number, Array, Object or token 'null', 'true' or 'false')"),
        ({"FunctionName": "f", "Payload": b'"\x87"'}, "InvalidRequestContentException", 400,
         "Could not parse request body into json: Could not parse payload into json: Invalid UTF-8 start byte 0x87"),
        ({"FunctionName": "f", "Payload": b'{"a": 1'}, "InvalidRequestContentException", 400, "Could not parse request body"),
        ({"FunctionName": "f", "Payload": b"[" * 100_000}, "InvalidRequestContentException", 400, "Could not parse request body"),
        ({"FunctionName": "f", "Payload": b'"' + b"x" * 6_291_455 + b'"'}, "RequestEntityTooLargeException", 413,
         "Request must be smaller than 6291456 bytes for the InvokeFunction operation"),
        ({"FunctionName": "f", "ClientContext": "%%%"}, "InvalidRequestContentException", 400,
         "Client context must be a valid Base64-encoded JSON object."),
        ({"FunctionName": "f:1", "Qualifier": "2"}, "InvalidParameterValueException", 400, "The derived qualifier from"),
        ({"FunctionName": "arn:aws:lambda:us-west-2:000000000000:function:f"}, "ResourceNotFoundException", 404,
         "Functions from 'us-west-2' are not reachable in this region ('eu-west-1')"),
        ({"FunctionName": "f", "InvocationType": "Soon"}, "ValidationException", 400,
         "1 validation error detected: Value 'Soon' at 'invocationType' failed to satisfy constraint: "
         "Member must satisfy enum value set: [Event, RequestResponse, DryRun]"),
    ],
)  # fmt: skip
async def test_bad_invocations_are_refused_in_aws_words(
    world: World, params: dict[str, Any], code: str, status: int, message: str
) -> None:
    with pytest.raises(ClientError) as caught:
        await world.call("lambda", "invoke", **params)
    response = caught.value.response
    assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)
    assert response["Error"]["Message"].startswith(message)


async def test_six_megabytes_pass_both_ways(world: World) -> None:
    payload = b'"' + b"x" * 6_291_454 + b'"'
    answer = await world.call("lambda", "invoke", FunctionName="f", Payload=payload)
    assert await asyncio.to_thread(answer["Payload"].read) == payload


async def test_a_streamed_response_arrives_in_chunks_and_completes(world: World) -> None:
    def run() -> tuple[dict[str, Any], list[dict[str, Any]]]:
        answer = world.client("lambda").invoke_with_response_stream(FunctionName="streaming", LogType="Tail")
        return answer, list(answer["EventStream"])

    answer, events = await asyncio.to_thread(run)
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "7")
    assert [event["PayloadChunk"]["Payload"] for event in events[:-1]] == [b"one ", b"two ", b"three"]
    assert events[-1] == {"InvokeComplete": {"LogResult": "dGFpbA=="}}


async def test_a_stream_that_breaks_says_so_at_its_end(world: World) -> None:
    def run(name: str) -> list[dict[str, Any]]:
        return list(world.client("lambda").invoke_with_response_stream(FunctionName=name)["EventStream"])

    events = await asyncio.to_thread(run, "half")
    assert events[-1] == {"InvokeComplete": {"ErrorCode": "Runtime.Oops", "ErrorDetails": '{"why":1}'}}
    events = await asyncio.to_thread(run, "failing")
    assert events == [{"InvokeComplete": {"ErrorCode": "Unhandled", "ErrorDetails": '{"errorMessage":"no"}'}}]
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        await asyncio.to_thread(run, "missing")


async def test_a_function_that_does_not_stream_is_one_chunk(world: World) -> None:
    def run() -> list[dict[str, Any]]:
        answer = world.client("lambda").invoke_with_response_stream(FunctionName="f", Payload=b"[1]")
        return list(answer["EventStream"])

    assert await asyncio.to_thread(run) == [{"PayloadChunk": {"Payload": b"[1]"}}, {"InvokeComplete": {}}]


# Pages, browsers, strangers


async def test_health_names_services_and_version(world: World) -> None:
    for path in ("/_lambent/health", "/_localstack/health"):
        status, _, body = await world.fetch(path)
        health = json.loads(body)
        assert status == 200
        assert health["services"]["lambda"] == "running"
        assert health["version"]


async def test_a_browser_sees_a_page_and_an_sdk_does_not(world: World) -> None:
    status, headers, body = await world.fetch("/", headers={"Accept": "text/html,*/*"})
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b"Lambent" in body
    status, headers, _ = await world.fetch("/")
    assert (status, headers["content-type"]) == (200, "application/xml")


async def test_pages_of_this_machine_may_call_and_others_may_not(world: World) -> None:
    ask = {
        "Origin": "http://localhost:3000",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-a",
    }
    status, headers, _ = await world.fetch("/2015-03-31/functions/f/invocations", "OPTIONS", headers=ask)
    assert (status, headers["access-control-allow-origin"]) == (204, "http://localhost:3000")
    assert headers["access-control-allow-headers"] == "x-a"
    path = "/2015-03-31/functions/f/invocations"
    status, headers, _ = await world.fetch(path, "POST", b"1", {"Origin": "http://localhost:3000"})
    assert (status, headers["access-control-allow-origin"]) == (200, "http://localhost:3000")
    for origin in ("https://evil.example", "http://localhost.evil.example", "null"):
        status, _, _ = await world.fetch(path, "POST", b"1", {"Origin": origin})
        assert status == 403
    assert len(world.road.invocations) == 1


@pytest.mark.parametrize(
    ("path", "method", "headers", "status", "code"),
    [
        ("/no/such/../thing?x=1", "PATCH", {}, 404, b"UnknownOperationException"),
        ("/", "POST", {"X-Amz-Target": "Nobody_1.Does"}, 404, b"UnknownOperationException"),
        ("/", "POST", {"X-Amz-Target": "Logs_20140328.DoMagic"}, 404, b"UnknownOperationException"),
        ("/?Action=DoMagic&Version=2010-05-08", "GET", {}, 404, b"UnknownOperationException"),
        ("/2015-03-31/functions/f/magic", "POST", {"Host": "lambda.eu-west-1.amazonaws.com"}, 404, b"UnknownOperationException"),
        ("/_lambent/nothing", "GET", {}, 404, b"/_lambent/health"),
    ],
)  # fmt: skip
async def test_what_nobody_knows_gets_an_error_and_never_html(
    world: World, path: str, method: str, headers: dict[str, str], status: int, code: bytes
) -> None:
    answered, answer_headers, body = await world.fetch(path, method, b"{}" if method == "POST" else None, headers)
    assert answered == status
    assert code in body or code.decode() in answer_headers.get("x-amzn-errortype", "")
    assert b"<html" not in body


async def test_wrong_types_are_a_serialization_error(world: World) -> None:
    status, headers, body = await world.fetch(
        "/2015-03-31/functions",
        "POST",
        b'{"FunctionName": "f", "MemorySize": "big"}',
        {"Content-Type": "application/json"},
    )
    assert (status, headers["x-amzn-errortype"]) == (400, "SerializationException")
    assert json.loads(body)["message"] == "STRING_VALUE can not be converted to an Integer"


async def test_unsigned_requests_with_a_host_name_find_their_service_and_region(world: World) -> None:
    headers = {"Host": "logs.ap-southeast-2.amazonaws.com", "X-Amz-Target": "Logs_20140328.DescribeLogGroups"}
    status, _, _ = await world.fetch("/", "POST", b"{}", headers)
    assert status == 200
    assert world.services["logs"].asked[0][1].region == "ap-southeast-2"


@pytest.mark.parametrize("host", [None, "bucket.s3.localhost", "bucket.s3.eu-west-1.amazonaws.com"])
async def test_an_upload_by_a_form_is_told_that_it_is_not_built(world: World, strict: World, host: str | None) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=b"} | ({"Host": host} if host else {})
    for asked in (world, strict):
        status, _, body = await asked.fetch("/" if host else "/bucket", "POST", b"--b--\r\n", headers)
        assert (status, b"<Code>NotImplemented</Code>" in body) == (501, True), body
        assert b"not built" in body


async def test_asynchronous_invocation_without_a_queue_says_that_it_is_not_built() -> None:
    world, server, gateway = await started(enqueue=None)
    with pytest.raises(ClientError, match="not built"):
        await world.call("lambda", "invoke", FunctionName="f", InvocationType="Event")
    server.close()
    await gateway.close()


async def test_other_doors_are_found_by_host_and_by_path() -> None:
    def door(request: Any) -> None:
        request.respond(200, [], b"door " + request.target)

    world, server, gateway = await started(path_doors={"/_lambent/url/": door}, host_doors=[(".lambda-url.", door)])
    assert (await world.fetch("/_lambent/url/abc/x"))[2] == b"door /_lambent/url/abc/x"
    assert (await world.fetch("/y?z", headers={"Host": "abc.lambda-url.eu-west-1.localhost:1"}))[2] == b"door /y?z"
    server.close()
    await gateway.close()


# Signatures


async def test_signed_requests_of_every_kind_are_let_in(strict: World) -> None:
    await strict.call("lambda", "list_functions")
    await strict.call(
        "lambda", "tag_resource", Resource="arn:aws:lambda:eu-west-1:000000000000:function:f:$LATEST", Tags={"ü": "ü"}
    )
    await strict.call("lambda", "invoke", FunctionName="f:$LATEST", Payload=b"[1]", Qualifier="$LATEST")
    await strict.call("sqs", "send_message", QueueUrl=f"{strict.url}/q", MessageBody="Hello")
    await strict.call("sns", "publish", TopicArn="t", Message="m")
    await strict.call("s3", "put_object", Bucket="bkt", Key="a b/ü?.txt", Body=io.BytesIO(b"x" * 100_000))
    await strict.call("s3", "list_buckets")
    await strict.call("cloudwatch", "list_metrics")


@pytest.mark.parametrize(
    ("service", "method", "params", "missing", "unknown", "wrong"),
    [
        ("lambda", "list_functions", {}, "MissingAuthenticationTokenException", "UnrecognizedClientException",
         "InvalidSignatureException"),
        ("lambda", "invoke", {"FunctionName": "f"}, "MissingAuthenticationTokenException", "UnrecognizedClientException",
         "InvalidSignatureException"),
        ("sns", "publish", {"TopicArn": "t", "Message": "m"}, "MissingAuthenticationToken", "InvalidClientTokenId",
         "SignatureDoesNotMatch"),
        ("s3", "list_buckets", {}, "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"),
    ],
)  # fmt: skip
async def test_bad_signatures_are_refused_in_each_service_s_words(
    strict: World, service: str, method: str, params: dict[str, Any], missing: str, unknown: str, wrong: str
) -> None:
    clients = {
        missing: strict.client(service, signature_version=UNSIGNED),
        unknown: strict.client(service, key="AKIDNOBODY"),
        wrong: strict.client(service, secret="another"),
    }
    for code, client in clients.items():
        with pytest.raises(ClientError) as caught:
            await asyncio.to_thread(getattr(client, method), **params)
        assert caught.value.response["Error"]["Code"] == code
        assert caught.value.response["Error"]["Message"]
    assert strict.services[service].asked == []
    assert strict.road.invocations == []


async def test_a_presigned_address_opens_until_its_time_is_over(strict: World) -> None:
    url = strict.client("s3", signature_version="s3v4").generate_presigned_url("list_buckets", ExpiresIn=60)
    with await asyncio.to_thread(urlopen, UrlRequest(url)) as response:
        assert response.status == 200
    path = url.removeprefix(strict.url)
    status, _, body = await strict.fetch(path.replace("X-Amz-Expires=60", "X-Amz-Expires=61"))
    assert (status, b"SignatureDoesNotMatch" in body) == (403, True)


async def test_an_address_presigned_as_boto3_does_by_default_opens_s3_and_nothing_else(strict: World) -> None:
    url = strict.client("s3", signature_version="s3").generate_presigned_url("list_buckets", ExpiresIn=60)
    assert "AWSAccessKeyId=" in url
    with await asyncio.to_thread(urlopen, UrlRequest(url)) as response:
        assert response.status == 200
    path = url.removeprefix(strict.url)
    status, _, body = await strict.fetch(path.replace("Signature=", "Signature=x"))
    assert (status, b"SignatureDoesNotMatch" in body) == (403, True)
    status, _, body = await strict.fetch(path.replace("AWSAccessKeyId=", "AWSAccessKeyId=AKID"))
    assert (status, b"InvalidAccessKeyId" in body) == (403, True)
    status, _, body = await strict.fetch("/2015-03-31/functions" + path.lstrip("/"))
    assert (status, b"Missing Authentication Token" in body) == (403, True)


async def test_a_credential_for_another_service_does_not_open_this_one(strict: World) -> None:
    request = AWSRequest("GET", f"{strict.url}/2015-03-31/functions", headers={"Host": f"127.0.0.1:{strict.port}"})
    SigV4Auth(Credentials(KEY, SECRET), "s3", "eu-west-1").add_auth(request)
    headers = dict(request.headers.items()) | {"Host": "lambda.eu-west-1.amazonaws.com"}
    status, _, _ = await strict.fetch("/2015-03-31/functions", headers=headers)
    assert status == 403
    assert strict.services["lambda"].asked == []


@pytest.mark.parametrize(
    ("path", "headers", "code"),
    [
        ("/2015-03-31/functions/f/invocations", {}, b"InvokeFunction operation"),
        ("/2015-03-31/functions", {}, b"CreateFunction operation"),
        ("/", {"X-Amz-Target": "Logs_20140328.PutLogEvents"}, b"RequestEntityTooLargeException"),
    ],
)
async def test_bodies_that_are_too_large_are_refused_before_they_are_read(
    path: str, headers: dict[str, str], code: bytes
) -> None:
    world, server, gateway = await started()
    gateway.body_max_bytes = 1000
    status, _, body = await world.fetch(path, "POST", b"x" * 2000, headers)
    assert (status, code in body) == (413, True)
    server.close()
    await gateway.close()


async def test_a_functions_own_requests_are_of_its_account_and_region() -> None:
    calling = attrs.evolve(
        Resolver().resolve("000000000000", "us-east-1", "f", None, 0.0), account_id="123456789012", region="sa-east-1"
    )
    issued = IssuedCredentials(b"m" * 32)
    world, server, gateway = await started(calling, home=Home(account_of_key=issued.account_of))
    variables = issued.for_function(calling)
    client = world.client("lambda", variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"], "sa-east-1")
    await asyncio.to_thread(client.list_functions)
    await asyncio.to_thread(client.invoke, FunctionName="f")
    await world.fetch("/2015-03-31/functions")  # without any credentials
    await world.fetch("/2015-03-31/functions/f/invocations", "POST", b"{}")
    of_others = {"Authorization": f"AWS4-HMAC-SHA256 Credential={KEY}/20260731/eu-west-1/lambda/aws4_request, x"}
    await world.fetch("/2015-03-31/functions", headers=of_others)
    scopes = [(context.account_id, context.region) for _, context, _ in world.services["lambda"].asked]
    own = ("123456789012", "sa-east-1")
    assert scopes == [own, own, ("000000000000", "eu-west-1")]
    assert [(i.account_id, i.region) for i in world.road.invocations] == [own, own]
    server.close()
    await gateway.close()


async def test_the_server_says_which_account_and_region_are_its_own_and_more_about_itself() -> None:
    home = Home(account_id="111111111111", region="eu-central-1")
    world, server, gateway = await started(home=home, about=lambda: {"isolation": "root"})
    await world.fetch("/2015-03-31/functions")
    [(_, context, _)] = world.services["lambda"].asked
    assert (context.account_id, context.region) == ("111111111111", "eu-central-1")
    _, _, body = await world.fetch("/_lambent/health")
    assert json.loads(body)["isolation"] == "root"
    server.close()
    await gateway.close()


async def test_another_accounts_function_is_refused_by_its_arn(world: World) -> None:
    theirs = "arn:aws:lambda:eu-west-1:999999999999:function:f"
    with pytest.raises(ClientError) as refused:
        await world.call("lambda", "invoke", FunctionName=theirs)
    assert refused.value.response["Error"]["Code"] == "AccessDeniedException"
    assert world.road.invocations == []
    await world.call("lambda", "invoke", FunctionName=theirs.replace("999999999999", "000000000000"))
    assert len(world.road.invocations) == 1

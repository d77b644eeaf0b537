"""Which service, operation, account and region a request asks for."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest

from lambent.front.identify import Home, Identifier, host_parts, virtual_bucket
from lambent.wire.messages import WireRequest
from lambent.wire.models import Models

MODELS = Models()
IDENTIFIER = Identifier(MODELS)


def authorization(service: str, region: str = "eu-west-1", key: str = "AKID") -> str:
    return f"AWS4-HMAC-SHA256 Credential={key}/20260731/{region}/{service}/aws4_request, SignedHeaders=host, Signature={'0' * 64}"


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "expected"),
    [
        ("GET", "/2015-03-31/functions", {"authorization": authorization("lambda")}, "", ("rest-json", "lambda", "ListFunctions")),
        ("GET", "/2015-03-31/functions/", {}, "", ("rest-json", "lambda", "ListFunctions")),
        ("GET", "/2025-09-09/microvms", {"authorization": authorization("lambda")}, "", ("rest-json", "lambda-microvms", "ListMicrovms")),
        ("POST", "/", {"x-amz-target": "Logs_20140328.DescribeLogGroups"}, "{}", ("json", "logs", "DescribeLogGroups")),
        ("POST", "/", {"x-amz-target": "Timestream_20181101.Query"}, "{}", ("json", "timestream-query", "Query")),
        ("POST", "/", {"x-amz-target": "Timestream_20181101.WriteRecords"}, "{}", ("json", "timestream-write", "WriteRecords")),
        ("POST", "/", {"x-amz-target": "DynamoDBStreams_20120810.ListStreams", "authorization": authorization("dynamodb")}, "{}",
         ("json", "dynamodbstreams", "ListStreams")),
        ("POST", "/", {"x-amz-target": "GraniteServiceVersion20100801.ListMetrics"}, "{}", ("json", "cloudwatch", "ListMetrics")),
        ("POST", "/service/GraniteServiceVersion20100801/operation/ListMetrics", {"smithy-protocol": "rpc-v2-cbor"}, "",
         ("smithy-rpc-v2-cbor", "cloudwatch", "ListMetrics")),
        ("POST", "/", {"content-type": "application/x-www-form-urlencoded"},
         urlencode({"Action": "ListUsers", "Version": "2010-05-08"}), ("query", "iam", "ListUsers")),
        ("POST", "/", {"content-type": "application/x-www-form-urlencoded", "authorization": authorization("monitoring")},
         urlencode({"Action": "ListMetrics", "Version": "2010-08-01"}), ("query", "cloudwatch", "ListMetrics")),
        ("POST", "/", {"content-type": "application/x-www-form-urlencoded", "authorization": authorization("elasticloadbalancing")},
         urlencode({"Action": "DescribeTargetGroups", "Version": "2015-12-01"}), ("query", "elbv2", "DescribeTargetGroups")),
        ("POST", "/", {"content-type": "application/x-www-form-urlencoded"},
         urlencode({"Action": "DescribeVpcs", "Version": "2016-11-15"}), ("ec2", "ec2", "DescribeVpcs")),
        ("GET", "/v2/apis", {"authorization": authorization("apigateway")}, "", ("rest-json", "apigatewayv2", "GetApis")),
        ("GET", "/restapis", {"authorization": authorization("apigateway")}, "", ("rest-json", "apigateway", "GetRestApis")),
        ("GET", "/bucket/key", {"authorization": authorization("s3")}, "", ("rest-xml", "s3", "GetObject")),
        ("GET", "/bucket/key", {}, "", ("rest-xml", "s3", "GetObject")),
        ("GET", "/schedules", {"host": "scheduler.us-west-2.amazonaws.com"}, "", ("rest-json", "scheduler", "ListSchedules")),
        ("GET", "/nothing", {"authorization": authorization("lambda")}, "", ("rest-json", "lambda", None)),
        ("GET", "/nothing/../x", {"authorization": authorization("nosuch")}, "", ("rest-xml", "s3", "GetObject")),
    ],
)  # fmt: skip
def test_requests_say_what_they_ask_for(
    method: str, path: str, headers: dict[str, str], body: str, expected: tuple[str, str, str | None]
) -> None:
    asked = IDENTIFIER.identify(WireRequest(method=method, path=path, headers=headers, body=body.encode()))
    assert asked.service is not None
    assert (asked.protocol, asked.service.name, asked.operation.name if asked.operation else None) == expected


@pytest.mark.parametrize(
    ("headers", "query", "region", "account"),
    [
        ({"authorization": authorization("lambda", "ap-south-1")}, "", "ap-south-1", "000000000000"),
        ({"authorization": authorization("lambda", key="123456789012")}, "", "eu-west-1", "123456789012"),
        ({"authorization": authorization("lambda", "us-gov-west-1")}, "", "us-gov-west-1", "000000000000"),
        ({"authorization": authorization("lambda", "../../x")}, "", "us-east-1", "000000000000"),
        ({"authorization": "garbage"}, "", "us-east-1", "000000000000"),
        ({"authorization": "AWS 123456789012:signature"}, "", "us-east-1", "123456789012"),
        ({"host": "lambda.sa-east-1.amazonaws.com:443"}, "", "sa-east-1", "000000000000"),
        (
            {},
            "X-Amz-Credential=111122223333%2F20260731%2Fca-central-1%2Fs3%2Faws4_request",
            "ca-central-1",
            "111122223333",
        ),
    ],
)
def test_account_and_region_come_from_the_credential_else_from_the_host(
    headers: dict[str, str], query: str, region: str, account: str
) -> None:
    asked = IDENTIFIER.identify(WireRequest(method="GET", path="/2015-03-31/functions", headers=headers, query=query))
    assert (asked.region, asked.caller.account_id) == (region, account)


def test_the_short_cut_for_invoke_agrees() -> None:
    signed = authorization("lambda", key="123456789012").encode()
    assert IDENTIFIER.scope_of(signed, b"") == ("123456789012", "eu-west-1")
    assert IDENTIFIER.scope_of(authorization("lambda", "nowhere").encode(), b"") is None
    assert IDENTIFIER.scope_of(authorization("s3").encode(), b"") is None
    assert IDENTIFIER.scope_of(b"", b"") is None
    assert IDENTIFIER.scope_of(None, b"localhost:4566") == ("000000000000", "us-east-1")
    assert IDENTIFIER.scope_of(None, b"lambda.sa-east-1.amazonaws.com:443") == ("000000000000", "sa-east-1")


def test_what_a_request_does_not_say_is_the_servers_or_the_calling_functions() -> None:
    issued = {"AKIAISSUEDHERE": "999999999999"}
    identifier = Identifier(MODELS, Home(account_id="111111111111", region="eu-central-1", account_of_key=issued.get))

    def scopes(headers: dict[str, str], unsigned: tuple[str, str] | None = None) -> set[tuple[str, str]]:
        """By the long way and by the short one."""
        asked = identifier.identify(WireRequest(method="POST", path="/", headers=headers), unsigned)
        signed = headers["authorization"].encode() if "authorization" in headers else None
        short = identifier.scope_of(signed, headers.get("host", "").encode(), unsigned)
        return {(asked.caller.account_id, asked.region), short or ("", "")}

    calling = ("222222222222", "ap-south-1")
    assert scopes({}) == {("111111111111", "eu-central-1")}
    assert scopes({}, calling) == {calling}
    assert scopes({"host": "lambda.sa-east-1.localhost"}, calling) == {("222222222222", "sa-east-1")}
    test_key, issued_key = authorization("lambda", key="test"), authorization("lambda", key="AKIAISSUEDHERE")
    assert scopes({"authorization": test_key}, calling) == {("111111111111", "eu-west-1")}
    assert scopes({"authorization": issued_key}) == {("999999999999", "eu-west-1")}


@pytest.mark.parametrize(
    ("host", "parts"),
    [
        ("127.0.0.1:4566", (None, None)),
        ("localhost", (None, None)),
        ("lambda.eu-west-1.amazonaws.com", ("lambda", "eu-west-1")),
        ("api.ecr.eu-west-1.amazonaws.com:443", ("api.ecr", "eu-west-1")),
        ("sqs.us-east-1.localhost.localstack.cloud:4566", ("sqs", "us-east-1")),
        ("iam.amazonaws.com", ("iam", None)),
    ],
)
def test_host_names_are_taken_apart(host: str, parts: tuple[str | None, str | None]) -> None:
    assert host_parts(host) == parts


@pytest.mark.parametrize(
    ("host", "bucket"),
    [
        ("b.s3.localhost:4566", "b"),
        ("my.dotted.bucket.s3.eu-west-1.amazonaws.com", "my.dotted.bucket"),
        ("b.s3-eu-west-1.amazonaws.com", "b"),
        ("b.s3.localhost.localstack.cloud:4566", "b"),
        ("s3.localhost:4566", None),
        ("s3.eu-west-1.amazonaws.com", None),
        ("localhost:4566", None),
        ("abc.lambda-url.us-east-1.localhost:4566", None),
    ],
)
def test_buckets_are_found_in_host_names(host: str, bucket: str | None) -> None:
    assert virtual_bucket(host) == bucket


def test_only_twelve_digits_are_an_account() -> None:
    home = Home()
    assert home.account_of("123456789012") == "123456789012"
    assert {home.account_of(key) for key in ("AKID", "12345678901", "1234567890123", "١٢٣٤٥٦٧٨٩٠١٢x", None)} == {
        "000000000000"
    }

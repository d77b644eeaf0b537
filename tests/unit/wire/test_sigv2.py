"""Presigned addresses of S3 with Signature Version 2, as botocore makes them."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import attrs
import boto3
import pytest
from botocore.config import Config
from hypothesis import given
from hypothesis import strategies as st

from lambent.wire import sigv2
from lambent.wire.messages import WireRequest
from lambent.wire.sigv4 import Problem, SignatureProblem

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
KEY = "AKIAIOSFODNN7EXAMPLE"
HOST = "127.0.0.1:4566"


def address(operation: str, style: str = "path", token: str | None = None, **members: Any) -> WireRequest:
    client = boto3.client(
        "s3", region_name="us-east-1", endpoint_url=f"http://{'s3.localhost:4566' if style == 'virtual' else HOST}",
        aws_access_key_id=KEY, aws_secret_access_key=SECRET, aws_session_token=token,
        config=Config(signature_version="s3", s3={"addressing_style": style}),
    )  # fmt: skip
    method = "PUT" if operation == "put_object" else "GET"
    return request_of(client.generate_presigned_url(operation, Params=members, ExpiresIn=100), method)


def request_of(url: str, method: str = "GET", **headers: str) -> WireRequest:
    parts = urlsplit(url)
    return WireRequest(method=method, path=parts.path, query=parts.query, headers={"host": parts.netloc, **headers})


def check(request: WireRequest, secret: str = SECRET, late_s: float = -1, bucket: str | None = None) -> None:
    presigned = sigv2.parse(request)
    sigv2.verify(presigned, request, secret, presigned.expires_s + late_s, bucket)


def problem_of(request: WireRequest, **options: Any) -> Problem:
    with pytest.raises(SignatureProblem) as raised:
        check(request, **options)
    return raised.value.problem


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        ("get_object", {"Bucket": "b", "Key": "a key/with +&=%"}),
        ("get_object", {"Bucket": "b", "Key": "k", "VersionId": "v1", "ResponseContentType": "text/plain; a=b"}),
        ("put_object", {"Bucket": "b", "Key": "k", "ContentType": "image/png", "ACL": "private", "Metadata": {"x": "y"}}),
        ("list_objects_v2", {"Bucket": "b", "Prefix": "p/"}),
        ("list_buckets", {}),
        ("get_object_tagging", {"Bucket": "b", "Key": "k"}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("token", [None, "a+token/="])
def test_what_botocore_signs_is_accepted(operation: str, members: dict[str, Any], token: str | None) -> None:
    request = address(operation, token=token, **members)
    assert sigv2.is_presigned(request)
    assert sigv2.parse(request).access_key_id == KEY
    assert sigv2.parse(request).session_token == token
    check(request)
    assert problem_of(request, secret="another") is Problem.MISMATCH
    assert problem_of(request, late_s=1) is Problem.LAPSED


def test_a_bucket_in_the_hosts_name_is_signed_as_part_of_the_path() -> None:
    request = address("get_object", style="virtual", Bucket="photos", Key="k")
    assert request.headers["host"].startswith("photos.")
    check(request, bucket="photos")
    assert problem_of(request, bucket="other") is Problem.MISMATCH
    assert problem_of(request) is Problem.MISMATCH


SIGNED = address("get_object", Bucket="b", Key="k")


@pytest.mark.parametrize(
    "changed",
    [
        attrs.evolve(SIGNED, method="PUT"),
        attrs.evolve(SIGNED, path="/b/other"),
        attrs.evolve(SIGNED, query=f"{SIGNED.query}&acl"),
        attrs.evolve(SIGNED, query=f"{SIGNED.query}&legal-hold"),
        attrs.evolve(SIGNED, query=f"{SIGNED.query}&%61cl"),
        attrs.evolve(SIGNED, query=f"{SIGNED.query}&versionId=2"),
        attrs.evolve(SIGNED, query=f"{SIGNED.query}&x-amz-acl=public-read"),
        attrs.evolve(SIGNED, query=f"{SIGNED.query}&Expires=99999999999"),
        attrs.evolve(SIGNED, query=f"Expires=99999999999&{SIGNED.query}"),
        attrs.evolve(SIGNED, headers={**SIGNED.headers, "x-amz-copy-source": "/b/secret"}),
        attrs.evolve(SIGNED, headers={**SIGNED.headers, "content-type": "text/html"}),
    ],
)
def test_nothing_can_be_changed_or_added(changed: WireRequest) -> None:
    check(SIGNED)
    assert problem_of(changed, late_s=-50) is Problem.MISMATCH


@pytest.mark.parametrize("query", ["AWSAccessKeyId=a&Signature=b", "AWSAccessKeyId=a&Signature=b&Expires=soon"])
def test_an_address_without_its_end_is_incomplete(query: str) -> None:
    with pytest.raises(SignatureProblem) as raised:
        sigv2.parse(attrs.evolve(SIGNED, query=query))
    assert raised.value.problem is Problem.INCOMPLETE


@given(st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), max_size=80))
def test_no_query_does_anything_but_be_refused(query: str) -> None:
    request = attrs.evolve(SIGNED, query=f"AWSAccessKeyId=a&Signature=b&Expires=9&{query}")
    with pytest.raises(SignatureProblem):
        check(request, late_s=0)

"""S3 requests that mean one thing pass; those that a second reader could take for something else do not."""

from __future__ import annotations

import pytest

from lambent.front import unambiguous
from lambent.model.errors import AwsError
from lambent.wire.messages import WireRequest
from lambent.wire.models import Models

S3 = Models().service("s3")


def request(query: str = "", **headers: str) -> WireRequest:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return WireRequest(method="PUT", path="/b/k", query=query, headers=named, body=b"")


@pytest.mark.parametrize(
    ("operation", "query"),
    [
        ("PutObject", ""),
        ("PutObject", "x-id=PutObject&anything=else"),
        ("PutObject", "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0"),
        ("GetObject", "versionId=1&response-content-type=text%2Fplain"),
        ("PutObjectAcl", "acl&versionId=1"),
        ("ListObjectsV2", "list-type=2&prefix=a&delimiter=%2F"),
        ("UploadPart", "partNumber=1&uploadId=u"),
    ],
)
def test_a_request_with_only_its_own_parameters_passes(operation: str, query: str) -> None:
    unambiguous.check(S3.operation(operation), request(query))


@pytest.mark.parametrize(
    ("operation", "query", "named"),
    [
        ("PutObject", "acl", "acl"),
        ("PutObjectTagging", "tagging&acl", "acl, tagging"),
        ("GetObject", "policy", "policy"),
        ("GetObject", "versionId=1&versionId=2", "versionId"),
        ("PutObject", "uploadId=u", "uploadId"),
        ("ListObjectsV2", "list-type=2&versions", "list-type, versions"),
    ],
)
def test_parameters_of_another_operation_are_refused(operation: str, query: str, named: str) -> None:
    with pytest.raises(AwsError) as refused:
        unambiguous.check(S3.operation(operation), request(query))
    assert (refused.value.code, refused.value.message) == (
        "InvalidArgument",
        f"Conflicting query string parameters: {named}",
    )


def test_the_header_of_a_copy_belongs_to_copies() -> None:
    unambiguous.check(S3.operation("CopyObject"), request(x_amz_copy_source="a/b"))
    with pytest.raises(AwsError):
        unambiguous.check(S3.operation("PutObjectAcl"), request("acl", x_amz_copy_source="a/b"))

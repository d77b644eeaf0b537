"""Other AWS services as far as Lambda asks them about a function. Implements ports.Clients."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from lambent.model.errors import AwsError
from lambent.model.request import RequestContext

ANY_LAMBDA: Mapping[str, Any] = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"},
    ],
}


class FakeNeighbours:
    """What a test puts into it is there; nothing else is. `calls` has what was asked, in order."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.roles: dict[str, Any] = {}  # by name: the trust policy
        self.objects: dict[tuple[str, str, str | None], bytes] = {}  # by bucket, key and version
        self.bucket_regions: dict[str, str] = {}  # by name; S3 does not say it of others
        self.keys: dict[str, str] = {}  # by ARN: the key's state
        self.denied_keys: set[str] = set()
        self.subnets: dict[str, str] = {}  # the VPC of each
        self.groups: dict[str, str] = {}
        self.images: dict[tuple[str, str], str] = {}  # by repository and tag: the digest
        self.access_points: set[str] = set()
        self._data_keys: dict[bytes, tuple[bytes, str, Any]] = {}

    async def call(
        self, context: RequestContext, service: str, operation: str, request: Mapping[str, Any]
    ) -> dict[str, Any]:
        self.calls.append(f"{service}:{operation}")
        answers: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
            "iam:GetRole": self._role, "s3:HeadObject": self._head, "s3:GetObject": self._object,
            "s3:HeadBucket": lambda request: {"BucketRegion": self.bucket_regions.get(request["Bucket"])},
            "kms:DescribeKey": self._describe_key, "kms:GenerateDataKey": self._data_key, "kms:Decrypt": self._decrypt,
            "ec2:DescribeSubnets": self._subnets, "ec2:DescribeSecurityGroups": self._groups,
            "ecr:BatchGetImage": self._images, "efs:DescribeAccessPoints": self._access_point,
        }  # fmt: skip
        answer = answers.get(f"{service}:{operation}")
        if answer is None:
            raise AwsError("NotImplemented", f"{service} {operation}", 501)
        found = answer(request)
        if operation == "GetRole":
            found["Role"]["Arn"] = f"arn:aws:iam::{context.account_id}:role/{request['RoleName']}"
        return found

    def _role(self, request: Mapping[str, Any]) -> dict[str, Any]:
        if request["RoleName"] not in self.roles:
            raise AwsError("NoSuchEntity", f"The role with name {request['RoleName']} cannot be found.", 404)
        return {"Role": {"AssumeRolePolicyDocument": json.dumps(self.roles[request["RoleName"]])}}

    def _head(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return {"ContentLength": len(self._object(request)["Body"])}

    def _object(self, request: Mapping[str, Any]) -> dict[str, Any]:
        if not any(bucket == request["Bucket"] for bucket, _, _ in self.objects):
            raise AwsError("NoSuchBucket", "The specified bucket does not exist", 404)
        found = self.objects.get((request["Bucket"], request["Key"], request.get("VersionId")))
        if found is None:
            raise AwsError("NoSuchKey", "The specified key does not exist.", 404)
        return {"Body": found}

    def _describe_key(self, request: Mapping[str, Any]) -> dict[str, Any]:
        arn = request["KeyId"]
        if arn not in self.keys:
            raise AwsError("NotFoundException", f"Key '{arn}' does not exist", 400)
        return {"KeyMetadata": {"Arn": arn, "KeyState": self.keys[arn]}}

    def _data_key(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self._need_use(request["KeyId"])
        plain, wrapped = os.urandom(32), os.urandom(48)
        self._data_keys[wrapped] = (plain, request["KeyId"], request["EncryptionContext"])
        return {"Plaintext": plain, "CiphertextBlob": wrapped, "KeyId": request["KeyId"]}

    def _decrypt(self, request: Mapping[str, Any]) -> dict[str, Any]:
        plain, arn, encryption_context = self._data_keys[request["CiphertextBlob"]]
        self._need_use(arn)
        assert request["EncryptionContext"] == encryption_context
        return {"Plaintext": plain, "KeyId": arn}

    def _need_use(self, arn: str) -> None:
        if arn in self.denied_keys:
            raise AwsError("AccessDeniedException", "The caller is not allowed to use this key.", 400)

    def _subnets(self, request: Mapping[str, Any]) -> dict[str, Any]:
        for name in request["SubnetIds"]:
            if name not in self.subnets:
                raise AwsError("InvalidSubnetID.NotFound", f"The subnet ID '{name}' does not exist", 400)
        return {"Subnets": [{"SubnetId": name, "VpcId": self.subnets[name]} for name in request["SubnetIds"]]}

    def _groups(self, request: Mapping[str, Any]) -> dict[str, Any]:
        for name in request["GroupIds"]:
            if name not in self.groups:
                raise AwsError("InvalidGroup.NotFound", f"The security group '{name}' does not exist", 400)
        return {"SecurityGroups": [{"GroupId": name, "VpcId": self.groups[name]} for name in request["GroupIds"]]}

    def _images(self, request: Mapping[str, Any]) -> dict[str, Any]:
        (image,) = request["imageIds"]
        if not any(repository == request["repositoryName"] for repository, _ in self.images):
            raise AwsError("RepositoryNotFoundException", "The repository does not exist in the registry", 400)
        digest = image.get("imageDigest") or self.images.get((request["repositoryName"], image["imageTag"]))
        if digest not in self.images.values():
            return {"images": [], "failures": [{"imageId": image, "failureCode": "ImageNotFound"}]}
        return {"images": [{"imageId": {"imageDigest": digest}}], "failures": []}

    def _access_point(self, request: Mapping[str, Any]) -> dict[str, Any]:
        if request["AccessPointId"] not in self.access_points:
            raise AwsError("AccessPointNotFound", "The access point does not exist.", 404)
        return {"AccessPoints": [{"AccessPointId": request["AccessPointId"]}]}


def image_digest(content: str) -> str:
    return f"sha256:{hashlib.sha256(content.encode()).hexdigest()}"

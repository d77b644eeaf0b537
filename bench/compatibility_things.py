"""What belongs to other services and functions refer to: made where the server has the service, else only named."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

from botocore.exceptions import ClientError

from bench.compatibility_requests import ACCOUNT, BUCKET, IMAGE, QUEUE, REGION, ROLE, STREAM, package

# What a server answers that has not the service, or not all of it.
NOT_THERE = ("NotImplemented", "UnknownOperationException", "InternalFailure")
THERE_ALREADY = ("EntityAlreadyExists", "ResourceInUseException", "RepositoryAlreadyExistsException", "BucketAlreadyOwnedByYou",
                 "ResourceExistsException", "ImageAlreadyExistsException", "BucketAlreadyExists")  # fmt: skip
TRUST = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}

Things = dict[str, Any]
Connect = Callable[[str], Any]
"""A client of a service by its name, to be closed by whoever asked."""


def made_things(connect: Connect) -> Things:
    """By name; see `Maker.thing`."""
    things: Things = {
        "key": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/11111111-1111-1111-1111-111111111111",
        "vpc": {"SubnetIds": ["subnet-11111111"], "SecurityGroupIds": ["sg-11111111"]},
        "access point": f"arn:aws:elasticfilesystem:{REGION}:{ACCOUNT}:access-point/fsap-11111111111111111",
    }
    for make in (_roles, _queues, _stream, _key, _network, _files, _images, _objects):
        make(connect, things)
    return things


@contextlib.contextmanager
def _client(connect: Connect, service: str) -> Iterator[Any]:
    """Errors of services that are not there, or of things that are, end the block quietly."""
    client = connect(service)
    try:
        yield client
    except ClientError as error:
        if error.response["Error"]["Code"] not in (*NOT_THERE, *THERE_ALREADY):
            raise
    finally:
        client.close()


def _roles(connect: Connect, things: Things) -> None:
    for arn in (ROLE, f"{ROLE}-2"):
        with _client(connect, "iam") as iam:
            document = json.dumps({"Version": "2012-10-17", "Statement": [TRUST]})
            iam.create_role(RoleName=arn.rpartition("/")[2], AssumeRolePolicyDocument=document)


def _queues(connect: Connect, things: Things) -> None:
    with _client(connect, "sqs") as sqs:
        for arn in (QUEUE, f"{QUEUE}-x"):
            sqs.create_queue(QueueName=arn.rpartition(":")[2])


def _stream(connect: Connect, things: Things) -> None:
    with _client(connect, "kinesis") as kinesis:
        kinesis.create_stream(StreamName=STREAM.rpartition("/")[2], ShardCount=1)


def _key(connect: Connect, things: Things) -> None:
    with _client(connect, "kms") as kms:
        things["key"] = kms.create_key()["KeyMetadata"]["Arn"]


def _network(connect: Connect, things: Things) -> None:
    with _client(connect, "ec2") as ec2:
        vpc_id = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        subnet = ec2.create_subnet(VpcId=vpc_id, CidrBlock="10.0.1.0/24")["Subnet"]
        group = ec2.create_security_group(GroupName="compatibility", Description="compatibility", VpcId=vpc_id)
        things["vpc"] = {"SubnetIds": [subnet["SubnetId"]], "SecurityGroupIds": [group["GroupId"]]}
        things["subnet"] = subnet["SubnetId"]


def _files(connect: Connect, things: Things) -> None:
    with _client(connect, "efs") as efs:
        system = efs.create_file_system(CreationToken="compatibility")
        if "subnet" in things:
            efs.create_mount_target(FileSystemId=system["FileSystemId"], SubnetId=things["subnet"])
        point = efs.create_access_point(ClientToken="compatibility", FileSystemId=system["FileSystemId"])
        things["access point"] = point["AccessPointArn"]


def _images(connect: Connect, things: Things) -> None:
    with _client(connect, "ecr") as ecr:
        repository, _, tag = IMAGE.rpartition("/")[2].partition(":")
        ecr.create_repository(repositoryName=repository)
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "layers": [],
        }
        config = {
            "mediaType": "application/vnd.docker.container.image.v1+json",
            "size": 2,
            "digest": f"sha256:{'a' * 64}",
        }
        ecr.put_image(repositoryName=repository, imageManifest=json.dumps({**manifest, "config": config}), imageTag=tag)


def _objects(connect: Connect, things: Things) -> None:
    with _client(connect, "s3") as s3:
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        first = s3.put_object(Bucket=BUCKET, Key="key", Body=package("handler = max\n"))
        things["object version"] = first.get("VersionId")
        s3.put_object(Bucket=BUCKET, Key="key", Body=package("handler = min\n"))

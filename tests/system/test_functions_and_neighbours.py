"""Functions and the services that they are made of: S3, IAM, KMS, EC2 and ECR of one real server."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from live_server import RUNNING_PYTHON, LiveServer, package, until

ACCOUNT, REGION = "202020202020", "eu-west-1"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/"
VARIABLES = "import os\ndef handler(event, context):\n    return os.environ.get('MY_COLOUR')\n"
Client = Callable[[str], Any]


@pytest.fixture(scope="module")
def client(live: LiveServer) -> Client:
    made: dict[str, Any] = {}

    def of(service: str) -> Any:
        if service not in made:
            made[service] = boto3.client(
                service, endpoint_url=live.url, region_name=REGION, aws_access_key_id=ACCOUNT,
                aws_secret_access_key="any", config=Config(retries={"total_max_attempts": 1}),
            )  # fmt: skip
        return made[service]

    return of


def create(client: Client, name: str, **members: Any) -> dict[str, Any]:
    request = {
        "Runtime": RUNNING_PYTHON, "Handler": "app.handler", "Role": f"{ROLE}unknown",
        "Code": {"ZipFile": package({"app.py": VARIABLES})},
    } | members  # fmt: skip
    answer: dict[str, Any] = client("lambda").create_function(
        FunctionName=name, **{member: value for member, value in request.items() if value is not None}
    )
    client("lambda").get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    return answer


def invoked(client: Client, name: str) -> Any:
    return json.loads(client("lambda").invoke(FunctionName=name)["Payload"].read())


def environment(client: Client, name: str) -> dict[str, Any]:
    shown: dict[str, Any] = client("lambda").get_function_configuration(FunctionName=name)["Environment"]
    return shown


def refused(attempt: Callable[..., Any], **members: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as raised:
        attempt(**members)
    return raised.value.response["Error"]["Code"], raised.value.response["Error"]["Message"]


def test_code_runs_from_a_version_of_an_object(client: Client) -> None:
    s3 = client("s3")
    s3.create_bucket(Bucket="neighbours-code", CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_bucket_versioning(Bucket="neighbours-code", VersioningConfiguration={"Status": "Enabled"})
    sources = [f"def handler(event, context):\n    return {number}\n" for number in (1, 2)]
    versions = [
        s3.put_object(Bucket="neighbours-code", Key="code.zip", Body=package({"app.py": source}))["VersionId"]
        for source in sources
    ]
    place = {"S3Bucket": "neighbours-code", "S3Key": "code.zip"}
    create(client, "from-s3", Code={**place, "S3ObjectVersion": versions[0]})
    assert invoked(client, "from-s3") == 1
    client("lambda").update_function_code(FunctionName="from-s3", **place)
    client("lambda").get_waiter("function_updated_v2").wait(FunctionName="from-s3", WaiterConfig={"Delay": 1})
    assert invoked(client, "from-s3") == 2
    assert refused(client("lambda").update_function_code, FunctionName="from-s3", S3Bucket="neighbours-code", S3Key="no") == (
        "InvalidParameterValueException",
        "Error occurred while GetObject. S3 Error Code: NoSuchKey. S3 Error Message: The specified key does not exist.",
    )  # fmt: skip


def test_a_role_that_iam_knows_must_trust_lambda(client: Client) -> None:
    trust = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    }
    client("iam").create_role(RoleName="known", AssumeRolePolicyDocument=json.dumps(trust))
    attempt = {"Runtime": RUNNING_PYTHON, "Handler": "app.handler", "Role": f"{ROLE}known",
               "Code": {"ZipFile": package({"app.py": VARIABLES})}}  # fmt: skip
    assert refused(client("lambda").create_function, FunctionName="with-role", **attempt) == (
        "InvalidParameterValueException", "The role defined for the function cannot be assumed by Lambda.",
    )  # fmt: skip
    document = json.dumps(trust).replace("ec2", "lambda")
    client("iam").update_assume_role_policy(RoleName="known", PolicyDocument=document)
    assert create(client, "with-role", Role=f"{ROLE}known")["Role"] == f"{ROLE}known"


def test_variables_are_the_customers_keys_to_open(client: Client) -> None:
    key = client("kms").create_key()["KeyMetadata"]
    create(client, "with-key", Environment={"Variables": {"MY_COLOUR": "blue"}}, KMSKeyArn=key["Arn"])
    assert invoked(client, "with-key") == "blue"
    client("kms").disable_key(KeyId=key["Arn"])
    shown = until(lambda: environment(client, "with-key").get("Error"), timeout_s=30.0)
    assert shown["ErrorCode"] == "KMSDisabledException"
    source = VARIABLES.replace("MY_COLOUR'", "MY_COLOUR', 'none'")  # environments that are warm have their variables
    client("lambda").update_function_code(FunctionName="with-key", ZipFile=package({"app.py": source}))
    client("lambda").get_waiter("function_updated_v2").wait(FunctionName="with-key", WaiterConfig={"Delay": 1})
    code, message = refused(client("lambda").invoke, FunctionName="with-key")
    assert code == "KMSDisabledException"
    assert message.startswith(
        "Lambda was unable to decrypt the environment variables because the KMS key used is disabled."
    )
    client("kms").enable_key(KeyId=key["KeyId"])
    assert invoked(client, "with-key") == "blue"


def test_a_network_is_checked_and_gives_the_function_its_vpc(client: Client) -> None:
    ec2 = client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="functions", Description="-", VpcId=vpc)["GroupId"]
    created = create(client, "in-vpc", VpcConfig={"SubnetIds": [subnet], "SecurityGroupIds": [group]})
    assert created["VpcConfig"]["VpcId"] == vpc
    code, message = refused(
        client("lambda").update_function_configuration, FunctionName="in-vpc",
        VpcConfig={"SubnetIds": ["subnet-01234567"], "SecurityGroupIds": [group]},
    )  # fmt: skip
    assert (code, message) == (
        "InvalidParameterValueException",
        "Error occurred while DescribeSubnets. EC2 Error Code: InvalidSubnetID.NotFound. "
        "EC2 Error Message: The subnet ID 'subnet-01234567' does not exist",
    )


def test_a_file_system_needs_a_network_and_an_access_point_that_is_there(client: Client) -> None:
    ec2, efs = client("ec2"), client("efs")
    vpc = ec2.create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.1.1.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="files", Description="-", VpcId=vpc)["GroupId"]
    network = {"VpcConfig": {"SubnetIds": [subnet], "SecurityGroupIds": [group]}}
    file_system = efs.create_file_system(CreationToken="files")["FileSystemId"]
    arn = efs.create_access_point(ClientToken="point", FileSystemId=file_system)["AccessPointArn"]
    mount = {"Arn": arn, "LocalMountPath": "/mnt/data"}
    create(client, "with-files")
    update = client("lambda").update_function_configuration
    assert refused(update, FunctionName="with-files", FileSystemConfigs=[mount]) == (
        "InvalidParameterValueException",
        f"Function must be configured to execute in a VPC to reference access point {arn}",
    )
    code, _ = refused(
        update, FunctionName="with-files", FileSystemConfigs=[{**mount, "Arn": f"{arn[:-17]}{'f' * 17}"}], **network
    )
    assert code == "InvalidParameterValueException"
    assert update(FunctionName="with-files", FileSystemConfigs=[mount], **network)["FileSystemConfigs"] == [mount]


def test_an_image_is_resolved_and_not_yet_run(client: Client) -> None:
    client("ecr").create_repository(repositoryName="team/app")
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json", "layers": [],
                "config": {"mediaType": "x", "size": 1, "digest": f"sha256:{'0' * 64}"}}  # fmt: skip
    put = client("ecr").put_image(repositoryName="team/app", imageManifest=json.dumps(manifest), imageTag="v1")
    digest = put["image"]["imageId"]["imageDigest"]
    uri = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/team/app"
    image = {"PackageType": "Image", "Runtime": None, "Handler": None}
    created = create(client, "image", **image, Code={"ImageUri": f"{uri}:v1"})
    assert created["CodeSha256"] == digest.removeprefix("sha256:")
    assert client("lambda").get_function(FunctionName="image")["Code"] == {
        "RepositoryType": "ECR", "ImageUri": f"{uri}:v1", "ResolvedImageUri": f"{uri}@{digest}",
    }  # fmt: skip
    assert refused(client("lambda").invoke, FunctionName="image")[0] == "InvalidRuntimeException"
    request = {"PackageType": "Image", "Role": f"{ROLE}unknown", "Code": {"ImageUri": f"{uri}:v2"}}
    assert refused(client("lambda").create_function, FunctionName="other", **request) == (
        "InvalidParameterValueException", f"Source image {uri}:v2 does not exist. Provide a valid source image.",
    )  # fmt: skip

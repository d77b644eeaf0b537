"""Each neighbour's usual life through boto3: what is made, how it is seen again, how it is taken away."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import attrs
from botocore.exceptions import ClientError

Client = Callable[[str], Any]
"""A boto3 client by service name."""

TRUST: Final = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
)
POLICY: Final = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
)
BASIC: Final = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
PASS: Final = json.dumps({"StartAt": "A", "States": {"A": {"Type": "Pass", "End": True}}})
KEY: Final = {
    "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}, {"AttributeName": "at", "KeyType": "RANGE"}],
    "AttributeDefinitions": [
        {"AttributeName": "id", "AttributeType": "S"}, {"AttributeName": "at", "AttributeType": "N"},
    ],
    "BillingMode": "PAY_PER_REQUEST",
}  # fmt: skip
LARGE: Final = b"0123456789abcdef" * 65_536  # 1 MiB: in a file of its own
SMALL: Final = b"hello"


@attrs.frozen
class Life:
    """`make` gives what `see` compares with; `see` gives the same before and after; `remove` leaves nothing behind."""

    name: str
    make: Callable[[Client], Any]
    see: Callable[[Client, Any], Any]
    remove: Callable[[Client, Any], Any]
    gone: str  # the error's code when it is looked for afterwards


def _iam_make(client: Client) -> Any:
    iam = client("iam")
    iam.create_user(UserName="ann")
    key = iam.create_access_key(UserName="ann")["AccessKey"]
    iam.put_user_policy(UserName="ann", PolicyName="own", PolicyDocument=POLICY)
    role = iam.create_role(RoleName="runner", AssumeRolePolicyDocument=TRUST)["Role"]
    iam.attach_role_policy(RoleName="runner", PolicyArn=BASIC)
    policy = iam.create_policy(PolicyName="files", PolicyDocument=POLICY)["Policy"]
    return {"key": key["AccessKeyId"], "role": role["RoleId"], "policy": policy["Arn"]}


def _iam_see(client: Client, made: Any) -> Any:
    iam = client("iam")
    return (
        [key["AccessKeyId"] for key in iam.list_access_keys(UserName="ann")["AccessKeyMetadata"]] == [made["key"]],
        iam.get_role(RoleName="runner")["Role"]["RoleId"] == made["role"],
        [p["PolicyArn"] for p in iam.list_attached_role_policies(RoleName="runner")["AttachedPolicies"]],
        iam.get_user_policy(UserName="ann", PolicyName="own")["PolicyDocument"],
        iam.get_policy(PolicyArn=made["policy"])["Policy"]["PolicyName"],
    )


def _iam_remove(client: Client, made: Any) -> Any:
    iam = client("iam")
    iam.detach_role_policy(RoleName="runner", PolicyArn=BASIC)
    iam.delete_role(RoleName="runner")
    iam.delete_policy(PolicyArn=made["policy"])
    return lambda: iam.get_role(RoleName="runner")


def _kms_see(client: Client, made: Any) -> Any:
    kms = client("kms")
    message, _ = made["signed"]
    verified = kms.verify(
        KeyId=made["rsa"], Message=message, Signature=made["signed"][1], SigningAlgorithm="RSASSA_PSS_SHA_256"
    )
    return kms.decrypt(CiphertextBlob=made["secret"])["Plaintext"], verified["SignatureValid"]


def _kms_make(client: Client) -> Any:
    kms = client("kms")
    key = kms.create_key(Description="ours")["KeyMetadata"]["KeyId"]
    rsa = kms.create_key(KeyUsage="SIGN_VERIFY", KeySpec="RSA_2048")["KeyMetadata"]["KeyId"]
    signed = kms.sign(KeyId=rsa, Message=b"m", SigningAlgorithm="RSASSA_PSS_SHA_256")["Signature"]
    secret = kms.encrypt(KeyId=key, Plaintext=b"plain")["CiphertextBlob"]
    return {"key": key, "rsa": rsa, "secret": secret, "signed": (b"m", signed)}


def _s3_make(client: Client) -> Any:
    s3 = client("s3")
    s3.create_bucket(Bucket="lives-photos")
    s3.put_bucket_versioning(Bucket="lives-photos", VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket="lives-photos", Key="a/ü b.txt", Body=SMALL, Metadata={"who": "ann"})
    s3.put_object(Bucket="lives-photos", Key="large", Body=LARGE)
    first = s3.put_object(Bucket="lives-photos", Key="twice", Body=b"1")["VersionId"]
    s3.put_object(Bucket="lives-photos", Key="twice", Body=b"2")
    s3.put_object_tagging(Bucket="lives-photos", Key="large", Tagging={"TagSet": [{"Key": "k", "Value": "v"}]})
    upload = s3.create_multipart_upload(Bucket="lives-photos", Key="parts")["UploadId"]
    part = s3.upload_part(Bucket="lives-photos", Key="parts", UploadId=upload, PartNumber=1, Body=LARGE)["ETag"]
    s3.put_object(Bucket="lives-photos", Key="deleted", Body=SMALL)
    s3.delete_object(Bucket="lives-photos", Key="deleted")
    return {"first": first, "upload": upload, "part": part}


def _s3_see(client: Client, made: Any) -> Any:
    s3 = client("s3")
    small = s3.get_object(Bucket="lives-photos", Key="a/ü b.txt")
    return (
        small["Body"].read(), small["Metadata"],
        s3.get_object(Bucket="lives-photos", Key="large")["Body"].read() == LARGE,
        s3.get_object(Bucket="lives-photos", Key="twice")["Body"].read(),
        s3.get_object(Bucket="lives-photos", Key="twice", VersionId=made["first"])["Body"].read(),
        s3.get_object_tagging(Bucket="lives-photos", Key="large")["TagSet"],
        [part["ETag"] for part in s3.list_parts(Bucket="lives-photos", Key="parts", UploadId=made["upload"])["Parts"]],
        [found["Key"] for found in s3.list_objects_v2(Bucket="lives-photos")["Contents"]],
    )  # fmt: skip


def _s3_remove(client: Client, made: Any) -> Any:
    s3 = client("s3")
    s3.complete_multipart_upload(
        Bucket="lives-photos", Key="parts", UploadId=made["upload"],
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": made["part"]}]},
    )  # fmt: skip
    assert s3.get_object(Bucket="lives-photos", Key="parts")["Body"].read() == LARGE
    found = s3.list_object_versions(Bucket="lives-photos")
    for version in found["Versions"] + found.get("DeleteMarkers", []):
        s3.delete_object(Bucket="lives-photos", Key=version["Key"], VersionId=version["VersionId"])
    s3.delete_bucket(Bucket="lives-photos")
    return lambda: s3.list_objects_v2(Bucket="lives-photos")


def _table_make(client: Client) -> Any:
    db = client("dynamodb")
    db.create_table(TableName="lives", **KEY)
    for number in range(3):
        item = {"id": {"S": "x"}, "at": {"N": str(number)}, "n": {"N": "1"}}
        db.put_item(TableName="lives", Item=item)
    key = {"id": {"S": "x"}, "at": {"N": "1"}}
    db.update_item(
        TableName="lives", Key=key, UpdateExpression="SET n = n + :d", ExpressionAttributeValues={":d": {"N": "41"}}
    )
    db.delete_item(TableName="lives", Key={"id": {"S": "x"}, "at": {"N": "2"}})
    db.transact_write_items(
        TransactItems=[{"Put": {"TableName": "lives", "Item": {"id": {"S": "y"}, "at": {"N": "0"}}}}]
    )
    db.batch_write_item(
        RequestItems={"lives": [{"PutRequest": {"Item": {"id": {"S": "z"}, "at": {"N": "0"}, "b": {"B": b"\0\1"}}}}]}
    )


def _table_see(client: Client, _: Any) -> Any:
    db = client("dynamodb")
    found = db.scan(TableName="lives")["Items"]
    return db.describe_table(TableName="lives")["Table"]["CreationDateTime"], sorted(found, key=str)


def _table_remove(client: Client, _: Any) -> Any:
    db = client("dynamodb")
    db.delete_table(TableName="lives")
    return lambda: db.describe_table(TableName="lives")


def _network_make(client: Client) -> Any:
    ec2 = client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.1.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="g", Description="d", VpcId=vpc)["GroupId"]
    return {"vpc": vpc, "subnet": subnet, "group": group}


def _network_see(client: Client, made: Any) -> Any:
    ec2 = client("ec2")
    return (
        ec2.describe_subnets(SubnetIds=[made["subnet"]])["Subnets"][0]["VpcId"] == made["vpc"],
        ec2.describe_security_groups(GroupIds=[made["group"]])["SecurityGroups"][0]["GroupName"],
    )


def _network_remove(client: Client, made: Any) -> Any:
    ec2 = client("ec2")
    ec2.delete_security_group(GroupId=made["group"])
    ec2.delete_subnet(SubnetId=made["subnet"])
    ec2.delete_vpc(VpcId=made["vpc"])
    return lambda: ec2.describe_vpcs(VpcIds=[made["vpc"]])


def _files_make(client: Client) -> Any:
    efs = client("efs")
    made = efs.create_file_system(CreationToken="lives")["FileSystemId"]
    point = efs.create_access_point(ClientToken="lives", FileSystemId=made)["AccessPointId"]
    return {"fs": made, "point": point}


def _files_remove(client: Client, made: Any) -> Any:
    efs = client("efs")
    efs.delete_access_point(AccessPointId=made["point"])
    efs.delete_file_system(FileSystemId=made["fs"])
    return lambda: efs.describe_file_systems(FileSystemId=made["fs"])


def _machine_make(client: Client) -> Any:
    sfn = client("stepfunctions")
    role = "arn:aws:iam::000000000000:role/any"
    arn = sfn.create_state_machine(name="lives", definition=PASS, roleArn=role)["stateMachineArn"]
    return {"arn": arn, "execution": sfn.start_execution(stateMachineArn=arn, input='{"a": 1}')["executionArn"]}


def _machine_see(client: Client, made: Any) -> Any:
    sfn = client("stepfunctions")
    listed = sfn.list_executions(stateMachineArn=made["arn"])["executions"]
    return (
        sfn.describe_state_machine(stateMachineArn=made["arn"])["definition"],
        [found["executionArn"] for found in listed] == [made["execution"]],
    )


def _machine_remove(client: Client, made: Any) -> Any:
    sfn = client("stepfunctions")
    sfn.delete_state_machine(stateMachineArn=made["arn"])
    return lambda: sfn.describe_state_machine(stateMachineArn=made["arn"])


def _simple(
    name: str, service: str, make: tuple[str, dict[str, Any]], found: str, see: tuple[str, dict[str, Any]],
    remove: tuple[str, dict[str, Any]], gone: str, within: str = "",
) -> Life:  # fmt: skip
    """One resource, seen as it was made. Arguments that are functions are given what was made."""

    def told(arguments: dict[str, Any], made: Any) -> dict[str, Any]:
        return {key: value(made) if callable(value) else value for key, value in arguments.items()}

    def making(client: Client) -> Any:
        answer = getattr(client(service), make[0])(**make[1])
        answer.pop("ResponseMetadata")
        return answer[within] if within else answer

    def seeing(client: Client, made: Any) -> Any:
        answer = getattr(client(service), see[0])(**told(see[1], made))
        for part in found.split("."):
            answer = answer[int(part)] if part.isdecimal() else answer[part]
        return answer

    def removing(client: Client, made: Any) -> Any:
        getattr(client(service), remove[0])(**told(remove[1], made))
        return lambda: getattr(client(service), see[0])(**told(see[1], made))

    return Life(name, making, seeing, removing, gone)


def _of(name: str) -> Callable[[Any], Any]:
    return lambda made: made[name]


LIVES: Final = [
    Life("iam", _iam_make, _iam_see, _iam_remove, "NoSuchEntity"),
    Life("kms", _kms_make, _kms_see, lambda client, made: lambda: client("kms").describe_key(KeyId="alias/none"),
         "NotFoundException"),
    Life("s3", _s3_make, _s3_see, _s3_remove, "NoSuchBucket"),
    Life("dynamodb", _table_make, _table_see, _table_remove, "ResourceNotFoundException"),
    Life("ec2", _network_make, _network_see, _network_remove, "InvalidVpcID.NotFound"),
    Life("efs", _files_make,
         lambda client, made: client("efs").describe_access_points(AccessPointId=made["point"])["AccessPoints"][0][
             "AccessPointArn"],
         _files_remove, "FileSystemNotFound"),
    Life("stepfunctions", _machine_make, _machine_see, _machine_remove, "StateMachineDoesNotExist"),
    _simple("ssm", "ssm", ("put_parameter", {"Name": "/lives/a", "Value": "1", "Type": "SecureString"}),
            "Parameter.Value", ("get_parameter", {"Name": "/lives/a", "WithDecryption": True}),
            ("delete_parameter", {"Name": "/lives/a"}), "ParameterNotFound"),
    _simple("secretsmanager", "secretsmanager", ("create_secret", {"Name": "lives", "SecretString": "s"}),
            "SecretString", ("get_secret_value", {"SecretId": "lives"}),
            ("delete_secret", {"SecretId": "lives", "ForceDeleteWithoutRecovery": True}), "ResourceNotFoundException"),
    _simple("ecr", "ecr", ("create_repository", {"repositoryName": "lives"}), "repositories.0.repositoryUri",
            ("describe_repositories", {"repositoryNames": ["lives"]}), ("delete_repository", {"repositoryName": "lives"}),
            "RepositoryNotFoundException"),
    _simple("cognito-idp", "cognito-idp", ("create_user_pool", {"PoolName": "lives"}), "UserPool.Name",
            ("describe_user_pool", {"UserPoolId": _of("Id")}), ("delete_user_pool", {"UserPoolId": _of("Id")}),
            "ResourceNotFoundException", "UserPool"),
    _simple("cognito-identity", "cognito-identity",
            ("create_identity_pool", {"IdentityPoolName": "lives", "AllowUnauthenticatedIdentities": True}),
            "IdentityPoolName", ("describe_identity_pool", {"IdentityPoolId": _of("IdentityPoolId")}),
            ("delete_identity_pool", {"IdentityPoolId": _of("IdentityPoolId")}), "ResourceNotFoundException"),
    _simple("apigateway", "apigateway", ("create_rest_api", {"name": "lives"}), "name",
            ("get_rest_api", {"restApiId": _of("id")}), ("delete_rest_api", {"restApiId": _of("id")}),
            "NotFoundException"),
    _simple("apigatewayv2", "apigatewayv2", ("create_api", {"Name": "lives", "ProtocolType": "HTTP"}), "Name",
            ("get_api", {"ApiId": _of("ApiId")}), ("delete_api", {"ApiId": _of("ApiId")}), "NotFoundException"),
    _simple("elbv2", "elbv2",
            ("create_target_group", {"Name": "lives", "TargetType": "lambda"}), "TargetGroups.0.TargetGroupName",
            ("describe_target_groups", {"TargetGroupArns": lambda made: [made["TargetGroups"][0]["TargetGroupArn"]]}),
            ("delete_target_group", {"TargetGroupArn": lambda made: made["TargetGroups"][0]["TargetGroupArn"]}),
            "TargetGroupNotFound"),
]  # fmt: skip


def code_of(call: Callable[[], Any]) -> str:
    """The code of the error that a call ends with."""
    try:
        answer = call()
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    raise AssertionError(f"there is still {answer!r}")

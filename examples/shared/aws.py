"""What the examples have in common when they set something up with boto3, at Lambent or at AWS.

Everything is made if it is not there and brought up to date if it is, so that an example can be run again.
"""

import argparse
import io
import json
import os
import time
import zipfile

import boto3
from botocore.exceptions import ClientError

SOON_S = 60


class Place:
    """Where an example is set up: clients by the service's name, and the account's number."""

    def __init__(self, description):
        parser = argparse.ArgumentParser(description=description)
        parser.add_argument("--aws", action="store_true", help="set it up at AWS, with your own credentials and region")
        parser.add_argument("--remove", action="store_true", help="remove what the example has made")
        options = parser.parse_args()
        self.is_aws, self.remove = options.aws, options.remove
        if not self.is_aws:
            os.environ.setdefault("AWS_ENDPOINT_URL", f"http://127.0.0.1:{os.environ.get('LAMBENT_PORT', '4566')}")
            os.environ.setdefault("AWS_ACCESS_KEY_ID", "test")
            os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "test")
            os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")
        self._session = boto3.Session()
        self._clients = {}
        self.account = self("sts").get_caller_identity()["Account"]

    def __call__(self, service):
        if service not in self._clients:
            self._clients[service] = self._session.client(service)
        return self._clients[service]

    @property
    def region(self):
        return self._session.region_name

    @property
    def endpoint(self):
        """Of Lambent; None at AWS."""
        return None if self.is_aws else os.environ["AWS_ENDPOINT_URL"]


def unless(code, call, **members):
    """What the call answers, or None when the service answers with that error code."""
    try:
        return call(**members)
    except ClientError as error:
        if error.response["Error"]["Code"] != code:
            raise
        return None


def until(condition, what):
    """The condition's first true value."""
    deadline = time.monotonic() + SOON_S
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise SystemExit(f"{what}: not after {SOON_S} s. The function's log may say why.")
        time.sleep(0.1)
    return value


def role(aws, name, statements):
    """An execution role that may do what the statements say, and write its log. Returns its ARN."""
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    write_log = {"Effect": "Allow", "Action": "logs:*", "Resource": "*"}
    unless(
        "EntityAlreadyExists", aws("iam").create_role, RoleName=name,
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
    )  # fmt: skip
    policy = {"Version": "2012-10-17", "Statement": [write_log, *statements]}
    aws("iam").put_role_policy(RoleName=name, PolicyName="example", PolicyDocument=json.dumps(policy))
    return aws("iam").get_role(RoleName=name)["Role"]["Arn"]


def remove_role(aws, name):
    unless("NoSuchEntity", aws("iam").delete_role_policy, RoleName=name, PolicyName="example")
    unless("NoSuchEntity", aws("iam").delete_role, RoleName=name)


def package(*files):
    """A deployment package or a layer: pairs of a name in it and the file's path."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in files:
            archive.write(path, name)
    return out.getvalue()


def function(aws, name, code, **configuration):
    """A function that is ready to be called. Returns its ARN."""
    client = aws("lambda")
    if unless("ResourceNotFoundException", client.get_function, FunctionName=name):
        client.update_function_code(FunctionName=name, ZipFile=code)
        client.get_waiter("function_updated_v2").wait(FunctionName=name)
        client.update_function_configuration(FunctionName=name, **configuration)
        client.get_waiter("function_updated_v2").wait(FunctionName=name)
    else:
        # At AWS a new role can be used after some seconds only.
        until(
            lambda: unless(
                "InvalidParameterValueException", client.create_function,
                FunctionName=name, Code={"ZipFile": code}, **configuration,
            ),
            f"Making the function {name}",
        )  # fmt: skip
        client.get_waiter("function_active_v2").wait(FunctionName=name)
    return client.get_function_configuration(FunctionName=name)["FunctionArn"]


def allow(aws, name, service, source_arn):
    """Lets a service call the function on behalf of one bucket or rule."""
    unless(
        "ResourceConflictException", aws("lambda").add_permission, FunctionName=name, StatementId=service,
        Action="lambda:InvokeFunction", Principal=f"{service}.amazonaws.com", SourceArn=source_arn,
    )  # fmt: skip


def bucket(aws, name):
    where = {} if aws.region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": aws.region}}
    unless("BucketAlreadyOwnedByYou", aws("s3").create_bucket, Bucket=name, **where)


def remove_bucket(aws, name):
    if unless("404", aws("s3").head_bucket, Bucket=name) is None:
        return
    for found in aws("s3").list_objects_v2(Bucket=name).get("Contents", []):
        aws("s3").delete_object(Bucket=name, Key=found["Key"])
    aws("s3").delete_bucket(Bucket=name)


def table(aws, name, key):
    """A table with one key, a string."""
    unless(
        "ResourceInUseException", aws("dynamodb").create_table, TableName=name, BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
        KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
    )  # fmt: skip
    aws("dynamodb").get_waiter("table_exists").wait(TableName=name)

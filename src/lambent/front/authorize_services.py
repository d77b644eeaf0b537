"""Actions and resources of the services beside Lambda.

Most have operations named as their actions, and say in a member ending in `Arn` which resource they are about. Those
that do not are here; sources are the pages that `authorize_targets` names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import unquote

from lambent.front.authorize_place import Place, Target
from lambent.services.kinesis.iterators import stream_in
from lambent.wire.shapes import Operation

Params = Mapping[str, Any]

_ARN: Final = re.compile(r"arn:aws[a-z-]*:[a-z0-9-]+:[a-z0-9-]*:(\d{12})?:.+", re.DOTALL)


def account_in(arn: str) -> str | None:
    """The account that an ARN names; None without one."""
    found = _ARN.fullmatch(arn)
    return found[1] if found is not None else None


def target(action: str, arn: str, place: Place, context: Mapping[str, Any] | None = None) -> Target:
    return Target(action, arn, account_in(arn) or place.account_id, context or {})


# S3: https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html

_S3_ACTIONS: Final = {
    "AbortMultipartUpload": "AbortMultipartUpload", "CompleteMultipartUpload": "PutObject", "CopyObject": "PutObject",
    "CreateMultipartUpload": "PutObject", "DeleteBucketAnalyticsConfiguration": "PutAnalyticsConfiguration",
    "DeleteBucketCors": "PutBucketCORS", "DeleteBucketEncryption": "PutEncryptionConfiguration",
    "DeleteBucketIntelligentTieringConfiguration": "PutIntelligentTieringConfiguration",
    "DeleteBucketInventoryConfiguration": "PutInventoryConfiguration", "DeleteBucketLifecycle": "PutLifecycleConfiguration",
    "DeleteBucketMetricsConfiguration": "PutMetricsConfiguration", "DeleteBucketOwnershipControls": "PutBucketOwnershipControls",
    "DeleteBucketReplication": "PutReplicationConfiguration", "DeleteBucketTagging": "PutBucketTagging",
    "DeleteObjects": "DeleteObject", "DeletePublicAccessBlock": "PutBucketPublicAccessBlock",
    "GetBucketAccelerateConfiguration": "GetAccelerateConfiguration", "GetBucketCors": "GetBucketCORS",
    "GetBucketAnalyticsConfiguration": "GetAnalyticsConfiguration", "GetBucketEncryption": "GetEncryptionConfiguration",
    "GetBucketIntelligentTieringConfiguration": "GetIntelligentTieringConfiguration",
    "GetBucketInventoryConfiguration": "GetInventoryConfiguration", "GetBucketLifecycle": "GetLifecycleConfiguration",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration", "GetBucketMetricsConfiguration": "GetMetricsConfiguration",
    "GetBucketNotificationConfiguration": "GetBucketNotification", "GetBucketReplication": "GetReplicationConfiguration",
    "GetObjectLockConfiguration": "GetBucketObjectLockConfiguration", "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "HeadBucket": "ListBucket", "HeadObject": "GetObject", "ListBuckets": "ListAllMyBuckets",
    "ListMultipartUploads": "ListBucketMultipartUploads", "ListObjectVersions": "ListBucketVersions",
    "ListObjects": "ListBucket", "ListObjectsV2": "ListBucket", "ListParts": "ListMultipartUploadParts",
    "PutBucketAccelerateConfiguration": "PutAccelerateConfiguration", "PutBucketCors": "PutBucketCORS",
    "PutBucketAnalyticsConfiguration": "PutAnalyticsConfiguration", "PutBucketEncryption": "PutEncryptionConfiguration",
    "PutBucketIntelligentTieringConfiguration": "PutIntelligentTieringConfiguration",
    "PutBucketInventoryConfiguration": "PutInventoryConfiguration", "PutBucketLifecycle": "PutLifecycleConfiguration",
    "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration", "PutBucketMetricsConfiguration": "PutMetricsConfiguration",
    "PutBucketNotificationConfiguration": "PutBucketNotification", "PutBucketReplication": "PutReplicationConfiguration",
    "PutObjectLockConfiguration": "PutBucketObjectLockConfiguration", "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
    "SelectObjectContent": "GetObject", "UploadPart": "PutObject", "UploadPartCopy": "PutObject",
}  # fmt: skip
_S3_VERSIONED: Final = frozenset(
    {
        "GetObject", "DeleteObject", "GetObjectAcl", "PutObjectAcl", "GetObjectTagging", "PutObjectTagging",
        "DeleteObjectTagging", "GetObjectAttributes",
    }
)  # fmt: skip


def of_s3(name: str, params: Params, place: Place) -> Iterable[Target]:
    bucket = params.get("Bucket")
    action = _S3_ACTIONS.get(name, name)
    if not isinstance(bucket, str):
        yield target(f"s3:{action}", "*", place)
        return
    base = bucket if bucket.startswith("arn:") else f"arn:aws:s3:::{bucket}"
    if name == "DeleteObjects":
        for each in params.get("Delete", {}).get("Objects", []):
            version = "Version" if each.get("VersionId") else ""
            yield target(f"s3:DeleteObject{version}", f"{base}/{each.get('Key', '')}", place)
        return
    key = params.get("Key")
    if params.get("VersionId") and action in _S3_VERSIONED:
        action = action.replace("Object", "ObjectVersion", 1)
    names = {"Prefix": "s3:prefix", "Delimiter": "s3:delimiter", "MaxKeys": "s3:max-keys", "ACL": "s3:x-amz-acl"}
    context = {key: params[member] for member, key in names.items() if member in params}
    yield target(f"s3:{action}", base if key is None else f"{base}/{key}", place, context)
    source = params.get("CopySource")
    if source is not None:
        yield target(*_copied(source), place)


def _copied(source: Any) -> tuple[str, str]:
    """`bucket/key?versionId=…`, or the same as the model's structure."""
    if isinstance(source, Mapping):
        path, version = f"{source.get('Bucket')}/{source.get('Key')}", source.get("VersionId")
    else:
        encoded, _, version = str(source).partition("?versionId=")
        path = unquote(encoded)
    arn = path if path.startswith("arn:") else f"arn:aws:s3:::{path.lstrip('/')}"
    return ("s3:GetObjectVersion" if version else "s3:GetObject"), arn


# SQS: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsqs.html

_SQS_ACTIONS: Final = {
    "SendMessageBatch": "SendMessage",
    "DeleteMessageBatch": "DeleteMessage",
    "ChangeMessageVisibilityBatch": "ChangeMessageVisibility",
}


def of_sqs(name: str, params: Params, place: Place) -> Iterable[Target]:
    action = f"sqs:{_SQS_ACTIONS.get(name, name)}"
    if "QueueUrl" in params:
        parts = str(params["QueueUrl"]).rstrip("/").split("/")
        account_id = parts[-2] if len(parts) > 1 and parts[-2].isdecimal() else place.account_id
        yield target(action, f"arn:aws:sqs:{place.region}:{account_id}:{parts[-1]}", place)
    elif "QueueName" in params:
        account_id = params.get("QueueOwnerAWSAccountId", place.account_id)
        yield target(action, f"arn:aws:sqs:{place.region}:{account_id}:{params['QueueName']}", place)
    else:
        yield target(action, params.get("SourceArn") or "*", place)


def of_sns(name: str, params: Params, place: Place) -> Iterable[Target]:
    action = "sns:Publish" if name == "PublishBatch" else f"sns:{name}"
    arn = next((params[m] for m in ("TopicArn", "TargetArn", "ResourceArn", "SubscriptionArn") if params.get(m)), None)
    if arn is None and name == "CreateTopic":
        arn = place.arn("sns", str(params.get("Name", "")))
    # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsns.html
    names = {"Protocol": "sns:Protocol", "Endpoint": "sns:Endpoint"} if name == "Subscribe" else {}
    context = {key: params[member] for member, key in names.items() if params.get(member)}
    yield target(action, arn or "*", place, context)


# DynamoDB: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazondynamodb.html

_TRANSACTION_ACTIONS: Final = {
    "Get": "GetItem", "Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem",
}  # fmt: skip


def of_dynamodb(name: str, params: Params, place: Place) -> Iterable[Target]:
    if name in ("TransactGetItems", "TransactWriteItems"):
        for item in params.get("TransactItems", []):
            for kind, part in item.items():
                yield target(f"dynamodb:{_TRANSACTION_ACTIONS.get(kind, kind)}", _table(part, place), place)
        return
    if name in ("BatchGetItem", "BatchWriteItem"):
        for table in params.get("RequestItems", {}):
            yield target(f"dynamodb:{name}", _table({"TableName": table}, place), place)
        return
    arn = params.get("ResourceArn") or params.get("StreamArn") or params.get("BackupArn")
    if arn is None and "TableName" in params:
        arn = _table(params, place)
    yield target(f"dynamodb:{name}", arn or "*", place)


def _table(params: Params, place: Place) -> str:
    name = str(params.get("TableName", ""))
    table = name if name.startswith("arn:") else place.arn("dynamodb", f"table/{name}")
    index = params.get("IndexName")
    return table if index is None else f"{table}/index/{index}"


def of_sts(name: str, params: Params, place: Place) -> Iterable[Target]:
    """https://docs.aws.amazon.com/service-authorization/latest/reference/list_awssecuritytokenservice.html"""
    if params.get("RoleArn"):
        members = {"RoleSessionName": "sts:RoleSessionName", "ExternalId": "sts:ExternalId"}
        yield target(
            f"sts:{name}", params["RoleArn"], place, {key: params[m] for m, key in members.items() if params.get(m)}
        )
    elif name == "GetFederationToken":
        yield target(
            "sts:GetFederationToken", f"arn:aws:sts::{place.account_id}:federated-user/{params.get('Name')}", place
        )
    else:
        yield target(f"sts:{name}", "*", place)


# IAM: https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsidentityandaccessmanagementiam.html

_IAM_NAMES: Final = (
    ("RoleName", "role"), ("UserName", "user"), ("GroupName", "group"), ("InstanceProfileName", "instance-profile"),
)  # fmt: skip
_IAM_ARNS: Final = ("PolicyArn", "PolicySourceArn", "OpenIDConnectProviderArn", "SAMLProviderArn", "SerialNumber")


def of_iam(name: str, params: Params, place: Place) -> Iterable[Target]:
    """Users, roles and groups are named without their paths here, so policies with a path in a resource see it missing."""
    path = params.get("Path") or "/"
    base = f"arn:aws:iam::{place.account_id}:"
    # Of two names the later one is the resource: AddUserToGroup is about the group.
    order = (
        reversed(_IAM_NAMES)
        if name in ("AddUserToGroup", "RemoveUserFromGroup", "AddRoleToInstanceProfile")
        else _IAM_NAMES
    )
    for member, kind in order:
        if params.get(member):
            context = {"iam:PolicyARN": params["PolicyArn"]} if params.get("PolicyArn") else {}
            if params.get("PermissionsBoundary"):
                context["iam:PermissionsBoundary"] = params["PermissionsBoundary"]
            yield target(f"iam:{name}", f"{base}{kind}{path}{params[member]}", place, context)
            return
    arn = next((params[member] for member in _IAM_ARNS if params.get(member)), None)
    if arn is None and name == "CreatePolicy":
        arn = f"{base}policy{path}{params.get('PolicyName', '')}"
    yield target(f"iam:{name}", arn or "*", place)


# Everything else

# Where IAM's prefix is not the name that requests are signed with.
_PREFIXES: Final = {
    "monitoring": "cloudwatch", "tagging": "tag", "email": "ses", "appconfigdata": "appconfig", "mediastore-data": "mediastore",
}  # fmt: skip
# Members that name a resource which has no ARN in the request: service → member → resource.
_NAMED: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "kinesis": (("StreamName", "stream/{}"),),
    "kms": (("KeyId", "key/{}"), ("AliasName", "{}")),
    "secretsmanager": (("SecretId", "secret:{}"), ("Name", "secret:{}")),
    "ecr": (("repositoryName", "repository/{}"),),
    "elasticfilesystem": (("FileSystemId", "file-system/{}"), ("AccessPointId", "access-point/{}")),
    "cloudformation": (("StackName", "stack/{}/*"),),
    "cognito-idp": (("UserPoolId", "userpool/{}"),),
    "cognito-identity": (("IdentityPoolId", "identitypool/{}"),),
}


def of_any(operation: Operation, params: Params, place: Place) -> Iterable[Target]:
    """By the members that most services use. Whatever is not recognised needs the action on `*`."""
    service = operation.service
    prefix = _PREFIXES.get(service.signing_name, service.signing_name)
    if prefix == "apigateway":  # its actions are HTTP's methods, its resources paths
        yield target(
            f"apigateway:{operation.method}", f"arn:aws:apigateway:{place.region}::{_path(operation, params)}", place
        )
        return
    action = f"{prefix}:{operation.name}"
    if operation.name == "PutMetricData":
        yield target(action, "*", place, {"cloudwatch:namespace": params.get("Namespace") or ""})
        return
    if prefix == "events":
        yield from (target(action, arn, place) for arn in _events(operation.name, params, place))
        return
    if prefix == "ssm" and any(member in params for member in ("Name", "Names", "Path")):
        names = params.get("Names") or [params.get("Name") or params.get("Path")]
        for name in names:
            path = str(name).lstrip("/")
            yield target(
                action, str(name) if str(name).startswith("arn:") else place.arn("ssm", f"parameter/{path}"), place
            )
        return
    if prefix == "scheduler" and "Name" in params and "GroupName" not in params:
        params = {**params, "GroupName": "default"}
    if prefix == "scheduler" and "GroupName" in params:
        resource = f"schedule/{params['GroupName']}/{params.get('Name', '*')}"
        yield target(action, place.arn("scheduler", resource), place)
        return
    arns = _own_arns(prefix, params)
    if prefix == "kinesis" and not arns:
        texts = (params.get(member) for member in ("ShardIterator", "NextToken"))
        arns = [arn for text in texts if text and (arn := stream_in(text, place.region))]
    for member, form in _NAMED.get(prefix, ()):
        value = params.get(member)
        if isinstance(value, str) and value and not value.startswith("arn:"):
            is_alias = prefix == "kms" and value.startswith("alias/")
            arns.append(place.arn(prefix, value if is_alias else form.format(value)))
    for arn in arns or ["*"]:
        yield target(action, arn, place)


def _own_arns(prefix: str, params: Params) -> list[str]:
    """The service's own ARNs in a request. Those of other services are what it should use: roles, keys, destinations."""
    texts = (value for value in params.values() if isinstance(value, str) and value.startswith(f"arn:aws:{prefix}:"))
    return list(dict.fromkeys(texts))


def _events(name: str, params: Params, place: Place) -> list[str]:
    if name == "PutEvents":
        buses = {str(entry.get("EventBusName") or "default") for entry in params.get("Entries", [])}
        return [bus if bus.startswith("arn:") else place.arn("events", f"event-bus/{bus}") for bus in sorted(buses)]
    bus = str(params.get("EventBusName") or "default").rpartition("/")[2]
    rule = params.get("Rule") or (params.get("Name") if name.endswith("Rule") else None)
    if rule:
        return [place.arn("events", f"rule/{rule}" if bus == "default" else f"rule/{bus}/{rule}")]
    if name.endswith("EventBus") and params.get("Name"):
        return [place.arn("events", f"event-bus/{params['Name']}")]
    return _own_arns("events", params) or ["*"]


def _path(operation: Operation, params: Params) -> str:
    path = operation.uri.partition("?")[0]
    members = operation.input.members if operation.input is not None else {}
    for member, value in params.items():
        label = members[member].location_name if member in members else None
        path = path.replace(f"{{{label or member}}}", str(value))
    return re.sub(r"\{[^}]*\}", "*", path)

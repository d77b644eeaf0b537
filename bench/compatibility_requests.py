"""What the compatibility table sends: for each operation a request that is good, and for each member a value that shows.

Where an operation needs something to be there, its recipe makes it first. Values are declared by member, because only a
value that AWS would take says anything; a member without one gets the smallest value of its shape.
"""

from __future__ import annotations

import base64
import io
import json
import sys
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

Members = dict[str, Any]

ACCOUNT: Final = "000000000000"
REGION: Final = "eu-central-1"  # one that nobody else uses, so that the server may be shared
ROLE: Final = f"arn:aws:iam::{ACCOUNT}:role/compatibility"
QUEUE: Final = f"arn:aws:sqs:{REGION}:{ACCOUNT}:compatibility"
STREAM: Final = f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/compatibility"
KAFKA: Final = f"arn:aws:kafka:{REGION}:{ACCOUNT}:cluster/c/11111111-1111-1111-1111-111111111111-1"
DOCUMENTS: Final = f"arn:aws:rds:{REGION}:{ACCOUNT}:cluster:c"
BUCKET: Final = "compatibility-of-lambda"
IMAGE: Final = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/images:latest"
SECRET: Final = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:s-abcdef"
PROFILE: Final = f"arn:aws:signer:{REGION}:{ACCOUNT}:/signing-profiles/p/abcdefghij"
DURABLE: Final = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f:$LATEST/durable-execution/e/i"
RUNTIME: Final = "python3.13"
RUNNING: Final = f"python3.{sys.version_info.minor}"  # certainly on this machine, for functions that are invoked
WRONG_REVISION: Final = "00000000-0000-0000-0000-000000000000"
PROVIDER: Final = {
    "CapacityProviderName": "c", "VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
    "PermissionsConfig": {"CapacityProviderOperatorRoleArn": ROLE},
}  # fmt: skip


TELLS_ITS_CONTEXT: Final = """
def handler(event, context):
    sent = context.client_context.custom if context.client_context else None
    return [event, sent, getattr(context, "tenant_id", None)]
"""


def package(text: str = TELLS_ITS_CONTEXT) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(zipfile.ZipInfo("app.py"), text)
    return out.getvalue()


class Maker(Protocol):
    """What recipes make things with; every name is new."""

    def name(self) -> str: ...

    def done(self, operation: str, members: Members) -> Members: ...

    def function(self, versions: int = 0, **members: Any) -> str: ...

    def settled_mapping(self, uuid: str) -> Members: ...

    def queue(self) -> str: ...

    def thing(self, name: str) -> Any: ...


def _function(**members: Any) -> Members:
    return {"Role": ROLE, "Runtime": RUNTIME, "Handler": "app.handler", "Code": {"ZipFile": package()}, **members}


def _new_function(make: Maker) -> Members:
    return _function(FunctionName=make.name())


def _on_function(versions: int = 0, **members: Any) -> Callable[[Maker], Members]:
    return lambda make: {"FunctionName": make.function(versions), **members}


def _with_alias(make: Maker, **members: Any) -> str:
    """A function with two versions, and the alias `live` of the first."""
    name = make.function(2, **members)
    make.done("CreateAlias", {"FunctionName": name, "Name": "live", "FunctionVersion": "1"})
    return name


def _running(**first: Any) -> Callable[[Maker], Members]:
    return lambda make: {"FunctionName": _with_alias(make, Runtime=RUNNING, **first), "Payload": b'{"a":1}'}


def _image(make: Maker) -> Members:
    return {"FunctionName": make.function(PackageType="Image", Code={"ImageUri": IMAGE}, Runtime=None, Handler=None)}


def _aliased(**members: Any) -> Callable[[Maker], Members]:
    return lambda make: {"FunctionName": _with_alias(make), **members}


def _after(operation: str, *befores: Members, **members: Any) -> Callable[[Maker], Members]:
    """On a function with two versions and an alias for which another operation was done before."""

    def recipe(make: Maker) -> Members:
        name = _with_alias(make)
        for before in befores:
            make.done(operation, {"FunctionName": name, **before})
        return {"FunctionName": name, **members}

    return recipe


def _layer(**members: Any) -> Callable[[Maker], Members]:
    def recipe(make: Maker) -> Members:
        name = make.name()
        for _ in range(2):
            make.done("PublishLayerVersion", {"LayerName": name, "Content": {"ZipFile": package()}})
        return {"LayerName": name, **members}

    return recipe


def _layer_permission(**members: Any) -> Callable[[Maker], Members]:
    def recipe(make: Maker) -> Members:
        layer = _layer()(make)["LayerName"]
        on = {"LayerName": layer, "VersionNumber": 1}
        make.done("AddLayerVersionPermission", {**on, **_LAYER_STATEMENT})
        return {**on, **members}

    return recipe


def _layer_by_arn(make: Maker) -> Members:
    name = _layer()(make)["LayerName"]
    return {"Arn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:{name}:1"}


def _mapping(make: Maker) -> Members:
    return {"FunctionName": make.function(), "EventSourceArn": make.queue()}


def _made_mapping(make: Maker, **source: Any) -> Members:
    made = make.done("CreateEventSourceMapping", {**_mapping(make), **source})
    make.settled_mapping(made["UUID"])
    return {"UUID": made["UUID"]}


def _mapping_of(**source: Any) -> Callable[[Maker], Members]:
    return lambda make: _made_mapping(make, **source)


def _code_signing(make: Maker) -> Members:
    members = {"AllowedPublishers": {"SigningProfileVersionArns": [PROFILE]}}
    return {
        "CodeSigningConfigArn": make.done("CreateCodeSigningConfig", members)["CodeSigningConfig"][
            "CodeSigningConfigArn"
        ]
    }


def _twice(thing: Callable[[Maker], object]) -> Callable[[Maker], Members]:
    """For lists: two things, and a request for all of them."""

    def recipe(make: Maker) -> Members:
        thing(make)
        thing(make)
        return {}

    return recipe


def _signed_function(make: Maker) -> Members:
    both = {"FunctionName": make.function(), **_code_signing(make)}
    make.done("PutFunctionCodeSigningConfig", both)
    return both


def _signed_by_name(make: Maker) -> Members:
    return {"FunctionName": _signed_function(make)["FunctionName"]}


def _signed_list(make: Maker) -> Members:
    config = {"CodeSigningConfigArn": _signed_function(make)["CodeSigningConfigArn"]}
    make.done("PutFunctionCodeSigningConfig", {"FunctionName": make.function(), **config})
    return config


def _runtime_version(make: Maker) -> str:
    found = make.done("GetFunctionConfiguration", {"FunctionName": make.function()})
    return str(found["RuntimeVersionConfig"]["RuntimeVersionArn"])


def _function_arn(make: Maker) -> str:
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{make.function(Tags={'old': 'tag'})}"


def _policy_of(arn: str) -> str:
    statement = {
        "Sid": "s",
        "Effect": "Allow",
        "Principal": {"AWS": ACCOUNT},
        "Action": "lambda:InvokeFunction",
        "Resource": arn,
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _whole_policy(make: Maker) -> Members:
    arn = _function_arn(make)
    return {"ResourceArn": arn, "Policy": _policy_of(arn)}


def _with_whole_policy(make: Maker) -> Members:
    members = _whole_policy(make)
    make.done("PutResourcePolicy", members)
    return {"ResourceArn": members["ResourceArn"]}


_STATEMENT: Final = {"StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com"}
_LAYER_STATEMENT: Final = {"StatementId": "s", "Action": "lambda:GetLayerVersion", "Principal": "*"}
_INVOKE_CONFIG: Final = {"MaximumRetryAttempts": 1}
_OPEN_URL: Final = {"AuthType": "NONE"}
_ON_LIVE: Final = {"Qualifier": "live"}
_PROVISIONED: Final = {"Qualifier": "live", "ProvisionedConcurrentExecutions": 1}

RECIPES: Final[Mapping[str, Callable[[Maker], Members]]] = {
    "AddLayerVersionPermission": _layer(VersionNumber=1, **_LAYER_STATEMENT),
    "AddPermission": _aliased(**_STATEMENT),
    "CheckpointDurableExecution": lambda make: {"DurableExecutionArn": DURABLE, "CheckpointToken": "dG9rZW4="},
    "CreateAlias": _on_function(2, Name="new", FunctionVersion="1"),
    "CreateCapacityProvider": lambda make: PROVIDER,
    "CreateCodeSigningConfig": lambda make: {"AllowedPublishers": {"SigningProfileVersionArns": [PROFILE]}},
    "CreateEventSourceMapping": _mapping,
    "CreateFunction": _new_function,
    "CreateFunctionUrlConfig": _aliased(AuthType="NONE"),
    "DeleteAlias": _aliased(Name="live"),
    "DeleteCapacityProvider": lambda make: {"CapacityProviderName": "c"},
    "DeleteCodeSigningConfig": _code_signing,
    "DeleteDurableExecution": lambda make: {"DurableExecutionArn": DURABLE},
    "DeleteEventSourceMapping": _made_mapping,
    "DeleteFunction": _on_function(2),
    "DeleteFunctionCodeSigningConfig": _signed_by_name,
    "DeleteFunctionConcurrency": _after("PutFunctionConcurrency", {"ReservedConcurrentExecutions": 1}),
    "DeleteFunctionEventInvokeConfig": _after("PutFunctionEventInvokeConfig", _INVOKE_CONFIG),
    "DeleteFunctionUrlConfig": _after("CreateFunctionUrlConfig", _OPEN_URL),
    "DeleteLayerVersion": _layer(VersionNumber=1),
    "DeleteProvisionedConcurrencyConfig": _after("PutProvisionedConcurrencyConfig", _PROVISIONED, **_ON_LIVE),
    "DeleteResourcePolicy": _with_whole_policy,
    "GetAccountSettings": lambda make: {},
    "GetAlias": _aliased(Name="live"),
    "GetCapacityProvider": lambda make: {"CapacityProviderName": "c"},
    "GetCodeSigningConfig": _code_signing,
    "GetDurableExecution": lambda make: {"DurableExecutionArn": DURABLE},
    "GetDurableExecutionHistory": lambda make: {"DurableExecutionArn": DURABLE},
    "GetDurableExecutionState": lambda make: {"DurableExecutionArn": DURABLE, "CheckpointToken": "dG9rZW4="},
    "GetEventSourceMapping": _made_mapping,
    "GetFunction": _aliased(),
    "GetFunctionCodeSigningConfig": _signed_by_name,
    "GetFunctionConcurrency": _after("PutFunctionConcurrency", {"ReservedConcurrentExecutions": 1}),
    "GetFunctionConfiguration": _aliased(),
    "GetFunctionEventInvokeConfig": _after("PutFunctionEventInvokeConfig", _INVOKE_CONFIG),
    "GetFunctionRecursionConfig": _on_function(),
    "GetFunctionScalingConfig": _aliased(Qualifier="1"),
    "GetFunctionUrlConfig": _after("CreateFunctionUrlConfig", _OPEN_URL),
    "GetLayerVersion": _layer(VersionNumber=1),
    "GetLayerVersionByArn": _layer_by_arn,
    "GetLayerVersionPolicy": _layer_permission(),
    "GetPolicy": _after("AddPermission", _STATEMENT),
    "GetProvisionedConcurrencyConfig": _after("PutProvisionedConcurrencyConfig", _PROVISIONED, **_ON_LIVE),
    "GetResourcePolicy": _with_whole_policy,
    "GetRuntimeManagementConfig": _aliased(),
    "Invoke": _running(),
    "InvokeAsync": _on_function(InvokeArgs=b"{}"),
    "InvokeWithResponseStream": _running(),
    "ListAliases": _after("CreateAlias", {"Name": "second", "FunctionVersion": "2"}),
    "ListCapacityProviders": lambda make: {},
    "ListCodeSigningConfigs": _twice(lambda make: _code_signing(make)),
    "ListDurableExecutionsByFunction": _aliased(),
    "ListEventSourceMappings": _twice(lambda make: _made_mapping(make)),
    "ListFunctionEventInvokeConfigs": _after(
        "PutFunctionEventInvokeConfig", _INVOKE_CONFIG, {**_INVOKE_CONFIG, **_ON_LIVE}
    ),
    "ListFunctionUrlConfigs": _after("CreateFunctionUrlConfig", _OPEN_URL, {**_OPEN_URL, **_ON_LIVE}),
    "ListFunctionVersionsByCapacityProvider": lambda make: {"CapacityProviderName": "c"},
    "ListFunctions": _twice(lambda make: make.function(1)),
    "ListFunctionsByCodeSigningConfig": _signed_list,
    "ListLayerVersions": _layer(),
    "ListLayers": _twice(lambda make: _layer()(make)),
    "ListProvisionedConcurrencyConfigs": _after(
        "PutProvisionedConcurrencyConfig", _PROVISIONED, {**_PROVISIONED, "Qualifier": "2"}
    ),
    "ListTags": lambda make: {"Resource": _function_arn(make)},
    "ListVersionsByFunction": _on_function(2),
    "PauseDurableExecution": lambda make: {"DurableExecutionArn": DURABLE},
    "PublishLayerVersion": lambda make: {"LayerName": make.name(), "Content": {"ZipFile": package()}},
    "PublishVersion": _on_function(),
    "PutFunctionCodeSigningConfig": lambda make: {"FunctionName": make.function(), **_code_signing(make)},
    "PutFunctionConcurrency": _on_function(ReservedConcurrentExecutions=1),
    "PutFunctionEventInvokeConfig": _aliased(**_INVOKE_CONFIG),
    "PutFunctionRecursionConfig": _on_function(RecursiveLoop="Allow"),
    "PutFunctionScalingConfig": _aliased(Qualifier="1"),
    "PutProvisionedConcurrencyConfig": _aliased(**_PROVISIONED),
    "PutResourcePolicy": _whole_policy,
    "PutRuntimeManagementConfig": _aliased(UpdateRuntimeOn="FunctionUpdate"),
    "RemoveLayerVersionPermission": _layer_permission(StatementId="s"),
    "RemovePermission": _after("AddPermission", _STATEMENT, StatementId="s"),
    "ResumeDurableExecution": lambda make: {"DurableExecutionArn": DURABLE},
    "SendDurableExecutionCallbackFailure": lambda make: {"CallbackId": "aWQ="},
    "SendDurableExecutionCallbackHeartbeat": lambda make: {"CallbackId": "aWQ="},
    "SendDurableExecutionCallbackSuccess": lambda make: {"CallbackId": "aWQ="},
    "StopDurableExecution": lambda make: {"DurableExecutionArn": DURABLE},
    "TagResource": lambda make: {"Resource": _function_arn(make), "Tags": {"a": "b"}},
    "UntagResource": lambda make: {"Resource": _function_arn(make), "TagKeys": ["old"]},
    "UpdateAlias": _aliased(Name="live"),
    "UpdateCapacityProvider": lambda make: {"CapacityProviderName": "c"},
    "UpdateCodeSigningConfig": _code_signing,
    "UpdateEventSourceMapping": _made_mapping,
    "UpdateFunctionCode": _on_function(ZipFile=package("handler = print\n")),
    "UpdateFunctionConfiguration": _on_function(),
    "UpdateFunctionEventInvokeConfig": _after("PutFunctionEventInvokeConfig", _INVOKE_CONFIG, **_INVOKE_CONFIG),
    "UpdateFunctionUrlConfig": _after("CreateFunctionUrlConfig", _OPEN_URL),
}  # fmt: skip

_ON_A_STREAM: Final = {"EventSourceArn": STREAM, "StartingPosition": "LATEST"}
_ON_KAFKA: Final = {"EventSourceArn": KAFKA, "StartingPosition": "LATEST", "Topics": ["topic"]}
_ON_A_BROKER: Final = {
    "EventSourceArn": f"arn:aws:mq:{REGION}:{ACCOUNT}:broker:b:b-1", "Queues": ["q"],
    "SourceAccessConfigurations": [{"Type": "BASIC_AUTH", "URI": SECRET}],
}  # fmt: skip
_ON_OWN_KAFKA: Final = {
    "EventSourceArn": None, "StartingPosition": "LATEST", "Topics": ["topic"],
    "SelfManagedEventSource": {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": ["k:9092"]}},
    "SourceAccessConfigurations": [{"Type": "SASL_SCRAM_512_AUTH", "URI": SECRET}],
}  # fmt: skip
_ON_DOCUMENTS: Final = {
    "EventSourceArn": DOCUMENTS, "StartingPosition": "LATEST", "DocumentDBEventSourceConfig": {"DatabaseName": "d"},
    "SourceAccessConfigurations": [{"Type": "BASIC_AUTH", "URI": SECRET}],
}  # fmt: skip
_POLLERS: Final = {"MinimumPollers": 2, "MaximumPollers": 5}

# For members that say something only of another thing than the operation's own recipe makes.
RECIPES_OF_MEMBERS: Final[Mapping[str, Callable[[Maker], Members]]] = {
    "DeleteFunctionEventInvokeConfig.Qualifier": _after("PutFunctionEventInvokeConfig", _INVOKE_CONFIG, {**_INVOKE_CONFIG, **_ON_LIVE}),
    "DeleteFunctionUrlConfig.Qualifier": _after("CreateFunctionUrlConfig", _OPEN_URL, {**_OPEN_URL, **_ON_LIVE}),
    "GetFunctionEventInvokeConfig.Qualifier": _after("PutFunctionEventInvokeConfig", _INVOKE_CONFIG, {**_INVOKE_CONFIG, **_ON_LIVE}),
    "GetFunctionUrlConfig.Qualifier": _after("CreateFunctionUrlConfig", _OPEN_URL, {**_OPEN_URL, **_ON_LIVE}),
    "GetPolicy.Qualifier": _after("AddPermission", _STATEMENT, {**_STATEMENT, **_ON_LIVE}),
    "RemovePermission.Qualifier": _after("AddPermission", _STATEMENT, {**_STATEMENT, **_ON_LIVE}, StatementId="s"),
    "UpdateFunctionEventInvokeConfig.Qualifier": _after(
        "PutFunctionEventInvokeConfig", _INVOKE_CONFIG, {**_INVOKE_CONFIG, **_ON_LIVE}, MaximumRetryAttempts=0),
    "UpdateFunctionUrlConfig.Qualifier": _after("CreateFunctionUrlConfig", _OPEN_URL, {**_OPEN_URL, **_ON_LIVE}),
    "Invoke.TenantId": _running(TenancyConfig={"TenantIsolationMode": "PER_TENANT"}),
    "InvokeWithResponseStream.TenantId": _running(TenancyConfig={"TenantIsolationMode": "PER_TENANT"}),
    "UpdateFunctionCode.ImageUri": _image,
    "UpdateFunctionConfiguration.DurableConfig": lambda make: {
        "FunctionName": make.function(DurableConfig={"ExecutionTimeout": 30})
    },
    "UpdateFunctionConfiguration.ImageConfig": _image,
    **{f"UpdateEventSourceMapping.{member}": _mapping_of(**_ON_A_STREAM) for member in (
        "BisectBatchOnFunctionError", "DestinationConfig", "MaximumRecordAgeInSeconds", "MaximumRetryAttempts",
        "ParallelizationFactor", "TumblingWindowInSeconds")},
    "UpdateEventSourceMapping.AmazonManagedKafkaEventSourceConfig": _mapping_of(**_ON_KAFKA),
    "UpdateEventSourceMapping.DocumentDBEventSourceConfig": _mapping_of(**_ON_DOCUMENTS),
    "UpdateEventSourceMapping.LoggingConfig": _mapping_of(**_ON_KAFKA, ProvisionedPollerConfig=_POLLERS),
    "UpdateEventSourceMapping.ProvisionedPollerConfig": _mapping_of(**_ON_KAFKA),
    "UpdateEventSourceMapping.SelfManagedKafkaEventSourceConfig": _mapping_of(**_ON_OWN_KAFKA),
    "UpdateEventSourceMapping.SourceAccessConfigurations": _mapping_of(**_ON_A_BROKER),
}  # fmt: skip


def _thing(name: str) -> Callable[[Maker], Any]:
    return lambda make: make.thing(name)


_VPC: Final = _thing("vpc")

# By member, or by operation and member where they differ. A function makes the value.
VALUES: Final[Mapping[str, Any]] = {
    "Action": "lambda:GetFunction", "Architectures": ["arm64"], "AuthType": "AWS_IAM", "BatchSize": 7, "BisectBatchOnFunctionError": True,
    "ClientContext": base64.b64encode(b'{"custom":{"a":"b"}}').decode(), "CodeSha256": "x" * 43 + "=",
    "CodeSigningPolicies": {"UntrustedArtifactOnDeployment": "Enforce"}, "CompatibleArchitecture": "arm64",
    "CompatibleArchitectures": ["arm64"], "CompatibleRuntime": "nodejs22.x", "CompatibleRuntimes": ["nodejs22.x"],
    "Cors": {"AllowOrigins": ["https://example.org"], "MaxAge": 7}, "DeadLetterConfig": {"TargetArn": QUEUE}, "Description": "described",
    "DestinationConfig": {"OnFailure": {"Destination": QUEUE}}, "DurableConfig": {"ExecutionTimeout": 60, "RetentionPeriodInDays": 3},
    "Enabled": False, "Environment": {"Variables": {"AB": "cd"}}, "EphemeralStorage": {"Size": 1024}, "EventSourceToken": "token",
    "FileSystemConfigs": lambda make: [{"Arn": make.thing("access point"), "LocalMountPath": "/mnt/a"}],
    "FilterCriteria": {"Filters": [{"Pattern": '{"body":{"a":[1]}}'}]}, "FunctionResponseTypes": ["ReportBatchItemFailures"],
    "FunctionUrlAuthType": "NONE", "Handler": "other.handler", "ImageConfig": {"Command": ["c"]}, "InvocationType": "DryRun",
    "InvokeMode": "RESPONSE_STREAM", "KMSKeyArn": _thing("key"), "LicenseInfo": "MIT", "LogType": "Tail",
    "LoggingConfig": {"LogFormat": "JSON", "LogGroup": "/other"}, "Marker": "bm8gbWFya2Vy", "MasterRegion": "us-east-1", "MaxItems": 1,
    "MaximumBatchingWindowInSeconds": 7, "MaximumEventAgeInSeconds": 77, "MemorySize": 256,
    "MetricsConfig": {"Metrics": ["EventCount"]}, "OrganizationId": "o-aaaaaaaaaa", "PackageType": "Zip", "Payload": b'{"other":2}',
    "PrincipalOrgID": "o-aaaaaaaaaa", "Publish": True, "Qualifier": "live", "RevisionId": WRONG_REVISION, "Role": f"{ROLE}-2", "Runtime": "nodejs22.x",
    "RoutingConfig": {"AdditionalVersionWeights": {"2": 0.5}}, "ScalingConfig": {"MaximumConcurrency": 7},
    "SnapStart": {"ApplyOn": "PublishedVersions"}, "SourceAccount": ACCOUNT, "SourceArn": f"{QUEUE}-x", "SourceKMSKeyArn": _thing("key"),
    "Tags": {"a": "b"}, "TenancyConfig": {"TenantIsolationMode": "PER_TENANT"}, "TenantId": "blue", "Timeout": 7, "TracingConfig": {"Mode": "Active"},
    "VpcConfig": _VPC, "FunctionVersion": "2",
    "CreateEventSourceMapping.LoggingConfig": {"SystemLogLevel": "DEBUG"},
    "UpdateEventSourceMapping.LoggingConfig": {"SystemLogLevel": "DEBUG"},
    "UpdateEventSourceMapping.FunctionName": lambda make: f"{_with_alias(make)}:live",
    "ListFunctions.FunctionVersion": "ALL", "AddPermission.FunctionUrlAuthType": "NONE", "InvokedViaFunctionUrl": True,
    "Layers": lambda make: [f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:{_layer()(make)['LayerName']}:1"],
    "CodeSigningConfigArn": lambda make: _code_signing(make)["CodeSigningConfigArn"],
    "FunctionName": lambda make: make.function(), "EventSourceArn": QUEUE, "AllowedPublishers": {"SigningProfileVersionArns": [PROFILE + "2"]},
    "ProvisionedPollerConfig": _POLLERS, "ParallelizationFactor": 2, "MaximumRecordAgeInSeconds": 77,
    "TumblingWindowInSeconds": 7, "StartingPosition": "TRIM_HORIZON", "StartingPositionTimestamp": 1_700_000_000, "Topics": ["topic"], "Queues": ["q"],
    "SourceAccessConfigurations": [{"Type": "BASIC_AUTH", "URI": SECRET + "2"}],
    "SelfManagedEventSource": {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": ["k:9092"]}},
    "SelfManagedKafkaEventSourceConfig": {"ConsumerGroupId": "group"}, "AmazonManagedKafkaEventSourceConfig": {"ConsumerGroupId": "group"},
    "DocumentDBEventSourceConfig": {"DatabaseName": "other"}, "DeleteFunction.Qualifier": "2", "GetRuntimeManagementConfig.Qualifier": "1",
    "PutRuntimeManagementConfig.Qualifier": "1", "MaximumRetryAttempts": 2,
    "CapacityProviderConfig": {"LambdaManagedInstancesCapacityProviderConfig": {
        "CapacityProviderArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:capacity-provider:c"}},
    "RuntimeConfig": {"RuntimeArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:runtime/r", "RuntimeAlias": "live"}, "UpdateFunctionCode.ZipFile": package("handler = len\n"),
    "ImageUri": IMAGE, "S3Bucket": BUCKET, "S3Key": "key", "S3ObjectVersion": lambda make: make.thing("object version") or "1", "DryRun": True, "RuntimeVersionArn": _runtime_version,
    "ListDurableExecutionsByFunction.DurableExecutionName": "name", "DurableExecutionName": "name", "Error": {"ErrorMessage": "no"},
}  # fmt: skip

# What must come along for the member to make sense.
WITH: Final[Mapping[str, Members]] = {
    "AddPermission.FunctionUrlAuthType": {"Action": "lambda:InvokeFunctionUrl", "Principal": "*"},
    "AddPermission.EventSourceToken": {"Principal": "alexa-appkit.amazon.com"},
    "AddPermission.PrincipalOrgID": {"Principal": "*"},
    "CreateFunction.ImageConfig": {"PackageType": "Image", "Code": {"ImageUri": IMAGE}, "Runtime": None, "Handler": None},
    **{f"CreateEventSourceMapping.{member}": _ON_A_STREAM for member in (
        "BisectBatchOnFunctionError", "DestinationConfig", "MaximumRecordAgeInSeconds", "MaximumRetryAttempts",
        "ParallelizationFactor", "StartingPosition", "TumblingWindowInSeconds")},
    "CreateEventSourceMapping.StartingPositionTimestamp": {**_ON_A_STREAM, "StartingPosition": "AT_TIMESTAMP"},
    **{f"CreateEventSourceMapping.{member}": _ON_KAFKA for member in (
        "AmazonManagedKafkaEventSourceConfig", "ProvisionedPollerConfig", "Topics")},
    "CreateEventSourceMapping.LoggingConfig": {**_ON_KAFKA, "ProvisionedPollerConfig": _POLLERS},
    "CreateEventSourceMapping.Queues": _ON_A_BROKER,
    "CreateEventSourceMapping.SourceAccessConfigurations": _ON_A_BROKER,
    "CreateEventSourceMapping.SelfManagedEventSource": _ON_OWN_KAFKA,
    "CreateEventSourceMapping.SelfManagedKafkaEventSourceConfig": _ON_OWN_KAFKA,
    "CreateEventSourceMapping.DocumentDBEventSourceConfig": _ON_DOCUMENTS,
    "CreateFunction.FileSystemConfigs": {"VpcConfig": _VPC}, "UpdateFunctionConfiguration.FileSystemConfigs": {"VpcConfig": _VPC},
    "ListFunctions.MasterRegion": {"FunctionVersion": "ALL"},
    "PutRuntimeManagementConfig.RuntimeVersionArn": {"UpdateRuntimeOn": "Manual"},
    "UpdateFunctionCode.S3Bucket": {"ZipFile": None, "S3Key": "key"}, "UpdateFunctionCode.S3Key": {"ZipFile": None, "S3Bucket": BUCKET},
    "UpdateFunctionCode.S3ObjectVersion": {"ZipFile": None, "S3Bucket": BUCKET, "S3Key": "key"}, "UpdateFunctionCode.ImageUri": {"ZipFile": None},
}  # fmt: skip

# Refusing the value is what AWS does as well: it was chosen wrong on purpose.
RIGHTLY_REFUSED: Final = {
    "RevisionId": "PreconditionFailedException", "CodeSha256": "InvalidParameterValueException",     "UpdateEventSourceMapping.AmazonManagedKafkaEventSourceConfig": "InvalidParameterValueException",
    "UpdateEventSourceMapping.SelfManagedKafkaEventSourceConfig": "InvalidParameterValueException",
}  # fmt: skip

Reading = tuple[str, tuple[str, ...]]


def _about(operation: str, *names: str) -> Reading:
    return operation, names


# What shows the state that an operation has left, and by which members of the request or the answer it is asked.
READ_BACK: Final[Mapping[str, tuple[Reading, ...]]] = {
    "AddLayerVersionPermission": (_about("GetLayerVersionPolicy", "LayerName", "VersionNumber"),),
    "AddPermission": (_about("GetPolicy", "FunctionName"),),
    "CreateAlias": (_about("GetAlias", "FunctionName", "Name"),),
    "CreateCodeSigningConfig": (_about("ListTags", "Resource=CodeSigningConfigArn"),),
    "CreateEventSourceMapping": (_about("GetEventSourceMapping", "UUID"), _about("ListTags", "Resource=EventSourceMappingArn")),
    "CreateFunction": (_about("GetFunction", "FunctionName"), _about("GetFunctionCodeSigningConfig", "FunctionName")),
    "CreateFunctionUrlConfig": (_about("GetFunctionUrlConfig", "FunctionName"),),
    "DeleteFunction": (_about("GetFunction", "FunctionName"),),
    "DeleteFunctionEventInvokeConfig": (_about("GetFunctionEventInvokeConfig", "FunctionName"),),
    "DeleteFunctionUrlConfig": (_about("GetFunctionUrlConfig", "FunctionName"),),
    "PublishVersion": (_about("ListVersionsByFunction", "FunctionName"),),
    "PutFunctionEventInvokeConfig": (_about("GetFunctionEventInvokeConfig", "FunctionName"),),
    "PutRuntimeManagementConfig": (_about("GetRuntimeManagementConfig", "FunctionName"),),
    "RemovePermission": (_about("GetPolicy", "FunctionName"),),
    "UpdateAlias": (_about("GetAlias", "FunctionName", "Name"),),
    "UpdateEventSourceMapping": (_about("GetEventSourceMapping", "UUID"),),
    "UpdateFunctionCode": (_about("GetFunction", "FunctionName"),),
    "UpdateFunctionConfiguration": (_about("GetFunctionConfiguration", "FunctionName"),),
    "UpdateFunctionEventInvokeConfig": (_about("GetFunctionEventInvokeConfig", "FunctionName"),),
    "UpdateFunctionUrlConfig": (_about("GetFunctionUrlConfig", "FunctionName"),),
}  # fmt: skip

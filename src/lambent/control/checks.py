"""What AWS demands of a function's configuration beyond the constraints of its model, in AWS's words."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from lambent.model.errors import AwsError, conflict, invalid_parameter, precondition_failed, validation
from lambent.model.function import FunctionVersion, State, UpdateStatus
from lambent.model.limits import (
    ENVIRONMENT_MAX_BYTES,
    EPHEMERAL_MAX_MIB,
    EPHEMERAL_MIN_MIB,
    MEMORY_MAX_MIB,
    MEMORY_MIN_MIB,
    TIMEOUT_MAX_S,
)
from lambent.model.names import ROLE_PATTERN, constraint_failed, pattern_constraint
from lambent.model.runtime_ids import DEPRECATED, NOT_CREATED, SUCCESSORS, SUPPORTED, supports_snap_start
from lambent.ports import CatalogTransaction

TAGS_MAX: Final = 50  # https://docs.aws.amazon.com/lambda/latest/dg/configuration-tags.html
VARIABLE_NAME_PATTERN: Final = r"[a-zA-Z]([a-zA-Z0-9_])+"  # MODEL, EnvironmentVariableName

# https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html, "Reserved environment variables"
RESERVED_VARIABLES: Final = frozenset((
    "_HANDLER", "_X_AMZN_TRACE_ID", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_EXECUTION_ENV", "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_VERSION", "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME", "AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_LAMBDA_RUNTIME_API", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR",
))  # fmt: skip

# Members of CreateFunction and its kin → what stands behind them.
_NOT_OFFERED: Final = {
    "PublishTo": "functions of capacity providers",
    "CapacityProviderConfig": "functions of capacity providers",
    "AcceleratorConfig": "accelerators",
    "RuntimeConfig": "runtimes of your own",
}

_ROLE: Final = re.compile(ROLE_PATTERN)
_VARIABLE_NAME: Final = re.compile(VARIABLE_NAME_PATTERN)


def refuse_what_is_not_offered(request: Mapping[str, Any]) -> None:
    """Members whose promise cannot be kept are refused, not stored. Raises AwsError InvalidParameterValueException."""
    for member, what in _NOT_OFFERED.items():
        if request.get(member):
            raise invalid_parameter(f"{member}: {what} are not available in this version of Lambent.")


def check_configuration(request: Mapping[str, Any], is_new: bool) -> None:
    """Looks at the members that are there. Raises AwsError."""
    refuse_what_is_not_offered(request)
    if (role := request.get("Role")) is not None and _ROLE.fullmatch(role) is None:
        raise validation(constraint_failed(role, "role", pattern_constraint(ROLE_PATTERN)))
    if (runtime := request.get("Runtime")) is not None:
        check_runtime(runtime, is_new)
    if (timeout_s := request.get("Timeout")) is not None:
        _check_range(timeout_s, "timeout", 1, TIMEOUT_MAX_S)
    if (memory_mib := request.get("MemorySize")) is not None:
        _check_memory(memory_mib)
    if (storage := request.get("EphemeralStorage")) is not None:
        _check_range(storage["Size"], "ephemeralStorage.size", EPHEMERAL_MIN_MIB, EPHEMERAL_MAX_MIB)
    if (environment := request.get("Environment")) is not None:
        check_variables(environment.get("Variables") or {})
    if (vpc := request.get("VpcConfig")) is not None and bool(vpc.get("SubnetIds")) != bool(
        vpc.get("SecurityGroupIds")
    ):
        raise invalid_parameter("SubnetIds and SecurityIds must coexist or be both empty list.")
    if target := (request.get("DeadLetterConfig") or {}).get("TargetArn"):
        _check_dead_letter(target)


def check_whole(version: FunctionVersion) -> None:
    """What members demand of each other. Raises AwsError InvalidParameterValueException."""
    if version.package_type == "Image":
        if version.runtime or version.handler or version.layers:
            raise invalid_parameter(
                "Please don't provide Handler or Runtime or Layer when the intended function PackageType is Image."
            )
    elif version.extra.get("ImageConfig"):
        raise invalid_parameter("Please don't provide ImageConfig when the intended function PackageType is Zip.")
    file_systems = version.extra.get("FileSystemConfigs")
    if file_systems and not (version.extra.get("VpcConfig") or {}).get("SubnetIds"):
        raise invalid_parameter(
            f"Function must be configured to execute in a VPC to reference access point {file_systems[0]['Arn']}"
        )
    if version.extra.get("SnapStart") == "PublishedVersions":
        _check_snap_start(version)


def _check_snap_start(version: FunctionVersion) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/snapstart.html, "Supported features and limitations"."""
    unsupported = None
    if version.package_type == "Image":
        unsupported = "ContainerImage"
    elif version.runtime is None or not supports_snap_start(version.runtime):
        unsupported = version.runtime
    elif version.extra.get("FileSystemConfigs"):
        unsupported = "FileSystemConfigs"
    elif is_tenant_isolated(version):
        unsupported = "TenancyConfig"
    elif version.ephemeral_mib > EPHEMERAL_MIN_MIB:
        unsupported = f"EphemeralStorage greater than {EPHEMERAL_MIN_MIB} MB"
    if unsupported is not None:
        raise invalid_parameter(f"{unsupported} is not supported for SnapStart enabled functions.")


def is_tenant_isolated(version: FunctionVersion) -> bool:
    """Such a function can have neither SnapStart, provisioned concurrency, function URLs nor event source mappings:
    https://docs.aws.amazon.com/cdk/api/v2/docs/aws-cdk-lib.aws_lambda.TenancyConfig.html"""
    return "TenancyConfig" in version.extra


def refuse_tenants(version: FunctionVersion, what: str) -> None:
    """Raises AwsError InvalidParameterValueException for a function that is kept apart by tenant. The text is ours."""
    if is_tenant_isolated(version):
        raise invalid_parameter(f"{what} are not supported for functions with tenant isolation.")


def check_logging(given: Mapping[str, Any] | None, log_format: str) -> None:
    """Raises AwsError for levels beside a text format."""
    if given and log_format == "Text" and (given.get("ApplicationLogLevel") or given.get("SystemLogLevel")):
        raise invalid_parameter(
            'LogLevel is not supported when LogFormat is set to "Text". '
            'Remove LogLevel from your request or change the LogFormat to "Json" and try again.'
        )


def _check_dead_letter(target: str) -> None:
    """A queue or a topic, and a standard one: https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html"""
    service = target.split(":")[2] if target.count(":") >= 5 else ""
    if service not in ("sqs", "sns"):
        raise invalid_parameter(f"Invalid dead letter ARN: {target}. Provide the ARN of an SQS queue or an SNS topic.")
    if target.endswith(".fifo"):
        raise invalid_parameter(f"Invalid dead letter ARN: {target}. FIFO queues and topics are not supported.")


def check_code_storage(view: CatalogTransaction, account_id: str, region: str, added_bytes: int, limit: int) -> None:
    """Raises AwsError when an account would keep more code than it may."""
    if added_bytes > 0 and view.usage(account_id, region).code_bytes + added_bytes > limit:
        raise AwsError("CodeStorageExceededException", "Code storage limit exceeded.", 400, {"Type": "User"})


def _check_range(value: int, member: str, least: int, most: int) -> None:
    if value < least:
        raise validation(
            constraint_failed(str(value), member, f"Member must have value greater than or equal to {least}")
        )
    if value > most:
        raise validation(constraint_failed(str(value), member, f"Member must have value less than or equal to {most}"))


def _check_memory(memory_mib: int) -> None:
    """AWS checks the upper end against the account, not the model, and says so differently."""
    if memory_mib > MEMORY_MAX_MIB:
        raise invalid_parameter(
            f"'MemorySize' value failed to satisfy constraint: Member must have value less than or equal to {MEMORY_MAX_MIB}"
        )
    _check_range(memory_mib, "memorySize", MEMORY_MIN_MIB, MEMORY_MAX_MIB)


def check_runtime(runtime: str, is_new: bool) -> None:
    """Raises AwsError for what AWS does not let a new function have, or an existing one."""
    if runtime in DEPRECATED or (is_new and runtime in NOT_CREATED):
        successor = SUCCESSORS.get(runtime)
        recommended = f"the new runtime ({successor})" if successor else "a supported runtime"
        raise invalid_parameter(
            f"The runtime parameter of {runtime} is no longer supported for creating or updating AWS Lambda functions. "
            f"We recommend you use {recommended} while creating or updating functions."
        )
    if runtime not in SUPPORTED and runtime not in NOT_CREATED:
        raise invalid_parameter(
            f"Value {runtime} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: "
            f"[{', '.join(SUPPORTED)}] or be a valid ARN"
        )


def check_variables(variables: Mapping[str, str]) -> None:
    reserved = [name for name in variables if name in RESERVED_VARIABLES]
    if reserved:
        raise invalid_parameter(
            "Lambda was unable to configure your environment variables because the environment variables you have "
            "provided contains reserved keys that are currently not supported for modification. "
            f"Reserved keys used in this request: {', '.join(reserved)}"
        )
    for name in variables:
        if _VARIABLE_NAME.fullmatch(name) is None:
            raise validation(
                constraint_failed(
                    f"{{{name}={variables[name]}}}",
                    "environment.variables",
                    f"Map keys must satisfy constraint: [{pattern_constraint(VARIABLE_NAME_PATTERN)}]",
                )
            )
    measured = json.dumps(variables, separators=(",", ":"), ensure_ascii=False)
    if len(measured.encode()) > ENVIRONMENT_MAX_BYTES:
        raise invalid_parameter(
            "Lambda was unable to configure your environment variables because the environment variables you have "
            f"provided exceeded the 4KB limit. String measured: {measured}"
        )


def check_kind(request: Mapping[str, Any]) -> None:
    """What CreateFunction needs for a zip package, or for an image."""
    has_image = bool(request["Code"].get("ImageUri"))
    if request.get("PackageType", "Zip") == "Image":
        if not has_image:
            raise invalid_parameter("Please provide ImageUri when creating a function with packageType Image.")
        if any(request["Code"].get(member) for member in ("ZipFile", "S3Bucket", "S3Key")):
            raise invalid_parameter("Please do not provide other FunctionCode parameters when providing an ImageUri.")
    elif not request.get("Runtime") or not request.get("Handler"):
        raise invalid_parameter(
            "Runtime and Handler are mandatory parameters for functions created with deployment packages."
        )
    elif has_image:
        raise invalid_parameter("Please don't provide ImageUri when creating a function with packageType Zip.")


def check_code_kind(version: FunctionVersion, request: Mapping[str, Any]) -> None:
    """Code of UpdateFunctionCode is of the kind that the function has."""
    if version.package_type == "Image" and not request.get("ImageUri"):
        raise invalid_parameter("Please provide ImageUri when updating a function with packageType Image.")
    if version.package_type == "Zip" and request.get("ImageUri"):
        raise invalid_parameter("Please don't provide ImageUri when updating a function with packageType Zip.")


def check_tags(tags: Mapping[str, str]) -> None:
    if len(tags) > TAGS_MAX:
        raise invalid_parameter("Number of tags exceeds resource tag limit.")
    # Same page: the prefix is AWS's own. The text is ours.
    if reserved := [key for key in tags if key.lower().startswith("aws:")]:
        raise invalid_parameter(f"Tag keys cannot start with aws: {', '.join(reserved)}")


def check_revision(given: str | None, current: str) -> None:
    """Raises AwsError when somebody else has changed it since the caller looked."""
    if given and given != current:
        raise precondition_failed(
            "The Revision Id provided does not match the latest Revision Id. "
            "Call the GetFunction/GetAlias API to retrieve the latest Revision Id"
        )


def check_can_change(latest: FunctionVersion) -> None:
    """Raises AwsError while the last change is still being made ready."""
    if latest.state is State.PENDING:
        raise conflict(
            "The operation cannot be performed at this time. "
            f"The function is currently in the following state: {latest.state.value}"
        )
    if latest.last_update_status is UpdateStatus.IN_PROGRESS:
        raise update_in_progress(latest)


def update_in_progress(latest: FunctionVersion) -> AwsError:
    return conflict(
        f"The operation cannot be performed at this time. An update is in progress for resource: {latest.arn}"
    )

"""What AWS demands of a function's configuration beyond the constraints of its model, in AWS's words."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from lambent.model.errors import conflict, invalid_parameter, precondition_failed, validation
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
from lambent.model.runtime_ids import DEPRECATED, SUPPORTED

TAGS_MAX: Final = 50  # https://docs.aws.amazon.com/lambda/latest/dg/configuration-tags.html
VARIABLE_NAME_PATTERN: Final = r"[a-zA-Z]([a-zA-Z0-9_])+"  # MODEL, EnvironmentVariableName

# https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html, "Reserved environment variables"
RESERVED_VARIABLES: Final = frozenset((
    "_HANDLER", "_X_AMZN_TRACE_ID", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_EXECUTION_ENV", "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_VERSION", "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME", "AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_LAMBDA_RUNTIME_API", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR",
))  # fmt: skip

_ROLE: Final = re.compile(ROLE_PATTERN)
_VARIABLE_NAME: Final = re.compile(VARIABLE_NAME_PATTERN)


def check_configuration(request: Mapping[str, Any]) -> None:
    """Looks at the members that are there. Raises AwsError."""
    if (role := request.get("Role")) is not None and _ROLE.fullmatch(role) is None:
        raise validation(constraint_failed(role, "role", pattern_constraint(ROLE_PATTERN)))
    if (runtime := request.get("Runtime")) is not None:
        check_runtime(runtime)
    if (timeout_s := request.get("Timeout")) is not None:
        _check_range(timeout_s, "timeout", 1, TIMEOUT_MAX_S)
    if (memory_mib := request.get("MemorySize")) is not None:
        _check_memory(memory_mib)
    if (storage := request.get("EphemeralStorage")) is not None:
        _check_range(storage["Size"], "ephemeralStorage.size", EPHEMERAL_MIN_MIB, EPHEMERAL_MAX_MIB)
    if (environment := request.get("Environment")) is not None:
        check_variables(environment.get("Variables") or {})
    if request.get("FileSystemConfigs") and not (request.get("VpcConfig") or {}).get("SubnetIds"):
        raise invalid_parameter("Function must be configured to execute in a VPC to reference access point "
                                + request["FileSystemConfigs"][0]["Arn"])  # fmt: skip


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


def check_runtime(runtime: str) -> None:
    if runtime in DEPRECATED:
        raise invalid_parameter(
            f"The runtime parameter of {runtime} is no longer supported for creating or updating AWS Lambda functions. "
            "We recommend you use a supported runtime while creating or updating functions."
        )
    if runtime not in SUPPORTED:
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


def check_zip_function(runtime: str | None, handler: str | None) -> None:
    if not runtime or not handler:
        raise invalid_parameter(
            "Runtime and Handler are mandatory parameters for functions created with deployment packages."
        )


def check_tags(tags: Mapping[str, str]) -> None:
    if len(tags) > TAGS_MAX:
        raise invalid_parameter("Number of tags exceeds resource tag limit.")


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
        raise conflict(
            f"The operation cannot be performed at this time. An update is in progress for resource: {latest.arn}"
        )

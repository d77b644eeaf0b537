"""The environment variables that Lambda sets for a function.

Source: https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html, "Defined runtime environment variables".
"""

from __future__ import annotations

from collections.abc import Mapping

from lambent.model.cage import RuntimeInstallation
from lambent.model.function import FunctionVersion

TASK_ROOT = "/var/task"
RUNTIME_DIR = "/var/runtime"


def environment_variables(
    version: FunctionVersion,
    installation: RuntimeInstallation,
    own: Mapping[str, str],
    log_stream: str,
    initialization_type: str = "on-demand",
) -> dict[str, str]:
    """What a function's process is started with: its `own` variables and Lambda's, but for credentials and addresses."""
    variables = {
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "LAMBDA_TASK_ROOT": TASK_ROOT,
        "LAMBDA_RUNTIME_DIR": RUNTIME_DIR,
        **installation.environment,
        **own,
        "_HANDLER": version.handler or "",
        "AWS_REGION": version.region,
        "AWS_DEFAULT_REGION": own.get("AWS_DEFAULT_REGION", version.region),
        "AWS_LAMBDA_FUNCTION_NAME": version.name,
        "AWS_LAMBDA_FUNCTION_VERSION": version.version,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(version.memory_mib),
        "AWS_LAMBDA_INITIALIZATION_TYPE": initialization_type,
        "AWS_LAMBDA_LOG_GROUP_NAME": version.log_group,
        "AWS_LAMBDA_LOG_STREAM_NAME": log_stream,
        "AWS_XRAY_CONTEXT_MISSING": own.get("AWS_XRAY_CONTEXT_MISSING", "LOG_ERROR"),
        "AWS_XRAY_DAEMON_ADDRESS": "127.0.0.1:2000",
        "_AWS_XRAY_DAEMON_ADDRESS": "127.0.0.1",
        "_AWS_XRAY_DAEMON_PORT": "2000",
    }
    if installation.family != "provided":
        variables["AWS_EXECUTION_ENV"] = f"AWS_Lambda_{installation.runtime}"
    if version.logging.log_format == "JSON":
        variables["AWS_LAMBDA_LOG_FORMAT"] = "JSON"
        variables["AWS_LAMBDA_LOG_LEVEL"] = version.logging.application_log_level or "INFO"
    else:
        variables["AWS_LAMBDA_LOG_FORMAT"] = "Text"
    if initialization_type == "snap-start":
        # https://docs.aws.amazon.com/lambda/latest/dg/snapstart-monitoring.html: they would be another environment's.
        del variables["AWS_LAMBDA_LOG_GROUP_NAME"], variables["AWS_LAMBDA_LOG_STREAM_NAME"]
    return variables

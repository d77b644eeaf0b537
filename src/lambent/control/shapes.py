"""Values into AWS's output members, with everything that AWS returns by default."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from lambent.model.function import Alias, FunctionSettings, FunctionVersion, LayerVersion, LoggingConfig, UpdateStatus
from lambent.model.names import is_version

# Members that are stored and given back as they came, by the name that they have in requests.
STORED_AS_GIVEN: Final = (
    "DeadLetterConfig", "KMSKeyArn", "FileSystemConfigs", "TenancyConfig", "DurableConfig",
)  # fmt: skip
STATE_MEMBERS: Final = frozenset((
    "State", "StateReason", "StateReasonCode", "LastUpdateStatus", "LastUpdateStatusReason",
    "LastUpdateStatusReasonCode", "RuntimeVersionConfig",
))  # fmt: skip


def configuration(
    version: FunctionVersion,
    arn: str | None = None,
    environment: dict[str, Any] | None = None,
    has_image: bool = False,
) -> dict[str, Any]:
    """FunctionConfiguration. `arn` is how the caller asked for it, where that differs: unqualified, or an alias's.

    `environment` is the member of that name, see `Vault.described`.
    """
    out: dict[str, Any] = {
        "FunctionName": version.name,
        "FunctionArn": arn or (version.qualified_arn if is_version(version.version) else version.arn),
        "Role": version.role,
        "CodeSize": version.code_size_bytes,
        "Description": version.description,
        "Timeout": version.timeout_s,
        "MemorySize": version.memory_mib,
        "LastModified": version.last_modified,
        "CodeSha256": version.code_sha256,
        "Version": version.version,
        "TracingConfig": {"Mode": version.tracing_mode},
        "RevisionId": version.revision_id,
        "State": version.state.value,
        "PackageType": version.package_type,
        "Architectures": list(version.architectures),
        "EphemeralStorage": {"Size": version.ephemeral_mib},
        "SnapStart": {
            "ApplyOn": version.extra.get("SnapStart", "None"),
            "OptimizationStatus": "On" if has_image else "Off",
        },
        "LoggingConfig": logging_config(version.logging, version.log_group),
        "ConfigSha256": version.config_sha256,
    }
    if version.runtime is not None:
        out["Runtime"] = version.runtime
        out["RuntimeVersionConfig"] = {"RuntimeVersionArn": runtime_version_arn(version.region, version.runtime)}
    if version.handler is not None:
        out["Handler"] = version.handler
    if environment is not None:
        out["Environment"] = environment
    if version.layers:
        out["Layers"] = [{"Arn": layer.arn, "CodeSize": layer.code_size_bytes} for layer in version.layers]
    out.update(_reasons(version))
    out.update(_stored(version))
    return out


def listed(
    version: FunctionVersion,
    arn: str | None = None,
    environment: dict[str, Any] | None = None,
    has_image: bool = False,
) -> dict[str, Any]:
    """The same without what lists leave out: states and the runtime's version (ListFunctions' documentation)."""
    full = configuration(version, arn, environment, has_image)
    return {name: value for name, value in full.items() if name not in STATE_MEMBERS}


def _reasons(version: FunctionVersion) -> dict[str, Any]:
    out: dict[str, Any] = {
        "StateReason": version.state_reason,
        "StateReasonCode": version.state_reason_code,
        "LastUpdateStatusReason": version.last_update_status_reason,
        "LastUpdateStatusReasonCode": version.last_update_status_reason_code,
    }
    # While a function is being created AWS says nothing yet of an update.
    if version.state_reason_code != "Creating" or version.last_update_status is not UpdateStatus.SUCCESSFUL:
        out["LastUpdateStatus"] = version.last_update_status.value
    return {name: value for name, value in out.items() if value is not None}


def _stored(version: FunctionVersion) -> dict[str, Any]:
    out = {name: version.extra[name] for name in STORED_AS_GIVEN if name in version.extra}
    if (vpc := version.extra.get("VpcConfig")) is not None:
        out["VpcConfig"] = {
            "SubnetIds": [],
            "SecurityGroupIds": [],
            "VpcId": "",
            "Ipv6AllowedForDualStack": False,
            **vpc,
        }
    if (image := version.extra.get("ImageConfig")) is not None:
        out["ImageConfigResponse"] = {"ImageConfig": image}
    return out


def logging_config(logging: LoggingConfig, group: str) -> dict[str, Any]:
    out = {"LogFormat": logging.log_format, "LogGroup": group}
    if logging.log_format == "JSON":
        out["ApplicationLogLevel"] = logging.application_log_level or "INFO"
        out["SystemLogLevel"] = logging.system_log_level or "INFO"
    return out


def runtime_version_arn(region: str, runtime: str) -> str:
    """Names a build of the runtime, as AWS does with a digest; here it stands for the identifier."""
    return f"arn:aws:lambda:{region}::runtime:{hashlib.sha256(runtime.encode()).hexdigest()}"


def function(
    version: FunctionVersion,
    settings: FunctionSettings,
    configured: dict[str, Any],
    location: str,
    *,
    is_qualified: bool = False,
) -> dict[str, Any]:
    """GetFunctionResponse. `configured` is the version's FunctionConfiguration.

    A version or an alias has no reserve of its own: Terraform's provider asks GetFunctionConcurrency for it then.
    """
    code: dict[str, Any] = {"RepositoryType": "S3", "Location": location}
    if version.image_uri is not None:
        code = {"RepositoryType": "ECR", "ImageUri": version.image_uri}
        if version.resolved_image_uri is not None:
            code["ResolvedImageUri"] = version.resolved_image_uri
    if (key_arn := version.extra.get("SourceKMSKeyArn")) is not None:
        code["SourceKMSKeyArn"] = key_arn
    out: dict[str, Any] = {"Configuration": configured, "Code": code}
    if settings.tags:
        out["Tags"] = dict(settings.tags)
    if settings.reserved_concurrency is not None and not is_qualified:
        out["Concurrency"] = {"ReservedConcurrentExecutions": settings.reserved_concurrency}
    return out


def alias_configuration(alias: Alias) -> dict[str, Any]:
    out: dict[str, Any] = {
        "AliasArn": alias.arn,
        "Name": alias.name,
        "FunctionVersion": alias.function_version,
        "Description": alias.description,
        "RevisionId": alias.revision_id,
    }
    if alias.additional_weights:
        out["RoutingConfig"] = {"AdditionalVersionWeights": dict(alias.additional_weights)}
    return out


def layer_summary(layer: LayerVersion) -> dict[str, Any]:
    """LayerVersionsListItem."""
    out: dict[str, Any] = {
        "LayerVersionArn": layer.arn,
        "Version": layer.version,
        "Description": layer.description,
        "CreatedDate": layer.created,
    }
    if layer.compatible_runtimes:
        out["CompatibleRuntimes"] = list(layer.compatible_runtimes)
    if layer.compatible_architectures:
        out["CompatibleArchitectures"] = list(layer.compatible_architectures)
    if layer.license_info:
        out["LicenseInfo"] = layer.license_info
    return out


def layer_version(layer: LayerVersion, location: str) -> dict[str, Any]:
    """GetLayerVersionResponse and PublishLayerVersionResponse."""
    return {
        "Content": {"Location": location, "CodeSha256": layer.code_sha256, "CodeSize": layer.code_size_bytes},
        "LayerArn": layer.layer_arn,
        **layer_summary(layer),
    }

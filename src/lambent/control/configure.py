"""A request's members onto a function's configuration. What is not in the request stays as it is."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs
import msgspec

from lambent.control.outside import ResolvedImage
from lambent.control.packages import Package
from lambent.control.shapes import STORED_AS_GIVEN
from lambent.model.function import FunctionVersion, LoggingConfig, State, UpdateStatus

DURABLE_RETENTION_DAYS: Final = 14  # CreateFunction, DurableConfig: the default

# Member of the request → (our field, its value there).
_SIMPLE: Final[Mapping[str, tuple[str, Callable[[Any], Any]]]] = {
    "Role": ("role", str),
    "Runtime": ("runtime", str),
    "Handler": ("handler", str),
    "PackageType": ("package_type", str),
    "Description": ("description", str),
    "Timeout": ("timeout_s", int),
    "MemorySize": ("memory_mib", int),
    "EphemeralStorage": ("ephemeral_mib", lambda value: value["Size"]),
    "Architectures": ("architectures", tuple),
    "TracingConfig": ("tracing_mode", lambda value: value.get("Mode", "PassThrough")),
}

# Members that are removed by giving them empty; this says whether they are.
_EMPTY: Final[Mapping[str, Callable[[Any], bool]]] = {
    "DeadLetterConfig": lambda value: not value.get("TargetArn"),
    "KMSKeyArn": lambda value: not value,
    "FileSystemConfigs": lambda value: not value,
    "ImageConfig": lambda value: not any(value.values()),
}


def configured(base: FunctionVersion, request: Mapping[str, Any]) -> FunctionVersion:
    """`base` with the members of CreateFunction or UpdateFunctionConfiguration, less layers, variables and code."""
    changes: dict[str, Any] = {}
    for member, (field, convert) in _SIMPLE.items():
        if request.get(member) is not None:
            changes[field] = convert(request[member])
    if request.get("LoggingConfig") is not None:
        changes["logging"] = _logging(base.logging, request["LoggingConfig"])
    changes["extra"] = _extra(base.extra, request)
    return attrs.evolve(base, **changes)


def _logging(base: LoggingConfig, given: Mapping[str, Any]) -> LoggingConfig:
    log_format = given.get("LogFormat", base.log_format)
    is_json = log_format == "JSON"
    return LoggingConfig(
        log_format=log_format,
        application_log_level=given.get("ApplicationLogLevel", base.application_log_level) if is_json else None,
        system_log_level=given.get("SystemLogLevel", base.system_log_level) if is_json else None,
        log_group=given.get("LogGroup", base.log_group),
    )


def _extra(base: Mapping[str, Any], request: Mapping[str, Any]) -> dict[str, Any]:
    extra = dict(base)
    for member in (*STORED_AS_GIVEN, "VpcConfig", "ImageConfig"):
        if request.get(member) is None:
            continue
        if _EMPTY.get(member, lambda _: False)(request[member]):
            extra.pop(member, None)
        else:
            extra[member] = request[member]
    if request.get("SnapStart") is not None:
        extra["SnapStart"] = request["SnapStart"].get("ApplyOn", "None")
    if "DurableConfig" in extra:
        extra["DurableConfig"] = {"RetentionPeriodInDays": DURABLE_RETENTION_DAYS, **extra["DurableConfig"]}
    return extra


def with_code(base: FunctionVersion, package: Package, request: Mapping[str, Any]) -> FunctionVersion:
    """`base` with another package; UpdateFunctionCode may change the architecture along with it."""
    return _with_source(
        attrs.evolve(
            base,
            code_digest=package.digest,
            code_sha256=package.code_sha256,
            code_size_bytes=package.size_bytes,
            architectures=tuple(request.get("Architectures") or base.architectures),
        ),
        request,
    )


def with_image(base: FunctionVersion, image: ResolvedImage, request: Mapping[str, Any], uri: str) -> FunctionVersion:
    """`base` with another container image."""
    return _with_source(
        attrs.evolve(
            base,
            image_uri=uri,
            resolved_image_uri=image.uri,
            code_sha256=image.sha256,
            architectures=tuple(request.get("Architectures") or base.architectures),
        ),
        request,
    )


def _with_source(version: FunctionVersion, request: Mapping[str, Any]) -> FunctionVersion:
    """With the key that the caller named for this code; without one, with none."""
    code = request.get("Code", request)
    extra = {name: value for name, value in version.extra.items() if name != "SourceKMSKeyArn"}
    if code.get("SourceKMSKeyArn"):
        extra["SourceKMSKeyArn"] = code["SourceKMSKeyArn"]
    return attrs.evolve(version, extra=extra)


def sealed(version: FunctionVersion) -> FunctionVersion:
    """With the digest of its configuration: equal for two versions that do the same, whatever their state."""
    plain = attrs.evolve(
        version,
        version="",
        state=State.ACTIVE,
        state_reason=None,
        state_reason_code=None,
        last_update_status=UpdateStatus.SUCCESSFUL,
        last_update_status_reason=None,
        last_update_status_reason_code=None,
        last_modified="",
        revision_id="",
        config_sha256="",
        # The same variables are encrypted differently each time: they count by their digest.
        sealed=attrs.evolve(version.sealed, ciphertext="", wrapped_key=None) if version.sealed else None,
    )
    digest = hashlib.sha256(msgspec.json.encode(plain, order="deterministic")).digest()
    return attrs.evolve(version, config_sha256=base64.b64encode(digest).decode())

"""Functions, versions, aliases and layers as values. Field names are ours; `control/` turns them into AWS's shapes."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

import attrs

from lambent.model.limits import EPHEMERAL_MIN_MIB, MEMORY_DEFAULT_MIB, TIMEOUT_DEFAULT_S
from lambent.model.sealing import SealedEnvironment

LATEST = "$LATEST"


class State(enum.StrEnum):
    PENDING = "Pending"  # being made ready; invocations wait
    ACTIVE = "Active"  # can be invoked
    INACTIVE = "Inactive"  # idle for long; becomes Pending at the next invocation
    FAILED = "Failed"  # could not be made ready; says why


class UpdateStatus(enum.StrEnum):
    SUCCESSFUL = "Successful"
    IN_PROGRESS = "InProgress"  # the last update is being made ready; invocations use the code before it
    FAILED = "Failed"


@attrs.frozen(kw_only=True)
class LayerReference:
    """A layer version that a function uses."""

    arn: str  # with its version
    code_sha256: str  # Base64, as AWS prints it
    code_size_bytes: int
    digest: str  # hex SHA-256: the blob's name in `ports.Blobs`


@attrs.frozen(kw_only=True)
class LoggingConfig:
    log_format: str = "Text"  # "Text" or "JSON"
    application_log_level: str | None = None  # only with JSON; default INFO
    system_log_level: str | None = None
    log_group: str | None = None  # None: /aws/lambda/NAME


@attrs.frozen(kw_only=True)
class FunctionVersion:
    """One version of a function: code and configuration. `$LATEST` changes by `attrs.evolve`, numbered ones never do."""

    account_id: str
    region: str
    name: str
    version: str  # "$LATEST" or a number
    role: str  # ARN of the execution role
    runtime: str | None  # None for images
    handler: str | None
    package_type: str = "Zip"  # "Zip" or "Image"
    code_digest: str | None = None  # hex SHA-256 of the zip: the blob's name
    code_sha256: str = ""  # Base64 of the same
    code_size_bytes: int = 0
    description: str = ""
    timeout_s: int = TIMEOUT_DEFAULT_S
    memory_mib: int = MEMORY_DEFAULT_MIB
    ephemeral_mib: int = EPHEMERAL_MIN_MIB
    environment: Mapping[str, str] = attrs.field(factory=dict)  # readable: only while it is used, never stored
    sealed: SealedEnvironment | None = None  # the same, as it is stored
    image_uri: str | None = None  # of a function that is a container image, as it was given
    resolved_image_uri: str | None = None  # the same image by its digest
    layers: tuple[LayerReference, ...] = ()
    architectures: tuple[str, ...] = ("x86_64",)
    logging: LoggingConfig = LoggingConfig()
    tracing_mode: str = "PassThrough"  # or "Active"
    state: State = State.ACTIVE
    state_reason: str | None = None
    state_reason_code: str | None = None
    last_update_status: UpdateStatus = UpdateStatus.SUCCESSFUL
    last_update_status_reason: str | None = None
    last_update_status_reason_code: str | None = None
    last_modified: str = ""  # 2026-11-21T08:00:00.000+0000
    revision_id: str = ""  # UUID; changes with every change
    config_sha256: str = ""
    extra: Mapping[str, Any] = attrs.field(factory=dict)  # members that are stored and given back, by AWS's names

    @property
    def arn(self) -> str:
        """Unqualified."""
        return f"arn:aws:lambda:{self.region}:{self.account_id}:function:{self.name}"

    @property
    def qualified_arn(self) -> str:
        return f"{self.arn}:{self.version}"

    @property
    def build(self) -> tuple[str, str, str | None]:
        """What its environments are made from: other than `revision_id`, permissions and tags leave it as it is."""
        return self.last_modified, self.config_sha256, self.code_digest

    @property
    def is_pending(self) -> bool:
        """It is yet to be made ready."""
        return self.state is State.PENDING or self.last_update_status is UpdateStatus.IN_PROGRESS

    @property
    def snap_starts(self) -> bool:
        """Its environments are to be restored from an image of one whose init is done."""
        return self.version != LATEST and self.extra.get("SnapStart") == "PublishedVersions"

    @property
    def log_group(self) -> str:
        return self.logging.log_group or f"/aws/lambda/{self.name}"


@attrs.frozen(kw_only=True)
class FunctionSettings:
    """What belongs to a function as a whole, and not to one of its versions."""

    tags: Mapping[str, str] = attrs.field(factory=dict)
    reserved_concurrency: int | None = None  # None: it shares what the account has unreserved; 0: it is stopped
    extra: Mapping[str, Any] = attrs.field(factory=dict)  # further documents, by the operation family that owns them


@attrs.frozen(kw_only=True)
class AccountUsage:
    """What an account has in one region."""

    function_count: int
    code_bytes: int  # zipped: every version of every function, and every layer version
    reserved_concurrency: int  # of all its functions together


@attrs.frozen(kw_only=True)
class Alias:
    """A pointer to one version, or to two by weight."""

    account_id: str
    region: str
    function_name: str
    name: str
    function_version: str
    description: str = ""
    additional_weights: Mapping[str, float] = attrs.field(factory=dict)  # version → share of invocations, 0..1
    revision_id: str = ""

    @property
    def arn(self) -> str:
        return f"arn:aws:lambda:{self.region}:{self.account_id}:function:{self.function_name}:{self.name}"


@attrs.frozen(kw_only=True)
class LayerVersion:
    account_id: str
    region: str
    name: str
    version: int
    code_digest: str
    code_sha256: str
    code_size_bytes: int
    description: str = ""
    compatible_runtimes: tuple[str, ...] = ()
    compatible_architectures: tuple[str, ...] = ()
    license_info: str = ""
    created: str = ""

    @property
    def layer_arn(self) -> str:
        return f"arn:aws:lambda:{self.region}:{self.account_id}:layer:{self.name}"

    @property
    def arn(self) -> str:
        return f"{self.layer_arn}:{self.version}"

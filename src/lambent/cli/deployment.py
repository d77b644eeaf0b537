"""Creating or updating a function through the API, and waiting until it can be called."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Mapping
from typing import Any, Final

import attrs

from lambent.cli.client import Server
from lambent.cli.problems import Problem

SETTLE_TIMEOUT_S: Final = 120.0
FIRST_LOOK_S: Final = 0.02
LONGEST_LOOK_S: Final = 0.5
OWN_ROLE: Final = "lambent-deploy"
TRUST: Final = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"},
    ],
}
ROLE_REFUSED: Final = frozenset((
    "The role defined for the function cannot be assumed by Lambda.", "Cross-account pass role is not allowed.",
))  # fmt: skip


@attrs.frozen(kw_only=True)
class Wanted:
    """What the user asks for. None: keep what the function has, or take AWS's default."""

    name: str
    archive: bytes
    runtime: str | None = None
    handler: str | None = None
    role: str | None = None
    memory_mib: int | None = None
    timeout_s: int | None = None
    environment: Mapping[str, str] = attrs.field(factory=dict)  # added to what the function has
    layers: tuple[str, ...] | None = None  # ARNs of layer versions


@attrs.frozen(kw_only=True)
class Deployed:
    action: str  # "created", "updated", "unchanged"
    configuration: Mapping[str, Any]  # as GetFunctionConfiguration answers


def current(client: Any, name: str) -> dict[str, Any] | None:
    """The function's configuration; None when there is no such function."""
    try:
        found: dict[str, Any] = client.get_function_configuration(FunctionName=name)
    except client.exceptions.ResourceNotFoundException:
        return None
    return found


def deploy(server: Server, client: Any, wanted: Wanted, before: Mapping[str, Any] | None) -> Deployed:
    """Creates the function, or changes what differs. Raises Problem."""
    with server.errors():
        if before is None:
            _create(server, client, wanted)
            return Deployed(action="created", configuration=_settled(client, wanted.name))
        changes = _changes(wanted, before)
        if changes:
            client.update_function_configuration(FunctionName=wanted.name, **changes)
            _settled(client, wanted.name)
        sha256 = base64.b64encode(hashlib.sha256(wanted.archive).digest()).decode()
        if sha256 == before["CodeSha256"]:
            action = "updated" if changes else "unchanged"
            return Deployed(action=action, configuration=_settled(client, wanted.name))
        client.update_function_code(FunctionName=wanted.name, ZipFile=wanted.archive)
        return Deployed(action="updated", configuration=_settled(client, wanted.name))


def layer_arn(server: Server, client: Any, name: str, archive: bytes) -> str:
    """The ARN of a layer version with this content: the newest one if it is the same, else a new one."""
    sha256 = base64.b64encode(hashlib.sha256(archive).digest()).decode()
    with server.errors():
        versions = client.list_layer_versions(LayerName=name, MaxItems=1)["LayerVersions"]
        if versions:
            newest = client.get_layer_version(LayerName=name, VersionNumber=versions[0]["Version"])
            if newest["Content"]["CodeSha256"] == sha256:
                return str(newest["LayerVersionArn"])
        published = client.publish_layer_version(LayerName=name, Content={"ZipFile": archive})
        return str(published["LayerVersionArn"])


def _create(server: Server, client: Any, wanted: Wanted) -> None:
    """Where roles must exist, a function for which none was named gets one of its own kind, made when it is missing."""
    request = {
        "FunctionName": wanted.name,
        "Code": {"ZipFile": wanted.archive},
        **{"Role": f"arn:aws:iam::{server.account_id()}:role/{OWN_ROLE}", **_members(wanted)},
    }
    try:
        client.create_function(**request)
    except client.exceptions.ClientError as error:
        if wanted.role is not None or error.response["Error"]["Message"] not in ROLE_REFUSED:
            raise
        client.create_function(**{**request, "Role": _own_role(server.client("iam"))})


def _own_role(iam: Any) -> str:
    """The ARN of a role that Lambda may assume and that allows nothing."""
    try:
        return str(iam.create_role(RoleName=OWN_ROLE, AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"])
    except iam.exceptions.EntityAlreadyExistsException:
        return str(iam.get_role(RoleName=OWN_ROLE)["Role"]["Arn"])


def _members(wanted: Wanted) -> dict[str, Any]:
    members = {
        "Runtime": wanted.runtime,
        "Handler": wanted.handler,
        "Role": wanted.role,
        "MemorySize": wanted.memory_mib,
        "Timeout": wanted.timeout_s,
        "Environment": {"Variables": dict(wanted.environment)} if wanted.environment else None,
        "Layers": None if wanted.layers is None else list(wanted.layers),
    }
    return {name: value for name, value in members.items() if value is not None}


def _changes(wanted: Wanted, before: Mapping[str, Any]) -> dict[str, Any]:
    """The members of UpdateFunctionConfiguration that differ from what the function has."""
    members = _members(wanted)
    variables = before.get("Environment", {}).get("Variables", {})
    has = {**before, "Layers": [layer["Arn"] for layer in before.get("Layers", [])]}
    has["Environment"] = {"Variables": variables}
    if "Environment" in members:
        members["Environment"] = {"Variables": {**variables, **wanted.environment}}
    return {name: value for name, value in members.items() if has.get(name) != value}


def _settled(client: Any, name: str) -> dict[str, Any]:
    """Waits until the function can be called. AWS's own waiters look once a second; a laptop need not."""
    deadline = time.monotonic() + SETTLE_TIMEOUT_S
    pause = FIRST_LOOK_S
    while True:
        now: dict[str, Any] = client.get_function_configuration(FunctionName=name)
        if now.get("State") == "Failed":
            raise Problem(f"{name} could not be made ready: {now.get('StateReason') or 'the server does not say why'}")
        if now.get("LastUpdateStatus") == "Failed":
            raise Problem(f"{name} could not be updated: {now.get('LastUpdateStatusReason') or 'no reason was given'}")
        if now.get("State") != "Pending" and now.get("LastUpdateStatus") != "InProgress":
            return now
        if time.monotonic() > deadline:
            raise Problem(
                f"{name} is still {now.get('State')} after {SETTLE_TIMEOUT_S:.0f} s; look at the server's log"
            )
        time.sleep(pause)
        pause = min(pause * 1.5, LONGEST_LOOK_S)

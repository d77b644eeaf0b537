"""The condition keys of a request: what policies can ask about who asks, how, and for what.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html (global keys) and
https://docs.aws.amazon.com/service-authorization/latest/reference/list_awslambda.html (Lambda's own).
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from typing import Any, Final

from lambent.front.authorize_place import Target
from lambent.model.identity import KnownKey
from lambent.model.policy import Principal

Values = dict[str, str | bool | int | float | Iterable[str]]

# Members of Lambda's requests that policies can ask about.
_LAMBDA_MEMBERS: Final = {
    "Principal": "lambda:Principal", "FunctionUrlAuthType": "lambda:FunctionUrlAuthType", "AuthType": "lambda:FunctionUrlAuthType",
    "Layers": "lambda:Layer", "CodeSigningConfigArn": "lambda:CodeSigningConfigArn", "EventSourceToken": "lambda:EventSourceToken",
    "InvokedViaFunctionUrl": "lambda:InvokedViaFunctionUrl",
}  # fmt: skip


def of_caller(key: KnownKey, principal: Principal, tags: Mapping[str, str]) -> Values:
    """What stays the same as long as the caller does."""
    values: Values = {
        "aws:PrincipalArn": principal.identity_arn,
        "aws:PrincipalAccount": principal.account_id,
        "aws:PrincipalType": principal.kind.value,
        "aws:PrincipalIsAWSService": False,
        "aws:ViaAWSService": False,
    }
    if principal.kind.value == "User":
        values["aws:username"] = principal.arn.rpartition("/")[2]
    if key.source_function_arn is not None:
        values["lambda:SourceFunctionArn"] = key.source_function_arn
    for name, value in {**tags, **key.tags}.items():
        values[f"aws:PrincipalTag/{name}"] = value
    return values


def of_request(region: str, now_s: float, source_ip: str | None, headers: Mapping[str, str]) -> Values:
    now = datetime.datetime.fromtimestamp(int(now_s), datetime.UTC)
    values: Values = {
        "aws:RequestedRegion": region,
        "aws:CurrentTime": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "aws:EpochTime": int(now_s),
        "aws:SecureTransport": False,  # this port speaks HTTP; a proxy's word for it could be anybody's
    }
    if source_ip is not None:
        values["aws:SourceIp"] = source_ip
    for header, name in (("user-agent", "aws:UserAgent"), ("referer", "aws:Referer")):
        if header in headers:
            values[name] = headers[header]
    return values


def of_target(target: Target, params: Mapping[str, Any], tags: Mapping[str, str]) -> Values:
    """`tags` are those that the resource has."""
    values: Values = dict(target.context)
    for name, value in tags.items():
        values[f"aws:ResourceTag/{name}"] = value
    wanted = _tags_in(params)
    for name, value in wanted.items():
        values[f"aws:RequestTag/{name}"] = value
    keys = list(wanted) or [key for key in params.get("TagKeys", ()) if isinstance(key, str)]
    if keys:
        values["aws:TagKeys"] = keys
    if target.action.startswith("lambda:"):
        values |= _of_lambda(params)
    return values


def _of_lambda(params: Mapping[str, Any]) -> Values:
    values: Values = {key: params[member] for member, key in _LAMBDA_MEMBERS.items() if params.get(member) is not None}
    vpc = params.get("VpcConfig") or {}
    for member, key in (("SubnetIds", "lambda:SubnetIds"), ("SecurityGroupIds", "lambda:SecurityGroupIds")):
        if vpc.get(member):
            values[key] = vpc[member]
    return values


def _tags_in(params: Mapping[str, Any]) -> dict[str, str]:
    """Services write tags as a map, or as a list of `Key` and `Value`."""
    tags = params.get("Tags", params.get("tags"))
    if isinstance(tags, Mapping):
        return {str(key): str(value) for key, value in tags.items()}
    listed = tags if isinstance(tags, list) else []
    pairs = [
        (tag.get("Key", tag.get("key")), tag.get("Value", tag.get("value", "")))
        for tag in listed
        if isinstance(tag, Mapping)
    ]
    return {str(key): str(value) for key, value in pairs if key is not None}

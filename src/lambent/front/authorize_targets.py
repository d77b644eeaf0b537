"""What a request needs permission for: IAM's action and the resources it is about, for each operation.

https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
has a page for each service. An action that AWS itself does not restrict to resources has the resource `*`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from lambent.front import authorize_services as services
from lambent.front.authorize_place import Place, Target
from lambent.model.names import (
    FunctionAddress,
    join_qualifiers,
    parse_function_ref,
    parse_layer_ref,
    parse_layer_version_arn,
)
from lambent.wire.shapes import Operation

Params = Mapping[str, Any]

# Operations that have no resource: https://docs.aws.amazon.com/service-authorization/latest/reference/list_awslambda.html
_LAMBDA_ANYWHERE: Final = frozenset(
    {
        "CreateCapacityProvider", "CreateCodeSigningConfig", "CreateEventSourceMapping", "GetAccountSettings",
        "ListCapacityProviders", "ListCodeSigningConfigs", "ListEventSourceMappings", "ListFunctions", "ListLayers",
        "ListLayerVersions", "SendDurableExecutionCallbackFailure", "SendDurableExecutionCallbackHeartbeat",
        "SendDurableExecutionCallbackSuccess",
    }
)  # fmt: skip
_LAMBDA_ACTIONS: Final = {
    "Invoke": "InvokeFunction",
    "InvokeAsync": "InvokeFunction",
    "InvokeWithResponseStream": "InvokeFunction",
    "GetLayerVersionByArn": "GetLayerVersion",
}
_LAMBDA_ARNS: Final = ("Resource", "ResourceArn", "CodeSigningConfigArn", "DurableExecutionArn")
# Anybody may ask who he is: https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html, and
# https://docs.aws.amazon.com/STS/latest/APIReference/API_GetSessionToken.html ("No permissions are required").
_FREE: Final = frozenset({("sts", "GetCallerIdentity"), ("sts", "GetSessionToken")})


def targets_of(operation: Operation, params: Params, place: Place) -> list[Target]:
    """All that must be allowed; empty for what needs no permission.

    Raises AwsError for names that are none, as the operation itself would.
    """
    service = operation.service
    if (service.name, operation.name) in _FREE:
        return []
    if service.name == "lambda":
        return list(_of_lambda(operation.name, params, place))
    if service.name == "logs":
        return [Target(f"logs:{operation.name}", _log_resource(params, place), place.account_id)]
    special = _SPECIAL.get(service.name)
    found = special(operation.name, params, place) if special is not None else services.of_any(operation, params, place)
    return list(found) or [Target(f"{service.signing_name}:{operation.name}", "*", place.account_id)]


_SPECIAL: Final[Mapping[str, Callable[[str, Params, Place], Iterable[Target]]]] = {
    "s3": services.of_s3,
    "sqs": services.of_sqs,
    "sns": services.of_sns,
    "dynamodb": services.of_dynamodb,
    "iam": services.of_iam,
    "sts": services.of_sts,
}


def function_address(text: str, qualifier: str | None, place: Place) -> FunctionAddress:
    """The function that a caller means, in whose account it may be. Raises AwsError for a text that names none."""
    ref = parse_function_ref(text)
    joined = join_qualifiers(ref.qualifier, qualifier)
    return FunctionAddress(ref.account_id or place.account_id, ref.region or place.region, ref.name, joined)


def _of_lambda(name: str, params: Params, place: Place) -> Iterable[Target]:
    action = f"lambda:{_LAMBDA_ACTIONS.get(name, name)}"
    yield _lambda_target(name, action, params, place)
    role = params.get("Role")
    if isinstance(role, str) and name in ("CreateFunction", "UpdateFunctionConfiguration"):
        # https://docs.aws.amazon.com/lambda/latest/dg/lambda-intro-execution-role.html: who names a role must be let to.
        context = {"iam:PassedToService": "lambda.amazonaws.com"}
        yield Target("iam:PassRole", role, account_in(role) or place.account_id, context)
    if name in ("CreateFunction", "UpdateFunctionConfiguration"):
        yield from _used_layers(params, place)
        yield from _given_key(params, place)
    code = params.get("Code") or params  # UpdateFunctionCode has its members at the top
    if name in ("CreateFunction", "UpdateFunctionCode", "PublishLayerVersion") and isinstance(code, Mapping):
        # Lambda reads packages with the caller's rights, not with its own.
        package = params.get("Content") or code
        if package.get("S3Bucket") and package.get("S3Key"):
            action = "s3:GetObjectVersion" if package.get("S3ObjectVersion") else "s3:GetObject"
            yield Target(action, f"arn:aws:s3:::{package['S3Bucket']}/{package['S3Key']}", place.account_id)


def _given_key(params: Params, place: Place) -> Iterable[Target]:
    """Who gives a function a key must be allowed to use it:
    https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars-encryption.html"""
    if key_arn := params.get("KMSKeyArn"):
        for action in ("kms:CreateGrant", "kms:Encrypt"):
            yield Target(action, key_arn, account_in(key_arn) or place.account_id)


def _used_layers(params: Params, place: Place) -> Iterable[Target]:
    """Who gives a function layers must be allowed to read them."""
    for text in params.get("Layers") or ():
        ref = parse_layer_version_arn(text, "layers")
        account_id, region = ref.account_id or place.account_id, ref.region or place.region
        arn = f"arn:aws:lambda:{region}:{account_id}:layer:{ref.name}:{ref.version}"
        yield Target("lambda:GetLayerVersion", arn, account_id, layer=(ref.name, ref.version or 0))


def _lambda_target(name: str, action: str, params: Params, place: Place) -> Target:
    base = f"arn:aws:lambda:{place.region}:{place.account_id}"
    if name in _LAMBDA_ANYWHERE:
        return Target(action, "*", place.account_id)
    if "FunctionName" in params and "UUID" not in params:
        address = function_address(params["FunctionName"], params.get("Qualifier"), place)
        return Target(action, address.qualified_arn, address.account_id, function=address)
    if "UUID" in params:
        return Target(action, f"{base}:event-source-mapping:{params['UUID']}", place.account_id)
    if "LayerName" in params or "Arn" in params:
        return _layer_target(action, params, place)
    if "CapacityProviderName" in params:
        return Target(action, f"{base}:capacity-provider:{params['CapacityProviderName']}", place.account_id)
    arn = next((params[member] for member in _LAMBDA_ARNS if member in params), "*")
    return _of_arn(action, arn, place)


def _of_arn(action: str, arn: str, place: Place) -> Target:
    account_id = account_in(arn) or place.account_id
    function = None
    if ":function:" in arn and arn.startswith("arn:"):
        function = function_address(arn, None, place)
    return Target(action, arn, account_id, function=function)


def _layer_target(action: str, params: Params, place: Place) -> Target:
    ref = parse_layer_ref(params.get("LayerName") or params["Arn"])
    account_id, region = ref.account_id or place.account_id, ref.region or place.region
    number = params.get("VersionNumber", ref.version)
    arn = f"arn:aws:lambda:{region}:{account_id}:layer:{ref.name}"
    layer = (ref.name, number) if isinstance(number, int) else None
    return Target(action, arn if number is None else f"{arn}:{number}", account_id, layer=layer)


def _log_resource(params: Params, place: Place) -> str:
    """Groups are named with an empty stream, as AWS's refusals print them."""
    arn = params.get("resourceArn") or params.get("logGroupIdentifier")
    if isinstance(arn, str) and arn.startswith("arn:"):
        return arn if ":log-stream:" in arn else f"{arn.removesuffix(':*')}:log-stream:"
    group = arn or params.get("logGroupName") or ""
    stream = params.get("logStreamName") or ""
    return f"arn:aws:logs:{place.region}:{place.account_id}:log-group:{group}:log-stream:{stream}"


def account_in(arn: str) -> str | None:
    return services.account_in(arn)

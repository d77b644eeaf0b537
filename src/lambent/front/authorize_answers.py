"""What of an answer its caller may see, where policies decide: tags, and variables under a customer's key.

An operation that is allowed may answer with more than its caller may know: AWS leaves that out, and says so there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import attrs

from lambent.front.authorize_place import Place, Target
from lambent.front.authorize_targets import account_in, function_address
from lambent.model.errors import AwsError, invalid_parameter

Refusal = Callable[[Target], Awaitable[AwsError | None]]
"""Why policies refuse something to the caller; None where they allow it."""

# Operations whose answers describe functions, and under which member; "": the answer itself is the description.
# CreateFunction is not among them: its caller has just said what the variables are.
_DESCRIBING: Final[Mapping[str, str]] = {
    "GetFunction": "Configuration",
    "GetFunctionConfiguration": "",
    "ListFunctions": "Functions",
    "ListVersionsByFunction": "Versions",
    "PublishVersion": "",
    "UpdateFunctionCode": "",
    "UpdateFunctionConfiguration": "",
}


async def shown(
    place: Place, refusal: Refusal, operation: str, params: Mapping[str, Any], answer: dict[str, Any]
) -> dict[str, Any]:
    """Lambda's answer to an operation, less what the caller may not see."""
    if operation not in _DESCRIBING:
        return answer
    member = _DESCRIBING[operation]
    described = answer[member] if member else answer
    keys = _Keys(refusal)
    if isinstance(described, list):
        seen: Any = [await _without_variables(keys, one) for one in described]
    else:
        seen = await _without_variables(keys, described)
    answer = {**answer, member: seen} if member else seen
    return await _without_tags(place, refusal, params, answer) if operation == "GetFunction" else answer


async def _without_tags(
    place: Place, refusal: Refusal, params: Mapping[str, Any], answer: dict[str, Any]
) -> dict[str, Any]:
    """GetFunction, Tags: only with the permission for ListTags."""
    if "Tags" not in answer:
        return answer
    function = attrs.evolve(function_address(params["FunctionName"], None, place), qualifier=None)
    refused = await refusal(Target("lambda:ListTags", function.arn, function.account_id, function=function))
    if refused is None:
        return answer
    kept = {name: value for name, value in answer.items() if name != "Tags"}
    return {**kept, "TagsError": {"ErrorCode": refused.code, "Message": refused.message}}


class _Keys:
    """Asks of each key once."""

    def __init__(self, refusal: Refusal) -> None:
        self._refusal = refusal
        self._known: dict[str, AwsError | None] = {}

    async def refusal(self, key_arn: str) -> AwsError | None:
        if key_arn not in self._known:
            self._known[key_arn] = await self._refusal(Target("kms:Decrypt", key_arn, account_in(key_arn) or ""))
        return self._known[key_arn]


async def _without_variables(keys: _Keys, described: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars-encryption.html: to see variables that are
    encrypted with a customer's key the caller needs kms:Decrypt."""
    key_arn = described.get("KMSKeyArn")
    if not key_arn or not (described.get("Environment") or {}).get("Variables"):
        return described
    refused = await keys.refusal(key_arn)
    if refused is None:
        return described
    message = (
        "Lambda was unable to decrypt the environment variables because KMS access was denied. "
        f"Please check the function's KMS key settings. KMS Exception: {refused.code} KMS Message: {refused.message}"
    )
    return {**described, "Environment": {"Error": {"ErrorCode": "KMSAccessDeniedException", "Message": message}}}


def key_not_given(refused: AwsError) -> AwsError:
    """A caller who gives a function a key that he may not use himself (same page: kms:CreateGrant, kms:Encrypt)."""
    return invalid_parameter(
        "Lambda was unable to configure access to your environment variables because the KMS key is invalid for "
        f"CreateGrant. Please check your KMS key settings. KMS Exception: {refused.code} KMS Message: {refused.message}"
    )

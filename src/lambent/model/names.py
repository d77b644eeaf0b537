"""Names and ARNs of functions and layers, in every form that AWS accepts.

A function is named by `name`, `name:qualifier`, `123456789012:function:name[:qualifier]`, `123456789012:name`,
`function:name`, or a full ARN; a qualifier may come along in the query as well and must then agree.
"""

from __future__ import annotations

import re
from typing import Final

import attrs

from lambent.model.errors import AwsError, invalid_parameter, not_found, validation

FUNCTION_NAME_MAX_CHARACTERS: Final = 64  # CreateFunction, FunctionName: a bare name
FUNCTION_ARN_MAX_CHARACTERS: Final = 140  # same page: the length constraint of a full ARN
VERSION_MAX_DIGITS: Final = 18  # ours: what a 64-bit integer surely holds

# The patterns are those of botocore's `lambda` model, where they stand for the whole value.
FUNCTION_NAME_PATTERN: Final = (
    r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?"
    r"([a-zA-Z0-9-_]+)(:(\$LATEST|[a-zA-Z0-9-_]+))?"
)
QUALIFIER_PATTERN: Final = r"\$(LATEST(\.PUBLISHED)?)|[a-zA-Z0-9-_$]+"
ALIAS_NAME_PATTERN: Final = r"(?!^[0-9]+$)([a-zA-Z0-9-_]+)"
LAYER_NAME_PATTERN: Final = (
    r"(arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:layer:[a-zA-Z0-9-_]{1,140}"
    r"|[a-zA-Z0-9-_]{1,140})"
)
LAYER_VERSION_ARN_PATTERN: Final = (
    r"((arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:layer:[a-zA-Z0-9-_]+:[0-9]+)"
    r"|(arn:[a-zA-Z0-9-]+:lambda:::awslayer:[a-zA-Z0-9-_]+))"
)
ROLE_PATTERN: Final = r"arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+"

_REGION: Final = r"(?:eusc-)?[a-z]{2}(?:-gov|-iso[a-z]?)?-[a-z]+-\d"
_FUNCTION: Final = re.compile(
    rf"(?:arn:(?:aws[a-zA-Z-]*)?:lambda:)?(?:(?P<region>{_REGION}):)?(?:(?P<account>\d{{12}}):)?(?:function:)?"
    r"(?P<name>[a-zA-Z0-9_-]+)(?::(?P<qualifier>\$LATEST(?:\.PUBLISHED)?|[a-zA-Z0-9_-]+))?"
)
_LAYER: Final = re.compile(
    rf"arn:(?:aws[a-zA-Z-]*)?:lambda:(?P<region>{_REGION}):(?P<account>\d{{12}}):layer:(?P<name>[a-zA-Z0-9_-]+)"
    r"(?::(?P<version>[0-9]+))?"
)
_QUALIFIER: Final = re.compile(QUALIFIER_PATTERN)
_ALIAS: Final = re.compile(r"(?![0-9]+\Z)[a-zA-Z0-9_-]+")
_BARE_LAYER: Final = re.compile(r"[a-zA-Z0-9_-]{1,140}")


def constraint_failed(value: str, member: str, constraint: str) -> str:
    """AWS's sentence for one member that breaks one constraint of the model."""
    return f"1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: {constraint}"


def pattern_constraint(pattern: str) -> str:
    return f"Member must satisfy regular expression pattern: {pattern}"


@attrs.frozen
class FunctionRef:
    """What a caller wrote for a function; `None` is what was left out."""

    account_id: str | None
    region: str | None
    name: str
    qualifier: str | None


@attrs.frozen
class FunctionAddress:
    """A function reference with nothing left out but, perhaps, the qualifier."""

    account_id: str
    region: str
    name: str
    qualifier: str | None = None

    @property
    def arn(self) -> str:
        return f"arn:aws:lambda:{self.region}:{self.account_id}:function:{self.name}"

    @property
    def qualified_arn(self) -> str:
        """With the qualifier, where there is one: what AWS prints when it does not find something."""
        return f"{self.arn}:{self.qualifier}" if self.qualifier else self.arn

    @property
    def key(self) -> tuple[str, str, str]:
        return (self.account_id, self.region, self.name)


@attrs.frozen
class LayerAddress:
    """A layer, without a version."""

    account_id: str
    region: str
    name: str

    @property
    def arn(self) -> str:
        return f"arn:aws:lambda:{self.region}:{self.account_id}:layer:{self.name}"

    @property
    def key(self) -> tuple[str, str, str]:
        return (self.account_id, self.region, self.name)


@attrs.frozen
class LayerRef:
    """What a caller wrote for a layer; account and region are `None` for a bare name, version for a layer's own ARN."""

    account_id: str | None
    region: str | None
    name: str
    version: int | None


def parse_function_ref(text: str) -> FunctionRef:
    """Takes any form of a function's name apart.

    Raises AwsError ValidationException with the model's constraint that the text breaks; for a bare name that is too
    long InvalidParameterValueException, since that bound is not the model's.
    """
    found = _FUNCTION.fullmatch(text)
    if found is None:
        raise validation(constraint_failed(text, "functionName", pattern_constraint(FUNCTION_NAME_PATTERN)))
    name = found["name"]
    if len(text) > FUNCTION_ARN_MAX_CHARACTERS:
        raise validation(_too_long(text, FUNCTION_ARN_MAX_CHARACTERS))
    if len(name) > FUNCTION_NAME_MAX_CHARACTERS:
        raise invalid_parameter(_too_long(text, FUNCTION_NAME_MAX_CHARACTERS))
    return FunctionRef(found["account"], found["region"], name, found["qualifier"])


def _too_long(text: str, longest: int) -> str:
    return constraint_failed(text, "functionName", f"Member must have length less than or equal to {longest}")


def join_qualifiers(in_name: str | None, in_query: str | None) -> str | None:
    """The one qualifier that name and query agree on. Raises AwsError InvalidParameterValueException when they differ."""
    if in_query is not None and _QUALIFIER.fullmatch(in_query) is None:
        raise validation(constraint_failed(in_query, "qualifier", pattern_constraint(QUALIFIER_PATTERN)))
    if in_name is not None and in_query is not None and in_name != in_query:
        raise invalid_parameter("The derived qualifier from the function name does not match the specified qualifier.")
    return in_query if in_query is not None else in_name


def locate_function(text: str, qualifier: str | None, account_id: str, region: str, action: str) -> FunctionAddress:
    """The function that a caller of `account_id` in `region` means.

    `action` ("lambda:GetFunction") is named when another account's function is asked for. Raises AwsError:
    ValidationException, InvalidParameterValueException for qualifiers that disagree, ResourceNotFoundException for
    another region, AccessDeniedException for another account.
    """
    ref = parse_function_ref(text)
    if ref.region is not None and ref.region != region:
        raise not_found(f"Functions from '{ref.region}' are not reachable in this region ('{region}')")
    joined = join_qualifiers(ref.qualifier, qualifier)
    address = FunctionAddress(ref.account_id or account_id, region, ref.name, joined)
    if address.account_id != account_id:
        raise access_denied(account_id, action, address.qualified_arn)
    return address


def access_denied(account_id: str, action: str, resource_arn: str) -> AwsError:
    """What IAM answers for a resource of another account that no policy opens."""
    return AwsError(
        "AccessDeniedException",
        f"User: arn:aws:iam::{account_id}:root is not authorized to perform: {action} on resource: {resource_arn} "
        f"because no resource-based policy allows the {action} action",
        403,
    )


def is_version(qualifier: str) -> bool:
    """A number that a version may have, as opposed to `$LATEST` and aliases."""
    return len(qualifier) <= VERSION_MAX_DIGITS and qualifier.isascii() and qualifier.isdigit()


def is_alias_name(text: str) -> bool:
    return len(text) <= 128 and _ALIAS.fullmatch(text) is not None


def parse_layer_ref(text: str, member: str = "layerName") -> LayerRef:
    """Takes a layer's name, ARN or version ARN apart. Raises AwsError ValidationException."""
    found = _LAYER.fullmatch(text)
    if found is not None:
        version = int(found["version"]) if found["version"] else None
        return LayerRef(found["account"], found["region"], found["name"], version)
    if _BARE_LAYER.fullmatch(text) is None:
        raise validation(constraint_failed(text, member, pattern_constraint(LAYER_NAME_PATTERN)))
    return LayerRef(None, None, text, None)


def parse_layer_version_arn(text: str, member: str = "arn") -> LayerRef:
    """Takes a layer version's ARN apart; the version is always there. Raises AwsError ValidationException."""
    found = _LAYER.fullmatch(text)
    if found is None or not found["version"]:
        raise validation(constraint_failed(text, member, pattern_constraint(LAYER_VERSION_ARN_PATTERN)))
    return LayerRef(found["account"], found["region"], found["name"], int(found["version"]))

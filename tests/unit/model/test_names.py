"""Every way to name a function or a layer, and AWS's answers to bad ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.model.errors import AwsError
from lambent.model.names import (
    FunctionRef,
    LayerRef,
    is_alias_name,
    is_version,
    locate_function,
    parse_function_ref,
    parse_layer_ref,
    parse_layer_version_arn,
)

ACCOUNT = "123456789012"
ARN = f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:resize"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("resize", FunctionRef(None, None, "resize", None)),
        ("resize:$LATEST", FunctionRef(None, None, "resize", "$LATEST")),
        ("resize:live", FunctionRef(None, None, "resize", "live")),
        ("function:resize", FunctionRef(None, None, "resize", None)),
        (f"{ACCOUNT}:function:resize", FunctionRef(ACCOUNT, None, "resize", None)),
        (f"{ACCOUNT}:function:resize:7", FunctionRef(ACCOUNT, None, "resize", "7")),
        (f"{ACCOUNT}:resize", FunctionRef(ACCOUNT, None, "resize", None)),
        (f"{ACCOUNT}:resize:7", FunctionRef(ACCOUNT, None, "resize", "7")),
        (ARN, FunctionRef(ACCOUNT, "eu-west-1", "resize", None)),
        (f"{ARN}:live", FunctionRef(ACCOUNT, "eu-west-1", "resize", "live")),
        (
            "arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:f:1",
            FunctionRef(ACCOUNT, "us-gov-west-1", "f", "1"),
        ),
        ("123456789012", FunctionRef(None, None, "123456789012", None)),
    ],
)
def test_each_form_of_a_function_name_is_taken_apart(text: str, expected: FunctionRef) -> None:
    assert parse_function_ref(text) == expected


@pytest.mark.parametrize(
    "text", ["", "a b", "a:b:c:d", "resize\n", "../etc", "a/b", "arn:aws:s3:::bucket", "naïve", "a:"]
)
def test_what_is_no_function_name_breaks_the_models_pattern(text: str) -> None:
    with pytest.raises(AwsError) as raised:
        parse_function_ref(text)
    assert raised.value.code == "ValidationException"
    assert raised.value.message.startswith(
        f"1 validation error detected: Value '{text}' at 'functionName' failed to satisfy constraint: "
        "Member must satisfy regular expression pattern: (arn:"
    )


def test_a_name_longer_than_64_characters_is_refused() -> None:
    with pytest.raises(AwsError, match="Member must have length less than or equal to 64") as raised:
        parse_function_ref("x" * 65)
    assert raised.value.code == "InvalidParameterValueException"
    with pytest.raises(AwsError, match="Member must have length less than or equal to 140") as raised:
        parse_function_ref("x" * 141)
    assert raised.value.code == "ValidationException"


@given(st.text(max_size=80))
def test_any_text_is_a_reference_or_a_validation_error(text: str) -> None:
    code = ""
    try:
        parse_function_ref(text)
    except AwsError as error:
        code = error.code
    assert code in ("", "ValidationException", "InvalidParameterValueException")


def test_qualifiers_in_name_and_query_must_agree() -> None:
    assert locate_function("f:1", "1", ACCOUNT, "eu-west-1", "lambda:GetFunction").qualifier == "1"
    with pytest.raises(AwsError) as raised:
        locate_function("f:1", "2", ACCOUNT, "eu-west-1", "lambda:GetFunction")
    assert raised.value.code == "InvalidParameterValueException"
    assert raised.value.message == (
        "The derived qualifier from the function name does not match the specified qualifier."
    )


def test_a_function_of_another_region_is_not_reachable() -> None:
    with pytest.raises(AwsError) as raised:
        locate_function(ARN, None, ACCOUNT, "us-east-1", "lambda:GetFunction")
    assert raised.value.status == 404
    assert raised.value.message == "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')"


def test_a_function_of_another_account_is_denied() -> None:
    with pytest.raises(AwsError) as raised:
        locate_function(ARN, None, "000000000000", "eu-west-1", "lambda:GetFunction")
    assert (raised.value.code, raised.value.status) == ("AccessDeniedException", 403)
    assert f"lambda:GetFunction on resource: {ARN}" in raised.value.message


def test_numbers_are_versions_and_everything_else_may_be_an_alias() -> None:
    assert is_version("12")
    assert not is_version("$LATEST")
    assert not is_version("²")
    assert is_alias_name("1st")
    assert not is_alias_name("12")
    assert not is_alias_name("a" * 129)


def test_layer_references() -> None:
    arn = f"arn:aws:lambda:eu-west-1:{ACCOUNT}:layer:pillow"
    assert parse_layer_ref("pillow") == LayerRef(None, None, "pillow", None)
    assert parse_layer_ref(arn) == LayerRef(ACCOUNT, "eu-west-1", "pillow", None)
    assert parse_layer_version_arn(f"{arn}:3") == LayerRef(ACCOUNT, "eu-west-1", "pillow", 3)
    for bad in (arn, "pillow:3", ""):
        with pytest.raises(AwsError, match="at 'arn' failed to satisfy constraint"):
            parse_layer_version_arn(bad)

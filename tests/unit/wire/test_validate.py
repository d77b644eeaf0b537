"""The model's constraints in AWS's words."""

from __future__ import annotations

from typing import Any

import pytest

from lambent.model.errors import AwsError
from lambent.wire.java_regex import compiled_pattern, matches
from lambent.wire.models import Models
from lambent.wire.shapes import Shape
from lambent.wire.validate import Rules, validate

SHAPES: dict[str, Any] = {
    "Input": {
        "type": "structure",
        "required": ["FunctionName"],
        "members": {
            "FunctionName": {"shape": "Name"},
            "KMSKeyArn": {"shape": "Arn"},
            "MemorySize": {"shape": "Memory"},
            "Mode": {"shape": "Mode"},
            "Layers": {"shape": "Layers"},
            "Environment": {"shape": "Environment"},
            "Weights": {"shape": "Weights"},
            "Rules": {"shape": "Rules"},
            "Zip": {"shape": "Zip"},
        },
    },
    "Name": {"type": "string", "min": 1, "max": 5, "pattern": "[a-z]+"},
    "Arn": {"type": "string", "pattern": "arn:.*"},
    "Memory": {"type": "integer", "min": 128, "max": 10240},
    "Mode": {"type": "string", "enum": ["Active", "PassThrough"]},
    "Layers": {"type": "list", "member": {"shape": "Name"}, "max": 2},
    "Environment": {"type": "structure", "members": {"Variables": {"shape": "Variables"}}},
    "Variables": {"type": "map", "key": {"shape": "Secret"}, "value": {"shape": "Any"}, "sensitive": True},
    "Secret": {"type": "string", "pattern": "[a-zA-Z]([a-zA-Z0-9_])+", "sensitive": True},
    "Any": {"type": "string"},
    "Weights": {"type": "map", "key": {"shape": "Version"}, "value": {"shape": "Weight"}},
    "Version": {"type": "string", "min": 1, "max": 1024, "pattern": "[0-9]+"},
    "Weight": {"type": "double", "min": 0.0, "max": 1.0},
    "Rules": {"type": "list", "member": {"shape": "Rule"}},
    "Rule": {"type": "structure", "required": ["Key"], "members": {"Key": {"shape": "Name"}}},
    "Zip": {"type": "blob", "max": 3},
}
SHAPE = Shape("Input", SHAPES["Input"], SHAPES)


@pytest.mark.parametrize(
    ("params", "sentences"),
    [
        ({}, ["Value null at 'functionName' failed to satisfy constraint: Member must not be null"]),
        ({"FunctionName": "A"}, ["Value 'A' at 'functionName' failed to satisfy constraint: "
                                 "Member must satisfy regular expression pattern: [a-z]+"]),
        ({"FunctionName": "a\n"}, ["Value 'a\n' at 'functionName' failed to satisfy constraint: "
                                   "Member must satisfy regular expression pattern: [a-z]+"]),
        ({"FunctionName": "abcdef"}, ["Value 'abcdef' at 'functionName' failed to satisfy constraint: "
                                      "Member must have length less than or equal to 5"]),
        ({"FunctionName": "a", "KMSKeyArn": "x", "MemorySize": 5},
         ["Value 'x' at 'kMSKeyArn' failed to satisfy constraint: Member must satisfy regular expression pattern: arn:.*",
          "Value '5' at 'memorySize' failed to satisfy constraint: Member must have value greater than or equal to 128"]),
        ({"FunctionName": "a", "Mode": "On"}, ["Value 'On' at 'mode' failed to satisfy constraint: "
                                               "Member must satisfy enum value set: [Active, PassThrough]"]),
        ({"FunctionName": "a", "Layers": ["a", "B"]},
         ["Value '[a, B]' at 'layers' failed to satisfy constraint: Member must satisfy constraint: "
          "[Member must have length less than or equal to 5, Member must have length greater than or equal to 1, "
          "Member must satisfy regular expression pattern: [a-z]+]"]),
        ({"FunctionName": "a", "Layers": ["a", "b", "c"]},
         ["Value '[a, b, c]' at 'layers' failed to satisfy constraint: Member must have length less than or equal to 2"]),
        ({"FunctionName": "a", "Environment": {"Variables": {"1": "secret"}}},
         ["Value at 'environment.variables' failed to satisfy constraint: Map keys must satisfy constraint: "
          "[Member must satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+]"]),
        ({"FunctionName": "a", "Weights": {"v": 0.5}},
         ["Value '{v=0.5}' at 'weights' failed to satisfy constraint: Map keys must satisfy constraint: "
          "[Member must have length less than or equal to 1024, Member must have length greater than or equal to 1, "
          "Member must satisfy regular expression pattern: [0-9]+]"]),
        ({"FunctionName": "a", "Rules": [{"Key": "a"}, {}]},
         ["Value null at 'rules.2.member.key' failed to satisfy constraint: Member must not be null"]),
        ({"FunctionName": "a", "Zip": b"1234"},
         ["Value 'java.nio.HeapByteBuffer[pos=0 lim=4 cap=4]' at 'zip' failed to satisfy constraint: "
          "Member must have length less than or equal to 3"]),
    ],
)  # fmt: skip
def test_each_broken_constraint_has_its_sentence(params: dict[str, Any], sentences: list[str]) -> None:
    with pytest.raises(AwsError) as caught:
        validate(SHAPE, params)
    noun = "error" if len(sentences) == 1 else "errors"
    assert caught.value.message == f"{len(sentences)} validation {noun} detected: {'; '.join(sentences)}"
    assert (caught.value.code, caught.value.status) == ("ValidationException", 400)


def test_what_satisfies_the_model_passes() -> None:
    validate(SHAPE, {"FunctionName": "abc", "MemorySize": 128, "Layers": ["a"], "Weights": {"1": 1.0}, "Zip": b"123"})


def test_shapes_that_are_checked_elsewhere_are_left_alone() -> None:
    validate(SHAPE, {"FunctionName": "NO"}, Rules(amended={"Name": {"pattern": None}}))


def test_a_service_may_say_that_items_must_not_be_null() -> None:
    with pytest.raises(AwsError) as caught:
        validate(SHAPE, {"FunctionName": "a", "Weights": {"1": 2.0}}, Rules(tells_not_null=True))
    assert caught.value.message == (
        "1 validation error detected: Value '{1=2.0}' at 'weights' failed to satisfy constraint: Map value must satisfy "
        "constraint: [Member must have value less than or equal to 1.0, Member must have value greater than or equal to "
        "0.0, Member must not be null]"
    )


def test_of_some_shapes_it_does_not_say_so() -> None:
    rules = Rules(tells_not_null=True, untold=frozenset({"Secret"}))
    with pytest.raises(AwsError) as caught:
        validate(SHAPE, {"FunctionName": "a", "Environment": {"Variables": {"1": "x"}}}, rules)
    assert caught.value.message.endswith("[Member must satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+]")


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        (r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)", "Größe 名前\u3000Ⅳ-1", "a;b"),
        (r"\p{Lu}+", "ÄÖ", "ä"),
        (r"\d{2}", "12", "\u0661\u0662"),
        (r"[\w-.]+", "a-b.c", "ä"),
        (r"\p{Print}+", "a b", "a\n"),
        (r"[\u0020-\uD7FF\uD800\uDC00-\uDBFF\uDFFF]+", "a\U0001f600", "\n"),
    ],
)
def test_patterns_mean_what_they_mean_in_java(pattern: str, good: str, bad: str) -> None:
    assert (matches(pattern, good), matches(pattern, bad)) == (True, False)


@pytest.mark.parametrize("service", ["lambda", "logs", "events", "scheduler", "kinesis", "dynamodb"])
def test_every_pattern_of_the_validated_services_can_be_checked(service: str, models: Models) -> None:
    ours = models.service(service)
    patterns = {raw["pattern"] for raw in ours._shapes.values() if "pattern" in raw}
    assert [pattern for pattern in patterns if compiled_pattern(pattern) is None] == []

"""Notification configurations: what overlaps is refused, so that no event of any key ever has two rules."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.model.errors import AwsError
from lambent.services.s3_notifications.configuration import EVENT_TYPES, completed, rules_of

REGION = "us-east-1"
ARNS = {
    "LambdaFunctionConfigurations": ("LambdaFunctionArn", f"arn:aws:lambda:{REGION}:000000000000:function:f"),
    "QueueConfigurations": ("QueueArn", f"arn:aws:sqs:{REGION}:000000000000:q"),
    "TopicConfigurations": ("TopicArn", f"arn:aws:sns:{REGION}:000000000000:t"),
}
PIECES = st.text("ab/.", max_size=3)
NAMES = ["ObjectCreated:Put", "ObjectCreated:Copy", "ObjectRemoved:Delete", "ObjectTagging:Put", "ObjectAcl:Put"]


def _configuration(entries: list[tuple[str, list[str], str, str]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for kind, events, prefix, suffix in entries:
        name, arn = ARNS[kind]
        rules = [{"Name": "prefix", "Value": prefix}, {"Name": "Suffix", "Value": suffix}]
        found.setdefault(kind, []).append({name: arn, "Events": events, "Filter": {"Key": {"FilterRules": rules}}})
    return found


def _taken(entries: list[tuple[str, list[str], str, str]]) -> dict[str, Any] | None:
    """None for a configuration that is refused."""
    try:
        return completed(_configuration(entries), REGION)
    except AwsError:
        return None


@given(
    entries=st.lists(
        st.tuples(
            st.sampled_from(sorted(ARNS)),
            st.lists(st.sampled_from(sorted(EVENT_TYPES)), min_size=1, max_size=3),
            PIECES,
            PIECES,
        ),
        max_size=4,
    ),
    name=st.sampled_from(NAMES),
    key=st.text("ab/.", max_size=8),
)
def test_a_configuration_that_is_taken_has_one_rule_for_an_event_at_most(
    entries: list[tuple[str, list[str], str, str]], name: str, key: str
) -> None:
    kept = _taken(entries)
    if kept is None:
        assert len(entries) > 1
        return
    assert completed(kept, REGION) == kept
    rules = list(rules_of(kept))
    assert len(rules) == len(entries)
    matching = [rule for rule in rules if rule.matches(name, key)]
    assert len(matching) <= 1
    for rule in matching:
        assert key.startswith(rule.prefix)
        assert key.endswith(rule.suffix)


@pytest.mark.parametrize(
    ("prefix", "suffix", "key", "expected"),
    [
        ("logs/year%3D2026/", "", "logs/year=2026/a", True),
        ("logs/year%3d2026/", "", "logs/year=2026/a", True),
        ("my+folder/", "", "my folder/a", True),
        ("my+folder/", "", "my+folder/a", False),
        ("my%2Bfolder/", "", "my+folder/a", True),
        ("%C3%BC/", "", "ü/a", True),
        ("ü/", "", "ü/a", True),
        ("", "+final.csv", "a final.csv", True),
        ("100%", "", "100%/a", True),
    ],
)
def test_special_characters_are_url_encoded_in_filters(prefix: str, suffix: str, key: str, expected: bool) -> None:
    kept = completed(_configuration([("QueueConfigurations", ["s3:ObjectCreated:*"], prefix, suffix)]), REGION)
    (rule,) = rules_of(kept)
    assert rule.matches("ObjectCreated:Put", key) is expected
    given = {each["Name"]: each["Value"] for each in kept["QueueConfigurations"][0]["Filter"]["Key"]["FilterRules"]}
    assert given == {"Prefix": prefix, "Suffix": suffix}


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        (("", ""), ("", ""), "Configurations overlap."),
        (("a", ""), ("ab", ""), "Configuration is ambiguously defined."),
        (("", ".jpg"), ("in/", "g"), "Configuration is ambiguously defined."),
        (("a%3D", ""), ("a%3d1", ""), "Configuration is ambiguously defined."),
    ],
)
def test_overlapping_rules_are_refused_across_kinds_of_destinations(
    one: tuple[str, str], other: tuple[str, str], message: str
) -> None:
    entries = [
        ("LambdaFunctionConfigurations", ["s3:ObjectCreated:*"], *one),
        ("TopicConfigurations", ["s3:ObjectCreated:Copy"], *other),
    ]
    with pytest.raises(AwsError, match=message):
        completed(_configuration(entries), REGION)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Events": ["s3:ObjectLost"]}, "A specified event is not supported for notifications."),
        ({"QueueArn": f"arn:aws:sqs:{REGION}:000000000000:q.fifo"}, "FIFO queues are not supported"),
        ({"QueueArn": "arn:aws:sqs:eu-west-1:000000000000:q"}, "destination service region is not valid"),
        ({"Id": "x" * 256}, "cannot be longer than 255"),
        (
            {"Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "a"}, {"Name": "Prefix", "Value": "b"}]}}},
            "Cannot specify more than one prefix rule in a filter.",
        ),
        ({"Filter": {"Key": {"FilterRules": [{"Name": "suffix", "Value": "ü" * 513}]}}}, "cannot exceed 1024 bytes"),
    ],
)
def test_an_entry_that_breaks_a_rule_is_refused(change: dict[str, Any], message: str) -> None:
    entry = {"QueueArn": ARNS["QueueConfigurations"][1], "Events": ["s3:ObjectCreated:*"], **change}
    with pytest.raises(AwsError, match=message):
        completed({"QueueConfigurations": [entry]}, REGION)


def test_two_entries_cannot_have_one_id() -> None:
    arn = ARNS["QueueConfigurations"][1]
    entries = [
        {"QueueArn": arn, "Events": [event], "Id": "same"} for event in ("s3:ObjectAcl:Put", "s3:ObjectCreated:*")
    ]
    with pytest.raises(AwsError, match="IDs must be unique"):
        completed({"QueueConfigurations": entries}, REGION)

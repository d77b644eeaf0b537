"""Whether an event filter is one: the JSON patterns of event source mappings' filter criteria.

    {"body": {"status": ["paid", {"prefix": "re"}], "total": [{"numeric": [">", 10, "<=", 20]}]}}

They are event patterns; only the words for a bad one are Lambda's.
Source of the rules: https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html, "Filter rule syntax"
"""

from __future__ import annotations

from typing import Final

import msgspec

from lambent.model.errors import invalid_parameter
from lambent.model.event_pattern import NUMBER_MAX, PatternError, compile_pattern

FILTERS_MAX: Final = (
    5  # of a mapping; https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html, "basics"
)


def check_pattern(text: str, json_member: str | None = None) -> None:
    """Raises AwsError InvalidParameterValueException for what is no pattern.

    `json_member` is always a JSON object in its source's records: no pattern may speak of it as a text.
    """
    try:
        msgspec.json.decode(text)  # all of it must be JSON, also what comes behind the pattern
        pattern = compile_pattern(text, NUMBER_MAX)
    except (PatternError, msgspec.DecodeError, RecursionError):
        raise invalid_parameter("Invalid filter pattern definition.") from None
    if any(json_member in branch for branch in pattern.branches):
        raise invalid_parameter("Invalid filter pattern definition.")

"""Filter patterns of CloudWatch Logs: text in, a function that says yes or no to a message out. Pure.

    ERROR -EXITING "out of memory"              all of these terms, none of those, anywhere in the message
    ?ERROR ?WARN                                any of them
    %4[0-9]{2}%                                 a regular expression
    [ip, user, ..., status = 4*, bytes > 1000]  fields between spaces
    { $.a.b = "x*" && $.c[0] > 3 }              JSON

SYNTAX = https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html
"""

from __future__ import annotations

from typing import Final

from lambent.services.logs.pattern.fields import compile_fields
from lambent.services.logs.pattern.members import compile_members
from lambent.services.logs.pattern.scanning import Match, invalid
from lambent.services.logs.pattern.terms import compile_terms

PATTERN_MAX_CHARACTERS: Final = 1024  # FilterLogEvents, filterPattern
_KINDS: Final = (("{", "}", compile_members), ("[", "]", compile_fields))


def compile_pattern(text: str) -> Match:
    """Raises AwsError InvalidParameterException, worded as AWS does."""
    stripped = text.strip()
    if len(text) > PATTERN_MAX_CHARACTERS:
        raise invalid()
    for opening, closing, compile_kind in _KINDS:
        if stripped.startswith(opening):
            if not stripped.endswith(closing):
                raise invalid(f"If a filter pattern starts with '{opening}' it must end with '{closing}'")
            return compile_kind(stripped[1:-1])
    return compile_terms(stripped)


__all__ = ["Match", "compile_pattern"]

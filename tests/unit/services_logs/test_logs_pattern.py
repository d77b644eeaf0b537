"""The filter pattern language: what matches, what does not, and what AWS refuses."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lambent.model.errors import AwsError
from lambent.services.logs.pattern import compile_pattern
from lambent.services.logs.pattern.regex import RegexError, _parse, _Walker, compile_regex

LINE = '127.0.0.1 Prod frank [10/Oct/2000:13:25:15 -0700] "GET /index.html HTTP/1.0" 404 1534'


@pytest.mark.parametrize(
    ("pattern", "message", "expected"),
    [
        ("", "anything", True),
        ("  ", "anything", True),
        ("ERROR", "[ERROR 400] BAD REQUEST", True),
        ("ERROR", "error", False),
        ("ERROR ARGUMENTS", "ERROR: bad ARGUMENTS", True),
        ("ERROR ARGUMENTS", "ERROR: bad", False),
        ('"INTERNAL SERVER ERROR"', "[ERROR 500] INTERNAL SERVER ERROR", True),
        ('"INTERNAL SERVER ERROR"', "INTERNAL ERROR", False),
        ('"said \\"no\\""', 'it said "no" twice', True),
        ("?ERROR ?WARN", "WARN: x", True),
        ("?ERROR ?WARN", "INFO: x", False),
        ('?"Task timed out" ?"Process exited"', "x Task timed out after 3.00 seconds", True),
        ("ERROR -ARGUMENTS", "ERROR x", True),
        ("ERROR -ARGUMENTS", "ERROR ARGUMENTS", False),
        ('-"GET /health"', "GET /health 200", False),
        ("?ERROR REQUEST", "REQUEST x", True),
        ("?ERROR REQUEST", "ERROR x", False),
        ("%AUTHORIZED%", "[ERROR 401] UNAUTHORIZED REQUEST", True),
        ("%4[0-9]{2}%", "status 404", True),
        ("%^4[0-9]{2}$%", "status 404", False),
        (r"%10\.10\.0\.[0-9]{1,2}%", "from 10.10.0.7", True),
        (r"%10\.10\.0\.[0-9]{1,2}%", "from 10x10.0.7", False),
        ("%(a)%".replace("(", "").replace(")", ""), "banana", True),
        ("%abc|xyz%", "--xyz--", True),
        ("9b402d39-e58f-4719-ae89-711d4da3740a", "RequestId: 9b402d39-e58f-4719-ae89-711d4da3740a", True),
    ],
)
def test_terms(pattern: str, message: str, expected: bool) -> None:
    assert compile_pattern(pattern)(message) is expected


@pytest.mark.parametrize(
    ("pattern", "message", "expected"),
    [
        ("[ip, user, username, timestamp, request =*.html*, status_code = 4*, bytes]", LINE, True),
        ("[ip, user, username, timestamp, request, status_code = 5*, bytes]", LINE, False),
        ("[ip, user, username, timestamp, request, status_code = 404, bytes > 1000]", LINE, True),
        ("[ip, user, username, timestamp, request, status_code = 404, bytes > 2000]", LINE, False),
        ("[..., request =*.html*, status_code = 4*, bytes]", LINE, True),
        ("[ip = 127*, ...]", LINE, True),
        ("[ip = 127*, ..., bytes = 1534]", LINE, True),
        ("[ip, user, username, timestamp, request, status_code = 404 || status_code = 410, bytes]", LINE, True),
        ('[ip, user, username, timestamp = "10/Oct*", ...]', LINE, True),
        ('[ip, user, username, timestamp, request = "GET /index*", ...]', LINE, True),
        ("[..., status_code = %4[0-9]{2}%, bytes]", LINE, True),
        ("[w1=ERROR, w2]", "ERROR WARNING message with more", True),
        ("[w1!=ERROR&&w1!=WARN, w2]", "INFO started up", True),
        ("[w1!=ERROR&&w1!=WARN, w2]", "WARN started up", False),
        ("[a, b, c]", "one two", False),
        ("[a = 1.0]", "1", True),
        ("[a, b = two]", "one two three", False),
        ("[a, b = two*]", "one two three", True),
        ("[..., request=*.html*, status_code=4*,]", LINE, True),
        ("[..., request=*.html*, status_code=5*,]", LINE, False),
        ("[,b = two]", "one two", True),
        ("[,,]", "one two", False),
        ("[]", LINE, True),
    ],
)
def test_fields(pattern: str, message: str, expected: bool) -> None:
    assert compile_pattern(pattern)(message) is expected


EVENT = json.dumps(
    {
        "eventType": "UpdateTrail",
        "sourceIPAddress": "111.111.111.111",
        "arrayKey": ["value", "another value"],
        "objectList": [{"name": "a", "id": 1}, {"name": "b", "id": 2}],
        "SomeObject": None,
        "cluster.name": "c",
        "number": 404,
        "float": 1.5e-3,
        "text": "404",
        "flag": True,
        "user": {"id": 1, "email": "John.Stiles@example.com"},
        "coordinates": [[0, 1, 2], [4, 5, 6]],
        "detail-type": "x",
    }
)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ('{ $.eventType = "UpdateTrail" }', True),
        ("{ $.eventType = UpdateTrail }", True),
        ('{$.eventType="Update*"}', True),
        ("{ $.sourceIPAddress != 123.123.* }", True),
        ('{ $.arrayKey[0] = "value" }', True),
        ('{ $.arrayKey[7] = "value" }', False),
        ("{ $.objectList[1].id = 2 }", True),
        ("{ $.objectList[*].id = 2 }", True),
        ("{ $.objectList[*].id > 2 }", False),
        ("{ $.SomeObject IS NULL }", True),
        ("{ $.eventType IS NULL }", False),
        ("{ $.nothing IS NULL }", False),
        ("{ $.SomeOtherObject NOT EXISTS }", True),
        ("{ $.eventType NOT EXISTS }", False),
        ("{ $.eventType = * }", True),
        ("{ $.nothing = * }", False),
        ("{ $.flag IS TRUE }", True),
        ("{ $.flag IS FALSE }", False),
        ("{ $.['cluster.name'] = \"c\" }", True),
        ("{ $.user['email'] = *example* }", True),
        ("{ $.detail-type = x }", True),
        ("{ $.number = 404 }", True),
        ("{ $.number >= 404 && $.number < 405 }", True),
        ("{ $.number = 4* }", True),
        ("{ $.number != 404 }", False),
        ("{ $.float = 0.0015 }", True),
        ("{ $.float < 1e-2 }", True),
        ("{ $.eventType > 3 }", False),
        ("{ $.user > 3 }", False),
        ("{ $.user != x }", False),
        ("{ $.nothing != x }", False),
        ('{ ($.user.id = 1) && ($.user.email = "John*") }', True),
        ("{ $.user.id = 9 || $.coordinates[0][1] = 1 && $.number = 404 }", True),
        ("{ ($.user.id = 1 || $.number = 1) && $.flag IS FALSE }", False),
        ("{ $.sourceIPAddress = %1{3}\\.% }", True),
    ],
)
def test_members(pattern: str, expected: bool) -> None:
    assert compile_pattern(pattern)(EVENT) is expected


@pytest.mark.parametrize("message", ["", "plain {text}", "{", '{"a": ', "[1, 2", "\ud800{}", "null", "[" * 100_000])
def test_a_member_pattern_does_not_match_what_is_not_json(message: str) -> None:
    assert compile_pattern("{ $.a NOT EXISTS || $.a = * }")(message) in (True, False)
    assert compile_pattern("{ $.a = * }")(message) is False


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{ $.a = 1", "If a filter pattern starts with '{' it must end with '}'"),
        ("[a, b", "If a filter pattern starts with '[' it must end with ']'"),
        ("?Status: timeout", "Invalid character(s) in term ':'"),
        ("SUCCESS*", "Invalid character(s) in term '*'"),
        ("a(b", "Invalid character(s) in term '('"),
        ('{ $."sc-status" = 5* }', "Invalid character(s) in term '$.\"'"),
        ("{ $.a }", "Invalid filter pattern"),
        ("{}", "Invalid filter pattern"),
        ("[a b]", "Invalid filter pattern"),
        ("{ $.a = 1 && }", "Invalid filter pattern"),
        ("{ a = 1 }", "Invalid filter pattern"),
        ("{ ($.a = 1 }", "Invalid filter pattern"),
        ("{ $.a > x }", "Invalid filter pattern"),
        ("[ip, status = 4* && bytes > 1000]", "Invalid filter pattern"),
        ("[..., a, ...]", "Invalid filter pattern"),
        ('"never ends', "Invalid filter pattern"),
        ("%something!%", "Invalid filter pattern"),
        ("%(sub)%", "Invalid filter pattern"),
        ("%never ends", "Invalid filter pattern"),
        ("%%", "Invalid filter pattern"),
        ("{ $.a = %a% && $.b = %b% && $.c = %c% }", "Invalid filter pattern"),
        ("x" * 1025, "Invalid filter pattern"),
    ],
)
def test_aws_refuses(pattern: str, message: str) -> None:
    with pytest.raises(AwsError) as caught:
        compile_pattern(pattern)
    assert (caught.value.code, caught.value.message) == ("InvalidParameterException", message)


FRAGMENTS = st.sampled_from(
    [
        *[
            "{",
            "}",
            "[",
            "]",
            "(",
            ")",
            "$",
            ".a",
            "['b']",
            "[0]",
            "[*]",
            "=",
            "!=",
            ">",
            "&&",
            "||",
            ",",
            "...",
            '"',
            "%",
            "?",
            "-",
            "*",
            "IS",
            "NULL",
            "NOT",
            "EXISTS",
            "word",
            "12",
            "\\",
            "é",
            "{2}",
            "^",
            "[a-",
        ],
        " ",
        "\n",
        "IS NULL",
        "NOT EXISTS",
    ]
)


@given(st.lists(FRAGMENTS, max_size=14).map("".join) | st.text(max_size=30), st.text(max_size=30))
def test_any_text_is_a_pattern_or_an_error_of_aws(pattern: str, message: str) -> None:
    try:
        matches = compile_pattern(pattern)
    except AwsError:
        return
    assert matches(message) in (True, False)


@example(["[^a]", "$"])
@given(st.lists(st.sampled_from(["a", "b", "[ab]", "[^a]", ".", r"\d", "a*", "b+", ".?", "[ab]{1,3}", "|", "^", "$"])))
def test_both_matchers_of_regular_expressions_agree(parts: list[str]) -> None:
    text = "".join(parts)
    try:
        branches, source = _parse(text)
    except RegexError:
        return
    for message in ["", "a", "b", "ab", "ba", "aab1", "bbba\n", "c\nab", "aaaa"]:
        walked = any(_Walker(branch).found(message) for branch in branches)
        assert walked == (re.search(source, message, re.ASCII) is not None), message


def test_a_regular_expression_cannot_be_made_to_run_for_hours() -> None:
    found = compile_regex("a*a*a*a*b[^c]*d.*e.*f")
    assert found("a" * 200_000) is False

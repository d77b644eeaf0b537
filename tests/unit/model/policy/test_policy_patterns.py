"""Wildcards and variables of policies, compared with a slow matcher that is plainly right."""

from __future__ import annotations

import functools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.model.policy.pattern import Reach, compile_pattern

TEXTS = st.text(alphabet="ab:", max_size=12)
PATTERNS = st.text(alphabet="ab:*?", max_size=10)


def plainly(pattern: str, text: str, reach: Reach) -> bool:
    """Every way to spread the wildcards is tried."""

    @functools.cache
    def fits(i: int, j: int) -> bool:
        if i == len(pattern):
            return j == len(text)
        in_last_part = pattern[:i].count(":") >= 5
        free = reach is Reach.TEXT or (reach is Reach.ARN and in_last_part)
        char = pattern[i]
        if char == "?":
            return j < len(text) and (free or text[j] != ":") and fits(i + 1, j + 1)
        if char == "*":
            end = i
            while end < len(pattern) and pattern[end] == "*":
                end += 1
            crosses = free or (reach is Reach.RESOURCE and (end == len(pattern) or pattern[end] == ":"))
            return fits(i + 1, j) or (j < len(text) and (crosses or text[j] != ":") and fits(i, j + 1))
        return j < len(text) and text[j] == char and fits(i + 1, j + 1)

    return (pattern == "*" * len(pattern) and pattern != "") or fits(0, 0)


@given(pattern=PATTERNS, text=TEXTS, reach=st.sampled_from(Reach))
def test_wildcards_match_what_a_slow_matcher_matches(pattern: str, text: str, reach: Reach) -> None:
    assert compile_pattern(pattern, reach).matches(text, {}) is plainly(pattern, text, reach)


@given(pattern=st.text(alphabet="a:*?", max_size=14), text=st.text(alphabet="a:", max_size=20))
def test_wildcards_in_an_arn_like_pattern_match_by_its_six_parts(pattern: str, text: str) -> None:
    pattern, text = f"a:a:a:a:a:{pattern}", f"a:a:a:a:a:{text}"
    assert compile_pattern(pattern, Reach.ARN).matches(text, {}) is plainly(pattern, text, Reach.ARN)


@given(text=st.text(max_size=30))
def test_a_text_without_wildcards_means_itself(text: str) -> None:
    plain = compile_pattern(text, wildcards=False, variables=False)
    assert plain.matches(text, {})
    assert not plain.matches(text + "x", {})


@pytest.mark.parametrize("reach", Reach)
def test_a_pattern_made_to_take_long_does_not(reach: Reach) -> None:
    pattern = compile_pattern("a:a:a:a:a:" + "a*" * 30 + "b", reach)
    began = time.process_time()
    assert not pattern.matches("a:a:a:a:a:" + "a" * 2000, {})
    assert time.process_time() - began < 0.5


CONTEXT = {"aws:username": ("ada",), "aws:principaltag/team": ("red",), "aws:tagkeys": ("a", "b"), "x:star": ("a*",)}


@pytest.mark.parametrize(
    ("text", "value", "matches"),
    [
        ("home/${aws:username}/*", "home/ada/x", True),
        ("home/${AWS:UserName}/*", "home/ada/x", True),
        ("home/${aws:username}/*", "home/bob/x", False),
        ("${aws:PrincipalTag/team}", "red", True),
        ("${aws:PrincipalTag/other, 'blue'}", "blue", True),
        ("${aws:PrincipalTag/team, 'blue'}", "red", True),
        ("${aws:PrincipalTag/other}", "", None),
        ("${aws:TagKeys}", "a", None),
        ("${*}", "*", True),
        ("${*}", "x", False),
        ("${?}${$}", "?$", True),
        ("${x:star}", "a*", True),
        ("${x:star}", "abc", False),
    ],
)
def test_variables_stand_for_one_value_of_the_request(text: str, value: str, matches: bool | None) -> None:
    assert compile_pattern(text).matches(value, CONTEXT) is matches


def test_variables_mean_nothing_in_the_older_language() -> None:
    old = compile_pattern("${aws:username}-*", variables=False)
    assert old.matches("${aws:username}-1", CONTEXT)
    assert not old.matches("ada-1", CONTEXT)


def test_actions_are_compared_without_regard_to_case() -> None:
    pattern = compile_pattern("Lambda:Get*", folds_case=True, variables=False)
    assert pattern.matches("lambda:getFunction", {})
    assert not pattern.matches("lambda:ListFunctions", {})

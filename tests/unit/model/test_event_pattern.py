"""Event patterns: what matches, what does not, and the sentences about what is no pattern."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.model.event_pattern import NUMBER_MAX, PatternError, compile_pattern

EVENT: dict[str, Any] = {
    "version": "0",
    "source": "aws.ec2",
    "detail-type": "EC2 Instance State-change Notification",
    "account": "123456789012",
    "resources": ["arn:aws:ec2:us-east-1:123456789012:instance/i-000000aaaaaa"],
    "empty": [],
    "detail": {
        "state": "running", "c-count": 5, "d-count": 3.018e2, "none": None, "yes": True, "file": "dir/sub/a.PNG",
        "ip": "10.0.0.77", "ip6": "2001:db8:1234:1a00::7", "x": {"y.z": 1}, "list": [1, "two", None],
        "employees": [
            {"first": "Jane", "last": "Doe", "roles": [{"at": "A", "as": "boss"}, {"at": "B", "as": "clerk"}]},
            {"first": "John", "last": "Roe", "roles": [{"at": "B", "as": "boss"}]},
        ],
    },
}  # fmt: skip


def detail(**members: Any) -> dict[str, Any]:
    return {"detail": members}


MATCHING = [
    {"source": ["aws.ec2", "aws.rds"]},
    {"resources": [{"suffix": "aaaaaa"}]},
    detail(state=["pending", {"prefix": "run"}]),
    detail(state=[{"equals-ignore-case": "RUNNING"}]),
    detail(state=[{"anything-but": "stopped"}]),
    detail(state=[{"anything-but": ["stopped", "pending"]}]),
    detail(state=[{"anything-but": {"prefix": "stop"}}]),
    detail(state=[{"anything-but": {"suffix": ["ped", "ing!"]}}]),
    detail(state=[{"anything-but": {"equals-ignore-case": ["STOPPED"]}}]),
    detail(state=[{"anything-but": {"wildcard": "*x*"}}]),
    detail(state=[{"anything-but": 5}]),
    detail(none=[{"anything-but": "text"}]),
    detail(none=[None]),
    detail(yes=[True]),
    detail(file=[{"suffix": {"equals-ignore-case": ".png"}}]),
    detail(file=[{"prefix": {"equals-ignore-case": "DIR/"}}]),
    detail(file=[{"wildcard": "dir/*/a.*"}]),
    detail(file=[{"wildcard": "*"}]),
    detail(**{"c-count": [{"numeric": [">", 0, "<=", 5]}], "d-count": [{"numeric": ["=", 301.8]}]}),
    detail(**{"c-count": [5.0]}),
    detail(ip=[{"cidr": "10.0.0.0/24"}], ip6=[{"cidr": "2001:db8:1234:1a00::/64"}]),
    detail(list=["two"]),
    detail(list=[{"anything-but": [1]}]),
    detail(state=[{"exists": True}], other=[{"exists": False}]),
    detail(gone={"inner": [{"exists": False}, {"anything-but": ["roses"]}]}),
    {"empty": [{"exists": False}]},
    {"detail.state": ["running"]},
    detail(x={"y": {"z": [1]}}),
    detail(employees={"first": ["Jane"], "last": ["Doe"]}),
    detail(employees={"first": ["Jane"], "roles": {"at": ["B"], "as": ["clerk"]}}),
    {"$or": [{"source": ["aws.s3"]}, detail(state=["running"])], "account": ["123456789012"]},
    detail(**{"$or": [{"c-count": [{"numeric": [">", 9]}]}, {"x": {"$or": [{"q": ["1"]}, {"y.z": [1]}]}}]}),
]
NOT_MATCHING = [
    {"source": ["aws"]},
    {"Source": ["aws.ec2"]},
    {"empty": [None]},
    {"empty": [{"exists": True}]},
    {"detail": [{"exists": True}]},
    detail(state=[{"anything-but": ["running"]}]),
    detail(state=[{"anything-but": {"equals-ignore-case": "RUNNING"}}]),
    detail(state=[{"anything-but": {"prefix": ["x", "run"]}}]),
    detail(missing=[{"anything-but": "x"}]),
    detail(none=["null"]),
    detail(yes=[1]),
    detail(yes=["true"]),
    detail(**{"c-count": ["5"]}),
    detail(**{"c-count": [{"numeric": ["<", 5]}]}),
    detail(state=[{"numeric": ["=", 5]}]),
    detail(file=[{"wildcard": "*.png"}]),
    detail(state=[{"wildcard": "run"}]),
    detail(file=[{"wildcard": "dir/sub/sub/*"}]),
    detail(ip=[{"cidr": "10.0.1.0/24"}], ip6=[{"exists": True}]),
    detail(state=[{"cidr": "10.0.1.0/24"}]),
    detail(employees={"first": ["Jane"], "last": ["Roe"]}),
    detail(employees={"roles": {"at": ["A"], "as": ["clerk"]}}),
    detail(employees={"first": ["John"], "roles": {"at": ["A"]}}),
    {"$or": [{"source": ["aws.s3"]}, detail(state=["stopped"])]},
]


@pytest.mark.parametrize("pattern", MATCHING, ids=json.dumps)
def test_an_event_matches(pattern: dict[str, Any]) -> None:
    assert compile_pattern(json.dumps(pattern)).matches(EVENT)


@pytest.mark.parametrize("pattern", NOT_MATCHING, ids=json.dumps)
def test_an_event_does_not_match(pattern: dict[str, Any]) -> None:
    assert not compile_pattern(json.dumps(pattern)).matches(EVENT)


def test_the_last_of_two_fields_of_one_name_counts() -> None:
    pattern = compile_pattern('{"detail": {"state": ["stopped"]}, "detail": {"state": ["running"]}}')
    assert pattern.matches(EVENT)


def test_escapes_in_wildcards_are_characters() -> None:
    pattern = compile_pattern(r'{"a": [{"wildcard": "\\*\\\\*"}]}')
    assert pattern.matches({"a": "*\\and more"})
    assert not pattern.matches({"a": "x\\and more"})


# What AWS answers behind "Reason: ", with "~" for the place's beginning ` at [Source: (String)"<the pattern>"; line: 1, column: `.
REFUSED = [
    ('{"int": 42}', '"int" must be an object or an array\n~11]'),
    ('{"string": "my-value"}', '"string" must be an object or an array\n~13]'),
    ('{"resources": []}', "Empty arrays are not allowed\n~17]"),
    ('{"detail": {"equal": [{"NUMERIC": ["=", 5]}]}}', "Unrecognized match type NUMERIC\n~36]"),
    ('{"my_key": [{"EXISTS": true}]}', "Unrecognized match type EXISTS\n~28]"),
    ('{"detail": {"c-count": [{"numeric": [">", 0, ">", 0]}]}}', "Bad numeric range operator: >\n~49]"),
    ('{"detail": {"c-count": [{"numeric": [">", 0, "<"]}]}}', "Value of < must be numeric\n~50]"),
    (
        '{"EventBusArn": [{"wildcard": "arn:aws:events:us-east-1:**:event-bus/*"}]}',
        "Consecutive wildcard characters at pos 26\n~72]",
    ),
    (
        '{"detail-type": [{"equals-ignore-case": ["ec2 instance state-change notification"]}]}',
        "equals-ignore-case match pattern must be a string\n~42]",
    ),
    (
        '{"detail": {"state": [{"anything-but": {"equals-ignore-case": 123}}]}}',
        "Inside anything-but/equals-ignore-case list, number|start|null|boolean is not supported.\n~66]",
    ),
    (
        '{"detail": {"state": [{"anything-but": {"equals-ignore-case": [123, 456]}}]}}',
        "Inside anything-but/equals-ignore-case list, number|start|null|boolean is not supported.\n~67]\n~67]",
    ),
    ('{"EventBusArn": [{"wildcard": 123}]}', "wildcard match pattern must be a string\n~34]"),
    ('{"EventBusArn": [{"wildcard": ["*"]}]}', "wildcard match pattern must be a string\n~32]"),
    (
        '{"detail": {"state": [{"anything-but": {"wildcard": [123, "*/dir/*"]}}]}}',
        "wildcard match pattern must be a string\n~57]\n~57]",
    ),
    (
        '{"detail": {"FileName": [{"anything-but": {"suffix": 123}}]}}',
        "prefix/suffix match pattern must be a string\n~57]",
    ),
    (
        '{"detail": {"FileName": [{"anything-but": {"prefix": {"equals-ignore-case": "file"}}}]}}',
        "Value of anything-but must be an array or single string/number value.\n~55]",
    ),
    ('{"time": [{"prefix": ["2022-07-13"]}]}', "prefix match pattern must be a string\n~23]"),
    ('{"FileName": [{"suffix": 123}]}', "suffix match pattern must be a string\n~29]"),
    ('{"detail": {"sourceIPAddress": [{"cidr": ["bad-type"]}]}}', "prefix match pattern must be a string\n~43]"),
    ('{"a": [{"cidr": "10.0.0.0"}]}', "Malformed CIDR, one '/' required"),
    ('{"a": [{"cidr": "10.0.0.0/x"}]}', "Malformed CIDR, mask bits must be an integer"),
    ('{"a": [{"cidr": "xx.11.xx/8"}]}', "Nonstandard IP address: xx.11.xx"),
    (
        '{"EventBusArn": [{"wildcard": "*:*:*:*:*:event-bus/*"}]}',
        "Rule is too complex - try using fewer wildcard characters or fewer repeating character sequences after a "
        "wildcard character",
    ),
    (
        "this is valid json but not a dict",
        "Unrecognized token 'this': was expecting (JSON String, Number, Array, Object or token 'null', 'true' or "
        "'false')\n~5]",
    ),
    ("{'bad': 'quotation'}", "Unexpected character (''' (code 39)): was expecting double-quote to start field name\n~2]"),
    (
        '{"not": closed mark"',
        "Unrecognized token 'closed': was expecting (JSON String, Number, Array, Object or token 'null', 'true' or "
        "'false')\n~15]",
    ),
    ('["not", "a", "dict", "but valid json"]', "Filter is not an object\n~2]"),
    ('{"a": [{"numeric": ["=", 5000000001]}]}', "Value must be between -5.0E9 and 5.0E9, inclusive\n~37]"),
    ('{"a": [{"numeric": [">", 0, "<", 1.8e12]}]}', "Value must be between -5.0E9 and 5.0E9, inclusive\n~41]"),
    ('{"a": [{"anything-but": [1, -6e9]}]}', "Value must be between -5.0E9 and 5.0E9, inclusive\n~33]"),
    ('{"$or": [{"a": [1]}]}', "There must have at least 2 Objects in $or relationship.\n~21]"),
    ('{"$or": [{"prefix": [1]}, {"a": [1]}]}', "prefix is Ruler reserved fieldName which cannot be used inside $or.\n~22]"),
    ("{}", "Empty objects are not allowed\n~3]"),
    (
        '{"a": [1',
        'Unexpected end-of-input: expected close marker for Array (start marker at [Source: (String)"{"a": [1"; line: '
        "1, column: 7])\n~9]",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("source", "reason"), REFUSED, ids=[source for source, _ in REFUSED])
def test_what_is_no_pattern_is_refused_in_awss_words(source: str, reason: str) -> None:
    with pytest.raises(PatternError) as caught:
        compile_pattern(source, NUMBER_MAX)
    assert str(caught.value) == reason.replace("~", f' at [Source: (String)"{source}"; line: 1, column: ')


# --- against a slow reference


LEAVES = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "a", "ab", "b*", "A"])
NAMES = st.sampled_from(["a", "b", "a.b"])
EVENTS = st.dictionaries(
    NAMES,
    st.recursive(
        LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=2), max_leaves=8
    ),
    max_size=3,
)
EXPRESSIONS = st.one_of(
    LEAVES,
    st.builds(lambda operator, text: {operator: text}, st.sampled_from(["prefix", "suffix"]), st.sampled_from(["a", "b"])),
    st.builds(lambda there: {"exists": there}, st.booleans()),
    st.builds(lambda text: {"anything-but": [text]}, st.sampled_from(["a", "ab"])),
    st.builds(lambda sign, number: {"numeric": [sign, number]}, st.sampled_from(["<", ">=", "="]), st.integers(-1, 1)),
)  # fmt: skip
PATTERNS = st.dictionaries(
    NAMES,
    st.recursive(
        st.lists(EXPRESSIONS, min_size=1, max_size=2),
        lambda inner: st.dictionaries(NAMES, inner, min_size=1, max_size=2),
        max_leaves=3,
    ),
    min_size=1,
    max_size=2,
)


def flattened(
    value: Any, path: str, membership: dict[int, int], arrays: list[int]
) -> list[tuple[str, Any, dict[int, int]]]:
    if isinstance(value, dict):
        return [leaf for name, item in value.items() for leaf in flattened(item, f"{path}.{name}", membership, arrays)]
    if isinstance(value, list):
        arrays.append(0)
        number = len(arrays)
        return [
            leaf
            for index, item in enumerate(value)
            for leaf in flattened(
                item, path, {**membership, number: index} if isinstance(item, dict | list) else membership, arrays
            )
        ]
    return [(path, value, membership)]


def fields(pattern: dict[str, Any], path: str = "") -> list[tuple[str, list[Any]]]:
    found: list[tuple[str, list[Any]]] = []
    for name, value in pattern.items():
        found += [(f"{path}.{name}", value)] if isinstance(value, list) else fields(value, f"{path}.{name}")
    return found


def knows(expression: Any, value: Any) -> bool:
    if not isinstance(expression, dict):
        return type(expression) is type(value) and expression == value
    ((operator, operand),) = expression.items()
    is_number = isinstance(value, int) and not isinstance(value, bool)
    match operator:
        case "prefix":
            return isinstance(value, str) and value.startswith(operand)
        case "suffix":
            return isinstance(value, str) and value.endswith(operand)
        case "exists":
            return bool(operand)
        case "anything-but":
            return value not in operand
        case _:
            sign, bound = operand
            return is_number and {"<": value < bound, ">=": value >= bound, "=": value == bound}[sign]


def reference(pattern: dict[str, Any], event: dict[str, Any]) -> bool:
    leaves = flattened(event, "", {}, [])
    wanted = dict(fields(pattern))

    def satisfy(rest: list[tuple[str, list[Any]]], chosen: dict[int, int]) -> bool:
        if not rest:
            return True
        (path, alternatives), *others = rest
        here = [leaf for leaf in leaves if leaf[0] == path]
        if not here:
            return {"exists": False} in alternatives and satisfy(others, chosen)
        return any(
            any(knows(expression, value) for expression in alternatives if expression != {"exists": False})
            and all(chosen.get(array, index) == index for array, index in membership.items())
            and satisfy(others, {**chosen, **membership})
            for _, value, membership in here
        )

    return satisfy(list(wanted.items()), {})


@given(PATTERNS, EVENTS)
def test_matching_agrees_with_a_slow_reference(pattern: dict[str, Any], event: dict[str, Any]) -> None:
    assert compile_pattern(json.dumps(pattern)).matches(event) == reference(pattern, event)


@given(st.text() | EVENTS.map(json.dumps))
def test_whatever_is_written_is_a_pattern_or_refused(source: str) -> None:
    with contextlib.suppress(PatternError):
        compile_pattern(source).matches({})


@pytest.mark.parametrize(
    ("test", "value", "expected"),
    [
        ({"numeric": [">", 0]}, 5_000_000_000, True),
        ({"numeric": [">", 0]}, 5_000_000_001, False),
        ({"numeric": ["<=", 0]}, -5_000_000_000, True),
        ({"numeric": ["<=", 0]}, -6e9, False),
        ({"anything-but": 1}, 6e9, True),
        (1_800_000_000_000, 1_800_000_000_000, True),
        ({"numeric": [">", 1_700_000_000_000]}, 1_800_000_000_000, True),  # taken before it was refused
    ],
)
def test_numbers_are_compared_up_to_five_billion(test: Any, value: float, expected: bool) -> None:
    assert compile_pattern(json.dumps({"a": [test]})).matches({"a": value}) is expected


def test_numbers_that_are_not_compared_may_be_large() -> None:
    assert compile_pattern('{"account": [111122223333]}', NUMBER_MAX).matches({"account": 111122223333})


def test_where_or_can_only_be_a_name_it_is_one() -> None:
    pattern = compile_pattern('{"$or": ["a", {"prefix": "b"}]}')
    assert pattern.matches({"$or": "bc"})
    assert not pattern.matches({"$or": "c"})


def test_long_arrays_are_matched_in_time_that_grows_with_their_length() -> None:
    employees = [{"a": 1, "b": 0} if index % 2 else {"a": 0, "b": 1} for index in range(20_000)]
    pattern = compile_pattern('{"a": {"a": [1], "b": [1]}}')
    assert not pattern.matches({"a": employees})
    assert pattern.matches({"a": [*employees, {"a": 1, "b": 1}]})


def test_a_pattern_tells_what_a_path_can_only_be() -> None:
    pattern = compile_pattern(
        '{"$or": [{"source": ["a", "b"]}, {"source": ["c"]}], "x": ["1", null], "y": [{"prefix": "z"}]}'
    )
    assert pattern.only("source") == frozenset({"a", "b", "c"})
    assert pattern.only("x") is None
    assert pattern.only("y") is None
    assert compile_pattern('{"$or": [{"source": ["a"]}, {"x": [1]}]}').only("source") is None

"""Metric math: the arithmetic of GetMetricData's expressions, and the functions that are used most. Pure.

    100 * errors / invocations          SUM(METRICS())          FILL(m1, 0)          IF(m1 > 10, m1, 0)

SYNTAX = https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html
"""

from __future__ import annotations

import itertools
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs

from lambent.services.cloudwatch.errors import not_offered, validation

Points = dict[int, float]
"""Values by the time (seconds) at which their period begins."""


@attrs.frozen
class Line:
    """A time series, with the times at which it could have values."""

    points: Points
    times: Sequence[int]
    period_s: int
    name: str = ""  # of its metric; of what is computed empty


Value = float | Line | list[Line]

POINTS_MAX: Final = 100_800  # GetMetricData: in one answer
DEPTH_MAX: Final = 50  # ours: parentheses and functions inside each other
_TOKEN: Final = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)|(?P<name>[A-Za-z][A-Za-z0-9_]*)|(?P<text>\"[^\"]*\"|'[^']*')"
    r"|(?P<sign>[<>=!]=|&&|\|\||[-+*/^()\[\],<>]))"
)
_Apply = Callable[[float, float], float]


def _divided(a: float, b: float) -> float:
    return a / b if b else math.nan  # no value: AWS tells none either


def _power(a: float, b: float) -> float:
    try:
        found = a**b
    except (OverflowError, ZeroDivisionError):
        return math.nan
    return found if isinstance(found, float) else math.nan


def _compared(compare: Callable[[float, float], bool]) -> _Apply:
    return lambda a, b: float(compare(a, b))


# From the loosest to the tightest.
_LEVELS: Final[Sequence[Mapping[str, _Apply]]] = (
    {"||": lambda a, b: float(bool(a) or bool(b)), "OR": lambda a, b: float(bool(a) or bool(b))},
    {"&&": lambda a, b: float(bool(a) and bool(b)), "AND": lambda a, b: float(bool(a) and bool(b))},
    {
        "<": _compared(operator.lt), "<=": _compared(operator.le), ">": _compared(operator.gt),
        ">=": _compared(operator.ge), "==": _compared(operator.eq), "!=": _compared(operator.ne),
    },
    {"+": operator.add, "-": operator.sub},
    {"*": operator.mul, "/": _divided},
    {"^": _power},
)  # fmt: skip


@attrs.frozen
class Expression:
    """`names` are the ids that it speaks of; `uses_all`: it speaks of all metrics (METRICS)."""

    evaluate: Callable[[Mapping[str, Value], Mapping[str, Line]], Value]
    names: frozenset[str]
    uses_all: bool


def compile_expression(text: str) -> Expression:
    """Raises AwsError: ValidationError for what is none, NotImplemented for what is not offered."""
    if re.match(r"\s*SELECT\b", text, re.IGNORECASE):
        raise not_offered("Metrics Insights (SELECT)")
    parser = _Parser(text)
    evaluate = parser.take(0)
    if parser.sign is not None or parser.rest:
        raise parser.wrong()
    return Expression(evaluate, frozenset(parser.names), parser.uses_all)


_Node = Callable[[Mapping[str, Value], Mapping[str, Line]], Value]


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._depth = 0
        self.names: set[str] = set()
        self.uses_all = False
        self.kind: str | None = None
        self.sign: str | None = None  # the token at hand
        self._next()

    @property
    def rest(self) -> str:
        return self._text[self._position :].strip()

    def wrong(self) -> Exception:
        return validation(f"Error in expression: unexpected {self.sign or self.rest or 'end'!r} in {self._text!r}.")

    def _next(self) -> None:
        found = _TOKEN.match(self._text, self._position)
        self.kind = found.lastgroup if found is not None else None
        self.sign = found[found.lastgroup] if found is not None and found.lastgroup is not None else None
        self._position = found.end() if found is not None else self._position

    def _expect(self, sign: str) -> None:
        if self.sign != sign:
            raise self.wrong()
        self._next()

    def take(self, level: int) -> _Node:
        """Operators of this level and tighter ones."""
        if level == len(_LEVELS):
            return self._operand()
        left = self.take(level + 1)
        while self.sign in _LEVELS[level] and self.kind in ("sign", "name"):
            apply = _LEVELS[level][str(self.sign)]
            self._next()
            left = _combined(apply, left, self.take(level + 1))
        return left

    def _operand(self) -> _Node:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise validation("Error in expression: it is nested too deeply.")
        try:
            kind, sign = self.kind, self.sign
            if sign is None:
                raise self.wrong()
            if kind == "number":
                self._next()
                number = float(sign)
                return lambda values, metrics: number
            if sign == "-":
                self._next()
                return _combined(operator.mul, lambda values, metrics: -1.0, self._operand())
            if sign == "(":
                self._next()
                inner = self.take(0)
                self._expect(")")
                return inner
            if sign == "[":
                return _array(self._arguments("]"))
            if kind == "name":
                return self._named(sign)
            raise self.wrong()
        finally:
            self._depth -= 1

    def _named(self, name: str) -> _Node:
        self._next()
        if self.sign != "(":
            self.names.add(name)
            return lambda values, metrics: values[name]
        if name == "METRICS":
            self._next()
            part = ""
            if self.kind == "text":
                part = str(self.sign)[1:-1]
                self._next()
            self._expect(")")
            self.uses_all = True
            return lambda values, metrics: [line for key, line in metrics.items() if part in key]
        if name == "FILL":
            return self._fill()
        function = _FUNCTIONS.get(name)
        if function is None:
            raise not_offered(f"The function {name} of metric math")
        count, work = function
        arguments = self._arguments(")")
        if len(arguments) != count:
            raise validation(f"Error in expression: {name} takes {count} arguments.")
        return lambda values, metrics: work(*(argument(values, metrics) for argument in arguments))

    def _fill(self) -> _Node:
        self._next()
        subject = self.take(0)
        self._expect(",")
        if self.kind == "name" and self.sign == "REPEAT":
            self._next()
            self._expect(")")
            return lambda values, metrics: _each(_repeated, subject(values, metrics))
        filler = self.take(0)
        self._expect(")")

        def fill(values: Mapping[str, Value], metrics: Mapping[str, Line]) -> Value:
            by = filler(values, metrics)
            return _each(lambda line: _filled(line, by), subject(values, metrics))

        return fill

    def _arguments(self, closing: str) -> list[_Node]:
        self._next()
        found = [self.take(0)]
        while self.sign == ",":
            self._next()
            found.append(self.take(0))
        self._expect(closing)
        return found


def _array(parts: Sequence[_Node]) -> _Node:
    def evaluate(values: Mapping[str, Value], metrics: Mapping[str, Line]) -> Value:
        lines: list[Line] = []
        for part in parts:
            value = part(values, metrics)
            lines += value if isinstance(value, list) else [_line(value)]
        return lines

    return evaluate


def _combined(apply: _Apply, left: _Node, right: _Node) -> _Node:
    return lambda values, metrics: _applied(apply, left(values, metrics), right(values, metrics))


def _applied(apply: _Apply, a: Value, b: Value) -> Value:
    if isinstance(a, list) or isinstance(b, list):
        if isinstance(a, list) and isinstance(b, list):
            raise validation("Error in expression: two arrays cannot be combined.")
        if isinstance(a, list):
            return [_line(_applied(apply, each, b)) for each in a]
        assert isinstance(b, list)
        return [_line(_applied(apply, a, each)) for each in b]
    if isinstance(a, Line) and isinstance(b, Line):
        both = a.points.keys() & b.points.keys()  # where one has no value the result has none
        return _made(a, {at: apply(a.points[at], b.points[at]) for at in both})
    if isinstance(a, Line):
        assert not isinstance(b, Line)
        return _made(a, {at: apply(value, b) for at, value in a.points.items()})
    if isinstance(b, Line):
        return _made(b, {at: apply(a, value) for at, value in b.points.items()})
    return apply(a, b)


def _made(like: Line, points: Points) -> Line:
    return attrs.evolve(like, points={at: value for at, value in points.items() if math.isfinite(value)})


def _times(line: Line) -> Sequence[int]:
    """Raises AwsError where there are more than one answer may have."""
    if len(line.times) > POINTS_MAX:
        raise validation("Error in expression: FILL has too many data points to fill; ask for a longer period.")
    return line.times


def _line(value: Value) -> Line:
    if not isinstance(value, Line):
        raise validation("Error in expression: a time series is expected.")
    return value


def _each(work: Callable[[Line], Line], value: Value) -> Value:
    return [work(line) for line in value] if isinstance(value, list) else work(_line(value))


def _repeated(line: Line) -> Line:
    points: Points = {}
    last: float | None = None
    for at in _times(line):
        last = line.points.get(at, last)
        if last is not None:
            points[at] = last
    return attrs.evolve(line, points=points)


def _filled(line: Line, by: Value) -> Line:
    if isinstance(by, list):
        raise validation("Error in expression: FILL takes a number, REPEAT or a time series.")
    others: Mapping[int, float] = by.points if isinstance(by, Line) else dict.fromkeys(_times(line), by)
    return attrs.evolve(line, points={**others, **line.points})


def _gathered(gather: Callable[[Sequence[float]], float]) -> Callable[..., Value]:
    """Of one time series the number for all its values, of several a time series."""

    def work(value: Value) -> Value:
        if isinstance(value, list):
            if not value:
                raise validation("Error in expression: there are no metrics that it could be about.")
            times = sorted({at for line in value for at in line.points})
            points = {at: gather([line.points[at] for line in value if at in line.points]) for at in times}
            return attrs.evolve(value[0], points=points, name="")
        values = list(_line(value).points.values())
        return gather(values) if values else math.nan

    return work


def _mapped(change: Callable[[float], float]) -> Callable[..., Value]:
    def work(value: Value) -> Value:
        if isinstance(value, float):
            return change(value)
        return _each(lambda line: _made(line, {at: change(v) for at, v in line.points.items()}), value)

    return work


def _stepped(step: Callable[[Sequence[tuple[int, float]]], Points]) -> Callable[..., Value]:
    """Of the values in their order."""
    return lambda value: _each(lambda line: _made(line, step(sorted(line.points.items()))), value)


def _running(points: Sequence[tuple[int, float]]) -> Points:
    total, found = 0.0, {}
    for at, value in points:
        total += value
        found[at] = total
    return found


def _chosen(condition: Value, then: Value, otherwise: Value) -> Value:
    if isinstance(condition, list) or isinstance(then, list) or isinstance(otherwise, list):
        raise validation("Error in expression: IF takes no arrays.")
    if isinstance(condition, float):
        return then if condition else otherwise
    points: Points = {}
    for at, decides in condition.points.items():
        chosen = then if decides else otherwise
        value = chosen.points.get(at) if isinstance(chosen, Line) else chosen
        if value is not None:
            points[at] = value
    return _made(condition, points)


def _count(value: Value) -> float:
    return float(len(value)) if isinstance(value, list) else 1.0


_FUNCTIONS: Final[Mapping[str, tuple[int, Callable[..., Any]]]] = {
    "SUM": (1, _gathered(math.fsum)),
    "AVG": (1, _gathered(lambda values: math.fsum(values) / len(values))),
    "MIN": (1, _gathered(min)),
    "MAX": (1, _gathered(max)),
    "METRIC_COUNT": (1, _count),
    "ABS": (1, _mapped(abs)),
    "CEIL": (1, _mapped(lambda value: float(math.ceil(value)))),
    "FLOOR": (1, _mapped(lambda value: float(math.floor(value)))),
    "RUNNING_SUM": (1, _stepped(_running)),
    "DIFF": (1, _stepped(lambda points: {b[0]: b[1] - a[1] for a, b in itertools.pairwise(points)})),
    "RATE": (
        1,
        _stepped(lambda points: {b[0]: (b[1] - a[1]) / (b[0] - a[0]) for a, b in itertools.pairwise(points)}),
    ),
    "PERIOD": (1, lambda value: float(_line(value).period_s)),
    "IF": (3, _chosen),
}

"""PutMetricData: from its members to points.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDatum.html
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from lambent.model.errors import AwsError
from lambent.model.metrics import Dimensions, Series, Summary
from lambent.services.cloudwatch.errors import invalid_combination, invalid_value, missing
from lambent.store.metrics import Point

Members = Mapping[str, Any]

DATA_MAX: Final = 1_000  # PutMetricData's page
VALUES_MAX: Final = 150  # MetricDatum's page
VALUE_MAX: Final = 2.0**360  # the same page, of both signs
DIMENSIONS_MAX: Final = 30
NAME_MAX_CHARACTERS: Final = 255
DIMENSION_VALUE_MAX_CHARACTERS: Final = 1_024
PAST_MAX_S: Final = 14 * 86_400
FUTURE_MAX_S: Final = 2 * 3_600
RESERVED: Final = "AWS/"  # what namespaces of AWS's own services begin with
UNITS: Final = (
    "Seconds", "Microseconds", "Milliseconds", "Bytes", "Kilobytes", "Megabytes", "Gigabytes", "Terabytes", "Bits",
    "Kilobits", "Megabits", "Gigabits", "Terabits", "Percent", "Count", "Bytes/Second", "Kilobytes/Second",
    "Megabytes/Second", "Gigabytes/Second", "Terabytes/Second", "Bits/Second", "Kilobits/Second", "Megabits/Second",
    "Gigabits/Second", "Terabits/Second", "Count/Second", "None",
)  # fmt: skip


@attrs.frozen
class Place:
    account_id: str
    region: str
    now_s: float


def points_of(place: Place, members: Members) -> list[Point]:
    """Raises AwsError, which names everything that is wrong with the values of the first kind that something is wrong with."""
    namespace = members.get("Namespace")
    check_namespace(namespace)
    if str(namespace).startswith(RESERVED):
        raise invalid_value(f"The value {RESERVED} for parameter Namespace is invalid.")
    data = _data_of(members)
    if not data:
        raise missing("MetricData")
    if len(data) > DATA_MAX:
        raise invalid_value(f"The collection MetricData must not have a size greater than {DATA_MAX}.")
    problems = [problem for path, datum in data for problem in _problems(path, datum, place.now_s)]
    if problems:
        code = problems[0].code
        raise AwsError(code, "\n".join(problem.message for problem in problems if problem.code == code))
    return [_point(place, str(namespace), datum) for _, datum in data]


def check_namespace(namespace: str | None, path: str = "Namespace") -> None:
    """Raises AwsError."""
    if not namespace:
        raise missing(path)
    if len(namespace) > NAME_MAX_CHARACTERS:
        raise invalid_value(f"The parameter {path} must be shorter than {NAME_MAX_CHARACTERS + 1} characters.")
    if namespace.startswith(":") or not namespace.isprintable():
        raise invalid_value(f"The value {namespace} for parameter {path} is invalid.")


def _data_of(members: Members) -> list[tuple[str, Members]]:
    """Every datum with its name in the request. Which entity one belongs to is not kept."""
    found = [(f"MetricData.member.{n}", datum) for n, datum in enumerate(members.get("MetricData") or (), 1)]
    for position, entity in enumerate(members.get("EntityMetricData") or (), 1):
        path = f"EntityMetricData.member.{position}.MetricData.member."
        found += [(f"{path}{n}", datum) for n, datum in enumerate(entity.get("MetricData") or (), 1)]
    return found


def _problems(path: str, datum: Members, now_s: float) -> Iterator[AwsError]:
    yield from name_problems(f"{path}.MetricName", datum.get("MetricName"))
    yield from dimension_problems(f"{path}.Dimensions", datum.get("Dimensions") or ())
    if datum.get("Unit") not in (None, *UNITS):
        yield invalid_value(f"The parameter {path}.Unit must be a value in the set [ {', '.join(UNITS)} ].")
    if datum.get("StorageResolution") not in (None, 1, 60):
        yield invalid_value(f"The parameter {path}.StorageResolution must be a value in the set [ 1, 60 ].")
    if (at := datum.get("Timestamp")) is not None:
        if at.timestamp() < now_s - PAST_MAX_S:
            yield invalid_value(f"The parameter {path}.Timestamp must specify a time within the past two weeks.")
        elif at.timestamp() > now_s + FUTURE_MAX_S:
            yield invalid_value(
                f"The parameter {path}.Timestamp must specify a time no more than two hours in the future."
            )
    given = [name for name in ("Value", "StatisticValues", "Values") if datum.get(name) is not None]
    if len(given) > 1:
        both = f"The parameters {path}.{given[0]} and {path}.{given[1]} are mutually exclusive and you have specified both."
        yield invalid_combination(both) if "StatisticValues" in given else invalid_value(both)
    elif not given:
        yield missing(f"{path}.Value")
    elif given == ["Value"]:
        yield from _number_problems(f"{path}.Value", datum["Value"])
    elif given == ["Values"]:
        yield from _values_problems(path, datum["Values"], datum.get("Counts"))
    else:
        yield from _statistics_problems(f"{path}.StatisticValues", datum["StatisticValues"])


def name_problems(path: str, name: str | None, max_characters: int = NAME_MAX_CHARACTERS) -> Iterator[AwsError]:
    if not name:
        yield missing(path)
    elif len(name) > max_characters:
        yield invalid_value(f"The parameter {path} must be shorter than {max_characters + 1} characters.")
    elif not (name.isascii() and name.isprintable()) or name.isspace():
        yield invalid_value(
            f"The parameter {path} must contain only ASCII characters, and one at least that is no space."
        )


def dimension_problems(path: str, dimensions: Sequence[Members]) -> Iterator[AwsError]:
    if len(dimensions) > DIMENSIONS_MAX:
        yield invalid_value(f"The collection {path} must not have a size greater than {DIMENSIONS_MAX}.")
        return
    for position, each in enumerate(dimensions, 1):
        here = f"{path}.member.{position}"
        yield from name_problems(f"{here}.Name", each.get("Name"))
        if (each.get("Name") or "").startswith(":"):
            yield invalid_value(f"The value {each['Name']} for parameter {here}.Name is invalid.")
        yield from name_problems(f"{here}.Value", each.get("Value"), DIMENSION_VALUE_MAX_CHARACTERS)
    names = [each.get("Name") for each in dimensions]
    if len(set(names)) < len(names):
        yield invalid_value(f"The collection {path} must not have two dimensions of the same name.")


def _number_problems(path: str, number: float) -> Iterator[AwsError]:
    if not math.isfinite(number) or abs(number) > VALUE_MAX:
        shown = "NaN" if math.isnan(number) else f"{number:g}"
        yield invalid_value(f"The value {shown} for parameter {path} is invalid.")


def _values_problems(path: str, values: Sequence[float], counts: Sequence[float] | None) -> Iterator[AwsError]:
    if not values:
        yield missing(f"{path}.Values")
        return
    if len(values) > VALUES_MAX:
        yield invalid_value(f"The collection {path}.Values must not have a size greater than {VALUES_MAX}.")
        return
    if counts is not None and len(counts) != len(values):
        yield invalid_value(f"The parameters {path}.Values and {path}.Counts must be of the same size.")
        return
    for value in values:
        yield from _number_problems(f"{path}.Values", value)
    for count in counts or ():
        yield from _count_problems(f"{path}.Counts", count)


def _count_problems(path: str, count: float) -> Iterator[AwsError]:
    yield from _number_problems(path, count)
    if count <= 0:
        yield invalid_value(f"The parameter {path} must be greater than 0.")


def _statistics_problems(path: str, given: Members) -> Iterator[AwsError]:
    for name in ("SampleCount", "Sum", "Minimum", "Maximum"):
        if given.get(name) is None:
            yield missing(f"{path}.{name}")
            return
        yield from _number_problems(f"{path}.{name}", given[name])
    yield from _count_problems(f"{path}.SampleCount", given["SampleCount"])
    if given["Maximum"] < given["Minimum"]:
        yield invalid_value(f"The parameter {path}.Maximum must be greater than {path}.Minimum.")


def _point(place: Place, namespace: str, datum: Members) -> Point:
    series = Series(
        place.account_id, place.region, namespace, datum["MetricName"], dimensions_of(datum.get("Dimensions")),
        datum.get("Unit") or "None",
    )  # fmt: skip
    stamp = datum.get("Timestamp")
    at_s = int(place.now_s if stamp is None else stamp.timestamp())
    period_s = datum.get("StorageResolution") or 60
    return Point(series, at_s - at_s % period_s, period_s, _summary(datum))


def dimensions_of(members: Sequence[Members] | None) -> Dimensions:
    return tuple(sorted((each["Name"], each["Value"]) for each in members or ()))


def _summary(datum: Members) -> Summary:
    if (statistics := datum.get("StatisticValues")) is not None:
        return Summary.aggregated(
            statistics["SampleCount"], statistics["Sum"], statistics["Minimum"], statistics["Maximum"]
        )
    summary = Summary()
    if datum.get("Value") is not None:
        summary.add(datum["Value"])
        return summary
    values = datum["Values"]
    for value, count in zip(values, datum.get("Counts") or [1.0] * len(values), strict=True):
        summary.add(value, count)
    return summary

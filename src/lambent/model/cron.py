"""AWS's cron expressions: minutes, hours, day of month, month, day of week, year, with `L`, `W`, `#` and `?`.

Pure calendar: times here are of the wall, without a zone. Source:
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html#eb-cron-expressions
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

import attrs

from lambent.model.errors import LambentError

YEAR_FIRST: Final = 1970
YEAR_LAST: Final = 2199
_MONTHS: Final = {name.upper(): number for number, name in enumerate(calendar.month_abbr) if name}
_DAYS: Final = {"SUN": 1, "MON": 2, "TUE": 3, "WED": 4, "THU": 5, "FRI": 6, "SAT": 7}
_PART: Final = re.compile(r"(?P<from>\*|\w+)(?:-(?P<to>\w+))?(?:/(?P<step>\d+))?")


class ScheduleError(LambentError):
    """Not a schedule."""


@attrs.frozen(kw_only=True)
class DaysOfMonth:
    """Numbers, the last day, weekdays nearest to a number."""

    days: frozenset[int] = frozenset()
    last: bool = False  # L
    last_weekday: bool = False  # LW
    nearest: frozenset[int] = frozenset()  # 15W

    def of(self, year: int, month: int) -> set[int]:
        length = calendar.monthrange(year, month)[1]
        found = {day for day in self.days if day <= length}
        if self.last:
            found.add(length)
        if self.last_weekday:
            found.add(_weekday_near(year, month, length, length))
        found |= {_weekday_near(year, month, day, length) for day in self.nearest if day <= length}
        return found


@attrs.frozen(kw_only=True)
class DaysOfWeek:
    """1 is Sunday, 7 Saturday."""

    days: frozenset[int] = frozenset()
    last: frozenset[int] = frozenset()  # 5L: the last Thursday
    numbered: frozenset[tuple[int, int]] = frozenset()  # 3#2: the second Tuesday

    def of(self, year: int, month: int) -> set[int]:
        length = calendar.monthrange(year, month)[1]
        found = set()
        for day in range(1, length + 1):
            weekday = _weekday(year, month, day)
            if (
                weekday in self.days
                or (weekday in self.last and day > length - 7)
                or (weekday, (day + 6) // 7) in self.numbered
            ):
                found.add(day)
        return found


@attrs.frozen(kw_only=True)
class Cron:
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: DaysOfMonth | DaysOfWeek
    months: tuple[int, ...]
    years: frozenset[int] | None  # None: all of them

    def after(self, moment: datetime) -> Iterator[datetime]:
        """The minutes behind `moment` (without a zone) that match, in order; until the last year."""
        first = moment.replace(second=0, microsecond=0) + timedelta(minutes=1)
        for year in range(max(first.year, YEAR_FIRST), YEAR_LAST + 1):
            if self.years is not None and year not in self.years:
                continue
            for month in self.months:
                if (year, month) < (first.year, first.month):
                    continue
                yield from self._of_month(year, month, first)

    def _of_month(self, year: int, month: int, first: datetime) -> Iterator[datetime]:
        for day in sorted(self.days.of(year, month)):
            if (year, month, day) < (first.year, first.month, first.day):
                continue
            for hour in self.hours:
                for minute in self.minutes:
                    found = datetime(year, month, day, hour, minute)
                    if found >= first:
                        yield found


def parse_cron(text: str) -> Cron:
    """The six fields. Raises ScheduleError."""
    fields = text.split(" ")
    if len(fields) != 6 or not all(fields):
        raise ScheduleError(f"{text} has not six fields")
    minutes, hours, of_month, months, of_week, years = fields
    if (of_month == "?") == (of_week == "?"):
        raise ScheduleError("one of day of month and day of week must be ?, and the other one not")
    return Cron(
        minutes=tuple(sorted(_numbers(minutes, 0, 59))),
        hours=tuple(sorted(_numbers(hours, 0, 23))),
        days=_days_of_month(of_month) if of_week == "?" else _days_of_week(of_week),
        months=tuple(sorted(_numbers(months, 1, 12, _MONTHS))),
        years=None if years == "*" else _numbers(years, YEAR_FIRST, YEAR_LAST),
    )


def _days_of_month(field: str) -> DaysOfMonth:
    days: set[int] = set()
    nearest: set[int] = set()
    last = last_weekday = False
    for part in field.split(","):
        if part == "L":
            last = True
        elif part == "LW":
            last_weekday = True
        elif part.endswith("W"):
            nearest |= _numbers(part[:-1], 1, 31)
        else:
            days |= _numbers(part, 1, 31)
    return DaysOfMonth(days=frozenset(days), last=last, last_weekday=last_weekday, nearest=frozenset(nearest))


def _days_of_week(field: str) -> DaysOfWeek:
    days: set[int] = set()
    last: set[int] = set()
    numbered: set[tuple[int, int]] = set()
    for part in field.split(","):
        weekday, sign, number = part.partition("#")
        if sign:
            numbered.add((_one(weekday, _DAYS, 7), _one(number, {}, 5)))
        elif part == "L":
            days.add(7)
        elif part.endswith("L"):
            last.add(_one(part[:-1], _DAYS, 7))
        else:
            days |= _numbers(part, 1, 7, _DAYS)
    return DaysOfWeek(days=frozenset(days), last=frozenset(last), numbered=frozenset(numbered))


def _one(text: str, names: dict[str, int], largest: int) -> int:
    if not re.fullmatch(r"\w+", text):
        raise ScheduleError(f"{text} is not a day")
    return _number(text, 1, largest, names)


def _numbers(field: str, lowest: int, highest: int, names: dict[str, int] | None = None) -> frozenset[int]:
    """`*`, `5`, `1-5`, `0/15`, `1-30/5`, and several of them. Ranges may go round: `FRI-MON`."""
    found: set[int] = set()
    for part in field.split(","):
        match = _PART.fullmatch(part)
        if match is None or (match["from"] == "*" and match["to"]):
            raise ScheduleError(f"{part} is not understood")
        step = int(match["step"]) if match["step"] else None
        if step is not None and not 1 <= step <= highest - lowest + 1:
            raise ScheduleError(f"{part} has a step that is too large or none")
        if match["from"] == "*":
            begin, end = lowest, highest
        else:
            begin = _number(match["from"], lowest, highest, names or {})
            end = _number(match["to"], lowest, highest, names or {}) if match["to"] else (highest if step else begin)
        span = list(range(begin, end + 1)) if begin <= end else [*range(begin, highest + 1), *range(lowest, end + 1)]
        found.update(span[:: step or 1])
    return frozenset(found)


def _number(text: str, lowest: int, highest: int, names: dict[str, int]) -> int:
    number = names.get(text.upper())
    if number is None:
        if not text.isascii() or not text.isdecimal():
            raise ScheduleError(f"{text} is not a number")
        number = int(text)
    if not lowest <= number <= highest:
        raise ScheduleError(f"{text} is not between {lowest} and {highest}")
    return number


def _weekday(year: int, month: int, day: int) -> int:
    return (calendar.weekday(year, month, day) + 1) % 7 + 1


def _weekday_near(year: int, month: int, day: int, length: int) -> int:
    """Monday to Friday, in the same month."""
    weekday = _weekday(year, month, day)
    if weekday == _DAYS["SAT"]:
        return day - 1 if day > 1 else day + 2
    if weekday == _DAYS["SUN"]:
        return day + 1 if day < length else day - 2
    return day

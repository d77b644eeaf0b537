"""`rate(5 minutes)`, `cron(0 8 ? * MON-FRI *)`, `at(2026-11-21T08:00:00)`: when is the next time?

Times are seconds since the epoch. Sources:
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html (rules, always UTC) and
https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html (Scheduler, with zones: a time that the clocks skip
in spring is skipped, one that they repeat in autumn comes once).
"""

from __future__ import annotations

import math
import re
import zoneinfo
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from typing import Final

import attrs

from lambent.model.cron import Cron, ScheduleError, parse_cron

__all__ = [
    "At",
    "Cron",
    "Rate",
    "Schedule",
    "ScheduleError",
    "next_after",
    "parse_rule_schedule",
    "parse_schedule",
    "times_of",
    "zone_named",
]

_UNITS_S: Final = {"minute": 60, "hour": 3600, "day": 86_400}
_RATE: Final = re.compile(r"rate\(([0-9]{1,9}) (minute|hour|day)(s?)\)")
_CRON: Final = re.compile(r"cron\((.*)\)")
_AT: Final = re.compile(r"at\(([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(?::[0-9]{2})?)\)")


@attrs.frozen
class Rate:
    period_s: int


@attrs.frozen
class At:
    moment: datetime  # of the wall, without a zone


Schedule = Rate | Cron | At


def parse_rule_schedule(text: str) -> Rate | Cron:
    """Of a rule: `rate(1 minute)` but `rate(2 minutes)`. Raises ScheduleError."""
    found = _RATE.fullmatch(text)
    if found is not None and (int(found[1]) == 1) == bool(found[3]):
        raise ScheduleError(f"{text}: one {found[2]}, several {found[2]}s")
    schedule = parse_schedule(text)
    if isinstance(schedule, At):
        raise ScheduleError(f"{text} is for Scheduler only")
    return schedule


def parse_schedule(text: str) -> Schedule:
    """Raises ScheduleError."""
    if (found := _RATE.fullmatch(text)) is not None:
        if int(found[1]) == 0:
            raise ScheduleError(f"{text} would come all the time")
        return Rate(int(found[1]) * _UNITS_S[found[2]])
    if (found := _CRON.fullmatch(text)) is not None:
        return parse_cron(found[1])
    if (found := _AT.fullmatch(text)) is not None:
        try:
            return At(datetime.fromisoformat(found[1]))
        except ValueError as error:
            raise ScheduleError(f"{text} is not in any calendar") from error
    raise ScheduleError(f"{text} is no schedule expression")


def zone_named(name: str) -> tzinfo:
    """Of the machine's own database of zones. Raises ScheduleError."""
    if name == "UTC":
        return UTC
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ScheduleError(f"{name} is no time zone that this machine knows") from error


def next_after(schedule: Schedule, after_s: float, *, zone: tzinfo = UTC, begin_s: float = 0.0) -> float | None:
    """The first time behind `after_s`; None when there is none any more. Rates are counted from `begin_s`."""
    match schedule:
        case Rate(period_s):
            if after_s < begin_s:
                return begin_s
            return begin_s + (math.floor((after_s - begin_s) / period_s) + 1) * period_s
        case At(moment):
            at_s = moment.replace(tzinfo=zone).timestamp()
            return at_s if at_s > after_s else None
    return _next_cron(schedule, after_s, zone)


def times_of(
    schedule: Schedule, zone: tzinfo, *, begin_s: float, start_s: float | None, end_s: float | None
) -> Callable[[float], float | None]:
    """The same as a function of the time, from a start to an end where there are any, both of them included.

    Rates are counted from the start, or else from `begin_s`; `at()` is not concerned by either.
    """
    first_s = begin_s if start_s is None else start_s

    def following(after_s: float) -> float | None:
        if isinstance(schedule, At):
            return next_after(schedule, after_s, zone=zone)
        if start_s is not None and not isinstance(schedule, Rate):
            after_s = max(after_s, start_s - 0.001)
        found = next_after(schedule, after_s, zone=zone, begin_s=first_s)
        return found if found is not None and (end_s is None or found <= end_s) else None

    return following


def _next_cron(cron: Cron, after_s: float, zone: tzinfo) -> float | None:
    try:
        wall = datetime.fromtimestamp(after_s, zone).replace(tzinfo=None)
    except (OverflowError, ValueError, OSError):
        return None
    for found in cron.after(wall):
        at_s = found.replace(tzinfo=zone).timestamp()
        exists = datetime.fromtimestamp(at_s, zone).replace(tzinfo=None) == found
        if exists and at_s > after_s:
            return at_s
    return None
